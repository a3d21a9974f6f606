/* JSON and text from outside, checked on the way in. See frontend/readers.h.
 *
 * jansson bounds the depth (2048) and refuses invalid UTF-8; here its memory is put under the
 * compiler's one out-of-memory handler and its errors get file, line and column.
 */
#include "frontend/readers.h"

#include <string.h>
#include <utf8proc.h>

Status json_text(Reader *r, const char *where, const char *text, size_t n, size_t flags,
                 json_t **out) {
  json_set_alloc_funcs(mem_alloc, mem_free);
  json_error_t e;
  *out = json_loadb(text, n, flags | JSON_ALLOW_NUL, &e);
  if (!*out)
    return diag_error(r->d, where, "is not valid JSON at line %d, column %d: %s", e.line, e.column,
                      e.text);
  if (json_is_object(*out)) return OK;
  json_decref(*out);
  *out = NULL;
  return diag_error(r->d, where, "is not a JSON object (expected {...})");
}

Status json_file(Reader *r, const char *path, uint64_t max, size_t flags, json_t **out) {
  Arena *scratch = arena_new();
  char *text;
  size_t n;
  Status s = file_read(scratch, r->d, path, max, &text, &n);
  if (s == OK) s = json_text(r, path, text, n, flags, out);
  arena_free(scratch);
  return s;
}

bool utf8_valid(const void *bytes, size_t n) {
  const utf8proc_uint8_t *p = bytes;
  while (n) {
    utf8proc_int32_t c;
    utf8proc_ssize_t used = utf8proc_iterate(p, (utf8proc_ssize_t)(n < 4 ? n : 4), &c);
    if (used <= 0) return false;
    p += used;
    n -= (size_t)used;
  }
  return true;
}

const char *text_excerpt(Arena *a, const void *bytes, size_t n) {
  enum { SHOWN = 64 };
  const uint8_t *p = bytes;
  Buf b = {0};
  for (size_t i = 0; i < n && i < SHOWN; i++) {
    if (p[i] >= 0x20 && p[i] < 0x7f)
      buf_put(&b, p + i, 1);
    else
      buf_printf(&b, "\\x%02x", p[i]);
  }
  if (n > SHOWN) buf_puts(&b, "...");
  const char *s = arena_strdup(a, b.data ? b.data : "");
  buf_free(&b);
  return s;
}
