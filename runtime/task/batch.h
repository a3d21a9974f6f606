/* The named inputs of `tensors` in the runtime's own types, row by row, checked. */
#ifndef INGOT_RUNTIME_BATCH_H
#define INGOT_RUNTIME_BATCH_H

#include "runtime/core/safetensors.h"

typedef struct Batch {
  int64_t rows, length, seq_len; /* seq_len: one more than the largest position */
  uint32_t *ids;
  int32_t *types;     /* NULL: all 0 */
  int32_t *positions; /* NULL: 0, 1, .. */
  float *mask;        /* NULL: all ones */
} Batch;

/* How large values may be: each below its limit. */
typedef struct BatchLimits {
  int64_t vocab;
  int64_t positions; /* 0: any position */
  int64_t types;     /* 0: the program has no token_type_ids */
} BatchLimits;

/* Reads input_ids [B, N] and what else is there. *b is released by batch_free, also on error. */
int batch_read(const StFile *f, const char *path, const BatchLimits *limits, Batch *b, Err *e);
void batch_free(Batch *b);

#endif
