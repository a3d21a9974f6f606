/* Kernel IR to LLVM IR: the function around a kernel, its loops and its structure.
 *
 * Loops become a guard and a body that tests at its end, the form in which LLVM hoists out of them;
 * carries are phi nodes. A loop marked `unroll` has literal bounds and is written out trip by trip
 * here, which LLVM's own unroller would not do to our liking (it keeps one chain of additions and
 * costs compile time). Locals are allocas of the entry block. The features of an ISA level are
 * attributes of the function, so that one object may hold several levels.
 */
#include "backends/cpu/emit.h"

#include "backends/cpu/arch.h"

#include <string.h>

static void emit_region(KernelEmit *e, const KRegion *r);

/* ---- helpers shared by the translator -------------------------------------------------------- */

LLVMTypeRef emit_scalar_type(KernelEmit *e, KScalar s) {
  switch (s) {
  case K_i1: return LLVMInt1TypeInContext(e->context);
  case K_i8: return LLVMInt8TypeInContext(e->context);
  case K_i16:
  case K_f16:
  case K_bf16: return LLVMInt16TypeInContext(e->context);
  case K_i32: return LLVMInt32TypeInContext(e->context);
  case K_i64: return LLVMInt64TypeInContext(e->context);
  case K_f32: return LLVMFloatTypeInContext(e->context);
  default: return LLVMVoidTypeInContext(e->context);
  }
}

LLVMTypeRef emit_type(KernelEmit *e, KType t) {
  LLVMTypeRef s = emit_scalar_type(e, (KScalar)t.scalar);
  return t.lanes > 1 ? LLVMVectorType(s, t.lanes) : s;
}

LLVMValueRef emit_splat(KernelEmit *e, LLVMValueRef x, unsigned lanes) {
  if (LLVMIsConstant(x)) {
    LLVMValueRef all[64];
    for (unsigned i = 0; i < lanes; i++) all[i] = x;
    return LLVMConstVector(all, lanes);
  }
  LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
  LLVMValueRef none = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(x), lanes));
  LLVMValueRef one = LLVMBuildInsertElement(e->b, none, x, LLVMConstInt(i32, 0, 0), "");
  LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(i32, lanes));
  return LLVMBuildShuffleVector(e->b, one, none, zeros, "");
}

LLVMValueRef emit_int(KernelEmit *e, KType t, int64_t v) {
  LLVMTypeRef s = emit_scalar_type(e, (KScalar)t.scalar);
  LLVMValueRef x = LLVMConstInt(s, (unsigned long long)v, 1);
  return t.lanes > 1 ? emit_splat(e, x, t.lanes) : x;
}

LLVMValueRef emit_i64(KernelEmit *e, int64_t v) {
  return LLVMConstInt(LLVMInt64TypeInContext(e->context), (unsigned long long)v, 1);
}

LLVMValueRef emit_lanes(KernelEmit *e, LLVMValueRef x, unsigned first, unsigned n) {
  LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
  LLVMValueRef mask[64];
  for (unsigned i = 0; i < n; i++) mask[i] = LLVMConstInt(i32, first + i, 0);
  return LLVMBuildShuffleVector(e->b, x, LLVMGetPoison(LLVMTypeOf(x)), LLVMConstVector(mask, n),
                                "");
}

LLVMValueRef emit_joined(KernelEmit *e, LLVMValueRef low, LLVMValueRef high) {
  LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
  unsigned n = 2 * LLVMGetVectorSize(LLVMTypeOf(low));
  LLVMValueRef mask[64];
  for (unsigned i = 0; i < n; i++) mask[i] = LLVMConstInt(i32, i, 0);
  return LLVMBuildShuffleVector(e->b, low, high, LLVMConstVector(mask, n), "");
}

LLVMValueRef emit_intrinsic(KernelEmit *e, const char *name, LLVMTypeRef *types, unsigned ntypes,
                            LLVMValueRef *args, unsigned nargs) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  BUG_IF(!id, "LLVM has no intrinsic %s", name);
  LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->module, id, types, ntypes);
  return LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, args, nargs, "");
}

/* ---- control ------------------------------------------------------------------------------------
 */

LLVMBasicBlockRef emit_new_block(KernelEmit *e, const char *name) {
  return LLVMAppendBasicBlockInContext(e->context, e->fn, name);
}

static LLVMValueRef new_phi(KernelEmit *e, LLVMTypeRef type, LLVMValueRef from,
                            LLVMBasicBlockRef block) {
  LLVMValueRef phi = LLVMBuildPhi(e->b, type, "");
  LLVMAddIncoming(phi, &from, &block, 1);
  return phi;
}

static void map_all(KernelEmit *e, uint32_t n, const KVal *to, const KVal *from) {
  LLVMValueRef *v = mem_alloc(n * sizeof *v);
  for (uint32_t i = 0; i < n; i++) v[i] = e->value[from[i]];
  for (uint32_t i = 0; i < n; i++) e->value[to[i]] = v[i];
  mem_free(v);
}

static void emit_unrolled(KernelEmit *e, const KInst *in, int64_t lo, int64_t hi) {
  const KLoop *l = in->loop;
  map_all(e, l->ncarry, l->param, l->init);
  for (int64_t i = lo; i < hi; i += in->imm.i) {
    e->value[l->var] = emit_i64(e, i);
    emit_region(e, &l->body);
    map_all(e, l->ncarry, l->param, l->yield);
  }
  map_all(e, l->ncarry, l->result, l->param);
}

/* The loop from lo to hi: phi nodes at the head of the body, the test at its end. */
static void emit_rolled(KernelEmit *e, const KLoop *l, LLVMValueRef lo, LLVMValueRef hi,
                        int64_t step) {
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
  LLVMBasicBlockRef body = emit_new_block(e, "loop"), after = emit_new_block(e, "done");
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, lo, hi, ""), body, after);
  LLVMPositionBuilderAtEnd(e->b, body);
  LLVMValueRef var = new_phi(e, LLVMTypeOf(lo), lo, before);
  e->value[l->var] = var;
  LLVMValueRef *init = mem_alloc(l->ncarry * sizeof *init);
  LLVMValueRef *phi = mem_alloc(l->ncarry * sizeof *phi);
  for (uint32_t i = 0; i < l->ncarry; i++) {
    init[i] = e->value[l->init[i]];
    phi[i] = e->value[l->param[i]] = new_phi(e, LLVMTypeOf(init[i]), init[i], before);
  }
  emit_region(e, &l->body);
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
  LLVMValueRef next = LLVMBuildNSWAdd(e->b, var, emit_i64(e, step), "");
  LLVMAddIncoming(var, &next, &latch, 1);
  for (uint32_t i = 0; i < l->ncarry; i++)
    LLVMAddIncoming(phi[i], &e->value[l->yield[i]], &latch, 1);
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, next, hi, ""), body, after);
  LLVMPositionBuilderAtEnd(e->b, after);
  for (uint32_t i = 0; i < l->ncarry; i++) {
    LLVMValueRef result = new_phi(e, LLVMTypeOf(init[i]), init[i], before);
    LLVMAddIncoming(result, &e->value[l->yield[i]], &latch, 1);
    e->value[l->result[i]] = result;
  }
  mem_free(phi);
  mem_free(init);
}

static void emit_for(KernelEmit *e, const KInst *in) {
  LLVMValueRef lo = e->value[in->arg[0]], hi = e->value[in->arg[1]];
  if (!in->loop->unroll) {
    emit_rolled(e, in->loop, lo, hi, in->imm.i);
    return;
  }
  BUG_IF(!LLVMIsAConstantInt(lo) || !LLVMIsAConstantInt(hi),
         "kernel %s: an unrolled loop without literal bounds", e->kernel->name);
  emit_unrolled(e, in, LLVMConstIntGetSExtValue(lo), LLVMConstIntGetSExtValue(hi));
}

static void emit_if(KernelEmit *e, const KInst *in) {
  const KLoop *l = in->loop;
  LLVMBasicBlockRef yes = emit_new_block(e, "then"), no = emit_new_block(e, "else");
  LLVMBasicBlockRef after = emit_new_block(e, "join");
  LLVMBuildCondBr(e->b, e->value[in->arg[0]], yes, no);
  LLVMPositionBuilderAtEnd(e->b, yes);
  emit_region(e, &l->body);
  LLVMBasicBlockRef yes_end = LLVMGetInsertBlock(e->b);
  LLVMBuildBr(e->b, after);
  LLVMPositionBuilderAtEnd(e->b, no);
  emit_region(e, &l->orelse);
  LLVMBasicBlockRef no_end = LLVMGetInsertBlock(e->b);
  LLVMBuildBr(e->b, after);
  LLVMPositionBuilderAtEnd(e->b, after);
  for (uint32_t i = 0; i < l->ncarry; i++) {
    LLVMValueRef a = e->value[l->yield[i]], b = e->value[l->else_yield[i]];
    LLVMValueRef phi = new_phi(e, LLVMTypeOf(a), a, yes_end);
    LLVMAddIncoming(phi, &b, &no_end, 1);
    e->value[l->result[i]] = phi;
  }
}

/* The thread's share: lo and hi are the third and fourth argument of the function. */
static void emit_par(KernelEmit *e, const KInst *in) {
  emit_rolled(e, in->loop, LLVMGetParam(e->fn, 2), LLVMGetParam(e->fn, 3), 1);
}

static LLVMValueRef emit_const(KernelEmit *e, const KInst *in) {
  LLVMTypeRef s = emit_scalar_type(e, (KScalar)in->type.scalar);
  LLVMValueRef x;
  if (in->type.scalar == K_f32)
    x = LLVMConstReal(s, in->imm.f);
  else if (in->type.scalar == K_f16)
    x = LLVMConstInt(s, f32_to_f16((float)in->imm.f), 0);
  else if (in->type.scalar == K_bf16)
    x = LLVMConstInt(s, f32_to_bf16((float)in->imm.f), 0);
  else
    x = LLVMConstInt(s, (unsigned long long)in->imm.i, 1);
  return in->type.lanes > 1 ? emit_splat(e, x, in->type.lanes) : x;
}

static LLVMValueRef emit_iota(KernelEmit *e) {
  LLVMValueRef lane[16];
  LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
  for (unsigned i = 0; i < 16; i++) lane[i] = LLVMConstInt(i32, i, 0);
  return LLVMConstVector(lane, 16);
}

static void emit_zip(KernelEmit *e, const KInst *in) {
  LLVMValueRef lane[16];
  LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
  unsigned first = in->op == KOP_zip_high ? 8 : 0;
  for (unsigned i = 0; i < 16; i++) lane[i] = LLVMConstInt(i32, first + i / 2 + i % 2 * 16, 0);
  e->value[in->result] = LLVMBuildShuffleVector(e->b, e->value[in->arg[0]], e->value[in->arg[1]],
                                                LLVMConstVector(lane, 16), "");
}

static void emit_structural(KernelEmit *e, const KInst *in) {
  LLVMValueRef *out = &e->value[in->result];
  switch (in->op) {
  case KOP_const: *out = emit_const(e, in); break;
  case KOP_iota: *out = emit_iota(e); break;
  case KOP_splat: *out = emit_splat(e, e->value[in->arg[0]], 16); break;
  case KOP_extract:
    *out = LLVMBuildExtractElement(e->b, e->value[in->arg[0]], emit_i64(e, in->imm.i), "");
    break;
  default: BUG("structural op %s", kop_name(in->op));
  }
}

static void emit_inst(KernelEmit *e, const KInst *in) {
  switch (in->op) {
  case KOP_for: emit_for(e, in); return;
  case KOP_if: emit_if(e, in); return;
  case KOP_par: emit_par(e, in); return;
  case KOP_dot4: e->target->arch->dot4(e, in); return;
  case KOP_dot2: e->target->arch->dot2(e, in); return;
  case KOP_zip_low:
  case KOP_zip_high: emit_zip(e, in); return;
  case KOP_lookup: e->target->arch->lookup(e, in); return;
  case KOP_cvt:
  case KOP_cvtu:
  case KOP_bits: emit_convert(e, in); return;
  case KOP_reduce_add:
  case KOP_reduce_max:
  case KOP_reduce_min: emit_reduce(e, in); return;
  default: break;
  }
  switch (kop_kind(in->op)) {
  case 'M': emit_memory(e, in); return;
  case 'S': emit_structural(e, in); return;
  case 'A': emit_arith(e, in); return;
  default:
    BUG("kernel %s: %s must be expanded before a backend", e->kernel->name, kop_name(in->op));
  }
}

static void emit_region(KernelEmit *e, const KRegion *r) {
  e->tiles.last = NULL;
  for (uint32_t i = 0; i < r->n; i++) {
    bool mma = r->inst[i]->op == KOP_mma;
    if (kop_kind(r->inst[i]->op) == 'M' && !mma) e->tiles.last = NULL;
    emit_inst(e, r->inst[i]);
  }
  e->tiles.last = NULL;
}

/* ---- the function -------------------------------------------------------------------------------
 */

static void add_text(KernelEmit *e, LLVMValueRef fn, const char *key, const char *value) {
  LLVMAttributeRef a = LLVMCreateStringAttribute(e->context, key, (unsigned)strlen(key), value,
                                                 (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex, a);
}

void emit_flag(KernelEmit *e, LLVMValueRef fn, const char *name, uint64_t value) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(e->context, kind, value));
}

void emit_attributes(KernelEmit *e, LLVMValueRef fn) {
  add_text(e, fn, "target-cpu", e->target->llvm_cpu);
  add_text(e, fn, "target-features", e->target->llvm_features);
  if (e->target->vector_bytes == 64) add_text(e, fn, "prefer-vector-width", "512");
  emit_flag(e, fn, "nounwind", 0);
  emit_flag(e, fn, "willreturn", 0);
  emit_flag(e, fn, "nofree", 0);
}

static void declare(KernelEmit *e, const char *symbol) {
  LLVMTypeRef ptr = LLVMPointerTypeInContext(e->context, 0);
  LLVMTypeRef i64 = LLVMInt64TypeInContext(e->context);
  LLVMTypeRef args[4] = {ptr, ptr, i64, i64};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), args, 4, 0);
  e->fn = LLVMAddFunction(e->module, symbol, type);
  LLVMSetVisibility(e->fn, LLVMHiddenVisibility);
  emit_attributes(e, e->fn);
}

/* Tables of pointers and of dimensions: read once, and nothing in a kernel writes them. */
static LLVMValueRef load_argument(KernelEmit *e, LLVMTypeRef type, unsigned table, uint32_t i) {
  LLVMTypeRef i64 = LLVMInt64TypeInContext(e->context);
  LLVMValueRef at = emit_i64(e, i);
  LLVMValueRef p = LLVMBuildInBoundsGEP2(e->b, i64, LLVMGetParam(e->fn, table), &at, 1, "");
  return LLVMBuildLoad2(e->b, type, p, "");
}

static void emit_parameters(KernelEmit *e) {
  const Kernel *k = e->kernel;
  LLVMTypeRef ptr = LLVMPointerTypeInContext(e->context, 0);
  for (uint32_t i = 0; i < k->nlocals; i++) {
    const KValue *v = &k->values[k->locals[i]];
    LLVMTypeRef element = emit_scalar_type(e, (KScalar)v->type.scalar);
    LLVMTypeRef array = LLVMArrayType2(element, (uint64_t)v->local_count);
    LLVMValueRef local = LLVMBuildAlloca(e->b, array, v->name ? v->name : "");
    LLVMSetAlignment(local, 64);
    e->value[k->locals[i]] = local;
  }
  for (uint32_t i = 0; i < k->nbuffers; i++) e->value[k->buffers[i]] = load_argument(e, ptr, 0, i);
  for (uint32_t i = 0; i < k->nscalars; i++)
    e->value[k->scalars[i]] = load_argument(e, LLVMInt64TypeInContext(e->context), 1, i);
}

/* ---- uses
 * ---------------------------------------------------------------------------------------- */

static void note_use(KernelEmit *e, uint8_t *uses, KVal v, const KInst *in) {
  if (uses[v] < 2) uses[v]++;
  e->user[v] = uses[v] == 1 ? in : NULL;
}

static void note_uses(KernelEmit *e, uint8_t *uses, const KRegion *r) {
  for (uint32_t i = 0; i < r->n; i++) {
    const KInst *in = r->inst[i];
    for (uint32_t k = 0; k < in->narg; k++) note_use(e, uses, in->arg[k], in);
    for (uint32_t a = 0; a < kop_addrs(in->op); a++)
      for (uint32_t k = 0; k < in->addr[a].nterm; k++)
        note_use(e, uses, in->addr[a].term[k].index, in);
    const KLoop *l = in->loop;
    for (uint32_t k = 0; l && k < l->ncarry; k++) {
      if (l->init) note_use(e, uses, l->init[k], in);
      note_use(e, uses, l->yield[k], in);
      if (l->else_yield) note_use(e, uses, l->else_yield[k], in);
    }
    if (l) note_uses(e, uses, &l->body);
    if (l) note_uses(e, uses, &l->orelse);
  }
}

static void find_users(KernelEmit *e) {
  uint8_t *uses = mem_alloc(e->kernel->nvalues);
  note_uses(e, uses, &e->kernel->body);
  mem_free(uses);
}

void emit_kernel(LLVMModuleRef module, const Kernel *k, const CpuTarget *target,
                 const bool *constant_buffers, const char *symbol) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  KernelEmit e = {.kernel = k,
                  .target = target,
                  .constant = constant_buffers,
                  .context = context,
                  .module = module,
                  .b = LLVMCreateBuilderInContext(context),
                  .value = mem_alloc(k->nvalues * sizeof(LLVMValueRef)),
                  .chain = mem_alloc(k->nvalues * sizeof(DotChain)),
                  .user = mem_alloc(k->nvalues * sizeof(KInst *))};
  find_users(&e);
  if (emit_is_soft(&e)) e.grid = emit_grids(k);
  declare(&e, symbol);
  LLVMPositionBuilderAtEnd(e.b, LLVMAppendBasicBlockInContext(context, e.fn, "entry"));
  emit_parameters(&e);
  emit_mma_begin(&e);
  emit_region(&e, &k->body);
  emit_mma_end(&e);
  LLVMBuildRetVoid(e.b);
  LLVMDisposeBuilder(e.b);
  mem_free(e.grid);
  mem_free(e.user);
  mem_free(e.chain);
  mem_free(e.value);
}
