/* Progress of long work on a terminal: one line on stderr, redrawn at most ten times a second, with
 * sizes and the time left. Silent when stderr is no terminal or --quiet is given. */
#ifndef INGOT_TOOLS_PROGRESS_H
#define INGOT_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Progress {
  bool on, drawn;
  const char *stage;             /* the stage whose clock runs */
  double stage_start, last_draw; /* seconds, monotonic */
} Progress;

void progress_init(Progress *p, bool quiet);
/* EmitRequest.progress: `user` is the Progress; done and total in bytes (0 total: no measure). */
void progress_step(void *user, const char *stage, uint64_t done, uint64_t total);
void progress_end(Progress *p); /* clears the line */
double now_seconds(void);       /* monotonic clock */
/* "97.6 MB" into buf (at least 32 bytes); returns buf. Decimal units. */
const char *format_bytes(uint64_t bytes, char *buf);

#endif
