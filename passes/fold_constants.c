/* fold_constants: an op on constants alone is replaced by its value.
 *
 * The value comes from the op's own definition, its ref_ function, so folding cannot disagree with
 * it. Only small operands and results (weights stay where they are in the files), and only operands
 * whose elements are at hand. Results in an activation format are left to run time.
 */
#include "ir/eval.h"
#include "passes/util.h"

#include <string.h>

enum { MOST_ELEMENTS = 1 << 16 };

static bool is_small(const Module *m, const Type *t) {
  int64_t n;
  for (uint32_t i = 0; i < t->rank; i++) {
    if (!dim_is_const(m->dims, t->dim[i], NULL)) return false;
  }
  return dim_is_const(m->dims, type_elements(m->dims, t), &n) && n <= MOST_ELEMENTS;
}

static bool is_at_hand(const ConstDef *c) {
  for (uint32_t i = 0; i < c->nparts; i++) {
    if (!c->parts[i].view.data) return false;
  }
  return true;
}

static bool can_fold(const Graph *g, const Op *op) {
  const Module *m = g->module;
  if (op->dead || !(op_info(op->code)->traits & T_PURE)) return false;
  for (uint32_t i = 0; i < op->nin; i++) {
    const ConstDef *c = const_of(g, op->in[i]);
    if (!c || !is_small(m, &c->type) || !is_at_hand(c)) return false;
  }
  for (uint32_t i = 0; i < op->nout; i++) {
    const Type *t = &g->values[op->out[i]].type;
    if (!is_small(m, t) || t->storage != Q_plain) return false;
  }
  return true;
}

/* The elements of a reference tensor as plain elements of its dtype. */
static void *plain_elements(Arena *a, const RefTensor *t) {
  size_t size = dtype_size(t->dtype);
  char *out = arena_alloc(a, (size_t)t->elements * size + 1);
  for (int64_t i = 0; i < t->elements; i++) {
    char *to = out + (size_t)i * size;
    if (!t->f) {
      memcpy(to, &t->i[i], size); /* little endian: the low bytes come first */
      continue;
    }
    double wide = t->f[i];
    uint16_t half = t->dtype == DT_f16 ? f32_to_f16(t->f[i]) : f32_to_bf16(t->f[i]);
    memcpy(to, size == 2 ? (void *)&half : size == 8 ? (void *)&wide : (void *)&t->f[i], size);
  }
  return out;
}

static void replace_by_consts(Graph *g, OpId o, const RefTensor *values) {
  Module *m = g->module;
  for (uint32_t i = 0; i < g->ops[o].nout; i++) {
    ValueId v = g->ops[o].out[i];
    const char *name = g->values[v].name;
    ConstDef c = {.name = name ? name : "folded", .type = g->values[v].type};
    c.dense = plain_elements(m->arena, &values[v]);
    ValueId folded = graph_const(g, module_const(m, &c));
    graph_replace(g, v, folded);
  }
  graph_kill(g, o);
}

static Status fold(Graph *g, OpId o, Diag *d) {
  const Op *op = &g->ops[o];
  Arena *a = arena_new();
  RefCtx c = {.arena = a, .graph = g, .diag = d};
  c.dims = ARENA_ARRAY(a, int64_t, dim_count(g->module->dims) + 1); /* no symbols are read */
  c.values = ARENA_ARRAY(a, RefTensor, g->nvalues);
  Status s = OK;
  for (uint32_t i = 0; s == OK && i < op->nin; i++)
    s = const_dense(a, g->module, g->values[op->in[i]].index, &c.values[op->in[i]], d);
  if (s == OK) s = op_info(op->code)->ref(&c, op);
  if (s == OK) replace_by_consts(g, o, c.values);
  arena_free(a);
  return s;
}

Status pass_fold_constants(Module *m, PassCtx *c, bool *changed) {
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Graph *g = m->graphs[i];
    for (OpId o = 1; o < g->nops; o++) {
      if (!can_fold(g, &g->ops[o])) continue;
      TRY(fold(g, o, c->diag));
      *changed = true;
    }
  }
  return OK;
}
