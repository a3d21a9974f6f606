/* Read bandwidth: see bandwidth.h.
 *
 * Each worker reads its share in 1, 2, 4 and 8 streams in turn: some machines read fastest in
 * several, some in one. The best of several rounds of together at least 100 ms counts.
 */
#include "runtime/core/bandwidth.h"

#include "runtime/core/io.h"
#include <stdlib.h>

enum { STREAMS = 8 }; /* the most */
typedef uint64_t Wide __attribute__((vector_size(16)));
typedef struct Reading {
  const uint8_t *data;
  size_t bytes;
  int streams;
  struct {
    Wide sum;
    char pad[48];
  } result[THREADS_MAX];
} Reading;

/* Reads `streams` pieces side by side; inlined with a literal, so that the inner loop unrolls. */
static inline __attribute__((always_inline)) Wide read_streams(const uint8_t *from, size_t piece,
                                                               int streams) {
  Wide a = {0}, b = {0}, c = {0}, d = {0}; /* an array would be kept in memory: half the speed */
  for (size_t i = 0; i < piece; i += 64) {
    for (int s = 0; s < streams; s++) {
      const Wide *p = (const Wide *)(const void *)(from + (size_t)s * piece + i);
      __builtin_prefetch((const uint8_t *)p + 8192 / streams, 0, 0);
      a ^= p[0];
      b ^= p[1];
      c ^= p[2];
      d ^= p[3];
    }
  }
  return a ^ b ^ c ^ d;
}

static void read_share(void *arg, unsigned worker, unsigned nworkers) {
  Reading *r = arg;
  size_t piece = r->bytes / nworkers / (unsigned)r->streams / 64 * 64;
  const uint8_t *from = r->data + (size_t)worker * piece * (unsigned)r->streams;
  Wide *sum = &r->result[worker].sum;
  switch (r->streams) {
  case 1: *sum = read_streams(from, piece, 1); break;
  case 2: *sum = read_streams(from, piece, 2); break;
  case 4: *sum = read_streams(from, piece, 4); break;
  default: *sum = read_streams(from, piece, STREAMS); break;
  }
}

double read_bandwidth(ThreadPool *pool, const void *data, size_t bytes) {
  Reading *r = aligned_alloc(64, (sizeof *r + 63) & ~(size_t)63);
  size_t skip = (64 - (uintptr_t)data % 64) % 64; /* from the first aligned address on */
  if (!r || bytes < skip + (size_t)64 * STREAMS * pool_size(pool)) {
    free(r);
    return 0;
  }
  r->data = (const uint8_t *)data + skip;
  r->bytes = bytes - skip;
  double best = 0, begin = io_seconds();
  for (int i = 0; i < 8 || io_seconds() - begin < 0.1; i++) {
    r->streams = 1 << i % 4;
    double t0 = io_seconds();
    pool_run(pool, read_share, r);
    double gbs = 1e-9 * (double)r->bytes / (io_seconds() - t0);
    if (gbs > best) best = gbs;
  }
  free(r);
  return best;
}
