/* Editing graphs: replacing values, killing, sweeping and sorting ops. See ir/graph.h. */
#include "ir/graph_impl.h"

#include <string.h>

void graph_set_operand(Graph *g, OpId op, uint32_t i, ValueId v) {
  Op *o = &g->ops[op];
  BUG_IF(i >= o->nin, "operand %u of %u", i, o->nin);
  BUG_IF(g->values[o->in[i]].uses == 0, "use count of %u", o->in[i]);
  g->values[o->in[i]].uses--;
  g->values[v].uses++;
  o->in[i] = v;
}

void graph_replace(Graph *g, ValueId from, ValueId to) {
  if (from == to) return;
  for (OpId o = 1; o < g->nops && g->values[from].uses; o++) {
    if (g->ops[o].dead) continue;
    for (uint32_t i = 0; i < g->ops[o].nin; i++) {
      if (g->ops[o].in[i] == from) graph_set_operand(g, o, i, to);
    }
  }
  for (uint32_t i = 0; i < g->noutputs; i++) {
    if (g->outputs[i] != from) continue;
    g->outputs[i] = to;
    g->values[from].uses--;
    g->values[to].uses++;
  }
}

void graph_kill(Graph *g, OpId op) {
  Op *o = &g->ops[op];
  BUG_IF(o->dead, "op %u is killed twice", op);
  for (uint32_t i = 0; i < o->nout; i++)
    BUG_IF(g->values[o->out[i]].uses, "a killed op's result is still used");
  for (uint32_t i = 0; i < o->nin; i++) g->values[o->in[i]].uses--;
  o->dead = true;
}

/* ---- sweeping ---- */

static bool value_stays(const Graph *g, const Value *v) {
  if (v->kind == V_INPUT) return true;
  if (v->kind == V_OP) return !g->ops[v->def].dead;
  return v->uses > 0;
}

/* Rewrites every mention of a value by `map`. */
static void map_values(Graph *g, const ValueId *map) {
  for (OpId o = 1; o < g->nops; o++) {
    if (g->ops[o].dead) continue;
    for (uint32_t i = 0; i < g->ops[o].nin; i++) g->ops[o].in[i] = map[g->ops[o].in[i]];
    for (uint32_t i = 0; i < g->ops[o].nout; i++) g->ops[o].out[i] = map[g->ops[o].out[i]];
  }
  for (uint32_t i = 0; i < g->ninputs; i++) g->inputs[i] = map[g->inputs[i]];
  for (uint32_t i = 0; i < g->noutputs; i++) g->outputs[i] = map[g->outputs[i]];
}

/* Puts op order[i] at place i + 1, for n ops, and rewrites every mention; others are dropped. */
static void reorder_ops(Graph *g, const OpId *order, uint32_t n) {
  Op *ops = mem_alloc((n + 1) * sizeof *ops);
  OpId *map = mem_alloc(g->nops * sizeof *map);
  ops[0] = g->ops[0];
  for (uint32_t i = 0; i < n; i++) {
    ops[i + 1] = g->ops[order[i]];
    map[order[i]] = i + 1;
  }
  for (ValueId v = 1; v < g->nvalues; v++) {
    if (g->values[v].kind == V_OP) g->values[v].def = map[g->values[v].def];
  }
  for (uint32_t c = 0; c < g->nclusters; c++) {
    Cluster *k = &g->clusters[c];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < k->nops; i++) {
      if (map[k->ops[i]]) k->ops[kept++] = map[k->ops[i]];
    }
    k->nops = kept;
    k->anchor = map[k->anchor];
  }
  memcpy(g->ops, ops, (n + 1) * sizeof *ops);
  g->nops = n + 1;
  mem_free(ops);
  mem_free(map);
}

void graph_sweep(Graph *g) {
  ValueId *map = mem_alloc(g->nvalues * sizeof *map), kept = 1;
  for (ValueId v = 1; v < g->nvalues; v++) {
    if (value_stays(g, &g->values[v])) map[v] = kept++;
  }
  map_values(g, map);
  for (ValueId v = 1; v < g->nvalues; v++) {
    if (map[v]) g->values[map[v]] = g->values[v];
  }
  g->nvalues = kept;
  mem_free(map);

  OpId *order = mem_alloc(g->nops * sizeof *order);
  uint32_t n = 0;
  for (OpId o = 1; o < g->nops; o++) {
    if (!g->ops[o].dead) order[n++] = o;
  }
  if (n + 1 < g->nops) reorder_ops(g, order, n);
  mem_free(order);
}

/* ---- sorting ---- */

/* A depth-first walk over operands that are not yet placed; the stack is explicit, since a chain
 * of ops may be as long as the graph. */
typedef struct Sorter {
  Graph *g;
  uint8_t *mark; /* 0 new, 1 waits for its operands, 2 placed */
  OpId *order;
  uint32_t n;
  OpId *stack;
  uint32_t depth, cap;
} Sorter;

static bool reads(const Op *op, ValueId v) {
  for (uint32_t i = 0; i < op->nin; i++) {
    if (op->in[i] == v) return true;
  }
  return false;
}

/* What reads a state before its update must go on doing so. */
static bool push_readers(Sorter *s, OpId update) {
  bool pushed = false;
  for (OpId o = 1; o < update; o++) {
    const Op *op = &s->g->ops[o];
    if (op->dead || s->mark[o] || !reads(op, s->g->ops[update].in[0])) continue;
    *VEC_PUSH(s->stack, s->depth, s->cap) = o;
    pushed = true;
  }
  return pushed;
}

static bool push_operands(Sorter *s, OpId o) {
  const Op *op = &s->g->ops[o];
  bool pushed = op_info(op->code)->traits & T_STATE ? push_readers(s, o) : false;
  for (uint32_t i = op->nin; i-- > 0;) {
    const Value *v = &s->g->values[op->in[i]];
    if (v->kind != V_OP || s->mark[v->def] == 2) continue;
    BUG_IF(s->mark[v->def] == 1, "a cycle through op %u", v->def);
    *VEC_PUSH(s->stack, s->depth, s->cap) = v->def;
    pushed = true;
  }
  return pushed;
}

static void place(Sorter *s, OpId root) {
  *VEC_PUSH(s->stack, s->depth, s->cap) = root;
  while (s->depth) {
    OpId o = s->stack[s->depth - 1];
    if (s->mark[o] == 0) {
      s->mark[o] = 1;
      if (push_operands(s, o)) continue;
    }
    s->depth--;
    if (s->mark[o] == 2) continue;
    s->mark[o] = 2;
    s->order[s->n++] = o;
  }
}

void graph_sort(Graph *g) {
  Sorter s = {.g = g};
  s.mark = mem_alloc(g->nops);
  s.order = mem_alloc(g->nops * sizeof *s.order);
  for (OpId o = 1; o < g->nops; o++) {
    if (!g->ops[o].dead) place(&s, o);
  }
  BUG_IF(s.depth, "sorting");
  /* dead ops must keep a place: values still name them until the sweep */
  for (OpId o = 1; o < g->nops; o++) {
    if (g->ops[o].dead) s.order[s.n++] = o;
  }
  reorder_ops(g, s.order, s.n);
  mem_free(s.mark);
  mem_free(s.order);
  mem_free(s.stack);
}
