/* Integer contractions of many tokens: weights are unpacked once into a panel that all tokens pass.
 *
 * A par iteration is a few groups of 16 rows. For a chunk of tokens and a chunk of blocks along K
 * the groups' blocks are unpacked into a local (codes as dot4 wants them, scales and minima as
 * f32), which then lies in the first cache; tiles of tokens meet it, and the f32 sums of (token,
 * row) wait in another local from one chunk of K to the next, to the bit what they were:
 *
 *   for chunk of tokens:  sums = 0
 *     for chunk of K:  panel = unpack(W[groups, chunk])
 *       for tile of tokens x groups:  acc = sums[tile]
 *         for b in blocks of the panel carry acc:        // of all outputs of the tile
 *           hi = 0;  lo = -zero * sum[b]
 *           for j in 0..8 (unrolled):
 *             hi = dot4(code[j], x.hi[b, j], hi);  lo = dot4(code[j], x.lo[b, j], lo)
 *           acc = fma(scale, 128 * hi + lo, acc);  acc = fma(min, sum[b], acc)
 *         sums[tile] = acc
 *     for each token:  y = sums * s (+ bias), the cluster's epilogue, the stores
 *
 * j is the outer loop of a tile, so that one code vector is live a group and one broadcast a token;
 * each output's order of additions is that of contract_int.c. With a scale for every 16 the line of
 * fma follows each half of the codes, with its own hi and lo.
 *
 * Where the target has no product of bytes with sums of 32 bits (`panel_words`), x comes as words
 * and the panel holds words less `zero`; one group of every part at a time, since a code takes
 * twice the room and its tile is one group of many tokens:
 *
 *       for j in 0..16 carry sum:  sum = dot2(code[j], x[b, j], sum)
 */
#include "passes/lower/contract.h"

#include <string.h>

enum { VECTOR = 64, LOCAL_BYTES = 65536, LANES = 16 };

/* ---- tokens in tiles ------------------------------------------------------------------------ */

KVal contract_each_tile(KBuilder *b, KVal lo, KVal hi, uint32_t n, KVal *token) {
  KVal at = k_for(b, "t", lo, hi, n, 0, NULL);
  for (uint32_t i = 0; i < n; i++) token[i] = k_op2(b, KOP_add, at, k_i64(b, i));
  return at;
}

KVal contract_whole_tiles(KBuilder *b, KVal lo, KVal hi, uint32_t n) {
  KVal tile = k_i64(b, n), whole = k_op2(b, KOP_div, k_op2(b, KOP_sub, hi, lo), tile);
  return k_op2(b, KOP_add, lo, k_op2(b, KOP_mul, whole, tile));
}

/* ---- a tile of tokens by groups ------------------------------------------------------------ */

/* The groups of a tile: `groups` of the panel's, from `group` on. */
typedef struct PanelTile {
  uint32_t group, groups, tokens;
  KVal token[TILE_TOKENS];
} PanelTile;

enum { PANEL_OUTPUTS = TILE_GROUPS * TILE_TOKENS };

KAddr panel_sum(const PanelPass *s, uint32_t group, KVal token) {
  KAddr row = k_at(k_addr(s->sums), token, s->panel.groups * LANES);
  return k_off(k_at(row, s->token, -(int64_t)s->panel.groups * LANES), group * LANES);
}

/* x.hi or x.lo at 4 bytes of one token, in all lanes. */
static KVal four_codes(Contract *c, KAddr x, int64_t offset) {
  KBuilder *b = &c->d.b;
  return k_splat(b, k_load(b, KT(i32, 1), k_off(x, offset)));
}

void contract_products(Contract *c, const BlockCodes *w, int part, uint32_t tokens, const KAddr *x,
                       KVal *sum) {
  KBuilder *b = &c->d.b;
  int n = 8 / w->parts;
  uint32_t outputs = w->groups * tokens;
  KVal hi[PANEL_OUTPUTS];
  for (uint32_t i = 0; i < outputs; i++) hi[i] = k_int(b, KT(i32, 16), 0);
  for (int j = part * n; j < (part + 1) * n; j++) {
    KVal code[TILE_GROUPS];
    for (uint32_t g = 0; g < w->groups; g++)
      code[g] = k_load(b, KT(i32, 16), k_off(w->at[g], j * VECTOR));
    for (uint32_t k = 0; k < tokens; k++) {
      if (c->act.planes2) {
        KVal x_hi = four_codes(c, x[k], 4 * j);
        for (uint32_t g = 0; g < w->groups; g++) {
          KVal *to = &hi[g * tokens + k];
          *to = k_dot4(b, code[g], x_hi, *to, w->bits);
        }
      }
      KVal x_lo = four_codes(c, x[k], (c->act.planes2 ? 32 : 0) + 4 * j);
      for (uint32_t g = 0; g < w->groups; g++) {
        KVal *to = &sum[g * tokens + k];
        *to = k_dot4(b, code[g], x_lo, *to, w->bits);
      }
    }
  }
  if (!c->act.planes2) return;
  for (uint32_t i = 0; i < outputs; i++)
    sum[i] = k_op2(b, KOP_add, k_op2(b, KOP_shl, hi[i], k_int(b, KT(i32, 16), 7)), sum[i]);
}

/* Of every output of the tile: `block` counts in the panel, `x` are the tokens' blocks. */
static void tile_products(Contract *c, const PanelPass *s, const PanelTile *t, int part, KVal block,
                          const KAddr *x, KVal *sum) {
  const Panel *p = &s->panel;
  BlockCodes w = {.groups = t->groups, .bits = p->bits, .parts = p->parts};
  for (uint32_t g = 0; g < t->groups; g++) w.at[g] = panel_codes(p, t->group + g, block);
  contract_products(c, &w, part, t->tokens, x, sum);
}

/* Step j of the same where codes and x are words: two of each. */
static void word_step(Contract *c, const KAddr *code_at, const KAddr *x, const PanelTile *t, KVal j,
                      KVal *sum) {
  KBuilder *b = &c->d.b;
  KVal code[TILE_GROUPS];
  for (uint32_t g = 0; g < t->groups; g++)
    code[g] = k_load(b, KT(i32, 16), k_at(code_at[g], j, VECTOR));
  for (uint32_t k = 0; k < t->tokens; k++) {
    KVal two = four_codes(c, k_at(x[k], j, 4), 0);
    for (uint32_t g = 0; g < t->groups; g++) {
      KVal *to = &sum[g * t->tokens + k];
      *to = k_dot2(b, code[g], two, *to);
    }
  }
}

/* A loop, not unrolled: of a long block LLVM makes low halves of all values first, with every
 * broadcast spilled for the high ones (17 %). Its first step stands before it, where sums are 0 and
 * nothing is to be added (3 %). */
static void tile_word_products(Contract *c, const PanelPass *s, const PanelTile *t, int part,
                               KVal block, const KAddr *x, KVal *sum) {
  KBuilder *b = &c->d.b;
  const Panel *p = &s->panel;
  int n = 16 / p->parts;
  KAddr code[TILE_GROUPS];
  for (uint32_t g = 0; g < t->groups; g++) code[g] = panel_codes(p, t->group + g, block);
  KVal first = k_i64(b, part * n);
  word_step(c, code, x, t, first, sum);
  KVal j = k_for(b, "j", k_i64(b, part * n + 1), k_i64(b, (part + 1) * n), 1, t->groups * t->tokens,
                 sum);
  word_step(c, code, x, t, j, sum);
  k_for_end(b, sum);
}

/* A block's scales; 0 where folded rows have theirs behind the panel. */
static KVal panel_scales(KBuilder *b, const Panel *p, uint32_t group, KVal block, int part) {
  return p->folded ? 0 : k_load(b, KT(f32, LANES), panel_scale(p, group, block, part));
}

/* One block of the panel for every output of the tile. */
static void tile_block(Contract *c, const PanelPass *s, const PanelTile *t, KVal block, KVal *acc) {
  KBuilder *b = &c->d.b;
  const Panel *p = &s->panel;
  KVal along = k_op2(b, KOP_add, s->first, block); /* in the row */
  KAddr x[TILE_TOKENS], word[TILE_TOKENS];
  for (uint32_t k = 0; k < t->tokens; k++) {
    KAddr row = k_at(k_addr(c->x), t->token[k], c->act.row_bytes);
    x[k] = k_at(row, along, c->act.block_bytes);
    word[k] = k_at(row, along, 4);
  }
  /* The next tile's x: short runs of rows, which the machine's own prefetcher does not see coming.
   */
  for (uint32_t k = 0; p->words && k < t->tokens; k++)
    k_prefetch(b, k_off(x[k], t->tokens * c->act.row_bytes));
  for (int part = 0; part < p->parts; part++) {
    KVal product[PANEL_OUTPUTS], total[TILE_TOKENS] = {0};
    for (uint32_t k = 0; k < t->tokens; k++) {
      KVal start = k_int(b, KT(i32, 16), 0);
      bool excess = p->zero && !p->words;
      if (excess) total[k] = contract_total(c, word[k], p->parts, part);
      if (excess) start = k_op2(b, KOP_sub, start, contract_excess(c, p->zero, total[k]));
      for (uint32_t g = 0; g < t->groups; g++) product[g * t->tokens + k] = start;
    }
    if (p->words)
      tile_word_products(c, s, t, part, block, x, product);
    else
      tile_products(c, s, t, part, block, x, product);
    for (uint32_t k = 0; k < t->tokens; k++) {
      if (p->minima && !total[k]) total[k] = contract_total(c, word[k], p->parts, part);
      BlockX of = contract_block_x(c, word[k], p->minima ? total[k] : 0);
      for (uint32_t g = 0; g < t->groups; g++) {
        KVal scale = panel_scales(b, p, t->group + g, block, part), min = 0;
        if (p->minima) min = k_load(b, KT(f32, 16), panel_min(p, t->group + g, block, part));
        KVal *to = &acc[g * t->tokens + k];
        *to = contract_add(c, *to, product[g * t->tokens + k], scale, min, &of);
      }
    }
  }
}

KVal panel_first(KBuilder *b, const PanelPass *s, KAddr sum) {
  return s->panel.folded ? k_f32(b, LANES, 0) : k_load(b, KT(f32, LANES), sum);
}

void panel_last(KBuilder *b, const PanelPass *s, KAddr scale, KAddr sum, KVal acc) {
  if (s->panel.folded)
    acc = k_fma(b, k_load(b, KT(f32, LANES), scale), acc, k_load(b, KT(f32, LANES), sum));
  k_store(b, acc, sum);
}

static void pass_tile(Contract *c, const PanelPass *s, const PanelTile *t) {
  KBuilder *b = &c->d.b;
  KVal acc[PANEL_OUTPUTS];
  uint32_t n = t->groups * t->tokens;
  for (uint32_t i = 0; i < n; i++)
    acc[i] = panel_first(b, s, panel_sum(s, t->group + i / t->tokens, t->token[i % t->tokens]));
  KVal block = k_for(b, "b", k_i64(b, 0), s->blocks, 1, n, acc);
  tile_block(c, s, t, block, acc);
  k_for_end(b, acc);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t group = t->group + i / t->tokens;
    KAddr sum = panel_sum(s, group, t->token[i % t->tokens]);
    panel_last(b, s, panel_row_scale(&s->panel, group), sum, acc[i]);
  }
}

/* Tokens lo .. hi, `tokens` at a time, meet `groups` of the panel's groups from `group` on. */
static void pass_loop(Contract *c, const PanelPass *s, KVal lo, KVal hi, uint32_t group,
                      uint32_t groups, uint32_t tokens) {
  KBuilder *b = &c->d.b;
  PanelTile t = {.group = group, .groups = groups, .tokens = tokens};
  contract_each_tile(b, lo, hi, tokens, t.token);
  pass_tile(c, s, &t);
  k_for_end(b, NULL);
}

uint32_t contract_outputs(const Contract *c) {
  const LowerTarget *target = c->d.l->target;
  uint32_t outputs = contract_clamped(target->group_tile, TILE_GROUPS) *
                     contract_clamped(target->token_tile, TILE_TOKENS);
  if (target->panel_words && !c->words) outputs = (outputs + 1) / 2; /* no loop of dot2 */
  return c->act.planes2 ? outputs : outputs + outputs / 2; /* two registers an output, not three */
}

/* All tokens of the chunk past the panel. */
static void pass_tokens(Contract *c, const PanelPass *s) {
  KBuilder *b = &c->d.b;
  const LowerTarget *target = c->d.l->target;
  KVal first = mma_pass_tokens(c, s);
  uint32_t most = contract_clamped(target->group_tile, TILE_GROUPS);
  uint32_t outputs = contract_outputs(c);
  for (uint32_t g = 0; g < s->panel.groups; g += most) {
    uint32_t groups = s->panel.groups - g < most ? s->panel.groups - g : most;
    uint32_t tokens = contract_clamped(outputs / groups, TILE_TOKENS);
    KVal at = first;
    for (; tokens > 1; tokens = s->panel.words && tokens > 2 ? 2 : 1) {
      KVal end = contract_whole_tiles(b, at, s->end, tokens);
      pass_loop(c, s, at, end, g, groups, tokens);
      at = end;
    }
    pass_loop(c, s, at, s->end, g, groups, 1);
  }
}

/* ---- the loops around ---------------------------------------------------------------------- */

static void clear_sums(Contract *c, const PanelPass *s) {
  KBuilder *b = &c->d.b;
  KVal t = k_for(b, "t", s->token, s->end, 1, 0, NULL);
  for (uint32_t g = 0; g < s->panel.groups; g++) k_store(b, k_f32(b, LANES, 0), panel_sum(s, g, t));
  k_for_end(b, NULL);
}

/* From sums to results, token by token. `t` holds the groups. */
static void finish_tokens(Contract *c, const PanelPass *s, Tile *t) {
  KBuilder *b = &c->d.b;
  t->tokens = 1;
  t->token[0] = k_for(b, "t", s->token, s->end, 1, 0, NULL);
  KVal acc[TILE_GROUPS], scale = 0;
  KAddr row = k_at(k_addr(c->x), t->token[0], c->act.row_bytes);
  if (c->act.planes2) scale = k_splat(b, k_load(b, KT(f32, 1), k_off(row, c->act.scales)));
  for (uint32_t g = 0; g < t->groups; g++) {
    acc[g] = k_load(b, KT(f32, LANES), panel_sum(s, g, t->token[0]));
    if (scale) acc[g] = k_op2(b, KOP_mul, acc[g], scale);
  }
  for (uint32_t set = 0; set * c->parts < t->groups; set++) contract_finish(c, t, set, 0, acc);
  k_for_end(b, NULL);
}

/* Tokens that meet one unpacking, at most: as many as the target says and sums have room for. */
static int64_t chunk_of(const Contract *c, const Panel *p) {
  int64_t left = LOCAL_BYTES - p->groups * panel_group_bytes(p) - mma_local_bytes(c, p);
  int64_t room = left / (p->groups * VECTOR), most = c->d.l->target->panel_tokens;
  BUG_IF(room < 1, "a panel of %lld blocks leaves no room for sums", (long long)p->blocks);
  return most < 1 ? 1 : most > room ? room : most;
}

/* How many tokens the chunks have, all but the last the same: a multiple of `unit` when there is
 * room. */
static KVal even_chunk(KBuilder *b, KVal tokens, int64_t most, int64_t unit) {
  KVal chunks = k_op2(b, KOP_div, k_op2(b, KOP_add, tokens, k_i64(b, most - 1)), k_i64(b, most));
  KVal more = k_op2(b, KOP_sub, chunks, k_i64(b, 1));
  KVal even =
      k_op2(b, KOP_div, k_op2(b, KOP_add, tokens, more), k_op2(b, KOP_max, chunks, k_i64(b, 1)));
  even = k_op2(b, KOP_and, k_op2(b, KOP_add, even, k_i64(b, unit - 1)), k_i64(b, -unit));
  return k_op2(b, KOP_min, even, k_i64(b, most));
}

void contract_panels(Contract *c, Tile *t, KVal begin, KVal end) {
  KBuilder *b = &c->d.b;
  KVal tokens = k_op2(b, KOP_sub, end, begin);
  PanelPass s = {0};
  panel_begin(c, &s.panel, t->groups);
  int64_t most = chunk_of(c, &s.panel);
  mma_begin(c, &s);
  s.sums = k_local(b, "sums", K_f32, most * t->groups * LANES);
  KVal zero = k_i64(b, 0), chunk = even_chunk(b, tokens, most, s.products ? 16 : 4);
  KVal chunks = k_op2(b, KOP_div, k_op2(b, KOP_add, tokens, k_op2(b, KOP_sub, chunk, k_i64(b, 1))),
                      k_op2(b, KOP_max, chunk, k_i64(b, 1)));
  KVal at = k_for(b, "chunk", zero, chunks, 1, 0, NULL);
  s.token = k_op2(b, KOP_add, begin, k_op2(b, KOP_mul, at, chunk));
  s.end = k_op2(b, KOP_min, k_op2(b, KOP_add, s.token, chunk), end);
  clear_sums(c, &s);
  s.first = k_for(b, "k", zero, k_i64(b, c->act.blocks), s.panel.blocks, 0, NULL);
  s.blocks = k_op2(b, KOP_min, k_op2(b, KOP_sub, k_i64(b, c->act.blocks), s.first),
                   k_i64(b, s.panel.blocks));
  panel_fill(c, &s.panel, t->group, s.first, s.blocks);
  pass_tokens(c, &s);
  k_for_end(b, NULL);
  finish_tokens(c, &s, t);
  k_for_end(b, NULL);
}
