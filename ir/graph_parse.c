/* Parser of one graph of the text form; ir/module_parse.c reads what stands around it.
 *
 * Recursive descent, one token ahead. Ops are built through graph_try_op, so a text that parses is
 * well-typed; operands must be defined above, which makes the order of the text the order of
 * execution. Sizes are bounded by the text's own size.
 */
#include "ir/graph_impl.h"

#include <string.h>

typedef struct Body {
  GraphParser *p;
  Graph *g;
  NameMap values; /* this graph's names to ValueId */
} Body;

/* An output whose value is defined further down. */
typedef struct Pending {
  const char *name, *value;
  Token at;
} Pending;

static Status error_at(Lexer *l, const Token *at, const char *text, const char *name) {
  Token here = l->tok;
  l->tok = *at;
  Status s = lex_error(l, text, name);
  l->tok = here;
  return s;
}

static Status define(Body *b, const Token *at, const char *name, ValueId v) {
  if (names_get(&b->p->names, name) || names_get(&b->values, name))
    return error_at(&b->p->l, at, "%%%s is defined twice", name);
  *names_at(&b->values, name) = v;
  b->g->values[v].name = name;
  return OK;
}

/* The value of a name: of this graph, or a constant or state of the module. */
static ValueId lookup(Body *b, const char *name) {
  ValueId v = names_get(&b->values, name);
  uint32_t code = names_get(&b->p->names, name);
  if (v || !code) return v;
  v = code & 1 ? graph_const(b->g, (code - 1) / 2) : graph_state(b->g, (code - 2) / 2);
  *names_at(&b->values, name) = v;
  return v;
}

static Status parse_operand(Body *b, ValueId *out) {
  Lexer *l = &b->p->l;
  const char *name;
  Token at = l->tok;
  TRY(lex_local(l, "a value", &name));
  *out = lookup(b, name);
  return *out ? OK : error_at(l, &at, "%%%s is not defined above", name);
}

/* ---- signature ---- */

static Status parse_inputs(Body *b) {
  Lexer *l = &b->p->l;
  TRY(lex_expect(l, "("));
  while (!lex_is(l, ")")) {
    const char *name;
    Type type;
    if (b->g->ninputs) TRY(lex_expect(l, ","));
    Token at = l->tok;
    TRY(lex_local(l, "an input", &name));
    TRY(lex_expect(l, ":"));
    TRY(parse_type(l, b->p->m->dims, &type));
    TRY(define(b, &at, name, graph_input(b->g, name, type)));
  }
  return lex_expect(l, ")");
}

static Status parse_outputs(Body *b, Pending **out, uint32_t *n) {
  Lexer *l = &b->p->l;
  uint32_t cap = 0;
  TRY(lex_expect(l, "->"));
  TRY(lex_expect(l, "("));
  while (!lex_is(l, ")")) {
    Pending o;
    if (*n) TRY(lex_expect(l, ","));
    TRY(lex_any_name(l, "an output's name", &o.name));
    TRY(lex_expect(l, ":"));
    o.at = l->tok;
    TRY(lex_local(l, "a value", &o.value));
    *VEC_PUSH(*out, *n, cap) = o;
  }
  return lex_expect(l, ")");
}

/* ---- ops ---- */

typedef struct Results {
  uint32_t n;
  const char *name[MAX_RESULTS];
  Token at[MAX_RESULTS];
} Results;

static Status parse_results(Lexer *l, Results *r) {
  do {
    if (r->n == MAX_RESULTS) return lex_error(l, "more than %d results", MAX_RESULTS);
    r->at[r->n] = l->tok;
    TRY(lex_local(l, "a value or '}'", &r->name[r->n]));
    r->n++;
  } while (lex_accept(l, ","));
  return lex_expect(l, "=");
}

static Status parse_opcode(Lexer *l, OpCode *out) {
  const char *names[OP_COUNT];
  if (l->tok.kind != LX_WORD) return lex_error(l, "expected an op, got '%s'", l->tok.text);
  *out = op_parse(l->tok.text);
  if (*out != OP_none) {
    lex_next(l);
    return OK;
  }
  for (unsigned i = 1; i < OP_COUNT; i++) names[i - 1] = op_info((OpCode)i)->name;
  const char *near = nearest_name(l->tok.text, names, OP_COUNT - 1);
  if (near) return lex_error(l, "no op is named '%s'; is it '%s'?", l->tok.text, near);
  return lex_error(l, "no op is named '%s'", l->tok.text);
}

static const AttrField *find_field(const OpInfo *info, const char *name) {
  for (uint32_t i = 0; i < info->nfields; i++) {
    if (strcmp(info->fields[i].name, name) == 0) return &info->fields[i];
  }
  return NULL;
}

static Status parse_cluster_number(Lexer *l, uint32_t *out) {
  int64_t v;
  TRY(lex_i64(l, &v));
  if (v < 1 || v > UINT32_MAX) return lex_error(l, "a cluster's number is at least 1");
  *out = (uint32_t)v;
  return OK;
}

static Status parse_attrs(Lexer *l, const OpInfo *info, Attrs *attrs, uint32_t *cluster) {
  if (!lex_accept(l, "{")) return OK;
  do {
    if (l->tok.kind != LX_WORD) return lex_error(l, "expected an attribute, got '%s'", l->tok.text);
    const AttrField *f = find_field(info, l->tok.text);
    bool number = lex_is(l, "cluster");
    if (!f && !number) return lex_error(l, "%s has no attribute '%s'", info->name, l->tok.text);
    lex_next(l);
    TRY(lex_expect(l, "="));
    TRY(number ? parse_cluster_number(l, cluster) : attr_parse(l, f, attrs));
  } while (lex_accept(l, ","));
  return lex_expect(l, "}");
}

/* `: type, type` behind an op: refuses what inference does not give. */
static Status parse_result_types(Body *b, const Op *op) {
  Lexer *l = &b->p->l;
  if (!lex_accept(l, ":")) return OK;
  for (uint32_t i = 0; i < op->nout; i++) {
    const Type *inferred = &b->g->values[op->out[i]].type;
    Type t;
    if (i) TRY(lex_expect(l, ","));
    Token at = l->tok;
    TRY(parse_type(l, b->p->m->dims, &t));
    if (type_equal(&t, inferred)) continue;
    Buf text = {0};
    type_print(b->p->m->dims, inferred, &text);
    Status s = error_at(l, &at, "not the type of this result (inference gives %s)", text.data);
    buf_free(&text);
    return s;
  }
  return OK;
}

static Status parse_op(Body *b) {
  Lexer *l = &b->p->l;
  Results r = {0};
  Attrs attrs = {0};
  ValueId in[MAX_RESULTS];
  uint32_t nin = 0, cluster = 0;
  OpCode code = OP_none;
  OpId id = 0;
  TRY(parse_results(l, &r));
  const char *where = arena_printf(l->arena, "%s:%u:%u", l->where, l->tok.line, l->tok.column);
  TRY(parse_opcode(l, &code));
  do {
    if (nin == COUNT(in)) return lex_error(l, "more than %d operands", MAX_RESULTS);
    TRY(parse_operand(b, &in[nin++]));
  } while (lex_accept(l, ","));
  TRY(parse_attrs(l, op_info(code), &attrs, &cluster));
  TRY(graph_try_op(b->g, l->diag, where, code, in, nin, &attrs, &id));
  if (b->g->ops[id].nout != r.n) {
    return diag_error(l->diag, where, "%s has %u results here (%u are named)", op_info(code)->name,
                      b->g->ops[id].nout, r.n);
  }
  TRY(parse_result_types(b, &b->g->ops[id]));
  b->g->ops[id].origin = l->trailing;
  b->g->ops[id].cluster = cluster;
  for (uint32_t i = 0; i < r.n; i++) TRY(define(b, &r.at[i], r.name[i], b->g->ops[id].out[i]));
  return OK;
}

/* ---- clusters ---- */

/* An op, named by its first result. */
static Status parse_op_name(Body *b, OpId *out) {
  ValueId v;
  Token at = b->p->l.tok;
  TRY(parse_operand(b, &v));
  const Value *value = &b->g->values[v];
  if (value->kind != V_OP || value->index != 0)
    return error_at(&b->p->l, &at, "%%%s is not the first result of an op", at.text);
  *out = value->def;
  return OK;
}

static Status parse_cluster_ops(Body *b, Cluster *c) {
  uint32_t cap = 0, n = 0;
  OpId *ops = NULL;
  Status s = OK;
  do {
    OpId o = 0;
    s = parse_op_name(b, &o);
    if (s == OK) *VEC_PUSH(ops, n, cap) = o;
  } while (s == OK && lex_accept(&b->p->l, ","));
  c->nops = n;
  c->ops = ARENA_ARRAY(b->p->m->arena, OpId, n);
  if (n) memcpy(c->ops, ops, n * sizeof *ops);
  mem_free(ops);
  return s;
}

static Status parse_cluster(Body *b) {
  Lexer *l = &b->p->l;
  Cluster c = {.klass = CC_COUNT};
  uint32_t number = 0;
  TRY(parse_cluster_number(l, &number));
  if (number != b->g->nclusters + 1)
    return lex_error(l, "cluster %u stands where %u is expected", number, b->g->nclusters + 1);
  for (uint32_t k = 0; k < CC_COUNT && c.klass == CC_COUNT; k++) {
    if (lex_accept(l, cluster_class_name(k))) c.klass = k;
  }
  if (c.klass == CC_COUNT) return lex_error(l, "'%s' is no class of clusters", l->tok.text);
  if (lex_accept(l, "anchor")) TRY(parse_op_name(b, &c.anchor));
  TRY(lex_expect(l, ":"));
  TRY(parse_cluster_ops(b, &c));
  *VEC_PUSH(b->g->clusters, b->g->nclusters, b->g->cclusters) = c;
  return OK;
}

/* ---- the graph ---- */

static Status parse_body(Body *b, const Pending *outputs, uint32_t n) {
  Lexer *l = &b->p->l;
  TRY(lex_expect(l, "{"));
  while (!lex_is(l, "}")) {
    if (lex_accept(l, "cluster"))
      TRY(parse_cluster(b));
    else
      TRY(parse_op(b));
  }
  for (uint32_t i = 0; i < n; i++) {
    ValueId v = lookup(b, outputs[i].value);
    if (!v) return error_at(l, &outputs[i].at, "%%%s is never defined", outputs[i].value);
    graph_output(b->g, outputs[i].name, v);
  }
  return lex_expect(l, "}");
}

Status parse_graph(GraphParser *p) {
  const char *name;
  Pending *outputs = NULL;
  uint32_t n = 0;
  TRY(lex_global(&p->l, "a graph's name (@name)", &name));
  if (module_find_graph(p->m, name))
    return lex_error(&p->l, "the graph @%s is defined twice", name);
  Body b = {p, module_graph(p->m, name), {.arena = p->m->arena}};
  Status s = parse_inputs(&b);
  if (s == OK) s = parse_outputs(&b, &outputs, &n);
  if (s == OK) s = parse_body(&b, outputs, n);
  mem_free(outputs);
  return s;
}
