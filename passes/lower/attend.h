/* Inside class attend: a tile of queries that meet the same keys.
 *
 * A tile is up to MAX_TILE rows, a row being one head of one token; all its rows read one key head.
 * attend.c says which rows and which keys, attend_tile.c runs the softmax over them, attend_cache.c
 * and attend_q8.c know how keys and values lie in memory. Scores are in powers of two: queries
 * enter times scale * log2(e).
 */
#ifndef INGOT_PASSES_ATTEND_H
#define INGOT_PASSES_ATTEND_H

#include "passes/lower/lower.h"

enum { MAX_TILE = 8, KEY_VECTORS = KEY_BLOCK / 16 };

typedef struct Attend {
  Draft d;
  const Op *op;
  const Attrs_attention *attrs;
  bool cached; /* keys are in a cache; else they are laid out as in one before */
  CacheLayout cache;
  int64_t key_step, dim_step; /* keys: elements between keys, between dimensions */
  int64_t value_step;         /* i16: elements between keys among the values */
  Place q, k, v, y, mask, spans, partial;
  KVal qb, kb, vb, yb, mb, sb, pb; /* buffers; cached: kb = vb */
  bool masked, spanned;
  int64_t heads, kv_heads, group, dim, vdim;
  int64_t chunk; /* keys that share one softmax */
  KVal queries, keys, past;
  KVal begin, end; /* keys that may be seen: all, or those of the span */
  bool stream;     /* one token: keys and values come from memory, and are met once */
  /* locals: queries [tile][dim padded], scores and weights [tile][chunk], sums [tile][vdim padded]
   */
  KVal query, p, sums;
  ActLayout query_act; /* q8_0: of a row of `query`, which is bytes then */
  KVal scaled;         /* q8_0: local [2][tile][chunk], see attend_q8.c; i16: [tile], of queries */
  KVal weights;        /* i16: local [tile][chunk / 2] of weights, two i16 a word */
  /* of the tile being computed */
  uint32_t tile, vectors; /* rows; vectors of keys or columns that they meet at once */
  KVal kv_head, head[MAX_TILE], token[MAX_TILE], position[MAX_TILE]; /* position: v16i32 */
} Attend;

/* The softmax of a tile's rows over some keys: maximum (in all lanes) and sum (by lanes). */
typedef struct Softmax {
  KVal m[MAX_TILE], l[MAX_TILE];
} Softmax;

/* By what two sums are multiplied when they are joined; `old` 0: there is only the new one. */
typedef struct Shares {
  KVal old[MAX_TILE], more[MAX_TILE];
} Shares;

/* Vectors of columns that rows meet at once: `wide` of them from vector number `first` on, or, in a
 * loop (`set` is not 0), from first + set * wide on. */
typedef struct Columns {
  KVal set;
  int64_t first;
  uint32_t wide;
} Columns;

static inline int64_t attend_row(const Attend *a) { /* floats of a row of sums */
  return a->cache.q8 ? a->cache.dim : (a->vdim + 15) / 16 * 16;
}
static inline int64_t attend_query_row(const Attend *a) { /* elements of a row of queries */
  return (a->dim + 15) / 16 * 16;
}
static inline KVal k_add64(KBuilder *b, KVal x, int64_t y) {
  return k_op2(b, KOP_add, x, k_i64(b, y));
}
int64_t attend_stride(const Attend *a, const Place *p, int axis);
/* `at` moved on to the set's first column, `step` elements a vector. */
static inline KAddr attend_columns(KAddr at, const Columns *c, int64_t step) {
  at = k_off(at, step * c->first);
  return c->set ? k_at(at, c->set, step * c->wide) : at;
}
/* Whether the set is the first one: it asks for the next keys. */
static inline bool attend_leads(const Columns *c) {
  return !c->set && c->first == 0;
}

/* ---- attend_cache.c ---- */

/* The tile's queries into the local. */
void attend_load_queries(Attend *a);
/* s[i * n + v]: the scores of row a->row + i and keys key + 16 v .. + 15, before any cap. */
void attend_scores(Attend *a, KVal key, uint32_t n, KVal *s);
/* Adds the values of `count` keys from `first` on, times their weights, to the sums. */
void attend_add_values(Attend *a, KVal first, KVal count, const Shares *shares);

/* For one token: the key one chunk behind `key` is prefetched. */
void attend_prefetch_keys(Attend *a, KVal key);
/* For one token, while `n` vectors of keys from `key` on meet `step` dimensions: as much of their
 * values is prefetched. */
void attend_prefetch_values(Attend *a, KVal key, uint32_t n, KVal d, int64_t step);

/* ---- attend_pack.c ---- */

/* Without a cache: a launch that lays keys (i16: and values, as codes) out as in one. */
void attend_pack(Attend *a, Lower *l);

/* ---- attend_q8.c ---- */

void attend_q8_scores(Attend *a, KVal key, uint32_t n, KVal *s);
/* The weights of `count` keys for the `wide` vectors of columns from `c` on, then one of them: that
 * of key `j` (counted as in the local) for the set's block of 32 columns. */
void attend_q8_weights(Attend *a, KVal first, KVal count, int64_t c, uint32_t wide);
KVal attend_q8_weight(Attend *a, uint32_t i, KVal j, int64_t block);
/* 16 codes of the value of one key, from column 16 * vec. */
KVal attend_q8_value(Attend *a, KVal key, int64_t vec);

/* ---- attend_i16.c ---- */

void attend_i16_scores(Attend *a, KVal key, uint32_t n, KVal *s);
/* Adds the exponents of the values of `n` vectors of keys from `key` on to their scores. */
void attend_i16_raise(Attend *a, KVal key, uint32_t n, KVal *s);
/* The maximum m of scores, less what leaves weights 2^(s - m) as codes. */
KVal attend_i16_maximum(Attend *a, KVal m);
/* By what weights of keys key .. key+15 are multiplied in their own sum. */
KVal attend_i16_share(Attend *a, KVal key);
/* Keeps the weights of row i and 64 keys from `key` (counted within the chunk) on. */
void attend_i16_keep(Attend *a, uint32_t i, KVal key, const KVal *p);
/* o[i * wide + v]: the sums of row i and column vector v of the set over `count` keys from `first`
 * on. */
void attend_i16_columns(Attend *a, KVal first, KVal count, const Columns *c, KVal *o);

/* ---- attend_tile.c ---- */

/* Keys that any row of the tile may see: lo (a block's beginning) .. hi; and those that every row
 * sees, as far as that is known without a mask. */
typedef struct KeyRange {
  KVal lo, hi, all_lo, all_hi;
} KeyRange;
KeyRange attend_key_range(Attend *a);
/* Where the block or chunk of `size` keys begins that holds `key`. */
KVal attend_block(Attend *a, KVal key, int64_t size);
/* No key met yet, and the sums 0. */
Softmax attend_begin(Attend *a);
/* The keys lo .. hi of one chunk (lo: a block's beginning): weights into the local. */
Softmax attend_chunk(Attend *a, const KeyRange *r, KVal lo, KVal hi);
/* `all` with one more chunk of row i. */
void attend_join(Attend *a, uint32_t i, Softmax *all, const Softmax *chunk, Shares *shares);
/* The same for all rows of the tile; where `only` (i1) the chunk is the first. */
void attend_join_tile(Attend *a, KVal only, Softmax *all, const Softmax *chunk, Shares *shares);
/* A vector of sums at `at` with the new part `o`. */
void attend_sum(Attend *a, uint32_t i, KAddr at, KVal o, const Shares *shares);
/* y of row i out of its sums; 0 when it has seen no key. */
void attend_store(Attend *a, uint32_t i, const Softmax *all);

#endif
