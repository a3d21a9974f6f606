/* Class attend: attention by online softmax (Milakov and Gimelshein 2018; Dao et al. 2022), over a
 * KV cache or over tensors; no S x (P + S) buffer.
 *
 *   par p in heads * query grains:  for tiles of query_tile queries of the grain
 *   (one token: par p in groups of heads over one key head, a tile being some of the group):
 *     m = -big, l = 0, o = 0 (local)
 *     for kb in first..last visible key step 64 carry m, l:   // blocks at absolute positions
 *       s[64] = scale * q . k  (16 keys a vector; one chain over d a vector), cap, hide
 *       m' = max(m, max s);  c = exp(m - m');  p = exp(s - m') (0 where hidden)
 *       l = l * c + ((p0 + p1) + (p2 + p3));  o = o * c;  for j: o = fma(p[j], v[j], o)
 *     y = o / l, and 0 where no key is visible
 *
 * What a query computes depends on its own position alone: blocks lie at multiples of 64, and a
 * block that is wholly hidden from it changes nothing (c = 1, p = 0), so decode and prefill of a
 * token give equal bits for every tile size. Queries beyond the end repeat the last one.
 *
 * With spans (several sequences behind one another) par goes over spans, then heads; blocks lie at
 * multiples of 64 from the span's first key, so that a sequence's bits are those it has alone.
 */
#include "passes/lower/lower.h"

#include <string.h>

enum { QUERY_GRAIN = 16, MAX_TILE = 8, VECTORS = KEY_BLOCK / 16, CHUNK = 4 };
static const double HIDDEN = -1e30; /* below every score, and its exponential is 0 */

typedef struct Attend {
  Draft d;
  const Op *op;
  const Attrs_attention *attrs;
  bool cached, packed; /* keys are in a cache, or laid out as in one */
  CacheLayout cache;
  int64_t key_step, dim_step; /* packed keys: elements between keys, between dimensions */
  Place q, k, v, y, mask, spans;
  KVal qb, kb, vb, yb, mb, sb; /* buffers; cached: kb = vb */
  bool masked, spanned;
  int64_t heads, kv_heads, dim, vdim;
  KVal queries, keys, past;
  KVal begin, end; /* keys that may be seen: all, or those of the span */
  uint32_t tile;
  KVal o, p; /* locals: [tile][vdim padded], [tile][64] */
  /* of the tile being computed: query i is of head[i] and token[i], at position[i] (v16i32 splat)
   */
  uint32_t tokens; /* consecutive ones from the tile's first */
  KVal kv_head, head[MAX_TILE], token[MAX_TILE], position[MAX_TILE];
} Attend;

static int64_t padded(int64_t n) {
  return (n + 15) / 16 * 16;
}

static KVal add64(KBuilder *b, KVal x, int64_t y) {
  return k_op2(b, KOP_add, x, k_i64(b, y));
}

static int64_t stride_of(const Attend *a, const Place *p, int axis) {
  return dim_literal(a->d.l, p->stride[axis]);
}

/* ---- operands ------------------------------------------------------------------------------ */

/* Dimension d of keys key .. key+15 (key: a multiple of 16). */
static KVal load_keys(Attend *a, KVal key, KVal d, int64_t d_off) {
  KBuilder *b = &a->d.b;
  if (a->cached || a->packed) {
    KAddr at = k_at(k_at(k_addr(a->kb), a->kv_head, a->cache.key_head), key, a->key_step);
    at = k_off(k_at(at, d, a->dim_step), a->dim_step * d_off);
    return k_cvt(b, k_load(b, (KType){a->cache.type, 16}, at), K_f32);
  }
  int64_t step = stride_of(a, &a->k, 0);
  KAddr at = k_at(k_at(k_addr(a->kb), a->kv_head, stride_of(a, &a->k, 1)), key, step);
  at = k_off(k_at(at, d, 1), d_off);
  KVal left = k_cvt(b, k_op2(b, KOP_sub, a->keys, key), K_i32);
  KVal there = k_op2(b, KOP_lt, k_iota(b), k_splat(b, left));
  KType t = {(uint8_t)kscalar_of(a->k.dtype), 16};
  return k_cvt(b, k_load_mask(b, t, k_lane(at, step ? step : 1), there), K_f32);
}

/* 16 columns of the value of one key, from column 16 * vec. */
static KVal load_value(Attend *a, KVal key, int64_t vec) {
  KBuilder *b = &a->d.b;
  if (a->cached) {
    KAddr at = k_at(k_off(k_addr(a->vb), a->cache.values), a->kv_head, a->cache.value_head);
    at = k_off(k_at(at, key, a->cache.padded), 16 * vec);
    return k_cvt(b, k_load(b, (KType){a->cache.type, 16}, at), K_f32);
  }
  KAddr at =
      k_at(k_at(k_addr(a->vb), key, stride_of(a, &a->v, 0)), a->kv_head, stride_of(a, &a->v, 1));
  at = k_off(at, 16 * vec);
  KType t = {(uint8_t)kscalar_of(a->v.dtype), 16};
  int64_t left = a->vdim - 16 * vec;
  if (left >= 16) return k_cvt(b, k_load(b, t, at), K_f32);
  KVal there = k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), left));
  return k_cvt(b, k_load_mask(b, t, at, there), K_f32);
}

/* Element d of query i of the tile, splat. */
static KVal load_query(Attend *a, uint32_t i, KVal d, int64_t d_off) {
  KBuilder *b = &a->d.b;
  KAddr at = k_at(k_at(k_addr(a->qb), a->token[i], stride_of(a, &a->q, 0)), a->head[i],
                  stride_of(a, &a->q, 1));
  KType t = {(uint8_t)kscalar_of(a->q.dtype), 1};
  return k_splat(b, k_cvt(b, k_load(b, t, k_off(k_at(at, d, 1), d_off)), K_f32));
}

/* ---- one block of keys --------------------------------------------------------------------- */

/* For one token the cache streams from memory: while a block's keys are met its values are
 * prefetched, while its values are summed the next block's keys. */
static void prefetch_cache(Attend *a, KAddr at, int64_t n) {
  int64_t line = 64 / (int64_t)kscalar_size(a->cache.type);
  for (int64_t i = 0; i < n; i += line) k_prefetch(&a->d.b, k_off(at, i));
}

static void prefetch_values(Attend *a, KVal block, KVal d, int64_t step) {
  if (!a->cached || a->tokens > 1) return;
  KAddr at = k_at(k_off(k_addr(a->vb), a->cache.values), a->kv_head, a->cache.value_head);
  at = k_at(k_at(at, block, a->cache.padded), d, KEY_BLOCK);
  prefetch_cache(a, at, step * KEY_BLOCK);
}

static void prefetch_next_keys(Attend *a, KVal key) {
  if (!a->cached || a->tokens > 1) return;
  KAddr at = k_at(k_at(k_addr(a->kb), a->kv_head, a->cache.key_head), key, a->cache.dim);
  prefetch_cache(a, k_off(at, KEY_BLOCK * a->cache.dim), a->cache.dim);
}

/* s[i * VECTORS + v]: the products of query i and keys block + 16 v .. + 15. */
static void products(Attend *a, KVal block, KVal *s) {
  KBuilder *b = &a->d.b;
  uint32_t n = a->tile * VECTORS;
  int64_t step = a->dim % 4 == 0 ? 4 : 1;
  for (uint32_t i = 0; i < n; i++) s[i] = k_f32(b, 16, 0);
  KVal d = k_for(b, "d", k_i64(b, 0), k_i64(b, a->dim), step, n, s);
  prefetch_values(a, block, d, step);
  for (int64_t u = 0; u < step; u++) {
    KVal key[VECTORS];
    for (int v = 0; v < VECTORS; v++) key[v] = load_keys(a, add64(b, block, 16 * v), d, u);
    for (uint32_t i = 0; i < a->tile; i++) {
      KVal q = load_query(a, i, d, u);
      for (int v = 0; v < VECTORS; v++)
        s[i * VECTORS + v] = k_fma(b, q, key[v], s[i * VECTORS + v]);
    }
  }
  k_for_end(b, s);
}

static KVal both(KBuilder *b, KVal x, KVal y) {
  return x ? k_op2(b, KOP_and, x, y) : y;
}

/* Which of the keys first .. first+15 query i may see. */
static KVal visible(Attend *a, uint32_t i, KVal first, KVal masked) {
  KBuilder *b = &a->d.b;
  KVal key = k_op2(b, KOP_add, k_splat(b, k_cvt(b, first, K_i32)), k_iota(b));
  KVal end = k_splat(b, k_cvt(b, a->end, K_i32)), see = masked;
  KVal window = k_int(b, KT(i32, 16), a->attrs->window);
  if (a->attrs->causal) see = both(b, see, k_op2(b, KOP_le, key, a->position[i]));
  if (!a->attrs->causal || a->spanned) see = both(b, see, k_op2(b, KOP_lt, key, end));
  if (a->attrs->window > 0) {
    see = both(b, see, k_op2(b, KOP_gt, key, k_op2(b, KOP_sub, a->position[i], window)));
    if (!a->attrs->causal)
      see = both(b, see, k_op2(b, KOP_lt, key, k_op2(b, KOP_add, a->position[i], window)));
  }
  return see;
}

/* The mask of keys first .. first+15, 0 when there is no mask operand. */
static KVal load_mask(Attend *a, KVal first) {
  KBuilder *b = &a->d.b;
  if (!a->masked) return 0;
  KVal left = k_cvt(b, k_op2(b, KOP_sub, a->keys, first), K_i32);
  KVal there = k_op2(b, KOP_lt, k_iota(b), k_splat(b, left));
  KType t = {(uint8_t)kscalar_of(a->mask.dtype), 16};
  KVal m = k_cvt(b, k_load_mask(b, t, k_at(k_addr(a->mb), first, 1), there), K_f32);
  return k_op2(b, KOP_ne, m, k_f32(b, 16, 0));
}

static KVal scored(Attend *a, KVal product, KVal see) {
  KBuilder *b = &a->d.b;
  KVal s = k_op2(b, KOP_mul, product, k_f32(b, 16, a->attrs->scale));
  if (a->attrs->softcap > 0) {
    s = k_op2(b, KOP_mul, s, k_f32(b, 16, 1 / a->attrs->softcap));
    s = k_op2(b, KOP_mul, k_op1(b, KOP_tanh, s), k_f32(b, 16, a->attrs->softcap));
  }
  return k_select(b, see, s, k_f32(b, 16, HIDDEN));
}

/* The step of the running softmax for query i: weights into the local, m and l updated; gives the
 * factor for what has been summed so far. */
static KVal weigh(Attend *a, uint32_t i, KVal *s, const KVal *see, KVal *m, KVal *l) {
  KBuilder *b = &a->d.b;
  for (int v = 0; v < VECTORS; v++) s[v] = scored(a, s[v], see[v]);
  KVal top = k_op2(b, KOP_max, k_op2(b, KOP_max, s[0], s[1]), k_op2(b, KOP_max, s[2], s[3]));
  KVal next = k_op2(b, KOP_max, *m, k_splat(b, k_op1(b, KOP_reduce_max, top)));
  KVal factor = k_op1(b, KOP_exp, k_op2(b, KOP_sub, *m, next));
  for (int v = 0; v < VECTORS; v++) {
    KVal e = k_op1(b, KOP_exp, k_op2(b, KOP_sub, s[v], next));
    s[v] = k_select(b, see[v], e, k_f32(b, 16, 0));
    k_store(b, s[v], k_off(k_addr(a->p), i * KEY_BLOCK + 16 * v));
  }
  KVal sum = k_op2(b, KOP_add, k_op2(b, KOP_add, s[0], s[1]), k_op2(b, KOP_add, s[2], s[3]));
  *l = k_fma(b, *l, factor, sum);
  *m = next;
  return factor;
}

/* o = o * factor + sum over the block's keys of p * value, a few vectors of columns at a time. */
static void add_values(Attend *a, KVal block, KVal count, const KVal *factor) {
  KBuilder *b = &a->d.b;
  int64_t row = padded(a->vdim), vectors = row / 16;
  for (int64_t c = 0; c < vectors; c += CHUNK) {
    uint32_t wide = (uint32_t)(vectors - c < CHUNK ? vectors - c : CHUNK), n = a->tile * wide;
    KVal o[MAX_TILE * CHUNK];
    for (uint32_t i = 0; i < n; i++) {
      KAddr at = k_off(k_addr(a->o), (i / wide) * row + 16 * (c + i % wide));
      o[i] = k_op2(b, KOP_mul, k_load(b, KT(f32, 16), at), factor[i / wide]);
    }
    KVal j = k_for(b, "j", k_i64(b, 0), count, 1, n, o);
    KVal key = k_op2(b, KOP_add, block, j), value[CHUNK];
    if (c == 0) prefetch_next_keys(a, key);
    for (uint32_t v = 0; v < wide; v++) value[v] = load_value(a, key, c + v);
    for (uint32_t i = 0; i < a->tile; i++) {
      KAddr at = k_off(k_at(k_addr(a->p), j, 1), i * KEY_BLOCK);
      KVal p = k_splat(b, k_load(b, KT(f32, 1), at));
      for (uint32_t v = 0; v < wide; v++) o[i * wide + v] = k_fma(b, p, value[v], o[i * wide + v]);
    }
    k_for_end(b, o);
    for (uint32_t i = 0; i < n; i++)
      k_store(b, o[i], k_off(k_addr(a->o), (i / wide) * row + 16 * (c + i % wide)));
  }
}

/* ---- one tile of queries ------------------------------------------------------------------- */

/* y = o / l for query i. */
static void store_query(Attend *a, uint32_t i, KVal l) {
  KBuilder *b = &a->d.b;
  KVal sum = k_op1(b, KOP_reduce_add, l), zero = k_f32(b, 1, 0);
  KVal inverse = k_op2(b, KOP_div, k_f32(b, 1, 1), sum);
  inverse = k_splat(b, k_select(b, k_op2(b, KOP_gt, sum, zero), inverse, zero));
  KScalar s = kscalar_of(a->y.dtype);
  KAddr row = k_at(k_at(k_addr(a->yb), a->token[i], stride_of(a, &a->y, 0)), a->head[i],
                   stride_of(a, &a->y, 1));
  for (int64_t v = 0; 16 * v < a->vdim; v++) {
    KVal o = k_load(b, KT(f32, 16), k_off(k_addr(a->o), i * padded(a->vdim) + 16 * v));
    KVal y = k_cvt(b, k_op2(b, KOP_mul, o, inverse), s);
    int64_t left = a->vdim - 16 * v;
    KVal there = k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), left));
    if (left >= 16)
      k_store(b, y, k_off(row, 16 * v));
    else
      k_store_mask(b, y, k_off(row, 16 * v), there);
  }
}

/* Keys that any query of the tile may see: *lo (a block's beginning) .. *hi. */
static void key_range(Attend *a, KVal first, KVal *lo, KVal *hi) {
  KBuilder *b = &a->d.b;
  *lo = a->begin;
  *hi = a->end;
  if (a->attrs->causal) {
    KVal end = k_op2(b, KOP_min, add64(b, first, a->tokens), a->queries);
    *hi = k_op2(b, KOP_add, a->past, end);
  }
  if (a->attrs->window > 0) {
    KVal at = add64(b, k_op2(b, KOP_add, a->past, first), 1 - a->attrs->window);
    if (a->spanned) at = k_op2(b, KOP_sub, at, a->begin);
    *lo = k_op2(b, KOP_and, k_op2(b, KOP_max, at, k_i64(b, 0)), k_i64(b, -KEY_BLOCK));
    if (a->spanned) *lo = k_op2(b, KOP_add, *lo, a->begin);
  }
}

/* The tile's queries: `tokens` of one head from `first` on (the last repeated beyond the end), or
 * one token's heads from `head` on. */
static void name_queries(Attend *a, KVal first, KVal head) {
  KBuilder *b = &a->d.b;
  KVal last = add64(b, a->queries, -1);
  for (uint32_t i = 0; i < a->tile; i++) {
    bool same = a->tokens == 1;
    a->head[i] = same ? add64(b, head, i) : head;
    a->token[i] = same ? first : k_op2(b, KOP_min, add64(b, first, i), last);
    KVal position = k_op2(b, KOP_add, a->past, a->token[i]);
    a->position[i] = k_splat(b, k_cvt(b, position, K_i32));
  }
}

static void tile_of_queries(Attend *a, KVal first, KVal head) {
  KBuilder *b = &a->d.b;
  KVal zero = k_f32(b, 16, 0), lo, hi;
  name_queries(a, first, head);
  for (int64_t i = 0; i < a->tile * padded(a->vdim); i += 16)
    k_store(b, zero, k_off(k_addr(a->o), i));
  key_range(a, first, &lo, &hi);
  KVal carry[2 * MAX_TILE], *m = carry, *l = carry + a->tile;
  for (uint32_t i = 0; i < a->tile; i++) {
    m[i] = k_f32(b, 16, HIDDEN);
    l[i] = zero;
  }
  KVal block = k_for(b, "kb", lo, hi, KEY_BLOCK, 2 * a->tile, carry);
  KVal s[MAX_TILE * VECTORS], factor[MAX_TILE], masked[VECTORS];
  products(a, block, s);
  for (int v = 0; v < VECTORS; v++) masked[v] = load_mask(a, add64(b, block, 16 * v));
  for (uint32_t i = 0; i < a->tile; i++) {
    KVal see[VECTORS];
    for (int v = 0; v < VECTORS; v++) see[v] = visible(a, i, add64(b, block, 16 * v), masked[v]);
    factor[i] = weigh(a, i, s + i * VECTORS, see, &m[i], &l[i]);
  }
  KVal count = k_op2(b, KOP_min, k_op2(b, KOP_sub, hi, block), k_i64(b, KEY_BLOCK));
  add_values(a, block, count, factor);
  k_for_end(b, carry);
  for (uint32_t i = 0; i < a->tile; i++) store_query(a, i, l[i]);
}

/* ---- the op -------------------------------------------------------------------------------- */

static KVal shifted_buffer(Attend *a, const Place *p, bool write) {
  return draft_buffer(&a->d, p, kscalar_of(p->dtype), write);
}

/* A strided place that begins at a literal element: attention addresses have no index to spare. */
static Place fixed(Lower *l, ValueId v) {
  Place p = place_as_strided(l, v);
  if (!p.shift) return p;
  Place copy = place_scratch(l, &graph_value(l->g, v)->type);
  lower_copy(l, &p, &copy);
  return copy;
}

static void find_operands(Attend *a, Lower *l) {
  const Op *op = a->op;
  const Type *q = &graph_value(l->g, op->in[0])->type;
  a->q = fixed(l, op->in[0]);
  a->heads = dim_literal(l, q->dim[1]);
  a->dim = dim_literal(l, q->dim[2]);
  a->cached = op->code == OP_attention_kv;
  uint32_t mask = a->cached ? 2 : 3;
  if (a->cached) {
    const StateDef *def;
    a->k = place_state(l, op->in[1], &def);
    a->cache = cache_layout(def);
    a->key_step = a->cache.dim;
    a->dim_step = 16;
    a->kv_heads = def->kv_heads;
    a->vdim = a->dim;
  } else {
    a->k = fixed(l, op->in[1]);
    a->v = fixed(l, op->in[2]);
    a->kv_heads = dim_literal(l, a->k.dim[1]);
    a->vdim = dim_literal(l, a->v.dim[2]);
  }
  a->masked = op->nin > mask;
  if (a->masked) a->mask = fixed(l, op->in[mask]);
  a->spanned = op->nin > mask + 1;
  if (a->spanned) a->spans = fixed(l, op->in[mask + 1]);
  a->y = place_result(l, op->out[0]);
}

/* Without a cache, keys are first laid out as in one, 16 keys beside each other for every element:
 * each is met by all queries of its head, and picking lanes out of 16 rows is slow. Keys up to the
 * end of the last block are zeros.
 *
 * A span begins at any key, so then a dimension's keys are one row, and there is one more block of
 * zeros for the last span's last block; 16 elements more keep the rows out of each other's cache
 * sets. */
static void pack_keys(Attend *a, Lower *l) {
  Dims *dims = l->m->dims;
  DimId keys = a->k.dim[0], blocks = dim_op(dims, DIM_CEILDIV, keys, dim_const(dims, KEY_BLOCK));
  int64_t most = (dim_get(dims, keys)->hi + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK;
  int64_t key_step = a->dim, dim_step = 16;
  if (a->spanned) {
    blocks = dim_op(dims, DIM_ADD, blocks, dim_const(dims, 1));
    most += KEY_BLOCK + 16;
    key_step = 1;
    dim_step = most;
  }
  Type t = {.dtype = DT_f32, .rank = 3};
  t.dim[0] = dim_const(dims, a->kv_heads);
  t.dim[1] = dim_const(dims, most);
  t.dim[2] = dim_const(dims, a->dim);
  Place to = place_scratch(l, &t);
  draft_begin(&a->d, l, KC_attend, "keys");
  KBuilder *b = &a->d.b;
  a->kb = shifted_buffer(a, &a->k, false);
  KVal out = shifted_buffer(a, &to, true), n = draft_dim(&a->d, blocks);
  a->keys = draft_dim(&a->d, keys);
  a->d.extent = dim_mul(l, t.dim[0], blocks);
  KVal p = k_par(b, "p", draft_dim(&a->d, a->d.extent));
  a->kv_head = k_op2(b, KOP_div, p, n);
  KVal block = k_op2(b, KOP_mul, k_op2(b, KOP_rem, p, n), k_i64(b, KEY_BLOCK));
  if (a->spanned) { /* by tokens first: the thread that made them is the one that reads them */
    block = k_op2(b, KOP_mul, k_op2(b, KOP_div, p, k_i64(b, a->kv_heads)), k_i64(b, KEY_BLOCK));
    a->kv_head = k_op2(b, KOP_rem, p, k_i64(b, a->kv_heads));
  }
  for (int v = 0; v < VECTORS; v++) {
    KVal key = add64(b, block, 16 * v),
         d = k_for(b, "d", k_i64(b, 0), k_i64(b, a->dim), 1, 0, NULL);
    KAddr at = k_at(k_at(k_addr(out), a->kv_head, most * a->dim), key, key_step);
    at = k_at(at, d, dim_step);
    k_store(b, load_keys(a, key, d, 0), at);
    k_for_end(b, NULL);
  }
  k_par_end(b);
  draft_end(&a->d);
  a->k = to;
  a->k.dim[1] = t.dim[0];
  a->k.dim[0] = keys; /* how many there are; the rest of the place is room */
  a->cache = (CacheLayout){.type = K_f32, .key_head = most * a->dim, .dim = a->dim};
  a->key_step = key_step;
  a->dim_step = dim_step;
  a->packed = true;
}

static void declare(Attend *a, DimId queries) {
  Draft *d = &a->d;
  Lower *l = d->l;
  KBuilder *b = &d->b;
  a->qb = shifted_buffer(a, &a->q, false);
  a->kb =
      a->cached ? draft_buffer(d, &a->k, a->cache.type, false) : shifted_buffer(a, &a->k, false);
  a->vb = a->cached ? a->kb : shifted_buffer(a, &a->v, false);
  if (a->masked) a->mb = shifted_buffer(a, &a->mask, false);
  if (a->spanned) a->sb = shifted_buffer(a, &a->spans, false);
  a->yb = shifted_buffer(a, &a->y, true);
  a->queries = draft_dim(d, queries);
  a->past = a->cached && past_dim(l) ? draft_dim(d, past_dim(l)) : k_i64(b, 0);
  a->keys = a->cached ? k_op2(b, KOP_add, a->past, a->queries) : draft_dim(d, a->k.dim[0]);
  a->begin = k_i64(b, 0);
  a->end = a->keys;
  a->o = k_local(b, "o", K_f32, a->tile * padded(a->vdim));
  a->p = k_local(b, "p", K_f32, (int64_t)a->tile * KEY_BLOCK);
}

/* Heads of one group that one token's par iteration takes together, so that a block of keys is
 * loaded and widened once for all: by shape alone, and leaving work for two threads. */
static int64_t head_grain(int64_t heads, int64_t group) {
  for (int64_t n = MAX_TILE; n > 1; n--)
    if (group % n == 0 && heads / n >= 2) return n;
  return 1;
}

/* par over groups of heads, for the only token. */
static void one_token(Attend *a, int64_t grain) {
  Draft *d = &a->d;
  KBuilder *b = &d->b;
  d->extent = dim_const(d->l->m->dims, a->heads / grain);
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  KVal head = k_op2(b, KOP_mul, p, k_i64(b, grain));
  a->kv_head = k_op2(b, KOP_div, head, k_i64(b, a->heads / a->kv_heads));
  a->tokens = 1;
  uint32_t most = a->tile;
  for (int64_t h = 0; h < grain; h += most) {
    a->tile = grain - h < most ? (uint32_t)(grain - h) : most;
    tile_of_queries(a, k_i64(b, 0), add64(b, head, h));
  }
  k_par_end(b);
}

/* par over heads and grains of tokens. */
static void many_tokens(Attend *a, DimId queries) {
  Draft *d = &a->d;
  Dims *dims = d->l->m->dims;
  KBuilder *b = &d->b;
  DimId grains = dim_op(dims, DIM_CEILDIV, queries, dim_const(dims, QUERY_GRAIN));
  d->extent = dim_mul(d->l, dim_const(dims, a->heads), grains);
  KVal n = draft_dim(d, grains);
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  KVal head = k_op2(b, KOP_div, p, n);
  a->kv_head = k_op2(b, KOP_div, head, k_i64(b, a->heads / a->kv_heads));
  a->tokens = a->tile;
  KVal lo = k_op2(b, KOP_mul, k_op2(b, KOP_rem, p, n), k_i64(b, QUERY_GRAIN));
  KVal hi = k_op2(b, KOP_min, add64(b, lo, QUERY_GRAIN), a->queries);
  KVal first = k_for(b, "q", lo, hi, a->tile, 0, NULL);
  tile_of_queries(a, first, head);
  k_for_end(b, NULL);
  k_par_end(b);
}

/* Number i of span `span`. */
static KVal span_number(Attend *a, KVal span, int64_t i) {
  KBuilder *b = &a->d.b;
  KAddr at = k_off(k_at(k_addr(a->sb), span, 4), i);
  return k_cvt(b, k_load(b, KT(i32, 1), at), K_i64);
}

/* par over spans and heads. */
static void many_spans(Attend *a) {
  Draft *d = &a->d;
  KBuilder *b = &d->b;
  d->extent = dim_mul(d->l, a->spans.dim[0], dim_const(d->l->m->dims, a->heads));
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  KVal span = k_op2(b, KOP_div, p, k_i64(b, a->heads));
  KVal head = k_op2(b, KOP_rem, p, k_i64(b, a->heads));
  a->kv_head = k_op2(b, KOP_div, head, k_i64(b, a->heads / a->kv_heads));
  a->tokens = a->tile;
  KVal lo = span_number(a, span, 0);
  a->queries = span_number(a, span, 1);
  a->begin = span_number(a, span, 2);
  a->end = span_number(a, span, 3);
  KVal first = k_for(b, "q", lo, a->queries, a->tile, 0, NULL);
  tile_of_queries(a, first, head);
  k_for_end(b, NULL);
  k_par_end(b);
}

static void count_work(Attend *a, DimId queries) {
  Draft *d = &a->d;
  Lower *l = d->l;
  Dims *dims = l->m->dims;
  DimId keys = a->cached && past_dim(l) ? dim_op(dims, DIM_ADD, past_dim(l), queries) : queries;
  d->flops =
      dim_mul(l, dim_mul(l, queries, keys), dim_const(dims, 2 * a->heads * (a->dim + a->vdim)));
  if (!a->cached) return;
  int64_t key = a->kv_heads * (a->dim + a->cache.padded) * (int64_t)kscalar_size(a->cache.type);
  draft_traffic(d, dim_mul(l, keys, dim_const(dims, key)));
}

Status lower_attend(Lower *l, const Op *op) {
  Attend a;
  memset(&a, 0, sizeof a);
  a.op = op;
  a.attrs = &op->attrs.attention;
  find_operands(&a, l);
  DimId queries = graph_value(l->g, op->in[0])->type.dim[0];
  bool one = dim_literal(l, queries) == 1 && !a.spanned;
  int64_t grain = head_grain(a.heads, a.heads / a.kv_heads);
  a.tile = l->target->query_tile < MAX_TILE ? l->target->query_tile : MAX_TILE;
  if (a.tile < 1) a.tile = 1;
  if (one && a.tile > grain) a.tile = (uint32_t)grain;
  while (!one && QUERY_GRAIN % a.tile) a.tile--;
  if (!a.cached && !one) pack_keys(&a, l);
  draft_begin(&a.d, l, KC_attend, "attend");
  declare(&a, queries);
  count_work(&a, queries);
  if (one)
    one_token(&a, grain);
  else if (a.spanned)
    many_spans(&a);
  else
    many_tokens(&a, queries);
  draft_end(&a.d);
  return OK;
}
