/* Shared by graph passes: see passes/util.h. */
#include "passes/util.h"

bool is_integer_format(Storage s) {
  const QuantDef *q = quant_def(s);
  return q && q->unpack_ints;
}

void set_const_storage(Module *m, uint32_t index, Storage s) {
  m->consts[index].type.storage = s;
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Graph *g = m->graphs[i];
    for (ValueId v = 1; v < g->nvalues; v++) {
      if (g->values[v].kind == V_CONST && g->values[v].index == index)
        g->values[v].type.storage = s;
    }
  }
}

void replace_op(Graph *g, OpId from, OpId to) {
  BUG_IF(g->ops[from].nout != g->ops[to].nout, "ops of different results");
  for (uint32_t i = 0; i < g->ops[from].nout; i++) {
    Value *old = &g->values[g->ops[from].out[i]], *new = &g->values[g->ops[to].out[i]];
    if (!new->name) new->name = old->name;
    graph_replace(g, g->ops[from].out[i], g->ops[to].out[i]);
  }
  graph_kill(g, from);
}

void swap_ops(Graph *g, OpId a, OpId b) {
  Op op = g->ops[a];
  g->ops[a] = g->ops[b];
  g->ops[b] = op;
  for (uint32_t i = 0; i < g->ops[a].nout; i++) g->values[g->ops[a].out[i]].def = a;
  for (uint32_t i = 0; i < g->ops[b].nout; i++) g->values[g->ops[b].out[i]].def = b;
}

/* New numbers of the used entries of one kind, or UINT32_MAX; returns how many stay. */
static uint32_t number_used(const Module *m, ValueKind kind, uint32_t *map, uint32_t n) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < n; i++) map[i] = UINT32_MAX;
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    const Graph *g = m->graphs[i];
    for (ValueId v = 1; v < g->nvalues; v++) {
      if (g->values[v].kind == kind && g->values[v].uses) map[g->values[v].index] = 0;
    }
  }
  for (uint32_t i = 0; i < n; i++) {
    if (map[i] == 0) map[i] = kept++;
  }
  return kept;
}

static void renumber(Module *m, ValueKind kind, const uint32_t *map) {
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Graph *g = m->graphs[i];
    graph_sweep(g); /* so that values without uses do not name what is gone */
    for (ValueId v = 1; v < g->nvalues; v++) {
      if (g->values[v].kind == kind) g->values[v].index = map[g->values[v].index];
    }
  }
}

bool drop_unused(Module *m) {
  uint32_t *map = mem_alloc((m->nconsts + m->nstates + 1) * sizeof *map), before;
  uint32_t consts = number_used(m, V_CONST, map, m->nconsts);
  before = m->nconsts + m->nstates;
  if (consts < m->nconsts) {
    renumber(m, V_CONST, map);
    for (uint32_t i = 0; i < m->nconsts; i++) {
      if (map[i] != UINT32_MAX) m->consts[map[i]] = m->consts[i];
    }
    m->nconsts = consts;
  }
  uint32_t states = number_used(m, V_STATE, map, m->nstates);
  if (states < m->nstates) {
    renumber(m, V_STATE, map);
    for (uint32_t i = 0; i < m->nstates; i++) {
      if (map[i] != UINT32_MAX) m->states[map[i]] = m->states[i];
    }
    m->nstates = states;
  }
  mem_free(map);
  return m->nconsts + m->nstates < before;
}
