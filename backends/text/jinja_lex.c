/* Jinja source to tokens: see backends/text/jinja.h.
 *
 * White space control, as Jinja2 with trim_blocks and lstrip_blocks does it: the newline behind a
 * block or comment tag goes; spaces and tabs before one go when nothing else stands on their line;
 * `-` beside a tag takes all white space on that side, `+` switches the rule off there. One newline
 * at the end of the source goes too.
 */
#include "backends/text/jinja.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Lexer {
  Arena *arena;
  Diag *diag;
  const char *where;
  const char *s; /* normalised source */
  size_t n, at;
  uint32_t line;
  bool line_start; /* the last tag ended with a newline, or nothing was read yet */
  JinjaTokens *out;
} Lexer;

static Status fail_at(Lexer *l, const char *what) {
  return diag_error(l->diag, l->where, "line %u: %s", l->line, what);
}

static JinjaToken *push(Lexer *l, JinjaTokenKind kind, const char *text, size_t size) {
  JinjaToken *t = VEC_PUSH(l->out->token, l->out->n, l->out->cap);
  *t = (JinjaToken){.kind = kind, .text = text, .size = (uint32_t)size, .line = l->line};
  return t;
}

static bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static void advance(Lexer *l, size_t to) {
  for (; l->at < to; l->at++) l->line += l->s[l->at] == '\n';
}

/* \r\n and \r become \n; the last newline goes. */
static char *normalise(Arena *a, const char *source, size_t *out_n) {
  size_t n = strlen(source), k = 0;
  char *s = arena_alloc(a, n + 1);
  for (size_t i = 0; i < n; i++) {
    if (source[i] == '\r') {
      s[k++] = '\n';
      if (source[i + 1] == '\n') i++;
    } else {
      s[k++] = source[i];
    }
  }
  if (k && s[k - 1] == '\n') k--;
  s[k] = 0;
  *out_n = k;
  return s;
}

/* Text up to a tag at `end`, with the tag's left-hand white space rule applied. */
static void push_text(Lexer *l, size_t end, char control, bool strip_line) {
  size_t begin = l->at, stop = end;
  if (control == '-') {
    while (stop > begin && is_space(l->s[stop - 1])) stop--;
  } else if (strip_line && control != '+') {
    size_t k = end;
    while (k > begin && l->s[k - 1] != '\n' && is_space(l->s[k - 1])) k--;
    if (k > begin ? l->s[k - 1] == '\n' : l->line_start) stop = k;
  }
  if (stop > begin) push(l, JT_TEXT, l->s + begin, stop - begin);
  advance(l, end);
}

/* Behind a closing tag: `control` is the sign before it, `block` whether a newline is taken. */
static void after_tag(Lexer *l, char control, bool block) {
  size_t k = l->at;
  if (control == '-') {
    while (k < l->n && is_space(l->s[k])) k++;
  } else if (block && control != '+' && l->s[k] == '\n') {
    k++;
  }
  advance(l, k);
  l->line_start = k > 0 && l->s[k - 1] == '\n';
}

/* ---- inside tags ---- */

static void put_utf8(Buf *b, uint32_t c) {
  char u[4];
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = n; i-- > 1; c >>= 6) u[i] = (char)(0x80 | (c & 63));
  u[0] = (char)(lead[n] | c);
  buf_put(b, u, n);
}

/* \x41, \u0041, \U00000041: the digits after the letter at l->s[k]. 0 when malformed. */
static size_t hex_escape(const Lexer *l, size_t k, Buf *out) {
  size_t digits = l->s[k] == 'x' ? 2 : l->s[k] == 'u' ? 4 : 8;
  char text[9] = "", *end;
  if (k + digits >= l->n) return 0;
  memcpy(text, l->s + k + 1, digits);
  unsigned long c = strtoul(text, &end, 16);
  if (*end || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
  put_utf8(out, (uint32_t)c);
  return digits + 1;
}

/* One escape at l->s[k] (behind the backslash); returns its length, 0 when malformed. */
static size_t string_escape(const Lexer *l, size_t k, Buf *out) {
  static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
  char c = l->s[k];
  const char *simple = c ? strchr(from, c) : NULL;
  if (simple) {
    buf_put(out, &to[simple - from], 1);
    return 1;
  }
  if (c == '\n') return 1; /* a continued line */
  if (c == 'x' || c == 'u' || c == 'U') return hex_escape(l, k, out);
  if (c >= '0' && c <= '7') {
    uint32_t value = 0;
    size_t n = 0;
    while (n < 3 && l->s[k + n] >= '0' && l->s[k + n] <= '7')
      value = value * 8 + (uint32_t)(l->s[k + n++] - '0');
    put_utf8(out, value);
    return n;
  }
  buf_put(out, "\\", 1); /* Python keeps an escape that it does not know */
  return SIZE_MAX;
}

static Status lex_string(Lexer *l) {
  char quote = l->s[l->at];
  size_t k = l->at + 1;
  Buf value = {0};
  while (k < l->n && l->s[k] != quote) {
    if (l->s[k] != '\\') {
      buf_put(&value, &l->s[k++], 1);
      continue;
    }
    size_t used = k + 1 < l->n ? string_escape(l, k + 1, &value) : 0;
    if (!used) {
      buf_free(&value);
      return fail_at(l, "a string holds a malformed escape");
    }
    k += used == SIZE_MAX ? 1 : 1 + used;
  }
  if (k >= l->n) {
    buf_free(&value);
    return fail_at(l, "a string is not closed");
  }
  push(l, JT_STRING, arena_strndup(l->arena, value.size ? value.data : "", value.size), value.size);
  buf_free(&value);
  advance(l, k + 1);
  return OK;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

/* Numbers: 12, 1_000, 0x1f, 0b1, 0o7, 1.5, 1e3. */
static Status lex_number(Lexer *l) {
  char digits[64];
  size_t k = l->at, n = 0;
  bool is_float = false;
  int base = 10;
  if (l->s[k] == '0' && l->s[k + 1] && strchr("xXbBoO", l->s[k + 1])) {
    char c = (char)(l->s[k + 1] | 32);
    base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
    k += 2;
  }
  for (; k < l->n && n < sizeof digits - 1; k++) {
    char c = l->s[k];
    if (c == '_' && (is_digit(l->s[k + 1]) || base == 16)) continue;
    bool exponent = base == 10 && (c == 'e' || c == 'E') &&
                    (is_digit(l->s[k + 1]) ||
                     ((l->s[k + 1] == '-' || l->s[k + 1] == '+') && is_digit(l->s[k + 2])));
    bool point = base == 10 && c == '.' && is_digit(l->s[k + 1]) && !is_float;
    bool sign =
        n && (c == '-' || c == '+') && (digits[n - 1] == 'e' || digits[n - 1] == 'E') && base == 10;
    bool hex = base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
    if (!is_digit(c) && !exponent && !point && !sign && !hex) break;
    is_float |= exponent || point;
    digits[n++] = c;
  }
  digits[n] = 0;
  JinjaToken *t = push(l, is_float ? JT_FLOAT : JT_INT, l->s + l->at, k - l->at);
  char *end;
  errno = 0;
  if (is_float)
    t->number = strtod(digits, &end);
  else
    t->integer = strtoll(digits, &end, base);
  if (*end || !n || (errno == ERANGE && !is_float))
    return fail_at(l, "a number is malformed or too large");
  advance(l, k);
  return OK;
}

static Status lex_operator(Lexer *l) {
  static const char *const operators[] = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "/",
                                          "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                          "<",  ">",  "=",  ".",  ":",  "|",  ",", ";"};
  for (size_t i = 0; i < COUNT(operators); i++) {
    size_t n = strlen(operators[i]);
    if (strncmp(l->s + l->at, operators[i], n) != 0) continue;
    push(l, JT_OP, operators[i], n);
    advance(l, l->at + n);
    return OK;
  }
  return fail_at(l, "an unexpected character in a tag");
}

static Status lex_token(Lexer *l) {
  char c = l->s[l->at];
  if (c == '\'' || c == '"') return lex_string(l);
  if (is_digit(c)) return lex_number(l);
  if (!is_name_start(c)) return lex_operator(l);
  size_t k = l->at;
  while (k < l->n && (is_name_start(l->s[k]) || is_digit(l->s[k]))) k++;
  push(l, JT_NAME, l->s + l->at, k - l->at);
  advance(l, k);
  return OK;
}

/* Tokens up to the closing tag ("%}" or "}}"), which is taken. Brackets hide a "}}". */
static Status lex_tag(Lexer *l, const char *close, JinjaTokenKind kind) {
  int brackets = 0;
  for (;;) {
    while (l->at < l->n && is_space(l->s[l->at])) advance(l, l->at + 1);
    if (l->at >= l->n) return fail_at(l, "a tag is not closed");
    const char *p = l->s + l->at;
    bool control = *p == '-' || *p == '+';
    if (brackets == 0 && strncmp(p + control, close, 2) == 0 &&
        (!control || *p == '-' || kind == JT_BLOCK_END)) {
      push(l, kind, close, 2);
      char sign = control ? *p : 0;
      advance(l, l->at + 2 + control);
      after_tag(l, sign, kind == JT_BLOCK_END);
      return OK;
    }
    brackets += *p == '(' || *p == '[' || *p == '{';
    brackets -= (*p == ')' || *p == ']' || *p == '}') && brackets > 0;
    TRY(lex_token(l));
  }
}

static Status lex_comment(Lexer *l) {
  const char *end = strstr(l->s + l->at, "#}");
  if (!end) return fail_at(l, "a comment is not closed");
  char sign = end[-1] == '-' || end[-1] == '+' ? end[-1] : 0;
  advance(l, (size_t)(end - l->s) + 2);
  after_tag(l, sign, true);
  return OK;
}

/* {% raw %} .. {% endraw %}: true when one begins at the current tag; its text is pushed. */
static bool tag_is(const char *p, const char *word, const char **behind) {
  p += 2;
  p += *p == '-' || *p == '+';
  while (is_space(*p)) p++;
  size_t n = strlen(word);
  if (strncmp(p, word, n) != 0) return false;
  p += n;
  while (is_space(*p)) p++;
  p += *p == '-' || *p == '+';
  *behind = p + 2;
  return strncmp(p, "%}", 2) == 0;
}

static Status lex_raw(Lexer *l, const char *behind) {
  char sign = behind[-3];
  advance(l, (size_t)(behind - l->s));
  after_tag(l, sign, true);
  const char *p = l->s + l->at, *end;
  while ((p = strstr(p, "{%")) && !tag_is(p, "endraw", &end)) p += 2;
  if (!p) return fail_at(l, "{% raw %} is not closed");
  push_text(l, (size_t)(p - l->s), p[2] == '-' || p[2] == '+' ? p[2] : 0, true);
  advance(l, (size_t)(end - l->s));
  after_tag(l, end[-3], true);
  return OK;
}

/* The next "{{", "{%" or "{#" at or behind l->at, or l->n. */
static size_t find_tag(const Lexer *l) {
  for (size_t k = l->at; k + 1 < l->n; k++) {
    if (l->s[k] == '{' && strchr("{%#", l->s[k + 1]) && l->s[k + 1]) return k;
  }
  return l->n;
}

Status jinja_lex(Arena *a, Diag *d, const char *where, const char *source, JinjaTokens *out) {
  Lexer l = {.arena = a, .diag = d, .where = where, .line = 1, .line_start = true, .out = out};
  l.s = normalise(a, source, &l.n);
  while (l.at < l.n) {
    size_t tag = find_tag(&l);
    if (tag == l.n) {
      push(&l, JT_TEXT, l.s + l.at, l.n - l.at);
      break;
    }
    char c = l.s[tag + 1], sign = l.s[tag + 2];
    if (sign != '-' && sign != '+') sign = 0;
    push_text(&l, tag, sign, c != '{');
    const char *behind;
    if (c == '%' && tag_is(l.s + tag, "raw", &behind)) {
      TRY(lex_raw(&l, behind));
      continue;
    }
    if (c != '#') push(&l, c == '{' ? JT_VAR_BEGIN : JT_BLOCK_BEGIN, l.s + tag, 2);
    advance(&l, tag + 2 + (sign != 0));
    if (c == '#')
      TRY(lex_comment(&l));
    else
      TRY(lex_tag(&l, c == '{' ? "}}" : "%}", c == '{' ? JT_VAR_END : JT_BLOCK_END));
  }
  push(&l, JT_END, "the end of the template", 23);
  return OK;
}
