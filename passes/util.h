/* What several graph passes need. */
#ifndef INGOT_PASSES_UTIL_H
#define INGOT_PASSES_UTIL_H

#include "passes/passes.h"

/* The constant that a value stands for; NULL when it is none. */
static inline const ConstDef *const_of(const Graph *g, ValueId v) {
  const Value *x = graph_value(g, v);
  return x->kind == V_CONST ? &g->module->consts[x->index] : NULL;
}
/* The live op that makes a value; NULL for inputs, constants and states. */
static inline const Op *def_of(const Graph *g, ValueId v) {
  const Value *x = graph_value(g, v);
  return x->kind == V_OP ? graph_get(g, x->def) : NULL;
}
/* Whether a weight in this format is a matrix of integers, which activations meet as integers. */
bool is_integer_format(Storage s);
/* Whether all dimensions but the last are 1. */
static inline bool is_one_row(const Graph *g, const Type *t) {
  int64_t n;
  for (int i = 0; i + 1 < t->rank; i++)
    if (!dim_is_const(g->module->dims, t->dim[i], &n) || n != 1) return false;
  return true;
}
/* Whether an op is one that has the attribute `act` for its first operand. */
static inline bool reads_act(const Op *o) {
  return o->code == OP_linear || o->code == OP_linear_argmax;
}
/* Changes a constant's storage format, and with it the type of its value in every graph. */
void set_const_storage(Module *m, uint32_t index, Storage s);
/* Replaces the results of `from` by those of `to`, one by one, and kills `from`. */
void replace_op(Graph *g, OpId from, OpId to);
/* Exchanges the places of two ops in execution order; their ids are exchanged too. */
void swap_ops(Graph *g, OpId a, OpId b);
/* Drops from the module what no graph uses: constants, states, and a graph's values for them. */
bool drop_unused(Module *m);

#endif
