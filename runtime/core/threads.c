/* Thread pool with a central barrier: one counter of arrivals and one generation number, on cache
 * lines of their own. A waiter spins on the generation, then sleeps on it by futex; the last to
 * arrive wakes only if someone sleeps (both sides use sequentially consistent operations, so either
 * the waker sees the sleeper or the sleeper sees the new generation).
 *
 * Each worker adapts its own spin bound: a spin that ends in time doubles it, one that doesn't
 * halves it. The lower end is what a sleep and a wake-up cost: spinning that long at most doubles
 * the price of a wait, while a lower one, once reached, would make every barrier sleep for good.
 * Only when there are more threads than cores is spinning of no use from the start.
 */
#include "runtime/core/threads.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From linux/futex.h, which musl does not carry. */
enum { WAIT_PRIVATE = 128, WAKE_PRIVATE = 129 };

/* Pauses; one takes 10 to 40 ns, so the top is longer than any kernel's imbalance. */
enum { SPIN_TOP = 8192, SPIN_BOTTOM = 512, SPIN_CROWDED = 8, STACK_BYTES = 1 << 20 };

typedef struct Worker {
  ThreadPool *pool;
  unsigned index;
  unsigned spin;
  pthread_t thread;
  char pad[64];
} Worker;

struct ThreadPool {
  _Alignas(64) atomic_uint arrived;
  _Alignas(64) atomic_uint generation;
  atomic_uint sleepers;
  _Alignas(64) unsigned n;
  unsigned spin_bottom, spin_top;
  unsigned started; /* threads that exist, worker 0 counted */
  bool quit;
  PoolFn *fn;
  void *arg;
  Worker worker[];
};

static inline void spin_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

static void sleep_until_changed(ThreadPool *p, unsigned old) {
  atomic_fetch_add(&p->sleepers, 1);
  while (atomic_load(&p->generation) == old)
    syscall(SYS_futex, &p->generation, WAIT_PRIVATE, old, NULL, NULL, 0);
  atomic_fetch_sub(&p->sleepers, 1);
}

static void wait_for(ThreadPool *p, Worker *w, unsigned old) {
  for (unsigned i = 0; i < w->spin; i++) {
    if (atomic_load_explicit(&p->generation, memory_order_acquire) != old) {
      if (w->spin < p->spin_top) w->spin *= 2;
      return;
    }
    spin_pause();
  }
  if (w->spin > p->spin_bottom) w->spin /= 2;
  sleep_until_changed(p, old);
}

void pool_barrier(ThreadPool *p, unsigned worker) {
  if (p->n == 1) return;
  unsigned old = atomic_load_explicit(&p->generation, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 < p->n) {
    wait_for(p, &p->worker[worker], old);
    return;
  }
  atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
  atomic_store(&p->generation, old + 1);
  if (atomic_load(&p->sleepers))
    syscall(SYS_futex, &p->generation, WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *worker_main(void *arg) {
  Worker *w = arg;
  ThreadPool *p = w->pool;
  for (;;) {
    pool_barrier(p, w->index); /* work is there */
    if (p->quit) return NULL;
    p->fn(p->arg, w->index, p->n);
    pool_barrier(p, w->index); /* work is done */
  }
}

/* Signals are for the main thread: workers start with all of them blocked. */
static int start_worker(Worker *w) {
  pthread_attr_t attr;
  sigset_t all, old;
  if (pthread_attr_init(&attr)) return 1;
  sigfillset(&all);
  pthread_attr_setstacksize(&attr, STACK_BYTES);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  int r = pthread_create(&w->thread, &attr, worker_main, w);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attr);
  return r;
}

int pool_open(unsigned n, ThreadPool **out, Err *e) {
  *out = NULL;
  if (n < 1 || n > THREADS_MAX)
    return err_set(e, "threads", "%u is not possible (expected 1 to %d)", n, THREADS_MAX);
  size_t bytes = sizeof(ThreadPool) + n * sizeof(Worker);
  ThreadPool *p = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
  if (!p) return err_no_memory(e, "threads");
  atomic_init(&p->arrived, 0);
  atomic_init(&p->generation, 0);
  atomic_init(&p->sleepers, 0);
  p->n = n;
  p->quit = false;
  bool crowded = n > threads_cores();
  p->spin_top = crowded ? SPIN_CROWDED : SPIN_TOP;
  p->spin_bottom = crowded ? SPIN_CROWDED : SPIN_BOTTOM;
  for (unsigned i = 0; i < n; i++)
    p->worker[i] = (Worker){.pool = p, .index = i, .spin = p->spin_top};
  for (p->started = 1; p->started < n; p->started++) {
    if (start_worker(&p->worker[p->started])) {
      unsigned made = p->started;
      pool_close(p);
      return err_set(e, "threads", "can't start thread %u of %u; try fewer with -t", made + 1, n);
    }
  }
  *out = p;
  return 0;
}

void pool_close(ThreadPool *p) {
  if (!p) return;
  p->quit = true;
  /* After a failed start the missing workers' arrivals are supplied here. */
  unsigned missing = p->n - p->started;
  if (missing) atomic_fetch_add(&p->arrived, missing);
  pool_barrier(p, 0);
  for (unsigned i = 1; i < p->started; i++) pthread_join(p->worker[i].thread, NULL);
  free(p);
}

unsigned pool_size(const ThreadPool *p) {
  return p->n;
}

void pool_run(ThreadPool *p, PoolFn *fn, void *arg) {
  p->fn = fn;
  p->arg = arg;
  pool_barrier(p, 0);
  fn(arg, 0, p->n);
  pool_barrier(p, 0);
}
