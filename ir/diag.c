/* Diagnostics and name suggestions: see ir/base.h. */
#include "ir/base.h"

#include <stdio.h>
#include <string.h>

enum { MOST_ERRORS = 20 };

struct Diag {
  Buf text;
  unsigned errors;
};

Diag *diag_new(void) {
  return mem_alloc(sizeof(Diag));
}

void diag_free(Diag *d) {
  if (!d) return;
  buf_free(&d->text);
  mem_free(d);
}

static void add_message(Diag *d, const char *kind, const char *where, const char *fmt,
                        va_list args) {
  char line[2048];
  vsnprintf(line, sizeof line, fmt, args);
  for (char *c = line; *c; c++) { /* names come from hostile files: keep a message on its line */
    if ((unsigned char)*c < ' ' || *c == 0x7f) *c = '?';
  }
  buf_printf(&d->text, "ingot: %s: %.512s: %s\n", kind, *where ? where : "''", line);
}

Status diag_error(Diag *d, const char *where, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  if (d->errors++ < MOST_ERRORS) add_message(d, "error", where, fmt, args);
  va_end(args);
  return FAIL;
}

void diag_warn(Diag *d, const char *where, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  add_message(d, "warning", where, fmt, args);
  va_end(args);
}

void diag_add(Diag *d, const Diag *from) {
  if (from->text.size) buf_puts(&d->text, from->text.data);
  d->errors += from->errors;
}

unsigned diag_errors(const Diag *d) {
  return d->errors;
}

const char *diag_text(Diag *d) {
  if (d->errors > MOST_ERRORS) {
    buf_printf(&d->text, "ingot: error: and %u more\n", d->errors - MOST_ERRORS);
    d->errors = MOST_ERRORS;
  }
  return d->text.data ? d->text.data : "";
}

/* Edit distance of two short words with insertion, deletion, substitution and transposition. */
static size_t edit_distance(const char *a, const char *b) {
  enum { LONGEST = 63 };
  size_t na = strlen(a), nb = strlen(b);
  if (na > LONGEST || nb > LONGEST) return SIZE_MAX;
  size_t rows[3][LONGEST + 1];
  for (size_t j = 0; j <= nb; j++) rows[0][j] = j;
  for (size_t i = 1; i <= na; i++) {
    size_t *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= nb; j++) {
      size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best) best = last[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
          before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      row[j] = best;
    }
  }
  return rows[na % 3][nb];
}

const char *nearest_name(const char *word, const char *const *names, size_t n) {
  const char *best = NULL;
  size_t best_distance =
      strlen(word) / 3 + 1; /* a third of the letters may be wrong, at least one */
  for (size_t i = 0; i < n; i++) {
    size_t distance = edit_distance(word, names[i]);
    if (distance <= best_distance && (!best || distance < best_distance)) {
      best = names[i];
      best_distance = distance;
    }
  }
  return best;
}
