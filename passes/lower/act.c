/* Activation formats: how a requantised row lies in memory, and the kernel code that makes one.
 *
 * act_i16, a row of K (doc/ir.md, section 1): blocks of 32 along K, each 32 bytes of hi then 32 of
 * lo; then a sum of q for each block (i32); then the row's scale (f32). act_i8: blocks of 32 bytes,
 * sums, one scale for each block. Behind the scales, the sum of the first half of each block (i32),
 * for weights with a scale for every 16. Rows start at multiples of 64 bytes. Where words are
 * wanted (act_in_words) a block of act_i16 is q itself, 32 words, and its sums are f32, which hold
 * them.
 *
 *   m = max |x|;  inv = 16256 / m;  for each block:
 *     q = rint(x * inv);  lo = ((q + 64) & 127) - 64;  hi = (q - lo) >> 7;  sum = q0 + .. + q31
 */
#include "passes/lower/lower.h"
#include "passes/util.h"

enum { ACT_BLOCK = 32, ACT_ROW_ALIGN = 64, MAGIC = (23 << 23) + (1 << 22) };

ActLayout act_layout(Storage format, int64_t k) {
  BUG_IF(k < 0, "an activation format of run-time width");
  ActLayout a = {.blocks = (k + ACT_BLOCK - 1) / ACT_BLOCK,
                 .planes2 = format == Q_act_i16,
                 .powers = format == Q_act_i8p};
  a.block_bytes = a.planes2 ? 2 * ACT_BLOCK : ACT_BLOCK;
  a.sums = a.blocks * a.block_bytes;
  a.scales = a.sums + 4 * a.blocks;
  int64_t scales = a.planes2 ? 1 : a.blocks;
  a.halves = a.scales + 4 * scales;
  a.magics = a.halves + 4 * a.blocks;
  a.starts = a.magics + (a.powers ? 4 * a.blocks : 0);
  int64_t end = a.starts + (a.powers ? 4 * a.blocks : 0);
  a.row_bytes = (int64_t)align_up((uint64_t)end, ACT_ROW_ALIGN);
  return a;
}

bool act_in_words(const Lower *l, Storage format, DimId rows) {
  return l->target->panel_words && !l->target->mma && format == Q_act_i16 &&
         dim_literal(l, rows) != 1;
}

/* Packed blocks of 32 have one scale (ir/quant.h). */
ActForm act_form(const Lower *l, ValueId v, Storage format, DimId rows) {
  ActForm f = {.format = format, .words = act_in_words(l, format, rows)};
  for (uint32_t i = 1; i < l->g->nops && !f.halves; i++) {
    const Op *o = graph_get(l->g, i);
    bool reads = false;
    for (uint32_t j = 0; j < o->nin && !o->dead; j++) reads |= o->in[j] == v;
    if (!reads) continue;
    const QuantDef *q = NULL;
    if (reads_act(o)) q = quant_def(graph_value(l->g, o->in[1])->type.storage);
    f.halves = !q || q->packed_block > 32;
  }
  return f;
}

typedef struct Quantise {
  Draft *d;
  bool words, halves;
  ActLayout layout;
  KAddr row; /* of bytes */
  int64_t k;
  RowFn *x;
  void *user;
} Quantise;

static void max_body(void *user, KVal col, KVal mask, KVal *carry) {
  Quantise *z = user;
  KBuilder *b = &z->d->b;
  KVal m = k_op1(b, KOP_abs, z->x(z->user, col, mask));
  if (mask) m = k_select(b, mask, m, k_f32(b, 16, 0));
  carry[0] = k_op2(b, KOP_max, carry[0], m);
}

/* top / m, and 0 for a row of zeros; finite even when the quotient isn't. */
static KVal inverse_scale(KBuilder *b, KVal m, double top) {
  KVal zero = k_f32(b, 1, 0);
  KVal inv = k_op2(b, KOP_div, k_f32(b, 1, top), m);
  inv = k_op2(b, KOP_min, inv, k_f32(b, 1, 3e38));
  return k_select(b, k_op2(b, KOP_gt, m, zero), inv, zero);
}

/* A scale becomes the next power of two within the bounds; returns its inverse. */
static KVal power_scale(KBuilder *b, KVal *scale) {
  KType i32 = KT(i32, 1);
  KVal e = k_op2(b, KOP_add, k_bits(b, *scale, K_i32), k_int(b, i32, 0x7fffff));
  e = k_op2(b, KOP_lshr, e, k_int(b, i32, 23)); /* biased by 127 */
  e = k_op2(b, KOP_max, e, k_int(b, i32, 127 - ACT_EXPONENT));
  e = k_op2(b, KOP_min, e, k_int(b, i32, 127 + ACT_EXPONENT));
  *scale = k_bits(b, k_op2(b, KOP_shl, e, k_int(b, i32, 23)), K_f32);
  KVal less = k_op2(b, KOP_sub, k_int(b, i32, 254), e);
  return k_bits(b, k_op2(b, KOP_shl, less, k_int(b, i32, 23)), K_f32);
}

/* The columns of half a block, 0 when all are beyond K. */
static KVal half_block(Quantise *z, KVal block, int64_t literal, int half) {
  KBuilder *b = &z->d->b;
  KVal col = k_op2(b, KOP_add, k_op2(b, KOP_mul, block, k_i64(b, ACT_BLOCK)), k_i64(b, 16 * half));
  int64_t left = literal < 0 ? 16 : z->k - (literal * ACT_BLOCK + 16 * half);
  if (left <= 0) return 0;
  if (left >= 16) return z->x(z->user, col, 0);
  KVal mask = k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), left));
  return k_select(b, mask, z->x(z->user, col, mask), k_f32(b, 16, 0));
}

/* Stores the codes of half a block (0 or 1) of the block at `at`; returns them. */
static KVal store_codes(Quantise *z, KAddr at, int half_of, KVal x, KVal inv) {
  KBuilder *b = &z->d->b;
  KType i32 = KT(i32, 16);
  KVal q = k_int(b, i32, 0);
  if (x) q = k_cvt(b, k_op1(b, KOP_rint, k_op2(b, KOP_mul, x, inv)), K_i32);
  if (z->words) {
    k_store(b, k_cvt(b, q, K_i16), k_off(at, 2 * 16 * half_of));
    return q;
  }
  at = k_off(at, 16 * half_of);
  if (!z->layout.planes2) {
    k_store(b, k_cvt(b, q, K_i8), at);
    return q;
  }
  KVal half = k_int(b, i32, 64);
  KVal lo = k_op2(b, KOP_and, k_op2(b, KOP_add, q, half), k_int(b, i32, 127));
  lo = k_op2(b, KOP_sub, lo, half);
  KVal hi = k_op2(b, KOP_ashr, k_op2(b, KOP_sub, q, lo), k_int(b, i32, 7));
  k_store(b, k_cvt(b, hi, K_i8), at);
  k_store(b, k_cvt(b, lo, K_i8), k_off(at, ACT_BLOCK));
  return q;
}

/* See ActLayout. MAGIC makes the bits of 2^e those of 2^e * 1.5 * 2^23. */
static void store_starts(Quantise *z, KAddr word, KVal scale, KVal sum) {
  KBuilder *b = &z->d->b;
  KVal magic = k_op2(b, KOP_add, k_bits(b, scale, K_i32), k_int(b, KT(i32, 1), MAGIC));
  KVal excess = k_op2(b, KOP_mul, sum, k_int(b, KT(i32, 1), ACT_ZERO));
  k_store(b, magic, k_off(word, z->layout.magics));
  k_store(b, k_op2(b, KOP_sub, magic, excess), k_off(word, z->layout.starts));
}

/* One block; `literal` is its number when it is the last, partial one, else -1. */
static void quantise_block(Quantise *z, KVal block, int64_t literal, KVal inv) {
  KBuilder *b = &z->d->b;
  const ActLayout *a = &z->layout;
  KVal x[2] = {half_block(z, block, literal, 0), half_block(z, block, literal, 1)}, scale = 0;
  if (!inv) { /* a scale for each block */
    KVal m = k_op1(b, KOP_abs, x[0]);
    if (x[1]) m = k_op2(b, KOP_max, m, k_op1(b, KOP_abs, x[1]));
    m = k_op1(b, KOP_reduce_max, m);
    scale = k_op2(b, KOP_div, m, k_f32(b, 1, 127));
    inv = a->powers ? power_scale(b, &scale) : inverse_scale(b, m, 127);
    inv = k_splat(b, inv);
    k_store(b, scale, k_off(k_at(z->row, block, 4), a->scales));
  }
  KAddr at = k_at(z->row, block, a->block_bytes);
  KVal q0 = store_codes(z, at, 0, x[0], inv);
  KVal q1 = store_codes(z, at, 1, x[1], inv);
  KVal sum = k_op1(b, KOP_reduce_add, k_op2(b, KOP_add, q0, q1));
  if (a->powers) store_starts(z, k_at(z->row, block, 4), scale, sum);
  if (z->words) sum = k_cvt(b, sum, K_f32);
  k_store(b, sum, k_off(k_at(z->row, block, 4), a->sums));
  if (!z->halves) return;
  KVal half = k_op1(b, KOP_reduce_add, q0);
  if (z->words) half = k_cvt(b, half, K_f32);
  k_store(b, half, k_off(k_at(z->row, block, 4), a->halves));
}

void act_quantise(Draft *d, ActForm form, KAddr row, int64_t k, RowFn *x, void *user) {
  KBuilder *b = &d->b;
  Quantise z = {.d = d, .layout = act_layout(form.format, k), .k = k, .x = x, .user = user};
  z.words = form.words;
  z.halves = form.halves;
  z.row = row;
  KVal inv = 0;
  if (z.layout.planes2) {
    KVal m[1] = {k_f32(b, 16, 0)};
    draft_span(d, k_i64(b, 0), k_i64(b, k), 1, m, max_body, &z);
    KVal top = k_op1(b, KOP_reduce_max, m[0]);
    inv = k_splat(b, inverse_scale(b, top, 16256));
    k_store(b, k_op2(b, KOP_div, top, k_f32(b, 1, 16256)), k_off(z.row, z.layout.scales));
  }
  int64_t whole = k / ACT_BLOCK;
  if (whole) {
    KVal block = k_for(b, "block", k_i64(b, 0), k_i64(b, whole), 1, 0, NULL);
    quantise_block(&z, block, -1, inv);
    k_for_end(b, NULL);
  }
  if (k % ACT_BLOCK) quantise_block(&z, k_i64(b, whole), whole, inv);
}
