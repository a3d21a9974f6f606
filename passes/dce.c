/* dce: drops ops whose results nothing uses, then constants and states that no graph uses.
 *
 * An op that updates a state stays, whoever reads it: the update is what it is for.
 */
#include "passes/util.h"

static bool is_dead(const Graph *g, const Op *op) {
  if (op_info(op->code)->traits & T_STATE) return false;
  for (uint32_t i = 0; i < op->nout; i++) {
    if (g->values[op->out[i]].uses) return false;
  }
  return true;
}

Status pass_dce(Module *m, PassCtx *c, bool *changed) {
  (void)c;
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Graph *g = m->graphs[i];
    for (OpId o = g->nops - 1; o > 0; o--) { /* users first, so that one walk finds chains */
      if (g->ops[o].dead || !is_dead(g, &g->ops[o])) continue;
      graph_kill(g, o);
      *changed = true;
    }
  }
  *changed |= drop_unused(m);
  return OK;
}
