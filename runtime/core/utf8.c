/* UTF-8 decoding by the ranges of the Unicode standard, table 3-7: the first byte gives the length
 * and the range of the second byte; all further bytes are 80..BF.
 */
#include "runtime/core/utf8.h"

/* Reads a code point; *used is its length or that of the maximal invalid part. */
static int scan(const unsigned char *s, size_t n, uint32_t *code, size_t *used) {
  unsigned c = s[0], lo = 0x80, hi = 0xbf;
  size_t len;
  *used = 1;
  if (c < 0x80) {
    *code = c;
    return 1;
  }
  if (c < 0xc2 || c > 0xf4) return 0;
  len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
  if (c == 0xe0) lo = 0xa0;
  if (c == 0xed) hi = 0x9f;
  if (c == 0xf0) lo = 0x90;
  if (c == 0xf4) hi = 0x8f;
  uint32_t v = c & (0xffu >> (len + 1));
  for (size_t i = 1; i < len; i++) {
    if (i >= n || s[i] < lo || s[i] > hi) return 0;
    v = v << 6 | (s[i] & 0x3f);
    *used = i + 1;
    lo = 0x80;
    hi = 0xbf;
  }
  *code = v;
  return 1;
}

size_t utf8_decode(const char *s, size_t n, uint32_t *code) {
  size_t used;
  if (n == 0 || !scan((const unsigned char *)s, n, code, &used)) return 0;
  return used;
}

size_t utf8_step(const char *s, size_t n, uint32_t *code) {
  size_t used;
  if (!scan((const unsigned char *)s, n, code, &used)) *code = 0xfffd;
  return used;
}

size_t utf8_encode(uint32_t code, char *out) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = len - 1; i > 0; i--) {
    out[i] = (char)(0x80 | (code & 0x3f));
    code >>= 6;
  }
  out[0] = (char)((0xf00u >> len & 0xf0u) | code);
  return len;
}
