/* dot4, dot2 and lookup of Kernel IR on AArch64, exact on every level: see backends/cpu/emit_dot.c.
 *
 * A value of 16 lanes is four registers of 16 bytes. With i8mm, usdot is dot4 itself. With dotprod
 * alone, sdot takes both operands as signed: codes of up to 7 bits are the same number either way;
 * for 8 bits sum(a * b) = sum((a - 128) * b) + 128 * sum(b), where a - 128 is a with its top bit
 * flipped and the second sum, two sdot with 64, is shared by all rows that meet the same b.
 *
 * Without dotprod, smull makes words of 8 products at a time. Those of codes of up to 7 bits are at
 * most 127 * 128, so that a pair fits a word; a chain of dot4, each the next one's accumulator, is
 * summed in two registers of words per 16 bytes as long as a pair of them can't overflow, before
 * addp and saddlp make lanes of them. Products of 8-bit codes fit a word one by one only, and
 * saddlp makes 32 bits of each pair.
 */
#include "backends/cpu/emit.h"

enum { PIECES = 4, BYTES = 16 };

/* Register i of a value of 16 lanes of 32 bits, as bytes. */
static LLVMValueRef take_bytes(KernelEmit *e, LLVMValueRef x, unsigned i) {
  LLVMValueRef words = emit_lanes(e, x, PIECES * i, PIECES);
  return LLVMBuildBitCast(e->b, words, emit_lanes_type(e, K_i8, BYTES), "");
}

static LLVMValueRef join(KernelEmit *e, LLVMValueRef part[PIECES]) {
  return emit_joined(e, emit_joined(e, part[0], part[1]), emit_joined(e, part[2], part[3]));
}

static LLVMValueRef splat_byte(KernelEmit *e, unsigned value) {
  return emit_splat(e, LLVMConstInt(emit_scalar_type(e, K_i8), value, 0), BYTES);
}

/* ---- dot products of 4 bytes ------------------------------------------------------------------
 */

static LLVMValueRef dot(KernelEmit *e, const char *name, LLVMValueRef acc, LLVMValueRef a,
                        LLVMValueRef b) {
  LLVMTypeRef over[2] = {emit_lanes_type(e, K_i32, PIECES), emit_lanes_type(e, K_i8, BYTES)};
  LLVMValueRef arg[3] = {acc, a, b};
  return emit_intrinsic(e, name, over, 2, arg, 3);
}

static LLVMValueRef dot_signed(KernelEmit *e, bool eight_bits, LLVMValueRef acc, LLVMValueRef a,
                               LLVMValueRef b) {
  static const char sdot[] = "llvm.aarch64.neon.sdot";
  if (!eight_bits) return dot(e, sdot, acc, a, b);
  LLVMValueRef half = splat_byte(e, 64);
  LLVMValueRef sum = dot(e, sdot, LLVMConstNull(emit_lanes_type(e, K_i32, PIECES)), half, b);
  sum = dot(e, sdot, sum, half, b);
  LLVMValueRef centred = LLVMBuildXor(e->b, a, splat_byte(e, 0x80), "");
  return dot(e, sdot, LLVMBuildAdd(e->b, acc, sum, ""), centred, b);
}

/* ---- without dotprod --------------------------------------------------------------------------
 */

static LLVMValueRef half_of(KernelEmit *e, LLVMValueRef x, unsigned half) {
  return emit_lanes(e, x, 8 * half, 8);
}

static LLVMValueRef multiply(KernelEmit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef type = emit_lanes_type(e, K_i16, 8);
  LLVMValueRef arg[2] = {a, b};
  return emit_intrinsic(e, "llvm.aarch64.neon.smull", &type, 1, arg, 2);
}

/* Sums of neighbours, at twice the width. */
static LLVMValueRef add_long(KernelEmit *e, LLVMValueRef words) {
  LLVMTypeRef over[2] = {emit_lanes_type(e, K_i32, 4), emit_lanes_type(e, K_i16, 8)};
  return emit_intrinsic(e, "llvm.aarch64.neon.saddlp", over, 2, &words, 1);
}

/* Sums of neighbours: those of a, then those of b. */
static LLVMValueRef add_pairs(KernelEmit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMValueRef arg[2] = {a, b};
  return emit_intrinsic(e, "llvm.aarch64.neon.addp", &type, 1, arg, 2);
}

static LLVMValueRef dot_eight_bits(KernelEmit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef words = emit_lanes_type(e, K_i16, 8);
  LLVMValueRef sum[2];
  for (unsigned h = 0; h < 2; h++) {
    LLVMValueRef x = LLVMBuildZExt(e->b, half_of(e, a, h), words, "");
    LLVMValueRef y = LLVMBuildSExt(e->b, half_of(e, b, h), words, "");
    sum[h] = add_long(e, LLVMBuildMul(e->b, x, y, ""));
  }
  return add_pairs(e, sum[0], sum[1]);
}

static void emit_chained(KernelEmit *e, const KInst *in, LLVMValueRef a, LLVMValueRef b) {
  DotChain chain = emit_chain_begin(e, in);
  for (unsigned i = 0; i < 2 * PIECES; i++) {
    LLVMValueRef x = half_of(e, take_bytes(e, a, i / 2), i % 2);
    LLVMValueRef y = half_of(e, take_bytes(e, b, i / 2), i % 2);
    emit_chain_add(e, &chain, i, multiply(e, x, y));
  }
  if (!emit_chain_ends(e, in, &chain)) return;
  LLVMValueRef sum[PIECES];
  for (unsigned i = 0; i < PIECES; i++)
    sum[i] = add_long(e, add_pairs(e, chain.words[2 * i], chain.words[2 * i + 1]));
  e->value[in->result] = LLVMBuildAdd(e->b, chain.start, join(e, sum), "");
}

/* ---- the operations ---------------------------------------------------------------------------
 */

void emit_arm_dot4(KernelEmit *e, const KInst *in) {
  LLVMValueRef a = e->value[in->arg[0]], b = e->value[in->arg[1]], acc = e->value[in->arg[2]];
  uint32_t isa = e->target->isa;
  bool eight_bits = in->imm.i == 8;
  if (isa == INGOT_AARCH64 && !eight_bits) {
    emit_chained(e, in, a, b);
    return;
  }
  LLVMValueRef part[PIECES];
  for (unsigned i = 0; i < PIECES; i++) {
    LLVMValueRef x = take_bytes(e, a, i), y = take_bytes(e, b, i);
    LLVMValueRef sum = emit_lanes(e, acc, PIECES * i, PIECES);
    if (isa == INGOT_AARCH64_I8MM)
      part[i] = dot(e, "llvm.aarch64.neon.usdot", sum, x, y);
    else if (isa == INGOT_AARCH64_DOTPROD)
      part[i] = dot_signed(e, eight_bits, sum, x, y);
    else
      part[i] = LLVMBuildAdd(e->b, sum, dot_eight_bits(e, x, y), "");
  }
  e->value[in->result] = join(e, part);
}

/* smull takes halves of words; addp makes lanes of the products. */
void emit_arm_dot2(KernelEmit *e, const KInst *in) {
  LLVMTypeRef words = emit_lanes_type(e, K_i16, 8), lanes = emit_lanes_type(e, K_i32, PIECES);
  LLVMValueRef part[PIECES];
  for (unsigned i = 0; i < PIECES; i++) {
    LLVMValueRef x = LLVMBuildBitCast(e->b, take_bytes(e, e->value[in->arg[0]], i), words, "");
    LLVMValueRef y = LLVMBuildBitCast(e->b, take_bytes(e, e->value[in->arg[1]], i), words, "");
    LLVMValueRef product[2];
    for (unsigned h = 0; h < 2; h++) {
      LLVMValueRef arg[2] = {emit_lanes(e, x, 4 * h, 4), emit_lanes(e, y, 4 * h, 4)};
      product[h] = emit_intrinsic(e, "llvm.aarch64.neon.smull", &lanes, 1, arg, 2);
    }
    part[i] = add_pairs(e, product[0], product[1]);
  }
  e->value[in->result] = LLVMBuildAdd(e->b, e->value[in->arg[2]], join(e, part), "");
}

/* tbl looks up 16 bytes, as a quarter of the table has. */
void emit_arm_lookup(KernelEmit *e, const KInst *in) {
  LLVMTypeRef bytes = emit_lanes_type(e, K_i8, BYTES), words = emit_lanes_type(e, K_i32, PIECES);
  LLVMValueRef part[PIECES];
  for (unsigned i = 0; i < PIECES; i++) {
    LLVMValueRef arg[2] = {take_bytes(e, e->value[in->arg[1]], i),
                           take_bytes(e, e->value[in->arg[0]], i)};
    LLVMValueRef found = emit_intrinsic(e, "llvm.aarch64.neon.tbl1", &bytes, 1, arg, 2);
    part[i] = LLVMBuildBitCast(e->b, found, words, "");
  }
  e->value[in->result] = join(e, part);
}
