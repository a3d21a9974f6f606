/* Printer of Kernel IR: the text form of doc/ir.md, section 2.
 *
 * Literals are written in place, where they are used: bare when another operand tells their type,
 * `f32 0.5` otherwise; `%c = const ..` is only for people to write. Values without a name are
 * printed by id. Convention: one instruction a line, indented by two a scope.
 */
#include "ir/kernel_impl.h"
#include "ir/lex.h"

#include <string.h>

typedef struct Printer {
  const Kernel *k;
  Buf *out;
  int depth;
} Printer;

static void put_indent(Printer *p) {
  for (int i = 0; i < p->depth; i++) buf_puts(p->out, "  ");
}

static void put_type(Printer *p, KType t) {
  char text[8];
  buf_puts(p->out, ktype_print(t, text));
}

static void put_number(Printer *p, const KInst *literal) {
  if (kscalar_is_float((KScalar)literal->type.scalar))
    buf_double(p->out, literal->imm.f, true);
  else
    buf_printf(p->out, "%lld", (long long)literal->imm.i);
}

static void put_value(Printer *p, KVal v) {
  const KValue *x = &p->k->values[v];
  if (x->name)
    buf_name(p->out, '%', x->name);
  else
    buf_printf(p->out, "%%%u", v);
}

/* An operand whose type the reader knows from elsewhere when `typed` is false. */
static void put_operand(Printer *p, KVal v, bool typed) {
  const KInst *literal = kernel_literal(p->k, v);
  if (!literal) {
    put_value(p, v);
    return;
  }
  if (typed) {
    put_type(p, literal->type);
    buf_puts(p->out, " ");
  }
  put_number(p, literal);
}

static void put_list(Printer *p, const KVal *v, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    buf_puts(p->out, i ? ", " : " ");
    put_operand(p, v[i], true);
  }
}

/* `%buf[%i*72 + %j + 12] lane=4` */
static void put_addr(Printer *p, const KAddr *a) {
  put_value(p, a->base);
  buf_puts(p->out, "[");
  for (uint32_t i = 0; i < a->nterm; i++) {
    if (i) buf_puts(p->out, " + ");
    put_value(p, a->term[i].index);
    if (a->term[i].stride != 1) buf_printf(p->out, "*%lld", (long long)a->term[i].stride);
  }
  if (!a->nterm)
    buf_printf(p->out, "%lld", (long long)a->offset);
  else if (a->offset)
    buf_printf(p->out, " + %lld", (long long)a->offset);
  buf_puts(p->out, "]");
  if (a->lane != 1) buf_printf(p->out, " lane=%lld", (long long)a->lane);
}

static void put_mma(Printer *p, const KInst *in) {
  const KMma *s = in->mma;
  for (uint32_t i = 0; i < 3; i++) {
    if (i) buf_puts(p->out, ", ");
    put_addr(p, &in->addr[i]);
  }
  buf_printf(p->out, " m=%lld n=%lld k=%lld row=%lld group=%lld%s", (long long)s->m,
             (long long)s->n, (long long)s->k, (long long)s->row, (long long)s->group,
             s->add ? " add" : "");
}

static void put_memory(Printer *p, const KInst *in) {
  uint32_t mask = 0;
  buf_puts(p->out, " ");
  if (in->op == KOP_mma) {
    put_mma(p, in);
    return;
  }
  if (in->op == KOP_load) {
    put_type(p, in->type);
    buf_puts(p->out, " ");
  } else if (in->op == KOP_store) {
    put_operand(p, in->arg[mask++], true);
    buf_puts(p->out, ", ");
  }
  put_addr(p, in->addr);
  if (in->narg > mask) {
    buf_puts(p->out, " if ");
    put_operand(p, in->arg[mask], true);
  }
}

/* Whether operand i of an op may be a bare number: its type is that of operand `same` of another.
 */
static bool bare_literal(const Printer *p, const KInst *in, uint32_t i) {
  if (in->narg < 2 || in->op == KOP_dot4 || in->op == KOP_dot2) return false;
  if (in->op == KOP_select && i == 0) return false;
  for (uint32_t j = in->op == KOP_select; j < in->narg; j++)
    if (j != i && !kernel_literal(p->k, in->arg[j])) return true;
  return false;
}

/* `: type` behind ops whose result type the operands don't tell. */
static bool shows_type(KOpCode op) {
  return op == KOP_cvt || op == KOP_cvtu || op == KOP_bits || op == KOP_splat;
}

static void put_arith(Printer *p, const KInst *in) {
  if (in->op == KOP_const) {
    buf_puts(p->out, " ");
    put_type(p, in->type);
    buf_puts(p->out, " ");
    put_number(p, in);
    return;
  }
  for (uint32_t i = 0; i < in->narg; i++) {
    buf_puts(p->out, i ? ", " : " ");
    put_operand(p, in->arg[i], !bare_literal(p, in, i));
  }
  if (in->op == KOP_extract) buf_printf(p->out, ", %lld", (long long)in->imm.i);
  if (in->op == KOP_dot4) buf_printf(p->out, " bits=%lld", (long long)in->imm.i);
  if (!shows_type(in->op)) return;
  buf_puts(p->out, " : ");
  put_type(p, in->type);
}

static void put_region(Printer *p, const KRegion *r, const KVal *yield, uint32_t nyield);

static void put_loop(Printer *p, const KInst *in) {
  const KLoop *l = in->loop;
  buf_puts(p->out, " ");
  if (in->op == KOP_if) {
    put_operand(p, in->arg[0], true);
  } else {
    put_value(p, l->var);
    buf_puts(p->out, " in ");
    if (in->op == KOP_par)
      buf_puts(p->out, "0");
    else
      put_operand(p, in->arg[0], false);
    buf_puts(p->out, "..");
    put_operand(p, in->arg[in->narg - 1], false);
  }
  if (in->op == KOP_for && in->imm.i != 1) buf_printf(p->out, " step %lld", (long long)in->imm.i);
  for (uint32_t i = 0; in->op == KOP_for && i < l->ncarry; i++) {
    buf_puts(p->out, i ? ", " : " carry ");
    put_value(p, l->param[i]);
    buf_puts(p->out, " = ");
    put_operand(p, l->init[i], true);
  }
  if (l->unroll) buf_puts(p->out, " unroll");
  buf_puts(p->out, " ");
  put_region(p, &l->body, l->yield, l->ncarry);
  if (in->op == KOP_if && (l->orelse.n || l->ncarry)) {
    buf_puts(p->out, " else ");
    put_region(p, &l->orelse, l->else_yield, l->ncarry);
  }
}

static void put_inst(Printer *p, const KInst *in) {
  uint32_t nresult = in->loop ? in->loop->ncarry : in->result != 0;
  const KVal *result = in->loop ? in->loop->result : &in->result;
  put_indent(p);
  for (uint32_t i = 0; i < nresult; i++) {
    if (i) buf_puts(p->out, ", ");
    put_value(p, result[i]);
  }
  if (nresult) buf_puts(p->out, " = ");
  buf_puts(p->out, kop_name(in->op));
  switch (kop_kind(in->op)) {
  case 'M': put_memory(p, in); break;
  case 'C': put_loop(p, in); break;
  default: put_arith(p, in); break;
  }
  buf_puts(p->out, "\n");
}

static void put_region(Printer *p, const KRegion *r, const KVal *yield, uint32_t nyield) {
  buf_puts(p->out, "{\n");
  p->depth++;
  for (uint32_t i = 0; i < r->n; i++)
    if (r->inst[i]->op != KOP_const) put_inst(p, r->inst[i]);
  if (nyield) {
    put_indent(p);
    buf_puts(p->out, "yield");
    put_list(p, yield, nyield);
    buf_puts(p->out, "\n");
  }
  p->depth--;
  put_indent(p);
  buf_puts(p->out, "}");
}

static void put_pointer(Printer *p, KVal v) {
  put_value(p, v);
  buf_printf(p->out, ": ptr<%s>", kscalar_name((KScalar)p->k->values[v].type.scalar));
}

void kernel_print(const Kernel *k, Buf *out) {
  Printer p = {.k = k, .out = out, .depth = 1};
  buf_puts(out, "kernel ");
  buf_name(out, '@', k->name);
  buf_puts(out, "(");
  for (uint32_t i = 0; i < k->nbuffers; i++) {
    if (i) buf_puts(out, ", ");
    put_pointer(&p, k->buffers[i]);
  }
  for (uint32_t i = 0; i < k->nscalars; i++) {
    buf_puts(out, i ? ", " : "; ");
    put_value(&p, k->scalars[i]);
  }
  buf_printf(out, ") class %s {\n", kclass_name(k->klass));
  for (uint32_t i = 0; i < k->nlocals; i++) {
    buf_puts(out, "  local ");
    put_pointer(&p, k->locals[i]);
    buf_printf(out, "[%lld]\n", (long long)k->values[k->locals[i]].local_count);
  }
  for (uint32_t i = 0; i < k->body.n; i++)
    if (k->body.inst[i]->op != KOP_const) put_inst(&p, k->body.inst[i]);
  buf_puts(out, "}\n");
}
