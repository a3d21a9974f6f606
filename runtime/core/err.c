/* Error messages: see err.h. */
#include "runtime/core/err.h"

#include <stdarg.h>
#include <stdio.h>

/* Names come from hostile files: keep a message on its line and the terminal as it is. */
static void clean(char *s) {
  for (; *s; s++)
    if ((unsigned char)*s < ' ' || *s == 0x7f) *s = '?';
}

int err_set(Err *e, const char *where, const char *fmt, ...) {
  if (e->what[0]) return 1;
  snprintf(e->where, sizeof e->where, "%s", where ? where : "");
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(e->what, sizeof e->what, fmt, ap);
  va_end(ap);
  clean(e->where);
  clean(e->what);
  return 1;
}

int err_no_memory(Err *e, const char *where) {
  return err_set(e, where, "out of memory");
}
