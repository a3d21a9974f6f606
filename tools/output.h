/* Output files of the driver: a temporary beside the target, renamed when whole. */
#ifndef INGOT_TOOLS_OUTPUT_H
#define INGOT_TOOLS_OUTPUT_H

#include "ir/graph.h"

/* Writes `size` bytes to `path` (NULL or "-": stdout) with the mode given. On failure nothing is
 * left behind. */
Status write_output(const char *path, const void *data, size_t size, unsigned mode, Diag *d);

struct RefTensor;
/* Writes tensors (floats as F32, integers as I64) as a safetensors file. */
Status write_safetensors(const char *path, const struct RefTensor *tensors, uint32_t n, Diag *d);

#endif
