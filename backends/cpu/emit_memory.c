/* Loads, stores and prefetches of Kernel IR as LLVM IR.
 *
 * An address is a chain of byte offsets: the terms of outer loops first, so that LLVM hoists their
 * sums, the literal last, so that it becomes the displacement of the instruction. Accesses have the
 * alignment of their scalar type only. Buffers may overlap (an arena is reused in place), hence no
 * noalias; loads from buffers that every launch binds to packed weights are marked invariant.
 */
#include "backends/cpu/emit.h"

static LLVMValueRef byte_offset(KernelEmit *e, LLVMValueRef base, LLVMValueRef bytes) {
  return LLVMBuildGEP2(e->b, LLVMInt8TypeInContext(e->context), base, &bytes, 1, "");
}

/* Indices with smaller ids were made earlier, that is outside or at the head of inner loops. */
static void order_terms(const KAddr *a, uint32_t order[KADDR_TERMS]) {
  for (uint32_t i = 0; i < a->nterm; i++) {
    uint32_t at = i;
    while (at > 0 && a->term[order[at - 1]].index > a->term[i].index) {
      order[at] = order[at - 1];
      at--;
    }
    order[at] = i;
  }
}

LLVMValueRef emit_address(KernelEmit *e, const KAddr *a) {
  int64_t size = (int64_t)kscalar_size((KScalar)emit_ktype(e, a->base).scalar);
  int64_t literal = a->offset * size;
  LLVMValueRef p = e->value[a->base];
  uint32_t order[KADDR_TERMS];
  order_terms(a, order);
  for (uint32_t i = 0; i < a->nterm; i++) {
    LLVMValueRef index = e->value[a->term[order[i]].index];
    int64_t stride = a->term[order[i]].stride * size;
    if (LLVMIsAConstantInt(index))
      literal += LLVMConstIntGetSExtValue(index) * stride;
    else
      p = byte_offset(e, p, LLVMBuildMul(e->b, index, emit_i64(e, stride), ""));
  }
  return literal ? byte_offset(e, p, emit_i64(e, literal)) : p;
}

/* One pointer a lane, `lane` elements apart. */
static LLVMValueRef lane_pointers(KernelEmit *e, LLVMValueRef p, int64_t bytes) {
  LLVMValueRef offset[16];
  for (int i = 0; i < 16; i++) offset[i] = emit_i64(e, i * bytes);
  LLVMValueRef all = LLVMConstVector(offset, 16);
  return LLVMBuildGEP2(e->b, LLVMInt8TypeInContext(e->context), p, &all, 1, "");
}

static LLVMValueRef all_lanes(KernelEmit *e) {
  return LLVMConstAllOnes(LLVMVectorType(LLVMInt1TypeInContext(e->context), 16));
}

static LLVMValueRef align_of(KernelEmit *e, KScalar s) {
  return LLVMConstInt(LLVMInt32TypeInContext(e->context), kscalar_size(s), 0);
}

static bool is_constant(const KernelEmit *e, KVal base) {
  for (uint32_t i = 0; e->constant && i < e->kernel->nbuffers; i++)
    if (e->kernel->buffers[i] == base) return e->constant[i];
  return false;
}

static void mark_invariant(KernelEmit *e, LLVMValueRef load) {
  static const char name[] = "invariant.load";
  unsigned kind = LLVMGetMDKindIDInContext(e->context, name, sizeof name - 1);
  LLVMMetadataRef empty = LLVMMDNodeInContext2(e->context, NULL, 0);
  LLVMSetMetadata(load, kind, LLVMMetadataAsValue(e->context, empty));
}

static LLVMValueRef load_masked(KernelEmit *e, LLVMTypeRef type, KScalar s, LLVMValueRef p,
                                LLVMValueRef mask) {
  LLVMTypeRef over[2] = {type, LLVMTypeOf(p)};
  LLVMValueRef arg[4] = {p, align_of(e, s), mask, LLVMConstNull(type)};
  bool gather = LLVMGetTypeKind(LLVMTypeOf(p)) == LLVMVectorTypeKind;
  return emit_intrinsic(e, gather ? "llvm.masked.gather" : "llvm.masked.load", over, 2, arg, 4);
}

static void emit_load(KernelEmit *e, const KInst *in) {
  const KAddr *a = in->addr;
  KScalar s = (KScalar)in->type.scalar;
  LLVMValueRef p = emit_address(e, a), x;
  if (a->lane != 1) p = lane_pointers(e, p, a->lane * (int64_t)kscalar_size(s));
  if (in->narg || a->lane != 1) {
    LLVMValueRef mask = in->narg ? e->value[in->arg[0]] : all_lanes(e);
    x = load_masked(e, emit_type(e, in->type), s, p, mask);
  } else {
    x = LLVMBuildLoad2(e->b, emit_type(e, in->type), p, "");
    LLVMSetAlignment(x, (unsigned)kscalar_size(s));
  }
  if (is_constant(e, a->base)) mark_invariant(e, x);
  e->value[in->result] = x;
}

static void emit_store(KernelEmit *e, const KInst *in) {
  const KAddr *a = in->addr;
  KType t = emit_ktype(e, in->arg[0]);
  KScalar s = (KScalar)t.scalar;
  LLVMValueRef x = e->value[in->arg[0]], p = emit_address(e, a);
  if (in->narg < 2 && a->lane == 1) {
    LLVMSetAlignment(LLVMBuildStore(e->b, x, p), (unsigned)kscalar_size(s));
    return;
  }
  if (a->lane != 1) p = lane_pointers(e, p, a->lane * (int64_t)kscalar_size(s));
  LLVMTypeRef over[2] = {LLVMTypeOf(x), LLVMTypeOf(p)};
  LLVMValueRef mask = in->narg > 1 ? e->value[in->arg[1]] : all_lanes(e);
  LLVMValueRef arg[4] = {x, p, align_of(e, s), mask};
  emit_intrinsic(e, a->lane != 1 ? "llvm.masked.scatter" : "llvm.masked.store", over, 2, arg, 4);
}

static void emit_prefetch(KernelEmit *e, const KInst *in) {
  LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
  LLVMTypeRef over = LLVMPointerTypeInContext(e->context, 0);
  LLVMValueRef arg[4] = {emit_address(e, in->addr), LLVMConstInt(i32, 0, 0),
                         LLVMConstInt(i32, 3, 0), LLVMConstInt(i32, 1, 0)};
  emit_intrinsic(e, "llvm.prefetch", &over, 1, arg, 4);
}

void emit_memory(KernelEmit *e, const KInst *in) {
  switch (in->op) {
  case KOP_load: emit_load(e, in); break;
  case KOP_store: emit_store(e, in); break;
  case KOP_prefetch: emit_prefetch(e, in); break;
  case KOP_mma: emit_mma(e, in); break;
  default: BUG("memory op %s", kop_name(in->op));
  }
}
