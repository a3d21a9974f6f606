/* Command-line options: one table a command makes the parser, the help text and the suggestions.
 *
 * A command keeps its options in a struct; every row of its table says which field it fills. Fields
 * hold their defaults before parsing. Messages go to stderr; wrong use is exit status 2.
 */
#ifndef INGOT_TOOLS_OPTIONS_H
#define INGOT_TOOLS_OPTIONS_H

#include "ir/base.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef enum OptionKind {
  OPTION_FLAG,     /* bool: --name */
  OPTION_STRING,   /* const char *: --name VALUE or --name=VALUE */
  OPTION_INT,      /* int64_t, >= 0 */
  OPTION_CHOICE,   /* const char *: one of `choices` */
  OPTION_OPTIONAL, /* const char *: --name (gives "") or --name=VALUE */
} OptionKind;

typedef struct Option {
  const char *name; /* without dashes */
  char letter;      /* -o; 0 = none */
  OptionKind kind;
  size_t offset;              /* of the field in the command's struct */
  const char *value;          /* how help names the value: "FILE"; NULL for flags and choices */
  const char *help;           /* NULL: not listed (developer's options) */
  const char *const *choices; /* NULL-terminated */
} Option;

typedef struct Command {
  const char *name;
  const char *usage; /* "MODEL [-o OUT] [options]" */
  const char *help;  /* what it does, one or more sentences */
  const Option *options;
  size_t noptions;
  uint32_t min_args, max_args;
  bool rest_is_args; /* everything behind the first positional argument is positional too */
} Command;

typedef struct Args {
  const char **arg; /* heap; args_free */
  uint32_t n;
} Args;

/* Fills `fields` and `out` from argv[0..argc) (without the command's name). Returns -1 to go on,
 * else the exit status: help was printed (0) or wrong use was reported (2). */
int options_parse(const Command *c, int argc, char **argv, void *fields, Args *out);
void args_free(Args *a);

/* Reports wrong use of a command and returns EXIT_USAGE. */
int usage_error(const char *where, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
