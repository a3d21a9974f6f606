/* Runs the entries of a model: dimensions, memory, bindings, launches.
 *
 * exec_open resolves every address once: arena, states, inputs and outputs have fixed places, so a
 * run only computes the values of dimensions and walks the launch list on all threads. Nothing is
 * allocated after exec_open.
 */
#ifndef INGOT_RUNTIME_EXEC_H
#define INGOT_RUNTIME_EXEC_H

#include "runtime/abi.h"
#include "runtime/core/threads.h"

typedef struct ExecOptions {
  unsigned threads; /* 0: threads_default() */
  const char *cpu;  /* ISA level by name, NULL: the best that runs here */
} ExecOptions;

typedef struct Exec Exec;

int exec_open(const IngotModel *m, const ExecOptions *o, Exec **out, Err *e);
void exec_close(Exec *x); /* NULL is fine */

const IngotModel *exec_model(const Exec *x);
const IngotLevel *exec_level(const Exec *x);
ThreadPool *exec_pool(Exec *x);

int exec_entry(const Exec *x, const char *name); /* index, -1: none */
/* Index of an input or output of an entry by name, -1: none. */
int exec_input(const Exec *x, int entry, const char *name);
int exec_output(const Exec *x, int entry, const char *name);
/* Its memory, valid until exec_close; entries share it, so read results before the next run. */
void *exec_input_data(Exec *x, int entry, int input);
void *exec_output_data(Exec *x, int entry, int output);

/* Symbols by name; exec_set refuses values out of the declared range. */
int exec_symbol(const Exec *x, const char *name); /* dim id, -1: none */
int exec_set(Exec *x, int symbol, int64_t value, Err *e);
/* Value of a dim under the symbols as they are set now. */
int64_t exec_dim(const Exec *x, uint32_t dim);
int64_t exec_symbol_limit(const Exec *x, int symbol); /* largest value allowed */
/* What one run of an entry reads and writes (bytes) and computes, by its launches. */
void exec_work(const Exec *x, int entry, double *bytes, double *flops);
/* Elements of a tensor now. */
int64_t exec_elements(const Exec *x, const IngotTensor *t);

void exec_run(Exec *x, int entry);
/* Gives back to the system what memory other entries had for their scratch and `entry` does not. */
void exec_give_back(Exec *x, int entry);

/* Tracing, for `profile`: while a trace is set, every run notes who ran each range of each launch
 * from when to when, and hands that over at its end. Without one nothing is noted or asked. */
typedef struct ExecSpan {
  uint64_t begin, end; /* nanoseconds of the monotonic clock */
  uintptr_t thread;    /* the same number for the same thread */
} ExecSpan;
typedef struct ExecTrace {
  /* range r of launch l is span[r * stride + l]; a range is written by the one who runs it, mostly
   * the same for all launches, so threads seldom share a line */
  ExecSpan *span;
  uint32_t stride;     /* at least the launches of any entry */
  uint64_t begin, end; /* of the run */
  void (*ended)(void *user, int entry);
  void *user;
} ExecTrace;
void exec_trace(Exec *x, ExecTrace *t); /* NULL: off; `t` must live until then */

#endif
