/* Normalisers: NFC, NFD, NFKC and NFKD, maps of single characters, replacement and stripping.
 *
 * The normal forms work on segments: a character that neither changes nor combines backwards begins
 * one, and a segment of it alone (nearly all text) is copied as it is. Others are decomposed, put
 * in canonical order (a counting sort where long, so that a megabyte of accents is no trap) and,
 * for C forms, composed again. Hangul is arithmetic (Unicode 15, section 3.12).
 */
#include "runtime/text/tok_int.h"

#include <stdlib.h>

enum { SBASE = 0xac00, LBASE = 0x1100, VBASE = 0x1161, TBASE = 0x11a7 };
enum { LCOUNT = 19, VCOUNT = 21, TCOUNT = 28, SCOUNT = LCOUNT * VCOUNT * TCOUNT };

static const TokNormalEntry *entry_of(const Tokenizer *t, const TokNormal *nf, uint32_t c) {
  return (const TokNormalEntry *)tok_at(t, nf->entry) + tok_table16(t, &nf->table, c);
}

/* ---- one segment: w->point[0..n), each ccc << 24 | code point ------------------------------ */

static bool point_put(TokWork *w, size_t *n, uint32_t c, uint32_t ccc) {
  if (*n == w->point_cap) {
    size_t cap = w->point_cap ? 2 * w->point_cap : 64;
    uint32_t *p = realloc(w->point, cap * sizeof *p);
    if (!p) return false;
    w->point = p;
    w->point_cap = cap;
  }
  w->point[(*n)++] = ccc << 24 | c;
  return true;
}

static bool decompose(TokWork *w, const TokNormal *nf, uint32_t c, size_t *n) {
  const uint32_t *points = tok_at(w->t, nf->points);
  if (c >= SBASE && c < SBASE + SCOUNT) {
    uint32_t s = c - SBASE, tail = s % TCOUNT;
    return point_put(w, n, LBASE + s / (VCOUNT * TCOUNT), 0) &&
           point_put(w, n, VBASE + s / TCOUNT % VCOUNT, 0) &&
           (!tail || point_put(w, n, TBASE + tail, 0));
  }
  const TokNormalEntry *e = entry_of(w->t, nf, c);
  if (e->n == 0) return point_put(w, n, c, e->ccc);
  for (unsigned i = 0; i < e->n; i++) {
    uint32_t d = points[e->at + i];
    if (!point_put(w, n, d, entry_of(w->t, nf, d)->ccc)) return false;
  }
  return true;
}

/* Stable sort of marks by combining class. */
static bool sort_marks(uint32_t *p, size_t n) {
  if (n <= 24) {
    for (size_t i = 1; i < n; i++) {
      uint32_t c = p[i];
      size_t k = i;
      for (; k && p[k - 1] >> 24 > c >> 24; k--) p[k] = p[k - 1];
      p[k] = c;
    }
    return true;
  }
  size_t from[257] = {0};
  uint32_t *copy = malloc(n * sizeof *copy);
  if (!copy) return false;
  memcpy(copy, p, n * sizeof *p);
  for (size_t i = 0; i < n; i++) from[(p[i] >> 24) + 1]++;
  for (int i = 0; i < 256; i++) from[i + 1] += from[i];
  for (size_t i = 0; i < n; i++) p[from[copy[i] >> 24]++] = copy[i];
  free(copy);
  return true;
}

static bool order(uint32_t *p, size_t n) {
  for (size_t i = 0; i < n;) {
    size_t from = i;
    while (i < n && p[i] >> 24) i++;
    if (!sort_marks(p + from, i - from)) return false;
    while (i < n && !(p[i] >> 24)) i++;
  }
  return true;
}

/* The composite of two code points, or 0. */
static uint32_t composite(const Tokenizer *t, const TokNormal *nf, uint32_t a, uint32_t b) {
  if (a >= LBASE && a < LBASE + LCOUNT && b >= VBASE && b < VBASE + VCOUNT)
    return SBASE + ((a - LBASE) * VCOUNT + (b - VBASE)) * TCOUNT;
  if (a >= SBASE && a < SBASE + SCOUNT && (a - SBASE) % TCOUNT == 0 && b > TBASE &&
      b < TBASE + TCOUNT)
    return a + (b - TBASE);
  const TokCompose *pair = tok_at(t, nf->compose);
  size_t low = 0, high = nf->compose.size / sizeof *pair;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (pair[mid].first < a || (pair[mid].first == a && pair[mid].second < b))
      low = mid + 1;
    else
      high = mid;
  }
  if (low < nf->compose.size / sizeof *pair && pair[low].first == a && pair[low].second == b)
    return pair[low].result;
  return 0;
}

static size_t compose(const Tokenizer *t, const TokNormal *nf, uint32_t *p, size_t n) {
  size_t kept = 0, starter = n; /* n: none yet */
  uint32_t last_ccc = 0;        /* of what stands between the starter and here; 0: nothing */
  for (size_t i = 0; i < n; i++) {
    uint32_t ccc = p[i] >> 24, c = p[i] & 0xffffff;
    bool blocked = starter < n && kept > starter + 1 && (last_ccc == 0 || last_ccc >= ccc);
    if (starter < n && !blocked) {
      uint32_t made = composite(t, nf, p[starter] & 0xffffff, c);
      if (made) {
        p[starter] = made;
        continue;
      }
    }
    if (ccc == 0) starter = kept;
    last_ccc = ccc;
    p[kept++] = p[i];
  }
  return kept;
}

static int normal_segment(TokWork *w, const TokNormal *nf, bool c_form, const uint8_t *text,
                          size_t n, Out *out) {
  size_t points = 0;
  for (size_t i = 0; i < n;) {
    unsigned len;
    if (!decompose(w, nf, tok_utf8_get(text + i, &len), &points)) return TEXT_NO_MEMORY;
    i += len;
  }
  if (!order(w->point, points)) return TEXT_NO_MEMORY;
  if (c_form) points = compose(w->t, nf, w->point, points);
  for (size_t i = 0; i < points; i++) {
    char utf8[4];
    out_put(out, utf8, utf8_encode(w->point[i] & 0xffffff, utf8));
  }
  return TEXT_OK;
}

static int normal_form(TokWork *w, const TokStep *step, const uint8_t *text, size_t n, Out *out,
                       bool *changed) {
  const TokNormal *nf = tok_at(w->t, step->data);
  size_t safe = 0, i = 0, copied = 0; /* safe: where the last safe character begins */
  while (i < n) {
    unsigned len;
    uint32_t c = tok_utf8_get(text + i, &len);
    if (c < 0x80 || !entry_of(w->t, nf, c)->unsafe) {
      safe = i;
      i += len;
      continue;
    }
    size_t to = i;
    while (to < n) {
      c = tok_utf8_get(text + to, &len);
      if (c < 0x80 || !entry_of(w->t, nf, c)->unsafe) break;
      to += len;
    }
    out_put(out, (const char *)text + copied, safe - copied);
    int err = normal_segment(w, nf, step->flags & TOK_NF_COMPOSE, text + safe, to - safe, out);
    if (err) return err;
    copied = safe = i = to;
    *changed = true;
  }
  if (*changed) out_put(out, (const char *)text + copied, n - copied);
  return TEXT_OK;
}

/* ---- the other steps ----------------------------------------------------------------------- */

static void put_spaced(Out *out, const uint8_t *p, unsigned n) {
  out_put(out, " ", 1);
  out_put(out, (const char *)p, n);
  out_put(out, " ", 1);
}

static void map_chars(const Tokenizer *t, const TokStep *step, const uint8_t *text, size_t n,
                      Out *out, bool *changed) {
  const TokMap *map = tok_at(t, step->data);
  const TokMapEntry *entry = tok_at(t, map->entry);
  const char *bytes = tok_at(t, map->bytes);
  size_t copied = 0;
  for (size_t i = 0; i < n;) {
    unsigned len;
    uint16_t k = tok_table16(t, &map->table, tok_utf8_get(text + i, &len));
    if (k) {
      out_put(out, (const char *)text + copied, i - copied);
      if (k == TOK_MAP_SPACED)
        put_spaced(out, text + i, len);
      else
        out_put(out, bytes + entry[k - 1].at, entry[k - 1].n);
      copied = i + len;
      *changed = true;
    }
    i += len;
  }
  if (*changed) out_put(out, (const char *)text + copied, n - copied);
}

static void strip_space(const Tokenizer *t, uint32_t flags, const uint8_t **text, size_t *n) {
  const uint8_t *p = *text;
  size_t from = 0, to = *n;
  unsigned len;
  if (flags & TOK_STRIP_LEFT)
    while (from < to && tok_attr(t, tok_utf8_get(p + from, &len)) & TOK_ATTR_SPACE) from += len;
  if (flags & TOK_STRIP_RIGHT)
    while (to > from) {
      size_t before = to - 1;
      while (before > from && (p[before] & 0xc0) == 0x80) before--;
      if (!(tok_attr(t, tok_utf8_get(p + before, &len)) & TOK_ATTR_SPACE)) break;
      to = before;
    }
  *text = p + from;
  *n = to - from;
}

static int replace(TokWork *w, const TokStep *step, const uint8_t *text, size_t n, Out *out,
                   bool *changed) {
  const TokDfa *dfa = (const TokDfa *)tok_at(w->t, w->t->head->dfa) + step->dfa;
  size_t copied = 0;
  int err = tok_find_all(w, dfa, false, text, n);
  if (err) return err;
  for (size_t i = 0; i < w->matches.n; i++) {
    TokRange m = w->matches.item[i];
    out_put(out, (const char *)text + copied, m.from - copied);
    out_put(out, tok_at(w->t, step->data), step->data.size);
    copied = m.to;
    *changed = true;
  }
  if (*changed) out_put(out, (const char *)text + copied, n - copied);
  return TEXT_OK;
}

int tok_normalize(TokWork *w, TokSpan span, const uint8_t *text, size_t n, const uint8_t **out,
                  size_t *out_n) {
  const Tokenizer *t = w->t;
  const TokStep *steps = tok_at(t, span);
  size_t nsteps = span.size / sizeof *steps;
  unsigned turn = 0;
  for (size_t i = 0; i < nsteps; i++) {
    const TokStep *s = &steps[i];
    Out *to = &w->normal[turn];
    bool changed = false;
    int err = TEXT_OK;
    to->size = 0;
    switch ((TokStepKind)s->kind) {
    case TOK_STEP_NORMAL: err = normal_form(w, s, text, n, to, &changed); break;
    case TOK_STEP_MAP: map_chars(t, s, text, n, to, &changed); break;
    case TOK_STEP_STRIP: strip_space(t, s->flags, &text, &n); break;
    case TOK_STEP_PREPEND:
      changed = n > 0;
      if (changed) out_put(to, tok_at(t, s->data), s->data.size);
      if (changed) out_put(to, (const char *)text, n);
      break;
    case TOK_STEP_REPLACE: err = replace(w, s, text, n, to, &changed); break;
    default: return TEXT_BAD_BLOB;
    }
    if (err) return err;
    if (!changed) continue;
    if (to->failed) return TEXT_NO_MEMORY;
    text = (const uint8_t *)to->data;
    n = to->size;
    turn ^= 1;
  }
  *out = text;
  *out_n = n;
  return TEXT_OK;
}
