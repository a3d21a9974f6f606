/* Graph IR as text: see doc/ir.md, section 1, and ir/graph_parse.c, which reads it back.
 *
 * What parser and inference would supply anyway is left out: zero attributes, types of states.
 * Names are made unique here, so that passes may name values as they like.
 */
#include "ir/graph_impl.h"

#include <string.h>

/* ---- names ---- */

static const char *unique_name(NameMap *taken, const char *name, const char *format) {
  const char *s = name;
  for (unsigned n = 1; names_get(taken, s); n++) s = arena_printf(taken->arena, format, name, n);
  *names_at(taken, s) = 1;
  return s;
}

static const char *module_name_of(const Module *m, const Value *v) {
  if (v->kind == V_CONST && v->index < m->nconsts) return m->consts[v->index].name;
  if (v->kind == V_STATE && v->index < m->nstates) return m->states[v->index].name;
  return NULL;
}

const char **graph_value_names(const Graph *g, Arena *a) {
  const Module *m = g->module;
  NameMap taken = {.arena = a};
  const char **names = ARENA_ARRAY(a, const char *, g->nvalues);
  for (uint32_t i = 0; i < m->nconsts; i++) *names_at(&taken, m->consts[i].name) = 1;
  for (uint32_t i = 0; i < m->nstates; i++) *names_at(&taken, m->states[i].name) = 1;
  for (ValueId v = 1; v < g->nvalues; v++) {
    names[v] = module_name_of(m, &g->values[v]);
    if (!names[v] && g->values[v].kind == V_INPUT && g->values[v].name)
      names[v] = unique_name(&taken, g->values[v].name, "%s.%u");
  }
  for (ValueId v = 1; v < g->nvalues; v++) {
    if (!names[v] && g->values[v].name) names[v] = unique_name(&taken, g->values[v].name, "%s.%u");
  }
  for (ValueId v = 1; v < g->nvalues; v++) {
    if (!names[v]) names[v] = unique_name(&taken, arena_printf(a, "%u", v), "%s_%u");
  }
  return names;
}

/* ---- constants and states ---- */

static void print_element(const ConstDef *c, int64_t i, Buf *out) {
  union {
    float f32;
    uint16_t half;
    double f64;
    int64_t i64;
    int32_t i32;
    int16_t i16;
    int8_t i8;
    uint8_t u8;
  } v;
  size_t size = dtype_size(c->type.dtype);
  memcpy(&v, (const char *)c->dense + (size_t)i * size, size);
  switch (c->type.dtype) {
  case DT_f32: buf_double(out, v.f32, true); break;
  case DT_f16: buf_double(out, f16_to_f32(v.half), true); break;
  case DT_bf16: buf_double(out, bf16_to_f32(v.half), true); break;
  case DT_f64: buf_double(out, v.f64, false); break;
  case DT_i64: buf_printf(out, "%lld", (long long)v.i64); break;
  case DT_i32: buf_printf(out, "%d", v.i32); break;
  case DT_i16: buf_printf(out, "%d", v.i16); break;
  case DT_i8: buf_printf(out, "%d", v.i8); break;
  default: buf_printf(out, "%u", v.u8); break;
  }
}

static void print_dense(const Dims *d, const ConstDef *c, Buf *out) {
  int64_t n = 1, size;
  for (uint32_t i = 0; i < c->type.rank; i++)
    n *= dim_is_const(d, c->type.dim[i], &size) ? size : 0;
  buf_puts(out, "dense [");
  for (int64_t i = 0; i < n; i++) {
    if (i) buf_puts(out, ", ");
    print_element(c, i, out);
  }
  buf_puts(out, "]");
}

/* A part that is the whole constant as it stands needs no type of its own. */
static bool view_is_type(const Dims *d, const ConstDef *c) {
  const WeightView *v = &c->parts[0].view;
  if (c->nparts != 1 || v->rank != c->type.rank || v->storage != c->type.storage) return false;
  int64_t size;
  for (uint32_t i = 0; i < v->rank; i++) {
    if (!dim_is_const(d, c->type.dim[i], &size) || size != v->dim[i]) return false;
  }
  return v->dtype == c->type.dtype;
}

static void print_view(const WeightView *v, Buf *out) {
  buf_puts(out, " : tensor<");
  for (uint32_t i = 0; i < v->rank; i++)
    buf_printf(out, "%lld%s", (long long)v->dim[i], i + 1 < v->rank ? "x" : " x ");
  buf_puts(out, dtype_name(v->dtype));
  if (v->storage != Q_plain) buf_printf(out, " : %s", storage_name(v->storage));
  buf_puts(out, ">");
}

static void print_const(const Dims *d, const ConstDef *c, Buf *out) {
  buf_puts(out, "  const ");
  buf_name(out, '%', c->name);
  buf_puts(out, " : ");
  type_print(d, &c->type, out);
  buf_puts(out, " = ");
  if (c->nparts == 0) print_dense(d, c, out);
  for (uint32_t i = 0; i < c->nparts; i++) {
    const ConstPart *p = &c->parts[i];
    buf_puts(out, i ? ", " : "weight ");
    buf_quoted(out, p->name);
    if (p->view.rank && !view_is_type(d, c)) print_view(&p->view, out);
    if (p->interleaved_heads) buf_printf(out, " heads=%d", p->interleaved_heads);
  }
  buf_puts(out, "\n");
}

static void print_state(const StateDef *s, Buf *out) {
  buf_puts(out, "  state ");
  buf_name(out, '%', s->name);
  buf_printf(out, " : cache<slots=%lld, context=%lld, kv_heads=%lld, head_dim=%lld, %s>\n",
             (long long)s->slots, (long long)s->context, (long long)s->kv_heads,
             (long long)s->head_dim, cache_format_name(s));
}

/* ---- graphs ---- */

typedef struct Printer {
  const Graph *g;
  const char **names;
  Buf *out;
} Printer;

static void print_values(const Printer *p, const ValueId *v, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (i) buf_puts(p->out, ", ");
    buf_name(p->out, '%', p->names[v[i]]);
  }
}

static void print_attrs(const Op *op, Buf *out) {
  const OpInfo *info = op_info(op->code);
  const char *between = " {";
  for (uint32_t i = 0; i < info->nfields; i++) {
    if (attr_is_zero(&info->fields[i], &op->attrs)) continue;
    buf_puts(out, between);
    attr_print(&info->fields[i], &op->attrs, out);
    between = ", ";
  }
  if (op->cluster) {
    buf_printf(out, "%scluster = %u", between, op->cluster);
    between = ", ";
  }
  if (between[0] == ',') buf_puts(out, "}");
}

/* On one line whatever it holds: names of tensors come from files. */
static void print_origin(const char *origin, Buf *out) {
  if (!origin || !*origin) return;
  buf_puts(out, "  // ");
  for (; *origin; origin++) {
    char c = (unsigned char)*origin < ' ' ? ' ' : *origin;
    buf_put(out, &c, 1);
  }
}

static void print_op(const Printer *p, const Op *op) {
  const OpInfo *info = op_info(op->code);
  buf_puts(p->out, "    ");
  print_values(p, op->out, op->nout);
  buf_printf(p->out, " = %s ", info->name);
  print_values(p, op->in, op->nin);
  print_attrs(op, p->out);
  for (uint32_t i = 0; i < op->nout && !(info->traits & T_STATE); i++) {
    buf_puts(p->out, i ? ", " : " : ");
    type_print(p->g->module->dims, &p->g->values[op->out[i]].type, p->out);
  }
  print_origin(op->origin, p->out);
  buf_puts(p->out, "\n");
}

static void print_cluster(const Printer *p, uint32_t index) {
  const Cluster *c = &p->g->clusters[index];
  buf_printf(p->out, "    cluster %u %s", index + 1, cluster_class_name(c->klass));
  if (c->anchor) {
    buf_puts(p->out, " anchor ");
    print_values(p, p->g->ops[c->anchor].out, 1);
  }
  for (uint32_t i = 0; i < c->nops; i++) {
    buf_puts(p->out, i ? ", " : " : ");
    print_values(p, p->g->ops[c->ops[i]].out, 1);
  }
  buf_puts(p->out, "\n");
}

static void print_signature(const Printer *p) {
  const Graph *g = p->g;
  buf_puts(p->out, "  graph ");
  buf_name(p->out, '@', g->name);
  buf_puts(p->out, "(");
  for (uint32_t i = 0; i < g->ninputs; i++) {
    if (i) buf_puts(p->out, ", ");
    print_values(p, &g->inputs[i], 1);
    buf_puts(p->out, ": ");
    type_print(g->module->dims, &g->values[g->inputs[i]].type, p->out);
  }
  buf_puts(p->out, ") -> (");
  for (uint32_t i = 0; i < g->noutputs; i++) {
    if (i) buf_puts(p->out, ", ");
    buf_word(p->out, g->output_names[i]);
    buf_puts(p->out, ": ");
    print_values(p, &g->outputs[i], 1);
  }
  buf_puts(p->out, ") {\n");
}

void graph_print(const Graph *g, Buf *out) {
  Arena *a = arena_new();
  Printer p = {g, graph_value_names(g, a), out};
  print_signature(&p);
  for (OpId o = 1; o < g->nops; o++) {
    if (!g->ops[o].dead) print_op(&p, &g->ops[o]);
  }
  for (uint32_t i = 0; i < g->nclusters; i++) print_cluster(&p, i);
  buf_puts(out, "  }\n");
  arena_free(a);
}

void module_print(const Module *m, Buf *out) {
  buf_puts(out, "module ");
  buf_name(out, '@', m->name);
  buf_puts(out, " {\n");
  for (DimId id = 1; id <= dim_count(m->dims); id++) {
    const DimExpr *e = dim_get(m->dims, id);
    if (e->kind == DIM_SYMBOL)
      buf_printf(out, "  dim %s in %lld..%lld\n", e->name, (long long)e->lo, (long long)e->hi);
  }
  for (uint32_t i = 0; i < m->nconsts; i++) print_const(m->dims, &m->consts[i], out);
  for (uint32_t i = 0; i < m->nstates; i++) print_state(&m->states[i], out);
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    if (i || m->nconsts || m->nstates || dim_count(m->dims)) buf_puts(out, "\n");
    graph_print(m->graphs[i], out);
  }
  buf_puts(out, "}\n");
}
