/* Errors of the runtime: an integer to return and a message to show.
 *
 * Whoever finds the fault fills the Err once (the first message stays) and returns nonzero; callers
 * pass it up. Nothing allocates, so out of memory can be reported too.
 */
#ifndef INGOT_RUNTIME_ERR_H
#define INGOT_RUNTIME_ERR_H

typedef struct Err {
  char where[128]; /* file, option or call; "" = none */
  char what[384];
} Err;

/* Fills `e` unless it holds a message already. Always returns 1. */
int err_set(Err *e, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_no_memory(Err *e, const char *where);

#endif
