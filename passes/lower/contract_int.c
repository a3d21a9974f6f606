/* Integer weights: what a block of 32 along K adds to an output, however tokens meet it, and the
 * sums of one token.
 *
 *   for b in blocks carry acc:                      // ascending, one f32 accumulator an output
 *     for each group: codes, scale, min = unpack(W[group, b])
 *       hi = lo = 0;  for j in 0..8 (unrolled):     // dot4 of a code vector and a broadcast i32
 *         hi = dot4(code[j], x.hi[b, j], hi);  lo = dot4(code[j], x.lo[b, j], lo)
 *       i = 128 * hi + lo (- zero * sum[b]);        // exact in i32
 *       acc = fma(scale, i, acc);  acc = fma(min, sum[b], acc)
 *   y = acc * s
 *
 * With a scale for every 16, the block's two halves go through the last two lines of the loop one
 * after the other. Packed blocks of 256 are a loop over their eight blocks; unrolled, it would be
 * no faster and take the compiler thrice the time. Each output's order of additions, contract_add,
 * is the same in all forms of the class.
 */
#include "passes/lower/contract.h"

/* ---- one block of integer weights ---------------------------------------------------------- */

/* The exact sum of code * q over part p of a block for one token, as v16i32. */
static KVal block_product(Contract *c, const QuantInts *w, KAddr x, int p) {
  KBuilder *b = &c->d.b;
  KVal zero = k_int(b, KT(i32, 16), 0), hi = zero, lo = zero;
  int n = 8 / w->parts;
  for (int j = p * n; j < (p + 1) * n; j++) {
    hi = k_dot4(b, w->code[j], k_splat(b, k_load(b, KT(i32, 1), k_off(x, 4 * j))), hi, w->bits);
    if (c->act.planes2)
      lo = k_dot4(b, w->code[j], k_splat(b, k_load(b, KT(i32, 1), k_off(x, 32 + 4 * j))), lo,
                  w->bits);
  }
  if (!c->act.planes2) return hi;
  return k_op2(b, KOP_add, k_op2(b, KOP_shl, hi, k_int(b, KT(i32, 16), 7)), lo);
}

KVal contract_total(Contract *c, KAddr word, int parts, int part) {
  KBuilder *b = &c->d.b;
  KVal half = 0, sum = 0;
  KType t = c->words ? KT(f32, 1) : KT(i32, 1);
  if (parts > 1) half = k_load(b, t, k_off(word, c->act.halves));
  if (!half || part > 0) sum = k_load(b, t, k_off(word, c->act.sums));
  return k_splat(b, !half ? sum : part == 0 ? half : k_op2(b, KOP_sub, sum, half));
}

KVal contract_excess(Contract *c, int zero, KVal total) {
  return k_op2(&c->d.b, KOP_mul, total, k_int(&c->d.b, KT(i32, 16), zero));
}

BlockX contract_block_x(Contract *c, KAddr word, KVal total) {
  KBuilder *b = &c->d.b;
  BlockX x = {.total = total && !c->words ? k_cvt(b, total, K_f32) : total};
  if (c->act.planes2) return x;
  x.scale = k_splat(b, k_load(b, KT(f32, 1), k_off(word, c->act.scales)));
  if (total) x.total = k_op2(b, KOP_mul, x.total, x.scale);
  return x;
}

KVal contract_add(Contract *c, KVal acc, KVal product, KVal scale, KVal min, const BlockX *x) {
  KBuilder *b = &c->d.b;
  KVal f = 0;
  if (x->magic)
    f = k_op2(b, KOP_sub, k_bits(b, product, K_f32), x->magic);
  else
    f = k_cvt(b, product, K_f32);
  if (!scale) return k_fma(b, x->scale, f, acc);
  if (x->scale) f = k_op2(b, KOP_mul, f, x->scale);
  acc = k_fma(b, scale, f, acc);
  return min ? k_fma(b, min, x->total, acc) : acc;
}

KAddr contract_packed(const Contract *c, KVal group, KVal packed) {
  return k_at(k_at(k_addr(c->w), group, c->group_bytes), packed, c->block_bytes);
}

/* Of the lower half of a split weight. */
static int64_t lower_group_bytes(const Contract *c) {
  return (int64_t)quant_half_size(c->quant, c->quant->split->lower_bytes, 16, c->k);
}

static KAddr lower_packed(const Contract *c, KVal group, KVal packed) {
  KAddr row = k_at(k_addr(c->lower), group, lower_group_bytes(c));
  return k_at(row, packed, c->quant->split->lower_bytes);
}

void contract_unpack(Contract *c, KVal group, KVal packed, KVal sub, QuantInts *out) {
  KBuilder *b = &c->d.b;
  KAddr at = contract_packed(c, group, packed);
  if (!c->split) {
    c->quant->unpack_ints(b, at, sub, out);
    return;
  }
  KAddr lower = c->lower ? lower_packed(c, group, packed) : at;
  c->quant->split->unpack_ints(b, at, c->lower ? &lower : NULL, sub, out);
}

/* Codes that lack their low bits are taken for the middle of what those can be: for n bits twice
 * the code less (2 zero - 2^n + 1), and the product is twice as large. */
static KVal middle_product(Contract *c, const QuantInts *w, KVal product, KVal total) {
  KBuilder *b = &c->d.b;
  int zero = 2 * w->zero - (1 << w->dropped) + 1;
  product = k_op2(b, KOP_shl, product, k_int(b, KT(i32, 16), w->dropped + 1));
  return k_op2(b, KOP_sub, product, contract_excess(c, zero, total));
}

/* One block of one group for one token: the accumulator's next value. */
static KVal block_step(Contract *c, const QuantInts *w, KVal block, KVal token, KVal acc) {
  KBuilder *b = &c->d.b;
  KAddr row = k_at(k_addr(c->x), token, c->act.row_bytes), word = k_at(row, block, 4);
  for (int p = 0; p < w->parts; p++) {
    KVal i = block_product(c, w, k_at(row, block, c->act.block_bytes), p), total = 0;
    if (w->zero || w->min[p]) total = contract_total(c, word, w->parts, p);
    if (w->dropped)
      i = middle_product(c, w, i, total);
    else if (w->zero)
      i = k_op2(b, KOP_sub, i, contract_excess(c, w->zero, total));
    BlockX x = contract_block_x(c, word, w->min[p] ? total : 0);
    acc = contract_add(c, acc, i, w->scale[p], w->min[p], &x);
  }
  return acc;
}

/* A matrix as prefetching sees it: packed blocks of 16 rows, one group after the other. */
typedef struct Stream {
  int64_t block, group, ahead; /* bytes */
} Stream;

/* Prefetches the share of block `sub` of packed block `packed`, at `at`, that lies s->ahead bytes
 * ahead. Behind its own group a stream goes on `run` groups further, since the tile holds those
 * between. */
static void prefetch_stream(Contract *c, const Tile *t, const Stream *s, KAddr at, KVal packed,
                            KVal sub) {
  KBuilder *b = &c->d.b;
  int64_t subs = quant_subs(c->quant), share = s->block / subs, between = (t->run - 1) * s->group;
  if (subs > 1) at = k_at(at, sub, share);
  if (between) {
    int64_t own = (s->group - s->ahead) / s->block;
    KVal past = k_op2(b, KOP_le, k_i64(b, own < 0 ? 0 : own), packed);
    at = k_at(at, k_select(b, past, k_i64(b, between), k_i64(b, 0)), 1);
  }
  for (int64_t i = 0; i < share; i += 64) k_prefetch(b, k_off(at, s->ahead + i));
}

/* Of a split weight both halves, at the same time ahead. */
static void prefetch_block(Contract *c, const Tile *t, KVal group, KVal packed, KVal sub) {
  if (!c->prefetch) return;
  Stream s = {c->block_bytes, c->group_bytes, c->prefetch};
  prefetch_stream(c, t, &s, contract_packed(c, group, packed), packed, sub);
  if (!c->lower) return;
  Stream low = {c->quant->split->lower_bytes, lower_group_bytes(c), 0};
  low.ahead = c->prefetch * low.block / s.block / 64 * 64;
  prefetch_stream(c, t, &low, lower_packed(c, group, packed), packed, sub);
}

/* Block `sub` of packed block `packed` of every group. */
static void tile_block(Contract *c, const Tile *t, KVal packed, KVal sub, KVal *acc) {
  KBuilder *b = &c->d.b;
  int64_t subs = quant_subs(c->quant);
  KVal block = packed;
  if (subs > 1) block = k_op2(b, KOP_add, k_op2(b, KOP_mul, packed, k_i64(b, subs)), sub);
  for (uint32_t g = 0; g < t->groups; g++) {
    QuantInts w;
    contract_unpack(c, t->group[g], packed, sub, &w);
    prefetch_block(c, t, t->group[g], packed, sub);
    acc[g] = block_step(c, &w, block, t->token[0], acc[g]);
  }
}

void contract_one_token_sums(Contract *c, const Tile *t, KVal *acc) {
  KBuilder *b = &c->d.b;
  uint32_t n = t->groups;
  for (uint32_t i = 0; i < n; i++) acc[i] = k_f32(b, 16, 0);
  int64_t subs = quant_subs(c->quant), whole = c->act.blocks / subs, rest = c->act.blocks % subs;
  if (whole) {
    KVal packed = k_for(b, "b", k_i64(b, 0), k_i64(b, whole), 1, n, acc);
    KVal sub = k_i64(b, 0);
    if (subs > 1) sub = k_for(b, "s", k_i64(b, 0), k_i64(b, subs), 1, n, acc);
    tile_block(c, t, packed, sub, acc);
    if (subs > 1) k_for_end(b, acc);
    k_for_end(b, acc);
  }
  for (int64_t i = 0; i < rest; i++) tile_block(c, t, k_i64(b, whole), k_i64(b, i), acc);
  for (uint32_t i = 0; c->act.planes2 && i < n; i++) {
    KAddr row = k_at(k_addr(c->x), t->token[0], c->act.row_bytes);
    KVal s = k_load(b, KT(f32, 1), k_off(row, c->act.scales));
    if (c->split && !c->lower) s = k_op2(b, KOP_mul, s, k_f32(b, 1, 0.5)); /* see middle_product */
    acc[i] = k_op2(b, KOP_mul, acc[i], k_splat(b, s));
  }
}
