/* UTF-8, one code point at a time: the only decoder of the produced program.
 *
 * Strict as the Unicode standard's table 3-7: no overlong forms, no surrogates, nothing above
 * U+10FFFF.
 */
#ifndef INGOT_RUNTIME_UTF8_H
#define INGOT_RUNTIME_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes the code point at s[0..n). Returns its length, 0 when the bytes are not valid. */
size_t utf8_decode(const char *s, size_t n, uint32_t *code);
/* Length of the longest prefix of s[0..n), at least 1, that is either one valid code point or one
 * maximal invalid part (what U+FFFD stands for, by the practice of the Unicode standard). n > 0. */
size_t utf8_step(const char *s, size_t n, uint32_t *code); /* code is 0xFFFD for an invalid part */
/* Writes a valid code point into out[4]; returns its length. */
size_t utf8_encode(uint32_t code, char *out);

#endif
