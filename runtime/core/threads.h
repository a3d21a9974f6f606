/* Threads of the produced program: how many, and a pool that runs one function on all of them.
 *
 * The caller is worker 0. Who waits spins for a bounded time and then sleeps on a futex; the bound
 * adapts, so that too many threads for the cores cost little.
 */
#ifndef INGOT_RUNTIME_THREADS_H
#define INGOT_RUNTIME_THREADS_H

#include "runtime/core/err.h"
#include <stdbool.h>
#include <stdint.h>

enum { THREADS_MAX = 512 };

/* Cores this process may use: those of the affinity mask, cut by the cgroup's quota (v1 and v2;
 * rounded down, at least 1, since a thread without quota only makes the others wait). */
unsigned threads_default(void);
/* Cores of the affinity mask alone; hyper-threads of one core count once. */
unsigned threads_cores(void);
/* Processors of the affinity mask, hyper-threads counted. */
unsigned threads_cpus(void);
/* Tests: the lowest CPU that shares a core with `cpu`, as listed below `root`; itself when nothing
 * is. */
unsigned threads_first_sibling(const char *root, int cpu);
/* Tests: the quota that stands below `root` (for /sys/fs/cgroup) for the cgroups listed in the
 * text of /proc/self/cgroup; 0 = unlimited. */
unsigned threads_quota(const char *root, const char *self_cgroup);

typedef struct ThreadPool ThreadPool;
typedef void PoolFn(void *arg, unsigned worker, unsigned nworkers);

/* A pool of n workers, n - 1 of them new threads. */
int pool_open(unsigned n, ThreadPool **out, Err *e);
void pool_close(ThreadPool *p); /* NULL is fine */
unsigned pool_size(const ThreadPool *p);
/* Runs fn on all workers and returns when all are done. One caller at a time. */
void pool_run(ThreadPool *p, PoolFn *fn, void *arg);

/* Laps: a list of parallel loops, each cut into one range a worker, and a range into pieces.
 *
 * Worker w takes range w of every lap. Who must wait for a lap to be complete first takes over
 * pieces that nobody has begun, so a worker that the system does not let run holds up nobody: the
 * run ends without it and it finds nothing left to do. Which worker runs a range never matters, nor
 * into how many ranges a lap is cut: workers pause while others have their cores. */
typedef struct LapPart {
  unsigned range, nranges, piece, pieces;
} LapPart;
enum { LAP_PIECES = 16 };
typedef void LapFn(const void *arg, unsigned lap, const LapPart *part);
/* Pieces of each range of a lap: 1 .. LAP_PIECES. */
typedef unsigned LapPiecesFn(const void *arg, unsigned lap, unsigned nranges);
typedef bool LapWaitFn(const void *arg, unsigned lap);
/* Something useful in small pieces for a worker that waits before `lap`, where its range will be
 * `range`: one piece; false when there is no more. `progress` is the worker's own, 0 at first. */
typedef bool LapIdleFn(const void *arg, unsigned lap, unsigned range, unsigned nranges,
                       uint64_t *progress);
typedef struct Laps {
  LapFn *range;
  LapWaitFn *waits;    /* true: all earlier laps must be complete before this one */
  LapIdleFn *idle;     /* NULL: none */
  LapPiecesFn *pieces; /* NULL: one a range */
  const void
      *arg; /* what `waits` reads must not change while the pool is open: workers may be late */
  unsigned count;
  bool whole; /* all workers take part, also those that pause since somebody else has their core */
} Laps;
void pool_laps(ThreadPool *p, const Laps *laps);

#endif
