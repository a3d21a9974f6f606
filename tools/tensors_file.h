/* Safetensors files as tensors of the reference evaluator, for `ingot eval` and --verify. */
#ifndef INGOT_TOOLS_TENSORS_FILE_H
#define INGOT_TOOLS_TENSORS_FILE_H

#include "frontend/model.h"
#include "ir/eval.h"

/* A safetensors file read into memory. */
typedef struct TensorsFile {
  Model *model; /* holds the mapping */
  RefTensor *tensor;
  uint32_t n; /* by name; floats widened to f32, integers to i64 */
} TensorsFile;

/* Reads all tensors; close with tensors_close, also after FAIL. */
Status tensors_open(const char *path, Diag *d, TensorsFile *out);
void tensors_close(TensorsFile *f);
const RefTensor *tensors_find(const TensorsFile *f, const char *name); /* NULL when absent */

/* The same file as a model that has nothing but weights, not read yet. Close by model_close, on
 * FAIL too. */
Status tensors_model(const char *path, Diag *d, Model **out);

#endif
