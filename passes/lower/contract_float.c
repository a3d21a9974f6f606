/* Contractions in f32: float weights, and integer weights under act f32.
 *
 * Float weights: an output's products are added by fma in ascending k. Integer weights, which
 * unpack 32 at a time: an output has four accumulators by k mod 4, which hide the latency of fma,
 * and the result is (a0 + a2) + (a1 + a3). Both are the same whatever the tile:
 *
 *   for k in 0..K step (4 or a block of 32):  for each k:  w = unpack(W[group, k])  // 16 rows
 *     for each token:  a[k mod chains] = fma(w, splat x[token, k], a[k mod chains])
 */
#include "passes/lower/contract.h"

static KVal joined(KBuilder *b, const KVal *a, uint32_t chains) {
  if (chains == 1) return a[0];
  return k_op2(b, KOP_add, k_op2(b, KOP_add, a[0], a[2]), k_op2(b, KOP_add, a[1], a[3]));
}

KVal contract_x(Contract *c, KVal token, KVal k, int64_t offset) {
  KBuilder *b = &c->d.b;
  KAddr a = k_off(k_at(k_at(k_addr(c->x), token, c->x_stride), k, 1), offset);
  if (c->x_shift) a = k_at(a, c->x_shift, 1);
  return k_splat(b, k_cvt(b, k_load(b, (KType){c->x_type, 1}, a), K_f32));
}

/* `n` values of k from k0 on: acc[(g * tokens + t) * chains + k mod chains]. k0 is a multiple of 4.
 */
static void float_steps(Contract *c, const Tile *t, KVal k0, int n, uint32_t chains, KVal *acc) {
  KBuilder *b = &c->d.b;
  uint32_t pb = c->quant->packed_block;
  KVal block = k_op2(b, KOP_div, k0, k_i64(b, pb)), sub = k_i64(b, 0);
  if (quant_subs(c->quant) > 1)
    sub = k_op2(b, KOP_div, k_op2(b, KOP_rem, k0, k_i64(b, pb)), k_i64(b, 32));
  for (uint32_t g = 0; g < t->groups; g++) {
    KAddr at = k_at(k_at(k_addr(c->w), t->group[g], c->group_bytes), block, c->quant->packed_bytes);
    KVal w[32];
    for (int i = 0; i < n; i += (int)pb)
      quant_unpack_floats(c->quant, b, k_off(at, (int64_t)i / pb * c->quant->packed_bytes), sub,
                          w + i);
    for (int i = 0; i < n; i++) {
      for (uint32_t j = 0; j < t->tokens; j++) {
        KVal *a = &acc[(g * t->tokens + j) * chains + (uint32_t)i % chains];
        *a = k_fma(b, w[i], contract_x(c, t->token[j], k0, i), *a);
      }
    }
  }
}

void contract_float_tile(Contract *c, const Tile *t, KVal *out) {
  KBuilder *b = &c->d.b;
  KVal acc[4 * TILE_GROUPS * TILE_TOKENS];
  uint32_t n = t->groups * t->tokens, chains = c->quant->packed_block == 1 ? 1 : 4;
  for (uint32_t i = 0; i < chains * n; i++) acc[i] = k_f32(b, 16, 0);
  int64_t step = c->quant->packed_block < 4 ? 4 : 32;
  int64_t whole = c->k / step * step;
  if (whole) {
    KVal k = k_for(b, "k", k_i64(b, 0), k_i64(b, whole), step, chains * n, acc);
    float_steps(c, t, k, (int)step, chains, acc);
    k_for_end(b, acc);
  }
  if (c->k > whole) float_steps(c, t, k_i64(b, whole), (int)(c->k - whole), chains, acc);
  for (uint32_t i = 0; i < n; i++) out[i] = joined(b, acc + chains * i, chains);
}
