/* Class attend: attention by online softmax (Milakov and Gimelshein 2018; Dao et al. 2022), over a
 * KV cache or over tensors; no S x (P + S) buffer.
 *
 * Keys are summed in chunks at absolute positions, each with a softmax of its own, and the chunks
 * of a row are joined in ascending order (attend_tile.c). So one token can be split over its
 * chunks:
 *
 *   many tokens:  par p in key heads * grains of tokens:  for tiles of rows of the grain:
 *                   for chunks: attend, merge;  y = o / l
 *   one token:    par p in key heads * chunks:  attend;  the only chunk: y = o / l, else keep it
 *                 par p in heads, when there are several chunks:  for chunks: merge;  y = o / l
 *
 * What a row computes depends on its own position alone: blocks and chunks lie at fixed positions,
 * and one that is wholly hidden from a row changes nothing, so decode and prefill of a token give
 * equal bits for every tile size. Rows beyond the end repeat the last one.
 *
 * With spans (several sequences behind one another) par goes over spans, then key heads; blocks and
 * chunks begin at the span's first key, so that a sequence's bits are those it has alone.
 */
#include "passes/lower/attend.h"

#include <string.h>

/* Tokens of a par iteration; keys of a chunk, and with a sliding window (of which decode reads
 * little, to be shared by all threads). SmolLM2 on two threads, ms a decode step in attention at
 * 512 and 4,096 tokens, and of a prefill of 4,096: chunks of 128 0.27, 1.52, 1244; of 256 0.28,
 * 1.37, 1231; of 512 0.34, 1.48, 1210. */
enum { GRAIN = 12, CHUNK = 256, WINDOW_CHUNK = 128 };

/* ---- the op -------------------------------------------------------------------------------- */

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
    a->key_step = a->cache.key_step;
    a->dim_step = 16;
    a->value_step = a->cache.padded;
    a->kv_heads = def->kv_heads;
    a->vdim = a->dim;
  } else {
    a->k = fixed(l, op->in[1]);
    a->v = fixed(l, op->in[2]);
    a->kv_heads = dim_literal(l, a->k.dim[1]);
    a->vdim = dim_literal(l, a->v.dim[2]);
    a->cache.i16 = a->attrs->act == ACT_i16;
  }
  a->group = a->heads / a->kv_heads;
  a->chunk = a->attrs->window > 0 && a->attrs->window <= 8 * WINDOW_CHUNK ? WINDOW_CHUNK : CHUNK;
  a->masked = op->nin > mask;
  if (a->masked) a->mask = fixed(l, op->in[mask]);
  a->spanned = op->nin > mask + 1;
  if (a->spanned) a->spans = fixed(l, op->in[mask + 1]);
  a->y = place_result(l, op->out[0]);
}

static void declare_locals(Attend *a) {
  KBuilder *b = &a->d.b;
  if (a->cache.q8) {
    a->query_act = act_layout(Q_act_i16, a->dim);
    a->query = k_local(b, "q", K_i8, a->tile * a->query_act.row_bytes);
    a->scaled = k_local(b, "scaled", K_f32, 2 * a->tile * a->chunk);
  } else if (a->cache.i16) {
    a->query = k_local(b, "q", K_i16, a->tile * attend_query_row(a));
    a->scaled = k_local(b, "scale", K_f32, a->tile);
    a->weights = k_local(b, "weights", K_i32, a->tile * a->chunk / 2);
  } else {
    a->query = k_local(b, "q", K_f32, a->tile * attend_query_row(a));
  }
  a->p = k_local(b, "p", K_f32, a->tile * a->chunk);
  a->sums = k_local(b, "sums", K_f32, a->tile * attend_row(a));
}

static void declare(Attend *a, DimId queries) {
  Draft *d = &a->d;
  Lower *l = d->l;
  a->qb = draft_buffer(d, &a->q, kscalar_of(a->q.dtype), false);
  KScalar key = a->cached ? a->cache.type : kscalar_of(a->k.dtype);
  a->kb = draft_buffer(d, &a->k, key, false);
  a->vb = a->cached || a->cache.i16 ? a->kb : draft_buffer(d, &a->v, kscalar_of(a->v.dtype), false);
  if (a->masked) a->mb = draft_buffer(d, &a->mask, kscalar_of(a->mask.dtype), false);
  if (a->spanned) a->sb = draft_buffer(d, &a->spans, kscalar_of(a->spans.dtype), false);
  if (a->partial.rank) a->pb = draft_buffer(d, &a->partial, K_f32, true);
  a->yb = draft_buffer(d, &a->y, kscalar_of(a->y.dtype), true);
  a->queries = draft_dim(d, queries);
  a->past = a->cached && past_dim(l) ? draft_dim(d, past_dim(l)) : k_i64(&d->b, 0);
  a->keys = a->cached ? k_op2(&d->b, KOP_add, a->past, a->queries) : draft_dim(d, a->k.dim[0]);
  a->begin = k_i64(&d->b, 0);
  a->end = a->keys;
  declare_locals(a);
}

static DimId all_keys(const Attend *a, Lower *l, DimId queries) {
  if (!a->cached) return a->k.dim[0];
  return past_dim(l) ? dim_op(l->m->dims, DIM_ADD, past_dim(l), queries) : queries;
}

/* The lesser of n and `most`: n less what it has too much, once n / most is not 0. */
static DimId at_most(Lower *l, DimId n, int64_t most) {
  Dims *dims = l->m->dims;
  int64_t times = dim_get(dims, n)->hi / most;
  if (times < 1) return n;
  DimId over = dim_op(dims, DIM_DIV, n, dim_const(dims, most));
  over = dim_op(dims, DIM_CEILDIV, over, dim_const(dims, times));
  return dim_op(dims, DIM_SUB, n,
                dim_mul(l, over, dim_op(dims, DIM_SUB, n, dim_const(dims, most))));
}

/* Pairs of a query and a key that it sees, with a window as many as at a long context; the keys of
 * the cache that are read. */
static void count_work(Attend *a, DimId queries) {
  Draft *d = &a->d;
  Lower *l = d->l;
  Dims *dims = l->m->dims;
  DimId keys = all_keys(a, l, queries), pairs;
  int64_t window = a->attrs->window;
  if (window > 0) {
    DimId before = at_most(l, dim_op(dims, DIM_SUB, keys, queries), window - 1);
    pairs = dim_mul(l, queries, at_most(l, keys, window));
    if (a->cached) keys = dim_op(dims, DIM_ADD, before, queries);
  } else if (a->cached && a->attrs->causal) {
    DimId twice =
        dim_op(dims, DIM_ADD, dim_op(dims, DIM_SUB, dim_op(dims, DIM_ADD, keys, keys), queries),
               dim_const(dims, 1));
    pairs = dim_op(dims, DIM_DIV, dim_mul(l, queries, twice), dim_const(dims, 2));
  } else {
    pairs = dim_mul(l, queries, keys);
  }
  d->flops = dim_mul(l, pairs, dim_const(dims, 2 * a->heads * (a->dim + a->vdim)));
  if (!a->cached) return;
  int64_t key = a->kv_heads * cache_key_bytes(&a->cache);
  draft_traffic(d, dim_mul(l, keys, dim_const(dims, key)));
}

static void name_row(Attend *a, uint32_t i, KVal token, KVal head) {
  KBuilder *b = &a->d.b;
  a->token[i] = token;
  a->head[i] = head;
  a->position[i] = k_splat(b, k_cvt(b, k_op2(b, KOP_add, a->past, token), K_i32));
}

/* ---- many tokens --------------------------------------------------------------------------- */

static void tile_of_rows(Attend *a) {
  KBuilder *b = &a->d.b;
  attend_load_queries(a);
  KeyRange r = attend_key_range(a);
  Softmax all = attend_begin(a);
  KVal carry[2 * MAX_TILE], first = attend_block(a, r.lo, a->chunk);
  size_t bytes = a->tile * sizeof *carry;
  memcpy(carry, all.m, bytes);
  memcpy(carry + a->tile, all.l, bytes);
  KVal chunk = k_for(b, "chunk", first, r.hi, a->chunk, 2 * a->tile, carry);
  memcpy(all.m, carry, bytes);
  memcpy(all.l, carry + a->tile, bytes);
  KVal lo = k_op2(b, KOP_max, chunk, r.lo);
  KVal hi = k_op2(b, KOP_min, k_add64(b, chunk, a->chunk), r.hi);
  Softmax x = attend_chunk(a, &r, lo, hi);
  Shares shares;
  attend_join_tile(a, k_op2(b, KOP_eq, chunk, first), &all, &x, &shares);
  attend_add_values(a, lo, k_op2(b, KOP_sub, hi, lo), &shares);
  memcpy(carry, all.m, bytes);
  memcpy(carry + a->tile, all.l, bytes);
  k_for_end(b, carry);
  memcpy(all.m, carry, bytes);
  memcpy(all.l, carry + a->tile, bytes);
  for (uint32_t i = 0; i < a->tile; i++) attend_store(a, i, &all);
}

/* Tokens from .. to - 1 of all heads over the key head, in tiles of rows, token by token. */
static void rows_of_tokens(Attend *a, KVal from, KVal to) {
  KBuilder *b = &a->d.b;
  KVal group = k_i64(b, a->group), head = k_op2(b, KOP_mul, a->kv_head, group);
  KVal lo = k_op2(b, KOP_mul, from, group), hi = k_op2(b, KOP_mul, to, group);
  KVal last = k_add64(b, hi, -1);
  KVal first = k_for(b, "r", lo, hi, a->tile, 0, NULL);
  for (uint32_t i = 0; i < a->tile; i++) {
    KVal row = k_op2(b, KOP_min, k_add64(b, first, i), last);
    KVal token = k_op2(b, KOP_div, row, group);
    name_row(a, i, token, k_op2(b, KOP_add, head, k_op2(b, KOP_rem, row, group)));
  }
  tile_of_rows(a);
  k_for_end(b, NULL);
}

/* The n-th of `count` grains in an order in which every part of it has early tokens, which see few
 * keys, and late ones: 0, last, 1, last but one, .. */
static KVal fair_grain(KBuilder *b, KVal n, KVal count) {
  KVal half = k_op2(b, KOP_lshr, n, k_i64(b, 1));
  KVal odd = k_op2(b, KOP_eq, k_op2(b, KOP_and, n, k_i64(b, 1)), k_i64(b, 1));
  return k_select(b, odd, k_op2(b, KOP_sub, k_add64(b, count, -1), half), half);
}

/* par over key heads and grains of tokens. */
static void many_tokens(Attend *a, DimId queries) {
  Draft *d = &a->d;
  Dims *dims = d->l->m->dims;
  KBuilder *b = &d->b;
  DimId grains = dim_op(dims, DIM_CEILDIV, queries, dim_const(dims, GRAIN));
  d->extent = dim_mul(d->l, dim_const(dims, a->kv_heads), grains);
  KVal n = draft_dim(d, grains);
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  a->kv_head = k_op2(b, KOP_div, p, n);
  KVal from = k_op2(b, KOP_mul, fair_grain(b, k_op2(b, KOP_rem, p, n), n), k_i64(b, GRAIN));
  rows_of_tokens(a, from, k_op2(b, KOP_min, k_add64(b, from, GRAIN), a->queries));
  k_par_end(b);
}

/* Number i of span `span`. */
static KVal span_number(Attend *a, KVal span, int64_t i) {
  KBuilder *b = &a->d.b;
  KAddr at = k_off(k_at(k_addr(a->sb), span, 4), i);
  return k_cvt(b, k_load(b, KT(i32, 1), at), K_i64);
}

/* par over spans and key heads. */
static void many_spans(Attend *a) {
  Draft *d = &a->d;
  KBuilder *b = &d->b;
  KVal kv_heads = k_i64(b, a->kv_heads);
  d->extent = dim_mul(d->l, a->spans.dim[0], dim_const(d->l->m->dims, a->kv_heads));
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  KVal span = k_op2(b, KOP_div, p, kv_heads);
  a->kv_head = k_op2(b, KOP_rem, p, kv_heads);
  KVal lo = span_number(a, span, 0), hi = span_number(a, span, 1);
  a->begin = span_number(a, span, 2);
  a->end = span_number(a, span, 3);
  rows_of_tokens(a, lo, hi);
  k_par_end(b);
}

/* ---- one token ----------------------------------------------------------------------------- */

/* How the chunks of one token's keys are numbered. */
typedef struct Chunks {
  DimId all;    /* from position 0 on: run-time */
  int64_t most; /* of them at a full context */
  DimId seen;   /* units of work a key head: `all`, or what a window can touch */
  DimId any;    /* 0 when there is but one chunk, else 1 */
  DimId kept;   /* chunks whose sums are kept for the join */
} Chunks;

static Chunks find_chunks(const Attend *a, Lower *l, DimId queries) {
  Dims *dims = l->m->dims;
  Chunks c = {.all = dim_op(dims, DIM_CEILDIV, all_keys(a, l, queries), dim_const(dims, a->chunk))};
  c.most = (a->cache.context + a->chunk - 1) / a->chunk;
  c.seen = c.all;
  int64_t window = a->attrs->window;
  if (window > 0 && (window + a->chunk - 2) / a->chunk + 1 < c.most)
    c.seen = dim_const(dims, (window + a->chunk - 2) / a->chunk + 1);
  c.any = dim_op(dims, DIM_CEILDIV, dim_op(dims, DIM_SUB, c.all, dim_const(dims, 1)),
                 dim_const(dims, c.most));
  c.kept = dim_mul(l, c.any, at_most(l, c.all, dim_get(dims, c.seen)->hi));
  return c;
}

/* The first chunk of which the token sees anything. */
static KVal first_chunk(Attend *a) {
  KBuilder *b = &a->d.b;
  if (a->attrs->window <= 0) return k_i64(b, 0);
  KVal from = k_add64(b, k_op2(b, KOP_add, a->past, a->queries), -a->attrs->window);
  return k_op2(b, KOP_div, k_op2(b, KOP_max, from, k_i64(b, 0)), k_i64(b, a->chunk));
}

static int64_t partial_row(const Attend *a) { /* m and l in 16 lanes each, then the sums */
  return 32 + attend_row(a);
}

/* Where a chunk (counted from the first one seen) of row i is kept. */
static KAddr partial_at(Attend *a, uint32_t i, KVal chunk, int64_t chunks) {
  KAddr at = k_at(k_addr(a->pb), a->head[i], chunks * partial_row(a));
  return k_at(at, chunk, partial_row(a));
}

static void keep_chunk(Attend *a, const Softmax *x, KVal chunk, int64_t chunks) {
  KBuilder *b = &a->d.b;
  for (uint32_t i = 0; i < a->tile; i++) {
    KAddr to = partial_at(a, i, chunk, chunks);
    k_store(b, x->m[i], to);
    k_store(b, x->l[i], k_off(to, 16));
    for (int64_t c = 0; c < attend_row(a); c += 16) {
      KVal o = k_load(b, KT(f32, 16), k_off(k_addr(a->sums), i * attend_row(a) + c));
      k_store(b, o, k_off(to, 32 + c));
    }
  }
}

/* Keys lo .. hi for the tile; kept when other chunks are to be added. */
static void tile_of_chunk(Attend *a, const Chunks *c, KVal chunk, KVal lo, KVal hi) {
  KBuilder *b = &a->d.b;
  attend_load_queries(a);
  KeyRange r = attend_key_range(a);
  lo = k_op2(b, KOP_max, lo, r.lo);
  hi = k_op2(b, KOP_min, hi, r.hi);
  Softmax x = attend_chunk(a, &r, lo, hi);
  const Shares none = {{0}, {0}};
  attend_add_values(a, lo, k_op2(b, KOP_sub, hi, lo), &none);
  if (c->most > 1) k_if(b, k_op2(b, KOP_le, a->keys, k_i64(b, a->chunk)));
  for (uint32_t i = 0; i < a->tile; i++) attend_store(a, i, &x);
  if (c->most == 1) return;
  k_else(b, 0, NULL);
  keep_chunk(a, &x, chunk, dim_get(a->d.l->m->dims, c->seen)->hi);
  k_if_end(b, 0, NULL, NULL);
}

/* par over key heads and chunks of keys: all heads of the group meet them. */
static void one_token(Attend *a, const Chunks *c) {
  Draft *d = &a->d;
  KBuilder *b = &d->b;
  a->stream = true;
  d->extent = dim_mul(d->l, dim_const(d->l->m->dims, a->kv_heads), c->seen);
  KVal n = draft_dim(d, c->seen), before = first_chunk(a);
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  a->kv_head = k_op2(b, KOP_div, p, n);
  KVal chunk = k_op2(b, KOP_rem, p, n), head = k_op2(b, KOP_mul, a->kv_head, k_i64(b, a->group));
  KVal lo = k_op2(b, KOP_mul, k_op2(b, KOP_add, before, chunk), k_i64(b, a->chunk));
  bool some = c->seen != c->all; /* a window's last units may have no keys */
  if (some) k_if(b, k_op2(b, KOP_lt, lo, a->keys));
  int64_t tiles = (a->group + a->tile - 1) / a->tile, most = (a->group + tiles - 1) / tiles;
  for (int64_t h = 0; h < a->group; h += most) {
    a->tile = (uint32_t)(a->group - h < most ? a->group - h : most);
    for (uint32_t i = 0; i < a->tile; i++) name_row(a, i, k_i64(b, 0), k_add64(b, head, h + i));
    tile_of_chunk(a, c, chunk, lo, k_add64(b, lo, a->chunk));
  }
  if (some) {
    k_else(b, 0, NULL);
    k_if_end(b, 0, NULL, NULL);
  }
  k_par_end(b);
}

/* The launch that joins the chunks: par over heads, over none when there is only one chunk. */
static void join_chunks(Attend *a, Lower *l, const Chunks *c, DimId queries) {
  Dims *dims = l->m->dims;
  draft_begin(&a->d, l, KC_attend, "join");
  Draft *d = &a->d;
  KBuilder *b = &d->b;
  int64_t chunks = dim_get(dims, c->seen)->hi;
  a->pb = draft_buffer(d, &a->partial, K_f32, false);
  a->yb = draft_buffer(d, &a->y, kscalar_of(a->y.dtype), true);
  a->queries = draft_dim(d, queries);
  a->past = past_dim(l) ? draft_dim(d, past_dim(l)) : k_i64(b, 0);
  a->keys = k_op2(b, KOP_add, a->past, a->queries);
  a->tile = 1;
  a->sums = k_local(b, "sums", K_f32, attend_row(a));
  d->extent = dim_mul(l, dim_const(dims, a->heads), c->any);
  d->flops = dim_mul(l, d->extent, dim_mul(l, c->seen, dim_const(dims, 3 * attend_row(a))));
  KVal size = k_i64(b, a->chunk), from = first_chunk(a);
  KVal to = k_op2(b, KOP_div, k_add64(b, a->keys, a->chunk - 1), size);
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  name_row(a, 0, k_i64(b, 0), p);
  Softmax all = attend_begin(a);
  KVal carry[2] = {all.m[0], all.l[0]};
  KVal chunk = k_for(b, "c", k_i64(b, 0), k_op2(b, KOP_sub, to, from), 1, 2, carry);
  KAddr at = partial_at(a, 0, chunk, chunks);
  Softmax x = {{k_load(b, KT(f32, 16), at)}, {k_load(b, KT(f32, 16), k_off(at, 16))}};
  Shares shares;
  all = (Softmax){{carry[0]}, {carry[1]}};
  attend_join(a, 0, &all, &x, &shares);
  for (int64_t i = 0; i < attend_row(a); i += 16)
    attend_sum(a, 0, k_off(k_addr(a->sums), i), k_load(b, KT(f32, 16), k_off(at, 32 + i)), &shares);
  carry[0] = all.m[0];
  carry[1] = all.l[0];
  k_for_end(b, carry);
  all = (Softmax){{carry[0]}, {carry[1]}};
  attend_store(a, 0, &all);
  k_par_end(b);
  draft_end(d);
}

static void attend_one(Attend *a, Lower *l, DimId queries) {
  Chunks c = find_chunks(a, l, queries);
  if (c.most > 1) {
    Type t = {.dtype = DT_f32, .rank = 3};
    t.dim[0] = dim_const(l->m->dims, a->heads);
    t.dim[1] = dim_const(l->m->dims, dim_get(l->m->dims, c.seen)->hi);
    t.dim[2] = dim_const(l->m->dims, partial_row(a));
    a->partial = place_scratch(l, &t);
    a->partial.dim[1] = c.kept; /* what of it is written and read */
  }
  draft_begin(&a->d, l, KC_attend, "attend");
  declare(a, queries);
  count_work(a, queries);
  one_token(a, &c);
  draft_end(&a->d);
  if (c.most > 1) join_chunks(a, l, &c, queries);
}

/* Floats that a row has for each key of a chunk, at most. */
static int64_t floats_of_key(const Attend *a) {
  if (a->cache.q8) return 3;
  return a->cache.i16 ? 2 : 1;
}

/* Rows a tile: what the target says and the locals (64 KiB) have room for. */
static uint32_t rows_of_tile(const Attend *a, uint32_t wanted) {
  uint32_t n = wanted < MAX_TILE ? wanted : MAX_TILE;
  int64_t floats = a->dim + 64 + floats_of_key(a) * a->chunk + attend_row(a);
  while (n > 1 && n * floats * 4 > 60 * 1024) n--;
  return n ? n : 1;
}

Status lower_attend(Lower *l, const Op *op) {
  Attend a;
  memset(&a, 0, sizeof a);
  a.op = op;
  a.attrs = &op->attrs.attention;
  find_operands(&a, l);
  DimId queries = graph_value(l->g, op->in[0])->type.dim[0];
  a.tile = rows_of_tile(&a, l->target->query_tile);
  uint32_t vectors = l->target->key_vectors;
  a.vectors = vectors && vectors < KEY_VECTORS ? vectors : KEY_VECTORS;
  if (a.cached && dim_literal(l, queries) == 1) {
    if (a.tile > a.group) a.tile = (uint32_t)a.group;
    attend_one(&a, l, queries);
    return OK;
  }
  if (!a.cached) attend_pack(&a, l);
  draft_begin(&a.d, l, KC_attend, "attend");
  declare(&a, queries);
  count_work(&a, queries);
  if (a.spanned)
    many_spans(&a);
  else
    many_tokens(&a, queries);
  draft_end(&a.d);
  return OK;
}
