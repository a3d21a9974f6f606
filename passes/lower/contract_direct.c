/* Integer contractions of many tokens whose weights are met where they stand.
 *
 * A format whose codes lie in memory as dot4 reads them (QuantDef.direct) needs no panel: copying
 * it takes a sixth of an encoder's linears, since 64 tokens are few to share it. Tiles are those of
 * contract_panel.c, and so is every output's order of additions; what differs is where a code
 * vector comes from, and that sums stay in registers from the first block to the results.
 *
 *   for tile of tokens x groups:  acc = 0
 *     for b in blocks carry acc:
 *       product = code[b] . x[b] - zero * sum[b];  acc = fma(scale, product, acc)
 *       ask for a line of the next par iteration's weights
 *     y = acc (+ bias), the cluster's epilogue, the stores
 *
 * Where x's scales are powers of two (act i8p) a sum begins at the bits of 2^e * 1.5 * 2^23: its
 * low bits count in steps of 2^e, below 2^22 of them either way, so that its bits less that number
 * are 2^e times the integer, exactly what a conversion and a product give. A subtraction takes none
 * of the ports that dot4 and fma share (Zen 5): linears are 8 % faster.
 *
 * The groups' weights come from the second cache, tile after tile; cutting K so that they would
 * stay in the first gains nothing (Zen 5, K = 1536).
 */
#include "passes/lower/contract.h"

enum { LINE = 64, LANES = 16 };

typedef struct Direct {
  Tile tile;       /* its groups */
  KVal begin, end; /* tokens */
  int64_t ahead;   /* bytes to the next iteration's group in the place of one of this */
  uint32_t most;   /* tokens of a tile */
} Direct;

static KAddr block_of(Contract *c, const Direct *s, uint32_t group, KVal block) {
  KAddr row = k_at(k_addr(c->w), s->tile.group[group], c->group_bytes);
  return k_at(row, block, c->quant->packed_bytes);
}

/* Tile number n asks for line n / 2 of the next iteration's blocks, of every second group: 18 tiles
 * have asked for all, and no block waits for many lines at once. */
static void prefetch_lines(Contract *c, const Direct *s, KVal block, KVal n) {
  KBuilder *b = &c->d.b;
  uint32_t half = (s->tile.groups + 1) / 2;
  KVal odd = k_op2(b, KOP_and, n, k_i64(b, 1)), line = k_op2(b, KOP_lshr, n, k_i64(b, 1));
  for (uint32_t g = 0; g < half; g++) {
    KAddr at = k_at(block_of(c, s, g, block), odd, half * c->group_bytes);
    k_prefetch(b, k_off(k_at(at, line, LINE), s->ahead));
  }
}

/* What a block's sums of one token begin at, and what they are multiplied by or taken from. */
static KVal block_start(Contract *c, KAddr word, int zero, BlockX *x) {
  KBuilder *b = &c->d.b;
  if (c->act.powers && zero == ACT_ZERO) {
    *x = (BlockX){.magic = k_splat(b, k_load(b, KT(f32, 1), k_off(word, c->act.magics)))};
    return k_splat(b, k_load(b, KT(i32, 1), k_off(word, c->act.starts)));
  }
  *x = contract_block_x(c, word, 0);
  KVal excess = contract_excess(c, zero, contract_total(c, word, 1, 0));
  return k_op2(b, KOP_sub, k_int(b, KT(i32, LANES), 0), excess);
}

/* One block of every output of a tile. */
static void direct_block(Contract *c, const Direct *s, const Tile *t, KVal block, KVal *acc) {
  KBuilder *b = &c->d.b;
  KAddr x[TILE_TOKENS];
  BlockX of[TILE_TOKENS];
  KVal product[TILE_GROUPS * TILE_TOKENS], scale[TILE_GROUPS];
  QuantInts form = quant_form(c->quant);
  BlockCodes w = {.groups = t->groups, .bits = form.bits, .parts = form.parts};
  for (uint32_t g = 0; g < t->groups; g++) w.at[g] = block_of(c, s, g, block);
  for (uint32_t k = 0; k < t->tokens; k++) {
    KAddr row = k_at(k_addr(c->x), t->token[k], c->act.row_bytes);
    x[k] = k_at(row, block, c->act.block_bytes);
    KVal start = block_start(c, k_at(row, block, 4), form.zero, &of[k]);
    for (uint32_t g = 0; g < t->groups; g++) product[g * t->tokens + k] = start;
  }
  contract_products(c, &w, 0, t->tokens, x, product);
  for (uint32_t g = 0; g < t->groups; g++) {
    QuantInts of_group;
    c->quant->unpack_ints(b, w.at[g], k_i64(b, 0), &of_group);
    scale[g] = of_group.scale[0];
  }
  for (uint32_t k = 0; k < t->tokens; k++) {
    for (uint32_t g = 0; g < t->groups; g++) {
      KVal *to = &acc[g * t->tokens + k];
      *to = contract_add(c, *to, product[g * t->tokens + k], scale[g], 0, &of[k]);
    }
  }
}

static void direct_tile(Contract *c, const Direct *s, const Tile *t, KVal number) {
  KBuilder *b = &c->d.b;
  KVal acc[TILE_GROUPS * TILE_TOKENS];
  uint32_t n = t->groups * t->tokens;
  for (uint32_t i = 0; i < n; i++) acc[i] = k_f32(b, LANES, 0);
  KVal block = k_for(b, "b", k_i64(b, 0), k_i64(b, c->act.blocks), 1, n, acc);
  prefetch_lines(c, s, block, number);
  direct_block(c, s, t, block, acc);
  k_for_end(b, acc);
  for (uint32_t set = 0; set * c->parts < t->groups; set++)
    for (uint32_t i = 0; i < t->tokens; i++) contract_finish(c, t, set, i, acc);
}

/* Tokens lo .. hi, `tokens` at a time. */
static void direct_loop(Contract *c, const Direct *s, KVal lo, KVal hi, uint32_t tokens) {
  KBuilder *b = &c->d.b;
  Tile t = s->tile;
  t.tokens = tokens;
  KVal at = contract_each_tile(b, lo, hi, tokens, t.token);
  KVal done = k_op2(b, KOP_sub, at, s->begin);
  direct_tile(c, s, &t, k_op2(b, KOP_div, done, k_i64(b, s->most)));
  k_for_end(b, NULL);
}

/* Tokens s->begin .. in tiles of s->most; returns the first that is left. One left over would wait
 * for its own few chains: then a tile's worth more are left, for two smaller ones. */
static KVal whole_tiles(Contract *c, const Direct *s) {
  KBuilder *b = &c->d.b;
  KVal tile = k_i64(b, s->most), n = k_op2(b, KOP_sub, s->end, s->begin);
  KVal whole = k_op2(b, KOP_div, n, tile);
  if (s->most > 2) {
    KVal alone = k_op2(b, KOP_eq, k_op2(b, KOP_rem, n, tile), k_i64(b, 1));
    KVal fewer = k_op2(b, KOP_max, k_op2(b, KOP_sub, whole, k_i64(b, 1)), k_i64(b, 0));
    whole = k_select(b, alone, fewer, whole);
  }
  KVal hi = k_op2(b, KOP_add, s->begin, k_op2(b, KOP_mul, whole, tile));
  direct_loop(c, s, s->begin, hi, s->most);
  return hi;
}

static void direct_tokens(Contract *c, const Direct *s) {
  KBuilder *b = &c->d.b;
  KVal lo = whole_tiles(c, s);
  if (s->most > 2) {
    KVal hi = contract_whole_tiles(b, lo, s->end, s->most - 1);
    direct_loop(c, s, lo, hi, s->most - 1);
    lo = hi;
  }
  if (s->most > 1) direct_loop(c, s, lo, s->end, 1);
}

bool contract_is_direct(const Contract *c) {
  const LowerTarget *target = c->d.l->target;
  return c->quant->direct && !c->split && !c->act.planes2 && !target->mma &&
         c->parts <= target->group_tile;
}

void contract_direct(Contract *c, const Tile *groups, KVal begin, KVal end) {
  const LowerTarget *target = c->d.l->target;
  uint32_t most = contract_clamped(target->group_tile, TILE_GROUPS) / c->parts * c->parts;
  uint32_t outputs = contract_outputs(c);
  for (uint32_t g = 0; g < groups->groups; g += most) {
    uint32_t left = groups->groups - g;
    Direct s = {.begin = begin, .end = end, .ahead = groups->groups / c->parts * c->group_bytes};
    s.tile.groups = left < most ? left : most;
    for (uint32_t i = 0; i < s.tile.groups; i++) s.tile.group[i] = groups->group[g + i];
    s.most = contract_clamped(outputs / s.tile.groups, TILE_TOKENS);
    direct_tokens(c, &s);
  }
}
