/* Verifier of Kernel IR, and equality of kernels.
 *
 * What holds of every kernel, whoever made it (a message cites the number):
 * K1  A kernel is at least its par loop: the body ends in exactly one par, and there is none
 *     inside.
 * K2  Buffers, scalars and locals are values of their kind, with an element type that memory has.
 * K3  Locals hold 64 KiB together at most.
 * K4  An operand is defined before its use, in the same region or one around it.
 * K5  Every value is defined once, by the instruction or loop that it names.
 * K6  Operands, immediates and result of an instruction have the types that its op asks for.
 * K7  An address has a buffer or local as its base and i64 indices, at most six.
 * K8  Literals stand at the head of the body, each once, and fit their type.
 * K9  A loop yields as many values as it carries, of the types it began with; par carries nothing.
 * K10 Both branches of an if yield the same types.
 * K11 Only a for with literal bounds is unrolled, and to 4096 copies at most.
 * K12 A par stores nothing before it but to locals: every thread would write.
 */
#include "ir/kernel_impl.h"

#include <stdio.h>
#include <string.h>

enum { LOCAL_BYTES = 64 << 10, MOST_COPIES = 4096 };

typedef struct Verifier {
  const Kernel *k;
  Diag *d;
  bool *visible; /* by value id: defined, and its region not yet left */
  bool *defined; /* ever */
} Verifier;

static Status wrong(Verifier *v, int rule, const KInst *in, const char *fmt, ...) PRINTF_LIKE(4, 5);
static Status wrong(Verifier *v, int rule, const KInst *in, const char *fmt, ...) {
  char what[256], where[160];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  snprintf(where, sizeof where, "kernel @%.120s", v->k->name);
  if (!in) return diag_error(v->d, where, "K%d: %s", rule, what);
  return diag_error(v->d, where, "K%d: %s (value %%%u): %s", rule, kop_name(in->op), in->result,
                    what);
}

static Status define(Verifier *v, const KInst *in, KVal x, KValueKind kind) {
  const KValue *value = &v->k->values[x];
  if (x == 0 || x >= v->k->nvalues || value->kind != kind)
    return wrong(v, 5, in, "value %u is not of the kind that it is defined as", x);
  if (v->defined[x] || value->def != in) return wrong(v, 5, in, "%%%u is defined twice", x);
  v->visible[x] = v->defined[x] = true;
  return OK;
}

static Status check_use(Verifier *v, const KInst *in, KVal x) {
  if (x == 0 || x >= v->k->nvalues || !v->visible[x])
    return wrong(v, 4, in, "%%%u is not defined before its use here", x);
  return OK;
}

static Status check_list(Verifier *v, const KInst *in, const KVal *list, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    TRY(check_use(v, in, list[i]));
    KValueKind kind = v->k->values[list[i]].kind;
    if (kind == KV_BUFFER || kind == KV_LOCAL) return wrong(v, 6, in, "memory isn't an operand");
  }
  return OK;
}

/* ---- parameters and literals ---------------------------------------------------------------- */

static Status check_params(Verifier *v) {
  const Kernel *k = v->k;
  const struct {
    const KVal *list;
    uint32_t n;
    KValueKind kind;
  } groups[] = {{k->buffers, k->nbuffers, KV_BUFFER},
                {k->scalars, k->nscalars, KV_SCALAR},
                {k->locals, k->nlocals, KV_LOCAL}};
  uint64_t bytes = 0;
  for (size_t g = 0; g < COUNT(groups); g++) {
    for (uint32_t i = 0; i < groups[g].n; i++) {
      KVal x = groups[g].list[i];
      TRY(define(v, NULL, x, groups[g].kind));
      KType t = k_type(k, x);
      if (t.lanes != 1 || t.scalar == K_void || t.scalar == K_i1 || t.scalar >= K_SCALARS)
        return wrong(v, 2, NULL, "parameter or local %%%u has an element type memory lacks", x);
      if (groups[g].kind == KV_SCALAR && t.scalar != K_i64)
        return wrong(v, 2, NULL, "scalar %%%u is not i64", x);
      if (groups[g].kind != KV_LOCAL) continue;
      uint64_t size;
      bool fits =
          size_mul((uint64_t)k->values[x].local_count, kscalar_size((KScalar)t.scalar), &size);
      if (!fits || size > LOCAL_BYTES || (bytes += size) > LOCAL_BYTES)
        return wrong(v, 3, NULL, "locals hold more than %d bytes", LOCAL_BYTES);
    }
  }
  return OK;
}

static Status check_literal(Verifier *v, const KInst *in, const KRegion *r, uint32_t at) {
  if (r != &v->k->body || (at && r->inst[at - 1]->op != KOP_const))
    return wrong(v, 8, in, "a literal stands below the head of the body");
  for (uint32_t i = 0; i < at; i++)
    if (ktype_equal(r->inst[i]->type, in->type) && r->inst[i]->imm.i == in->imm.i)
      return wrong(v, 8, in, "a literal stands there twice");
  KScalar s = (KScalar)in->type.scalar;
  if (!kscalar_is_float(s) && kint_wrap(s, in->imm.i) != in->imm.i)
    return wrong(v, 8, in, "%lld does not fit its type", (long long)in->imm.i);
  return OK;
}

/* ---- instructions --------------------------------------------------------------------------- */

static Status check_address(Verifier *v, const KInst *in, const KAddr *a) {
  TRY(check_use(v, in, a->base));
  KValueKind kind = v->k->values[a->base].kind;
  if (kind != KV_BUFFER && kind != KV_LOCAL)
    return wrong(v, 7, in, "%%%u is neither buffer nor local", a->base);
  if (a->lane > INT32_MAX) return wrong(v, 7, in, "lanes %lld apart", (long long)a->lane);
  if (a->nterm > KADDR_TERMS) return wrong(v, 7, in, "more than %d indices", KADDR_TERMS);
  for (uint32_t i = 0; i < a->nterm; i++) {
    TRY(check_use(v, in, a->term[i].index));
    KValueKind index = v->k->values[a->term[i].index].kind;
    if (!ktype_equal(k_type(v->k, a->term[i].index), KT(i64, 1)) || index == KV_BUFFER ||
        index == KV_LOCAL)
      return wrong(v, 7, in, "index %%%u is not i64", a->term[i].index);
  }
  return OK;
}

static Status check_region(Verifier *v, const KRegion *r, bool prologue);

/* The body of a loop or branch; what it defines is invisible behind it. */
static Status check_body(Verifier *v, const KInst *in, const KRegion *r, const KVal *yield,
                         bool prologue) {
  bool *outside = mem_alloc(v->k->nvalues);
  memcpy(outside, v->visible, v->k->nvalues);
  Status s = check_region(v, r, prologue);
  if (s == OK) s = check_list(v, in, yield, in->loop->ncarry);
  memcpy(v->visible, outside, v->k->nvalues);
  mem_free(outside);
  return s;
}

static Status check_unroll(Verifier *v, const KInst *in) {
  if (!in->loop->unroll) return OK;
  const KInst *lo = kernel_literal(v->k, in->arg[0]), *hi = NULL;
  if (in->op == KOP_for) hi = kernel_literal(v->k, in->arg[1]);
  if (!lo || !hi) return wrong(v, 11, in, "an unrolled loop without literal bounds");
  if (hi->imm.i > lo->imm.i &&
      ((uint64_t)hi->imm.i - (uint64_t)lo->imm.i) / (uint64_t)in->imm.i > MOST_COPIES)
    return wrong(v, 11, in, "more than %d copies", MOST_COPIES);
  return OK;
}

static Status check_loop(Verifier *v, const KInst *in, bool prologue) {
  const KLoop *l = in->loop;
  if (in->op == KOP_par && l->ncarry) return wrong(v, 9, in, "par carries values");
  if (in->op != KOP_if) {
    if (l->ncarry) TRY(check_list(v, in, l->init, l->ncarry));
    TRY(check_unroll(v, in));
    TRY(define(v, in, l->var, KV_VAR));
    for (uint32_t i = 0; i < l->ncarry; i++) TRY(define(v, in, l->param[i], KV_CARRY));
  }
  TRY(check_body(v, in, &l->body, l->yield, prologue && in->op != KOP_par));
  if (in->op == KOP_if) TRY(check_body(v, in, &l->orelse, l->else_yield, prologue));
  if (in->op != KOP_if) v->visible[l->var] = false;
  for (uint32_t i = 0; i < l->ncarry; i++) {
    KType t = k_type(v->k, l->yield[i]);
    KVal other = in->op == KOP_if ? l->else_yield[i] : l->init[i];
    if (!ktype_equal(t, k_type(v->k, other)))
      return wrong(v, in->op == KOP_if ? 10 : 9, in, "value %u changes its type", i);
    if (in->op == KOP_for && !ktype_equal(t, k_type(v->k, l->param[i])))
      return wrong(v, 9, in, "carry %u differs in type inside the loop", i);
    if (in->op == KOP_for) v->visible[l->param[i]] = false;
    TRY(define(v, in, l->result[i], KV_INST));
    if (!ktype_equal(t, k_type(v->k, l->result[i])))
      return wrong(v, in->op == KOP_if ? 10 : 9, in, "result %u differs in type", i);
  }
  return OK;
}

static Status check_inst(Verifier *v, const KInst *in, bool prologue) {
  if (in->op >= KOP_COUNT || in->narg > COUNT(in->arg)) return wrong(v, 6, NULL, "unknown op");
  TRY(check_list(v, in, in->arg, in->narg));
  for (uint32_t i = 0; i < kop_addrs(in->op); i++) TRY(check_address(v, in, &in->addr[i]));
  const char *why = kinst_ill_typed(v->k, in);
  if (why) return wrong(v, 6, in, "%s", why);
  if (in->op == KOP_store && prologue && v->k->values[in->addr->base].kind != KV_LOCAL)
    return wrong(v, 12, in, "a store to a buffer before par");
  if (kop_kind(in->op) == 'C') return check_loop(v, in, prologue);
  if (in->type.scalar == K_void) return OK;
  if (!ktype_equal(k_type(v->k, in->result), in->type))
    return wrong(v, 6, in, "its value differs from it in type");
  return define(v, in, in->result, KV_INST);
}

static Status check_region(Verifier *v, const KRegion *r, bool prologue) {
  for (uint32_t i = 0; i < r->n; i++) {
    const KInst *in = r->inst[i];
    if (in->op == KOP_par && (r != &v->k->body || i + 1 != r->n))
      return wrong(v, 1, in, "par stands once, last, at the top");
    if (in->op == KOP_const) TRY(check_literal(v, in, r, i));
    TRY(check_inst(v, in, prologue));
  }
  return OK;
}

Status kernel_verify(const Kernel *k, Diag *d) {
  Verifier v = {.k = k, .d = d, .visible = mem_alloc(k->nvalues), .defined = mem_alloc(k->nvalues)};
  Status s = check_params(&v);
  if (s == OK && (!k->body.n || k->body.inst[k->body.n - 1]->op != KOP_par))
    s = wrong(&v, 1, NULL, "the body does not end in par");
  if (s == OK) s = check_region(&v, &k->body, true);
  mem_free(v.visible);
  mem_free(v.defined);
  return s;
}

/* ---- equality ------------------------------------------------------------------------------- */

/* Walks two kernels side by side; map[x] is the value of b that stands for x of a. */
typedef struct Pair {
  const Kernel *a, *b;
  KVal *map;
} Pair;

static bool same_value(const Pair *p, KVal x, KVal y) {
  const KInst *lx = kernel_literal(p->a, x), *ly = kernel_literal(p->b, y);
  if (lx && ly) return ktype_equal(lx->type, ly->type) && lx->imm.i == ly->imm.i;
  return !lx && !ly && p->map[x] == y;
}

static bool same_values(const Pair *p, const KVal *x, const KVal *y, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (!same_value(p, x[i], y[i])) return false;
  return true;
}

static void pair_values(Pair *p, const KVal *x, const KVal *y, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) p->map[x[i]] = y[i];
}

static bool same_addr(const Pair *p, const KAddr *x, const KAddr *y) {
  if (p->map[x->base] != y->base || x->nterm != y->nterm || x->offset != y->offset ||
      x->lane != y->lane)
    return false;
  for (uint32_t i = 0; i < x->nterm; i++)
    if (x->term[i].stride != y->term[i].stride ||
        !same_value(p, x->term[i].index, y->term[i].index))
      return false;
  return true;
}

static bool same_region(Pair *p, const KRegion *x, const KRegion *y);

static bool same_loop(Pair *p, const KInst *x, const KInst *y) {
  const KLoop *l = x->loop, *m = y->loop;
  if (l->ncarry != m->ncarry || l->unroll != m->unroll) return false;
  if (x->op == KOP_for) {
    if (!same_values(p, l->init, m->init, l->ncarry)) return false;
    pair_values(p, l->param, m->param, l->ncarry);
  }
  if (x->op != KOP_if) p->map[l->var] = m->var;
  if (!same_region(p, &l->body, &m->body) || !same_values(p, l->yield, m->yield, l->ncarry))
    return false;
  if (x->op == KOP_if && (!same_region(p, &l->orelse, &m->orelse) ||
                          !same_values(p, l->else_yield, m->else_yield, l->ncarry)))
    return false;
  pair_values(p, l->result, m->result, l->ncarry);
  return true;
}

static bool same_mma(const KMma *x, const KMma *y) {
  return x->m == y->m && x->n == y->n && x->k == y->k && x->row == y->row && x->group == y->group &&
         x->add == y->add;
}

static bool same_inst(Pair *p, const KInst *x, const KInst *y) {
  if (x->op != y->op || !ktype_equal(x->type, y->type) || x->narg != y->narg ||
      x->imm.i != y->imm.i || !same_values(p, x->arg, y->arg, x->narg))
    return false;
  for (uint32_t i = 0; i < kop_addrs(x->op); i++)
    if (!same_addr(p, &x->addr[i], &y->addr[i])) return false;
  if (x->mma && !same_mma(x->mma, y->mma)) return false;
  if (x->loop) return same_loop(p, x, y);
  if (x->result) p->map[x->result] = y->result;
  return true;
}

static bool same_region(Pair *p, const KRegion *x, const KRegion *y) {
  for (uint32_t i = 0, j = 0;; i++, j++) {
    while (i < x->n && x->inst[i]->op == KOP_const) i++;
    while (j < y->n && y->inst[j]->op == KOP_const) j++;
    if (i == x->n || j == y->n) return i == x->n && j == y->n;
    if (!same_inst(p, x->inst[i], y->inst[j])) return false;
  }
}

static bool same_params(Pair *p, const KVal *x, uint32_t nx, const KVal *y, uint32_t ny) {
  if (nx != ny) return false;
  for (uint32_t i = 0; i < nx; i++) {
    const KValue *u = &p->a->values[x[i]], *w = &p->b->values[y[i]];
    if (!ktype_equal(u->type, w->type) || u->local_count != w->local_count) return false;
  }
  pair_values(p, x, y, nx);
  return true;
}

bool kernel_same(const Kernel *a, const Kernel *b) {
  Pair p = {a, b, mem_alloc(a->nvalues * sizeof(KVal))};
  bool same = same_params(&p, a->buffers, a->nbuffers, b->buffers, b->nbuffers) &&
              same_params(&p, a->scalars, a->nscalars, b->scalars, b->nscalars) &&
              same_params(&p, a->locals, a->nlocals, b->locals, b->nlocals) &&
              same_region(&p, &a->body, &b->body);
  mem_free(p.map);
  return same;
}
