/* The open tokenizer: checking a blob, finding tokens by bytes and by id, and growing lists.
 *
 * Opening looks at the header only: that every table lies within the blob and has the size that the
 * counts imply. What is in the tables is the compiler's word, as the rest of the program's text is.
 */
#include "runtime/text/tok_int.h"

#include <stdlib.h>

static bool fits(const TokBlob *h, TokSpan s, size_t size) {
  return s.at % 4 == 0 && s.at <= h->size && s.size <= h->size - s.at && s.size >= size;
}

static bool tables_fit(const TokBlob *h) {
  size_t ids = h->flags & TOK_WIDE_IDS ? 4 : 2, bits = ((size_t)h->vocab + 7) / 8;
  return fits(h, h->base, 4 * (h->vocab / TOK_BLOCK + 1)) && fits(h, h->bytes, 0) &&
         fits(h, h->delta, 2 * ((size_t)h->vocab + 1)) && fits(h, h->special, bits) &&
         fits(h, h->whole, bits) && fits(h, h->finger, h->slots) &&
         fits(h, h->slot, ids * h->slots) && fits(h, h->byte_id, 256 * 4) &&
         fits(h, h->symbol.top, 2 * TOK_PAGES) && fits(h, h->symbol.leaf, TOK_PAGE) &&
         fits(h, h->attr, 1) && fits(h, h->byte_symbol, 256) && fits(h, h->dfa, 0) &&
         fits(h, h->normalizer, 0) && fits(h, h->pretokenizer, 0) && fits(h, h->added, 0) &&
         fits(h, h->raw.root, 256 * 4) && fits(h, h->normal.root, 256 * 4) &&
         fits(h, h->single, 0) && fits(h, h->pair, 0) && fits(h, h->split_len, 0) &&
         fits(h, h->split_count, h->flags & TOK_ONE_SPLIT ? 0 : h->vocab) &&
         fits(h, h->split_base, 0) && fits(h, h->rank, 0) && fits(h, h->suffix, 0) &&
         fits(h, h->prefix, 0) && fits(h, h->decoder, 0) && fits(h, h->decoder_first, 0) &&
         fits(h, h->lead, 0);
}

int tok_open(const void *blob, size_t size, Tokenizer **out) {
  const TokBlob *h = blob;
  *out = NULL;
  if (!blob || size < sizeof *h || (uintptr_t)blob % 4 != 0) return TEXT_BAD_BLOB;
  if (h->magic != TOK_MAGIC || h->version != TOK_VERSION || h->size > size) return TEXT_BAD_BLOB;
  if (!tables_fit(h)) return TEXT_BAD_BLOB;
  Tokenizer *t = malloc(sizeof *t);
  if (!t) return TEXT_NO_MEMORY;
  t->blob = blob;
  t->head = h;
  *out = t;
  return TEXT_OK;
}

void tok_close(Tokenizer *t) {
  free(t);
}

uint32_t tok_vocab(const Tokenizer *t) {
  return t->head->vocab;
}

static size_t token_offset(const Tokenizer *t, uint32_t id) {
  const uint32_t *base = tok_at(t, t->head->base);
  const uint16_t *delta = tok_at(t, t->head->delta);
  return (size_t)base[id / TOK_BLOCK] + delta[id];
}

const uint8_t *tok_bytes(const Tokenizer *t, uint32_t id, uint32_t *n) {
  size_t from = token_offset(t, id), to = token_offset(t, id + 1);
  *n = (uint32_t)(to - from);
  return (const uint8_t *)tok_at(t, t->head->bytes) + from;
}

uint32_t tok_lookup(const Tokenizer *t, const uint8_t *p, size_t n) {
  const TokBlob *h = t->head;
  if (n == 0 || n > h->longest || h->slots == 0) return TOK_NO_ID;
  uint64_t hash = tok_hash(p, (uint32_t)n);
  uint32_t i = tok_hash_slot(hash, h->slots);
  uint8_t finger = tok_hash_finger(hash);
  const uint8_t *fingers = tok_at(t, h->finger);
  for (; fingers[i]; i = i + 1 == h->slots ? 0 : i + 1) {
    if (fingers[i] != finger) continue;
    uint32_t len, id;
    if (h->flags & TOK_WIDE_IDS)
      id = ((const uint32_t *)tok_at(t, h->slot))[i];
    else
      id = ((const uint16_t *)tok_at(t, h->slot))[i];
    const uint8_t *bytes = tok_bytes(t, id, &len);
    if (len == n && memcmp(bytes, p, n) == 0) return id;
  }
  return TOK_NO_ID;
}

static bool bit(const Tokenizer *t, TokSpan bits, uint32_t id) {
  const uint8_t *p = tok_at(t, bits);
  return id < t->head->vocab && (p[id / 8] >> (id % 8) & 1);
}

bool tok_is_special(const Tokenizer *t, uint32_t id) {
  return bit(t, t->head->special, id);
}

int64_t tok_find(const Tokenizer *t, const char *content) {
  const uint8_t *p = (const uint8_t *)content;
  size_t n = strlen(content);
  const TokAdded *added = tok_at(t, t->head->added);
  uint32_t k = tok_added_find(t, &t->head->raw, p, n);
  if (!k) k = tok_added_find(t, &t->head->normal, p, n);
  if (k) return added[k - 1].id;
  uint32_t id = tok_lookup(t, p, n);
  return id == TOK_NO_ID ? -1 : (int64_t)id;
}

/* ---- lists --------------------------------------------------------------------------------- */

bool tok_ids_put(TokIds *ids, uint32_t id) {
  if (ids->n == ids->cap) {
    size_t cap = ids->cap ? 2 * ids->cap : 64;
    uint32_t *p = realloc(ids->id, cap * sizeof *p);
    if (!p) return false;
    ids->id = p;
    ids->cap = cap;
  }
  ids->id[ids->n++] = id;
  return true;
}

void tok_ids_free(TokIds *ids) {
  free(ids->id);
  memset(ids, 0, sizeof *ids);
}

bool tok_ranges_put(TokRanges *r, size_t from, size_t to) {
  if (r->n == r->cap) {
    size_t cap = r->cap ? 2 * r->cap : 64;
    TokRange *p = realloc(r->item, cap * sizeof *p);
    if (!p) return false;
    r->item = p;
    r->cap = cap;
  }
  r->item[r->n++] = (TokRange){from, to};
  return true;
}

void tok_work_free(TokWork *w) {
  out_free(&w->clean);
  for (int i = 0; i < 2; i++) {
    out_free(&w->normal[i]);
    free(w->pieces[i].item);
  }
  out_free(&w->text);
  out_free(&w->piece);
  free(w->point);
  free(w->matches.item);
  free(w->memo);
  free(w->sym);
  free(w->heap);
}
