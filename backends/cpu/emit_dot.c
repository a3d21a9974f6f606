/* dot4: sums of four products u8 * s8 in each of 16 lanes, exact on every ISA level; dot2, of two
 * of words, which is vpmaddwd and an addition; and lookup.
 *
 * With VNNI it is one instruction. Without, vpmaddubsw adds pairs of products in 16 bits with
 * saturation: a pair with codes of up to 7 bits is at most 2 * 127 * 128 = 32512 and can't
 * saturate. A chain of dot4, each the next one's accumulator, stays in such words as long as they
 * can't overflow (eight links for 4-bit codes) before vpmaddwd with ones makes lanes of 32 bits of
 * them. Codes of 8 bits are split into even and odd bytes, widened to 16 bits in place, and
 * multiplied by vpmaddwd; the widened halves are plain values, which LLVM shares among all dot4 of
 * the same operand. The levels agree since integers do.
 */
#include "backends/cpu/emit.h"

#include <string.h>

/* The same instructions by width of vector. */
typedef struct Packed {
  uint32_t bytes;
  const char *pair_words, *pair_bytes, *shuffle, *dot;
} Packed;

static const Packed packed[] = {
    {16, "llvm.x86.sse2.pmadd.wd", "llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.ssse3.pshuf.b.128",
     NULL},
    {32, "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pshuf.b",
     "llvm.x86.avx512.vpdpbusd.256"},
    {64, "llvm.x86.avx512.pmaddw.d.512", "llvm.x86.avx512.pmaddubs.w.512",
     "llvm.x86.avx512.pshuf.b.512", "llvm.x86.avx512.vpdpbusd.512"},
};

static const Packed *packed_of(const KernelEmit *e) {
  const Packed *p = packed;
  while (p->bytes != e->target->vector_bytes) p++;
  return p;
}

static LLVMValueRef pair_words(KernelEmit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef arg[2] = {a, b};
  return emit_intrinsic(e, packed_of(e)->pair_words, NULL, 0, arg, 2);
}

static LLVMValueRef pair_bytes(KernelEmit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef i8 = emit_lanes_type(e, K_i8, e->target->vector_bytes);
  LLVMValueRef arg[2] = {LLVMBuildBitCast(e->b, a, i8, ""), LLVMBuildBitCast(e->b, b, i8, "")};
  return emit_intrinsic(e, packed_of(e)->pair_bytes, NULL, 0, arg, 2);
}

static LLVMValueRef words_8bit(KernelEmit *e, LLVMValueRef a, LLVMValueRef b) {
  unsigned bytes = e->target->vector_bytes;
  LLVMTypeRef type = emit_lanes_type(e, K_i16, bytes / 2), i16 = emit_scalar_type(e, K_i16);
  LLVMValueRef eight = emit_splat(e, LLVMConstInt(i16, 8, 0), bytes / 2);
  LLVMValueRef low = emit_splat(e, LLVMConstInt(i16, 0xff, 0), bytes / 2);
  a = LLVMBuildBitCast(e->b, a, type, "");
  b = LLVMBuildBitCast(e->b, b, type, "");
  LLVMValueRef even_b = LLVMBuildAShr(e->b, LLVMBuildShl(e->b, b, eight, ""), eight, "");
  LLVMValueRef even = pair_words(e, LLVMBuildAnd(e->b, a, low, ""), even_b);
  LLVMValueRef odd =
      pair_words(e, LLVMBuildLShr(e->b, a, eight, ""), LLVMBuildAShr(e->b, b, eight, ""));
  return LLVMBuildAdd(e->b, even, odd, "");
}

/* ---- chains -------------------------------------------------------------------------------------
 */

/* A value of 64 bytes is one, two or four registers. */
enum { MAX_PIECES = 4 };

static unsigned pieces(const KernelEmit *e) {
  return 64 / e->target->vector_bytes;
}

static LLVMValueRef take_piece(KernelEmit *e, LLVMValueRef x, unsigned i) {
  unsigned lanes = 16 / pieces(e);
  return pieces(e) == 1 ? x : emit_lanes(e, x, lanes * i, lanes);
}

static LLVMValueRef join_pieces(KernelEmit *e, const LLVMValueRef *part) {
  LLVMValueRef level[MAX_PIECES];
  memcpy(level, part, pieces(e) * sizeof *part);
  for (unsigned n = pieces(e); n > 1; n /= 2)
    for (unsigned i = 0; i < n / 2; i++) level[i] = emit_joined(e, level[2 * i], level[2 * i + 1]);
  return level[0];
}

static void emit_chained(KernelEmit *e, const KInst *in, LLVMValueRef a, LLVMValueRef b) {
  DotChain chain = emit_chain_begin(e, in);
  for (unsigned i = 0; i < pieces(e); i++)
    emit_chain_add(e, &chain, i, pair_bytes(e, take_piece(e, a, i), take_piece(e, b, i)));
  if (!emit_chain_ends(e, in, &chain)) return;
  LLVMTypeRef i16 = emit_scalar_type(e, K_i16);
  LLVMValueRef ones = emit_splat(e, LLVMConstInt(i16, 1, 0), e->target->vector_bytes / 2);
  LLVMValueRef sum[MAX_PIECES];
  for (unsigned i = 0; i < pieces(e); i++) sum[i] = pair_words(e, chain.words[i], ones);
  e->value[in->result] = LLVMBuildAdd(e->b, chain.start, join_pieces(e, sum), "");
}

static bool has_vnni(const KernelEmit *e) {
  uint32_t isa = e->target->isa;
  return isa == INGOT_X86_64_V3_VNNI || isa >= INGOT_X86_64_V4_VNNI;
}

void emit_dot4(KernelEmit *e, const KInst *in) {
  LLVMValueRef a = e->value[in->arg[0]], b = e->value[in->arg[1]], acc = e->value[in->arg[2]];
  if (has_vnni(e)) {
    LLVMValueRef sum[MAX_PIECES];
    for (unsigned i = 0; i < pieces(e); i++) {
      LLVMValueRef arg[3] = {take_piece(e, acc, i), take_piece(e, a, i), take_piece(e, b, i)};
      sum[i] = emit_intrinsic(e, packed_of(e)->dot, NULL, 0, arg, 3);
    }
    e->value[in->result] = join_pieces(e, sum);
  } else if (in->imm.i == 8) {
    LLVMValueRef sum[MAX_PIECES];
    for (unsigned i = 0; i < pieces(e); i++)
      sum[i] = words_8bit(e, take_piece(e, a, i), take_piece(e, b, i));
    e->value[in->result] = LLVMBuildAdd(e->b, acc, join_pieces(e, sum), "");
  } else {
    emit_chained(e, in, a, b);
  }
}

void emit_dot2(KernelEmit *e, const KInst *in) {
  unsigned lanes = e->target->vector_bytes / 2;
  LLVMTypeRef words = emit_lanes_type(e, K_i16, lanes);
  LLVMValueRef sum[MAX_PIECES];
  for (unsigned i = 0; i < pieces(e); i++) {
    LLVMValueRef a = take_piece(e, e->value[in->arg[0]], i);
    LLVMValueRef b = take_piece(e, e->value[in->arg[1]], i);
    sum[i] =
        pair_words(e, LLVMBuildBitCast(e->b, a, words, ""), LLVMBuildBitCast(e->b, b, words, ""));
  }
  e->value[in->result] = LLVMBuildAdd(e->b, e->value[in->arg[2]], join_pieces(e, sum), "");
}

/* vpshufb looks up 16 bytes in each quarter of 16; no code has bit 7 set, which would give 0. */
void emit_lookup(KernelEmit *e, const KInst *in) {
  LLVMValueRef part[MAX_PIECES];
  LLVMTypeRef bytes = emit_lanes_type(e, K_i8, e->target->vector_bytes);
  LLVMTypeRef words = emit_lanes_type(e, K_i32, e->target->vector_bytes / 4);
  for (unsigned i = 0; i < pieces(e); i++) {
    LLVMValueRef codes = take_piece(e, e->value[in->arg[0]], i);
    LLVMValueRef table = take_piece(e, e->value[in->arg[1]], i);
    LLVMValueRef arg[2] = {LLVMBuildBitCast(e->b, table, bytes, ""),
                           LLVMBuildBitCast(e->b, codes, bytes, "")};
    part[i] = LLVMBuildBitCast(e->b, emit_intrinsic(e, packed_of(e)->shuffle, NULL, 0, arg, 2),
                               words, "");
  }
  e->value[in->result] = join_pieces(e, part);
}
