/* Class attend over a cache in i16: scores and sums of values as exact integers, two products a
 * lane and step (dot2).
 *
 * A query becomes codes as keys are (cache_codes): their product has 31 bits at most. A value is
 * code * 2^e, e its key's own, |code| < 2^13. What a key adds is p * 2^e * code, so e enters the
 * score: with s + e in place of s the weights 2^(s + e - m) are those of the codes, and their own
 * sum is that of 2^(s + e - m) * 2^-e. The largest weight is just below 2^13: m is the maximum less
 * 12.98, which leaves room for rounding it. So 32 keys add up to less than 2^31, and then enter the
 * f32 sums. Odd: weights are rounded for the values and not for their own sum, where a key of tiny
 * values may weigh most.
 */
#include "passes/lower/attend.h"

/* Keys that are added as integers, 32 * 2^13 * (2^13 - 1) < 2^31; pairs of them a step. */
enum { SUM_KEYS = 32, STEP = 2 };

static KAddr keys_at(const Attend *a, KVal key) {
  const CacheLayout *c = &a->cache;
  return k_at(k_at(k_addr(a->kb), a->kv_head, c->key_head), key, a->key_step);
}

void attend_i16_scores(Attend *a, KVal key, uint32_t n, KVal *s) {
  KBuilder *b = &a->d.b;
  const CacheLayout *c = &a->cache;
  int64_t step = c->dim % 8 == 0 ? 8 : 2, row = attend_query_row(a);
  KAddr block = keys_at(a, key);
  int64_t next = a->dim_step, vector = 16 * a->key_step;
  for (uint32_t i = 0; i < a->tile * n; i++) s[i] = k_int(b, KT(i32, 16), 0);
  KVal d = k_for(b, "d", k_i64(b, 0), k_i64(b, c->dim), step, a->tile * n, s);
  attend_prefetch_values(a, key, n, d, step);
  for (int64_t u = 0; u < step; u += 2) {
    KVal x[KEY_VECTORS];
    for (uint32_t v = 0; v < n; v++)
      x[v] = k_load(b, KT(i32, 16), k_off(k_at(block, d, next), v * vector + u * next));
    for (uint32_t i = 0; i < a->tile; i++) {
      KVal q = k_load(b, KT(i32, 1), k_off(k_at(k_addr(a->query), d, 1), i * row + u));
      q = k_splat(b, q);
      for (uint32_t v = 0; v < n; v++) s[i * n + v] = k_dot2(b, x[v], q, s[i * n + v]);
    }
  }
  k_for_end(b, s);
  for (uint32_t v = 0; v < n; v++) {
    KVal scale = k_load(b, KT(f32, 16), k_off(block, v * vector + c->dim * next));
    for (uint32_t i = 0; i < a->tile; i++)
      s[i * n + v] = k_op2(b, KOP_mul, k_cvt(b, s[i * n + v], K_f32), scale);
  }
  for (uint32_t i = 0; i < a->tile; i++) {
    KVal scale = k_splat(b, k_load(b, KT(f32, 1), k_off(k_addr(a->scaled), i)));
    for (uint32_t v = 0; v < n; v++) s[i * n + v] = k_op2(b, KOP_mul, s[i * n + v], scale);
  }
}

/* The exponents of the values of keys key .. key+15, as f32. */
static KVal load_exponents(Attend *a, KVal key) {
  return k_load(&a->d.b, KT(f32, 16), k_off(keys_at(a, key), a->dim_step * (a->cache.dim + 2)));
}

void attend_i16_raise(Attend *a, KVal key, uint32_t n, KVal *s) {
  KBuilder *b = &a->d.b;
  for (uint32_t v = 0; v < n; v++) {
    KVal e = load_exponents(a, k_add64(b, key, 16 * v));
    for (uint32_t i = 0; i < a->tile; i++) s[i * n + v] = k_op2(b, KOP_add, s[i * n + v], e);
  }
}

KVal attend_i16_maximum(Attend *a, KVal m) {
  return k_op2(&a->d.b, KOP_sub, m, k_f32(&a->d.b, 1, 12.98));
}

/* Behind the last key anything may stand: it is made finite, to be multiplied by 0. */
KVal attend_i16_share(Attend *a, KVal key) {
  KBuilder *b = &a->d.b;
  KVal e = cache_exponent(b, k_cvt(b, load_exponents(a, key), K_i32));
  return cache_power(b, e);
}

static KAddr weight_at(const Attend *a, uint32_t i, KVal pair) {
  return k_off(k_at(k_addr(a->weights), pair, 1), i * (a->chunk / 2));
}

/* p + 1.5 * 2^23 holds rint(p) in its low bits. */
void attend_i16_keep(Attend *a, uint32_t i, KVal key, const KVal *p) {
  KBuilder *b = &a->d.b;
  KType i32 = KT(i32, 16);
  KVal code[KEY_VECTORS], pair = k_op2(b, KOP_lshr, key, k_i64(b, 1));
  for (int v = 0; v < KEY_VECTORS; v++)
    code[v] = k_bits(b, k_op2(b, KOP_add, p[v], k_f32(b, 16, 0x1.8p23)), K_i32);
  for (int v = 0; v < KEY_VECTORS; v += 2) {
    KVal low = k_op2(b, KOP_and, code[v], k_int(b, i32, 0xffff));
    KVal both = k_op2(b, KOP_or, low, k_op2(b, KOP_shl, code[v + 1], k_int(b, i32, 16)));
    k_store(b, both, k_off(weight_at(a, i, pair), 8 * v));
  }
}

/* A block of 32 keys, pair by pair. */
static void sum_block(Attend *a, KVal first, KVal block, const Columns *c, KVal *sum) {
  KBuilder *b = &a->d.b;
  const CacheLayout *l = &a->cache;
  KAddr values = k_at(k_off(k_addr(a->kb), l->values), a->kv_head, l->value_head);
  values = k_at(k_at(values, first, a->value_step), block, 2 * a->value_step);
  values = attend_columns(values, c, 32);
  uint32_t wide = c->wide;
  KVal key = k_op2(b, KOP_add, first, k_op2(b, KOP_shl, block, k_i64(b, 1)));
  KVal pair = k_for(b, "pair", k_i64(b, 0), k_i64(b, SUM_KEYS / 2), STEP, a->tile * wide, sum);
  for (int64_t u = 0; u < STEP; u++) {
    KVal x[KEY_VECTORS];
    for (int64_t two = 0; attend_leads(c) && two < 2; two++)
      attend_prefetch_keys(
          a, k_add64(b, k_op2(b, KOP_add, key, k_op2(b, KOP_shl, pair, k_i64(b, 1))), 2 * u + two));
    for (uint32_t v = 0; v < wide; v++)
      x[v] = k_load(b, KT(i32, 16),
                    k_off(k_at(values, pair, 2 * l->padded), 2 * u * l->padded + 32 * v));
    for (uint32_t i = 0; i < a->tile; i++) {
      KVal p = k_load(b, KT(i32, 1), k_off(k_at(weight_at(a, i, block), pair, 1), u));
      p = k_splat(b, p);
      for (uint32_t v = 0; v < wide; v++) sum[i * wide + v] = k_dot2(b, x[v], p, sum[i * wide + v]);
    }
  }
  k_for_end(b, sum);
}

void attend_i16_columns(Attend *a, KVal first, KVal count, const Columns *c, KVal *o) {
  KBuilder *b = &a->d.b;
  uint32_t n = a->tile * c->wide;
  KVal pairs = k_op2(b, KOP_lshr, k_add64(b, count, SUM_KEYS - 1), k_i64(b, 1));
  pairs = k_op2(b, KOP_and, pairs, k_i64(b, -(SUM_KEYS / 2)));
  KVal block = k_for(b, "block", k_i64(b, 0), pairs, SUM_KEYS / 2, n, o);
  KVal sum[MAX_TILE * KEY_VECTORS];
  for (uint32_t i = 0; i < n; i++) sum[i] = k_int(b, KT(i32, 16), 0);
  sum_block(a, first, block, c, sum);
  for (uint32_t i = 0; i < n; i++) o[i] = k_op2(b, KOP_add, o[i], k_cvt(b, sum[i], K_f32));
  k_for_end(b, o);
}
