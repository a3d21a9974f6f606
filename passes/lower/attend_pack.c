/* Class attend without a cache: a launch before the attention that lays keys out as it reads them.
 *
 *   par p in blocks of 64 keys * key heads:  the keys of the block, dimension by dimension
 *
 * As f32, keys alone. As codes (act = i16) keys and values, which become what kv_append makes of
 * them for a cache of i16:
 *
 *     for key in the block (values: and 16 keys further):  codes, scale, exponent
 *     for key in the block:  words of its value and that of the 16th key behind it
 *
 * A span begins at any key, so that blocks of a span are no blocks of the launch: a dimension's
 * keys are one row, and every key has its value beside that of the 16th behind it, where a cache
 * has each once. What was computed key by key is turned round in registers, 16 keys at once. Odd:
 * what attention reads behind the last key of all is undefined among codes, and the last key again
 * among f32: weights of 0 make it nothing.
 */
#include "passes/lower/attend.h"

#include <string.h>

/* Keys further until values are joined; and elements by which rows of keys are longer than they
 * need be, which keeps them out of each other's cache sets. */
enum { BESIDE = 16, APART = 16 };

/* ---- the launch ---------------------------------------------------------------------------- */

/* `blocks` of keys from 0 on; returns the first key of the iteration's, and sets a->kv_head. */
static KVal pack_par(Attend *a, DimId blocks) {
  Draft *d = &a->d;
  KBuilder *b = &d->b;
  KVal n = draft_dim(d, blocks);
  d->extent = dim_mul(d->l, dim_const(d->l->m->dims, a->kv_heads), blocks);
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  a->kv_head = k_op2(b, KOP_div, p, n);
  KVal block = k_op2(b, KOP_mul, k_op2(b, KOP_rem, p, n), k_i64(b, KEY_BLOCK));
  if (a->spanned) { /* by tokens first: the thread that made them is the one that reads them */
    block = k_op2(b, KOP_mul, k_op2(b, KOP_div, p, k_i64(b, a->kv_heads)), k_i64(b, KEY_BLOCK));
    a->kv_head = k_op2(b, KOP_rem, p, k_i64(b, a->kv_heads));
  }
  return block;
}

static DimId blocks_of(Dims *dims, DimId keys) {
  return dim_op(dims, DIM_CEILDIV, keys, dim_const(dims, KEY_BLOCK));
}

static int64_t most_keys(const Dims *dims, DimId keys) {
  return (int64_t)align_up((uint64_t)dim_get(dims, keys)->hi, KEY_BLOCK);
}

typedef struct HeadRow {
  KBuilder *b;
  KAddr at;
  KScalar type;
} HeadRow;

static KVal head_vector(void *user, KVal col, KVal mask) {
  HeadRow *r = user;
  KType t = {(uint8_t)r->type, 16};
  KAddr at = k_at(r->at, col, 1);
  return k_cvt(r->b, mask ? k_load_mask(r->b, t, at, mask) : k_load(r->b, t, at), K_f32);
}

/* The head's row of `place` for key `key`. */
static HeadRow head_row(Attend *a, const Place *place, KVal buffer, KVal key) {
  KAddr at = k_at(k_addr(buffer), key, attend_stride(a, place, 0));
  at = k_at(at, a->kv_head, attend_stride(a, place, 1));
  return (HeadRow){&a->d.b, at, kscalar_of(place->dtype)};
}

/* Rows of 16 lanes become columns. A zip of rows i and i + 8, for all i, moves the number of an
 * element (row, lane; eight bits) round by one bit: four times exchange row and lane. */
static void transpose(KBuilder *b, KVal *row) {
  for (int bit = 0; bit < 4; bit++) {
    KVal next[16];
    for (int i = 0; i < 8; i++) {
      next[2 * i] = k_op2(b, KOP_zip_low, row[i], row[i + 8]);
      next[2 * i + 1] = k_op2(b, KOP_zip_high, row[i], row[i + 8]);
    }
    memcpy(row, next, sizeof next);
  }
}

/* ---- f32 ----------------------------------------------------------------------------------- */

/* Dimensions col .. col + 15 (`n` of them are there) of 16 keys from `key` on to `to`. */
static void pack_square(Attend *a, KVal key, KVal col, int64_t n, KAddr to, int64_t dim_step) {
  KBuilder *b = &a->d.b;
  KVal row[16], last = k_add64(b, a->keys, -1);
  KVal mask = n < 16 ? k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), n)) : 0;
  for (int i = 0; i < 16; i++) {
    HeadRow from = head_row(a, &a->k, a->kb, k_op2(b, KOP_min, k_add64(b, key, i), last));
    row[i] = head_vector(&from, col, mask);
  }
  transpose(b, row);
  for (int64_t i = 0; i < n; i++) k_store(b, row[i], k_off(k_at(to, col, dim_step), i * dim_step));
}

static void pack_float_keys(Attend *a, KVal key, KAddr to, int64_t dim_step) {
  KBuilder *b = &a->d.b;
  int64_t whole = a->dim / 16 * 16;
  if (whole) {
    KVal col = k_for(b, "d", k_i64(b, 0), k_i64(b, whole), 16, 0, NULL);
    pack_square(a, key, col, 16, to, dim_step);
    k_for_end(b, NULL);
  }
  if (whole < a->dim) pack_square(a, key, k_i64(b, whole), a->dim - whole, to, dim_step);
}

/* With spans there is one more block, for the last span's last block. */
static void pack_floats(Attend *a, Lower *l) {
  Dims *dims = l->m->dims;
  DimId keys = a->k.dim[0], blocks = blocks_of(dims, keys);
  int64_t most = most_keys(dims, keys), key_step = a->dim, dim_step = 16;
  if (a->spanned) {
    blocks = dim_op(dims, DIM_ADD, blocks, dim_const(dims, 1));
    most += KEY_BLOCK + APART;
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
  a->kb = draft_buffer(&a->d, &a->k, kscalar_of(a->k.dtype), false);
  KVal out = draft_buffer(&a->d, &to, K_f32, true);
  a->keys = draft_dim(&a->d, keys);
  KVal block = pack_par(a, blocks);
  for (int v = 0; v < KEY_VECTORS; v++) {
    KVal key = k_add64(b, block, 16 * v);
    KAddr at = k_at(k_at(k_addr(out), a->kv_head, most * a->dim), key, key_step);
    pack_float_keys(a, key, at, dim_step);
  }
  k_par_end(b);
  draft_end(&a->d);
  a->k = to;
  a->k.dim[0] = keys; /* how many there are; the rest of the place is room */
  a->cache = (CacheLayout){.type = K_f32, .key_head = most * a->dim, .dim = a->dim};
  a->key_step = key_step;
  a->dim_step = dim_step;
}

/* ---- codes --------------------------------------------------------------------------------- */

typedef struct Pack {
  Attend *a;
  KVal out, block, left; /* i16; the first key, and how many there are from it on */
  KVal key, value;       /* locals: codes of a key; of values [block + BESIDE][padded] */
} Pack;

static KAddr key_at(const Pack *p, KVal key) {
  const Attend *a = p->a;
  return k_at(k_at(k_addr(p->out), a->kv_head, a->cache.key_head), key, a->key_step);
}

/* The scale of a key; its codes to the local, where they wait for those beside them. */
static void pack_key(Pack *p, KVal key) {
  Attend *a = p->a;
  KBuilder *b = &a->d.b;
  HeadRow row = head_row(a, &a->k, a->kb, key);
  KAddr codes = k_at(k_addr(p->key), k_op2(b, KOP_and, key, k_i64(b, 15)), attend_query_row(a));
  KVal scale = cache_codes(&a->d, codes, a->dim, head_vector, &row);
  k_store(b, scale, k_off(key_at(p, key), a->cache.dim * a->dim_step));
}

/* Words of 16 keys from `key` on, a multiple of 16, out of the local, which has `n` of them. */
static void pack_words(Pack *p, KVal key, KVal n) {
  Attend *a = p->a;
  KBuilder *b = &a->d.b;
  KAddr to = key_at(p, key), at[16];
  int64_t width = attend_query_row(a);
  for (int i = 0; i < 16; i++)
    at[i] = k_at(k_addr(p->key), k_op2(b, KOP_min, k_i64(b, i), k_add64(b, n, -1)), width);
  for (int64_t d = 0; d < a->cache.dim; d += 32) {
    KVal row[16], half = k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), 8));
    for (int i = 0; i < 16; i++) {
      KAddr from = k_off(at[i], d);
      bool whole = width - d >= 32;
      row[i] = whole ? k_load(b, KT(i32, 16), from) : k_load_mask(b, KT(i32, 16), from, half);
    }
    transpose(b, row);
    for (int i = 0; i < 16 && d + 2 * i < a->cache.dim; i++)
      k_store(b, row[i], k_off(to, (d + 2 * i) * a->dim_step));
  }
}

/* The codes of number j of the block to the local; returns their exponent (i32). */
static KVal value_row(Pack *p, KVal j) {
  Attend *a = p->a;
  KBuilder *b = &a->d.b;
  HeadRow row = head_row(a, &a->v, a->vb, k_op2(b, KOP_add, p->block, j));
  KVal x[CODED_HEAD / 16], most = k_f32(b, 16, 0);
  int64_t n = a->cache.padded / 16;
  for (int64_t v = 0; v < n; v++) {
    KVal left = k_int(b, KT(i32, 16), a->vdim - 16 * v);
    KVal mask = a->vdim - 16 * v < 16 ? k_op2(b, KOP_lt, k_iota(b), left) : 0;
    x[v] = head_vector(&row, k_i64(b, 16 * v), mask);
    most = k_op2(b, KOP_max, most, k_op1(b, KOP_abs, x[v]));
  }
  KVal e = cache_value_exponent(b, k_op1(b, KOP_reduce_max, most));
  KVal power = k_splat(b, cache_power(b, e));
  for (int64_t v = 0; v < n; v++) {
    KVal q = k_cvt(b, k_op1(b, KOP_rint, k_op2(b, KOP_mul, x[v], power)), K_i32);
    k_store(b, k_cvt(b, q, K_i16), k_off(k_at(k_addr(p->value), j, a->cache.padded), 16 * v));
  }
  return e;
}

/* The value of number j beside that of number j + BESIDE. */
static void join_values(Pack *p, KVal j) {
  Attend *a = p->a;
  KBuilder *b = &a->d.b;
  const CacheLayout *c = &a->cache;
  KAddr to = k_at(k_off(k_addr(p->out), c->values), a->kv_head, c->value_head);
  to = k_at(to, k_op2(b, KOP_add, p->block, j), a->value_step);
  for (int64_t v = 0; v < c->padded; v += 16) {
    KAddr from = k_off(k_at(k_addr(p->value), j, c->padded), v);
    KVal low = k_cvtu(b, k_load(b, KT(i16, 16), from), K_i32);
    KVal high = k_cvtu(b, k_load(b, KT(i16, 16), k_off(from, BESIDE * c->padded)), K_i32);
    high = k_op2(b, KOP_shl, high, k_int(b, KT(i32, 16), 16));
    k_store(b, k_op2(b, KOP_or, low, high), k_off(to, 2 * v));
  }
}

static void pack_block(Pack *p) {
  Attend *a = p->a;
  KBuilder *b = &a->d.b;
  KVal zero = k_i64(b, 0), own = k_op2(b, KOP_min, p->left, k_i64(b, KEY_BLOCK));
  KVal lo = k_for(b, "lo", zero, own, 16, 0, NULL);
  KVal hi = k_op2(b, KOP_min, k_add64(b, lo, 16), own);
  KVal j = k_for(b, "j", lo, hi, 1, 0, NULL), key = k_op2(b, KOP_add, p->block, j);
  pack_key(p, key);
  KVal e = k_cvt(b, value_row(p, j), K_f32);
  k_store(b, e, k_off(key_at(p, key), (a->cache.dim + 2) * a->dim_step));
  k_for_end(b, NULL);
  pack_words(p, k_op2(b, KOP_add, p->block, lo), k_op2(b, KOP_sub, hi, lo));
  k_for_end(b, NULL);
  KVal beside = k_op2(b, KOP_min, p->left, k_i64(b, KEY_BLOCK + BESIDE));
  j = k_for(b, "more", k_i64(b, KEY_BLOCK), beside, 1, 0, NULL);
  value_row(p, j);
  k_for_end(b, NULL);
  j = k_for(b, "none", beside, k_add64(b, own, BESIDE), 1, 0, NULL);
  for (int64_t v = 0; v < a->cache.padded; v += 16)
    k_store(b, k_int(b, KT(i16, 16), 0), k_off(k_at(k_addr(p->value), j, a->cache.padded), v));
  k_for_end(b, NULL);
  j = k_for(b, "both", zero, own, 1, 0, NULL);
  join_values(p, j);
  k_for_end(b, NULL);
}

static CacheLayout codes_layout(const Attend *a, int64_t most) {
  CacheLayout c = {.type = K_i16, .i16 = true};
  c.dim = (int64_t)align_up((uint64_t)a->dim, 2);
  c.padded = (int64_t)align_up((uint64_t)a->vdim, 16);
  c.key_head = most * (c.dim + 4);
  c.value_head = most * 2 * c.padded;
  c.values = a->kv_heads * c.key_head;
  return c;
}

static void pack_codes(Attend *a, Lower *l) {
  Dims *dims = l->m->dims;
  DimId keys = a->k.dim[0];
  int64_t most = most_keys(dims, keys) + KEY_BLOCK + APART;
  a->cache = codes_layout(a, most);
  a->key_step = 2;
  a->dim_step = most;
  a->value_step = 2 * a->cache.padded;
  Type t = {.dtype = DT_i16, .rank = 2};
  t.dim[0] = dim_const(dims, a->kv_heads);
  t.dim[1] = dim_const(dims, a->cache.key_head + a->cache.value_head);
  Place to = place_scratch(l, &t);
  draft_begin(&a->d, l, KC_attend, "codes");
  KBuilder *b = &a->d.b;
  Pack p = {.a = a};
  a->kb = draft_buffer(&a->d, &a->k, kscalar_of(a->k.dtype), false);
  a->vb = draft_buffer(&a->d, &a->v, kscalar_of(a->v.dtype), false);
  p.out = draft_buffer(&a->d, &to, K_i16, true);
  p.key = k_local(b, "key", K_i16, 16 * attend_query_row(a));
  p.value = k_local(b, "value", K_i16, (KEY_BLOCK + BESIDE) * a->cache.padded);
  KVal n = draft_dim(&a->d, keys);
  p.block = pack_par(a, blocks_of(dims, keys));
  p.left = k_op2(b, KOP_sub, n, p.block);
  pack_block(&p);
  k_par_end(b);
  draft_end(&a->d);
  a->k = to;
  a->k.dim[0] = keys;
}

void attend_pack(Attend *a, Lower *l) {
  if (a->cache.i16)
    pack_codes(a, l);
  else
    pack_floats(a, l);
}
