/* Class attend: keys, values and queries as they lie in memory, and the products with them.
 *
 * Keys stand 16 beside each other for every dimension (lower.h, CacheLayout), so that a vector
 * holds one dimension of 16 keys and a score is one chain over the dimensions; values stand key by
 * key. For one token both stream from memory: while a chunk's keys are met its values are
 * prefetched, while its values are summed the next chunk's keys.
 */
#include "passes/lower/attend.h"

int64_t attend_stride(const Attend *a, const Place *p, int axis) {
  return dim_literal(a->d.l, p->stride[axis]);
}

/* ---- queries ------------------------------------------------------------------------------- */

typedef struct QueryRow {
  Attend *a;
  KAddr from;
} QueryRow;

/* What makes scores powers of two; with a cap on them, what makes them the argument of its tanh. */
static double query_scale(const Attend *a) {
  if (a->attrs->softcap > 0) return a->attrs->scale / a->attrs->softcap;
  return a->attrs->scale * 1.4426950408889634;
}

static KVal query_vector(void *user, KVal col, KVal mask) {
  QueryRow *r = user;
  KBuilder *b = &r->a->d.b;
  KType t = {(uint8_t)kscalar_of(r->a->q.dtype), 16};
  KAddr at = k_at(r->from, col, 1);
  KVal x = mask ? k_load_mask(b, t, at, mask) : k_load(b, t, at);
  return k_op2(b, KOP_mul, k_cvt(b, x, K_f32), k_f32(b, 16, query_scale(r->a)));
}

void attend_load_queries(Attend *a) {
  KBuilder *b = &a->d.b;
  int64_t row = attend_query_row(a);
  for (uint32_t i = 0; i < a->tile; i++) {
    KAddr from = k_at(k_at(k_addr(a->qb), a->token[i], attend_stride(a, &a->q, 0)), a->head[i],
                      attend_stride(a, &a->q, 1));
    QueryRow r = {a, from};
    if (a->cache.i16) {
      KAddr to = k_off(k_addr(a->query), i * row);
      KVal scale = cache_codes(&a->d, to, a->dim, query_vector, &r);
      k_store(b, scale, k_off(k_addr(a->scaled), i));
      continue;
    }
    if (a->cache.q8) {
      KAddr to = k_off(k_addr(a->query), i * a->query_act.row_bytes);
      act_quantise(&a->d, (ActForm){.format = Q_act_i16}, to, a->dim, query_vector, &r);
      continue;
    }
    for (int64_t d = 0; d < a->dim; d += 16) {
      KVal left = k_int(b, KT(i32, 16), a->dim - d);
      KVal mask = a->dim - d < 16 ? k_op2(b, KOP_lt, k_iota(b), left) : 0;
      k_store(b, query_vector(&r, k_i64(b, d), mask), k_off(k_addr(a->query), i * row + d));
    }
  }
}

/* Element d of row i, splat. */
static KVal load_query(Attend *a, uint32_t i, KVal d, int64_t d_off) {
  KBuilder *b = &a->d.b;
  KAddr at = k_off(k_at(k_addr(a->query), d, 1), i * attend_query_row(a) + d_off);
  return k_splat(b, k_load(b, KT(f32, 1), at));
}

/* ---- prefetching --------------------------------------------------------------------------- */

static void prefetch_cache(Attend *a, KAddr at, int64_t n) {
  int64_t line = 64 / (int64_t)kscalar_size(a->cache.type);
  for (int64_t i = 0; i < n; i += line) k_prefetch(&a->d.b, k_off(at, i));
}

void attend_prefetch_values(Attend *a, KVal key, uint32_t n, KVal d, int64_t step) {
  if (!a->stream) return;
  KAddr at = k_at(k_off(k_addr(a->vb), a->cache.values), a->kv_head, a->cache.value_head);
  at = k_at(k_at(at, key, a->cache.padded), d, 16 * n);
  prefetch_cache(a, at, step * 16 * n);
}

void attend_prefetch_keys(Attend *a, KVal key) {
  if (!a->stream) return;
  const CacheLayout *c = &a->cache;
  KAddr at = k_at(k_at(k_addr(a->kb), a->kv_head, c->key_head), key, c->key_step);
  prefetch_cache(a, k_off(at, a->chunk * c->key_step), c->key_step);
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* Dimension d + d_off of keys key .. key+15, as f32; of a cache key is a multiple of 16. */
static KVal load_keys(Attend *a, KVal key, KVal d, int64_t d_off) {
  KBuilder *b = &a->d.b;
  KAddr at = k_at(k_at(k_addr(a->kb), a->kv_head, a->cache.key_head), key, a->key_step);
  at = k_off(k_at(at, d, a->dim_step), a->dim_step * d_off);
  return k_cvt(b, k_load(b, (KType){a->cache.type, 16}, at), K_f32);
}

void attend_scores(Attend *a, KVal key, uint32_t n, KVal *s) {
  KBuilder *b = &a->d.b;
  if (a->cache.q8) {
    attend_q8_scores(a, key, n, s);
    return;
  }
  if (a->cache.i16) {
    attend_i16_scores(a, key, n, s);
    return;
  }
  int64_t step = a->dim % 4 == 0 ? 4 : 1;
  for (uint32_t i = 0; i < a->tile * n; i++) s[i] = k_f32(b, 16, 0);
  KVal d = k_for(b, "d", k_i64(b, 0), k_i64(b, a->dim), step, a->tile * n, s);
  attend_prefetch_values(a, key, n, d, step);
  for (int64_t u = 0; u < step; u++) {
    KVal x[KEY_VECTORS];
    for (uint32_t v = 0; v < n; v++) x[v] = load_keys(a, k_add64(b, key, 16 * v), d, u);
    for (uint32_t i = 0; i < a->tile; i++) {
      KVal q = load_query(a, i, d, u);
      for (uint32_t v = 0; v < n; v++) s[i * n + v] = k_fma(b, q, x[v], s[i * n + v]);
    }
  }
  k_for_end(b, s);
}

/* ---- values -------------------------------------------------------------------------------- */

/* 16 columns of the value of one key: vector v of the set. */
static KVal load_value(Attend *a, KVal key, const Columns *c, uint32_t v) {
  KBuilder *b = &a->d.b;
  if (a->cache.q8) return attend_q8_value(a, key, c->first + v);
  if (a->cached) {
    KAddr at = k_at(k_off(k_addr(a->vb), a->cache.values), a->kv_head, a->cache.value_head);
    at = k_off(attend_columns(k_at(at, key, a->cache.padded), c, 16), 16 * v);
    return k_cvt(b, k_load(b, (KType){a->cache.type, 16}, at), K_f32);
  }
  KAddr at = k_at(k_at(k_addr(a->vb), key, attend_stride(a, &a->v, 0)), a->kv_head,
                  attend_stride(a, &a->v, 1));
  at = k_off(attend_columns(at, c, 16), 16 * v);
  KType t = {(uint8_t)kscalar_of(a->v.dtype), 16};
  int64_t left = a->vdim - 16 * (c->first + v);
  if (c->set || left >= 16) return k_cvt(b, k_load(b, t, at), K_f32);
  KVal there = k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), left));
  return k_cvt(b, k_load_mask(b, t, at, there), K_f32);
}

/* The weight of key `j` for row i, splat; q8_0: for the set's block of 32 columns. */
static KVal load_weight(Attend *a, uint32_t i, KVal j, int64_t block) {
  KBuilder *b = &a->d.b;
  if (a->cache.q8) return attend_q8_weight(a, i, j, block);
  return k_splat(b, k_load(b, KT(f32, 1), k_off(k_at(k_addr(a->p), j, 1), i * a->chunk)));
}

static void add_sums(Attend *a, const Columns *c, const KVal *o, const Shares *shares) {
  KAddr sums = attend_columns(k_addr(a->sums), c, 16);
  for (uint32_t i = 0; i < a->tile * c->wide; i++) {
    uint32_t row = i / c->wide;
    attend_sum(a, row, k_off(sums, row * attend_row(a) + 16 * (i % c->wide)), o[i], shares);
  }
}

static void add_columns(Attend *a, KVal first, KVal count, const Shares *shares, const Columns *c) {
  KBuilder *b = &a->d.b;
  uint32_t wide = c->wide, n = a->tile * wide;
  KVal o[MAX_TILE * KEY_VECTORS];
  for (uint32_t i = 0; i < n; i++) o[i] = k_f32(b, 16, 0);
  if (a->cache.i16) {
    attend_i16_columns(a, first, count, c, o);
    add_sums(a, c, o, shares);
    return;
  }
  if (a->cache.q8) attend_q8_weights(a, first, count, c->first, wide);
  KVal j = k_for(b, "j", k_i64(b, 0), count, 1, n, o);
  KVal key = k_op2(b, KOP_add, first, j), value[KEY_VECTORS];
  if (attend_leads(c)) attend_prefetch_keys(a, key);
  for (uint32_t v = 0; v < wide; v++) value[v] = load_value(a, key, c, v);
  for (uint32_t i = 0; i < a->tile; i++) {
    KVal p = 0;
    for (uint32_t v = 0; v < wide; v++) {
      bool next = v == 0 || (a->cache.q8 && (c->first + v) % 2 == 0);
      if (next) p = load_weight(a, i, j, (c->first + v) / 2 - c->first / 2);
      o[i * wide + v] = k_fma(b, p, value[v], o[i * wide + v]);
    }
  }
  k_for_end(b, o);
  add_sums(a, c, o, shares);
}

/* Sets as equally wide as possible. Those behind the first are a loop where they are alike; it is
 * by itself for one token, whose first set asks for the next keys. */
void attend_add_values(Attend *a, KVal first, KVal count, const Shares *shares) {
  KBuilder *b = &a->d.b;
  int64_t unit = a->cache.q8 && a->vectors > 1 ? 2 : 1; /* blocks of columns stay whole */
  int64_t units = attend_row(a) / 16 / unit, most = a->vectors / unit;
  int64_t sets = (units + most - 1) / most, alone = a->stream ? 1 : 0;
  bool ragged = !a->cached && a->vdim % 16 != 0;
  bool alike = units % sets == 0 && !a->cache.q8 && !ragged && sets > alone + 1;
  for (int64_t s = 0; s < (alike ? alone : sets); s++) {
    int64_t c = units * s / sets;
    Columns set = {.first = c * unit, .wide = (uint32_t)((units * (s + 1) / sets - c) * unit)};
    add_columns(a, first, count, shares, &set);
  }
  if (!alike) return;
  Columns set = {.wide = (uint32_t)(units / sets)};
  set.set = k_for(b, "set", k_i64(b, alone), k_i64(b, sets), 1, 0, NULL);
  add_columns(a, first, count, shares, &set);
  k_for_end(b, NULL);
}
