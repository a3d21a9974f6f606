/* The user's cache of compiled programs, and becoming one of them: `ingot run` and its kin. */
#ifndef INGOT_TOOLS_CACHE_H
#define INGOT_TOOLS_CACHE_H

#include "tools/compile.h"

/* Options of a command that compiles and then becomes the program. */
typedef struct CacheCommand {
  Command command;  /* its options are filled in */
  const char *call; /* first word of the program's command line; NULL: none */
  bool programs;    /* the model may be a produced program, which then runs as it is */
} CacheCommand;

/* Parses, compiles into the cache unless the program is there, and becomes it with what stands
 * behind the model. Returns only when something is wrong: the exit status. */
int cache_command(const CacheCommand *c, int argc, char **argv);

#endif
