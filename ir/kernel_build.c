/* Builder of Kernel IR: values, instructions, loops, and the folding that keeps addresses literal.
 *
 * Everything is arena memory of the kernel. Integer ops on literals are computed here, so that a
 * lowering may write index arithmetic naturally and still get literal strides and bounds; float
 * arithmetic is never folded. Convention: a literal is one instruction at the head of the body,
 * shared by the whole kernel, wherever the builder stands when it is asked for.
 */
#include "ir/kernel_impl.h"

#include <string.h>

/* ---- the raw layer ----------------------------------------------------------------------------
 */

KVal kernel_value(Kernel *k, KType t, KValueKind kind, const char *name, KInst *def) {
  if (k->nvalues == k->cvalues) {
    uint32_t cap = k->cvalues ? 2 * k->cvalues : 64;
    KValue *grown = ARENA_ARRAY(k->arena, KValue, cap);
    if (k->nvalues) memcpy(grown, k->values, k->nvalues * sizeof *grown);
    k->values = grown;
    k->cvalues = cap;
  }
  k->values[k->nvalues] = (KValue){.type = t, .kind = kind, .name = name, .def = def};
  return k->nvalues++;
}

KInst *kernel_inst(Kernel *k, KOpCode op, KType t) {
  KInst *in = ARENA_NEW(k->arena, KInst);
  in->op = op;
  in->type = t;
  if (kop_addrs(op)) in->addr = ARENA_ARRAY(k->arena, KAddr, kop_addrs(op));
  if (op == KOP_mma) in->mma = ARENA_NEW(k->arena, KMma);
  if (kop_kind(op) == 'C') in->loop = ARENA_NEW(k->arena, KLoop);
  return in;
}

static void region_insert(Kernel *k, KRegion *r, uint32_t at, KInst *inst) {
  if (r->n == r->cap) {
    uint32_t cap = r->cap ? 2 * r->cap : 8;
    KInst **grown = ARENA_ARRAY(k->arena, KInst *, cap);
    if (r->n) memcpy(grown, r->inst, r->n * sizeof *grown);
    r->inst = grown;
    r->cap = cap;
  }
  memmove(r->inst + at + 1, r->inst + at, (r->n - at) * sizeof *r->inst);
  r->inst[at] = inst;
  r->n++;
}

void kregion_push(Kernel *k, KRegion *r, KInst *inst) {
  region_insert(k, r, r->n, inst);
}

KVal kernel_result(Kernel *k, KInst *inst, const char *name) {
  if (inst->type.scalar == K_void) return 0;
  return inst->result = kernel_value(k, inst->type, KV_INST, name, inst);
}

const KInst *kernel_literal(const Kernel *k, KVal v) {
  const KInst *def = k->values[v].kind == KV_INST ? k->values[v].def : NULL;
  return def && def->op == KOP_const ? def : NULL;
}

/* imm.i and imm.f overlay: equal bits are equal literals (and -0 differs from 0, as it should). */
static KVal literal(Kernel *k, KType t, const KInst *like) {
  uint32_t at = 0;
  for (; at < k->body.n && k->body.inst[at]->op == KOP_const; at++) {
    const KInst *in = k->body.inst[at];
    if (ktype_equal(in->type, t) && in->imm.i == like->imm.i) return in->result;
  }
  KInst *in = kernel_inst(k, KOP_const, t);
  in->imm = like->imm;
  region_insert(k, &k->body, at, in);
  return kernel_result(k, in, NULL);
}

KVal kernel_literal_int(Kernel *k, KType t, int64_t v) {
  return literal(k, t, &(KInst){.imm.i = kint_wrap((KScalar)t.scalar, v)});
}

KVal kernel_literal_float(Kernel *k, KType t, double v) {
  float f = (float)v;
  if (t.scalar == K_f16) f = f16_to_f32(f32_to_f16(f));
  if (t.scalar == K_bf16) f = bf16_to_f32(f32_to_bf16(f));
  return literal(k, t, &(KInst){.imm.f = (double)f});
}

void kernel_addr_normalise(const Kernel *k, KAddr *a) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < a->nterm; i++) {
    KVal index = a->term[i].index;
    int64_t stride = a->term[i].stride;
    const KInst *lit = kernel_literal(k, index);
    if (lit) {
      a->offset += lit->imm.i * stride;
      continue;
    }
    uint32_t j = 0;
    while (j < n && a->term[j].index != index) j++;
    if (j < n)
      a->term[j].stride += stride;
    else if (stride)
      a->term[n].index = index, a->term[n++].stride = stride;
  }
  a->nterm = n;
}

/* ---- kernels and parameters ---------------------------------------------------------------------
 */

Kernel *kernel_new(Arena *a, const char *name, KClass klass) {
  Kernel *k = ARENA_NEW(a, Kernel);
  k->arena = a;
  k->name = arena_strdup(a, name);
  k->klass = klass;
  kernel_value(k, (KType){0}, KV_NONE, NULL, NULL);
  return k;
}

KBuilder kbuilder(Kernel *k) {
  return (KBuilder){.kernel = k, .region = &k->body};
}

static KVal *list_push(Kernel *k, KVal *list, uint32_t n, KVal v) {
  KVal *grown = list;
  if (!(n & (n - 1))) { /* full at every power of two */
    grown = ARENA_ARRAY(k->arena, KVal, n ? 2 * n : 1);
    if (n) memcpy(grown, list, n * sizeof *grown);
  }
  grown[n] = v;
  return grown;
}

static bool name_visible(const KBuilder *b, const char *name) {
  const Kernel *k = b->kernel;
  for (KVal v = 1; v < k->nvalues; v++) {
    const KValue *x = &k->values[v];
    if (x->kind != KV_VAR && x->name && !strcmp(x->name, name)) return true;
  }
  for (const struct KOpen *o = b->open; o; o = o->up) {
    KVal var = o->inst->loop->var;
    if (var && k->values[var].name && !strcmp(k->values[var].name, name)) return true;
  }
  return false;
}

/* `name` itself, or with a number behind it when something visible here has that name. */
static const char *fresh_name(const KBuilder *b, const char *name) {
  if (!name) return NULL;
  const char *fresh = arena_strdup(b->kernel->arena, name);
  for (int i = 2; name_visible(b, fresh); i++)
    fresh = arena_printf(b->kernel->arena, "%s.%d", name, i);
  return fresh;
}

KVal k_buffer(KBuilder *b, const char *name, KScalar element) {
  Kernel *k = b->kernel;
  KVal v = kernel_value(k, (KType){(uint8_t)element, 1}, KV_BUFFER, fresh_name(b, name), NULL);
  k->buffers = list_push(k, k->buffers, k->nbuffers, v);
  k->nbuffers++;
  return v;
}

KVal k_scalar(KBuilder *b, const char *name) {
  Kernel *k = b->kernel;
  KVal v = kernel_value(k, KT(i64, 1), KV_SCALAR, fresh_name(b, name), NULL);
  k->scalars = list_push(k, k->scalars, k->nscalars, v);
  k->nscalars++;
  return v;
}

KVal k_local(KBuilder *b, const char *name, KScalar element, int64_t count) {
  Kernel *k = b->kernel;
  BUG_IF(count < 1, "kernel %s: local %s of %lld elements", k->name, name, (long long)count);
  KVal v = kernel_value(k, (KType){(uint8_t)element, 1}, KV_LOCAL, fresh_name(b, name), NULL);
  k->values[v].local_count = count;
  k->locals = list_push(k, k->locals, k->nlocals, v);
  k->nlocals++;
  return v;
}

/* ---- instructions --------------------------------------------------------------------------- */

static KVal emit(KBuilder *b, KInst *in) {
  const char *wrong = kinst_ill_typed(b->kernel, in);
  BUG_IF(wrong, "kernel %s: %s: %s", b->kernel->name, kop_name(in->op), wrong);
  kregion_push(b->kernel, b->region, in);
  return kernel_result(b->kernel, in, NULL);
}

static KVal emit_op(KBuilder *b, KOpCode op, KType t, uint32_t n, const KVal *arg, int64_t imm) {
  KInst *in = kernel_inst(b->kernel, op, t);
  in->narg = (uint8_t)n;
  memcpy(in->arg, arg, n * sizeof *arg);
  in->imm.i = imm;
  return emit(b, in);
}

KVal k_int(KBuilder *b, KType t, int64_t v) {
  BUG_IF(kscalar_is_float((KScalar)t.scalar), "integer literal of a float type");
  return kernel_literal_int(b->kernel, t, v);
}

KVal k_f32(KBuilder *b, uint8_t lanes, double v) {
  return kernel_literal_float(b->kernel, (KType){K_f32, lanes}, v);
}

KVal k_i64(KBuilder *b, int64_t v) {
  return kernel_literal_int(b->kernel, KT(i64, 1), v);
}

/* Integer op on two literals; false when it can't be done here. Wraps, by unsigned arithmetic. */
static bool fold_ints(KOpCode op, int64_t x, int64_t y, int64_t *out) {
  uint64_t ux = (uint64_t)x, uy = (uint64_t)y;
  switch (op) {
  case KOP_add: *out = (int64_t)(ux + uy); return true;
  case KOP_sub: *out = (int64_t)(ux - uy); return true;
  case KOP_mul: *out = (int64_t)(ux * uy); return true;
  case KOP_min: *out = x < y ? x : y; return true;
  case KOP_max: *out = x > y ? x : y; return true;
  case KOP_and: *out = x & y; return true;
  case KOP_or: *out = x | y; return true;
  case KOP_xor: *out = x ^ y; return true;
  case KOP_div:
    if (y <= 0) return false;
    *out = x / y;
    return true;
  case KOP_rem:
    if (y <= 0 || x < 0) return false;
    *out = x % y;
    return true;
  default: return false;
  }
}

/* x op y where only one is a literal and the op does nothing; 0 when it does something. */
static KVal fold_identity(KOpCode op, KVal x, KVal y, const KInst *lx, const KInst *ly) {
  switch (op) {
  case KOP_add:
  case KOP_or:
  case KOP_xor:
    if (lx && lx->imm.i == 0) return y;
    return ly && ly->imm.i == 0 ? x : 0;
  case KOP_sub:
  case KOP_shl:
  case KOP_lshr:
  case KOP_ashr: return ly && ly->imm.i == 0 ? x : 0;
  case KOP_mul:
    if (lx && lx->imm.i == 0) return x;
    if (ly && ly->imm.i == 0) return y;
    if (lx && lx->imm.i == 1) return y;
    return ly && ly->imm.i == 1 ? x : 0;
  case KOP_div: return ly && ly->imm.i == 1 ? x : 0;
  default: return 0;
  }
}

KVal k_op1(KBuilder *b, KOpCode op, KVal x) {
  return emit_op(b, op, kinst_infer(b->kernel, op, &x), 1, &x, 0);
}

KVal k_op2(KBuilder *b, KOpCode op, KVal x, KVal y) {
  KType t = k_type(b->kernel, x);
  if (!kscalar_is_float((KScalar)t.scalar) && t.scalar != K_i1 &&
      ktype_equal(t, k_type(b->kernel, y))) {
    const KInst *lx = kernel_literal(b->kernel, x), *ly = kernel_literal(b->kernel, y);
    int64_t folded;
    if (lx && ly && fold_ints(op, lx->imm.i, ly->imm.i, &folded)) return k_int(b, t, folded);
    KVal same = fold_identity(op, x, y, lx, ly);
    if (same) return same;
  }
  KVal arg[2] = {x, y};
  return emit_op(b, op, kinst_infer(b->kernel, op, arg), 2, arg, 0);
}

KVal k_fma(KBuilder *b, KVal x, KVal y, KVal z) {
  return emit_op(b, KOP_fma, k_type(b->kernel, x), 3, (KVal[3]){x, y, z}, 0);
}

KVal k_select(KBuilder *b, KVal mask, KVal yes, KVal no) {
  return emit_op(b, KOP_select, k_type(b->kernel, yes), 3, (KVal[3]){mask, yes, no}, 0);
}

static KVal convert(KBuilder *b, KOpCode op, KVal x, KScalar to) {
  KType t = k_type(b->kernel, x);
  if (t.scalar == to) return x;
  const KInst *lit = kernel_literal(b->kernel, x);
  t.scalar = (uint8_t)to;
  if (lit && op == KOP_cvt && !kscalar_is_float((KScalar)lit->type.scalar) &&
      lit->type.scalar != K_i1 && !kscalar_is_float(to))
    return k_int(b, t, lit->imm.i);
  return emit_op(b, op, t, 1, &x, 0);
}

KVal k_cvt(KBuilder *b, KVal x, KScalar to) {
  return convert(b, KOP_cvt, x, to);
}

KVal k_cvtu(KBuilder *b, KVal x, KScalar to) {
  return convert(b, KOP_cvtu, x, to);
}

KVal k_bits(KBuilder *b, KVal x, KScalar to) {
  return convert(b, KOP_bits, x, to);
}

KVal k_splat(KBuilder *b, KVal x) {
  KType t = k_type(b->kernel, x);
  const KInst *lit = kernel_literal(b->kernel, x);
  t.lanes = 16;
  if (lit) return literal(b->kernel, t, lit);
  return emit_op(b, KOP_splat, t, 1, &x, 0);
}

KVal k_extract(KBuilder *b, KVal x, int lane) {
  return emit_op(b, KOP_extract, (KType){k_type(b->kernel, x).scalar, 1}, 1, &x, lane);
}

KVal k_iota(KBuilder *b) {
  return emit_op(b, KOP_iota, KT(i32, 16), 0, &(KVal){0}, 0);
}

KVal k_dot4(KBuilder *b, KVal u8, KVal s8, KVal acc, int bits) {
  return emit_op(b, KOP_dot4, KT(i32, 16), 3, (KVal[3]){u8, s8, acc}, bits);
}

KVal k_dot2(KBuilder *b, KVal x, KVal y, KVal acc) {
  return emit_op(b, KOP_dot2, KT(i32, 16), 3, (KVal[3]){x, y, acc}, 0);
}

/* ---- memory --------------------------------------------------------------------------------- */

KAddr k_addr(KVal base) {
  return (KAddr){.base = base, .lane = 1};
}

KAddr k_at(KAddr a, KVal index, int64_t stride) {
  for (uint32_t i = 0; i < a.nterm; i++) {
    if (a.term[i].index == index) {
      a.term[i].stride += stride;
      return a;
    }
  }
  BUG_IF(a.nterm == KADDR_TERMS, "address with more than %d indices", KADDR_TERMS);
  a.term[a.nterm].index = index;
  a.term[a.nterm++].stride = stride;
  return a;
}

KAddr k_off(KAddr a, int64_t offset) {
  a.offset += offset;
  return a;
}

KAddr k_lane(KAddr a, int64_t lane) {
  a.lane = lane;
  return a;
}

static KInst *access(KBuilder *b, KOpCode op, KType t, const KAddr *a) {
  KInst *in = kernel_inst(b->kernel, op, t);
  *in->addr = *a;
  kernel_addr_normalise(b->kernel, in->addr);
  return in;
}

KVal k_load(KBuilder *b, KType t, KAddr a) {
  return emit(b, access(b, KOP_load, t, &a));
}

KVal k_load_mask(KBuilder *b, KType t, KAddr a, KVal mask) {
  KInst *in = access(b, KOP_load, t, &a);
  in->arg[in->narg++] = mask;
  return emit(b, in);
}

void k_store(KBuilder *b, KVal x, KAddr a) {
  KInst *in = access(b, KOP_store, (KType){0}, &a);
  in->arg[in->narg++] = x;
  emit(b, in);
}

void k_store_mask(KBuilder *b, KVal x, KAddr a, KVal mask) {
  KInst *in = access(b, KOP_store, (KType){0}, &a);
  in->arg[in->narg++] = x;
  in->arg[in->narg++] = mask;
  emit(b, in);
}

void k_prefetch(KBuilder *b, KAddr a) {
  emit(b, access(b, KOP_prefetch, (KType){0}, &a));
}

void k_mma(KBuilder *b, KAddr c, KAddr a, KAddr x, KMma sizes) {
  KInst *in = access(b, KOP_mma, (KType){0}, &c);
  in->addr[1] = a;
  in->addr[2] = x;
  kernel_addr_normalise(b->kernel, &in->addr[1]);
  kernel_addr_normalise(b->kernel, &in->addr[2]);
  *in->mma = sizes;
  emit(b, in);
}

/* ---- loops ---------------------------------------------------------------------------------- */

static void open_scope(KBuilder *b, KInst *in) {
  struct KOpen *o = ARENA_NEW(b->kernel->arena, struct KOpen);
  *o = (struct KOpen){.inst = in, .outer = b->region, .up = b->open};
  b->open = o;
  b->region = &in->loop->body;
}

static KInst *close_scope(KBuilder *b, KOpCode op) {
  BUG_IF(!b->open || b->open->inst->op != op, "kernel %s: end of %s without its beginning",
         b->kernel->name, kop_name(op));
  KInst *in = b->open->inst;
  b->region = b->open->outer;
  b->open = b->open->up;
  return in;
}

static KVal *copy_vals(Kernel *k, const KVal *v, uint32_t n) {
  KVal *out = ARENA_ARRAY(k->arena, KVal, n);
  if (n) memcpy(out, v, n * sizeof *out);
  return out;
}

KVal k_for(KBuilder *b, const char *var, KVal lo, KVal hi, int64_t step, uint32_t ncarry,
           KVal *carry) {
  Kernel *k = b->kernel;
  KInst *in = kernel_inst(k, KOP_for, (KType){0});
  KLoop *l = in->loop;
  in->narg = 2;
  in->arg[0] = lo;
  in->arg[1] = hi;
  in->imm.i = step;
  l->ncarry = ncarry;
  l->init = copy_vals(k, carry, ncarry);
  l->param = ARENA_ARRAY(k->arena, KVal, ncarry);
  l->var = kernel_value(k, KT(i64, 1), KV_VAR, fresh_name(b, var), in);
  for (uint32_t i = 0; i < ncarry; i++)
    carry[i] = l->param[i] = kernel_value(k, k_type(k, l->init[i]), KV_CARRY, NULL, in);
  emit(b, in);
  open_scope(b, in);
  return l->var;
}

/* Results of a loop or if, one for each of `from`'s values, written to `out`. */
static void loop_results(Kernel *k, KInst *in, const KVal *from, KVal *out) {
  KLoop *l = in->loop;
  l->result = ARENA_ARRAY(k->arena, KVal, l->ncarry);
  for (uint32_t i = 0; i < l->ncarry; i++)
    out[i] = l->result[i] = kernel_value(k, k_type(k, from[i]), KV_INST, NULL, in);
}

void k_for_end(KBuilder *b, KVal *carry) {
  KInst *in = close_scope(b, KOP_for);
  KLoop *l = in->loop;
  l->yield = copy_vals(b->kernel, carry, l->ncarry);
  for (uint32_t i = 0; i < l->ncarry; i++)
    BUG_IF(!ktype_equal(k_type(b->kernel, l->yield[i]), k_type(b->kernel, l->init[i])),
           "kernel %s: carry %u changes its type", b->kernel->name, i);
  loop_results(b->kernel, in, l->init, carry);
}

void k_unroll(KBuilder *b) {
  BUG_IF(!b->open || b->open->inst->op != KOP_for, "unroll outside a for");
  b->open->inst->loop->unroll = true;
}

KVal k_par(KBuilder *b, const char *var, KVal extent) {
  BUG_IF(b->open, "kernel %s: par inside a loop", b->kernel->name);
  KInst *in = kernel_inst(b->kernel, KOP_par, (KType){0});
  in->narg = 1;
  in->arg[0] = extent;
  in->loop->var = kernel_value(b->kernel, KT(i64, 1), KV_VAR, fresh_name(b, var), in);
  emit(b, in);
  open_scope(b, in);
  return in->loop->var;
}

void k_par_end(KBuilder *b) {
  close_scope(b, KOP_par);
}

void k_if(KBuilder *b, KVal cond) {
  KInst *in = kernel_inst(b->kernel, KOP_if, (KType){0});
  in->narg = 1;
  in->arg[0] = cond;
  emit(b, in);
  open_scope(b, in);
}

void k_else(KBuilder *b, uint32_t n, const KVal *yes) {
  BUG_IF(!b->open || b->open->inst->op != KOP_if, "else outside an if");
  KLoop *l = b->open->inst->loop;
  l->ncarry = n;
  l->yield = copy_vals(b->kernel, yes, n);
  b->region = &l->orelse;
}

void k_if_end(KBuilder *b, uint32_t n, const KVal *no, KVal *out) {
  KInst *in = close_scope(b, KOP_if);
  KLoop *l = in->loop;
  BUG_IF(n != l->ncarry, "kernel %s: branches of an if give %u and %u values", b->kernel->name,
         l->ncarry, n);
  l->else_yield = copy_vals(b->kernel, no, n);
  for (uint32_t i = 0; i < n; i++)
    BUG_IF(!ktype_equal(k_type(b->kernel, l->yield[i]), k_type(b->kernel, no[i])),
           "kernel %s: branches of an if differ in type of value %u", b->kernel->name, i);
  loop_results(b->kernel, in, l->yield, out);
}
