/* Command-line options of a call, described by one table.
 *
 * An option's value goes to its offset in the call's own struct, which holds the defaults
 * beforehand. `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`; `--` ends the options; what is
 * no option is positional. Unknown names get the nearest one suggested.
 */
#ifndef INGOT_RUNTIME_ARGS_H
#define INGOT_RUNTIME_ARGS_H

#include "runtime/core/err.h"
#include "runtime/core/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ArgKind { ARG_FLAG, ARG_INT, ARG_DOUBLE, ARG_TEXT, ARG_LIST } ArgKind;

enum { ARG_LIST_MAX = 16 };
typedef struct ArgList { /* an option that may be given several times */
  const char *item[ARG_LIST_MAX];
  unsigned n;
} ArgList;

typedef struct ArgSpec {
  const char *name; /* "--temp" */
  char brief;       /* 't' for -t; 0: none */
  ArgKind kind;     /* bool, int64_t, double, const char *, ArgList */
  size_t offset;
  double lo, hi; /* numbers: the range allowed */
  const char *metavar, *help;
} ArgSpec;

typedef struct Args {
  int argc; /* positional arguments */
  char **argv;
  bool help; /* --help or -h was given */
} Args;

/* Parses argv[0..argc), moving positional arguments to the front. Nonzero: wrong use. */
int args_parse(const ArgSpec *specs, size_t n, void *options, int argc, char **argv, Args *out,
               Err *e);
/* Lines of help for the table. */
void args_help(const ArgSpec *specs, size_t n, Out *o);

/* The name nearest to `word` by edit distance, NULL when none is near enough to be meant. */
const char *args_nearest(const char *word, const char *const *names, size_t n);

#endif
