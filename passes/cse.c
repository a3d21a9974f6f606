/* cse: an op that computes what an earlier one computes gives way to it.
 *
 * Pure ops with equal operands and attributes are equal; operands of commutative ops are compared
 * in either order. Equal constants (the same bytes, or the same places in the files) become one
 * first, so that equal ops on them are found. One walk per graph with a hash table by code and
 * operands.
 */
#include "passes/util.h"

#include <string.h>

/* ---- constants ---- */

static bool same_parts(const ConstDef *a, const ConstDef *b) {
  for (uint32_t i = 0; i < a->nparts; i++) {
    const ConstPart *x = &a->parts[i], *y = &b->parts[i];
    if (x->interleaved_heads != y->interleaved_heads || x->view.data != y->view.data) return false;
    if (x->view.storage != y->view.storage || x->view.dtype != y->view.dtype) return false;
    if (!x->view.data && strcmp(x->name, y->name) != 0) return false;
  }
  return true;
}

static bool same_const(const Module *m, const ConstDef *a, const ConstDef *b) {
  if (a->nparts != b->nparts || !type_equal(&a->type, &b->type)) return false;
  if (a->nparts) return same_parts(a, b);
  int64_t n;
  if (!dim_is_const(m->dims, type_elements(m->dims, &a->type), &n)) return false;
  return memcmp(a->dense, b->dense, (size_t)n * dtype_size(a->type.dtype)) == 0;
}

static bool share_constants(Graph *g) {
  bool changed = false;
  const Module *m = g->module;
  for (uint32_t i = 0; i < m->nconsts; i++) {
    for (uint32_t k = 0; k < i; k++) {
      if (!same_const(m, &m->consts[k], &m->consts[i])) continue;
      ValueId from = graph_const(g, i), to = graph_const(g, k);
      changed |= g->values[from].uses > 0;
      graph_replace(g, from, to);
      break;
    }
  }
  return changed;
}

/* ---- ops ---- */

static ValueId operand(const Op *op, uint32_t i) {
  bool swap = (op_info(op->code)->traits & T_COMMUTATIVE) && op->in[0] > op->in[1];
  return op->in[swap ? 1 - i : i];
}

static uint32_t hash_op(const Op *op) {
  uint32_t h = (uint32_t)op->code * 2654435761u;
  for (uint32_t i = 0; i < op->nin; i++) h = (h ^ operand(op, i)) * 2654435761u;
  return h ^ h >> 16;
}

static bool same_op(const Op *a, const Op *b) {
  if (a->code != b->code || a->nin != b->nin || a->nout != b->nout) return false;
  for (uint32_t i = 0; i < a->nin; i++) {
    if (operand(a, i) != operand(b, i)) return false;
  }
  return attrs_equal(op_info(a->code), &a->attrs, &b->attrs);
}

static bool share_ops(Graph *g) {
  uint32_t cap = 64;
  bool changed = false;
  while (cap < 2 * g->nops) cap *= 2;
  OpId *table = mem_alloc(cap * sizeof *table);
  for (OpId o = 1; o < g->nops; o++) {
    const Op *op = &g->ops[o];
    if (op->dead || !(op_info(op->code)->traits & T_PURE)) continue;
    uint32_t i = hash_op(op) & (cap - 1);
    while (table[i] && !same_op(&g->ops[table[i]], op)) i = (i + 1) & (cap - 1);
    if (!table[i]) {
      table[i] = o;
      continue;
    }
    replace_op(g, o, table[i]);
    changed = true;
  }
  mem_free(table);
  return changed;
}

Status pass_cse(Module *m, PassCtx *c, bool *changed) {
  (void)c;
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    *changed |= share_constants(m->graphs[i]);
    *changed |= share_ops(m->graphs[i]);
  }
  return OK;
}
