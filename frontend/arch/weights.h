/* From tensor names to constants of the module, with every shape checked.
 *
 * An architecture lists its tensors once, with the names of both file formats side by side; `%d` is
 * the layer. A matrix keeps the format it has in the file; vectors become plain f32.
 */
#ifndef INGOT_FRONTEND_ARCH_WEIGHTS_H
#define INGOT_FRONTEND_ARCH_WEIGHTS_H

#include "frontend/model.h"

typedef struct TensorName {
  const char *hf, *gguf; /* NULL: that format has no such tensor */
} TensorName;

enum { NO_CONST = UINT32_MAX }; /* a constant that is not there */

typedef struct Loader {
  const Model *model;
  Module *m;
  Diag *d;
  bool *used; /* by index of model->weights */
} Loader;

void loader_open(Loader *l, const Model *model, Module *m, Diag *d);
void loader_close(Loader *l);
/* The name of a tensor in this model's file; NULL when the format has none. A base model's file
 * lacks the "model." prefix, so both spellings are tried. Module arena. */
const char *loader_name(Loader *l, TensorName n, int layer);
/* NULL when the file has no such tensor. */
const Weight *loader_find(Loader *l, TensorName n, int layer);
/* A vector or matrix of exactly this shape, as a new constant. `heads` > 0: its rows are rotary
 * heads, which a GGUF stores interleaved. Missing is an error. */
Status loader_vector(Loader *l, TensorName n, int layer, int64_t size, int heads, uint32_t *out);
Status loader_matrix(Loader *l, TensorName n, int layer, int64_t rows, int64_t cols, int heads,
                     uint32_t *out);
/* Adds `value` to every element of a vector just loaded (rounded once to f32), which from then on
 * is a dense constant. */
Status loader_add(Loader *l, uint32_t index, double value);
/* The elements of a small vector of exactly `size`, as f32. Missing is an error. */
Status loader_floats(Loader *l, TensorName n, int layer, int64_t size, float *out);
/* The tensor plays no part (masks that old files carry, a head that is tied). */
void loader_ignore(Loader *l, TensorName n, int layer);
/* Tensors that nobody asked for: an error in a GGUF, a warning (as in Transformers) elsewhere. */
Status loader_finish(Loader *l);
/* A dense f32 vector as a constant; `values` are copied. */
uint32_t const_floats(Module *m, const char *name, const float *values, int64_t n);

#endif
