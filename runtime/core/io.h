/* Standard streams, clock and interruption of the produced program.
 *
 * Writing to stdout never returns an error: a closed pipe ends the process with 0 (the reader has
 * what it wanted), a full disk with a message and 1.
 */
#ifndef INGOT_RUNTIME_IO_H
#define INGOT_RUNTIME_IO_H

#include "runtime/core/err.h"
#include "runtime/core/json.h"
#include <stdbool.h>
#include <stddef.h>

/* SIGPIPE off; SIGINT, SIGTERM and SIGHUP set the flag below instead of killing, and interrupt a
 * read. A second one ends the process at once. */
void io_setup(void);
/* The signal that asked to stop, or 0; tasks look at it between tokens and return
 * CALL_INTERRUPTED, which becomes the exit status 128 + signal. */
const volatile int *io_interrupted(void);
void io_clear_interrupt(void); /* after Ctrl-C only: the other signals mean the end */

void io_write(const char *data, size_t n);
void io_flush_out(Out *o); /* writes and empties it; ends the process when it had failed */

double io_seconds(void); /* monotonic */

/* Lines of stdin, without the newline. Before it would block, pending output `before` is written.
 */
typedef struct LineReader {
  Out buffer;
  size_t at;
  bool eof;
} LineReader;
/* 1: a line, 0: end of input (or interrupted), -1: error. The line lives until the next call. */
int io_line(LineReader *r, Out *before, const char **line, size_t *n, Err *e);
/* Whether io_line has a line without reading for it. */
bool io_line_ready(const LineReader *r);
/* All of stdin. */
int io_read_all(Out *o, Err *e);

#endif
