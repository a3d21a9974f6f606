/* How fast this machine reads memory: what the speed of a model is measured against. */
#ifndef INGOT_RUNTIME_BANDWIDTH_H
#define INGOT_RUNTIME_BANDWIDTH_H

#include "runtime/core/threads.h"
#include <stddef.h>

/* GB/s of reading data[0..bytes) by all workers of the pool; 0 when there is too little of it. */
double read_bandwidth(ThreadPool *pool, const void *data, size_t bytes);

#endif
