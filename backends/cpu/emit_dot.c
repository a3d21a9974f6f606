/* dot4: sums of four products u8 * s8 in each of 16 lanes, exact on every ISA level.
 *
 * With VNNI it is one instruction. Without, vpmaddubsw adds pairs in 16 bits with saturation: a
 * pair of codes of up to 7 bits is at most 2 * 127 * 128 = 32512 and can't saturate, so vpmaddubsw
 * and vpmaddwd with ones do it. Codes of 8 bits are split into even and odd bytes, widened to 16
 * bits in place, and multiplied by vpmaddwd; the widened halves are plain values, which LLVM shares
 * among all dot4 of the same operand. The levels agree since integers do.
 */
#include "backends/cpu/emit.h"

static LLVMTypeRef lanes_of(KernelEmit *e, KScalar s, unsigned n) {
  return LLVMVectorType(emit_scalar_type(e, s), n);
}

typedef LLVMValueRef PieceFn(KernelEmit *e, LLVMValueRef a, LLVMValueRef b, unsigned bytes);

static LLVMValueRef pair_words(KernelEmit *e, LLVMValueRef a, LLVMValueRef b, unsigned bytes) {
  LLVMValueRef arg[2] = {a, b};
  const char *name = bytes == 64 ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd";
  return emit_intrinsic(e, name, NULL, 0, arg, 2);
}

/* vpmaddubsw, then pairs of its words added. */
static LLVMValueRef piece_7bit(KernelEmit *e, LLVMValueRef a, LLVMValueRef b, unsigned bytes) {
  LLVMTypeRef i8 = lanes_of(e, K_i8, bytes), i16 = emit_scalar_type(e, K_i16);
  LLVMValueRef arg[2] = {LLVMBuildBitCast(e->b, a, i8, ""), LLVMBuildBitCast(e->b, b, i8, "")};
  const char *name = bytes == 64 ? "llvm.x86.avx512.pmaddubs.w.512" : "llvm.x86.avx2.pmadd.ub.sw";
  LLVMValueRef words = emit_intrinsic(e, name, NULL, 0, arg, 2);
  return pair_words(e, words, emit_splat(e, LLVMConstInt(i16, 1, 0), bytes / 2), bytes);
}

static LLVMValueRef piece_8bit(KernelEmit *e, LLVMValueRef a, LLVMValueRef b, unsigned bytes) {
  LLVMTypeRef type = lanes_of(e, K_i16, bytes / 2), i16 = emit_scalar_type(e, K_i16);
  LLVMValueRef eight = emit_splat(e, LLVMConstInt(i16, 8, 0), bytes / 2);
  LLVMValueRef low = emit_splat(e, LLVMConstInt(i16, 0xff, 0), bytes / 2);
  a = LLVMBuildBitCast(e->b, a, type, "");
  b = LLVMBuildBitCast(e->b, b, type, "");
  LLVMValueRef even_b = LLVMBuildAShr(e->b, LLVMBuildShl(e->b, b, eight, ""), eight, "");
  LLVMValueRef even = pair_words(e, LLVMBuildAnd(e->b, a, low, ""), even_b, bytes);
  LLVMValueRef odd =
      pair_words(e, LLVMBuildLShr(e->b, a, eight, ""), LLVMBuildAShr(e->b, b, eight, ""), bytes);
  return LLVMBuildAdd(e->b, even, odd, "");
}

/* 64 bytes in pieces of the machine's width. */
static LLVMValueRef in_pieces(KernelEmit *e, PieceFn *piece, LLVMValueRef a, LLVMValueRef b) {
  if (e->target->vector_bytes == 64) return piece(e, a, b, 64);
  LLVMValueRef part[2], mask[16];
  for (unsigned i = 0; i < 2; i++)
    part[i] = piece(e, emit_lanes(e, a, 8 * i, 8), emit_lanes(e, b, 8 * i, 8), 32);
  for (unsigned i = 0; i < 16; i++)
    mask[i] = LLVMConstInt(LLVMInt32TypeInContext(e->context), i, 0);
  return LLVMBuildShuffleVector(e->b, part[0], part[1], LLVMConstVector(mask, 16), "");
}

void emit_dot4(KernelEmit *e, const KInst *in) {
  LLVMValueRef a = e->value[in->arg[0]], b = e->value[in->arg[1]], acc = e->value[in->arg[2]];
  LLVMValueRef *out = &e->value[in->result];
  if (e->target->isa >= INGOT_X86_64_V4_VNNI) {
    LLVMValueRef arg[3] = {acc, a, b};
    *out = emit_intrinsic(e, "llvm.x86.avx512.vpdpbusd.512", NULL, 0, arg, 3);
    return;
  }
  LLVMValueRef sum = in_pieces(e, in->imm.i == 8 ? piece_8bit : piece_7bit, a, b);
  *out = LLVMBuildAdd(e->b, acc, sum, "");
}
