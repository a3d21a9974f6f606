/* Thread pool: jobs, and laps with helping.
 *
 * A job is published under a sequence lock: its number is odd while it is being written. Workers
 * wait for the number to change, read the job, check the number again and run it. Jobs of pool_run
 * count arrivals at their end; jobs of laps don't, as nobody waits for a worker that is late.
 *
 * Laps are numbered through the life of the pool, and so are pieces: LAP_PIECES numbers a lap,
 * whether it has so many or not. claimed[w] is the number of the next piece of range w that is
 * free; taking it is a compare-and-swap to the next number, so each piece of each lap is run
 * exactly once, and a worker that is behind fails everywhere. `done` counts what is finished: a
 * range adds LAP_PIECES, one a piece and the last one the rest, so with n workers that take part in
 * a job all its laps before lap s are complete when it has grown by s * n * LAP_PIECES. Who must
 * wait for that takes free pieces at once: an owner who has not begun when another has finished is
 * late by more than a piece takes, so helping does not lose.
 *
 * Each worker adapts its own spin bound: a spin that ends in time doubles it, one that doesn't
 * halves it. The lower end is what a sleep and a wake-up cost: spinning that long at most doubles
 * the price of a wait, while a lower one, once reached, would make every wait sleep for good.
 *
 * A thread that loses its core in the middle of a range can't be helped: the others wait until it
 * is back, a few milliseconds each time where somebody else computes on that core. So worker 0
 * measures how long it slept in each job of laps, and when that was longer than the job would have
 * taken with one worker less, one worker pauses: the next jobs are cut into fewer ranges. It comes
 * back on trial after 8 ms; if that goes wrong soon again, after 16, up to 512. Workers beyond the
 * number of processors pause for good.
 *
 * Sleeping: sleepers are counted, and a waker makes the system call only when there are some. Both
 * sides use sequentially consistent operations, so either the waker sees the sleeper or the sleeper
 * sees the change. Futexes compare 32 bits: the low half of the counter.
 */
#include "runtime/core/threads.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* From linux/futex.h, which musl does not carry. */
enum { WAIT_PRIVATE = 128, WAKE_PRIVATE = 129 };

/* Pauses; one takes 10 to 40 ns, so the top is longer than any kernel's imbalance. */
enum { SPIN_TOP = 8192, SPIN_BOTTOM = 512, STACK_BYTES = 1 << 20 };
/* Nanoseconds. A sleep that costs a job less than SLEEP_LEAST is no sign of a lost core. */
enum { SLEEP_LEAST = 500000, PAUSE_LEAST = 8000000, PAUSE_MOST = 512000000 };

typedef struct Worker {
  _Alignas(64) atomic_ullong claimed;
  ThreadPool *pool;
  unsigned index, spin;
  uint64_t progress; /* of what it does while it waits, in this job */
  pthread_t thread;
} Worker;

typedef struct Counter { /* something to wait for */
  _Alignas(64) atomic_ullong value;
  atomic_uint sleepers;
} Counter;

/* Worker 0's own: who takes part in laps. Times of the monotonic clock, nanoseconds. */
typedef struct Pauses {
  unsigned active, most; /* workers that take part, the others pause; no more than processors */
  uint64_t slept;        /* by worker 0 in this job */
  uint64_t length, until, resumed;
} Pauses;

struct ThreadPool {
  Counter job;                       /* number of the job, odd while it is written */
  Counter arrived;                   /* ends of pool_run jobs */
  Counter done;                      /* LAP_PIECES a range of laps */
  Counter rally;                     /* jobs that more workers take part in than in the last */
  _Alignas(64) _Atomic(PoolFn *) fn; /* the job; NULL: laps */
  _Atomic(void *) arg;
  _Atomic(LapFn *) range;
  _Atomic(LapWaitFn *) waits;
  _Atomic(LapIdleFn *) idle;
  _Atomic(LapPiecesFn *) pieces;
  atomic_uint count, part;         /* its laps; workers that take part */
  atomic_ullong first, done_first; /* its first lap; `done` before that */
  atomic_ullong rallied;           /* `rally` with it */
  atomic_bool quit;
  unsigned n, started, awake; /* started: worker 0 counted; awake: part of the last job */
  uint64_t next, all_done;    /* first lap and `done` of the next job */
  uint64_t arrivals;          /* to wait for */
  Pauses pauses;
  Worker worker[];
};

static inline void spin_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

static uint64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- counters -------------------------------------------------------------------------------- */

static bool spin_until(Counter *c, uint64_t target, unsigned pauses) {
  for (unsigned i = 0; i <= pauses; i++) {
    if (atomic_load_explicit(&c->value, memory_order_acquire) >= target) return true;
    spin_pause();
  }
  return false;
}

static void sleep_until(Counter *c, uint64_t target) {
  uint64_t now;
  atomic_fetch_add(&c->sleepers, 1);
  while ((now = atomic_load(&c->value)) < target)
    syscall(SYS_futex, &c->value, WAIT_PRIVATE, (uint32_t)now, NULL, NULL, 0);
  atomic_fetch_sub(&c->sleepers, 1);
}

static void wait_until(ThreadPool *p, Worker *w, Counter *c, uint64_t target) {
  if (spin_until(c, target, w->spin)) {
    if (w->spin < SPIN_TOP) w->spin *= 2;
    return;
  }
  if (w->spin > SPIN_BOTTOM) w->spin /= 2;
  uint64_t begin = w->index ? 0 : nanoseconds();
  sleep_until(c, target);
  if (!w->index) p->pauses.slept += nanoseconds() - begin;
}

static void wake(Counter *c) {
  if (atomic_load(&c->sleepers))
    syscall(SYS_futex, &c->value, WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- laps ------------------------------------------------------------------------------------ */

typedef struct Job {
  PoolFn *fn; /* NULL: laps */
  void *arg;
  Laps laps;
  unsigned part; /* workers that take part, the first ones */
  uint64_t first, done, rally;
} Job;

/* What a lap of a job adds to `done`. */
static uint64_t whole_lap(const Job *j) {
  return (uint64_t)j->part * LAP_PIECES;
}

/* Takes piece `at` of range `r` and runs it; false when it was taken before. */
static bool take_piece(ThreadPool *p, const Job *j, uint64_t at, unsigned r) {
  unsigned lap = (unsigned)(at / LAP_PIECES - j->first), piece = (unsigned)(at % LAP_PIECES);
  LapPart part = {r, j->part, piece, 1};
  if (j->laps.pieces) part.pieces = j->laps.pieces(j->laps.arg, lap, j->part);
  uint64_t left = piece + 1 < part.pieces ? 1 : LAP_PIECES - piece;
  unsigned long long expected = at;
  if (!atomic_compare_exchange_strong(&p->worker[r].claimed, &expected, at + left)) return false;
  j->laps.range(j->laps.arg, lap, &part);
  /* only the last piece of a lap can be what a sleeper waits for */
  if ((atomic_fetch_add(&p->done.value, left) + left - j->done) % whole_lap(j) == 0) wake(&p->done);
  return true;
}

/* Takes what is free in the laps before `s`. What these laps depend on is complete: the caller
 * itself has come past it. */
static void help(ThreadPool *p, const Worker *w, const Job *j, uint64_t s) {
  for (unsigned k = 1; k < j->part; k++) {
    unsigned r = (w->index + k) % j->part;
    uint64_t v;
    do v = atomic_load(&p->worker[r].claimed);
    while (v < s * LAP_PIECES && take_piece(p, j, v, r));
  }
}

/* Piece after piece of what there is to do until `done` is `target`; false when nothing is left. */
static bool idle_until(ThreadPool *p, Worker *w, const Job *j, uint64_t s, uint64_t target) {
  unsigned lap = (unsigned)(s - j->first);
  if (!j->laps.idle || lap >= j->laps.count) return false;
  while (j->laps.idle(j->laps.arg, lap, w->index, j->part, &w->progress))
    if (spin_until(&p->done, target, 0)) return true;
  return false;
}

static void wait_for_laps(ThreadPool *p, Worker *w, const Job *j, uint64_t s) {
  uint64_t target = j->done + (s - j->first) * whole_lap(j);
  if (spin_until(&p->done, target, 0)) return;
  help(p, w, j, s);
  if (!idle_until(p, w, j, s, target)) wait_until(p, w, &p->done, target);
}

static void run_laps(ThreadPool *p, Worker *w, const Job *j) {
  w->progress = 0;
  for (unsigned i = 0; i < j->laps.count; i++) {
    if (i && j->laps.waits(j->laps.arg, i)) wait_for_laps(p, w, j, j->first + i);
    uint64_t v, end = (j->first + i + 1) * LAP_PIECES;
    do v = atomic_load(&w->claimed);
    while (v < end && take_piece(p, j, v, w->index));
  }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void post(ThreadPool *p, const Job *j) {
  uint64_t rally = atomic_load(&p->rally.value) + (j->part > p->awake);
  p->awake = j->part;
  uint64_t number = atomic_load(&p->job.value);
  atomic_store(&p->job.value, number + 1);
  atomic_store(&p->fn, j->fn);
  atomic_store(&p->arg, j->fn ? j->arg : (void *)(uintptr_t)j->laps.arg);
  atomic_store(&p->range, j->laps.range);
  atomic_store(&p->waits, j->laps.waits);
  atomic_store(&p->idle, j->laps.idle);
  atomic_store(&p->pieces, j->laps.pieces);
  atomic_store(&p->count, j->laps.count);
  atomic_store(&p->part, j->part);
  atomic_store(&p->first, j->first);
  atomic_store(&p->done_first, j->done);
  atomic_store(&p->rallied, rally);
  atomic_store(&p->job.value, number + 2);
  wake(&p->job);
  atomic_store(&p->rally.value, rally);
  wake(&p->rally);
}

/* The job behind number `last`: waits for one; returns its number. */
static uint64_t next_job(ThreadPool *p, Worker *w, uint64_t last, Job *j) {
  for (;;) {
    wait_until(p, w, &p->job, last + 2);
    uint64_t number = atomic_load(&p->job.value);
    if (number % 2) { /* being written, which takes no time unless its writer lost its core */
      spin_until(&p->job, number + 1, SPIN_BOTTOM);
      continue;
    }
    j->fn = atomic_load(&p->fn);
    j->arg = atomic_load(&p->arg);
    j->laps = (Laps){.range = atomic_load(&p->range),
                     .waits = atomic_load(&p->waits),
                     .idle = atomic_load(&p->idle),
                     .pieces = atomic_load(&p->pieces),
                     .arg = j->arg,
                     .count = atomic_load(&p->count)};
    j->part = atomic_load(&p->part);
    j->first = atomic_load(&p->first);
    j->done = atomic_load(&p->done_first);
    j->rally = atomic_load(&p->rallied);
    if (atomic_load(&p->job.value) == number) return number;
  }
}

static void *worker_main(void *arg) {
  Worker *w = arg;
  ThreadPool *p = w->pool;
  uint64_t number = 0;
  for (;;) {
    Job j;
    number = next_job(p, w, number, &j);
    if (atomic_load(&p->quit)) return NULL;
    if (!j.fn) {
      if (w->index < j.part)
        run_laps(p, w, &j);
      else
        sleep_until(&p->rally, j.rally + 1);
      continue;
    }
    j.fn(j.arg, w->index, p->n);
    atomic_fetch_add(&p->arrived.value, 1);
    wake(&p->arrived);
  }
}

void pool_run(ThreadPool *p, PoolFn *fn, void *arg) {
  Job j = {.fn = fn, .arg = arg, .part = p->n};
  p->arrivals += p->n - 1;
  post(p, &j);
  fn(arg, 0, p->n);
  wait_until(p, &p->worker[0], &p->arrived, p->arrivals);
}

/* ---- pauses ------------------------------------------------------------------------------------
 */

/* Before a job: how many take part. One more may try when the pause is over. */
static unsigned take_part(ThreadPool *p, uint64_t now) {
  Pauses *a = &p->pauses;
  a->slept = 0;
  if (a->active < a->most && now >= a->until) {
    a->active++;
    a->resumed = now;
    a->until = now + a->length;
  }
  return a->active;
}

/* After a job: one worker less when that would have been faster. With n workers each works w and
 * worker 0 sleeps s; without one, each works w * n / (n - 1). */
static void judge_pauses(ThreadPool *p, uint64_t begin, uint64_t now) {
  Pauses *a = &p->pauses;
  uint64_t worked = now - begin - a->slept;
  if (a->active < 2 || a->slept < SLEEP_LEAST || a->slept * (a->active - 1) < worked) return;
  bool again = begin - a->resumed < 4 * a->length; /* soon after it came back on trial */
  a->length = again ? 2 * a->length : PAUSE_LEAST;
  if (again && a->length < 8 * a->slept) a->length = 8 * a->slept; /* an eighth is lost at most */
  if (a->length > PAUSE_MOST) a->length = PAUSE_MOST;
  a->until = now + a->length;
  a->active--;
}

void pool_laps(ThreadPool *p, const Laps *laps) {
  uint64_t begin = p->n > 1 ? nanoseconds() : 0;
  unsigned part = laps->whole || p->n == 1 ? p->n : take_part(p, begin);
  if (part == 1) {
    const LapPart all = {0, 1, 0, 1};
    for (unsigned i = 0; i < laps->count; i++) laps->range(laps->arg, i, &all);
    return;
  }
  Job j = {.laps = *laps, .part = part, .first = p->next, .done = p->all_done};
  for (unsigned i = 0; i < part; i++) /* who paused is behind; nobody else touches these now */
    atomic_store(&p->worker[i].claimed, j.first * LAP_PIECES);
  p->next += laps->count;
  p->all_done += laps->count * whole_lap(&j);
  post(p, &j);
  run_laps(p, &p->worker[0], &j);
  wait_for_laps(p, &p->worker[0], &j, p->next);
  if (!laps->whole) judge_pauses(p, begin, nanoseconds());
}

/* ---- opening and closing --------------------------------------------------------------------- */

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
  memset(p, 0, bytes); /* all atomics at zero, which is their plain representation */
  unsigned cpus = threads_cpus(), most = n < cpus ? n : cpus;
  p->n = p->awake = n;
  p->pauses = (Pauses){.active = most, .most = most, .length = PAUSE_LEAST};
  for (unsigned i = 0; i < n; i++) {
    p->worker[i].pool = p;
    p->worker[i].index = i;
    p->worker[i].spin = SPIN_TOP;
  }
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
  Job none = {.part = p->n};
  atomic_store(&p->quit, true);
  post(p, &none);
  for (unsigned i = 1; i < p->started; i++) pthread_join(p->worker[i].thread, NULL);
  free(p);
}

unsigned pool_size(const ThreadPool *p) {
  return p->n;
}
