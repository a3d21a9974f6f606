/* Class contract: linear with a constant weight in the packed rows16 layout; the heart.
 *
 * A tile is a few groups of 16 weight rows (lanes) by a few tokens. Its sums are made in
 *
 *   contract_int.c     one token (decode), integer weights: `row_groups` groups stream at once
 *   contract_panel.c   many tokens, integer weights that were unpacked before (contract_fill.c)
 *   contract_amx.c     the same by tile products
 *   contract_direct.c  many tokens, integer weights met where they stand
 *   contract_float.c   float weights, or act f32; for many tokens contract_f32.c
 *
 * and here are the loops around tiles, the epilogue behind the sums, and the set-up. When the
 * cluster splits the result in equal parts (gate, up), a tile holds the same rows of every part, so
 * that the epilogue sees them side by side.
 */
#include "passes/lower/contract.h"

#include <string.h>

/* ---- after the sums ------------------------------------------------------------------------ */

/* Bias, epilogue and stores of one column group (the same of every part) and one token. */
void contract_finish(Contract *c, const Tile *t, uint32_t set, uint32_t token, const KVal *acc) {
  Draft *d = &c->d;
  Lower *l = d->l;
  KBuilder *b = &d->b;
  KVal col = k_op2(b, KOP_mul, t->group[set * c->parts], k_i64(b, 16)), mask = 0;
  if (c->sums) {
    k_store(b, acc[set], k_at(k_addr(draft_buffer(d, c->sums, K_f32, true)), col, 1));
    return;
  }
  if (c->part_cols % 16) {
    KVal left = k_op2(b, KOP_sub, k_i64(b, c->part_cols), col);
    mask = k_op2(b, KOP_lt, k_iota(b), k_splat(b, k_cvt(b, left, K_i32)));
  }
  Expr e;
  expr_begin(&e, d, point_at(c->shape, t->token[token], col, mask));
  for (uint32_t p = 0; p < c->parts; p++) {
    KVal y = acc[(set * c->parts + p) * t->tokens + token];
    if (c->op->nin > 2) {
      Place bias = place_of(l, c->op->in[2]);
      Point at = e.pt;
      at.col = k_op2(b, KOP_add, col, k_i64(b, (int64_t)p * c->part_cols));
      y = k_op2(b, KOP_add, y, point_load(d, &at, &bias));
    }
    expr_preset(&e, c->part[p], y);
  }
  expr_store_results(&e, c->shape);
}

void contract_tile(Contract *c, const Tile *t) {
  KVal acc[TILE_GROUPS * TILE_TOKENS];
  BUG_IF(t->groups > TILE_GROUPS || t->tokens > TILE_TOKENS, "tile too large");
  if (c->integer)
    contract_one_token_sums(c, t, acc);
  else if (c->resident)
    contract_resident_tile(c, t, acc);
  else
    contract_float_tile(c, t, acc);
  for (uint32_t set = 0; set * c->parts < t->groups; set++)
    for (uint32_t i = 0; i < t->tokens; i++) contract_finish(c, t, set, i, acc);
}

/* ---- the loops around tiles ---------------------------------------------------------------- */

/* Adds to t->group `sets` consecutive column groups from `first` on, each of every part, `shift`
 * groups further. A group beyond `last` (0: there is none) is that one again: it is computed twice
 * by one thread and stored with equal bits. */
static void add_groups(Contract *c, Tile *t, KVal first, int64_t sets, int64_t last,
                       int64_t shift) {
  KBuilder *b = &c->d.b;
  for (int64_t s = 0; s < sets; s++) {
    KVal g = k_op2(b, KOP_add, first, k_i64(b, s));
    if (last) g = k_op2(b, KOP_min, g, k_i64(b, last));
    for (uint32_t p = 0; p < c->parts; p++)
      t->group[t->groups++] = k_op2(b, KOP_add, g, k_i64(b, (int64_t)p * c->part_groups + shift));
  }
}

/* The groups of a tile of many tokens. */
static void tile_groups(Contract *c, Tile *t, KVal first, int64_t sets, bool ragged) {
  t->groups = 0;
  add_groups(c, t, first, sets, ragged ? c->part_groups - 1 : 0, 0);
}

/* Column groups of one par iteration: a choice by shape alone, since launch tables are the same for
 * every target. A divisor of the number of groups that leaves an even number of iterations (two
 * threads) is best, then any divisor of at least 3. */
static int64_t grain_of(int64_t groups, int64_t want) {
  if (groups <= want) return 1;
  for (int64_t n = want; n >= 2; n--)
    if (groups % (2 * n) == 0) return n;
  for (int64_t n = want; n >= 3; n--)
    if (groups % n == 0) return n;
  return want;
}

enum { DECODE_GROUPS = 4, TOKEN_BLOCK = 128, FEW_TOKENS = 64, FLOAT_LONG = 1024 };

/* How one token meets the column groups. They are cut into `streams` long pieces, read side by
 * side (with huge pages two streams a thread read 10 to 17 % more than one, four no more than two);
 * iteration p takes `grain` groups from p * grain on of each of them. */
typedef struct Walk {
  int64_t streams, groups, grain; /* groups: of one stream */
  int64_t flight;                 /* of them side by side in a tile */
} Walk;

static Walk walk_of(Contract *c) {
  Walk w = {.streams = c->parts == 1 && c->part_groups % 2 == 0 ? 2 : 1};
  w.groups = c->part_groups / w.streams;
  int64_t want = DECODE_GROUPS / (c->parts * w.streams);
  w.grain = w.groups % 4 == 2 ? 1 : grain_of(w.groups, want > 1 ? want : 1);
  w.flight = c->in_flight / c->parts;
  if (w.flight < 1) w.flight = 1;
  if (!c->integer && c->quant->packed_block == 1 && w.flight < 4) w.flight = 4; /* one chain each */
  return w;
}

/* A tile of n groups from `first` on in `streams` streams from `stream` on. */
static void walk_tile(Contract *c, const Walk *w, KVal first, int64_t n, int64_t stream,
                      int64_t streams) {
  KBuilder *b = &c->d.b;
  Tile t = {.tokens = 1, .token = {k_i64(b, 0)}, .run = n};
  int64_t last = w->groups % w->grain ? w->groups - 1 : 0;
  for (int64_t s = stream; s < stream + streams; s++)
    add_groups(c, &t, first, n, last, s * w->groups);
  contract_tile(c, &t);
}

void contract_one_token(Contract *c) {
  Draft *d = &c->d;
  KBuilder *b = &d->b;
  Walk w = walk_of(c);
  int64_t extent = (w.groups + w.grain - 1) / w.grain;
  d->extent = dim_const(d->l->m->dims, extent);
  if (w.groups % w.grain == 0)
    d->streams = (KStreams){.count = (uint32_t)w.streams * c->parts,
                            .step = (uint64_t)(w.grain * c->group_bytes),
                            .apart = (uint64_t)(w.groups * c->group_bytes)};
  KVal p = k_par(b, "p", k_i64(b, extent));
  KVal first = k_op2(b, KOP_mul, p, k_i64(b, w.grain));
  int64_t beside = w.flight < w.streams ? 1 : w.streams, most = w.flight / beside;
  for (int64_t i = 0; i < w.grain; i += most) {
    int64_t n = w.grain - i < most ? w.grain - i : most;
    KVal at = k_op2(b, KOP_add, first, k_i64(b, i));
    for (int64_t s = 0; s < w.streams; s += beside) walk_tile(c, &w, at, n, s, beside);
  }
  k_par_end(b);
}

/* Column groups that a tile of many tokens holds of every part, out of an iteration's `grain`. */
static int64_t sets_of(const Contract *c, int64_t grain) {
  if (!c->resident || c->parts > 1) return 1;
  uint32_t most = contract_clamped(c->d.l->target->float_groups, TILE_GROUPS);
  while (grain % most) most--;
  return most;
}

/* Column groups of an iteration of many tokens: what stays in the second cache beside the tokens'
 * rows. Float weights are met in threes where that goes without a rest. */
static int64_t token_grain(const Contract *c) {
  bool plain = !c->integer && c->quant->packed_block == 1;
  if (plain && c->parts == 1 && c->part_groups % 6 == 0) return 3;
  bool few = c->parts > 1 || (!c->integer && c->k > FLOAT_LONG);
  return grain_of(c->part_groups, few ? 2 : DECODE_GROUPS);
}

/* A tile's tokens meet column groups lo .. hi of the iteration, `sets` at a time. */
static void group_loop(Contract *c, Tile *t, KVal first, int64_t lo, int64_t hi, int64_t sets,
                       bool ragged) {
  KBuilder *b = &c->d.b;
  if (lo == hi) return;
  bool once = hi - lo == sets;
  KVal g = k_i64(b, lo);
  if (!once) g = k_for(b, "g", g, k_i64(b, hi), sets, 0, NULL);
  tile_groups(c, t, k_op2(b, KOP_add, first, g), sets, ragged);
  KVal done = k_op2(b, KOP_add, t->sets_before, k_op2(b, KOP_div, g, k_i64(b, sets)));
  c->pace.step = k_op2(b, KOP_mul, done, k_i64(b, c->k));
  contract_tile(c, t);
  if (!once) k_for_end(b, NULL);
}

/* Tokens lo .. hi in tiles of `tokens`; each tile meets every column group of the iteration. */
static void token_loop(Contract *c, KVal first, int64_t grain, KVal lo, KVal hi, uint32_t tokens) {
  KBuilder *b = &c->d.b;
  Tile t = {.tokens = tokens};
  int64_t sets = sets_of(c, grain), even = grain / sets * sets;
  bool ragged = c->part_groups % grain != 0;
  KVal at = contract_each_tile(b, lo, hi, tokens, t.token);
  t.sets_before =
      k_op2(b, KOP_mul, k_op2(b, KOP_div, at, k_i64(b, c->token_tile)), k_i64(b, grain / sets));
  group_loop(c, &t, first, 0, even, sets, ragged);
  group_loop(c, &t, first, even, grain, 1, ragged);
  k_for_end(b, NULL);
}

/* An iteration's steps of k (over its tiles of tokens and sets of groups) are to meet each line of
 * the next one's weights at least once; with few tokens as often as they can. */
static void set_pace(Contract *c, KVal first, int64_t grain, KVal n) {
  KBuilder *b = &c->d.b;
  int64_t sets = sets_of(c, grain);
  KVal tiles = k_op2(b, KOP_div, n, k_i64(b, c->token_tile)), shift = k_i64(b, 0), lines = tiles;
  c->pace.half = sets > 1 ? (grain * c->k + 1) / 2 : 0;
  if (c->pace.half) lines = k_op2(b, KOP_add, tiles, tiles); /* two a step */
  for (int64_t j = 1; j <= 6; j++) {
    KVal enough = k_op2(b, KOP_le, k_i64(b, sets << j), lines);
    shift = k_select(b, enough, k_i64(b, j), shift);
  }
  c->pace.next = k_op2(b, KOP_add, first, k_i64(b, grain));
  c->pace.shift = shift;
}

/* Block `at` of the tokens 0 .. *end, which are in `blocks` about equal ones: *begin .. *end. */
static void token_block(Contract *c, KVal blocks, KVal at, KVal *begin, KVal *end) {
  KBuilder *b = &c->d.b;
  KVal less = k_op2(b, KOP_sub, blocks, k_i64(b, 1));
  KVal share = k_op2(b, KOP_div, k_op2(b, KOP_add, *end, less), blocks);
  int64_t tile = c->d.l->target->mma ? 16 : 8;
  share = k_op2(b, KOP_and, k_op2(b, KOP_add, share, k_i64(b, tile - 1)), k_i64(b, -tile));
  KVal lo = k_op2(b, KOP_mul, share, at), hi = k_op2(b, KOP_add, lo, share);
  *begin = k_op2(b, KOP_min, lo, *end);
  *end = k_op2(b, KOP_min, hi, *end);
}

/* Tokens are met in blocks, so that threads split every launch at about the same token (row kernels
 * do too): what a core reads is mostly what it has written. Two threads on eight sequences of
 * MiniLM: 12 %; one of 128 tokens in two blocks: 3 %, in int8 8 %. A block's rows and an
 * iteration's weights share the second cache; the longer the blocks, the fewer times weights come
 * from the third (128 instead of 64: 1 to 1.5 % of an encoder). Weights that are unpacked into a
 * panel want many tokens (SmolLM2's prefill: 1.5 %, its Q4_1 in i8 1.2 %, folded Q4_K 9 %); others
 * have a block for each of two threads from FEW_TOKENS on. */
static DimId token_blocks(const Contract *c, DimId rows) {
  Dims *dims = c->d.l->m->dims;
  if (c->integer && !contract_is_direct(c))
    return dim_op(dims, DIM_CEILDIV, rows, dim_const(dims, TOKEN_BLOCK));
  DimId pair = dim_const(dims, 2 * TOKEN_BLOCK);
  DimId up = dim_const(dims, 2 * TOKEN_BLOCK - 1 - FEW_TOKENS);
  DimId second = dim_op(dims, DIM_DIV, dim_op(dims, DIM_ADD, rows, up), pair);
  return dim_op(dims, DIM_ADD, dim_op(dims, DIM_CEILDIV, rows, pair), second);
}

static void many_tokens(Contract *c, DimId rows) {
  Draft *d = &c->d;
  KBuilder *b = &d->b;
  Dims *dims = d->l->m->dims;
  int64_t grain = token_grain(c);
  int64_t extent = (c->part_groups + grain - 1) / grain;
  DimId blocks = token_blocks(c, rows);
  d->extent = dim_mul(d->l, blocks, dim_const(dims, extent));
  KVal n = draft_dim(d, rows), done = k_i64(b, 0), nblocks = draft_dim(d, blocks);
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  token_block(c, nblocks, k_op2(b, KOP_div, p, k_i64(b, extent)), &done, &n);
  KVal part = k_op2(b, KOP_rem, p, k_i64(b, extent));
  KVal first = k_op2(b, KOP_mul, part, k_i64(b, grain));
  c->prefetch = 0;
  if (c->integer) {
    Tile t = {0};
    bool ragged = c->part_groups % grain != 0, one_by_one = c->words && grain > 1;
    KVal g = one_by_one ? k_for(b, "g", k_i64(b, 0), k_i64(b, grain), 1, 0, NULL) : k_i64(b, 0);
    tile_groups(c, &t, k_op2(b, KOP_add, first, g), one_by_one ? 1 : grain, ragged);
    if (contract_is_direct(c))
      contract_direct(c, &t, done, n);
    else
      contract_panels(c, &t, done, n);
    if (one_by_one) k_for_end(b, NULL);
    k_par_end(b);
    return;
  }
  c->resident = c->quant->packed_block == 1;
  if (c->resident) set_pace(c, first, grain, k_op2(b, KOP_sub, n, done));
  for (uint32_t t = c->token_tile; t > 1; t = c->resident ? t / 2 : 1) {
    KVal end = contract_whole_tiles(b, done, n, t);
    token_loop(c, first, grain, done, end, t);
    done = end;
  }
  c->resident = false;
  token_loop(c, first, grain, done, n, 1);
  k_par_end(b);
}

/* ---- set-up -------------------------------------------------------------------------------- */

/* The values that the tile's sums are: the parts of a split that the cluster holds, or the result.
 */
static void find_parts(Contract *c) {
  Lower *l = c->d.l;
  const Op *split = NULL;
  for (uint32_t i = 0; i < l->cluster->nops; i++) {
    const Op *o = graph_get(l->g, l->cluster->ops[i]);
    if (o->code == OP_split && o->in[0] == c->op->out[0]) split = o;
  }
  c->parts = split ? split->nout : 1;
  BUG_IF(c->parts > CONTRACT_PARTS, "a linear in %u parts", c->parts);
  for (uint32_t i = 0; i < c->parts; i++) c->part[i] = split ? split->out[i] : c->op->out[0];
  c->shape = &graph_value(l->g, c->part[0])->type;
  c->part_cols = c->rows / c->parts;
  c->part_groups = (c->part_cols + 15) / 16;
}

/* The requant in this cluster that gives x: done by every thread for itself (see own_row). */
static const Op *own_requant(const Contract *c) {
  const Value *x = graph_value(c->d.l->g, c->op->in[0]);
  if (!in_cluster(c->d.l, c->op->in[0])) return NULL;
  return graph_get(c->d.l->g, x->def);
}

/* A single row that only this contraction reads is made (normed, quantised) by each thread in a
 * local before the par loop: a few hundred instructions more in all, and a launch and two meetings
 * of all threads less. */
static void own_row(Contract *c, const Op *requant) {
  Draft *d = &c->d;
  c->x = k_local(&d->b, "x", K_i8, c->act.row_bytes);
  row_quantised(d, requant, k_i64(&d->b, 0), k_addr(c->x));
}

/* The operand: requantised rows, or dense f32 rows. */
static Place find_operand(Contract *c) {
  Lower *l = c->d.l;
  const Type *t = &graph_value(l->g, c->op->in[0])->type;
  ActFormat act = c->op->attrs.linear.act;
  c->integer = c->quant->unpack_ints && (t->storage != Q_plain || act != ACT_f32);
  if (!c->integer) return place_as_rows(l, c->op->in[0], &c->x_stride);
  Storage format = act_storage(act);
  c->act = act_layout(format, c->k);
  c->fold = c->op->attrs.linear.fold && quant_folds(c->quant);
  if (own_requant(c)) return (Place){0};
  if (t->storage != Q_plain) return place_of(l, c->op->in[0]);
  return lower_requant(l, c->op->in[0], format);
}

uint32_t contract_clamped(uint32_t v, uint32_t hi) {
  return v < 1 ? 1 : v > hi ? hi : v;
}

/* Float weights. float_tile counts outputs with one accumulator each; unpacked blocks have four
 * (contract_float.c). */
static uint32_t tokens_of_tile(const Contract *c) {
  const LowerTarget *t = c->d.l->target;
  return contract_clamped(c->quant->packed_block == 1 ? t->float_tile : t->float_tile / 4,
                          TILE_TOKENS);
}

Status contract_begin(Contract *c, Lower *l, const Op *op, const char *name, Reads reads) {
  const Value *wv = graph_value(l->g, op->in[1]);
  memset(c, 0, sizeof *c);
  c->op = op;
  c->d.l = l;
  Place w = weight_rows16(l, wv->index, &c->quant);
  if (!c->quant) return lower_error(l, op, "reads a weight in a format that can't be computed yet");
  c->rows = dim_literal(l, wv->type.dim[0]);
  c->k = dim_literal(l, wv->type.dim[1]);
  c->split = weight_is_split(l, wv->index);
  c->block_bytes = c->split ? c->quant->split->upper_bytes : c->quant->packed_bytes;
  c->group_bytes = (int64_t)quant_half_size(c->quant, (uint32_t)c->block_bytes, 16, c->k);
  find_parts(c);
  Place x = find_operand(c), lower;
  if (c->split && !c->integer) return lower_error(l, op, "meets a split weight in floats");
  c->x_type = kscalar_of(x.dtype);
  DimId rows = rows_of(l, &graph_value(l->g, op->in[0])->type);
  c->words = c->integer && act_in_words(l, act_storage(op->attrs.linear.act), rows);
  draft_begin(&c->d, l, reads == READS_SOME ? KC_row : KC_contract,
              arena_printf(l->arena, "%s_%s", name, c->quant->name));
  c->w = draft_buffer(&c->d, &w, K_i8, false);
  if (c->split && reads != READS_UPPER) {
    lower = weight_lower(l, wv->index);
    c->lower = draft_buffer(&c->d, &lower, K_i8, false);
  }
  if (own_requant(c))
    own_row(c, own_requant(c));
  else
    c->x = draft_buffer(&c->d, &x, c->integer ? K_i8 : c->x_type, false);
  if (!c->integer && x.shift) c->x_shift = draft_dim(&c->d, x.shift);
  c->prefetch = l->target->prefetch_bytes;
  c->in_flight = contract_clamped(l->target->row_groups, TILE_GROUPS);
  c->token_tile = tokens_of_tile(c);
  c->d.flops = dim_mul(l, rows, dim_const(l->m->dims, 2 * c->rows * c->k));
  return OK;
}

Status lower_contract(Lower *l) {
  const Op *op = graph_get(l->g, l->cluster->anchor);
  Contract c;
  TRY(contract_begin(&c, l, op, "linear", READS_ALL));
  DimId rows = rows_of(l, &graph_value(l->g, op->in[0])->type);
  if (dim_literal(l, rows) == 1 && !c.fold)
    contract_one_token(&c);
  else
    many_tokens(&c, rows);
  draft_end(&c.d);
  return OK;
}
