/* Arithmetic, conversions and reductions of Kernel IR as LLVM IR.
 *
 * Bits are a contract here (ir/kops.def), so no fast-math flag is ever set: min and max are compare
 * and select, which x86 has as one instruction with just that meaning; fma is llvm.fma, one
 * rounding; sqrt and division are correctly rounded. No operation of this file can become a call of
 * a mathematical library; what a level has no instruction for is in emit_soft.c. f16 and bf16 are
 * kept as i16, and bf16 is converted by integer arithmetic.
 */
#include "backends/cpu/emit.h"

static bool is_float(KType t) {
  return t.scalar == K_f32;
}

static LLVMValueRef unary_intrinsic(KernelEmit *e, const char *name, LLVMValueRef x) {
  LLVMTypeRef type = LLVMTypeOf(x);
  return emit_intrinsic(e, name, &type, 1, &x, 1);
}

/* a < b ? a : b, or with > for the maximum. */
static LLVMValueRef emit_extreme(KernelEmit *e, bool floats, bool max, LLVMValueRef a,
                                 LLVMValueRef b) {
  LLVMValueRef c = floats ? LLVMBuildFCmp(e->b, max ? LLVMRealOGT : LLVMRealOLT, a, b, "")
                          : LLVMBuildICmp(e->b, max ? LLVMIntSGT : LLVMIntSLT, a, b, "");
  return LLVMBuildSelect(e->b, c, a, b, "");
}

static LLVMValueRef emit_compare(KernelEmit *e, KOpCode op, bool floats, LLVMValueRef a,
                                 LLVMValueRef b) {
  static const struct {
    LLVMRealPredicate real;
    LLVMIntPredicate integer;
  } predicate[] = {
      [KOP_eq - KOP_eq] = {LLVMRealOEQ, LLVMIntEQ},  [KOP_ne - KOP_eq] = {LLVMRealUNE, LLVMIntNE},
      [KOP_lt - KOP_eq] = {LLVMRealOLT, LLVMIntSLT}, [KOP_le - KOP_eq] = {LLVMRealOLE, LLVMIntSLE},
      [KOP_gt - KOP_eq] = {LLVMRealOGT, LLVMIntSGT}, [KOP_ge - KOP_eq] = {LLVMRealOGE, LLVMIntSGE},
  };
  if (floats) return LLVMBuildFCmp(e->b, predicate[op - KOP_eq].real, a, b, "");
  return LLVMBuildICmp(e->b, predicate[op - KOP_eq].integer, a, b, "");
}

static LLVMValueRef emit_fma(KernelEmit *e, const KInst *in, LLVMValueRef *x) {
  LLVMTypeRef type = LLVMTypeOf(x[0]);
  if (emit_is_soft(e)) return emit_soft_fma(e, x, e->grid[in->result]);
  return emit_intrinsic(e, "llvm.fma", &type, 1, x, 3);
}

static LLVMValueRef emit_float_op(KernelEmit *e, KOpCode op, LLVMValueRef a, LLVMValueRef b) {
  switch (op) {
  case KOP_add: return LLVMBuildFAdd(e->b, a, b, "");
  case KOP_sub: return LLVMBuildFSub(e->b, a, b, "");
  case KOP_mul: return LLVMBuildFMul(e->b, a, b, "");
  case KOP_div: return LLVMBuildFDiv(e->b, a, b, "");
  case KOP_neg: return LLVMBuildFNeg(e->b, a, "");
  case KOP_abs: return unary_intrinsic(e, "llvm.fabs", a);
  case KOP_sqrt: return unary_intrinsic(e, "llvm.sqrt", a);
  case KOP_floor: return unary_intrinsic(e, "llvm.floor", a);
  case KOP_rint: return unary_intrinsic(e, "llvm.roundeven", a);
  default: BUG("no float form of %s", kop_name(op));
  }
}

static LLVMValueRef emit_int_op(KernelEmit *e, KOpCode op, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMValueRef wraps = LLVMConstInt(LLVMInt1TypeInContext(e->context), 0, 0);
  switch (op) {
  case KOP_add: return LLVMBuildAdd(e->b, a, b, "");
  case KOP_sub: return LLVMBuildSub(e->b, a, b, "");
  case KOP_mul: return LLVMBuildMul(e->b, a, b, "");
  case KOP_div: return LLVMBuildSDiv(e->b, a, b, "");
  case KOP_rem: return LLVMBuildURem(e->b, a, b, ""); /* no operand is negative */
  case KOP_neg: return LLVMBuildNeg(e->b, a, "");
  case KOP_abs: return emit_intrinsic(e, "llvm.abs", &type, 1, (LLVMValueRef[]){a, wraps}, 2);
  case KOP_and: return LLVMBuildAnd(e->b, a, b, "");
  case KOP_or: return LLVMBuildOr(e->b, a, b, "");
  case KOP_xor: return LLVMBuildXor(e->b, a, b, "");
  case KOP_shl: return LLVMBuildShl(e->b, a, b, "");
  case KOP_lshr: return LLVMBuildLShr(e->b, a, b, "");
  case KOP_ashr: return LLVMBuildAShr(e->b, a, b, "");
  default: BUG("no integer form of %s", kop_name(op));
  }
}

void emit_arith(KernelEmit *e, const KInst *in) {
  LLVMValueRef arg[3] = {0};
  for (uint32_t i = 0; i < in->narg; i++) arg[i] = e->value[in->arg[i]];
  bool floats = is_float(emit_ktype(e, in->arg[0]));
  LLVMValueRef *out = &e->value[in->result];
  if (in->op >= KOP_eq && in->op <= KOP_ge)
    *out = emit_compare(e, in->op, floats, arg[0], arg[1]);
  else if (in->op == KOP_select)
    *out = LLVMBuildSelect(e->b, arg[0], arg[1], arg[2], "");
  else if (in->op == KOP_min || in->op == KOP_max)
    *out = emit_extreme(e, floats, in->op == KOP_max, arg[0], arg[1]);
  else if (in->op == KOP_fma)
    *out = emit_fma(e, in, arg);
  else if (floats)
    *out = emit_float_op(e, in->op, arg[0], arg[1]);
  else
    *out = emit_int_op(e, in->op, arg[0], arg[1]);
}

/* ---- conversions -------------------------------------------------------------------------------
 */

static LLVMValueRef bf16_to_float(KernelEmit *e, LLVMValueRef x, uint8_t lanes) {
  KType i32 = KT(i32, 1), f32 = KT(f32, 1);
  i32.lanes = f32.lanes = lanes;
  LLVMValueRef wide = LLVMBuildZExt(e->b, x, emit_type(e, i32), "");
  wide = LLVMBuildShl(e->b, wide, emit_int(e, i32, 16), "");
  return LLVMBuildBitCast(e->b, wide, emit_type(e, f32), "");
}

/* Nearest even on the upper half of the word; a NaN keeps its upper half and becomes quiet. */
static LLVMValueRef float_to_bf16(KernelEmit *e, LLVMValueRef x, uint8_t lanes) {
  KType i32 = KT(i32, 1), i16 = KT(i16, 1);
  i32.lanes = i16.lanes = lanes;
  LLVMValueRef sixteen = emit_int(e, i32, 16);
  LLVMValueRef nan = LLVMBuildFCmp(e->b, LLVMRealUNO, x, x, "");
  LLVMValueRef w = LLVMBuildBitCast(e->b, x, emit_type(e, i32), "");
  LLVMValueRef high = LLVMBuildLShr(e->b, w, sixteen, "");
  LLVMValueRef odd = LLVMBuildAnd(e->b, high, emit_int(e, i32, 1), "");
  LLVMValueRef up = LLVMBuildAdd(e->b, odd, emit_int(e, i32, 0x7fff), "");
  LLVMValueRef rounded = LLVMBuildLShr(e->b, LLVMBuildAdd(e->b, w, up, ""), sixteen, "");
  LLVMValueRef quiet = LLVMBuildOr(e->b, high, emit_int(e, i32, 0x40), "");
  LLVMValueRef r = LLVMBuildSelect(e->b, nan, quiet, rounded, "");
  return LLVMBuildTrunc(e->b, r, emit_type(e, i16), "");
}

static LLVMTypeRef half_type(KernelEmit *e, unsigned lanes) {
  LLVMTypeRef half = LLVMHalfTypeInContext(e->context);
  return lanes > 1 ? LLVMVectorType(half, lanes) : half;
}

static LLVMValueRef half_to_float(KernelEmit *e, LLVMValueRef x, KType to) {
  if (emit_is_soft(e)) return emit_soft_from_half(e, x);
  x = LLVMBuildBitCast(e->b, x, half_type(e, to.lanes), "");
  return LLVMBuildFPExt(e->b, x, emit_type(e, to), "");
}

static LLVMValueRef float_to_half(KernelEmit *e, LLVMValueRef x, KType to) {
  if (emit_is_soft(e)) return emit_soft_to_half(e, x);
  x = LLVMBuildFPTrunc(e->b, x, half_type(e, to.lanes), "");
  return LLVMBuildBitCast(e->b, x, emit_type(e, to), "");
}

static LLVMValueRef convert_float(KernelEmit *e, LLVMValueRef x, KType from, KType to) {
  if (from.scalar == K_bf16) return bf16_to_float(e, x, from.lanes);
  if (to.scalar == K_bf16) return float_to_bf16(e, x, from.lanes);
  if (from.scalar == K_f16) return half_to_float(e, x, to);
  if (to.scalar == K_f16) return float_to_half(e, x, to);
  return LLVMBuildFPToSI(e->b, x, emit_type(e, to), "");
}

void emit_convert(KernelEmit *e, const KInst *in) {
  KType from = emit_ktype(e, in->arg[0]), to = in->type;
  LLVMValueRef x = e->value[in->arg[0]];
  LLVMValueRef *out = &e->value[in->result];
  LLVMTypeRef type = emit_type(e, to);
  bool is_unsigned = in->op == KOP_cvtu;
  if (in->op == KOP_bits)
    *out = LLVMBuildBitCast(e->b, x, type, "");
  else if (is_float(from) || from.scalar == K_f16 || from.scalar == K_bf16)
    *out = convert_float(e, x, from, to);
  else if (is_float(to))
    *out = is_unsigned ? LLVMBuildUIToFP(e->b, x, type, "") : LLVMBuildSIToFP(e->b, x, type, "");
  else if (kscalar_size((KScalar)to.scalar) < kscalar_size((KScalar)from.scalar))
    *out = LLVMBuildTrunc(e->b, x, type, "");
  else
    *out = is_unsigned ? LLVMBuildZExt(e->b, x, type, "") : LLVMBuildSExt(e->b, x, type, "");
}

/* ---- reductions: the tree of kops.def ----------------------------------------------------------
 */

void emit_reduce(KernelEmit *e, const KInst *in) {
  bool floats = is_float(emit_ktype(e, in->arg[0]));
  LLVMValueRef x = e->value[in->arg[0]];
  for (unsigned half = 8; half; half /= 2) {
    LLVMValueRef a = emit_lanes(e, x, 0, half), b = emit_lanes(e, x, half, half);
    if (in->op == KOP_reduce_add)
      x = floats ? LLVMBuildFAdd(e->b, a, b, "") : LLVMBuildAdd(e->b, a, b, "");
    else
      x = emit_extreme(e, floats, in->op == KOP_reduce_max, a, b);
  }
  e->value[in->result] = LLVMBuildExtractElement(e->b, x, emit_i64(e, 0), "");
}
