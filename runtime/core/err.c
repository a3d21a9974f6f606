/* Error messages: see err.h. */
#include "runtime/core/err.h"

#include <stdarg.h>
#include <stdio.h>

int err_set(Err *e, const char *where, const char *fmt, ...) {
  if (e->what[0]) return 1;
  snprintf(e->where, sizeof e->where, "%s", where ? where : "");
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(e->what, sizeof e->what, fmt, ap);
  va_end(ap);
  return 1;
}

int err_no_memory(Err *e, const char *where) {
  return err_set(e, where, "out of memory");
}
