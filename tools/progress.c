/* Progress on a terminal: see tools/progress.h. */
#include "tools/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *format_bytes(uint64_t bytes, char *buf) {
  static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
  double value = (double)bytes;
  unsigned u = 0;
  while (value >= 1000 && u < 4) {
    value /= 1000;
    u++;
  }
  snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", value, unit[u]);
  return buf;
}

void progress_init(Progress *p, bool quiet) {
  *p = (Progress){.on = !quiet && isatty(STDERR_FILENO)};
}

void progress_step(void *user, const char *stage, uint64_t done, uint64_t total) {
  Progress *p = user;
  double now;
  char a[32], b[32];
  if (!p->on) return;
  now = now_seconds();
  if (!p->stage || strcmp(p->stage, stage) != 0) {
    p->stage = stage;
    p->stage_start = now;
  } else if (now - p->last_draw < 0.1) {
    return;
  }
  p->last_draw = now;
  p->drawn = true;
  if (!total) {
    fprintf(stderr, "\r\033[K%s", stage);
    return;
  }
  fprintf(stderr, "\r\033[K%s: %s of %s", stage, format_bytes(done, a), format_bytes(total, b));
  double elapsed = now - p->stage_start;
  if (done && elapsed > 0.5)
    fprintf(stderr, ", %.0f s left", elapsed * (double)(total - done) / (double)done);
}

void progress_end(Progress *p) {
  if (p->drawn) fputs("\r\033[K", stderr);
  p->drawn = false;
}
