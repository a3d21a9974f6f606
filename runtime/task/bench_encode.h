/* `bench` of an encoder. */
#ifndef INGOT_RUNTIME_BENCH_ENCODE_H
#define INGOT_RUNTIME_BENCH_ENCODE_H

#include "runtime/core/exec.h"
#include <stdbool.h>

typedef struct EncodeBench {
  int64_t length, batch, repeat; /* length < 0: 128 or what fits */
  bool json;
  double started;
} EncodeBench;
int bench_encode(const IngotModel *m, const ExecOptions *o, const EncodeBench *b, Err *e);

#endif
