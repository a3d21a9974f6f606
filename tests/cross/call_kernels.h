/* What a test and tests/cross/call_kernels.c say to each other: see there. */
#ifndef INGOT_TESTS_CALL_KERNELS_H
#define INGOT_TESTS_CALL_KERNELS_H

#include <stdint.h>

enum { CALL_BUFFERS = 4, CALL_BYTES = 8192 };

typedef struct CallHead {
  uint32_t level, kernel, nbuffers, unused;
  int64_t lo, hi, scalars[2];
} CallHead;

#endif
