/* Byte-pair encoding of one piece.
 *
 * The best merge of all neighbours (lowest rank, then leftmost) is done until none is left. Symbols
 * are a doubly linked list over the piece, candidates a heap of (rank, position): O(n log n) for
 * any piece. A popped candidate counts only if it is still the merge that its symbol offers.
 * Whether two neighbours merge is asked of the hash by the bytes that they cover together.
 */
#include "runtime/text/tok_int.h"

#include <stdlib.h>

/* ---- merges -------------------------------------------------------------------------------- */

static uint32_t split_len(const Tokenizer *t, size_t i) {
  if (t->head->flags & TOK_WIDE_SPLITS) return ((const uint16_t *)tok_at(t, t->head->split_len))[i];
  return ((const uint8_t *)tok_at(t, t->head->split_len))[i];
}

/* Rank of the merge that makes `id` from a left half of `left` bytes, or TOK_NO_ID. */
static uint32_t merge_rank(const Tokenizer *t, uint32_t id, uint32_t left) {
  const TokBlob *h = t->head;
  const uint32_t *rank = h->rank.size ? tok_at(t, h->rank) : NULL;
  if (h->flags & TOK_ONE_SPLIT) {
    if (split_len(t, id) != left) return TOK_NO_ID;
    return rank ? rank[id] : id;
  }
  const uint8_t *count = tok_at(t, h->split_count);
  size_t i = ((const uint32_t *)tok_at(t, h->split_base))[id / TOK_BLOCK];
  for (uint32_t k = id / TOK_BLOCK * TOK_BLOCK; k < id; k++) i += count[k];
  for (uint32_t k = 0; k < count[id]; k++)
    if (split_len(t, i + k) == left) return rank ? rank[i + k] : (uint32_t)(i + k);
  return TOK_NO_ID;
}

/* ---- heap of rank << 32 | position --------------------------------------------------------- */

static bool heap_push(TokWork *w, uint64_t key) {
  if (w->heap_n == w->heap_cap) {
    size_t cap = w->heap_cap ? 2 * w->heap_cap : 256;
    uint64_t *p = realloc(w->heap, cap * sizeof *p);
    if (!p) return false;
    w->heap = p;
    w->heap_cap = cap;
  }
  size_t i = w->heap_n++;
  for (; i && w->heap[(i - 1) / 2] > key; i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
  w->heap[i] = key;
  return true;
}

static uint64_t heap_pop(TokWork *w) {
  uint64_t top = w->heap[0], key = w->heap[--w->heap_n];
  size_t i = 0, n = w->heap_n;
  for (size_t k; (k = 2 * i + 1) < n; i = k) {
    if (k + 1 < n && w->heap[k + 1] < w->heap[k]) k++;
    if (w->heap[k] >= key) break;
    w->heap[i] = w->heap[k];
  }
  w->heap[i] = key;
  return top;
}

/* ---- symbols ------------------------------------------------------------------------------- */

/* Looks up the merge of symbol `i` with its right neighbour and offers it. */
static bool offer(TokWork *w, const uint8_t *text, uint32_t i) {
  TokSym *s = &w->sym[i];
  s->rank = TOK_NO_ID;
  if (s->next == TOK_NO_ID || s->fixed || w->sym[s->next].fixed) return true;
  s->made = tok_lookup(w->t, text + s->from, w->sym[s->next].to - s->from);
  if (s->made == TOK_NO_ID) return true;
  s->rank = merge_rank(w->t, s->made, s->to - s->from);
  return s->rank == TOK_NO_ID || heap_push(w, (uint64_t)s->rank << 32 | i);
}

static int merge_all(TokWork *w, const uint8_t *text, uint32_t n) {
  w->heap_n = 0;
  for (uint32_t i = 0; i < n; i++)
    if (!offer(w, text, i)) return TEXT_NO_MEMORY;
  while (w->heap_n) {
    uint64_t key = heap_pop(w);
    uint32_t i = (uint32_t)key;
    TokSym *s = &w->sym[i];
    if (s->rank != (uint32_t)(key >> 32) || s->to == s->from) continue;
    TokSym *right = &w->sym[s->next];
    s->to = right->to;
    s->id = s->made;
    s->next = right->next;
    right->from = right->to; /* gone */
    right->rank = TOK_NO_ID;
    if (s->next != TOK_NO_ID) w->sym[s->next].prev = i;
    if (!offer(w, text, i)) return TEXT_NO_MEMORY;
    if (s->prev != TOK_NO_ID && !offer(w, text, s->prev)) return TEXT_NO_MEMORY;
  }
  return TEXT_OK;
}

static bool sym_room(TokWork *w, size_t n) {
  if (n <= w->sym_cap) return true;
  size_t cap = n < 64 ? 64 : n + n / 2;
  TokSym *p = realloc(w->sym, cap * sizeof *p);
  if (!p) return false;
  w->sym = p;
  w->sym_cap = cap;
  return true;
}

static void put_sym(TokWork *w, uint32_t *n, uint32_t from, uint32_t to, uint32_t id, bool fixed) {
  w->sym[*n] = (TokSym){from, to, id, *n ? *n - 1 : TOK_NO_ID, TOK_NO_ID, TOK_NO_ID, 0, fixed};
  if (*n) w->sym[*n - 1].next = *n;
  ++*n;
}

static void put_unknown(TokWork *w, uint32_t *n, uint32_t from, uint32_t to) {
  const TokBlob *h = w->t->head;
  TokSym *last = *n ? &w->sym[*n - 1] : NULL;
  if (h->flags & TOK_FUSE_UNK && last && last->fixed && last->id == (uint32_t)h->unk)
    last->to = to;
  else
    put_sym(w, n, from, to, (uint32_t)h->unk, true);
}

/* Symbols that are bytes. Without an unknown token, bytes that have none vanish and their
 * neighbours meet. */
static bool byte_symbols(TokWork *w, const uint8_t **text, size_t *size, uint32_t *n) {
  const int32_t *byte_id = tok_at(w->t, w->t->head->byte_id);
  bool drop = w->t->head->unk < 0;
  const uint8_t *p = *text;
  size_t kept = 0;
  while (kept < *size && byte_id[p[kept]] >= 0) kept++;
  if (drop && kept < *size) {
    w->piece.size = 0;
    for (size_t i = 0; i < *size; i++)
      if (byte_id[p[i]] >= 0) out_put(&w->piece, (const char *)p + i, 1);
    if (w->piece.failed) return false;
    *text = p = (const uint8_t *)w->piece.data;
    *size = w->piece.size;
  }
  for (uint32_t i = 0; i < *size; i++)
    if (byte_id[p[i]] >= 0)
      put_sym(w, n, i, i + 1, (uint32_t)byte_id[p[i]], false);
    else
      put_unknown(w, n, i, i + 1);
  return true;
}

/* A character without a token: the tokens of its bytes, or the unknown token. */
static void unknown_char(TokWork *w, const uint8_t *text, uint32_t from, uint32_t to, uint32_t *n) {
  const TokBlob *h = w->t->head;
  const int32_t *byte_id = tok_at(w->t, h->byte_id);
  bool all = (h->flags & TOK_BYTE_FALLBACK) != 0;
  for (uint32_t i = from; i < to; i++) all = all && byte_id[text[i]] >= 0;
  if (all) {
    for (uint32_t i = from; i < to; i++) put_sym(w, n, i, i + 1, (uint32_t)byte_id[text[i]], true);
    return;
  }
  if (h->unk >= 0) put_unknown(w, n, from, to);
}

/* Symbols that are characters; the last one carries the end-of-word suffix. */
static void char_symbols(TokWork *w, const uint8_t *text, size_t size, size_t suffix, uint32_t *n) {
  size_t word = size - suffix;
  for (size_t i = 0; i < word;) {
    unsigned len;
    tok_utf8_get(text + i, &len);
    size_t to = i + len == word ? size : i + len;
    uint32_t id = tok_lookup(w->t, text + i, to - i);
    if (id != TOK_NO_ID)
      put_sym(w, n, (uint32_t)i, (uint32_t)to, id, false);
    else
      unknown_char(w, text, (uint32_t)i, (uint32_t)(i + len), n);
    i += len;
  }
}

int tok_bpe(TokWork *w, const uint8_t *piece, size_t size) {
  const Tokenizer *t = w->t;
  const TokBlob *h = t->head;
  const uint8_t *whole = tok_at(t, h->whole);
  uint32_t id = tok_lookup(t, piece, size), n = 0;
  if (id != TOK_NO_ID && whole[id / 8] >> (id % 8) & 1)
    return tok_ids_put(w->out, id) ? TEXT_OK : TEXT_NO_MEMORY;
  if (h->suffix.size) {
    w->piece.size = 0;
    out_put(&w->piece, (const char *)piece, size);
    out_put(&w->piece, tok_at(t, h->suffix), h->suffix.size);
    if (w->piece.failed) return TEXT_NO_MEMORY;
    piece = (const uint8_t *)w->piece.data;
    size += h->suffix.size;
  }
  if (size >= TOK_NO_ID || !sym_room(w, size)) return TEXT_NO_MEMORY;
  if (h->flags & TOK_BYTE_LEVEL) {
    if (!byte_symbols(w, &piece, &size, &n)) return TEXT_NO_MEMORY;
  } else {
    char_symbols(w, piece, size, h->suffix.size, &n);
  }
  if (!n) return TEXT_OK;
  int err = merge_all(w, piece, n);
  if (err) return err;
  for (uint32_t i = 0; i != TOK_NO_ID; i = w->sym[i].next)
    if (!tok_ids_put(w->out, w->sym[i].id)) return TEXT_NO_MEMORY;
  return TEXT_OK;
}
