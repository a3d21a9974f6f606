/* Tables of the normalisers: decomposition, combining class and composition, and maps of
 * characters.
 *
 * A composition pair is read off a full decomposition: its last code point, and the character that
 * the ones before it compose to. Whether a character composes at all (the standard's exclusions) is
 * asked of utf8proc by composing it again.
 */
#include "backends/text/tok_compile.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_DECOMPOSED = 18 };
enum { HANGUL = 0xac00, HANGUL_END = 0xd7a4 };

/* ---- two-stage tables ---------------------------------------------------------------------- */

static TokTable table(TokCompiler *c, const uint8_t *value, size_t width) {
  size_t page = TOK_PAGE * width;
  uint16_t top[TOK_PAGES];
  Buf leaf = {0};
  for (size_t i = 0; i < TOK_PAGES; i++) {
    const uint8_t *p = value + i * page;
    size_t k = 0, n = leaf.size / page;
    while (k < n && memcmp(leaf.data + k * page, p, page) != 0) k++;
    if (k == n) buf_put(&leaf, p, page);
    top[i] = (uint16_t)k;
  }
  TokTable t = {.top = blob_put(c, top, sizeof top)};
  t.leaf = blob_put(c, leaf.data, leaf.size);
  buf_free(&leaf);
  return t;
}

TokTable blob_table8(TokCompiler *c, const uint8_t *value) {
  return table(c, value, 1);
}

TokTable blob_table16(TokCompiler *c, const uint16_t *value) {
  return table(c, (const uint8_t *)value, 2);
}

/* ---- composition --------------------------------------------------------------------------- */

typedef struct Composite {
  uint32_t c, n, point[4];
} Composite;

/* All characters that canonical composition makes. */
static uint32_t composites(Composite **out) {
  uint32_t n = 0, cap = 0;
  *out = NULL;
  for (uint32_t c = 0xa0; c < CP_END; c++) {
    Composite k = {.c = c};
    if (c >= HANGUL && c < HANGUL_END) continue;
    k.n = cp_decompose(c, false, k.point, COUNT(k.point));
    if (k.n < 2) continue;
    utf8proc_int32_t again[MAX_DECOMPOSED];
    for (uint32_t i = 0; i < k.n; i++) again[i] = (utf8proc_int32_t)k.point[i];
    utf8proc_ssize_t len = utf8proc_normalize_utf32(again, k.n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (len == 1 && (uint32_t)again[0] == c) *VEC_PUSH(*out, n, cap) = k;
  }
  return n;
}

static int by_pair(const void *a, const void *b) {
  const TokCompose *x = a, *y = b;
  if (x->first != y->first) return x->first < y->first ? -1 : 1;
  return x->second < y->second ? -1 : x->second > y->second;
}

/* Writes the pairs; marks in `second` what can stand second. */
static TokSpan compose_pairs(TokCompiler *c, uint8_t *second) {
  Composite *all;
  uint32_t n = composites(&all), npairs = 0;
  TokCompose *pair = mem_alloc((n + 1) * sizeof *pair);
  for (uint32_t i = 0; i < n; i++) {
    const Composite *k = &all[i];
    uint32_t first = k->n == 2 ? k->point[0] : 0, last = k->point[k->n - 1];
    for (uint32_t j = 0; j < n && !first; j++)
      if (all[j].n == k->n - 1 && memcmp(all[j].point, k->point, all[j].n * 4) == 0)
        first = all[j].c;
    if (!first) continue;
    pair[npairs++] = (TokCompose){first, last, k->c};
    second[last] = 1;
  }
  qsort(pair, npairs, sizeof *pair, by_pair);
  TokSpan span = blob_put(c, pair, npairs * sizeof *pair);
  mem_free(pair);
  mem_free(all);
  return span;
}

/* ---- normal forms -------------------------------------------------------------------------- */

/* Whether `c` stays itself in the form: composing its decomposition gives it back. */
static bool stays(uint32_t c, bool compose, bool compat, const uint32_t *point, unsigned n) {
  utf8proc_int32_t again[MAX_DECOMPOSED];
  if (n == 0) return true;
  if (!compose) return false;
  if (compat && cp_decompose(c, false, (uint32_t[MAX_DECOMPOSED]){0}, MAX_DECOMPOSED) == 0)
    return false;
  for (unsigned i = 0; i < n; i++) again[i] = (utf8proc_int32_t)point[i];
  return utf8proc_normalize_utf32(again, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE) == 1 &&
         (uint32_t)again[0] == c;
}

typedef struct Entries {
  TokNormalEntry *entry;
  uint32_t *point;
  uint32_t nentries, entries_cap, npoints, points_cap;
} Entries;

static uint32_t entry_index(Entries *e, TokNormalEntry want, const uint32_t *point) {
  if (want.n == 0)
    for (uint32_t i = 0; i < e->nentries; i++)
      if (memcmp(&e->entry[i], &want, sizeof want) == 0) return i;
  if (want.n) want.at = e->npoints;
  for (unsigned i = 0; i < want.n; i++) *VEC_PUSH(e->point, e->npoints, e->points_cap) = point[i];
  *VEC_PUSH(e->entry, e->nentries, e->entries_cap) = want;
  return e->nentries - 1;
}

Status compile_normal_form(TokCompiler *c, bool compose, bool compat, TokSpan *out) {
  TokNormal nf = {0};
  Entries e = {0};
  uint8_t *second = mem_alloc(CP_END);
  uint16_t *value = mem_alloc(CP_END * sizeof *value);
  if (compose) nf.compose = compose_pairs(c, second);
  for (uint32_t k = 0x1161; compose && k < 0x1176; k++) second[k] = 1;
  for (uint32_t k = 0x11a8; compose && k < 0x11c3; k++) second[k] = 1;
  entry_index(&e, (TokNormalEntry){0}, NULL); /* value 0 */
  for (uint32_t k = 0x80; k < CP_END; k++) {
    uint32_t point[MAX_DECOMPOSED];
    bool hangul = k >= HANGUL && k < HANGUL_END;
    unsigned n = hangul ? 0 : cp_decompose(k, compat, point, MAX_DECOMPOSED);
    unsigned ccc = cp_combining_class(k);
    bool keeps = hangul ? compose : stays(k, compose, compat, point, n);
    bool unsafe = !keeps || ccc || second[k];
    if (n == 0 && !unsafe) continue;
    TokNormalEntry want = {.n = (uint8_t)n, .ccc = (uint8_t)ccc, .unsafe = unsafe};
    value[k] = (uint16_t)entry_index(&e, want, point);
  }
  nf.table = blob_table16(c, value);
  nf.entry = blob_put(c, e.entry, e.nentries * sizeof *e.entry);
  nf.points = blob_put(c, e.point, e.npoints * sizeof *e.point);
  *out = blob_put(c, &nf, sizeof nf);
  mem_free(second);
  mem_free(value);
  mem_free(e.entry);
  mem_free(e.point);
  return OK;
}

/* ---- maps of characters -------------------------------------------------------------------- */

typedef struct MapMaker {
  uint16_t *value; /* heap, by code point */
  TokMapEntry *entry;
  uint32_t n, cap;
  Buf bytes;
} MapMaker;

/* A new entry, for `map_to`. */
static uint16_t map_entry(MapMaker *m, const uint32_t *point, unsigned n) {
  TokMapEntry e = {.at = (uint32_t)m->bytes.size};
  for (unsigned i = 0; i < n; i++) {
    utf8proc_uint8_t utf8[4];
    buf_put(&m->bytes, utf8, (size_t)utf8proc_encode_char((utf8proc_int32_t)point[i], utf8));
  }
  e.n = (uint32_t)m->bytes.size - e.at;
  *VEC_PUSH(m->entry, m->n, m->cap) = e;
  return (uint16_t)m->n;
}

/* Characters of the set that have none yet get the entry. */
static void map_set(MapMaker *m, CpSet set, uint16_t entry) {
  for (uint32_t i = 0; i + 1 < set.n; i += 2)
    for (uint32_t c = set.bound[i]; c < set.bound[i + 1]; c++)
      if (!m->value[c]) m->value[c] = entry;
}

static MapMaker map_new(void) {
  return (MapMaker){.value = mem_alloc(CP_END * sizeof(uint16_t))};
}

static TokSpan map_write(TokCompiler *c, MapMaker *m) {
  TokMap map = {.table = blob_table16(c, m->value)};
  map.entry = blob_put(c, m->entry, m->n * sizeof *m->entry);
  map.bytes = blob_put(c, m->bytes.data, m->bytes.size);
  mem_free(m->value);
  mem_free(m->entry);
  buf_free(&m->bytes);
  return blob_put(c, &map, sizeof map);
}

Status compile_lowercase(TokCompiler *c, TokSpan *out) {
  MapMaker m = map_new();
  for (uint32_t k = 0; k < CP_END; k++) {
    uint32_t lower[3];
    unsigned len = cp_lower(k, lower);
    if (len) m.value[k] = map_entry(&m, lower, len);
  }
  *out = map_write(c, &m);
  return OK;
}

Status compile_drop(TokCompiler *c, CpSet set, TokSpan *out) {
  MapMaker m = map_new();
  map_set(&m, set, map_entry(&m, NULL, 0));
  *out = map_write(c, &m);
  return OK;
}

Status compile_bert_clean(TokCompiler *c, bool clean, bool chinese, TokSpan *out) {
  MapMaker m = map_new();
  if (clean) {
    map_set(&m, cp_bert_control(c->unicode), map_entry(&m, NULL, 0));
    map_set(&m, cp_space(c->unicode), map_entry(&m, (uint32_t[]){' '}, 1));
  }
  if (chinese) map_set(&m, cp_bert_chinese(c->unicode), TOK_MAP_SPACED);
  m.value[' '] = 0; /* is one already */
  *out = map_write(c, &m);
  return OK;
}
