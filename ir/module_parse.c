/* Parser of a module's text form: dimensions, constants and states; graphs are in graph_parse.c.
 *
 * Weights are read as names (and the shape and format they have in their file, when written): the
 * bytes are the model's and never part of a text.
 */
#include "ir/graph_impl.h"

#include <string.h>

/* ---- dim S in 1..256 ---- */

static Status parse_symbol(GraphParser *p) {
  Lexer *l = &p->l;
  const char *name;
  int64_t lo, hi;
  TRY(lex_word(l, "a dimension's name", &name));
  if (dim_find(p->m->dims, name)) return lex_error(l, "the dimension %s is declared twice", name);
  TRY(lex_expect(l, "in"));
  TRY(lex_i64(l, &lo));
  TRY(lex_expect(l, ".."));
  TRY(lex_i64(l, &hi));
  if (lo < 0 || lo > hi || hi > MAX_DIM)
    return lex_error(l, "the range of %s is not within 0..2^40 or is empty", name);
  dim_symbol(p->m->dims, name, lo, hi);
  return OK;
}

static Status declare(GraphParser *p, const char *name, uint32_t code) {
  uint32_t *place = names_at(&p->names, name);
  if (*place) return lex_error(&p->l, "%%%s is defined twice", name);
  *place = code;
  return OK;
}

/* ---- const ---- */

static Status put_element(Lexer *l, DType t, Buf *out) {
  double f = 0;
  int64_t i = 0;
  if (dtype_is_float(t)) {
    TRY(lex_f64(l, &f));
  } else {
    TRY(lex_i64(l, &i));
    unsigned bits = (unsigned)dtype_size(t) * 8;
    int64_t hi = t == DT_bool ? 1 : t == DT_u8 ? 255 : (int64_t)(UINT64_MAX >> (65 - bits));
    int64_t lo = t == DT_bool || t == DT_u8 ? 0 : -hi - 1;
    if (i < lo || i > hi) return lex_error(l, "%lld does not fit %s", (long long)i, dtype_name(t));
  }
  float single = (float)f;
  uint16_t half = t == DT_f16 ? f32_to_f16(single) : f32_to_bf16(single);
  if (t == DT_f32)
    buf_put(out, &single, sizeof single);
  else if (t == DT_f16 || t == DT_bf16)
    buf_put(out, &half, sizeof half);
  else if (t == DT_f64)
    buf_put(out, &f, sizeof f);
  else
    buf_put(out, &i, dtype_size(t)); /* little endian: the low bytes come first */
  return OK;
}

static Status parse_elements(Lexer *l, DType t, Buf *out) {
  TRY(lex_expect(l, "["));
  while (!lex_is(l, "]")) {
    if (out->size) TRY(lex_expect(l, ","));
    TRY(put_element(l, t, out));
  }
  return lex_expect(l, "]");
}

static Status parse_dense(GraphParser *p, ConstDef *c) {
  Lexer *l = &p->l;
  int64_t want;
  Buf bytes = {0};
  Status s = OK;
  if (!dim_is_const(p->m->dims, type_elements(p->m->dims, &c->type), &want))
    return lex_error(l, "a dense constant needs a shape of numbers");
  if (c->type.storage != Q_plain) return lex_error(l, "a dense constant has no storage format");
  s = parse_elements(l, c->type.dtype, &bytes);
  int64_t n = (int64_t)(bytes.size / dtype_size(c->type.dtype));
  if (s == OK && n != want)
    s = lex_error(l, "%lld elements (expected %lld)", (long long)n, (long long)want);
  char *copy = arena_alloc(p->m->arena, bytes.size + 1);
  if (bytes.size) memcpy(copy, bytes.data, bytes.size);
  c->dense = copy;
  buf_free(&bytes);
  return s;
}

static void type_to_view(const Dims *d, const Type *t, WeightView *v) {
  *v = (WeightView){.storage = t->storage, .dtype = t->dtype, .rank = t->rank};
  for (uint32_t i = 0; i < t->rank; i++) {
    if (!dim_is_const(d, t->dim[i], &v->dim[i])) v->rank = 0;
  }
}

static Status parse_part(GraphParser *p, ConstPart *part, bool *typed) {
  Lexer *l = &p->l;
  Type t;
  *part = (ConstPart){0};
  TRY(lex_string(l, "a weight's name (\"name\")", &part->name));
  *typed = lex_accept(l, ":");
  if (*typed) {
    TRY(parse_type(l, p->m->dims, &t));
    type_to_view(p->m->dims, &t, &part->view);
  }
  if (lex_accept(l, "heads")) {
    int64_t heads;
    TRY(lex_expect(l, "="));
    TRY(lex_i64(l, &heads));
    if (heads < 1 || heads > INT32_MAX) return lex_error(l, "heads=%lld", (long long)heads);
    part->interleaved_heads = (int32_t)heads;
  }
  return OK;
}

/* A single part without a type of its own is the whole constant as its type says. */
static Status parse_parts(GraphParser *p, ConstDef *c, ConstPart **parts) {
  uint32_t cap = 0;
  bool typed = false;
  do {
    ConstPart part;
    TRY(parse_part(p, &part, &typed));
    *VEC_PUSH(*parts, c->nparts, cap) = part;
  } while (lex_accept(&p->l, ","));
  if (c->nparts == 1 && !typed) type_to_view(p->m->dims, &c->type, &(*parts)[0].view);
  c->parts = *parts;
  return OK;
}

static Status parse_const(GraphParser *p) {
  Lexer *l = &p->l;
  ConstDef c = {0};
  ConstPart *parts = NULL;
  TRY(lex_local(l, "a constant's name (%name)", &c.name));
  TRY(declare(p, c.name, 2 * p->m->nconsts + 1));
  TRY(lex_expect(l, ":"));
  TRY(parse_type(l, p->m->dims, &c.type));
  TRY(lex_expect(l, "="));
  Status s = OK;
  if (lex_accept(l, "dense"))
    s = parse_dense(p, &c);
  else if (lex_accept(l, "weight"))
    s = parse_parts(p, &c, &parts);
  else
    s = lex_error(l, "expected 'weight' or 'dense', got '%s'", l->tok.text);
  if (s == OK) module_const(p->m, &c);
  mem_free(parts);
  return s;
}

/* ---- state %kv : cache<slots=1, context=8, kv_heads=1, head_dim=4, f16> ---- */

static Status parse_state(GraphParser *p) {
  Lexer *l = &p->l;
  StateDef s = {.kind = STATE_KV};
  const struct {
    const char *name;
    int64_t *value;
  } field[] = {{"slots", &s.slots},
               {"context", &s.context},
               {"kv_heads", &s.kv_heads},
               {"head_dim", &s.head_dim}};
  const char *word;
  TRY(lex_local(l, "a state's name (%name)", &s.name));
  TRY(declare(p, s.name, 2 * p->m->nstates + 2));
  TRY(lex_expect(l, ":"));
  TRY(lex_expect(l, "cache"));
  TRY(lex_expect(l, "<"));
  for (size_t i = 0; i < COUNT(field); i++) {
    TRY(lex_expect(l, field[i].name));
    TRY(lex_expect(l, "="));
    TRY(lex_i64(l, field[i].value));
    if (*field[i].value < 1 || *field[i].value > MAX_DIM)
      return lex_error(l, "%s is not within 1..2^40", field[i].name);
    TRY(lex_expect(l, ","));
  }
  TRY(lex_word(l, "i16, f16, f32 or q8_0", &word));
  if (!cache_format_parse(word, &s))
    return lex_error(l, "a cache of '%s' (expected i16, f16, f32 or q8_0)", word);
  TRY(lex_expect(l, ">"));
  module_state(p->m, &s);
  return OK;
}

/* ---- the module ---- */

static Status parse_items(GraphParser *p) {
  Lexer *l = &p->l;
  TRY(lex_expect(l, "{"));
  while (!lex_accept(l, "}")) {
    if (lex_accept(l, "dim"))
      TRY(parse_symbol(p));
    else if (lex_accept(l, "const"))
      TRY(parse_const(p));
    else if (lex_accept(l, "state"))
      TRY(parse_state(p));
    else if (lex_accept(l, "graph"))
      TRY(parse_graph(p));
    else
      return lex_error(l, "expected dim, const, state, graph or '}', got '%s'", l->tok.text);
  }
  if (l->tok.kind != LX_END) return lex_error(l, "text behind the module: '%s'", l->tok.text);
  return OK;
}

static Status parse_header(Lexer *l, const char **name) {
  TRY(lex_expect(l, "module"));
  return lex_global(l, "a module's name (@name)", name);
}

Status module_parse(const char *text, const char *where, Diag *d, Module **out) {
  Arena *a = arena_new(); /* until the module with its own arena is there */
  GraphParser p = {0};
  const char *name;
  lex_init(&p.l, a, text, where, d);
  Status s = parse_header(&p.l, &name);
  if (s == OK) {
    p.m = module_new(name);
    p.l.arena = p.m->arena;
    p.names.arena = p.m->arena;
    s = parse_items(&p);
  }
  if (s != OK) {
    module_free(p.m);
    p.m = NULL;
  }
  arena_free(a);
  *out = p.m;
  return s;
}
