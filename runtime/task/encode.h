/* `tensors` of an encoder: Transformers' forward() of a batch. */
#ifndef INGOT_RUNTIME_ENCODE_H
#define INGOT_RUNTIME_ENCODE_H

#include "runtime/core/exec.h"

/* Reads the inputs at `in`, runs every row, writes all outputs of the entry to `out`. */
int encode_tensors(const IngotModel *m, const ExecOptions *o, const char *in, const char *out,
                   Err *e);

#endif
