/* The invariants of a module; every message cites one by number.
 *
 * G1  Every operand, result, input and output is the id of a value of its graph.
 * G2  An operand is an input, a constant, a state or the result of a live op that stands before.
 * G3  A value and what defines it point at each other: an op's results name the op and their place,
 *     an input its position, a constant or state its entry in the module.
 * G4  A value's use count is the number of operands and outputs that name it.
 * G5  An op is a row of ir/ops.def, has as many operands as its row allows, and attributes in
 *     their ranges.
 * G6  The number and types of an op's results are those that inference gives.
 * G7  An op meets the further rules of its kind (its verify_ function).
 * G8  Types are well-formed: rank, dimensions that are never negative, storage formats of f32 only.
 * G9  A constant has a unique name, a constant shape, and either dense elements or parts that add
 *     up to its shape; interleaved heads divide their rows evenly, two halves each.
 * G10 A state has a unique name, positive sizes whose product is a size, and an element type that
 *     caches have.
 * G11 Graphs, and the inputs and outputs of one graph, have names that differ.
 * G12 A state's value is updated at most once, and not read after its update.
 * G13 Clusters and ops agree: an op is in exactly the cluster that it names, in execution order,
 *     and the anchor is one of the cluster's ops.
 *
 * Checks run in an order such that each may rely on those before; a graph that fails one is left.
 */
#include "ir/graph_impl.h"

#include <stdio.h>
#include <string.h>

typedef struct Verifier {
  const Module *m;
  const Graph *g;
  Diag *d;
  Arena *arena;
  const char **names; /* of values; NULL until ids are known to be good */
} Verifier;

static const char *where_op(const Verifier *v, OpId o) {
  const Op *op = &v->g->ops[o];
  const char *code = (unsigned)op->code < OP_COUNT ? op_info(op->code)->name : "?";
  if (!v->names || !op->nout)
    return arena_printf(v->arena, "@%s/@%s/op %u (%s)", v->m->name, v->g->name, o, code);
  return arena_printf(v->arena, "@%s/@%s/%%%s = %s", v->m->name, v->g->name, v->names[op->out[0]],
                      code);
}

static const char *where_graph(const Verifier *v) {
  return arena_printf(v->arena, "@%s/@%s", v->m->name, v->g->name);
}

/* ---- constants and states ---- */

static Status check_parts(const Verifier *v, const ConstDef *c, const char *where) {
  int64_t rows = 0, size = 0;
  for (uint32_t i = 0; i < c->nparts; i++) {
    const ConstPart *p = &c->parts[i];
    if (!p->name) return diag_error(v->d, where, "G9: part %u has no name", i + 1);
    if (p->view.rank == 0) return OK; /* only the name is known */
    if (p->view.rank != c->type.rank)
      return diag_error(v->d, where, "G9: part %s has another rank than the constant", p->name);
    for (uint32_t k = 1; k < c->type.rank; k++) {
      if (dim_is_const(v->m->dims, c->type.dim[k], &size) && size != p->view.dim[k])
        return diag_error(v->d, where, "G9: axis %u of part %s differs from the constant's", k,
                          p->name);
    }
    int64_t heads = p->interleaved_heads;
    if (heads < 0 || (heads && (p->view.dim[0] % heads || p->view.dim[0] / heads % 2)))
      return diag_error(v->d, where, "G9: %lld heads do not divide the rows of part %s into halves",
                        (long long)heads, p->name);
    rows += p->view.dim[0];
  }
  if (c->type.rank && dim_is_const(v->m->dims, c->type.dim[0], &size) && size != rows) {
    return diag_error(v->d, where, "G9: the parts have %lld rows (expected %lld)", (long long)rows,
                      (long long)size);
  }
  return OK;
}

static Status check_name(const Verifier *v, NameMap *names, const char *name, const char *rule) {
  if (!name || !*name) return diag_error(v->d, v->m->name, "%s: a definition without a name", rule);
  uint32_t *place = names_at(names, name);
  if (*place) return diag_error(v->d, v->m->name, "%s: two definitions are named %s", rule, name);
  *place = 1;
  return OK;
}

static Status check_const(const Verifier *v, const ConstDef *c) {
  const char *why, *where = arena_printf(v->arena, "@%s/%%%s", v->m->name, c->name);
  if (!type_check(v->m->dims, &c->type, &why))
    return diag_error(v->d, where, "G8: its type can't be: %s", why);
  for (uint32_t i = 0; i < c->type.rank; i++) {
    if (!dim_is_const(v->m->dims, c->type.dim[i], NULL))
      return diag_error(v->d, where, "G9: axis %u is not a number", i);
  }
  if (storage_is_act(c->type.storage))
    return diag_error(v->d, where, "G9: a constant in an activation format");
  if ((c->nparts > 0) == (c->dense != NULL))
    return diag_error(v->d, where, "G9: neither parts nor dense elements, or both");
  if (c->dense && c->type.storage != Q_plain)
    return diag_error(v->d, where, "G9: dense elements are plain, not %s",
                      storage_name(c->type.storage));
  return c->dense ? OK : check_parts(v, c, where);
}

static Status check_state(const Verifier *v, const StateDef *s) {
  const char *where = arena_printf(v->arena, "@%s/%%%s", v->m->name, s->name);
  if (s->slots < 1 || s->context < 1 || s->kv_heads < 1 || s->head_dim < 1)
    return diag_error(v->d, where, "G10: a size below 1");
  bool plain = s->dtype == DT_i16 || s->dtype == DT_f16 || s->dtype == DT_f32;
  if (s->storage == Q_plain ? !plain : s->storage != Q_q8_0 || s->dtype != DT_f32)
    return diag_error(v->d, where, "G10: a cache of %s (expected i16, f16, f32 or q8_0)",
                      cache_format_name(s));
  uint64_t bytes = 2 * dtype_size(s->dtype); /* keys and values */
  const int64_t sizes[] = {s->slots, s->context, s->kv_heads, s->head_dim};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    if (!size_mul(bytes, (uint64_t)sizes[i], &bytes))
      return diag_error(v->d, where, "G10: a cache of more than 2^63 bytes");
  }
  return OK;
}

static Status check_module(const Verifier *v) {
  NameMap names = {.arena = v->arena};
  for (uint32_t i = 0; i < v->m->nconsts; i++) {
    TRY(check_name(v, &names, v->m->consts[i].name, "G9"));
    TRY(check_const(v, &v->m->consts[i]));
  }
  for (uint32_t i = 0; i < v->m->nstates; i++) {
    TRY(check_name(v, &names, v->m->states[i].name, "G10"));
    TRY(check_state(v, &v->m->states[i]));
  }
  return OK;
}

/* ---- ids, definitions, uses ---- */

static Status check_ids_in(const Verifier *v, const ValueId *ids, uint32_t n, const char *where) {
  for (uint32_t i = 0; i < n; i++) {
    if (ids[i] == 0 || ids[i] >= v->g->nvalues)
      return diag_error(v->d, where, "G1: %u is no value (of %u)", ids[i], v->g->nvalues - 1);
  }
  return OK;
}

static Status check_ids(const Verifier *v) {
  const Graph *g = v->g;
  TRY(check_ids_in(v, g->inputs, g->ninputs, where_graph(v)));
  TRY(check_ids_in(v, g->outputs, g->noutputs, where_graph(v)));
  for (OpId o = 1; o < g->nops; o++) {
    const Op *op = &g->ops[o];
    if (op->dead) continue;
    TRY(check_ids_in(v, op->in, op->nin, where_op(v, o)));
    TRY(check_ids_in(v, op->out, op->nout, where_op(v, o)));
  }
  return OK;
}

/* Whether what defines value `id` points back at it. A dead op's results need not. */
static bool definition_agrees(const Verifier *v, ValueId id) {
  const Value *x = &v->g->values[id];
  switch (x->kind) {
  case V_INPUT: return x->index < v->g->ninputs && v->g->inputs[x->index] == id;
  case V_CONST:
    return x->index < v->m->nconsts && type_equal(&x->type, &v->m->consts[x->index].type);
  case V_STATE: return x->index < v->m->nstates;
  case V_OP:
    if (x->def == 0 || x->def >= v->g->nops) return false;
    const Op *op = &v->g->ops[x->def];
    return op->dead || (x->index < op->nout && op->out[x->index] == id);
  }
  return false;
}

static Status check_definitions(const Verifier *v) {
  const Graph *g = v->g;
  const char *why;
  for (ValueId id = 1; id < g->nvalues; id++) {
    if (!definition_agrees(v, id))
      return diag_error(v->d, where_graph(v), "G3: %%%s and what defines it disagree",
                        v->names[id]);
    if (!type_check(v->m->dims, &g->values[id].type, &why))
      return diag_error(v->d, where_graph(v), "G8: the type of %%%s can't be: %s", v->names[id],
                        why);
  }
  for (uint32_t i = 0; i < g->ninputs; i++) {
    const Value *x = &g->values[g->inputs[i]];
    if (x->kind != V_INPUT || x->index != i)
      return diag_error(v->d, where_graph(v), "G3: input %u is another kind of value", i + 1);
  }
  for (OpId o = 1; o < g->nops; o++) {
    for (uint32_t i = 0; i < g->ops[o].nout && !g->ops[o].dead; i++) {
      const Value *x = &g->values[g->ops[o].out[i]];
      if (x->kind != V_OP || x->def != o || x->index != i)
        return diag_error(v->d, where_op(v, o), "G3: result %u names another op", i + 1);
    }
  }
  return OK;
}

static Status check_order(const Verifier *v) {
  const Graph *g = v->g;
  for (OpId o = 1; o < g->nops; o++) {
    for (uint32_t i = 0; i < g->ops[o].nin && !g->ops[o].dead; i++) {
      const Value *x = &g->values[g->ops[o].in[i]];
      if (x->kind == V_OP && (x->def >= o || g->ops[x->def].dead))
        return diag_error(v->d, where_op(v, o), "G2: operand %u (%%%s) is not defined before",
                          i + 1, v->names[g->ops[o].in[i]]);
    }
  }
  for (uint32_t i = 0; i < g->noutputs; i++) {
    const Value *x = &g->values[g->outputs[i]];
    if (x->kind == V_OP && g->ops[x->def].dead)
      return diag_error(v->d, where_graph(v), "G2: the output %s is not defined",
                        g->output_names[i]);
  }
  return OK;
}

static Status check_uses(const Verifier *v) {
  const Graph *g = v->g;
  uint32_t *uses = ARENA_ARRAY(v->arena, uint32_t, g->nvalues);
  for (OpId o = 1; o < g->nops; o++) {
    for (uint32_t i = 0; i < g->ops[o].nin && !g->ops[o].dead; i++) uses[g->ops[o].in[i]]++;
  }
  for (uint32_t i = 0; i < g->noutputs; i++) uses[g->outputs[i]]++;
  for (ValueId id = 1; id < g->nvalues; id++) {
    if (uses[id] != g->values[id].uses)
      return diag_error(v->d, where_graph(v), "G4: %%%s has %u uses (its count says %u)",
                        v->names[id], uses[id], g->values[id].uses);
  }
  return OK;
}

/* ---- ops ---- */

static Status check_op(const Verifier *v, OpId o) {
  const Op *op = &v->g->ops[o];
  const char *where = where_op(v, o);
  if (op->code == OP_none || (unsigned)op->code >= OP_COUNT)
    return diag_error(v->d, where, "G5: op code %d", (int)op->code);
  const OpInfo *info = op_info(op->code);
  if (op->nin < info->min_in || op->nin > info->max_in)
    return diag_error(v->d, where, "G5: %u operands (expected %u to %u)", op->nin, info->min_in,
                      info->max_in);
  for (uint32_t i = 0; i < info->nfields; i++) {
    if (!attr_is_valid(&info->fields[i], &op->attrs))
      return diag_error(v->d, where, "G5: the attribute %s is out of range", info->fields[i].name);
  }
  Type types[MAX_RESULTS];
  uint32_t n = 0;
  if (graph_infer((Graph *)v->g, op, types, &n, v->d, where) != OK)
    return diag_error(v->d, where, "G6: its results have no type");
  if (n != op->nout)
    return diag_error(v->d, where, "G6: %u results (inference gives %u)", op->nout, n);
  for (uint32_t i = 0; i < n; i++) {
    if (type_equal(&types[i], &v->g->values[op->out[i]].type)) continue;
    Buf have = {0}, want = {0};
    type_print(v->m->dims, &v->g->values[op->out[i]].type, &have);
    type_print(v->m->dims, &types[i], &want);
    diag_error(v->d, where, "G6: result %u is %s (inference gives %s)", i + 1, have.data,
               want.data);
    buf_free(&have);
    buf_free(&want);
    return FAIL;
  }
  if (info->verify(v->g, op, v->d, where) != OK)
    return diag_error(v->d, where, "G7: a rule of %s is broken", info->name);
  return OK;
}

/* ---- names, states, clusters ---- */

static Status check_graph_names(const Verifier *v) {
  NameMap in = {.arena = v->arena}, out = {.arena = v->arena};
  for (uint32_t i = 0; i < v->g->ninputs; i++)
    TRY(check_name(v, &in, v->g->values[v->g->inputs[i]].name, "G11"));
  for (uint32_t i = 0; i < v->g->noutputs; i++)
    TRY(check_name(v, &out, v->g->output_names[i], "G11"));
  return OK;
}

static Status check_states(const Verifier *v) {
  OpId *updated = ARENA_ARRAY(v->arena, OpId, v->g->nvalues);
  for (OpId o = 1; o < v->g->nops; o++) {
    const Op *op = &v->g->ops[o];
    if (op->dead) continue;
    for (uint32_t i = 0; i < op->nin; i++) {
      if (updated[op->in[i]])
        return diag_error(v->d, where_op(v, o), "G12: the state %%%s has been updated before by %s",
                          v->names[op->in[i]], where_op(v, updated[op->in[i]]));
    }
    if (op_info(op->code)->traits & T_STATE) updated[op->in[0]] = o;
  }
  return OK;
}

static Status check_clusters(const Verifier *v) {
  const Graph *g = v->g;
  uint32_t listed = 0, named = 0;
  for (uint32_t c = 0; c < g->nclusters; c++) {
    const Cluster *k = &g->clusters[c];
    const char *where = arena_printf(v->arena, "%s/cluster %u", where_graph(v), c + 1);
    bool anchored = k->anchor == 0;
    if (k->klass >= CC_COUNT) return diag_error(v->d, where, "G13: class %u", k->klass);
    for (uint32_t i = 0; i < k->nops; i++) {
      OpId o = k->ops[i];
      if (o == 0 || o >= g->nops || g->ops[o].dead || g->ops[o].cluster != c + 1)
        return diag_error(v->d, where, "G13: op %u does not name this cluster", o);
      if (i && o <= k->ops[i - 1])
        return diag_error(v->d, where, "G13: its ops are not in execution order");
      anchored |= o == k->anchor;
    }
    if (!anchored) return diag_error(v->d, where, "G13: its anchor is not one of its ops");
    listed += k->nops;
  }
  for (OpId o = 1; o < g->nops; o++) {
    if (g->ops[o].dead || !g->ops[o].cluster) continue;
    named++;
    if (g->ops[o].cluster > g->nclusters)
      return diag_error(v->d, where_op(v, o), "G13: there is no cluster %u", g->ops[o].cluster);
  }
  if (named != listed)
    return diag_error(v->d, where_graph(v), "G13: %u ops name a cluster, %u are listed", named,
                      listed);
  return OK;
}

static Status check_graph(Verifier *v) {
  TRY(check_ids(v));
  v->names = graph_value_names(v->g, v->arena);
  TRY(check_definitions(v));
  TRY(check_order(v));
  TRY(check_uses(v));
  for (OpId o = 1; o < v->g->nops; o++) {
    if (!v->g->ops[o].dead) TRY(check_op(v, o));
  }
  TRY(check_graph_names(v));
  TRY(check_states(v));
  return check_clusters(v);
}

Status module_verify(const Module *m, Diag *d) {
  Verifier v = {.m = m, .d = d, .arena = arena_new()};
  NameMap names = {.arena = v.arena};
  Status s = check_module(&v);
  for (uint32_t i = 0; s == OK && i < m->ngraphs; i++) {
    s = check_name(&v, &names, m->graphs[i]->name, "G11");
    v.g = m->graphs[i];
    v.names = NULL;
    if (s == OK) s = check_graph(&v);
  }
  arena_free(v.arena);
  return s;
}
