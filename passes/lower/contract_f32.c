/* Contractions in f32 for many tokens: float weights, one accumulator an output.
 *
 * An output's products are added by fma in ascending k, as contract_float.c does it; here a tile
 * holds as many outputs as registers allow, so that each weight vector meets many tokens and each
 * broadcast several groups. Two groups by eight tokens reach 99 % of the fma peak of a Zen 5 from
 * its second cache.
 *
 *   for k in 0..K:  for each token: for each group:  a = fma(W[group, k], splat x[token, k], a)
 */
#include "passes/lower/contract.h"

enum { LINE = 64 }; /* bytes */

/* The iteration's own weights come out of a near cache; those of the next one are asked for
 * meanwhile. All at once would hold up the loads of this one, so it is line by line, at the pace at
 * which this iteration's tokens pass: line `step >> shift`, and one `half` of all further on, since
 * the steps of few tokens are fewer than the lines of a wide tile. */
static void prefetch_next(Contract *c, KVal k) {
  KBuilder *b = &c->d.b;
  KVal line = k_op2(b, KOP_lshr, k_op2(b, KOP_add, c->pace.step, k), c->pace.shift);
  for (uint32_t p = 0; p < c->parts; p++) {
    KVal group = k_op2(b, KOP_add, c->pace.next, k_i64(b, (int64_t)p * c->part_groups));
    KAddr at = k_at(k_at(k_addr(c->w), group, c->group_bytes), line, LINE);
    k_prefetch(b, at);
    if (c->pace.half) k_prefetch(b, k_off(at, LINE * c->pace.half));
  }
}

static void resident_step(Contract *c, const Tile *t, KVal k, KVal *acc) {
  KBuilder *b = &c->d.b;
  KVal w[TILE_GROUPS];
  for (uint32_t g = 0; g < t->groups; g++) {
    KAddr at = k_at(k_at(k_addr(c->w), t->group[g], c->group_bytes), k, c->quant->packed_bytes);
    quant_unpack_floats(c->quant, b, at, k_i64(b, 0), &w[g]);
  }
  for (uint32_t i = 0; i < t->tokens; i++) {
    KVal x = contract_x(c, t->token[i], k, 0);
    for (uint32_t g = 0; g < t->groups; g++)
      acc[g * t->tokens + i] = k_fma(b, w[g], x, acc[g * t->tokens + i]);
  }
}

void contract_resident_tile(Contract *c, const Tile *t, KVal *acc) {
  KBuilder *b = &c->d.b;
  uint32_t n = t->groups * t->tokens;
  for (uint32_t i = 0; i < n; i++) acc[i] = k_f32(b, 16, 0);
  KVal k = k_for(b, "k", k_i64(b, 0), k_i64(b, c->k), 1, n, acc);
  prefetch_next(c, k);
  resident_step(c, t, k, acc);
  k_for_end(b, acc);
}
