/* An output file in the making: written in a private folder beside its place, renamed when
 * complete.
 *
 * Whatever goes wrong, nothing half-written stays: `output_close` without `output_commit` removes
 * the folder, and so do out-of-memory, LLVM's fatal errors, and SIGINT, SIGTERM and SIGHUP where
 * the process leaves them alone, through `output_abandon_all`.
 */
#ifndef INGOT_BACKENDS_CPU_OUTPUT_H
#define INGOT_BACKENDS_CPU_OUTPUT_H

#include "ir/base.h"

typedef struct Output {
  const char *final; /* where it will be */
  char *folder;      /* `.ingot-XXXXXX` beside it */
  char *path;        /* the file in the folder; it need not exist yet */
  struct Output *next;
} Output;

/* Makes the folder; an error when the place is not writable. */
Status output_open(Output *o, const char *final, Diag *d);
/* Gives the file its mode and its name, replacing what was there. */
Status output_commit(Output *o, unsigned mode, Diag *d);
void output_close(Output *o);
/* Removes the folders of all open outputs; safe to call from a dying process. */
void output_abandon_all(void);

/* Creates or replaces `path` with these bytes. */
Status output_write(const char *path, const void *data, size_t size, Diag *d, const char *where);
/* Writes all bytes at an offset, going on after interruptions; errno tells why on false. */
bool output_put(int fd, const void *data, size_t size, uint64_t offset);

#endif
