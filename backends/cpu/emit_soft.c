/* What x86-64-v2 lacks, made of what it has, with the same bits: fma and the conversions of f16.
 *
 * fma: the product of two floats is exact in double. Its sum with the third is rounded to odd (the
 * exact error of the addition is known by Knuth's TwoSum; where there is one, the sum is cut off
 * towards zero and its last bit set), so that rounding it to a float rounds once: Boldo and
 * Melquiond, "Emulation of FMA and correctly rounded sums" (2008). Double has more than twice a
 * float's digits and a far wider range, so this holds for subnormal results and overflow too.
 * That is long, so vectors are rounded twice and tested for where it could differ; only
 * then is the exact form run. fma without a known grid (emit_grid.c) is one function of the object.
 * f16 is rescaled by multiplying with powers of two, which is exact and makes NaNs quiet as F16C
 * does. All vectors are cut into registers here, which keeps the order of operations local.
 */
#include "backends/cpu/emit.h"

enum { REGISTER = 4 }; /* floats or 32-bit integers of a 16-byte register */

/* An operation on a register's part, or on a scalar or a whole vector. */
typedef LLVMValueRef PieceFn(KernelEmit *e, LLVMValueRef *x);

static unsigned lanes_of(LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetVectorSize(t) : 1;
}

/* f of vectors, `width` lanes at a time. */
static LLVMValueRef by_pieces(KernelEmit *e, PieceFn *f, LLVMValueRef *x, unsigned nargs,
                              unsigned width) {
  unsigned n = lanes_of(x[0]);
  if (n <= width) return f(e, x);
  LLVMValueRef half[2], arg[3];
  for (unsigned h = 0; h < 2; h++) {
    for (unsigned i = 0; i < nargs; i++) arg[i] = emit_lanes(e, x[i], h * n / 2, n / 2);
    half[h] = by_pieces(e, f, arg, nargs, width);
  }
  return emit_joined(e, half[0], half[1]);
}

static LLVMTypeRef with_lanes(LLVMTypeRef scalar, unsigned n) {
  return n > 1 ? LLVMVectorType(scalar, n) : scalar;
}

static LLVMValueRef int32(KernelEmit *e, uint32_t v, unsigned n) {
  LLVMValueRef x = LLVMConstInt(LLVMInt32TypeInContext(e->context), v, 0);
  return n > 1 ? emit_splat(e, x, n) : x;
}

static LLVMTypeRef int32_type(KernelEmit *e, unsigned n) {
  return with_lanes(LLVMInt32TypeInContext(e->context), n);
}

static LLVMTypeRef float_type(KernelEmit *e, unsigned n) {
  return with_lanes(LLVMFloatTypeInContext(e->context), n);
}

/* ---- fma ---------------------------------------------------------------------------------------
 */

static LLVMValueRef bits64(KernelEmit *e, uint64_t v, unsigned n) {
  LLVMValueRef x = LLVMConstInt(LLVMInt64TypeInContext(e->context), v, 0);
  return n > 1 ? emit_splat(e, x, n) : x;
}

/* x + y - sum, exactly; NaN where the sum isn't finite. */
static LLVMValueRef sum_error(KernelEmit *e, LLVMValueRef x, LLVMValueRef y, LLVMValueRef sum) {
  LLVMValueRef of_y = LLVMBuildFSub(e->b, sum, x, "");
  LLVMValueRef of_x = LLVMBuildFSub(e->b, sum, of_y, "");
  LLVMValueRef left_x = LLVMBuildFSub(e->b, x, of_x, ""), left_y = LLVMBuildFSub(e->b, y, of_y, "");
  return LLVMBuildFAdd(e->b, left_x, left_y, "");
}

static LLVMValueRef round_to_odd(KernelEmit *e, LLVMValueRef sum, LLVMValueRef error) {
  unsigned n = lanes_of(sum);
  LLVMTypeRef i64 = with_lanes(LLVMInt64TypeInContext(e->context), n);
  LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(sum));
  LLVMValueRef inexact =
      LLVMBuildSExt(e->b, LLVMBuildFCmp(e->b, LLVMRealONE, error, zero, ""), i64, "");
  LLVMValueRef word = LLVMBuildBitCast(e->b, sum, i64, "");
  LLVMValueRef against = LLVMBuildXor(e->b, LLVMBuildBitCast(e->b, error, i64, ""), word, "");
  LLVMValueRef beyond =
      LLVMBuildLShr(e->b, LLVMBuildAnd(e->b, against, inexact, ""), bits64(e, 63, n), "");
  LLVMValueRef odd = LLVMBuildLShr(e->b, inexact, bits64(e, 63, n), "");
  word = LLVMBuildOr(e->b, LLVMBuildSub(e->b, word, beyond, ""), odd, "");
  return LLVMBuildBitCast(e->b, word, LLVMTypeOf(sum), "");
}

static LLVMValueRef widened(KernelEmit *e, LLVMValueRef x) {
  return LLVMBuildFPExt(e->b, x, with_lanes(LLVMDoubleTypeInContext(e->context), lanes_of(x)), "");
}

/* Two lanes, since a register holds two doubles. */
static LLVMValueRef exact_fma(KernelEmit *e, LLVMValueRef *x) {
  LLVMValueRef product = LLVMBuildFMul(e->b, widened(e, x[0]), widened(e, x[1]), "");
  LLVMValueRef c = widened(e, x[2]), sum = LLVMBuildFAdd(e->b, product, c, "");
  sum = round_to_odd(e, sum, sum_error(e, product, c, sum));
  return LLVMBuildFPTrunc(e->b, sum, LLVMTypeOf(x[0]), "");
}

/* Rounding twice can only go wrong where the sum isn't exact and lies half way between two floats.
 * Of multiples of 2^grid the sum is exact unless the result is large. Of others it is half way if
 * its last 29 bits are a 1 and zeros, or if the result is subnormal (zero too may seem to be). */
typedef struct Doubt {
  LLVMValueRef half_way; /* i32 lanes: all bits or none; without a grid */
  LLVMValueRef extreme;  /* i32 lanes: magnitudes, to be the largest or, without a grid, least */
} Doubt;

static LLVMValueRef is_half_way(KernelEmit *e, const LLVMValueRef sum[2]) {
  LLVMTypeRef i32 = int32_type(e, REGISTER);
  LLVMValueRef even[REGISTER], word[2];
  for (unsigned i = 0; i < REGISTER; i++) even[i] = int32(e, 2 * i, 1);
  for (unsigned i = 0; i < 2; i++) word[i] = LLVMBuildBitCast(e->b, sum[i], i32, "");
  LLVMValueRef low =
      LLVMBuildShuffleVector(e->b, word[0], word[1], LLVMConstVector(even, REGISTER), "");
  low = LLVMBuildAnd(e->b, low, int32(e, 0x1fffffff, REGISTER), "");
  low = LLVMBuildICmp(e->b, LLVMIntEQ, low, int32(e, 0x10000000, REGISTER), "");
  return LLVMBuildSExt(e->b, low, i32, "");
}

/* A register of results, rounded twice. */
static LLVMValueRef plain_fma(KernelEmit *e, LLVMValueRef *x, bool on_grid, Doubt *doubt) {
  LLVMValueRef sum[2], result[2], part[3];
  for (unsigned h = 0; h < 2; h++) {
    for (unsigned i = 0; i < 3; i++) part[i] = widened(e, emit_lanes(e, x[i], 2 * h, 2));
    sum[h] = LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, part[0], part[1], ""), part[2], "");
    result[h] = LLVMBuildFPTrunc(e->b, sum[h], float_type(e, 2), "");
  }
  LLVMValueRef r = emit_joined(e, result[0], result[1]);
  LLVMValueRef word = LLVMBuildBitCast(e->b, r, int32_type(e, REGISTER), "");
  doubt->extreme = LLVMBuildAnd(e->b, word, int32(e, 0x7fffffff, REGISTER), "");
  if (!on_grid) doubt->half_way = is_half_way(e, sum);
  return r;
}

/* Whether any lane is in doubt, as i1. `large`: the bits of the first magnitude that is; 0: none.
 */
static LLVMValueRef in_doubt(KernelEmit *e, Doubt *d, unsigned n, uint32_t large) {
  LLVMTypeRef i32 = int32_type(e, REGISTER), i128 = LLVMIntTypeInContext(e->context, 128);
  for (; n > 1; n /= 2)
    for (unsigned i = 0; i < n / 2; i++) {
      LLVMValueRef pair[2] = {d[i].extreme, d[i + n / 2].extreme};
      d[i].extreme = emit_intrinsic(e, large ? "llvm.umax" : "llvm.umin", &i32, 1, pair, 2);
      if (!large) d[i].half_way = LLVMBuildOr(e->b, d[i].half_way, d[i + n / 2].half_way, "");
    }
  LLVMValueRef limit = int32(e, large ? large - 1 : 0x00800000, REGISTER);
  LLVMValueRef any = LLVMBuildICmp(e->b, large ? LLVMIntSGT : LLVMIntSLT, d->extreme, limit, "");
  any = LLVMBuildSExt(e->b, any, i32, "");
  if (!large) any = LLVMBuildOr(e->b, d->half_way, any, "");
  any = LLVMBuildBitCast(e->b, any, i128, "");
  return LLVMBuildICmp(e->b, LLVMIntNE, any, LLVMConstNull(i128), "");
}

/* All 16 lanes, rounded twice; where that is in doubt, what `exact` gives for them. */
static LLVMValueRef fma_lanes(KernelEmit *e, LLVMValueRef *x, uint32_t large, PieceFn *exact) {
  LLVMValueRef part[3], r[4];
  Doubt doubt[4];
  for (unsigned k = 0; k < 4; k++) {
    for (unsigned i = 0; i < 3; i++) part[i] = emit_lanes(e, x[i], REGISTER * k, REGISTER);
    r[k] = plain_fma(e, part, large != 0, &doubt[k]);
  }
  LLVMValueRef plain = emit_joined(e, emit_joined(e, r[0], r[1]), emit_joined(e, r[2], r[3]));
  LLVMBasicBlockRef from[2] = {LLVMGetInsertBlock(e->b), emit_new_block(e, "exact")};
  LLVMBasicBlockRef after = emit_new_block(e, "fma");
  LLVMBuildCondBr(e->b, in_doubt(e, doubt, 4, large), from[1], after);
  LLVMPositionBuilderAtEnd(e->b, from[1]);
  LLVMValueRef value[2] = {plain, exact(e, x)};
  LLVMBuildBr(e->b, after);
  LLVMPositionBuilderAtEnd(e->b, after);
  LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(plain), "");
  LLVMAddIncoming(phi, value, from, 2);
  return phi;
}

static LLVMValueRef exact_lanes(KernelEmit *e, LLVMValueRef *x) {
  return by_pieces(e, exact_fma, x, 3, 2);
}

/* 16 lanes of anything, as a function of the object's own: it is long. */
static LLVMValueRef fma_function(KernelEmit *e) {
  static const char name[] = "ingot.fma";
  LLVMValueRef fn = LLVMGetNamedFunction(e->module, name);
  if (fn) return fn;
  LLVMTypeRef lanes = float_type(e, 16), args[3] = {lanes, lanes, lanes};
  fn = LLVMAddFunction(e->module, name, LLVMFunctionType(lanes, args, 3, 0));
  LLVMSetLinkage(fn, LLVMInternalLinkage);
  emit_attributes(e, fn);
  emit_flag(e, fn, "noinline", 0);
  emit_flag(e, fn, "memory", 0); /* none */
  KernelEmit in = *e;
  in.fn = fn;
  in.b = LLVMCreateBuilderInContext(e->context);
  LLVMPositionBuilderAtEnd(in.b, LLVMAppendBasicBlockInContext(e->context, fn, "entry"));
  LLVMValueRef x[3] = {LLVMGetParam(fn, 0), LLVMGetParam(fn, 1), LLVMGetParam(fn, 2)};
  LLVMBuildRet(in.b, fma_lanes(&in, x, 0, exact_lanes));
  LLVMDisposeBuilder(in.b);
  return fn;
}

static LLVMValueRef call_fma(KernelEmit *e, LLVMValueRef *x) {
  LLVMValueRef fn = fma_function(e);
  return LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, x, 3, "");
}

/* The block of a call that is hardly ever made is laid out of the way. */
static LLVMValueRef call_fma_rarely(KernelEmit *e, LLVMValueRef *x) {
  unsigned cold = LLVMGetEnumAttributeKindForName("cold", 4);
  LLVMValueRef call = call_fma(e, x);
  LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex,
                           LLVMCreateEnumAttribute(e->context, cold, 0));
  return call;
}

/* The bits of 2^(grid + 53), from which on sums may be inexact; 0: too small to be of use. */
static uint32_t grid_limit(int16_t grid) {
  enum { DIGITS = 53, USEFUL = 24, BIAS = 127, LARGEST = 127 };
  if (grid == GRID_NONE || grid + DIGITS < USEFUL) return 0;
  int exponent = grid + DIGITS > LARGEST ? LARGEST : grid + DIGITS;
  return (uint32_t)(exponent + BIAS) << 23;
}

LLVMValueRef emit_soft_fma(KernelEmit *e, LLVMValueRef *x, int16_t grid) {
  uint32_t large = grid_limit(grid);
  if (lanes_of(x[0]) == 1) return exact_fma(e, x);
  return large ? fma_lanes(e, x, large, call_fma_rarely) : call_fma(e, x);
}

/* ---- f16 ---------------------------------------------------------------------------------------
 */

/* The magnitude's bits are those of a float 2^112 times too small; infinity and NaN get their
 * exponent first. */
static LLVMValueRef from_half(KernelEmit *e, LLVMValueRef *x) {
  unsigned n = lanes_of(x[0]);
  LLVMTypeRef i32 = int32_type(e, n);
  LLVMValueRef h = LLVMBuildZExt(e->b, x[0], i32, "");
  LLVMValueRef magnitude = LLVMBuildAnd(e->b, h, int32(e, 0x7fff, n), "");
  LLVMValueRef sign = LLVMBuildShl(e->b, LLVMBuildXor(e->b, h, magnitude, ""), int32(e, 16, n), "");
  LLVMValueRef special = LLVMBuildICmp(e->b, LLVMIntSGT, magnitude, int32(e, 0x7bff, n), "");
  LLVMValueRef exponent =
      LLVMBuildAnd(e->b, LLVMBuildSExt(e->b, special, i32, ""), int32(e, 0x7f800000, n), "");
  LLVMValueRef word = LLVMBuildShl(e->b, magnitude, int32(e, 13, n), "");
  word = LLVMBuildOr(e->b, word, exponent, "");
  LLVMValueRef scale =
      LLVMConstBitCast(int32(e, (127 + 112) << 23, n), float_type(e, n)); /* 2^112 */
  LLVMValueRef f =
      LLVMBuildFMul(e->b, LLVMBuildBitCast(e->b, word, float_type(e, n), ""), scale, "");
  return LLVMBuildOr(e->b, LLVMBuildBitCast(e->b, f, i32, ""), sign, "");
}

LLVMValueRef emit_soft_from_half(KernelEmit *e, LLVMValueRef x) {
  LLVMValueRef word = by_pieces(e, from_half, &x, 1, REGISTER);
  return LLVMBuildBitCast(e->b, word, float_type(e, lanes_of(x)), "");
}

/* A number below 2^-14 is rounded by adding 0.5, whose last place is 2^-24. */
static LLVMValueRef small_to_half(KernelEmit *e, LLVMValueRef magnitude) {
  unsigned n = lanes_of(magnitude);
  LLVMValueRef half = int32(e, 0x3f000000, n);
  LLVMValueRef f = LLVMBuildBitCast(e->b, magnitude, float_type(e, n), "");
  f = LLVMBuildFAdd(e->b, f, LLVMConstBitCast(half, float_type(e, n)), "");
  return LLVMBuildSub(e->b, LLVMBuildBitCast(e->b, f, int32_type(e, n), ""), half, "");
}

static LLVMValueRef to_half(KernelEmit *e, LLVMValueRef *x) {
  unsigned n = lanes_of(x[0]);
  LLVMValueRef word = LLVMBuildBitCast(e->b, x[0], int32_type(e, n), "");
  LLVMValueRef magnitude = LLVMBuildAnd(e->b, word, int32(e, 0x7fffffff, n), "");
  LLVMValueRef sign =
      LLVMBuildLShr(e->b, LLVMBuildXor(e->b, word, magnitude, ""), int32(e, 16, n), "");
  LLVMValueRef shifted = LLVMBuildLShr(e->b, magnitude, int32(e, 13, n), "");
  LLVMValueRef odd = LLVMBuildAnd(e->b, shifted, int32(e, 1, n), "");
  LLVMValueRef up = LLVMBuildAdd(e->b, odd, int32(e, 0xfffu - (112u << 23), n), "");
  LLVMValueRef h = LLVMBuildLShr(e->b, LLVMBuildAdd(e->b, magnitude, up, ""), int32(e, 13, n), "");
  LLVMValueRef small = LLVMBuildICmp(e->b, LLVMIntSLT, magnitude, int32(e, 0x38800000, n), "");
  h = LLVMBuildSelect(e->b, small, small_to_half(e, magnitude), h, "");
  LLVMValueRef large = LLVMBuildICmp(e->b, LLVMIntSGT, magnitude, int32(e, 0x477fffff, n), "");
  h = LLVMBuildSelect(e->b, large, int32(e, 0x7c00, n), h, "");
  LLVMValueRef nan = LLVMBuildICmp(e->b, LLVMIntSGT, magnitude, int32(e, 0x7f800000, n), "");
  LLVMValueRef payload = LLVMBuildAnd(e->b, shifted, int32(e, 0x3ff, n), "");
  payload = LLVMBuildOr(e->b, payload, int32(e, 0x7e00, n), "");
  h = LLVMBuildSelect(e->b, nan, payload, h, "");
  return LLVMBuildOr(e->b, h, sign, "");
}

LLVMValueRef emit_soft_to_half(KernelEmit *e, LLVMValueRef x) {
  LLVMValueRef word = by_pieces(e, to_half, &x, 1, REGISTER);
  LLVMTypeRef i16 = with_lanes(LLVMInt16TypeInContext(e->context), lanes_of(x));
  return LLVMBuildTrunc(e->b, word, i16, "");
}
