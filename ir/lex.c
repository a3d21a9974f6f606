/* Tokens of both text forms: see ir/lex.h.
 *
 * A hand-written scanner over a NUL-terminated text, one token ahead. A dot belongs to a name only
 * when a name character follows, so that `0..%n` and `%lo..%hi` are ranges.
 */
#include "ir/lex.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name_char(char c) {
  return is_word_start(c) || is_digit(c);
}

static size_t name_length(const char *s) {
  size_t n = 0;
  while (is_name_char(s[n]) || (n && s[n] == '.' && is_name_char(s[n + 1]))) n++;
  return n;
}

Status lex_error(Lexer *l, const char *fmt, ...) {
  char text[1024], where[600];
  if (l->failed) return FAIL;
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  snprintf(where, sizeof where, "%.512s:%u:%u", l->where, l->tok.line, l->tok.column);
  return diag_error(l->diag, where, "%s", text);
}

static void bad(Lexer *l, const char *what) {
  lex_error(l, "%s", what);
  l->failed = true;
  l->tok.kind = LX_BAD;
  l->tok.text = "";
}

/* Skips blanks and comments; keeps a `//` comment on the line where the last token ended. */
static void skip_blanks(Lexer *l) {
  bool same_line = l->at > l->line_start;
  l->trailing = NULL;
  for (;;) {
    char c = *l->at;
    if (c == '\n') {
      l->line++;
      l->line_start = ++l->at;
      same_line = false;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      l->at++;
    } else if (c == '#' || (c == '/' && l->at[1] == '/')) {
      size_t n = strcspn(l->at, "\n"), skip = c == '#' ? 1 : 2;
      const char *text = l->at + skip, *end = l->at + n;
      while (text < end && (*text == ' ' || *text == '\t')) text++;
      while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) end--;
      if (same_line && c == '/') l->trailing = arena_strndup(l->arena, text, (size_t)(end - text));
      l->at += n;
    } else {
      return;
    }
  }
}

static int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Reads a quoted text at l->at into the token. */
static void scan_quoted(Lexer *l, LexKind kind) {
  Buf b = {0};
  const char *s = l->at + 1;
  bool good = true;
  while (*s && *s != '"' && *s != '\n' && good) {
    char c = *s++;
    if (c == '\\') {
      c = *s;
      int hi = c == 'x' ? hex_digit(s[1]) : 0, lo = c == 'x' && hi >= 0 ? hex_digit(s[2]) : 0;
      if (c == 'x' && hi >= 0 && lo >= 0 && hi + lo > 0) {
        c = (char)(hi * 16 + lo);
        s += 3;
      } else {
        good = c == 'n' || c == 't' || c == '"' || c == '\\';
        c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        s += good;
      }
    }
    buf_put(&b, &c, 1);
  }
  l->tok.kind = kind;
  l->tok.text = arena_strndup(l->arena, b.data ? b.data : "", good ? b.size : 0);
  buf_free(&b);
  if (!good)
    bad(l, "unknown escape in a string (expected \\n \\t \\\" \\\\ or \\xHH)");
  else if (*s != '"')
    bad(l, "a string without its closing quote");
  else
    l->at = s + 1;
}

static void set_text(Lexer *l, LexKind kind, const char *s, size_t n) {
  l->tok.kind = kind;
  l->tok.text = arena_strndup(l->arena, s, n);
  l->at = s + n;
}

/* Digits in base 10 (or 16) as an integer; LX_BAD when it has more than 64 bits. */
static void scan_integer(Lexer *l, size_t n, size_t skip, unsigned base) {
  uint64_t v = 0;
  const char *s = l->at;
  for (size_t k = skip; k < n; k++) {
    uint64_t digit = (uint64_t)hex_digit(s[k]);
    if (v > (UINT64_MAX - digit) / base) {
      bad(l, "an integer of more than 64 bits");
      return;
    }
    v = v * base + digit;
  }
  set_text(l, LX_INT, s, n);
  l->tok.i = v;
  l->tok.f = (double)v;
}

static void scan_number(Lexer *l) {
  const char *s = l->at;
  size_t n = 0;
  if (s[0] == '0' && s[1] == 'x' && hex_digit(s[2]) >= 0) {
    for (n = 2; hex_digit(s[n]) >= 0;) n++;
    scan_integer(l, n, 2, 16);
    return;
  }
  while (is_digit(s[n])) n++;
  size_t digits = n;
  if (s[n] == '.' && is_digit(s[n + 1])) {
    for (n++; is_digit(s[n]);) n++;
  }
  if (s[n] == 'e' || s[n] == 'E') {
    size_t k = n + 1;
    if (s[k] == '+' || s[k] == '-') k++;
    if (is_digit(s[k])) {
      while (is_digit(s[k])) k++;
      n = k;
    }
  }
  if (n == digits) {
    scan_integer(l, n, 0, 10);
    return;
  }
  set_text(l, LX_FLOAT, s, n);
  l->tok.f = strtod(l->tok.text, NULL);
}

void lex_next(Lexer *l) {
  if (l->tok.kind == LX_BAD) return;
  skip_blanks(l);
  const char *s = l->start = l->at;
  l->tok = (Token){.line = l->line, .column = (uint32_t)(s - l->line_start) + 1};
  if (*s == 0) {
    l->tok.kind = LX_END;
    l->tok.text = "the end of the text"; /* for messages */
  } else if (*s == '%' || *s == '@') {
    LexKind kind = *s == '%' ? LX_LOCAL : LX_GLOBAL;
    size_t n = name_length(s + 1);
    l->at++;
    if (s[1] == '"')
      scan_quoted(l, kind);
    else if (n)
      set_text(l, kind, s + 1, n);
    else
      bad(l, "a % or @ without a name behind it");
  } else if (*s == '"') {
    scan_quoted(l, LX_STRING);
  } else if (is_digit(*s)) {
    scan_number(l);
  } else if (is_word_start(*s)) {
    set_text(l, LX_WORD, s, name_length(s));
  } else if (strchr("()[]{}<>,;:=+-*/^.", *s)) {
    bool pair =
        (*s == '-' && s[1] == '>') || (*s == '.' && s[1] == '.') || (*s == '^' && s[1] == '/');
    set_text(l, LX_PUNCT, s, pair ? 2 : 1);
  } else {
    bad(l, "a character that begins no token");
  }
}

void lex_init(Lexer *l, Arena *a, const char *text, const char *where, Diag *d) {
  *l = (Lexer){.arena = a, .diag = d, .where = where, .at = text, .line_start = text, .line = 1};
  lex_next(l);
}

void lex_dims(Lexer *l) {
  const char *s = l->start;
  if (l->tok.kind == LX_WORD) {
    size_t n = strcspn(l->tok.text, "x");
    set_text(l, LX_WORD, s, n ? n : 1);
  } else if (l->tok.kind == LX_INT || l->tok.kind == LX_FLOAT) {
    size_t n = 0;
    while (is_digit(s[n])) n++;
    l->at = s;
    scan_integer(l, n, 0, 10);
  }
}

bool lex_is(const Lexer *l, const char *s) {
  return (l->tok.kind == LX_WORD || l->tok.kind == LX_PUNCT) && strcmp(l->tok.text, s) == 0;
}

bool lex_accept(Lexer *l, const char *s) {
  if (!lex_is(l, s)) return false;
  lex_next(l);
  return true;
}

Status lex_expect(Lexer *l, const char *s) {
  if (lex_accept(l, s)) return OK;
  return lex_error(l, "expected '%s', got '%s'", s, l->tok.text);
}

static Status take(Lexer *l, LexKind kind, const char *what, const char **out) {
  if (l->tok.kind != kind) return lex_error(l, "expected %s, got '%s'", what, l->tok.text);
  *out = l->tok.text;
  lex_next(l);
  return OK;
}

Status lex_word(Lexer *l, const char *what, const char **out) {
  return take(l, LX_WORD, what, out);
}

Status lex_local(Lexer *l, const char *what, const char **out) {
  return take(l, LX_LOCAL, what, out);
}

Status lex_global(Lexer *l, const char *what, const char **out) {
  return take(l, LX_GLOBAL, what, out);
}

Status lex_string(Lexer *l, const char *what, const char **out) {
  return take(l, LX_STRING, what, out);
}

Status lex_any_name(Lexer *l, const char *what, const char **out) {
  return take(l, l->tok.kind == LX_STRING ? LX_STRING : LX_WORD, what, out);
}

Status lex_i64(Lexer *l, int64_t *out) {
  bool minus = lex_accept(l, "-");
  if (l->tok.kind != LX_INT) return lex_error(l, "expected an integer, got '%s'", l->tok.text);
  uint64_t u = l->tok.i, limit = (uint64_t)INT64_MAX + minus;
  if (u > limit) return lex_error(l, "%s does not fit 64 bits with sign", l->tok.text);
  *out = minus ? (int64_t)(0 - u) : (int64_t)u;
  lex_next(l);
  return OK;
}

Status lex_f64(Lexer *l, double *out) {
  bool minus = lex_accept(l, "-");
  double f = l->tok.f;
  if (lex_is(l, "inf"))
    f = INFINITY;
  else if (lex_is(l, "nan"))
    f = NAN;
  else if (l->tok.kind != LX_INT && l->tok.kind != LX_FLOAT)
    return lex_error(l, "expected a number, got '%s'", l->tok.text);
  *out = minus ? -f : f;
  lex_next(l);
  return OK;
}

/* ---- printing ---- */

void buf_double(Buf *out, double x, bool single) {
  char s[40];
  if (isnan(x)) {
    buf_puts(out, "nan");
    return;
  }
  if (isinf(x)) {
    buf_puts(out, x < 0 ? "-inf" : "inf");
    return;
  }
  if (x == rint(x) && fabs(x) < 1e9) {
    buf_printf(out, "%.0f", x);
    return;
  }
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(s, sizeof s, "%.*g", digits, x);
    double back = strtod(s, NULL);
    if (single ? (float)back == (float)x : back == x) break;
  }
  buf_puts(out, s);
}

void buf_quoted(Buf *out, const char *s) {
  buf_puts(out, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\')
      buf_printf(out, "\\%c", c);
    else if (c == '\n')
      buf_puts(out, "\\n");
    else if (c == '\t')
      buf_puts(out, "\\t");
    else if (c < ' ' || c == 0x7f)
      buf_printf(out, "\\x%02x", c);
    else
      buf_put(out, s, 1);
  }
  buf_puts(out, "\"");
}

void buf_name(Buf *out, char sigil, const char *name) {
  buf_put(out, &sigil, 1);
  size_t n = name_length(name);
  if (n && !name[n])
    buf_puts(out, name);
  else
    buf_quoted(out, name);
}

void buf_word(Buf *out, const char *name) {
  size_t n = name_length(name);
  if (n && !name[n] && is_word_start(name[0]))
    buf_puts(out, name);
  else
    buf_quoted(out, name);
}

/* ---- names to numbers ---- */

static uint32_t hash_name(const char *s) {
  uint32_t h = 2166136261u; /* FNV-1a */
  for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u;
  return h;
}

static struct NameSlot *find_slot(const NameMap *m, const char *name) {
  uint32_t i = hash_name(name) & (m->cap - 1);
  while (m->slots[i].name && strcmp(m->slots[i].name, name) != 0) i = (i + 1) & (m->cap - 1);
  return &m->slots[i];
}

static void grow(NameMap *m) {
  NameMap bigger = {.arena = m->arena, .count = m->count, .cap = m->cap ? 2 * m->cap : 64};
  bigger.slots = ARENA_ARRAY(m->arena, struct NameSlot, bigger.cap);
  for (uint32_t i = 0; i < m->cap; i++) {
    if (m->slots[i].name) *find_slot(&bigger, m->slots[i].name) = m->slots[i];
  }
  *m = bigger;
}

uint32_t *names_at(NameMap *m, const char *name) {
  if (2 * (m->count + 1) > m->cap) grow(m);
  struct NameSlot *s = find_slot(m, name);
  if (!s->name) {
    s->name = name;
    m->count++;
  }
  return &s->value;
}

uint32_t names_get(const NameMap *m, const char *name) {
  if (!m->cap) return 0;
  return find_slot(m, name)->value;
}
