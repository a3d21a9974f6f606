/* The vocabulary: bytes of every token, the hash that finds them, merges as lengths of left halves.
 *
 * A byte-level vocabulary is written in GPT-2's alphabet, where every byte has a printable
 * stand-in; it is stored as the bytes meant. Tokens that are not written in the alphabet (added
 * ones) can't come out of text, are not in the hash, and decode to their own bytes, as in Hugging
 * Face's decoder.
 */
#include "backends/text/tok_compile.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_IDS = 1 << 24, MAX_SCORED = 512 /* bytes of a token whose cuts are all looked at */ };
static const uint32_t no_id = UINT32_MAX;

typedef struct Merge {
  uint32_t made, left, rank; /* token, bytes of its left half, place in the list */
} Merge;

typedef struct Vocab {
  TextBytes *text; /* by id */
  bool *reachable; /* by id: can come out of text */
  uint32_t n;
  uint8_t *finger; /* a hash as in the blob */
  uint32_t *slot;
  uint32_t slots, longest;
  Merge *merge;
  uint32_t nmerges;
} Vocab;

/* ---- the byte alphabet --------------------------------------------------------------------- */

static bool printable(uint32_t b) {
  return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
}

uint32_t stand_in_of_byte(uint8_t b) {
  uint32_t c = 0x100;
  if (printable(b)) return b;
  for (uint32_t k = 0; k < b; k++) c += !printable(k);
  return c;
}

int byte_of_stand_in(uint32_t c) {
  if (c < 0x100) return printable(c) ? (int)c : -1;
  for (uint32_t b = 0; b < 0x100; b++)
    if (!printable(b) && c-- == 0x100) return (int)b;
  return -1;
}

/* The bytes that `text` stands for; false when it has other characters (then *out is text). */
static bool from_alphabet(TokCompiler *c, const int16_t *byte_of, TextBytes text, TextBytes *out) {
  char *bytes = arena_alloc(c->arena, text.size + 1u);
  uint32_t n = 0;
  *out = text;
  for (uint32_t i = 0; i < text.size;) {
    utf8proc_int32_t point;
    utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)text.data + i,
                                            (utf8proc_ssize_t)(text.size - i), &point);
    if (len <= 0 || point >= 0x200 || byte_of[point] < 0) return false;
    bytes[n++] = (char)byte_of[point];
    i += (uint32_t)len;
  }
  *out = (TextBytes){bytes, n};
  return true;
}

/* ---- hash ---------------------------------------------------------------------------------- */

static uint32_t find(const Vocab *v, TextBytes t) {
  if (!v->slots) return no_id;
  uint64_t h = tok_hash((const uint8_t *)t.data, t.size);
  uint32_t i = tok_hash_slot(h, v->slots);
  for (; v->finger[i]; i = i + 1 == v->slots ? 0 : i + 1) {
    TextBytes have = v->text[v->slot[i]];
    if (have.size == t.size && memcmp(have.data, t.data, t.size) == 0) return v->slot[i];
  }
  return no_id;
}

/* Hashes all reachable tokens; of equal ones the last counts. */
static void make_hash(Vocab *v) {
  uint32_t n = 0;
  for (uint32_t id = 0; id < v->n; id++) n += v->reachable[id];
  v->slots = n + n / 4 + 1;
  v->longest = 0;
  mem_free(v->finger);
  mem_free(v->slot);
  v->finger = mem_alloc(v->slots);
  v->slot = mem_alloc(v->slots * sizeof *v->slot);
  for (uint32_t id = 0; id < v->n; id++) {
    TextBytes t = v->text[id];
    if (!v->reachable[id]) continue;
    uint64_t h = tok_hash((const uint8_t *)t.data, t.size);
    uint32_t i = tok_hash_slot(h, v->slots);
    while (v->finger[i] && !(v->text[v->slot[i]].size == t.size &&
                             memcmp(v->text[v->slot[i]].data, t.data, t.size) == 0))
      i = i + 1 == v->slots ? 0 : i + 1;
    v->finger[i] = tok_hash_finger(h);
    v->slot[i] = id;
    if (t.size > v->longest) v->longest = t.size;
  }
}

/* ---- reading the spec ---------------------------------------------------------------------- */

static Status read_tokens(TokCompiler *c, Vocab *v, const int16_t *byte_of) {
  const TokenizerSpec *spec = c->spec;
  v->n = spec->nvocab;
  for (uint32_t i = 0; i < spec->nadded; i++)
    if (spec->added[i].id >= MAX_IDS)
      return diag_error(c->d, c->source, "added token '%.*s' has id %u; at most %d are supported",
                        (int)spec->added[i].text.size, spec->added[i].text.data, spec->added[i].id,
                        MAX_IDS);
    else if (spec->added[i].id >= v->n)
      v->n = spec->added[i].id + 1;
  if (v->n > MAX_IDS || v->n == 0)
    return diag_error(c->d, c->source, "a vocabulary of %u tokens; 1 to %d are supported", v->n,
                      MAX_IDS);
  v->text = ARENA_ARRAY(c->arena, TextBytes, v->n);
  v->reachable = ARENA_ARRAY(c->arena, bool, v->n);
  for (uint32_t id = 0; id < spec->nvocab; id++) {
    TextBytes t = spec->vocab[id];
    v->reachable[id] = t.size > 0;
    if (byte_of)
      v->reachable[id] = from_alphabet(c, byte_of, t, &v->text[id]) && t.size > 0;
    else
      v->text[id] = t;
  }
  for (uint32_t i = 0; i < spec->nadded; i++) {
    const AddedToken *a = &spec->added[i];
    TextBytes t = a->text, old = v->text[a->id];
    if (byte_of) from_alphabet(c, byte_of, t, &t);
    v->text[a->id] = t;
    if (old.size != t.size || (t.size && memcmp(old.data, t.data, t.size) != 0))
      v->reachable[a->id] = false;
  }
  return OK;
}

static int by_made(const void *a, const void *b) {
  const Merge *x = a, *y = b;
  if (x->made != y->made) return x->made < y->made ? -1 : 1;
  return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int by_half(const void *a, const void *b) {
  const Merge *x = a, *y = b;
  if (x->made != y->made) return x->made < y->made ? -1 : 1;
  if (x->left != y->left) return x->left < y->left ? -1 : 1;
  return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static Status read_merge(TokCompiler *c, Vocab *v, const int16_t *byte_of, uint32_t rank) {
  TextBytes left = c->spec->merges[rank].left, right = c->spec->merges[rank].right, both;
  if (byte_of &&
      (!from_alphabet(c, byte_of, left, &left) || !from_alphabet(c, byte_of, right, &right)))
    return OK; /* no text of bytes gets there */
  both.size = left.size + right.size;
  char *data = arena_alloc(c->arena, both.size + 1u);
  both.data = data;
  if (left.size) memcpy(data, left.data, left.size);
  if (right.size) memcpy(data + left.size, right.data, right.size);
  uint32_t made = find(v, both);
  if (find(v, left) == no_id || find(v, right) == no_id || made == no_id)
    return diag_error(c->d, c->source,
                      "merge %u ('%.*s' + '%.*s') is of tokens that the vocabulary "
                      "doesn't have",
                      rank, (int)c->spec->merges[rank].left.size, c->spec->merges[rank].left.data,
                      (int)c->spec->merges[rank].right.size, c->spec->merges[rank].right.data);
  v->merge[v->nmerges++] = (Merge){made, left.size, rank};
  return OK;
}

typedef struct Candidate { /* a merge that the scores imply */
  Merge merge;
  float score;
  uint32_t left_chars, right_chars, left_id, right_id;
} Candidate;

static int by_score(const void *a, const void *b) {
  const Candidate *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  if (x->left_chars != y->left_chars) return x->left_chars > y->left_chars ? -1 : 1;
  if (x->right_chars != y->right_chars) return x->right_chars > y->right_chars ? -1 : 1;
  if (x->merge.made != y->merge.made) return x->merge.made < y->merge.made ? -1 : 1;
  if (x->left_id != y->left_id) return x->left_id < y->left_id ? -1 : 1;
  return x->right_id < y->right_id ? -1 : x->right_id > y->right_id;
}

/* SentencePiece keeps scores in place of merges: every way to cut a token into two tokens is one,
 * ranked by the token's score, then long left halves first (Transformers' generate_merges). */
static Status merges_of_scores(TokCompiler *c, Vocab *v) {
  Candidate *all = NULL;
  uint32_t n = 0, cap = 0;
  for (uint32_t id = 0; id < c->spec->nvocab; id++) {
    TextBytes t = v->text[id];
    uint32_t chars = 0, before = 0;
    if (!v->reachable[id]) continue;
    if (t.size > MAX_SCORED)
      return mem_free(all),
             diag_error(c->d, c->source, "token %u is too long (%u bytes)", id, t.size);
    for (uint32_t i = 0; i < t.size; i++) chars += (t.data[i] & 0xc0) != 0x80;
    for (uint32_t cut = 1; cut < t.size; cut++) {
      if ((t.data[cut] & 0xc0) == 0x80) continue;
      uint32_t left = find(v, (TextBytes){t.data, cut});
      uint32_t right = find(v, (TextBytes){t.data + cut, t.size - cut});
      before++;
      if (left == no_id || right == no_id) continue;
      *VEC_PUSH(all, n, cap) = (Candidate){.merge = {id, cut, 0},
                                           .score = c->spec->scores[id],
                                           .left_chars = before,
                                           .right_chars = chars - before,
                                           .left_id = left,
                                           .right_id = right};
    }
  }
  if (n) qsort(all, n, sizeof *all, by_score);
  v->merge = mem_alloc((n + 1u) * sizeof *v->merge);
  for (v->nmerges = 0; v->nmerges < n; v->nmerges++) {
    v->merge[v->nmerges] = all[v->nmerges].merge;
    v->merge[v->nmerges].rank = v->nmerges;
  }
  mem_free(all);
  return OK;
}

/* All merges, sorted by token and rank; of equal ones the last counts, as in a map filled in order.
 */
static Status read_merges(TokCompiler *c, Vocab *v, const int16_t *byte_of) {
  if (c->spec->scores && !c->spec->nmerges && !byte_of) {
    TRY(merges_of_scores(c, v));
  } else {
    v->merge = mem_alloc((c->spec->nmerges + 1) * sizeof *v->merge);
    for (uint32_t i = 0; i < c->spec->nmerges; i++) TRY(read_merge(c, v, byte_of, i));
  }
  qsort(v->merge, v->nmerges, sizeof *v->merge, by_half);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < v->nmerges; i++) {
    const Merge *next = i + 1 < v->nmerges ? &v->merge[i + 1] : NULL;
    if (next && next->made == v->merge[i].made && next->left == v->merge[i].left) continue;
    v->merge[kept++] = v->merge[i];
  }
  v->nmerges = kept;
  qsort(v->merge, v->nmerges, sizeof *v->merge, by_made);
  return OK;
}

/* Special tokens that no merge makes are for the added-token automaton alone. */
static void drop_special(TokCompiler *c, Vocab *v) {
  uint8_t *made = mem_alloc(v->n);
  for (uint32_t i = 0; i < v->nmerges; i++) made[v->merge[i].made] = 1;
  for (uint32_t i = 0; i < c->spec->nadded; i++) {
    uint32_t id = c->spec->added[i].id;
    if (c->spec->added[i].special && !made[id] && v->text[id].size > 1) v->reachable[id] = false;
  }
  mem_free(made);
}

/* ---- writing ------------------------------------------------------------------------------- */

static Status write_tokens(TokCompiler *c, const Vocab *v) {
  uint32_t nblocks = v->n / TOK_BLOCK + 1;
  uint32_t *base = mem_alloc(nblocks * sizeof *base);
  uint16_t *delta = mem_alloc((v->n + 1u) * sizeof *delta);
  Buf bytes = {0};
  Status status = OK;
  for (uint32_t id = 0; id <= v->n && status == OK; id++) {
    if (id % TOK_BLOCK == 0) base[id / TOK_BLOCK] = (uint32_t)bytes.size;
    size_t within = bytes.size - base[id / TOK_BLOCK];
    if (within > UINT16_MAX || bytes.size > UINT32_MAX / 2)
      status = diag_error(c->d, c->source, "token %u is too long (%u bytes)", id - 1,
                          v->text[id - 1].size);
    delta[id] = (uint16_t)within;
    if (id < v->n && v->text[id].size) buf_put(&bytes, v->text[id].data, v->text[id].size);
  }
  c->head.base = blob_put(c, base, nblocks * sizeof *base);
  c->head.delta = blob_put(c, delta, (v->n + 1u) * sizeof *delta);
  c->head.bytes = blob_put(c, bytes.data, bytes.size);
  mem_free(base);
  mem_free(delta);
  buf_free(&bytes);
  return status;
}

static void write_hash(TokCompiler *c, const Vocab *v) {
  c->head.slots = v->slots;
  c->head.longest = v->longest;
  c->head.finger = blob_put(c, v->finger, v->slots);
  if (v->n > UINT16_MAX) {
    c->head.flags |= TOK_WIDE_IDS;
    c->head.slot = blob_put(c, v->slot, v->slots * sizeof *v->slot);
    return;
  }
  uint16_t *narrow = mem_alloc(v->slots * sizeof *narrow);
  for (uint32_t i = 0; i < v->slots; i++) narrow[i] = (uint16_t)v->slot[i];
  c->head.slot = blob_put(c, narrow, v->slots * sizeof *narrow);
  mem_free(narrow);
}

/* Numbers as u8 or, when one is larger, as u16. */
static TokSpan write_lengths(TokCompiler *c, const uint32_t *length, uint32_t n, uint32_t most) {
  Buf b = {0};
  for (uint32_t i = 0; i < n; i++) {
    uint16_t wide = (uint16_t)length[i];
    uint8_t narrow = (uint8_t)length[i];
    if (most > UINT8_MAX)
      buf_put(&b, &wide, sizeof wide);
    else
      buf_put(&b, &narrow, sizeof narrow);
  }
  if (most > UINT8_MAX) c->head.flags |= TOK_WIDE_SPLITS;
  TokSpan span = blob_put(c, b.data, b.size);
  buf_free(&b);
  return span;
}

static Status write_merges(TokCompiler *c, const Vocab *v) {
  bool one = true, in_order = true;
  uint32_t most = 0, n = v->nmerges;
  uint8_t *count = mem_alloc(v->n);
  Status status = OK;
  for (uint32_t i = 0; i < n && status == OK; i++) {
    if (++count[v->merge[i].made] > 1) one = false;
    if (count[v->merge[i].made] == UINT8_MAX)
      status = diag_error(c->d, c->source, "token %u has too many merges", v->merge[i].made);
    if (i && v->merge[i].rank < v->merge[i - 1].rank) in_order = false;
    if (v->merge[i].left > most) most = v->merge[i].left;
  }
  uint32_t slots = one ? v->n : n;
  uint32_t *length = mem_alloc((slots + 1u) * sizeof *length);
  uint32_t *rank = mem_alloc((slots + 1u) * sizeof *rank);
  for (uint32_t i = 0; i < n; i++) {
    length[one ? v->merge[i].made : i] = v->merge[i].left;
    rank[one ? v->merge[i].made : i] = v->merge[i].rank;
  }
  c->head.split_len = write_lengths(c, length, slots, most);
  if (!in_order) c->head.rank = blob_put(c, rank, slots * sizeof *rank);
  if (one) {
    c->head.flags |= TOK_ONE_SPLIT;
  } else {
    uint32_t nblocks = v->n / TOK_BLOCK + 1, sum = 0;
    uint32_t *base = mem_alloc(nblocks * sizeof *base);
    for (uint32_t id = 0; id < v->n; id++) {
      if (id % TOK_BLOCK == 0) base[id / TOK_BLOCK] = sum;
      sum += count[id];
    }
    c->head.split_count = blob_put(c, count, v->n);
    c->head.split_base = blob_put(c, base, nblocks * sizeof *base);
    mem_free(base);
  }
  mem_free(count);
  mem_free(length);
  mem_free(rank);
  return status;
}

static void write_bytes_table(TokCompiler *c, const Vocab *v, bool byte_level) {
  int32_t byte_id[256];
  for (int b = 0; b < 256; b++) {
    char text[8] = {(char)b};
    TextBytes t = {text, 1};
    if (!byte_level) {
      static const char hex[] = "0123456789ABCDEF";
      memcpy(text, "<0x__>", 6);
      text[3] = hex[b / 16];
      text[4] = hex[b % 16];
      t.size = 6;
    }
    byte_id[b] = (int32_t)find(v, t);
  }
  c->head.byte_id = blob_put(c, byte_id, sizeof byte_id);
}

static Status write_vocab(TokCompiler *c, Vocab *v, const int16_t *byte_of) {
  bool merges = c->spec->model == TOK_BPE;
  TRY(read_tokens(c, v, byte_of));
  make_hash(v);
  if (merges) TRY(read_merges(c, v, byte_of));
  write_bytes_table(c, v, byte_of != NULL);
  if (merges) {
    drop_special(c, v);
    make_hash(v);
  }
  c->head.vocab = v->n;
  TRY(write_tokens(c, v));
  write_hash(c, v);
  if (merges)
    TRY(write_merges(c, v));
  else
    c->head.flags |= TOK_ONE_SPLIT; /* there is no table of counts */
  uint8_t *bits = mem_alloc(v->n / 8 + 1);
  c->head.whole = blob_put(c, bits, v->n / 8 + 1);
  for (uint32_t i = 0; i < c->spec->nadded; i++)
    if (c->spec->added[i].special)
      bits[c->spec->added[i].id / 8] |= (uint8_t)(1 << c->spec->added[i].id % 8);
  c->head.special = blob_put(c, bits, v->n / 8 + 1);
  mem_free(bits);
  return OK;
}

Status compile_vocab(TokCompiler *c) {
  const TokenizerSpec *spec = c->spec;
  bool byte_level = spec->byte_level;
  int16_t byte_of[0x200];
  Vocab v = {0};
  for (uint32_t k = 0; k < 0x200; k++) byte_of[k] = (int16_t)byte_of_stand_in(k);
  for (uint32_t i = 0; i < spec->npretokenizer; i++)
    byte_level |= spec->pretokenizer[i].kind == STEP_BYTELEVEL;
  if (byte_level && spec->byte_fallback)
    return diag_error(c->d, c->source, "byte_fallback in a byte-level vocabulary");
  if (spec->model == TOK_WORDPIECE)
    TRY(compile_wordpiece(c));
  else if (spec->continuing_prefix.size)
    return diag_error(c->d, c->source, "BPE with continuing_subword_prefix isn't supported");
  c->head.flags |= (byte_level ? TOK_BYTE_LEVEL : 0u) | (spec->fuse_unk ? TOK_FUSE_UNK : 0u) |
                   (spec->byte_fallback ? TOK_BYTE_FALLBACK : 0u);
  c->head.unk = spec->unk_id >= 0 && spec->unk_id < MAX_IDS ? (int32_t)spec->unk_id : -1;
  c->head.suffix = blob_put(c, spec->end_of_word_suffix.data, spec->end_of_word_suffix.size);
  Status status = write_vocab(c, &v, byte_level ? byte_of : NULL);
  mem_free(v.finger);
  mem_free(v.slot);
  mem_free(v.merge);
  return status;
}

Status compile_whole(TokCompiler *c) {
  if (c->spec->model != TOK_BPE) return OK; /* nothing is merged */
  size_t n = c->head.vocab / 8 + 1;
  uint8_t *bits = mem_alloc(n);
  int err = tok_make_whole(c->blob.data, &c->head, c->spec->ignore_merges, bits);
  memcpy(c->blob.data + c->head.whole.at, bits, n);
  mem_free(bits);
  return err ? diag_error(c->d, c->source, "out of memory while merging its tokens") : OK;
}
