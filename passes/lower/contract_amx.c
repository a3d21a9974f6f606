/* Integer contractions of many tokens by tile products: how a panel is passed where mma is a unit.
 *
 * A block of 32 of 16 rows lies in the panel as the b of an mma does, a block of a plane of 16
 * tokens as the a: one product gives 16 x 16 sums. The f32 accumulators of 16 tokens by one group
 * stay in registers while the blocks of the panel pass; products go through a local, two sets of
 * them, so that those of the next block are under way while this one's are scaled:
 *
 *   for 16 tokens:  for group of the panel:  acc = sums[tokens, group]
 *     hi[0], lo[0] = x.hi[0] * codes[0], x.lo[0] * codes[0]
 *     for b in 0 .. blocks - 1 carry acc:
 *       hi[b + 1], lo[b + 1] = ..;  for each token: acc = fma(scale, 128 * hi[b] + lo[b], acc) ..
 *     the last block's;  sums[tokens, group] = acc
 *
 * The integers and the order of additions are those of contract_panel.c, so the bits are too. What
 * is left of a chunk, fewer than 16 tokens, passes there. With a scale for every 16 a block is two
 * products of half the depth.
 */
#include "passes/lower/contract.h"

enum { TOKENS = 16, LANES = 16, TILE = TOKENS * LANES, HALF_PLANE = 16, WORDS = 8, VECTOR = 64 };

/* 16 tokens by one group of the panel. */
typedef struct MmaTile {
  Contract *c;
  const PanelPass *s;
  KVal token, group; /* the first token; the group, counted in the panel */
} MmaTile;

/* Products of one block: of each plane, of each part of a scale. */
static int64_t products_of(const Contract *c, const Panel *p) {
  return (c->act.planes2 ? 2 : 1) * p->parts;
}

int64_t mma_local_bytes(const Contract *c, const Panel *p) {
  return c->d.l->target->mma ? 2 * products_of(c, p) * TILE * 4 : 0;
}

void mma_begin(Contract *c, PanelPass *s) {
  int64_t bytes = mma_local_bytes(c, &s->panel);
  if (bytes) s->products = k_local(&c->d.b, "products", K_i32, bytes / 4);
}

/* Where the products of a block are; `of` counts planes within parts. */
static KAddr product_at(const MmaTile *m, KVal block, int64_t of) {
  const Panel *p = &m->s->panel;
  KVal set = k_op2(&m->c->d.b, KOP_and, block, k_i64(&m->c->d.b, 1));
  return k_off(k_at(k_addr(m->s->products), set, products_of(m->c, p) * TILE), of * TILE);
}

/* The first token's row of x at a block, its part `offset`, with `size` bytes a block. */
static KAddr row_at(const MmaTile *m, KVal block, int64_t size, int64_t offset) {
  KVal along = k_op2(&m->c->d.b, KOP_add, m->s->first, block);
  KAddr row = k_at(k_addr(m->c->x), m->token, m->c->act.row_bytes);
  return k_off(k_at(row, along, size), offset);
}

static KAddr of_group(const MmaTile *m, KAddr of_first) {
  return k_at(of_first, m->group, panel_group_bytes(&m->s->panel));
}

static void multiply(const MmaTile *m, KVal block) {
  Contract *c = m->c;
  const Panel *p = &m->s->panel;
  int64_t planes = c->act.planes2 ? 2 : 1;
  KMma size = {.m = TOKENS, .n = 1, .k = WORDS / p->parts, .row = c->act.row_bytes};
  for (int part = 0; part < p->parts; part++)
    for (int64_t plane = 0; plane < planes; plane++) {
      KAddr codes = of_group(m, panel_codes(p, 0, block));
      KAddr x = row_at(m, block, c->act.block_bytes, 32 * plane + HALF_PLANE * part);
      k_mma(&c->d.b, product_at(m, block, part * planes + plane), x,
            k_off(codes, part * size.k * VECTOR), size);
    }
}

/* The exact sum of part `part` of a block for token k: 128 * hi + lo - zero * total. */
static KVal product_of(const MmaTile *m, KVal block, int part, int k, KVal total) {
  KBuilder *b = &m->c->d.b;
  int zero = m->s->panel.zero;
  KVal i;
  if (m->c->act.planes2) {
    KVal hi = k_load(b, KT(i32, 16), k_off(product_at(m, block, 2 * part), k * LANES));
    KVal lo = k_load(b, KT(i32, 16), k_off(product_at(m, block, 2 * part + 1), k * LANES));
    i = k_op2(b, KOP_add, k_op2(b, KOP_shl, hi, k_int(b, KT(i32, 16), 7)), lo);
  } else {
    i = k_load(b, KT(i32, 16), k_off(product_at(m, block, part), k * LANES));
  }
  if (!zero) return i;
  return k_op2(b, KOP_sub, i, contract_excess(m->c, zero, total));
}

/* A block's products to the accumulators of its tokens. */
static void add_products(const MmaTile *m, KVal block, KVal *acc) {
  Contract *c = m->c;
  KBuilder *b = &c->d.b;
  const Panel *p = &m->s->panel;
  KAddr word = row_at(m, block, 4, 0);
  for (int part = 0; part < p->parts; part++) {
    KVal scale = 0, min = 0;
    if (!p->folded) scale = k_load(b, KT(f32, 16), of_group(m, panel_scale(p, 0, block, part)));
    if (p->minima) min = k_load(b, KT(f32, 16), of_group(m, panel_min(p, 0, block, part)));
    for (int k = 0; k < TOKENS; k++) {
      KAddr at = k_off(word, k * c->act.row_bytes);
      KVal total = p->zero || min ? contract_total(c, at, p->parts, part) : 0;
      BlockX x = contract_block_x(c, at, min ? total : 0);
      acc[k] = contract_add(c, acc[k], product_of(m, block, part, k, total), scale, min, &x);
    }
  }
}

static void pass_tile(const MmaTile *m) {
  KBuilder *b = &m->c->d.b;
  const PanelPass *s = m->s;
  KVal acc[TOKENS], zero = k_i64(b, 0), one = k_i64(b, 1), last = k_op2(b, KOP_sub, s->blocks, one);
  KAddr sums = k_at(panel_sum(s, 0, m->token), m->group, LANES);
  for (int k = 0; k < TOKENS; k++)
    acc[k] = panel_first(b, s, k_off(sums, k * LANES * s->panel.groups));
  multiply(m, zero);
  KVal block = k_for(b, "b", zero, last, 1, TOKENS, acc);
  multiply(m, k_op2(b, KOP_add, block, one));
  add_products(m, block, acc);
  k_for_end(b, acc);
  add_products(m, last, acc);
  KAddr scale = of_group(m, panel_row_scale(&s->panel, 0));
  for (int k = 0; k < TOKENS; k++)
    panel_last(b, s, scale, k_off(sums, k * LANES * s->panel.groups), acc[k]);
}

KVal mma_pass_tokens(Contract *c, const PanelPass *s) {
  KBuilder *b = &c->d.b;
  if (!s->products) return s->token;
  MmaTile m = {.c = c, .s = s};
  KVal n = k_op2(b, KOP_sub, s->end, s->token);
  KVal end = k_op2(b, KOP_add, s->token, k_op2(b, KOP_and, n, k_i64(b, -TOKENS)));
  m.token = k_for(b, "t", s->token, end, TOKENS, 0, NULL);
  m.group = k_for(b, "g", k_i64(b, 0), k_i64(b, s->panel.groups), 1, 0, NULL);
  pass_tile(&m);
  k_for_end(b, NULL);
  k_for_end(b, NULL);
  return end;
}
