/* Encoding: added tokens, normalisation, pre-tokenization, model, post-processor, in the order of
 * Hugging Face's pipeline. Tokens matched before normalisation cut the raw text; each rest is
 * normalised alone, cut at tokens matched after normalisation, and each rest of that goes through
 * the pre-tokenizer's steps, which refine one list of ranges, to the model.
 */
#include "runtime/text/tok_int.h"

#include <limits.h>

/* Values of SplitBehaviour (ir/text.h). */
enum { REMOVED, ISOLATED, MERGED_PREVIOUS, MERGED_NEXT, CONTIGUOUS };

typedef struct Cut { /* the pieces of one range, as a split makes them */
  TokRanges *to;
  size_t base;  /* where the range begins */
  size_t first; /* pieces before it in `to` */
  const TokStep *step;
  bool previous; /* whether the part before was a delimiter */
  bool failed;
} Cut;

static void cut_part(Cut *c, size_t from, size_t to, bool is_match) {
  bool delimiter = is_match != ((c->step->flags & TOK_SPLIT_INVERT) != 0), join = false;
  bool any = c->to->n > c->first;
  switch (c->step->behaviour) {
  case REMOVED:
    if (delimiter) return;
    break;
  case MERGED_PREVIOUS: join = any && delimiter && !c->previous; break;
  case MERGED_NEXT: join = any && c->previous && !delimiter; break;
  case CONTIGUOUS: join = any && delimiter == c->previous; break;
  default: break;
  }
  c->previous = delimiter;
  if (join)
    c->to->item[c->to->n - 1].to = c->base + to;
  else
    c->failed |= !tok_ranges_put(c->to, c->base + from, c->base + to);
}

/* Splits every piece of `from` at the matches of the step's automaton. */
static int split(TokWork *w, const TokStep *step, bool bytes, const uint8_t *text, TokRanges *from,
                 TokRanges *to) {
  const TokDfa *dfa = (const TokDfa *)tok_at(w->t, w->t->head->dfa) + step->dfa;
  for (size_t i = 0; i < from->n; i++) {
    TokRange r = from->item[i];
    Cut c = {.to = to, .base = r.from, .first = to->n, .step = step};
    size_t at = 0, n = r.to - r.from;
    int err = tok_find_all(w, dfa, bytes, text + r.from, n);
    if (err) return err;
    for (size_t k = 0; k < w->matches.n; k++) {
      TokRange m = w->matches.item[k];
      if (at < m.from) cut_part(&c, at, m.from, false);
      cut_part(&c, m.from, m.to, true);
      at = m.to;
    }
    if (at < n) cut_part(&c, at, n, false);
    if (c.failed) return TEXT_NO_MEMORY;
  }
  return TEXT_OK;
}

/* Puts a space before every piece that begins without one: the pieces move to a new text. */
static int prefix(const uint8_t **text, TokRanges *from, TokRanges *to, Out *out) {
  out->size = 0;
  for (size_t i = 0; i < from->n; i++) {
    TokRange r = from->item[i];
    size_t begin = out->size;
    if ((*text)[r.from] != ' ') out_put(out, " ", 1);
    out_put(out, (const char *)*text + r.from, r.to - r.from);
    if (!tok_ranges_put(to, begin, out->size)) return TEXT_NO_MEMORY;
  }
  if (out->failed) return TEXT_NO_MEMORY;
  *text = (const uint8_t *)out->data;
  return TEXT_OK;
}

/* Spaces become the replacement, which also stands before pieces as the scheme says. */
static int metaspace(const TokWork *w, const TokStep *step, bool first, const uint8_t **text,
                     TokRanges *from, TokRanges *to, Out *out) {
  const char *mark = tok_at(w->t, step->data);
  size_t nmark = step->data.size;
  out->size = 0;
  for (size_t i = 0; i < from->n; i++) {
    const uint8_t *p = *text + from->item[i].from;
    size_t n = from->item[i].to - from->item[i].from, begin = out->size, kept = 0;
    bool wanted = step->flags == TOK_META_ALWAYS ||
                  (step->flags == TOK_META_FIRST && first && from->item[i].from == 0);
    bool there = n && (*p == ' ' || (n >= nmark && memcmp(p, mark, nmark) == 0));
    if (wanted && !there) out_put(out, mark, nmark);
    for (size_t k = 0; k < n; k++) {
      if (p[k] != ' ') continue;
      out_put(out, (const char *)p + kept, k - kept);
      out_put(out, mark, nmark);
      kept = k + 1;
    }
    out_put(out, (const char *)p + kept, n - kept);
    if (!tok_ranges_put(to, begin, out->size)) return TEXT_NO_MEMORY;
  }
  if (out->failed) return TEXT_NO_MEMORY;
  *text = (const uint8_t *)out->data;
  return TEXT_OK;
}

int tok_encode_text(TokWork *w, const uint8_t *text, size_t n) {
  const Tokenizer *t = w->t;
  const TokStep *steps = tok_at(t, t->head->pretokenizer);
  size_t nsteps = t->head->pretokenizer.size / sizeof *steps;
  TokRanges *from = &w->pieces[0], *to = &w->pieces[1];
  bool bytes = false, first = w->at_begin && text == w->normal_begin;
  int err;
  from->n = 0;
  if (!tok_ranges_put(from, 0, n)) return TEXT_NO_MEMORY;
  for (size_t i = 0; i < nsteps; i++) {
    if (steps[i].kind == TOK_STEP_BYTES) {
      bytes = true;
      continue;
    }
    to->n = 0;
    if (steps[i].kind == TOK_STEP_SPLIT)
      err = split(w, &steps[i], bytes, text, from, to);
    else if (steps[i].kind == TOK_STEP_PREFIX)
      err = prefix(&text, from, to, &w->text);
    else if (steps[i].kind == TOK_STEP_METASPACE)
      err = metaspace(w, &steps[i], first, &text, from, to, &w->text);
    else
      err = TEXT_BAD_BLOB;
    if (err) return err;
    TokRanges *swap = from;
    from = to;
    to = swap;
  }
  for (size_t i = 0; i < from->n; i++) {
    TokRange r = from->item[i];
    err = (t->head->flags & TOK_WORDPIECE_MODEL ? tok_wordpiece : tok_bpe)(w, text + r.from,
                                                                           r.to - r.from);
    if (err) return err;
  }
  return TEXT_OK;
}

static int after_raw(TokWork *w, const uint8_t *text, size_t n) {
  w->at_begin = text == w->raw_begin;
  int err = tok_normalize(w, w->t->head->normalizer, text, n, &text, &n);
  if (err || n == 0) return err;
  w->normal_begin = text;
  return tok_added_split(w, &w->t->head->normal, text, n, tok_encode_text);
}

bool tok_utf8_valid(const uint8_t *p, size_t n) {
  uint32_t code;
  size_t len;
  for (size_t i = 0; i < n; i += len) {
    len = p[i] < 0x80 ? 1 : utf8_decode((const char *)p + i, n - i, &code);
    if (!len) return false;
  }
  return true;
}

void tok_utf8_repair(const uint8_t *p, size_t n, Out *out) {
  for (size_t i = 0; i < n;) {
    char utf8[4];
    uint32_t code;
    i += utf8_step((const char *)p + i, n - i, &code);
    out_put(out, utf8, utf8_encode(code, utf8));
  }
}

static int encode_sequence(TokWork *w, const char *text, size_t n) {
  const uint8_t *p = (const uint8_t *)text;
  if (!tok_utf8_valid(p, n)) {
    w->clean.size = 0;
    tok_utf8_repair(p, n, &w->clean);
    if (w->clean.failed) return TEXT_NO_MEMORY;
    p = (const uint8_t *)w->clean.data;
    n = w->clean.size;
  }
  w->raw_begin = p;
  return tok_added_split(w, &w->t->head->raw, p, n, after_raw);
}

int tok_encode(const Tokenizer *t, const char *text, size_t n, const char *pair, size_t npair,
               unsigned flags, TokIds *out) {
  TokWork w = {.t = t, .flags = flags, .out = out};
  TokSpan span = pair ? t->head->pair : t->head->single;
  const TokPiece *piece = tok_at(t, span);
  size_t npieces = span.size / sizeof *piece;
  int err = TEXT_OK;
  for (size_t i = 0; i < npieces && !err; i++) {
    if (piece[i].kind == 0)
      err = encode_sequence(&w, text, n);
    else if (piece[i].kind == 1)
      err = encode_sequence(&w, pair, npair);
    else if (flags & TOK_ADD_SPECIAL && !tok_ids_put(out, piece[i].id))
      err = TEXT_NO_MEMORY;
  }
  tok_work_free(&w);
  return err;
}

void tok_template(const Tokenizer *t, size_t *before, size_t *after) {
  const TokPiece *piece = tok_at(t, t->head->single);
  size_t n = t->head->single.size / sizeof *piece, i = 0;
  while (i < n && piece[i].kind != 0) i++;
  *before = i;
  *after = i < n ? n - i - 1 : 0;
}
