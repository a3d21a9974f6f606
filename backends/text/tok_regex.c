/* Parser of regular expressions in Oniguruma's Ruby syntax, which is what Hugging Face's Split and
 * Replace compile. Its odd points: `$` and `^` are about lines, an interval followed by `+` repeats
 * again instead of being possessive, (?i) holds to the end of the group even past `|`, and (?m)
 * lets the dot match a newline. Grammar functions take the Parser and return a tree, or NULL after
 * an error.
 */
#include "backends/text/tok_regex.h"

#include <string.h>
#include <utf8proc.h>

enum { MAX_DEPTH = 100, MAX_REPEAT = 1000 };

typedef struct Parser {
  const Unicode *u;
  Arena *a;
  const char *text, *source;
  uint32_t n, at, depth;
  bool fold, dot_all;
  Diag *d;
} Parser;

static void *fail(Parser *p, const char *what) {
  diag_error(p->d, p->source, "expression '%.*s': %s at byte %u can't be compiled exactly",
             p->n > 200 ? 200 : (int)p->n, p->text, what, p->at);
  return NULL;
}

/* ---- trees --------------------------------------------------------------------------------- */

static Rx *node(Arena *a, RxKind kind) {
  Rx *rx = ARENA_NEW(a, Rx);
  rx->kind = kind;
  return rx;
}

Rx *rx_set(Arena *a, CpSet s) {
  Rx *rx = node(a, RX_SET);
  rx->set = s;
  return rx;
}

static void add_kid(Arena *a, Rx *rx, Rx *kid) {
  if (rx->nkids == rx->cap) {
    uint32_t cap = rx->cap ? 2 * rx->cap : 4;
    Rx **grown = ARENA_ARRAY(a, Rx *, cap);
    if (rx->nkids) memcpy(grown, rx->kid, rx->nkids * sizeof *grown);
    rx->kid = grown;
    rx->cap = cap;
  }
  rx->kid[rx->nkids++] = kid;
}

static Rx *look(Arena *a, CpSet set, bool edge, bool behind) {
  Rx *rx = node(a, RX_LOOK);
  rx->set = set;
  rx->edge = edge;
  rx->behind = behind;
  return rx;
}

/* ---- characters ---------------------------------------------------------------------------- */

static bool peek(const Parser *p, const char *s) {
  size_t n = strlen(s);
  return p->n - p->at >= n && memcmp(p->text + p->at, s, n) == 0;
}

static bool accept(Parser *p, const char *s) {
  if (!peek(p, s)) return false;
  p->at += (uint32_t)strlen(s);
  return true;
}

static bool get_char(Parser *p, uint32_t *c) {
  utf8proc_int32_t point;
  utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)p->text + p->at,
                                          (utf8proc_ssize_t)(p->n - p->at), &point);
  if (len <= 0) return fail(p, "invalid UTF-8"), false;
  p->at += (uint32_t)len;
  *c = (uint32_t)point;
  return true;
}

static bool hex(Parser *p, uint32_t least, uint32_t most, uint32_t *c) {
  uint32_t digits = 0;
  for (*c = 0; digits < most && p->at < p->n; digits++, p->at++) {
    char h = p->text[p->at];
    uint32_t v = h >= '0' && h <= '9'   ? (uint32_t)(h - '0')
                 : h >= 'a' && h <= 'f' ? (uint32_t)(h - 'a' + 10)
                 : h >= 'A' && h <= 'F' ? (uint32_t)(h - 'A' + 10)
                                        : 16;
    if (v == 16) break;
    *c = *c * 16 + v;
  }
  if (digits < least || *c >= CP_END) return fail(p, "a hexadecimal escape"), false;
  return true;
}

/* \p{..}, \P{..}, \p{^..}: after the p. */
static bool property(Parser *p, bool negate, CpSet *out) {
  if (!accept(p, "{")) return fail(p, "\\p without a brace"), false;
  if (accept(p, "^")) negate = !negate;
  uint32_t from = p->at;
  while (p->at < p->n && p->text[p->at] != '}') p->at++;
  if (!cp_property(p->u, p->text + from, p->at - from, out)) {
    p->at = from;
    return fail(p, "an unknown Unicode property"), false;
  }
  if (!accept(p, "}")) return fail(p, "an open brace"), false;
  if (negate) *out = cp_negate(p->a, *out);
  return true;
}

/* After a backslash: a set of characters (*is_char false) or one character. */
static bool escape(Parser *p, bool *is_char, uint32_t *c, CpSet *set) {
  static const char controls[] = "n\nr\rt\tf\fv\va\ae\x1b";
  if (p->at >= p->n) return fail(p, "a final backslash"), false;
  char e = p->text[p->at];
  CpSet s;
  *is_char = false;
  if ((unsigned char)e >= 0x80) return *is_char = true, get_char(p, c);
  p->at++;
  switch (e) {
  case 'p': return property(p, false, set);
  case 'P': return property(p, true, set);
  case 's':
  case 'S': s = cp_space(p->u); break;
  case 'd':
  case 'D': (void)cp_property(p->u, "Nd", 2, &s); break;
  case 'w':
  case 'W': s = cp_word(p->u); break;
  case 'h':
  case 'H':
    s = cp_union(p->a, cp_range(p->a, '0', '9'),
                 cp_union(p->a, cp_range(p->a, 'A', 'F'), cp_range(p->a, 'a', 'f')));
    break;
  case 'x':
    *is_char = true;
    if (accept(p, "{")) return hex(p, 1, 8, c) && (accept(p, "}") || (fail(p, "an open brace"), 0));
    return hex(p, 1, 2, c) && (*c < 0x80 || (fail(p, "a byte escape"), 0));
  case 'u': *is_char = true; return hex(p, 4, 4, c);
  default:
    *is_char = true;
    for (const char *k = controls; *k; k += 2)
      if (e == *k) return *c = (uint8_t)k[1], true;
    if ((e >= '0' && e <= '9') || (e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z')) {
      p->at--;
      return fail(p, "this escape"), false;
    }
    *c = (uint8_t)e;
    return true;
  }
  *set = e >= 'A' && e <= 'Z' ? cp_negate(p->a, s) : s;
  return true;
}

/* ---- bracketed classes --------------------------------------------------------------------- */

static bool bracket(Parser *p, CpSet *out);

static bool posix_class(Parser *p, CpSet *out) {
  bool negate = accept(p, "^");
  if (accept(p, "space:]"))
    *out = cp_space(p->u);
  else if (accept(p, "digit:]"))
    (void)cp_property(p->u, "Nd", 2, out);
  else if (accept(p, "word:]"))
    *out = cp_word(p->u);
  else if (accept(p, "ascii:]"))
    *out = cp_range(p->a, 0, 0x7f);
  else
    return fail(p, "this POSIX class"), false;
  if (negate) *out = cp_negate(p->a, *out);
  return true;
}

/* One member of a class: a set, a character, or a range. */
static bool member(Parser *p, CpSet *out) {
  bool is_char = true;
  uint32_t low, high;
  if (accept(p, "[:")) return posix_class(p, out);
  if (accept(p, "[")) return bracket(p, out);
  if (accept(p, "\\")) {
    if (!escape(p, &is_char, &low, out)) return false;
  } else if (!get_char(p, &low)) {
    return false;
  }
  if (!is_char) return true;
  high = low;
  if (peek(p, "-") && p->at + 1 < p->n && p->text[p->at + 1] != ']') {
    p->at++;
    is_char = true;
    if (peek(p, "[")) return fail(p, "a class as the end of a range"), false;
    if (accept(p, "\\") ? !escape(p, &is_char, &high, out) : !get_char(p, &high)) return false;
    if (!is_char || high < low) return fail(p, "this range"), false;
  }
  *out = cp_range(p->a, low, high);
  if (p->fold) *out = cp_fold(p->u, *out);
  return true;
}

/* After the opening bracket. */
static bool bracket(Parser *p, CpSet *out) {
  CpSet whole = {0}, part = {0};
  bool negate = accept(p, "^"), first = true, any = false;
  if (++p->depth > MAX_DEPTH) return fail(p, "nesting this deep"), false;
  for (;; first = false) {
    CpSet s;
    if (p->at >= p->n) return fail(p, "an open bracket"), false;
    if (!first && accept(p, "]")) break;
    if (accept(p, "&&")) {
      whole = any ? cp_intersect(p->a, whole, part) : part;
      part = (CpSet){0};
      any = true;
      continue;
    }
    if (!member(p, &s)) return false;
    part = cp_union(p->a, part, s);
  }
  p->depth--;
  *out = any ? cp_intersect(p->a, whole, part) : part;
  if (negate) *out = cp_negate(p->a, *out);
  return true;
}

/* ---- groups and assertions ----------------------------------------------------------------- */

static Rx *choice(Parser *p);

/* What must be true of one character so that `rx` matches from it: the set, and whether it also
 * matches where there is none. false when the expression looks further. */
static bool one_char(Arena *a, const Rx *rx, CpSet *set, bool *edge) {
  switch (rx->kind) {
  case RX_SET: *set = rx->set; return *edge = false, true;
  case RX_LOOK: *set = rx->set; return *edge = rx->edge, !rx->behind;
  case RX_REPEAT:
    return rx->min == 1 && (rx->max == 1 || rx->kid[0]->kind == RX_SET) &&
           one_char(a, rx->kid[0], set, edge);
  case RX_SEQUENCE: return rx->nkids == 1 && one_char(a, rx->kid[0], set, edge);
  case RX_CHOICE:
    *set = (CpSet){0};
    *edge = false;
    for (uint32_t i = 0; i < rx->nkids; i++) {
      CpSet s;
      bool e;
      if (!one_char(a, rx->kid[i], &s, &e)) return false;
      *set = cp_union(a, *set, s);
      *edge |= e;
    }
    return true;
  default: return false;
  }
}

static Rx *lookaround(Parser *p, bool behind, bool negate) {
  CpSet set;
  bool edge;
  Rx *rx = choice(p);
  if (!rx) return NULL;
  if (!one_char(p->a, rx, &set, &edge) || (behind && edge))
    return fail(p, "a lookaround at more than one character");
  if (!accept(p, ")")) return fail(p, "an open group");
  return look(p->a, negate ? cp_negate(p->a, set) : set, edge != negate, behind);
}

/* \b or \B: the characters on both sides differ in being of words, or don't. */
static Rx *boundary(Parser *p, bool differ) {
  CpSet word = cp_word(p->u), other = cp_negate(p->a, word);
  Rx *rx = node(p->a, RX_CHOICE);
  for (int side = 0; side < 2; side++) {
    Rx *both = node(p->a, RX_SEQUENCE);
    bool before = side == 0, after = before != differ;
    add_kid(p->a, both, look(p->a, before ? word : other, !before, true));
    add_kid(p->a, both, look(p->a, after ? word : other, !after, false));
    add_kid(p->a, rx, both);
  }
  return rx;
}

/* (?im-im) and (?im-im:..): after the `?`. */
static Rx *options(Parser *p) {
  bool on = true, fold = p->fold, dot_all = p->dot_all;
  for (;; p->at++) {
    if (peek(p, "-"))
      on = false;
    else if (peek(p, "i"))
      fold = on;
    else if (peek(p, "m"))
      dot_all = on;
    else
      break;
  }
  bool was_fold = p->fold, was_dot_all = p->dot_all, rest = peek(p, ")");
  if (!rest && !peek(p, ":")) return fail(p, "this kind of group");
  p->at++;
  p->fold = fold;
  p->dot_all = dot_all;
  Rx *rx = choice(p);
  p->fold = was_fold;
  p->dot_all = was_dot_all;
  /* Options without a colon reach to the end of the group around them, which closes itself. */
  if (rx && !rest && !accept(p, ")")) return fail(p, "an open group");
  return rx;
}

/* After the opening parenthesis. */
static Rx *group(Parser *p) {
  Rx *rx;
  if (accept(p, "?=")) return lookaround(p, false, false);
  if (accept(p, "?!")) return lookaround(p, false, true);
  if (accept(p, "?<=")) return lookaround(p, true, false);
  if (accept(p, "?<!")) return lookaround(p, true, true);
  if (accept(p, "?>")) {
    rx = choice(p);
    if (!rx) return NULL;
    Rx *only = rx->kind == RX_SEQUENCE && rx->nkids == 1 ? rx->kid[0] : rx;
    if (only->kind != RX_SET && !(only->kind == RX_REPEAT && only->kid[0]->kind == RX_SET &&
                                  only->greed == RX_GREEDY && only->max == RX_UNBOUNDED))
      return fail(p, "an atomic group of more than one character");
    if (only->kind == RX_REPEAT) only->greed = RX_POSSESSIVE;
  } else if (accept(p, "?:")) {
    rx = choice(p);
  } else if (accept(p, "?")) {
    return options(p);
  } else {
    rx = choice(p); /* a capture: nobody looks at it */
  }
  if (rx && !accept(p, ")")) return fail(p, "an open group");
  return rx;
}

/* ---- sequences ----------------------------------------------------------------------------- */

/* A backslash outside of a class: assertions, sets and characters. */
static Rx *escaped(Parser *p, uint32_t *literal) {
  bool is_char;
  CpSet s;
  if (accept(p, "z")) return look(p->a, (CpSet){0}, true, false);
  if (accept(p, "A")) return look(p->a, (CpSet){0}, true, true);
  if (accept(p, "b")) return boundary(p, true);
  if (accept(p, "B")) return boundary(p, false);
  if (!escape(p, &is_char, literal, &s)) return NULL;
  if (is_char) s = cp_range(p->a, *literal, *literal);
  if (!is_char) *literal = CP_END;
  if (is_char && p->fold) s = cp_fold(p->u, s);
  return rx_set(p->a, s);
}

/* One item without its quantifier. *literal: its character, CP_END when it is not a single one. */
static Rx *atom(Parser *p, uint32_t *literal) {
  CpSet s;
  *literal = CP_END;
  if (accept(p, "(")) {
    if (++p->depth > MAX_DEPTH) return fail(p, "nesting this deep");
    Rx *rx = group(p);
    p->depth--;
    return rx;
  }
  if (accept(p, "[")) return bracket(p, &s) ? rx_set(p->a, s) : NULL;
  if (accept(p, "\\")) return escaped(p, literal);
  if (accept(p, "."))
    return rx_set(p->a, p->dot_all ? cp_range(p->a, 0, CP_END - 1)
                                   : cp_negate(p->a, cp_range(p->a, '\n', '\n')));
  if (accept(p, "$")) return look(p->a, cp_range(p->a, '\n', '\n'), true, false);
  if (accept(p, "^")) return look(p->a, cp_range(p->a, '\n', '\n'), true, true);
  if (peek(p, "*") || peek(p, "+") || peek(p, "?")) return fail(p, "a quantifier of nothing");
  if (!get_char(p, literal)) return NULL;
  s = cp_range(p->a, *literal, *literal);
  return rx_set(p->a, p->fold ? cp_fold(p->u, s) : s);
}

/* {n}, {n,}, {,m} or {n,m}; anything else leaves the brace as a character. */
static bool interval(Parser *p, uint32_t *min, uint32_t *max) {
  uint32_t from = p->at, value[2] = {0, 0}, digits[2] = {0, 0}, k = 0;
  if (!accept(p, "{")) return false;
  for (; p->at < p->n && p->text[p->at] != '}'; p->at++) {
    char c = p->text[p->at];
    if (c == ',' && k == 0) {
      k = 1;
    } else if (c >= '0' && c <= '9' && digits[k] < 6) {
      value[k] = value[k] * 10 + (uint32_t)(c - '0');
      digits[k]++;
    } else {
      break;
    }
  }
  if (!accept(p, "}") || (!digits[0] && !digits[1])) {
    p->at = from;
    return false;
  }
  *min = value[0];
  *max = k == 0 ? value[0] : digits[1] ? value[1] : RX_UNBOUNDED;
  return true;
}

static Rx *quantified(Parser *p, Rx *rx, bool *any) {
  *any = false;
  for (uint32_t stacked = 0;; stacked++) {
    uint32_t min, max;
    bool in_braces = false;
    RxGreed greed = RX_GREEDY;
    if (accept(p, "*"))
      min = 0, max = RX_UNBOUNDED;
    else if (accept(p, "+"))
      min = 1, max = RX_UNBOUNDED;
    else if (accept(p, "?"))
      min = 0, max = 1;
    else if (interval(p, &min, &max))
      in_braces = true;
    else
      return rx;
    if (stacked >= 4) return fail(p, "a pile of quantifiers");
    if (min > MAX_REPEAT || (max != RX_UNBOUNDED && (max > MAX_REPEAT || max < min)))
      return fail(p, "an interval out of bounds");
    if (in_braces && min == max && peek(p, "?")) return fail(p, "{n}?");
    if (accept(p, "?"))
      greed = RX_LAZY;
    else if (!in_braces && accept(p, "+"))
      greed = RX_POSSESSIVE;
    if (rx->kind == RX_LOOK) return fail(p, "a quantifier of an assertion");
    if (greed == RX_POSSESSIVE && rx->kind != RX_SET)
      return fail(p, "a possessive quantifier of more than one character");
    Rx *outer = node(p->a, RX_REPEAT);
    add_kid(p->a, outer, rx);
    outer->min = min;
    outer->max = max;
    outer->greed = greed;
    rx = outer;
    *any = true;
  }
}

static Rx *sequence(Parser *p) {
  Rx *rx = node(p->a, RX_SEQUENCE);
  uint32_t before = CP_END;
  while (p->at < p->n && !peek(p, "|") && !peek(p, ")")) {
    uint32_t literal;
    bool repeated;
    if (accept(p, "(?#")) {
      while (p->at < p->n && !accept(p, ")")) p->at++;
      continue;
    }
    Rx *kid = atom(p, &literal);
    if (kid) kid = quantified(p, kid, &repeated);
    if (!kid) return NULL;
    if (p->fold && before != CP_END && literal != CP_END && cp_fold_pair(before, literal))
      return fail(p, "case folding of letters that one character stands for");
    before = repeated ? CP_END : literal;
    add_kid(p->a, rx, kid);
  }
  return rx->nkids == 1 ? rx->kid[0] : rx;
}

static Rx *choice(Parser *p) {
  Rx *first = sequence(p), *rx = first;
  while (first && accept(p, "|")) {
    Rx *next = sequence(p);
    if (!next) return NULL;
    if (rx == first) {
      rx = node(p->a, RX_CHOICE);
      add_kid(p->a, rx, first);
    }
    add_kid(p->a, rx, next);
  }
  return rx;
}

Rx *rx_parse(const Unicode *u, const char *pattern, uint32_t n, const char *source, Diag *d) {
  Parser p = {.u = u, .a = u->arena, .text = pattern, .n = n, .source = source, .d = d};
  Rx *rx = choice(&p);
  if (rx && p.at < p.n) return fail(&p, "a closing parenthesis");
  return rx;
}

Rx *rx_literal(const Unicode *u, const char *text, uint32_t n) {
  Rx *rx = node(u->arena, RX_SEQUENCE);
  for (uint32_t i = 0; i < n;) {
    utf8proc_int32_t c;
    utf8proc_ssize_t len =
        utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &c);
    if (len <= 0) len = 1, c = 0xfffd;
    add_kid(u->arena, rx, rx_set(u->arena, cp_range(u->arena, (uint32_t)c, (uint32_t)c)));
    i += (uint32_t)len;
  }
  return rx;
}
