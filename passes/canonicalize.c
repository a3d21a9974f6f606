/* canonicalize: one form for what can be written in several.
 *
 * Constants stand on the right of commutative ops; x*1, x+0, x-0 and x/1, a cast, reshape,
 * transpose, slice, split or concat that changes nothing, and neg of neg give way to x; a reshape
 * of a reshape and a transpose of a transpose become one. Each rule names the value that replaces a
 * result, or changes the op in place; rules run until none applies.
 */
#include "passes/util.h"

#include <string.h>

/* Whether every element of a dense constant is the number `want`. */
static bool is_splat(const Graph *g, ValueId v, double want) {
  const ConstDef *c = const_of(g, v);
  const Module *m = g->module;
  int64_t n;
  if (!c || !c->dense || !dim_is_const(m->dims, type_elements(m->dims, &c->type), &n)) return false;
  for (int64_t i = 0; i < n; i++) {
    double x;
    switch (c->type.dtype) {
    case DT_f32: x = ((const float *)c->dense)[i]; break;
    case DT_f64: x = ((const double *)c->dense)[i]; break;
    case DT_i32: x = ((const int32_t *)c->dense)[i]; break;
    case DT_i64: x = (double)((const int64_t *)c->dense)[i]; break;
    default: return false;
    }
    if (x != want) return false;
  }
  return true;
}

/* A result may give way to a value only of the same type. */
static ValueId if_same_type(const Graph *g, const Op *op, ValueId x) {
  return type_equal(&graph_value(g, op->out[0])->type, &graph_value(g, x)->type) ? x : 0;
}

/* x * 1, x + 0, x - 0, x / 1 (the neutral element on the right). */
static ValueId drop_neutral(const Graph *g, const Op *op) {
  double neutral = op->code == OP_mul || op->code == OP_div ? 1 : 0;
  if (op->code != OP_mul && op->code != OP_div && op->code != OP_add && op->code != OP_sub)
    return 0;
  return is_splat(g, op->in[1], neutral) ? if_same_type(g, op, op->in[0]) : 0;
}

static bool is_identity_perm(const I64List *perm) {
  for (uint32_t i = 0; i < perm->n; i++) {
    if (perm->v[i] != i) return false;
  }
  return true;
}

/* Ops of one operand and one result that leave it as it is. */
static ValueId drop_identity(const Graph *g, const Op *op) {
  switch (op->code) {
  case OP_cast:
  case OP_reshape:
  case OP_slice:
  case OP_split:
  case OP_concat: return op->nin == 1 && op->nout == 1 ? if_same_type(g, op, op->in[0]) : 0;
  case OP_transpose: return is_identity_perm(&op->attrs.perm.perm) ? op->in[0] : 0;
  case OP_neg: {
    const Op *inner = def_of(g, op->in[0]);
    return inner && inner->code == OP_neg ? inner->in[0] : 0;
  }
  default: return 0;
  }
}

static bool swap_constant(Graph *g, OpId o) {
  Op *op = graph_get(g, o);
  if (!(op_info(op->code)->traits & T_COMMUTATIVE)) return false;
  if (!const_of(g, op->in[0]) || const_of(g, op->in[1])) return false;
  ValueId x = op->in[0];
  op->in[0] = op->in[1];
  op->in[1] = x;
  return true;
}

/* reshape(reshape(x)) = reshape(x): the shape asked for is the outer one. */
static bool skip_reshape(Graph *g, OpId o) {
  const Op *op = graph_get(g, o), *inner = def_of(g, op->in[0]);
  Type before = graph_value(g, op->out[0])->type, after[MAX_RESULTS];
  uint32_t n;
  if (op->code != OP_reshape || !inner || inner->code != OP_reshape) return false;
  Op trial = *op;
  ValueId x = inner->in[0];
  trial.in = &x;
  Diag *d = diag_new();
  bool same = op_info(OP_reshape)->infer(g, &trial, after, &n, d, "canonicalize") == OK &&
              type_equal(&before, &after[0]);
  diag_free(d);
  if (same) graph_set_operand(g, o, 0, x);
  return same;
}

/* transpose p of transpose q is one transpose: axis i of the result is axis q[p[i]] of x. */
static bool join_transposes(Graph *g, OpId o) {
  Op *op = graph_get(g, o);
  const Op *inner = def_of(g, op->in[0]);
  if (op->code != OP_transpose || !inner || inner->code != OP_transpose) return false;
  I64List *p = &op->attrs.perm.perm;
  const I64List *q = &inner->attrs.perm.perm;
  for (uint32_t i = 0; i < p->n; i++) {
    if (p->v[i] < 0 || p->v[i] >= q->n) return false;
  }
  for (uint32_t i = 0; i < p->n; i++) p->v[i] = q->v[p->v[i]];
  graph_set_operand(g, o, 0, inner->in[0]);
  return true;
}

static bool visit(Graph *g, OpId o) {
  const Op *op = graph_get(g, o);
  ValueId x = drop_identity(g, op);
  if (!x) x = drop_neutral(g, op);
  if (x) {
    graph_replace(g, op->out[0], x);
    graph_kill(g, o);
    return true;
  }
  return swap_constant(g, o) | skip_reshape(g, o) | join_transposes(g, o);
}

Status pass_canonicalize(Module *m, PassCtx *c, bool *changed) {
  (void)c;
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Graph *g = m->graphs[i];
    bool again = true;
    while (again) { /* each rule removes an op, an edge or a constant on the left: it ends */
      again = false;
      for (OpId o = 1; o < g->nops; o++) {
        if (!graph_get(g, o)->dead) again |= visit(g, o);
      }
      *changed |= again;
    }
  }
  return OK;
}
