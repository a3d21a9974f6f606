/* requant: activations enter integer contractions through one `requant` a value and format.
 *
 * Before this pass a linear with act = i16 or i8 quantises its rows itself (that is what the
 * attribute means); after it the conversion is an op of its own, shared by every linear that reads
 * the value, and fusion may join it to what makes the value.
 */
#include "passes/util.h"

static bool wants_requant(const Graph *g, const Op *op) {
  if (op->dead || !reads_act(op) || op->attrs.linear.act == ACT_f32) return false;
  return graph_value(g, op->in[0])->type.storage == Q_plain &&
         is_integer_format(graph_value(g, op->in[1])->type.storage);
}

static OpId find_requant(const Graph *g, ValueId x, ActFormat act) {
  for (OpId o = 1; o < g->nops; o++) {
    const Op *op = graph_get(g, o);
    if (!op->dead && op->code == OP_requant && op->in[0] == x && op->attrs.linear.act == act)
      return o;
  }
  return 0;
}

static void insert(Graph *g, OpId o) {
  ValueId x = g->ops[o].in[0];
  Attrs attrs = {.linear.act = g->ops[o].attrs.linear.act};
  OpId q = find_requant(g, x, attrs.linear.act);
  if (!q) {
    graph_origin(g, g->ops[o].origin);
    q = graph_op(g, OP_requant, &x, 1, &attrs);
    graph_origin(g, NULL);
  }
  graph_set_operand(g, o, 0, g->ops[q].out[0]);
}

Status pass_requant(Module *m, PassCtx *c, bool *changed) {
  (void)c;
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Graph *g = m->graphs[i];
    uint32_t n = g->nops;
    for (OpId o = 1; o < n; o++) {
      if (!wants_requant(g, &g->ops[o])) continue;
      insert(g, o);
      *changed = true;
    }
    if (g->nops > n) graph_sort(g);
  }
  return OK;
}
