/* Output of the driver: tensors of the reference evaluator as safetensors files. */
#ifndef INGOT_TOOLS_OUTPUT_H
#define INGOT_TOOLS_OUTPUT_H

#include "ir/graph.h"

struct RefTensor;
/* Writes tensors (floats as F32, integers as I64) as a safetensors file. */
Status write_safetensors(const char *path, const struct RefTensor *tensors, uint32_t n, Diag *d);

#endif
