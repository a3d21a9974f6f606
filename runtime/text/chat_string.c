/* Text work that filters and methods of the chat template interpreter share: UTF-8 positions,
 * stripping, case, replacing, joining. Case mapping is one code point to one (towupper). */
#include "runtime/core/utf8.h"
#include "runtime/text/chat.h"

#include <string.h>
#include <wctype.h>

size_t utf8_length(const char *s, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xc0) != 0x80;
  return count;
}

size_t utf8_offset(const char *s, size_t n, size_t position) {
  size_t i = 0;
  while (i < n && position--) {
    i++;
    while (i < n && ((unsigned char)s[i] & 0xc0) == 0x80) i++;
  }
  return i;
}

/* White space as Python's str.isspace. */
static bool is_white(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

/* Whether the code point of n bytes at s is stripped. */
static bool strips(const char *s, size_t n, const char *set, size_t nset) {
  uint32_t code;
  if (set) return memmem(set, nset, s, n) != NULL;
  return utf8_decode(s, n, &code) == n && is_white(code);
}

Val str_strip(Val v, const char *set, size_t nset, bool left, bool right) {
  const char *s = v.u.text;
  size_t begin = 0, end = v.size;
  while (left && begin < end) {
    size_t n = utf8_offset(s + begin, end - begin, 1);
    if (!strips(s + begin, n, set, nset)) break;
    begin += n;
  }
  while (right && end > begin) {
    size_t k = end - 1;
    while (k > begin && ((unsigned char)s[k] & 0xc0) == 0x80) k--;
    if (!strips(s + k, end - k, set, nset)) break;
    end = k;
  }
  return val_text(s + begin, end - begin);
}

Val str_case(Chat *c, Val s, int mode) {
  Out *o = chat_out(c);
  bool first = true;
  for (size_t at = 0; at < s.size;) {
    uint32_t code;
    char u[4];
    size_t n = utf8_step(s.u.text + at, s.size - at, &code);
    bool up = mode == 'u' || ((mode == 'c' || mode == 't') && first);
    uint32_t mapped = up ? (uint32_t)towupper((wint_t)code) : (uint32_t)towlower((wint_t)code);
    out_put(o, u, utf8_encode(mapped, u));
    first = mode == 't' && !iswalpha((wint_t)code);
    at += n;
  }
  return chat_out_done(c, o);
}

Val str_replace(Chat *c, Val s, Val from, Val to, int64_t count) {
  Out *o = chat_out(c);
  const char *p = s.u.text, *end = p + s.size;
  while (count && p <= end) {
    const char *hit = from.size ? memmem(p, (size_t)(end - p), from.u.text, from.size) : p;
    if (!hit) break;
    out_put(o, p, (size_t)(hit - p));
    out_put(o, to.u.text, to.size);
    p = hit + from.size;
    count--;
    if (!from.size) { /* an empty pattern stands before every character */
      size_t n = p < end ? utf8_offset(p, (size_t)(end - p), 1) : 1;
      if (p < end) out_put(o, p, n);
      p += n;
    }
  }
  if (p < end) out_put(o, p, (size_t)(end - p));
  return chat_out_done(c, o);
}

Val str_escape(Chat *c, Val s) {
  static const char special[] = "&<>'\"";
  static const char *const entity[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  if (s.safe) return s;
  Out *o = chat_out(c);
  for (uint32_t i = 0; i < s.size; i++) {
    const char *hit = s.u.text[i] ? strchr(special, s.u.text[i]) : NULL;
    if (hit)
      out_puts(o, entity[hit - special]);
    else
      out_put(o, &s.u.text[i], 1);
  }
  Val escaped = chat_out_done(c, o);
  escaped.safe = true;
  return escaped;
}

Val str_join(Chat *c, Val separator, ValList *items) {
  Out *o = chat_out(c);
  for (uint32_t i = 0; i < items->n; i++) {
    if (i) out_put(o, separator.u.text, separator.size);
    if (items->item[i].kind == VK_STRING) out_put(o, items->item[i].u.text, items->item[i].size);
  }
  return chat_out_done(c, o);
}
