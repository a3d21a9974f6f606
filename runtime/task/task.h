/* The calls of a produced program: one table row and one file each.
 *
 * A call fills its option struct with defaults, gets it back parsed, does its work and returns the
 * exit status: 0 done, 1 the work failed, 2 wrong use (with the Err filled), 130 interrupted.
 */
#ifndef INGOT_RUNTIME_TASK_H
#define INGOT_RUNTIME_TASK_H

#include "runtime/abi.h"
#include "runtime/core/args.h"
#include "runtime/core/exec.h"
#include "runtime/core/io.h"

enum { CALL_DONE = 0, CALL_FAILED = 1, CALL_WRONG_USE = 2, CALL_INTERRUPTED = 130 };
enum {
  NEEDS_NETWORK = 1,
  NEEDS_TOKENIZER = 2,
  NEEDS_TEMPLATE = 4,
  NEEDS_DECODER = 8,
  NEEDS_POOLING = 16
};

typedef struct Task {
  const char *program; /* how it was called, for messages */
  const IngotModel *m;
  double started; /* io_seconds() at the start of main */
  Args args;      /* positional ones */
} Task;

typedef struct Call {
  const char *name, *usage, *purpose;
  unsigned needs;
  const ArgSpec *specs;
  size_t nspecs, options_size;
  void (*defaults)(void *options, const IngotModel *m); /* NULL: all zero */
  int (*run)(const Task *t, void *options, Err *e);
} Call;

/* Options of every call that runs the network; first member of such option structs. */
typedef struct RunOptions {
  int64_t threads;
  const char *cpu;
} RunOptions;
#define RUN_OPTION_SPECS                                                                           \
  {"--threads", 't',         ARG_INT, offsetof(RunOptions, threads),                               \
   1,           THREADS_MAX, "N",     "threads (default: the cores this process may use)"},        \
      {"--cpu", 0, ARG_TEXT, offsetof(RunOptions, cpu),                                            \
       0,       0, "LEVEL",  "instruction set level (default: the best that runs here)"}

static inline ExecOptions run_options(const RunOptions *r) {
  return (ExecOptions){.threads = (unsigned)r->threads, .cpu = r->cpu};
}

/* Fills ids[0..n) with tokens to measure with: any ids will do, but they must not repeat. */
static inline void measuring_ids(uint32_t *ids, int64_t n, int64_t vocab) {
  for (int64_t i = 0; i < n; i++) ids[i] = (uint32_t)((i * 7919 + 13) % vocab);
}

/* The exit status of work that failed or not, and may have been interrupted. */
static inline int call_status(int failed) {
  return !failed ? CALL_DONE : *io_interrupted() ? CALL_INTERRUPTED : CALL_FAILED;
}

extern const Call call_generate, call_tensors, call_bench, call_profile, call_tokenize,
    call_detokenize, call_template, call_card, call_embed;

#endif
