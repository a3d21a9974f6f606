/* Sets of code points: algebra, and properties from utf8proc and PCRE2 with HF's differences.
 *
 * Binary operations merge two sorted lists of bounds, toggling the two memberships. Scripts come
 * from PCRE2, which knows them by name: one match over all code points finds the ranges.
 */
#include "backends/text/tok_unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define BIT(cat) (1u << UTF8PROC_CATEGORY_##cat)
#define LETTERS (BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO))
#define MARKS (BIT(MN) | BIT(MC) | BIT(ME))
#define NUMBERS (BIT(ND) | BIT(NL) | BIT(NO))
#define PUNCTS (BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO))
#define SYMBOLS (BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO))
#define SEPARATORS (BIT(ZS) | BIT(ZL) | BIT(ZP))
#define OTHERS (BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO) | BIT(CN))

/* ---- differences --------------------------------------------------------------------------- */

typedef struct Row {
  uint32_t low, high, value;
} Row;

static const Row category_rows[] = {
#define CATEGORY(low, high, cat) {low, high, UTF8PROC_CATEGORY_##cat},
#include "backends/text/tok_unicode.def"
};
static const Row punctuation_rows[] = {
#define PUNCTUATION(low, high, in) {low, high, in},
#include "backends/text/tok_unicode.def"
};
static const Row control_rows[] = {
#define CONTROL(low, high, in) {low, high, in},
#include "backends/text/tok_unicode.def"
};
static const Row nonspacing_rows[] = {
#define NONSPACING(low, high, in) {low, high, in},
#include "backends/text/tok_unicode.def"
};
static const Row mark_rows[] = {
#define MARK(low, high, in) {low, high, in},
#include "backends/text/tok_unicode.def"
};
static const Row canonical_rows[] = {
#define NO_CANONICAL(low, high) {low, high, 0},
#include "backends/text/tok_unicode.def"
};
static const Row compatibility_rows[] = {
#define NO_COMPATIBILITY(low, high) {low, high, 0},
#include "backends/text/tok_unicode.def"
};
static const Row class_rows[] = {
#define NO_CLASS(low, high) {low, high, 0},
#include "backends/text/tok_unicode.def"
};
static const Row lower_rows[] = {
#define LOWER(low, high, first) {low, high, first},
#include "backends/text/tok_unicode.def"
};
static const Row script_rows[] = {
#define SCRIPT(low, high, name) {low, high, 0},
#include "backends/text/tok_unicode.def"
};
static const char *const script_names[] = {
#define SCRIPT(low, high, name) #name,
#include "backends/text/tok_unicode.def"
};

static const Row *row_of(const Row *rows, size_t n, uint32_t c) {
  for (size_t i = 0; i < n; i++)
    if (c >= rows[i].low && c <= rows[i].high) return &rows[i];
  return NULL;
}
#define ROW(rows, c) row_of(rows, COUNT(rows), c)

/* ---- algebra ------------------------------------------------------------------------------- */

typedef struct Builder {
  uint32_t *bound;
  uint32_t n, cap;
} Builder;

static CpSet finish(Arena *a, Builder *b) {
  if (b->n % 2) *VEC_PUSH(b->bound, b->n, b->cap) = CP_END;
  uint32_t *copy = ARENA_ARRAY(a, uint32_t, b->n ? b->n : 1);
  if (b->n) memcpy(copy, b->bound, b->n * sizeof *copy);
  CpSet s = {copy, b->n};
  mem_free(b->bound);
  return s;
}

CpSet cp_range(Arena *a, uint32_t low, uint32_t high) {
  Builder b = {0};
  *VEC_PUSH(b.bound, b.n, b.cap) = low;
  *VEC_PUSH(b.bound, b.n, b.cap) = high + 1;
  return finish(a, &b);
}

static CpSet merge(Arena *a, CpSet x, CpSet y, bool both) {
  Builder b = {0};
  uint32_t i = 0, k = 0;
  bool in = false;
  while (i < x.n || k < y.n) {
    uint32_t at = i < x.n && (k >= y.n || x.bound[i] <= y.bound[k]) ? x.bound[i] : y.bound[k];
    while (i < x.n && x.bound[i] == at) i++;
    while (k < y.n && y.bound[k] == at) k++;
    bool now = both ? (i & 1) && (k & 1) : (i & 1) || (k & 1);
    if (now != in) *VEC_PUSH(b.bound, b.n, b.cap) = at;
    in = now;
  }
  return finish(a, &b);
}

CpSet cp_union(Arena *a, CpSet x, CpSet y) {
  return merge(a, x, y, false);
}

CpSet cp_intersect(Arena *a, CpSet x, CpSet y) {
  return merge(a, x, y, true);
}

CpSet cp_negate(Arena *a, CpSet x) {
  Builder b = {0};
  uint32_t i = 0;
  if (x.n && x.bound[0] == 0)
    i = 1;
  else
    *VEC_PUSH(b.bound, b.n, b.cap) = 0;
  for (; i < x.n; i++)
    if (x.bound[i] < CP_END) *VEC_PUSH(b.bound, b.n, b.cap) = x.bound[i];
  return finish(a, &b);
}

bool cp_has(CpSet s, uint32_t c) {
  uint32_t low = 0, high = s.n;
  while (low < high) {
    uint32_t mid = (low + high) / 2;
    if (s.bound[mid] <= c)
      low = mid + 1;
    else
      high = mid;
  }
  return low & 1;
}

/* The set of all code points for which `in` holds. */
static CpSet where(const Unicode *u, bool (*in)(const Unicode *u, uint32_t c)) {
  Builder b = {0};
  bool was = false;
  for (uint32_t c = 0; c < CP_END; c++) {
    bool now = in(u, c);
    if (now != was) *VEC_PUSH(b.bound, b.n, b.cap) = c;
    was = now;
  }
  return finish(u->arena, &b);
}

/* ---- properties ---------------------------------------------------------------------------- */

enum { MAX_FOLDS = 4096 };

static unsigned fold(uint32_t c, utf8proc_int32_t out[8]) {
  int boundary = 0;
  utf8proc_ssize_t n =
      utf8proc_decompose_char((utf8proc_int32_t)c, out, 8, UTF8PROC_CASEFOLD, &boundary);
  return n < 0 ? 0 : (unsigned)n;
}

Unicode *unicode_new(Arena *a) {
  Unicode *u = ARENA_NEW(a, Unicode);
  u->arena = a;
  u->category = ARENA_ARRAY(a, uint8_t, CP_END);
  for (uint32_t c = 0; c < CP_END; c++)
    u->category[c] = (uint8_t)utf8proc_category((utf8proc_int32_t)c);
  for (size_t i = 0; i < COUNT(category_rows); i++)
    for (uint32_t c = category_rows[i].low; c <= category_rows[i].high; c++)
      u->category[c] = (uint8_t)category_rows[i].value;
  u->folds = arena_alloc_array(a, MAX_FOLDS, sizeof *u->folds);
  for (uint32_t c = 0; c < CP_END; c++) {
    utf8proc_int32_t f[8];
    if (u->category[c] == UTF8PROC_CATEGORY_LO || u->category[c] == UTF8PROC_CATEGORY_CN) continue;
    if (fold(c, f) != 1 || (uint32_t)f[0] == c || u->nfolds == MAX_FOLDS) continue;
    u->folds[u->nfolds][0] = c;
    u->folds[u->nfolds++][1] = (uint32_t)f[0];
  }
  return u;
}

CpSet cp_categories(const Unicode *u, uint32_t mask) {
  Builder b = {0};
  bool was = false;
  for (uint32_t c = 0; c < CP_END; c++) {
    bool now = mask >> u->category[c] & 1;
    if (now != was) *VEC_PUSH(b.bound, b.n, b.cap) = c;
    was = now;
  }
  return finish(u->arena, &b);
}

static const struct {
  const char *name, *full;
  uint32_t mask;
} category_names[] = {
    {"L", "letter", LETTERS},
    {"M", "mark", MARKS},
    {"N", "number", NUMBERS},
    {"P", "punctuation", PUNCTS},
    {"S", "symbol", SYMBOLS},
    {"Z", "separator", SEPARATORS},
    {"C", "other", OTHERS},
    {"LC", "casedletter", BIT(LU) | BIT(LL) | BIT(LT)},
    {"Lu", "uppercaseletter", BIT(LU)},
    {"Ll", "lowercaseletter", BIT(LL)},
    {"Lt", "titlecaseletter", BIT(LT)},
    {"Lm", "modifierletter", BIT(LM)},
    {"Lo", "otherletter", BIT(LO)},
    {"Mn", "nonspacingmark", BIT(MN)},
    {"Mc", "spacingmark", BIT(MC)},
    {"Me", "enclosingmark", BIT(ME)},
    {"Nd", "decimalnumber", BIT(ND)},
    {"Nl", "letternumber", BIT(NL)},
    {"No", "othernumber", BIT(NO)},
    {"Pc", "connectorpunctuation", BIT(PC)},
    {"Pd", "dashpunctuation", BIT(PD)},
    {"Ps", "openpunctuation", BIT(PS)},
    {"Pe", "closepunctuation", BIT(PE)},
    {"Pi", "initialpunctuation", BIT(PI)},
    {"Pf", "finalpunctuation", BIT(PF)},
    {"Po", "otherpunctuation", BIT(PO)},
    {"Sm", "mathsymbol", BIT(SM)},
    {"Sc", "currencysymbol", BIT(SC)},
    {"Sk", "modifiersymbol", BIT(SK)},
    {"So", "othersymbol", BIT(SO)},
    {"Zs", "spaceseparator", BIT(ZS)},
    {"Zl", "lineseparator", BIT(ZL)},
    {"Zp", "paragraphseparator", BIT(ZP)},
    {"Cc", "control", BIT(CC)},
    {"Cf", "format", BIT(CF)},
    {"Cn", "unassigned", BIT(CN)},
    {"Co", "privateuse", BIT(CO)},
};

/* Names compare without case, spaces, - and _. */
static bool same_name(const char *name, size_t n, const char *want) {
  for (size_t i = 0; i < n; i++) {
    char c = name[i];
    if (c == ' ' || c == '-' || c == '_') continue;
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    char w = *want >= 'A' && *want <= 'Z' ? (char)(*want - 'A' + 'a') : *want;
    if (c != w || !w) return false;
    want++;
  }
  return *want == 0;
}

/* The ranges of a script by PCRE2, from one subject of all code points. */
static bool script(const Unicode *u, const char *name, size_t n, CpSet *out) {
  char pattern[64];
  int error;
  PCRE2_SIZE where_at;
  if (n > 32 || same_name(name, n, "common") || same_name(name, n, "inherited")) return false;
  for (size_t i = 0; i < n; i++)
    if (!((name[i] | 32) >= 'a' && (name[i] | 32) <= 'z') && name[i] != '_') return false;
  int len = snprintf(pattern, sizeof pattern, "\\p{sc:%.*s}+", (int)n, name);
  pcre2_code *code =
      pcre2_compile((PCRE2_SPTR)pattern, (PCRE2_SIZE)len, PCRE2_UTF, &error, &where_at, NULL);
  if (!code) return false;
  uint8_t *text = mem_alloc((size_t)CP_END * 4);
  utf8proc_ssize_t size = 0;
  for (uint32_t c = 0; c < CP_END; c++)
    if (c < 0xd800 || c > 0xdfff) size += utf8proc_encode_char((utf8proc_int32_t)c, text + size);
  pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
  Builder b = {0};
  for (PCRE2_SIZE at = 0; at < (PCRE2_SIZE)size;) {
    uint32_t options = PCRE2_NO_UTF_CHECK;
    if (pcre2_match(code, text, (PCRE2_SIZE)size, at, options, data, NULL) < 0) break;
    PCRE2_SIZE *span = pcre2_get_ovector_pointer(data);
    utf8proc_int32_t first, last;
    PCRE2_SIZE end = span[1] - 1;
    while ((text[end] & 0xc0) == 0x80) end--;
    utf8proc_iterate(text + span[0], -1, &first);
    utf8proc_iterate(text + end, -1, &last);
    *VEC_PUSH(b.bound, b.n, b.cap) = (uint32_t)first;
    *VEC_PUSH(b.bound, b.n, b.cap) = (uint32_t)last + 1;
    at = span[1];
  }
  pcre2_match_data_free(data);
  pcre2_code_free(code);
  mem_free(text);
  *out = finish(u->arena, &b);
  for (size_t i = 0; i < COUNT(script_rows); i++)
    if (same_name(name, n, script_names[i]))
      *out = cp_union(u->arena, *out, cp_range(u->arena, script_rows[i].low, script_rows[i].high));
  return true;
}

bool cp_property(const Unicode *u, const char *name, size_t n, CpSet *out) {
  for (size_t i = 0; i < COUNT(category_names); i++)
    if (same_name(name, n, category_names[i].name) || same_name(name, n, category_names[i].full)) {
      *out = cp_categories(u, category_names[i].mask);
      return true;
    }
  return script(u, name, n, out);
}

static bool is_space(const Unicode *u, uint32_t c) {
  (void)u;
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

/* Alphabetic or a mark, number or connector: letters, Nl and the symbols of Other_Alphabetic. */
static bool is_rust_word(const Unicode *u, uint32_t c) {
  uint32_t mask = LETTERS | MARKS | BIT(ND) | BIT(NL) | BIT(PC);
  return mask >> u->category[c] & 1 || (c >= 0x24b6 && c <= 0x24e9) ||
         (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
         (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c || c == 0x200d;
}

/* Oniguruma takes Latin-1 from another table: its superscripts and fractions are word characters,
 * its joiners are not. */
static bool is_word(const Unicode *u, uint32_t c) {
  if (c == 0x200c || c == 0x200d) return false;
  return is_rust_word(u, c) || (c < 256 && u->category[c] == UTF8PROC_CATEGORY_NO);
}

static bool is_rust_numeric(const Unicode *u, uint32_t c) {
  return NUMBERS >> u->category[c] & 1 || (c >= 0x11de0 && c <= 0x11de9) ||
         (c >= 0x16ff4 && c <= 0x16ff6);
}

static bool is_punctuation(const Unicode *u, uint32_t c) {
  const Row *row = ROW(punctuation_rows, c);
  if (row) return row->value;
  if (c < 128 && SYMBOLS >> u->category[c] & 1) return true;
  return PUNCTS >> u->category[c] & 1 && !ROW(category_rows, c);
}

CpSet cp_space(const Unicode *u) {
  return where(u, is_space);
}
CpSet cp_word(const Unicode *u) {
  return where(u, is_word);
}
CpSet cp_rust_word(const Unicode *u) {
  return where(u, is_rust_word);
}
CpSet cp_rust_numeric(const Unicode *u) {
  return where(u, is_rust_numeric);
}
CpSet cp_punctuation(const Unicode *u) {
  return where(u, is_punctuation);
}

static bool is_control(const Unicode *u, uint32_t c) {
  const Row *row = ROW(control_rows, c);
  if (row) return row->value;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0xfffd || ((BIT(CC) | BIT(CF) | BIT(CO)) >> u->category[c] & 1);
}
static bool is_nonspacing(const Unicode *u, uint32_t c) {
  const Row *row = ROW(nonspacing_rows, c);
  return row ? row->value : BIT(MN) >> u->category[c] & 1;
}
static bool is_mark(const Unicode *u, uint32_t c) {
  const Row *row = ROW(mark_rows, c);
  return row ? row->value : MARKS >> u->category[c] & 1;
}

CpSet cp_bert_control(const Unicode *u) {
  return where(u, is_control);
}
CpSet cp_bert_accent(const Unicode *u) {
  return where(u, is_nonspacing);
}
CpSet cp_accent(const Unicode *u) {
  return where(u, is_mark);
}
CpSet cp_bert_chinese(const Unicode *u) {
  static const uint32_t bounds[] = {0x3400,  0x4dc0,  0x4e00,  0xa000,  0xf900,  0xfb00,  0x20000,
                                    0x2a6e0, 0x2a700, 0x2b820, 0x2b920, 0x2ceb0, 0x2f800, 0x2fa20};
  (void)u;
  return (CpSet){bounds, COUNT(bounds)};
}

/* ---- case ---------------------------------------------------------------------------------- */

CpSet cp_fold(const Unicode *u, CpSet s) {
  Builder all = {0};
  uint8_t *hit = mem_alloc(CP_END); /* folds of the members; a fold is its own fold */
  for (uint32_t i = 0; i < u->nfolds; i++)
    if (cp_has(s, u->folds[i][0]) || cp_has(s, u->folds[i][1])) hit[u->folds[i][1]] = 1;
  for (uint32_t i = 0; i < u->nfolds; i++) {
    uint32_t from = u->folds[i][0], to = u->folds[i][1];
    if (!hit[to]) continue;
    if (hit[to] == 1) s = cp_union(u->arena, s, cp_range(u->arena, to, to));
    hit[to] = 2;
    *VEC_PUSH(all.bound, all.n, all.cap) = from;
    *VEC_PUSH(all.bound, all.n, all.cap) = from + 1;
  }
  mem_free(hit);
  /* The list may hold touching ranges; the union joins them. */
  return cp_union(u->arena, finish(u->arena, &all), s);
}

bool cp_fold_pair(uint32_t first, uint32_t second) {
  utf8proc_int32_t f[8], a[8], b[8];
  if (fold(first, a) != 1 || fold(second, b) != 1) return false;
  for (uint32_t c = 0; c < 0x10000; c++)
    if (fold(c, f) > 1 && f[0] == a[0] && f[1] == b[0]) return true;
  return false;
}

unsigned cp_lower(uint32_t c, uint32_t out[3]) {
  const Row *row = ROW(lower_rows, c);
  if (c == 0x130) { /* the one letter whose small form is two code points */
    out[0] = 'i';
    out[1] = 0x307;
    return 2;
  }
  out[0] = row ? row->value + (c - row->low) : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
  return out[0] == c ? 0 : 1;
}

/* ---- normalisation ------------------------------------------------------------------------- */

/* The normalisers are older than Unicode 14: what has come since is nothing to them. */
static bool is_new(uint32_t c) {
  return ROW(category_rows, c) != NULL;
}

unsigned cp_decompose(uint32_t c, bool compat, uint32_t *out, unsigned cap) {
  utf8proc_int32_t points[32];
  int boundary = 0;
  if (is_new(c) || ROW(canonical_rows, c) || (compat && ROW(compatibility_rows, c))) return 0;
  utf8proc_option_t options = UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
  utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, points, 32, options, &boundary);
  if (n <= 0 || n > (utf8proc_ssize_t)cap || (n == 1 && (uint32_t)points[0] == c)) return 0;
  for (utf8proc_ssize_t i = 0; i < n; i++) out[i] = (uint32_t)points[i];
  return (unsigned)n;
}

unsigned cp_combining_class(uint32_t c) {
  if (is_new(c) || ROW(class_rows, c)) return 0;
  return (unsigned)utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}
