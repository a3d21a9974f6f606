/* Evaluator of Kernel IR: the judge of every lowering and backend.
 *
 * Decodes a kernel to flat steps (kernel_eval.h), then runs the iterations of its par loop one
 * after another. Every access is checked against its buffer, every byte of a local against having
 * been written: a local starts undefined, and what one iteration of par writes is undefined for the
 * next, since iterations are split over threads. Convention: byte addresses wrap as 64-bit integers
 * and are checked afterwards, so hostile indices are errors, not undefined behaviour.
 */
#include "ir/kernel_eval.h"

#include <stdio.h>
#include <string.h>

enum { UNDEFINED = 0, DEFINED = 1, DEFINED_HERE = 2 }; /* HERE: by this iteration of par */

/* Memory of a buffer or local, by value id. `state` is NULL for buffers. */
typedef struct Memory {
  uint8_t *data;
  uint64_t size;
  uint8_t *state;
} Memory;

struct KEval {
  const Kernel *k;
  KReg *reg;
  Memory *mem;
  KSteps prologue;
  const KStep *par;
  uint8_t now;   /* what a store to a local makes of its bytes */
  KWatch *watch; /* NULL: nobody asks for races */
  Arena *arena;
  Diag *diag;
};

bool keval_error(KEval *e, const KStep *s, const char *fmt, ...) {
  char what[256], where[160];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  snprintf(where, sizeof where, "kernel @%.120s", e->k->name);
  diag_error(e->diag, where, "%s (value %%%u): %s", kop_name(s->inst->op), s->inst->result, what);
  return false;
}

/* ---- memory --------------------------------------------------------------------------------- */

static KScalar base_scalar(const KEval *e, const KAddr *a) {
  return (KScalar)e->k->values[a->base].type.scalar;
}

/* The byte address of an access; an error when it overflows. */
static bool address(KEval *e, const KStep *s, const KAddr *a, uint64_t *at) {
  int64_t sum = a->offset, term, size = (int64_t)kscalar_size(base_scalar(e, a));
  bool over = false;
  for (uint32_t i = 0; i < a->nterm; i++) {
    over |= __builtin_mul_overflow(e->reg[a->term[i].index].l[0], a->term[i].stride, &term);
    over |= __builtin_add_overflow(sum, term, &sum);
  }
  if (__builtin_mul_overflow(sum, size, &sum) || over)
    return keval_error(e, s, "its address overflows 64 bits");
  *at = (uint64_t)sum;
  return true;
}

static const char *base_name(const KEval *e, const KAddr *a) {
  const char *name = e->k->values[a->base].name;
  return name ? name : "?";
}

static bool check_defined(KEval *e, const KStep *s, const KAddr *a, uint64_t at, uint64_t bytes) {
  const Memory *m = &e->mem[a->base];
  for (uint64_t i = at; i < at + bytes; i++) {
    if (m->state[i] != UNDEFINED) continue;
    return keval_error(e, s, "local %%%s is not defined at byte %llu", base_name(e, a),
                       (unsigned long long)i);
  }
  return true;
}

/* Tells the watch of an access to a buffer. */
static bool watch(KEval *e, const KStep *s, const KAddr *a, uint64_t at, uint64_t bytes,
                  bool store) {
  const char *other = kwatch_touch(e->watch, e->mem[a->base].data + at, bytes, store);
  if (!other) return true;
  return keval_error(e, s, "%%%s at byte %llu %s", base_name(e, a), (unsigned long long)at, other);
}

/* All that is to be asked before bytes are read or written. */
static bool check_access(KEval *e, const KStep *s, const KAddr *a, uint64_t at, uint64_t bytes,
                         bool store) {
  const Memory *m = &e->mem[a->base];
  if (at > m->size || bytes > m->size - at)
    return keval_error(e, s, "%%%s at byte %lld is outside its %llu bytes", base_name(e, a),
                       (long long)at, (unsigned long long)m->size);
  if (m->state) return store || check_defined(e, s, a, at, bytes);
  return !e->watch || watch(e, s, a, at, bytes, store);
}

static void read_lane(const KStep *s, KReg *r, int n, const uint8_t *p) {
  int16_t half;
  switch (s->bytes) {
  case 1: r->i[n] = (int8_t)*p; break;
  case 2:
    memcpy(&half, p, 2);
    r->i[n] = half;
    break;
  case 4: memcpy(&r->i[n], p, 4); break;
  default: memcpy(&r->l[n], p, 8); break;
  }
}

static void write_lane(const KStep *s, const KReg *r, int n, uint8_t *p) {
  int16_t half = (int16_t)r->i[n];
  switch (s->bytes) {
  case 1: *p = (uint8_t)r->i[n]; break;
  case 2: memcpy(p, &half, 2); break;
  case 4: memcpy(p, &r->i[n], 4); break;
  default: memcpy(p, &r->l[n], 8); break;
  }
}

static bool run_load(KEval *e, const KStep *s) {
  const Memory *m = &e->mem[s->inst->addr->base];
  const KAddr *a = s->inst->addr;
  uint64_t apart = (uint64_t)a->lane * s->bytes, at = 0;
  if (!address(e, s, a, &at)) return false;
  for (int n = 0; n < s->lanes; n++, at += apart) {
    if (s->a && !s->a->i[n]) {
      if (s->bytes == 8)
        s->out->l[n] = 0;
      else
        s->out->i[n] = 0;
      continue;
    }
    if (!check_access(e, s, a, at, s->bytes, false)) return false;
    read_lane(s, s->out, n, m->data + at);
  }
  return true;
}

static bool run_store(KEval *e, const KStep *s) {
  const Memory *m = &e->mem[s->inst->addr->base];
  const KAddr *a = s->inst->addr;
  uint64_t apart = (uint64_t)a->lane * s->bytes, at = 0;
  if (!address(e, s, a, &at)) return false;
  for (int n = 0; n < s->lanes; n++, at += apart) {
    if (s->b && !s->b->i[n]) continue;
    if (!check_access(e, s, a, at, s->bytes, true)) return false;
    write_lane(s, s->a, n, m->data + at);
    if (m->state) memset(m->state + at, e->now, s->bytes);
  }
  return true;
}

/* The common case: 16 whole f32 or i32 lanes beside each other in a buffer. */
static bool run_load_64(KEval *e, const KStep *s) {
  const Memory *m = &e->mem[s->inst->addr->base];
  uint64_t at = 0;
  if (!address(e, s, s->inst->addr, &at)) return false;
  if (at > m->size || m->size - at < 64) return run_load(e, s);
  if (e->watch && !watch(e, s, s->inst->addr, at, 64, false)) return false;
  memcpy(s->out->i, m->data + at, 64);
  return true;
}

/* One vector of an mma's result: adds to it the dot4s of k words of a and k vectors of b. */
static bool run_mma_sum(KEval *e, const KStep *s, uint64_t row, uint64_t group, int32_t *sum) {
  const KAddr *addr = s->inst->addr;
  uint64_t k = (uint64_t)s->inst->mma->k;
  if (!check_access(e, s, &addr[1], row, 4 * k, false)) return false;
  if (!check_access(e, s, &addr[2], group, 64 * k, false)) return false;
  const uint8_t *a = e->mem[addr[1].base].data + row, *b = e->mem[addr[2].base].data + group;
  for (uint64_t j = 0; j < k; j++)
    for (uint64_t byte = 0; byte < 64; byte++)
      sum[byte / 4] = (int32_t)((uint32_t)sum[byte / 4] +
                                (uint32_t)(b[64 * j + byte] * (int8_t)a[4 * j + byte % 4]));
  return true;
}

static bool run_mma(KEval *e, const KStep *s) {
  const KAddr *addr = s->inst->addr;
  const KMma *z = s->inst->mma;
  const Memory *c = &e->mem[addr[0].base];
  uint64_t at[3] = {0};
  for (int i = 0; i < 3; i++)
    if (!address(e, s, &addr[i], &at[i])) return false;
  for (int64_t i = 0; i < z->m * z->n; i++) {
    int32_t sum[16] = {0};
    uint64_t to = at[0] + 64 * (uint64_t)i, row = at[1] + (uint64_t)(i / z->n * z->row);
    uint64_t group = at[2] + (uint64_t)(i % z->n * z->group);
    if (!check_access(e, s, &addr[0], to, sizeof sum, !z->add)) return false;
    if (z->add) memcpy(sum, c->data + to, sizeof sum);
    if (!run_mma_sum(e, s, row, group, sum)) return false;
    memcpy(c->data + to, sum, sizeof sum);
    memset(c->state + to, e->now, sizeof sum);
  }
  return true;
}

static bool run_nothing(KEval *e, const KStep *s) {
  (void)e, (void)s;
  return true;
}

/* ---- control -------------------------------------------------------------------------------- */

static bool run_steps(KEval *e, KSteps steps) {
  for (uint32_t i = 0; i < steps.n; i++)
    if (!steps.step[i].run(e, &steps.step[i])) return false;
  return true;
}

static void copy_regs(KEval *e, const KVal *to, const KVal *from, uint32_t n, KReg *between) {
  if (!between) {
    for (uint32_t i = 0; i < n; i++)
      if (to[i] != from[i]) e->reg[to[i]] = e->reg[from[i]];
    return;
  }
  for (uint32_t i = 0; i < n; i++) between[i] = e->reg[from[i]];
  for (uint32_t i = 0; i < n; i++) e->reg[to[i]] = between[i];
}

static bool run_for(KEval *e, const KStep *s) {
  const KLoop *l = s->inst->loop;
  int64_t hi = s->b->l[0], step = s->inst->imm.i;
  copy_regs(e, l->param, l->init, l->ncarry, NULL);
  for (int64_t i = s->a->l[0]; i < hi; i += step) {
    e->reg[l->var].l[0] = i;
    if (!run_steps(e, s->body)) return false;
    copy_regs(e, l->param, l->yield, l->ncarry, s->carry);
    if (i > INT64_MAX - step) break;
  }
  copy_regs(e, l->result, l->param, l->ncarry, NULL);
  return true;
}

static bool run_if(KEval *e, const KStep *s) {
  const KLoop *l = s->inst->loop;
  bool yes = s->a->i[0] != 0;
  if (!run_steps(e, yes ? s->body : s->orelse)) return false;
  copy_regs(e, l->result, yes ? l->yield : l->else_yield, l->ncarry, NULL);
  return true;
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* Whether a next value is itself a carry of the loop, so that copying one by one could clobber it.
 */
static bool yields_overlap(const KLoop *l) {
  for (uint32_t i = 0; i < l->ncarry; i++)
    for (uint32_t j = 0; j < l->ncarry; j++)
      if (i != j && l->yield[i] == l->param[j]) return true;
  return false;
}

static KSteps decode_region(KEval *e, const KRegion *r);

static void decode_memory(KEval *e, const KInst *in, KStep *s) {
  bool load = in->op == KOP_load;
  KType t = load ? in->type : k_type(e->k, in->arg[0]);
  s->lanes = t.lanes;
  s->bytes = (uint8_t)kscalar_size((KScalar)t.scalar);
  s->run = load ? run_load : run_store;
  bool local = e->k->values[in->addr->base].kind == KV_LOCAL;
  if (load && !in->narg && !local && s->bytes == 4 && s->lanes == 16 && in->addr->lane == 1)
    s->run = run_load_64;
}

static void decode_control(KEval *e, const KInst *in, KStep *s) {
  s->body = decode_region(e, &in->loop->body);
  s->orelse = decode_region(e, &in->loop->orelse);
  s->run = in->op == KOP_for ? run_for : run_if;
  if (in->op == KOP_for && yields_overlap(in->loop))
    s->carry = ARENA_ARRAY(e->arena, KReg, in->loop->ncarry);
}

static void decode_inst(KEval *e, const KInst *in, KStep *s) {
  const Kernel *k = e->k;
  s->inst = in;
  s->out = in->result ? &e->reg[in->result] : NULL;
  s->a = in->narg > 0 ? &e->reg[in->arg[0]] : NULL;
  s->b = in->narg > 1 ? &e->reg[in->arg[1]] : NULL;
  s->c = in->narg > 2 ? &e->reg[in->arg[2]] : NULL;
  s->lanes = in->narg ? k_type(k, in->arg[0]).lanes : in->type.lanes;
  s->from = in->narg ? k_type(k, in->arg[0]).scalar : in->type.scalar;
  s->bits = (uint8_t)kscalar_bits((KScalar)in->type.scalar);
  if (in->op == KOP_prefetch)
    s->run = run_nothing;
  else if (in->op == KOP_mma)
    s->run = run_mma;
  else if (kop_kind(in->op) == 'M')
    decode_memory(e, in, s);
  else if (kop_kind(in->op) == 'C')
    decode_control(e, in, s);
  else
    s->run = keval_op(k, in);
}

static void decode_literal(KEval *e, const KInst *in) {
  KReg *r = &e->reg[in->result];
  for (int n = 0; n < in->type.lanes; n++) {
    switch (in->type.scalar) {
    case K_f32: r->f[n] = (float)in->imm.f; break;
    case K_f16: r->i[n] = (int16_t)f32_to_f16((float)in->imm.f); break;
    case K_bf16: r->i[n] = (int16_t)f32_to_bf16((float)in->imm.f); break;
    case K_i64: r->l[n] = in->imm.i; break;
    default: r->i[n] = (int32_t)in->imm.i; break;
    }
  }
}

static KSteps decode_region(KEval *e, const KRegion *r) {
  KSteps steps = {.step = ARENA_ARRAY(e->arena, KStep, r->n)};
  for (uint32_t i = 0; i < r->n; i++) {
    if (r->inst[i]->op == KOP_const)
      decode_literal(e, r->inst[i]);
    else
      decode_inst(e, r->inst[i], &steps.step[steps.n++]);
  }
  return steps;
}

KEval *keval_decode(Arena *arena, const Kernel *k) {
  KEval *e = ARENA_NEW(arena, KEval);
  e->k = k;
  e->arena = arena;
  e->reg = ARENA_ARRAY(arena, KReg, k->nvalues);
  e->mem = ARENA_ARRAY(arena, Memory, k->nvalues);
  for (uint32_t i = 0; i < k->nlocals; i++) {
    const KValue *v = &k->values[k->locals[i]];
    uint64_t size = (uint64_t)v->local_count * kscalar_size((KScalar)v->type.scalar);
    e->mem[k->locals[i]] = (Memory){arena_alloc(arena, size), size, arena_alloc(arena, size)};
  }
  e->prologue = decode_region(e, &k->body);
  BUG_IF(!k->body.n || k->body.inst[k->body.n - 1]->op != KOP_par,
         "kernel @%s does not end in par: verify it first", k->name);
  e->par = &e->prologue.step[--e->prologue.n];
  return e;
}

/* ---- running a kernel ----------------------------------------------------------------------- */

/* At the end of an iteration of par: what it wrote to locals is gone. */
static void forget_iteration(KEval *e) {
  for (uint32_t i = 0; i < e->k->nlocals; i++) {
    Memory *m = &e->mem[e->k->locals[i]];
    for (uint64_t at = 0; at < m->size; at++) m->state[at] &= DEFINED;
  }
}

Status keval_run(KEval *e, const KBuffer *buffers, const int64_t *scalars, int64_t lo, int64_t hi,
                 KWatch *watch_or_null, Diag *d) {
  const Kernel *k = e->k;
  e->diag = d;
  e->now = DEFINED;
  e->watch = watch_or_null;
  if (e->watch) kwatch_next(e->watch);
  for (uint32_t i = 0; i < k->nbuffers; i++)
    e->mem[k->buffers[i]] = (Memory){buffers[i].data, buffers[i].size, NULL};
  for (uint32_t i = 0; i < k->nscalars; i++) e->reg[k->scalars[i]].l[0] = scalars[i];
  for (uint32_t i = 0; i < k->nlocals; i++)
    memset(e->mem[k->locals[i]].state, UNDEFINED, e->mem[k->locals[i]].size);
  if (!run_steps(e, e->prologue)) return FAIL;
  e->now = DEFINED_HERE;
  int64_t extent = e->par->a->l[0];
  if (hi < 0 || hi > extent) hi = extent;
  for (int64_t i = lo; i < hi; i++) {
    e->reg[e->par->inst->loop->var].l[0] = i;
    if (e->watch) kwatch_next(e->watch);
    if (!run_steps(e, e->par->body)) return FAIL;
    forget_iteration(e);
  }
  return OK;
}

Status kernel_eval(const Kernel *k, const KBuffer *buffers, const int64_t *scalars, int64_t lo,
                   int64_t hi, Diag *d) {
  Arena *a = arena_new();
  Status s = keval_run(keval_decode(a, k), buffers, scalars, lo, hi, NULL, d);
  arena_free(a);
  return s;
}
