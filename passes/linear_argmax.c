/* linear_argmax: where only the place of a matrix's largest output is asked for, most of its bits
 * need not be read.
 *
 * Decoding without sampling asks an output matrix for one number, the token. Its upper bits say
 * about how large every output is, and by how much they may be wrong
 * (passes/lower/linear_argmax.c), so the lower ones are read for the few rows that may be the
 * largest. The answer is that of the two ops, bit for bit. Done for one row, an integer weight that
 * can be split, in a format with activations in i16, and only where the matrix is worth it: it has
 * to come from memory. A matrix that is read so by one graph is split for all of them.
 */
#include "passes/util.h"

#include "ir/quant.h"

#include <string.h>

enum { LEAST_ROWS = 16384, LEAST_BYTES = 32 << 20 };

static bool worth_it(const Graph *g, const Type *w) {
  const QuantDef *q = quant_def(w->storage);
  int64_t rows, cols;
  if (!q || !q->split || !dim_is_const(g->module->dims, w->dim[0], &rows) ||
      !dim_is_const(g->module->dims, w->dim[1], &cols))
    return false;
  return rows >= LEAST_ROWS && quant_packed_size(q, rows, cols) >= LEAST_BYTES;
}

/* The linear whose outputs argmax `o` alone reads, when the two can be one. */
static const Op *linear_below(const Graph *g, const Op *o) {
  const Op *y = def_of(g, o->in[0]);
  if (!y || y->code != OP_linear || y->nin != 2 || graph_value(g, o->in[0])->uses != 1) return NULL;
  const Type *w = &graph_value(g, y->in[1])->type;
  bool fits = const_of(g, y->in[1]) && y->attrs.linear.act == ACT_i16 && !y->attrs.linear.fold;
  return fits && is_one_row(g, &graph_value(g, y->in[0])->type) && worth_it(g, w) ? y : NULL;
}

static void join(Graph *g, OpId o, const Op *y) {
  ValueId old = g->ops[o].out[0];
  OpId linear = graph_value(g, g->ops[o].in[0])->def;
  Attrs attrs = y->attrs;
  graph_origin(g, y->origin);
  OpId both = graph_op(g, OP_linear_argmax, (ValueId[]){y->in[0], y->in[1]}, 2, &attrs);
  graph_origin(g, NULL);
  ValueId new = g->ops[both].out[0];
  g->values[new].name = g->values[old].name;
  graph_replace(g, old, new);
  graph_output(g, "full", g->ops[both].out[1]);
  graph_kill(g, o);
  graph_kill(g, linear);
}

static bool join_all(Graph *g) {
  uint32_t n = g->nops;
  for (OpId o = 1; o < n; o++) {
    const Op *op = graph_get(g, o);
    const Op *y = !op->dead && op->code == OP_argmax ? linear_below(g, op) : NULL;
    if (y) join(g, o, y);
  }
  if (g->nops > n) graph_sort(g);
  return g->nops > n;
}

Status pass_linear_argmax(Module *m, PassCtx *c, bool *changed) {
  (void)c;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Graph *g = m->graphs[i];
    bool joined = join_all(g), drop = !joined && strcmp(g->name, "greedy") == 0;
    *changed |= joined || drop;
    if (!drop) m->graphs[kept++] = g;
  }
  m->ngraphs = kept;
  return OK;
}
