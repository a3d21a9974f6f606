/* The way from a model to a program: what `ingot compile`, `ingot run` and `--verify` share.
 *
 * Model -> Module -> graph passes -> one KProgram an ISA level -> backend. Options are plain
 * strings as given on the command line, already checked against their choices.
 */
#ifndef INGOT_TOOLS_COMPILE_H
#define INGOT_TOOLS_COMPILE_H

#include "backends/backend.h"
#include "frontend/model.h"
#include "tools/options.h"

typedef struct CompileOptions {
  const char *model, *out;
  const char *task;      /* NULL: what the architecture is for; "tokenize" */
  const char *quant;     /* NULL: keep a GGUF's formats, q8_0 for float models; "none": f32 */
  const char *calibrate; /* NULL, or a text whose activations say which weights matter */
  const char *act;       /* i16, i8 or f32 */
  const char *prefill;   /* exact or fast */
  const char *kv;        /* NULL: f16, or f32 with --act f32 */
  const char *cpu;       /* "native", "all" or a list of levels */
  const char *target;    /* NULL: this machine's; of cpu_arch_names */
  const char *backend, *emit;
  int64_t context, chunk;
  const char *dump, *stop_after, *start_from; /* pass names, or a file for start_from */
  bool verify_each, time_passes, explain, quiet, verbose, json;
  const char *verify;            /* NULL: off; "" or a bound */
  const char *tile;              /* tuning: sizes in place of the level's, see tools/tile.h */
  int64_t fail_alloc, fail_read; /* tests: the n-th allocation or read fails */
} CompileOptions;

/* The rows that compile and run have in common. */
extern const Option compile_options[];
extern const size_t compile_options_count;
CompileOptions compile_defaults(void);

typedef struct CompileReport {
  EmitResult size;
  double seconds;
  double peak_mb; /* the compiler's own peak memory, without mapped files where it can be told */
  double verify_error; /* largest difference over the largest output; < 0: not verified */
} CompileReport;

/* A path's last part, without the extension of a model file; of "." and ".." the folder's own. */
const char *model_base_name(Arena *a, const char *path);

/* Compiles; messages are in `d`. On FAIL nothing is left at options->out. */
Status compile_model(const CompileOptions *options, Diag *d, CompileReport *out);

/* Runs the program against the reference evaluator on seeded tokens (tools/verify.c). *error is the
 * largest difference over the largest output. */
Status verify_program(const char *program, const Module *m, Diag *d, double *error);

#endif
