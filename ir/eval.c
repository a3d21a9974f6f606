/* The evaluator of Graph IR: runs a graph op by op over dense tensors.
 *
 * Symbols are found from the shapes of the inputs, the rest are given (P, the past). Values whose
 * type is f16 or bf16 are rounded to it after every op; everything else is in the ops' ref_
 * functions. Constants are read as the program will compute with them (ir/const_rows).
 */
#include "ir/eval.h"
#include "ir/const_rows.h"
#include "ir/op/common.h"

#include <string.h>

RefTensor *ref_value(RefCtx *c, ValueId v) {
  return &c->values[v];
}

/* Gives `t` its array; FAIL when the shape is absurd. */
static Status tensor_alloc(Arena *a, RefTensor *t, Diag *d, const char *where) {
  uint64_t n = 1, bytes;
  for (int i = 0; i < t->rank; i++) {
    if (t->dim[i] < 0 || !size_mul(n, (uint64_t)t->dim[i], &n))
      return diag_error(d, where, "a shape with dimension %lld", (long long)t->dim[i]);
  }
  if (!size_mul(n, sizeof(int64_t), &bytes)) return diag_error(d, where, "is too large");
  t->elements = (int64_t)n;
  if (dtype_is_float(t->dtype))
    t->f = ARENA_ARRAY(a, float, n + 1);
  else
    t->i = ARENA_ARRAY(a, int64_t, n + 1);
  return OK;
}

RefTensor *ref_result(RefCtx *c, ValueId v) {
  const Value *value = graph_value(c->graph, v);
  RefTensor *t = &c->values[v];
  *t = (RefTensor){.name = value->name, .dtype = value->type.dtype, .rank = value->type.rank};
  for (int i = 0; i < t->rank; i++)
    t->dim[i] = dim_eval(c->graph->module->dims, value->type.dim[i], c->dims);
  BUG_IF(tensor_alloc(c->arena, t, c->diag, "eval") != OK, "a result with an impossible shape");
  return t;
}

RefState *ref_states_new(Arena *a, const Module *m) {
  RefState *s = ARENA_ARRAY(a, RefState, m->nstates + 1);
  for (uint32_t i = 0; i < m->nstates; i++) {
    const StateDef *def = &m->states[i];
    size_t n = (size_t)(def->slots * def->context * def->kv_heads * def->head_dim);
    s[i].k = ARENA_ARRAY(a, float, n + 1);
    s[i].v = ARENA_ARRAY(a, float, n + 1);
  }
  return s;
}

/* ---- constants ---- */

static int64_t read_integer(const uint8_t *p, DType t) {
  int64_t v = 0;
  memcpy(&v, p, dtype_size(t)); /* little-endian, as the files are */
  return wrap_integer(v, t);
}

Status const_dense(Arena *a, const Module *m, uint32_t index, RefTensor *out, Diag *d) {
  ConstRows rows;
  TRY(const_rows_open(m, index, &rows, d));
  const Type *t = &rows.def->type;
  *out = (RefTensor){.name = rows.def->name, .dtype = t->dtype, .rank = t->rank};
  for (int i = 0; i < t->rank; i++) dim_is_const(m->dims, t->dim[i], &out->dim[i]);
  Status s = tensor_alloc(a, out, d, rows.def->name);
  for (int64_t r = 0; s == OK && r < rows.rows; r++) {
    if (out->f) {
      const_row_floats(&rows, r, out->f + r * rows.cols);
      continue;
    }
    const uint8_t *p = const_row_data(&rows, r);
    for (int64_t k = 0; k < rows.cols; k++)
      out->i[r * rows.cols + k] = read_integer(p + (size_t)k * dtype_size(t->dtype), t->dtype);
  }
  const_rows_close(&rows);
  return s;
}

/* ---- symbols ---- */

typedef struct Symbols {
  int64_t *env;
  bool *known;
} Symbols;

static Status set_symbol(const Dims *dims, Symbols *s, DimId id, int64_t value, Diag *d) {
  const DimExpr *e = dim_get(dims, id);
  if (value < e->lo || value > e->hi)
    return diag_error(d, "eval", "%s = %lld is not in %lld..%lld", e->name, (long long)value,
                      (long long)e->lo, (long long)e->hi);
  if (s->known[id] && s->env[id] != value)
    return diag_error(d, "eval", "the inputs disagree on %s: %lld and %lld", e->name,
                      (long long)s->env[id], (long long)value);
  s->known[id] = true;
  s->env[id] = value;
  return OK;
}

static Status need_known(const Dims *dims, const Symbols *s, DimId id, Diag *d) {
  const DimExpr *e = dim_get(dims, id);
  if (e->kind == DIM_CONST) return OK;
  if (e->kind == DIM_SYMBOL)
    return s->known[id] ? OK : diag_error(d, "eval", "no value for the symbol %s", e->name);
  TRY(need_known(dims, s, e->a, d));
  return need_known(dims, s, e->b, d);
}

static const RefTensor *find_input(const RefTensor *in, uint32_t nin, const char *name) {
  for (uint32_t i = 0; i < nin; i++)
    if (in[i].name && name && strcmp(in[i].name, name) == 0) return &in[i];
  return NULL;
}

static Status find_symbols(const Graph *g, const RefTensor *in, uint32_t nin,
                           const RefSymbol *symbols, uint32_t nsymbols, Symbols *s, Diag *d) {
  const Dims *dims = g->module->dims;
  for (uint32_t i = 0; i < nsymbols; i++) {
    DimId id = dim_find(dims, symbols[i].name);
    if (!id) return diag_error(d, "eval", "the module has no symbol %s", symbols[i].name);
    TRY(set_symbol(dims, s, id, symbols[i].value, d));
  }
  for (uint32_t i = 0; i < g->ninputs; i++) {
    const Value *v = &g->values[g->inputs[i]];
    const RefTensor *t = find_input(in, nin, v->name);
    if (!t || t->rank != v->type.rank || dtype_is_float(t->dtype) != dtype_is_float(v->type.dtype))
      return diag_error(d, "eval", "input %s is %s", v->name, t ? "of another type" : "missing");
    for (int k = 0; k < t->rank; k++) {
      if (dim_get(dims, v->type.dim[k])->kind == DIM_SYMBOL)
        TRY(set_symbol(dims, s, v->type.dim[k], t->dim[k], d));
    }
  }
  DimId past = dim_find(dims, "P"); /* read by the ops on caches */
  for (uint32_t i = 1; i < g->nvalues; i++) {
    if (g->values[i].kind == V_STATE && past) TRY(need_known(dims, s, past, d));
    for (int k = 0; k < g->values[i].type.rank; k++)
      TRY(need_known(dims, s, g->values[i].type.dim[k], d));
  }
  return OK;
}

/* ---- running ---- */

static Status load_inputs(RefCtx *c, const RefTensor *in, uint32_t nin) {
  const Graph *g = c->graph;
  for (uint32_t i = 0; i < g->ninputs; i++) {
    const Value *v = &g->values[g->inputs[i]];
    const RefTensor *t = find_input(in, nin, v->name);
    for (int k = 0; k < t->rank; k++) {
      int64_t want = dim_eval(g->module->dims, v->type.dim[k], c->dims);
      if (t->dim[k] != want)
        return diag_error(c->diag, "eval", "input %s has %lld in dimension %d (expected %lld)",
                          v->name, (long long)t->dim[k], k, (long long)want);
    }
    c->values[g->inputs[i]] = *t;
    c->values[g->inputs[i]].dtype = v->type.dtype;
  }
  return OK;
}

/* Constants that something uses, and an empty value for every state. */
static Status load_constants(RefCtx *c) {
  const Graph *g = c->graph;
  for (ValueId v = 1; v < g->nvalues; v++) {
    const Value *value = &g->values[v];
    if (value->kind == V_CONST && value->uses)
      TRY(const_dense(c->arena, g->module, value->index, &c->values[v], c->diag));
    if (value->kind == V_STATE) {
      if (!c->states) return diag_error(c->diag, "eval", "the graph needs states");
      ref_result(c, v);
    }
  }
  return OK;
}

static void round_results(RefCtx *c, const Op *op) {
  for (uint32_t r = 0; r < op->nout; r++) {
    RefTensor *t = &c->values[op->out[r]];
    if (t->dtype != DT_f16 && t->dtype != DT_bf16) continue;
    for (int64_t i = 0; i < t->elements; i++) t->f[i] = round_float(t->f[i], t->dtype);
  }
}

Status graph_eval_watched(Arena *a, const Graph *g, RefState *states, const RefTensor *in,
                          uint32_t nin, const RefSymbol *symbols, uint32_t nsymbols,
                          RefWatch *watch, void *user, RefTensor **out, Diag *d) {
  size_t ndims = (size_t)dim_count(g->module->dims) + 1;
  Symbols s = {ARENA_ARRAY(a, int64_t, ndims), ARENA_ARRAY(a, bool, ndims)};
  TRY(find_symbols(g, in, nin, symbols, nsymbols, &s, d));
  RefCtx c = {a, g, s.env, ARENA_ARRAY(a, RefTensor, g->nvalues + 1), states, d};
  TRY(load_inputs(&c, in, nin));
  TRY(load_constants(&c));
  for (OpId o = 1; o < g->nops; o++) {
    const Op *op = &g->ops[o];
    if (op->dead) continue;
    if (watch) watch(user, &c, op);
    TRY(op_info(op->code)->ref(&c, op));
    round_results(&c, op);
  }
  RefTensor *results = ARENA_ARRAY(a, RefTensor, g->noutputs + 1);
  for (uint32_t i = 0; i < g->noutputs; i++) {
    results[i] = c.values[g->outputs[i]];
    results[i].name = g->output_names[i];
  }
  *out = results;
  return OK;
}

Status graph_eval(Arena *a, const Graph *g, RefState *states, const RefTensor *in, uint32_t nin,
                  const RefSymbol *symbols, uint32_t nsymbols, RefTensor **out, Diag *d) {
  return graph_eval_watched(a, g, states, in, nin, symbols, nsymbols, NULL, NULL, out, d);
}
