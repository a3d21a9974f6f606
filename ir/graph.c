/* Modules and graphs: making them and adding to them. See ir/graph.h; editing is in graph_edit.c.
 *
 * The growing arrays are heap memory freed by module_free, all else is the module's arena. Use
 * counts are kept here and in graph_edit.c, and nowhere else.
 */
#include "ir/graph_impl.h"

#include <string.h>

/* ---- modules ---- */

Module *module_new(const char *name) {
  Arena *a = arena_new();
  Module *m = ARENA_NEW(a, Module);
  m->arena = a;
  m->name = arena_strdup(a, name);
  m->dims = dims_new(a);
  return m;
}

static void free_graph(Graph *g) {
  mem_free(g->values);
  mem_free(g->ops);
  mem_free(g->inputs);
  mem_free(g->outputs);
  mem_free(g->output_names);
  mem_free(g->clusters);
}

void module_free(Module *m) {
  if (!m) return;
  for (uint32_t i = 0; i < m->ngraphs; i++) free_graph(m->graphs[i]);
  mem_free(m->graphs);
  mem_free(m->consts);
  mem_free(m->states);
  dims_free(m->dims);
  arena_free(m->arena);
}

Graph *module_find_graph(const Module *m, const char *name) {
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    if (strcmp(m->graphs[i]->name, name) == 0) return m->graphs[i];
  }
  return NULL;
}

Graph *module_graph(Module *m, const char *name) {
  BUG_IF(module_find_graph(m, name), "two graphs named %s", name);
  Graph *g = ARENA_NEW(m->arena, Graph);
  g->module = m;
  g->name = arena_strdup(m->arena, name);
  *VEC_PUSH(g->values, g->nvalues, g->cvalues) = (Value){0};
  *VEC_PUSH(g->ops, g->nops, g->cops) = (Op){.dead = true};
  *VEC_PUSH(m->graphs, m->ngraphs, m->cgraphs) = g;
  return g;
}

static bool name_taken(const Module *m, const char *name) {
  for (uint32_t i = 0; i < m->nconsts; i++) {
    if (strcmp(m->consts[i].name, name) == 0) return true;
  }
  for (uint32_t i = 0; i < m->nstates; i++) {
    if (strcmp(m->states[i].name, name) == 0) return true;
  }
  return false;
}

static const char *free_name(Module *m, const char *name) {
  const char *s = arena_strdup(m->arena, name);
  for (unsigned n = 1; name_taken(m, s); n++) s = arena_printf(m->arena, "%s.%u", name, n);
  return s;
}

/* A deep copy but for the mapped bytes, so that a caller's struct may be short-lived. `dense` must
 * live as long as the module. */
uint32_t module_const(Module *m, const ConstDef *def) {
  ConstDef c = *def;
  c.name = free_name(m, def->name);
  c.parts = ARENA_ARRAY(m->arena, ConstPart, def->nparts);
  for (uint32_t i = 0; i < def->nparts; i++) {
    c.parts[i] = def->parts[i];
    c.parts[i].name = arena_strdup(m->arena, def->parts[i].name);
  }
  *VEC_PUSH(m->consts, m->nconsts, m->cconsts) = c;
  return m->nconsts - 1;
}

uint32_t module_state(Module *m, const StateDef *def) {
  StateDef s = *def;
  s.name = free_name(m, def->name);
  *VEC_PUSH(m->states, m->nstates, m->cstates) = s;
  return m->nstates - 1;
}

const char *cluster_class_name(uint32_t klass) {
  static const char *const names[CC_COUNT] = {"view",   "map",  "row", "contract",
                                              "attend", "scan", "sort"};
  return klass < CC_COUNT ? names[klass] : "?";
}

/* ---- values ---- */

static ValueId add_value(Graph *g, const Value *v) {
  *VEC_PUSH(g->values, g->nvalues, g->cvalues) = *v;
  return g->nvalues - 1;
}

ValueId graph_input(Graph *g, const char *name, Type type) {
  Value v = {.kind = V_INPUT, .type = type, .index = g->ninputs};
  v.name = arena_strdup(g->module->arena, name);
  ValueId id = add_value(g, &v);
  *VEC_PUSH(g->inputs, g->ninputs, g->cinputs) = id;
  return id;
}

/* The value that already stands for a constant or state, else a new one. */
static ValueId module_value(Graph *g, ValueKind kind, uint32_t index, Type type) {
  for (ValueId v = 1; v < g->nvalues; v++) {
    if (g->values[v].kind == kind && g->values[v].index == index) return v;
  }
  return add_value(g, &(Value){.kind = kind, .type = type, .index = index});
}

ValueId graph_const(Graph *g, uint32_t index) {
  BUG_IF(index >= g->module->nconsts, "constant %u of %u", index, g->module->nconsts);
  return module_value(g, V_CONST, index, g->module->consts[index].type);
}

ValueId graph_state(Graph *g, uint32_t index) {
  BUG_IF(index >= g->module->nstates, "state %u of %u", index, g->module->nstates);
  return module_value(g, V_STATE, index, (Type){.dtype = DT_f32});
}

void graph_output(Graph *g, const char *name, ValueId v) {
  uint32_t n = g->noutputs, cap = g->coutputs;
  *VEC_PUSH(g->outputs, n, cap) = v;
  *VEC_PUSH(g->output_names, g->noutputs, g->coutputs) = arena_strdup(g->module->arena, name);
  g->values[v].uses++;
  if (!g->values[v].name) g->values[v].name = g->output_names[g->noutputs - 1];
}

/* ---- ops ---- */

/* The arity and the lists that bound what inference may write. */
static Status check_shape(const Graph *g, const OpInfo *info, const ValueId *in, uint32_t nin,
                          const Attrs *attrs, Diag *d, const char *where) {
  if (nin < info->min_in || nin > info->max_in) {
    return diag_error(d, where, "%s has %u operands (expected %u to %u)", info->name, nin,
                      info->min_in, info->max_in);
  }
  for (uint32_t i = 0; i < nin; i++) {
    if (in[i] == 0 || in[i] >= g->nvalues)
      return diag_error(d, where, "operand %u of %s is no value", i + 1, info->name);
  }
  for (uint32_t i = 0; attrs && i < info->nfields; i++) {
    const AttrField *f = &info->fields[i];
    if (f->kind != AK_i64s) continue;
    const I64List *list = (const I64List *)((const char *)attrs + f->offset);
    if (list->n > MAX_RESULTS) {
      return diag_error(d, where, "%s of %s has %u elements (expected at most %d)", f->name,
                        info->name, list->n, MAX_RESULTS);
    }
  }
  return OK;
}

/* Infers the result types of an op whose operands are valid, and checks what came out. */
Status graph_infer(Graph *g, const Op *op, Type *out, uint32_t *nout, Diag *d, const char *where) {
  const OpInfo *info = op_info(op->code);
  const char *why;
  *nout = 0;
  memset(out, 0, MAX_RESULTS * sizeof *out);
  TRY(info->infer(g, op, out, nout, d, where));
  BUG_IF(*nout == 0 || *nout > MAX_RESULTS, "%s: inference gave %u results", info->name, *nout);
  for (uint32_t i = 0; i < *nout; i++) {
    if (!type_check(g->module->dims, &out[i], &why))
      return diag_error(d, where, "result %u of %s can't be: %s", i + 1, info->name, why);
  }
  return OK;
}

Status graph_try_op(Graph *g, Diag *d, const char *where, OpCode code, const ValueId *in,
                    uint32_t nin, const Attrs *attrs, OpId *out) {
  Arena *a = g->module->arena;
  const OpInfo *info = op_info(code);
  Type types[MAX_RESULTS];
  Op op = {.code = code, .nin = nin, .origin = g->origin};
  TRY(check_shape(g, info, in, nin, attrs, d, where));
  op.in = ARENA_ARRAY(a, ValueId, nin);
  memcpy(op.in, in, nin * sizeof *in);
  attrs_copy(a, info, &op.attrs, attrs);
  TRY(graph_infer(g, &op, types, &op.nout, d, where));
  TRY(info->verify(g, &op, d, where));
  op.out = ARENA_ARRAY(a, ValueId, op.nout);
  for (uint32_t i = 0; i < op.nout; i++)
    op.out[i] = add_value(g, &(Value){.kind = V_OP, .type = types[i], .def = g->nops, .index = i});
  for (uint32_t i = 0; i < nin; i++) g->values[in[i]].uses++;
  *VEC_PUSH(g->ops, g->nops, g->cops) = op;
  *out = g->nops - 1;
  return OK;
}

OpId graph_op(Graph *g, OpCode code, const ValueId *in, uint32_t nin, const Attrs *attrs) {
  Diag *d = diag_new();
  OpId op = 0;
  if (graph_try_op(g, d, g->origin ? g->origin : g->name, code, in, nin, attrs, &op) != OK)
    BUG("%s", diag_text(d));
  diag_free(d);
  return op;
}

ValueId graph_op1(Graph *g, OpCode code, const ValueId *in, uint32_t nin, const Attrs *attrs) {
  OpId op = graph_op(g, code, in, nin, attrs); /* may move the array of ops */
  return g->ops[op].out[0];
}

ValueId graph_unary(Graph *g, OpCode code, ValueId x) {
  return graph_op1(g, code, &x, 1, NULL);
}

ValueId graph_binary(Graph *g, OpCode code, ValueId x, ValueId y) {
  return graph_op1(g, code, (ValueId[]){x, y}, 2, NULL);
}

void graph_origin(Graph *g, const char *origin) {
  g->origin = arena_strdup(g->module->arena, origin);
}
