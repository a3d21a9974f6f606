/* Integer contractions of many tokens: weights on their way into the panel.
 *
 * A filling unpacks a few blocks along K of a few groups of 16 rows: codes as dot4 and mma want
 * them, and behind each block's codes its scales and minima as f32. Folded (fold of a linear,
 * doc/ir.md, section 1), a filling is one super-block of 256 and its codes are new ones, of 8 bits
 * with one scale a row:
 *
 *   lo = min - zero * scale;  hi = lo + scale * top     // what a block's codes can mean
 *   d = max over blocks and parts of max(|lo|, |hi|) / 127
 *   S = rint(256 * scale / d);  M = rint(256 * lo / d) + 256 * 128 + 128
 *   code' = (code * S + M) >> 8, of 1 .. 255;  the weight is d * (code' - 128)
 *
 * code * S + M lies in 0 .. 65535, so a lane computes two codes side by side: a 32-bit lane times S
 * is right in both halves. S is rounded, which moves a code of up to 7 bits by at most a quarter.
 */
#include "passes/lower/contract.h"

enum { CODE_BYTES = 8 * 64, VECTOR = 64, LANES = 16, FOLD_ZERO = 128, FOLD_BITS = 8 };
static const int64_t EVEN_BYTES = 0x00ff00ff, ODD_BYTES = (int32_t)0xff00ff00;

/* ---- the panel ----------------------------------------------------------------------------- */

/* n in equal shares of at most `most`, each a multiple of `unit` (which `most` need not be). */
static int64_t share_of(int64_t n, int64_t most, int64_t unit) {
  if (most < unit) most = unit;
  most = most / unit * unit;
  int64_t shares = (n + most - 1) / most;
  return shares ? ((n + shares - 1) / shares + unit - 1) / unit * unit : unit;
}

static int64_t code_bytes(const Panel *p) {
  return p->words ? 2 * CODE_BYTES : CODE_BYTES;
}

void panel_begin(Contract *c, Panel *p, uint32_t groups) {
  QuantInts w = quant_form(c->quant);
  int64_t subs = quant_subs(c->quant), most = c->d.l->target->panel_blocks;
  *p = (Panel){.groups = groups, .bits = w.bits, .zero = w.zero, .parts = w.parts};
  p->minima = w.min[0] != 0;
  p->words = c->words;
  p->block_bytes = code_bytes(p) + w.parts * (p->minima ? 2 : 1) * VECTOR;
  p->blocks = share_of(c->act.blocks, most, subs);
  if (c->fold)
    *p = (Panel){.groups = groups,
                 .bits = FOLD_BITS,
                 .zero = FOLD_ZERO,
                 .parts = 1,
                 .block_bytes = CODE_BYTES,
                 .blocks = subs,
                 .folded = true};
  p->local = k_local(&c->d.b, "panel", K_i8, groups * panel_group_bytes(p));
}

int64_t panel_group_bytes(const Panel *p) {
  return p->blocks * p->block_bytes + (p->folded ? VECTOR : 0);
}

KAddr panel_codes(const Panel *p, uint32_t group, KVal block) {
  return k_off(k_at(k_addr(p->local), block, p->block_bytes), group * panel_group_bytes(p));
}

KAddr panel_scale(const Panel *p, uint32_t group, KVal block, int part) {
  return k_off(panel_codes(p, group, block), code_bytes(p) + part * VECTOR);
}

KAddr panel_min(const Panel *p, uint32_t group, KVal block, int part) {
  return k_off(panel_codes(p, group, block), code_bytes(p) + (p->parts + part) * VECTOR);
}

KAddr panel_row_scale(const Panel *p, uint32_t group) {
  return k_off(k_addr(p->local), group * panel_group_bytes(p) + p->blocks * p->block_bytes);
}

/* The bytes of code[j], less `zero`, as words in the order of k. */
static void store_words(KBuilder *b, const Panel *p, KVal code, KAddr at) {
  for (int half = 0; half < 2; half++) {
    KVal low = half ? k_op2(b, KOP_lshr, code, k_int(b, KT(i32, 16), 16)) : code;
    KVal high = k_op2(b, KOP_shl, low, k_int(b, KT(i32, 16), 8));
    low = k_op2(b, KOP_and, low, k_int(b, KT(i32, 16), 0xff));
    high = k_op2(b, KOP_and, high, k_int(b, KT(i32, 16), 0xff0000));
    KVal words = k_op2(b, KOP_or, low, high);
    if (p->zero) { /* 0x8000 keeps a word from borrowing of the next */
      int64_t less = 0x8000 - p->zero;
      words = k_op2(b, KOP_add, words, k_int(b, KT(i32, 16), less << 16 | less));
      words = k_op2(b, KOP_xor, words, k_int(b, KT(i32, 16), (int32_t)0x80008000));
    }
    k_store(b, words, k_off(at, half * VECTOR));
  }
}

static void store_codes(KBuilder *b, const Panel *p, const KVal *code, KAddr at) {
  for (int j = 0; j < 8; j++)
    if (p->words)
      store_words(b, p, code[j], k_off(at, 2 * j * VECTOR));
    else
      k_store(b, code[j], k_off(at, j * VECTOR));
}

/* ---- folding ------------------------------------------------------------------------------- */

/* What code 0 of part i means; with `scale` times the largest code more, the other end. */
static KVal lowest(KBuilder *b, const QuantInts *w, int i) {
  KVal lo = w->min[i] ? w->min[i] : k_f32(b, LANES, 0);
  return w->zero ? k_fma(b, w->scale[i], k_f32(b, LANES, -w->zero), lo) : lo;
}

/* The largest magnitude that a block's codes can mean, where that is more than `top`. */
static KVal reach(KBuilder *b, const QuantInts *w, KVal top) {
  for (int i = 0; i < w->parts; i++) {
    KVal lo = lowest(b, w, i);
    KVal hi = k_fma(b, w->scale[i], k_f32(b, LANES, w->top), lo);
    top = k_op2(b, KOP_max, top, k_op1(b, KOP_abs, lo));
    top = k_op2(b, KOP_max, top, k_op1(b, KOP_abs, hi));
  }
  return top;
}

/* Two codes a lane at a time: x has them in the low bytes of its halves. */
static KVal folded_pair(KBuilder *b, KVal x, KVal scale, KVal offset) {
  x = k_op2(b, KOP_and, x, k_int(b, KT(i32, LANES), EVEN_BYTES));
  return k_op2(b, KOP_add, k_op2(b, KOP_mul, x, scale), offset);
}

/* The block's codes anew, of FOLD_BITS, with FOLD_ZERO. */
static void fold_codes(KBuilder *b, QuantInts *w, KVal inverse) {
  KType i32 = KT(i32, LANES);
  KVal eight = k_int(b, i32, 8);
  KVal centre = k_int(b, i32, 256 * FOLD_ZERO + 128), both = k_int(b, i32, 0x10001);
  for (int i = 0; i < w->parts; i++) {
    KVal scale = k_cvt(b, k_op1(b, KOP_rint, k_op2(b, KOP_mul, w->scale[i], inverse)), K_i32);
    KVal lo = k_op2(b, KOP_mul, lowest(b, w, i), inverse);
    KVal offset = k_op2(b, KOP_add, k_cvt(b, k_op1(b, KOP_rint, lo), K_i32), centre);
    offset = k_op2(b, KOP_mul, offset, both);
    int n = 8 / w->parts;
    for (int j = i * n; j < (i + 1) * n; j++) {
      KVal even = folded_pair(b, w->code[j], scale, offset);
      KVal odd = folded_pair(b, k_op2(b, KOP_lshr, w->code[j], eight), scale, offset);
      even = k_op2(b, KOP_and, k_op2(b, KOP_lshr, even, eight), k_int(b, i32, EVEN_BYTES));
      odd = k_op2(b, KOP_and, odd, k_int(b, i32, ODD_BYTES));
      w->code[j] = k_op2(b, KOP_or, even, odd);
    }
  }
}

/* ---- filling ------------------------------------------------------------------------------- */

/* One filling: of each of the panel's groups the blocks from `first` of the row on. */
typedef struct Filling {
  Contract *c;
  const Panel *p;
  const KVal *group;
  KVal first, blocks;
  KVal ahead;                /* see next_filling */
  KVal inverse[TILE_GROUPS]; /* folded: 256 / d of the rows */
} Filling;

/* How far ahead of its weights a filling asks for the next one's, in bytes: those come while tokens
 * pass the panel. Behind the row's last blocks the next par iteration's first are asked for, its
 * groups after these. SmolLM2's prefill gains 8 %. */
static KVal next_filling(const Filling *f) {
  Contract *c = f->c;
  KBuilder *b = &c->d.b;
  KVal along = k_op2(b, KOP_add, f->first, k_i64(b, f->p->blocks));
  KVal more = k_op2(b, KOP_lt, along, k_i64(b, c->act.blocks));
  int64_t subs = quant_subs(c->quant), block = c->block_bytes;
  KVal packed = k_op2(b, KOP_div, f->first, k_i64(b, subs));
  KVal begin = k_op2(b, KOP_mul, packed, k_i64(b, -block));
  int64_t groups = f->p->groups / c->parts;
  KVal next = k_op2(b, KOP_add, begin, k_i64(b, groups * c->group_bytes));
  return k_select(b, more, k_i64(b, f->p->blocks / subs * block), next);
}

/* Block `sub` of packed block `packed` of every group, to block `to` of the panel. */
static void fill_block(const Filling *f, KVal packed, KVal sub, KVal to) {
  KBuilder *b = &f->c->d.b;
  const Panel *p = f->p;
  int64_t share = f->c->block_bytes / quant_subs(f->c->quant);
  for (uint32_t g = 0; g < p->groups; g++) {
    QuantInts w = {0};
    KAddr at = contract_packed(f->c, f->group[g], packed);
    KAddr next = k_at(k_at(at, sub, share), f->ahead, 1);
    contract_unpack(f->c, f->group[g], packed, sub, &w);
    for (int64_t i = 0; i < share; i += 64) k_prefetch(b, k_off(next, i));
    if (p->folded) fold_codes(b, &w, f->inverse[g]);
    store_codes(b, p, w.code, panel_codes(p, g, to));
    if (p->folded) continue;
    for (int i = 0; i < w.parts; i++) k_store(b, w.scale[i], panel_scale(p, g, to, i));
    for (int i = 0; i < w.parts && p->minima; i++) k_store(b, w.min[i], panel_min(p, g, to, i));
  }
}

/* d of every group's rows, and what the codes are multiplied by. */
static void fold_scales(Filling *f, KVal packed) {
  KBuilder *b = &f->c->d.b;
  uint32_t n = f->p->groups;
  KVal top[TILE_GROUPS], zero = k_f32(b, LANES, 0);
  for (uint32_t g = 0; g < n; g++) top[g] = zero;
  KVal sub = k_for(b, "s", k_i64(b, 0), f->blocks, 1, n, top);
  for (uint32_t g = 0; g < n; g++) {
    QuantInts w = {0};
    contract_unpack(f->c, f->group[g], packed, sub, &w);
    top[g] = reach(b, &w, top[g]);
  }
  k_for_end(b, top);
  for (uint32_t g = 0; g < n; g++) {
    KVal inverse = k_op2(b, KOP_div, k_f32(b, LANES, 256 * 127.0), top[g]);
    inverse = k_op2(b, KOP_min, inverse, k_f32(b, LANES, 3e38));
    f->inverse[g] = k_select(b, k_op2(b, KOP_gt, top[g], zero), inverse, zero);
    k_store(b, k_op2(b, KOP_div, top[g], k_f32(b, LANES, 127)), panel_row_scale(f->p, g));
  }
}

void panel_fill(Contract *c, const Panel *p, const KVal *group, KVal first, KVal n) {
  KBuilder *b = &c->d.b;
  int64_t subs = quant_subs(c->quant);
  Filling f = {.c = c, .p = p, .group = group, .first = first, .blocks = n};
  KVal step = k_i64(b, subs);
  f.ahead = next_filling(&f);
  if (subs == 1) {
    KVal i = k_for(b, "b", k_i64(b, 0), n, 1, 0, NULL);
    fill_block(&f, k_op2(b, KOP_add, first, i), k_i64(b, 0), i);
    k_for_end(b, NULL);
    return;
  }
  KVal at = k_for(b, "b", k_i64(b, 0), n, subs, 0, NULL);
  KVal packed = k_op2(b, KOP_div, k_op2(b, KOP_add, first, at), step);
  KVal here = k_op2(b, KOP_min, k_op2(b, KOP_sub, n, at), step);
  if (p->folded) fold_scales(&f, packed);
  KVal sub = k_for(b, "s", k_i64(b, 0), here, 1, 0, NULL);
  fill_block(&f, packed, sub, k_op2(b, KOP_add, at, sub));
  k_for_end(b, NULL);
  k_for_end(b, NULL);
}
