/* Contractions in f32 for many tokens: float weights, one accumulator an output at a time.
 *
 * The four accumulators of an output (k mod 4, see contract_float.c) are computed one class after
 * the other, so that a tile needs a quarter of the registers and can hold four times the outputs;
 * each accumulator sees the same products in the same order, so the bits are those of the other
 * form. Right when the group's weights stay in a near cache for the four passes: many tokens, not
 * decode.
 *
 *   for q in 0..4:  for k in q..K step 4:  for each token: for each group:
 *     a[q] = fma(W[group, k], splat x[token, k], a[q])
 *   y = (a[0] + a[2]) + (a[1] + a[3])
 */
#include "passes/lower/contract.h"

enum { LINE = 64 }; /* bytes */

/* The four passes over K keep the machine's own prefetcher from following the weights out of
 * memory, and all of the next iteration's at once would hold up the loads of this one. So its lines
 * are asked for one by one, at the pace at which this iteration's tokens pass: line `step >>
 * shift`. */
static void prefetch_next(Contract *c, KVal k, int q) {
  KBuilder *b = &c->d.b;
  KVal step = k_op2(b, KOP_add, c->pace.step, k_i64(b, q * (c->k / 4)));
  step = k_op2(b, KOP_add, step, k_op2(b, KOP_lshr, k, k_i64(b, 2)));
  KVal line = k_op2(b, KOP_lshr, step, c->pace.shift);
  for (uint32_t p = 0; p < c->parts; p++) {
    KVal group = k_op2(b, KOP_add, c->pace.next, k_i64(b, (int64_t)p * c->part_groups));
    k_prefetch(b, k_at(k_at(k_addr(c->w), group, c->group_bytes), line, LINE));
  }
}

static void class_step(Contract *c, const Tile *t, KVal k, KVal *acc) {
  KBuilder *b = &c->d.b;
  KVal w[TILE_GROUPS];
  for (uint32_t g = 0; g < t->groups; g++) {
    KAddr at = k_at(k_at(k_addr(c->w), t->group[g], c->group_bytes), k, c->quant->packed_bytes);
    c->quant->unpack_floats(b, at, k_i64(b, 0), &w[g]);
  }
  for (uint32_t i = 0; i < t->tokens; i++) {
    KVal x = contract_x(c, t->token[i], k, 0);
    for (uint32_t g = 0; g < t->groups; g++)
      acc[g * t->tokens + i] = k_fma(b, w[g], x, acc[g * t->tokens + i]);
  }
}

void contract_class_tile(Contract *c, const Tile *t, KVal *out) {
  KBuilder *b = &c->d.b;
  KVal acc[4][TILE_GROUPS * TILE_TOKENS];
  uint32_t n = t->groups * t->tokens;
  for (int q = 0; q < 4; q++) {
    for (uint32_t i = 0; i < n; i++) acc[q][i] = k_f32(b, 16, 0);
    KVal k = k_for(b, "k", k_i64(b, q), k_i64(b, c->k), 4, n, acc[q]);
    prefetch_next(c, k, q);
    class_step(c, t, k, acc[q]);
    k_for_end(b, acc[q]);
  }
  for (uint32_t i = 0; i < n; i++)
    out[i] = k_op2(b, KOP_add, k_op2(b, KOP_add, acc[0][i], acc[2][i]),
                   k_op2(b, KOP_add, acc[1][i], acc[3][i]));
}
