/* Class attend over a cache in q8_0: integer scores, values as their codes.
 *
 * A query enters as two planes of int8 (act_i16), so that a block of 32 dimensions is an exact
 * integer: 128 * (sum of code * hi) + (sum of code * lo) - 128 * (sum of q). Blocks are added in
 * ascending order by fma with the key's scale, the sum is multiplied by the query's. A value's
 * scale goes to the weight: o = fma(p * d, code, o), where p * d is computed once for a block of 32
 * columns.
 */
#include "passes/lower/attend.h"

/* The scales of keys key .. key+15 (or of their values) for the block of 32 at byte offset `d`. */
static KVal load_scales(Attend *a, bool values, KVal key, KVal d, int64_t d_off) {
  KBuilder *b = &a->d.b;
  const CacheLayout *c = &a->cache;
  KAddr at = k_off(k_addr(a->kb), (values ? c->value_scales : c->key_scales) + d_off);
  at = k_at(k_at(at, a->kv_head, c->scale_head), key, c->dim / 16);
  if (d) at = k_at(at, d, 1);
  return k_cvt(b, k_load(b, KT(f16, 16), at), K_f32);
}

/* Adds a plane of the queries (at `plane` of their blocks) times the codes of a block. */
static void add_plane(Attend *a, KVal key, uint32_t n, KVal d, int64_t plane, KVal *acc) {
  KBuilder *b = &a->d.b;
  const CacheLayout *c = &a->cache;
  for (int64_t j = 0; j < 8; j++) {
    KVal code[KEY_VECTORS];
    for (uint32_t v = 0; v < n; v++) {
      KAddr at = k_at(k_at(k_addr(a->kb), a->kv_head, c->key_head), key, c->dim);
      at = k_off(k_at(at, d, 16), 16 * v * c->dim + 64 * j);
      code[v] = k_load(b, KT(i32, 16), at);
    }
    for (uint32_t i = 0; i < a->tile; i++) {
      KAddr at = k_off(k_at(k_addr(a->query), d, 2), i * a->query_act.row_bytes + plane + 4 * j);
      KVal q = k_splat(b, k_load(b, KT(i32, 1), at));
      for (uint32_t v = 0; v < n; v++) acc[i * n + v] = k_dot4(b, code[v], q, acc[i * n + v], 8);
    }
  }
}

void attend_q8_scores(Attend *a, KVal key, uint32_t n, KVal *s) {
  KBuilder *b = &a->d.b;
  const ActLayout *q = &a->query_act;
  for (uint32_t i = 0; i < a->tile * n; i++) s[i] = k_f32(b, 16, 0);
  KVal d = k_for(b, "d", k_i64(b, 0), k_i64(b, a->cache.dim), 32, a->tile * n, s);
  attend_prefetch_values(a, key, n, d, 32);
  KVal acc[MAX_TILE * KEY_VECTORS];
  for (uint32_t i = 0; i < a->tile * n; i++) acc[i] = k_int(b, KT(i32, 16), 0);
  add_plane(a, key, n, d, 0, acc);
  for (uint32_t i = 0; i < a->tile; i++) {
    KAddr at = k_off(k_addr(a->query), i * q->row_bytes + q->sums);
    KVal block = k_op2(b, KOP_lshr, d, k_i64(b, 5));
    KVal sum = k_splat(b, k_load(b, KT(i32, 1), k_at(at, block, 4)));
    for (uint32_t v = 0; v < n; v++) {
      KVal x = k_op2(b, KOP_sub, acc[i * n + v], sum); /* both are to be times 128 */
      acc[i * n + v] = k_op2(b, KOP_shl, x, k_int(b, KT(i32, 16), 7));
    }
  }
  add_plane(a, key, n, d, 32, acc);
  for (uint32_t v = 0; v < n; v++) {
    KVal scale = load_scales(a, false, k_add64(b, key, 16 * v), d, 0);
    for (uint32_t i = 0; i < a->tile; i++)
      s[i * n + v] = k_fma(b, scale, k_cvt(b, acc[i * n + v], K_f32), s[i * n + v]);
  }
  k_for_end(b, s);
  for (uint32_t i = 0; i < a->tile; i++) {
    KAddr at = k_off(k_addr(a->query), i * q->row_bytes + q->scales);
    KVal scale = k_splat(b, k_load(b, KT(f32, 1), at));
    for (uint32_t v = 0; v < n; v++) s[i * n + v] = k_op2(b, KOP_mul, s[i * n + v], scale);
  }
}

/* Where row i's weights times the scales of the block-th block of columns of a set stand. */
static KAddr scaled_at(const Attend *a, uint32_t i, int64_t block, KVal key) {
  return k_off(k_at(k_addr(a->scaled), key, 1), (block * a->tile + i) * a->chunk);
}

void attend_q8_weights(Attend *a, KVal first, KVal count, int64_t c, uint32_t wide) {
  KBuilder *b = &a->d.b;
  KVal at = k_for(b, "at", k_i64(b, 0), count, 16, 0, NULL);
  for (int64_t block = 0; block <= (c + wide - 1) / 2 - c / 2; block++) {
    KVal scale = load_scales(a, true, k_op2(b, KOP_add, first, at), 0, 32 * (c / 2 + block));
    for (uint32_t i = 0; i < a->tile; i++) {
      KVal p = k_load(b, KT(f32, 16), k_off(k_at(k_addr(a->p), at, 1), i * a->chunk));
      k_store(b, k_op2(b, KOP_mul, p, scale), scaled_at(a, i, block, at));
    }
  }
  k_for_end(b, NULL);
}

KVal attend_q8_weight(Attend *a, uint32_t i, KVal j, int64_t block) {
  KBuilder *b = &a->d.b;
  return k_splat(b, k_load(b, KT(f32, 1), scaled_at(a, i, block, j)));
}

KVal attend_q8_value(Attend *a, KVal key, int64_t vec) {
  KBuilder *b = &a->d.b;
  KAddr at = k_at(k_off(k_addr(a->vb), a->cache.values), a->kv_head, a->cache.value_head);
  at = k_off(k_at(at, key, a->cache.dim), 16 * vec);
  return k_cvt(b, k_cvt(b, k_load(b, KT(i8, 16), at), K_i32), K_f32);
}
