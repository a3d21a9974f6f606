/* Parser of Kernel IR: reads what kernel_print writes, and what people write by doc/ir.md.
 *
 * Recursive descent over ir/lex.h. It checks form and names, never meaning: that is the verifier's,
 * which callers run next (so that tests can hand it wrong kernels). Names are scoped: those of a
 * body end with it and may come again in a later one. Convention: a name of digits only is an id of
 * the printer's and isn't kept.
 */
#include "ir/kernel_impl.h"
#include "ir/lex.h"

#include <string.h>

enum { DEEPEST = 64, MOST_VALUES = 4096 };

typedef struct ValueList {
  KVal *at;
  uint32_t n, cap;
} ValueList;

typedef struct NameList {
  const char **at;
  uint32_t n, cap;
} NameList;

typedef struct Parser {
  Lexer l;
  Arena *arena;
  Kernel *k;
  KRegion *region;
  NameMap visible;
  NameList defined; /* in order: the tail of them leaves with the scope */
  int depth;
} Parser;

/* An operand as written: a value, or a number that may still lack its type. */
typedef struct Operand {
  KVal value; /* 0 while it is a bare number */
  bool integer;
  int64_t i;
  double f;
} Operand;

/* Appends to a list kept as (at, n, cap) in the arena. */
#define PUSH(p, list, item)                                                                        \
  do {                                                                                             \
    if ((list)->n == (list)->cap) {                                                                \
      (list)->cap = (list)->cap ? 2 * (list)->cap : 8;                                             \
      void *grown_ = arena_alloc_array((p)->arena, (list)->cap, sizeof *(list)->at);               \
      if ((list)->n) memcpy(grown_, (list)->at, (list)->n * sizeof *(list)->at);                   \
      (list)->at = grown_;                                                                         \
    }                                                                                              \
    (list)->at[(list)->n++] = (item);                                                              \
  } while (0)

/* ---- names ---------------------------------------------------------------------------------- */

static const char *kept_name(const char *name) {
  return name[strspn(name, "0123456789")] ? name : NULL;
}

static Status define(Parser *p, const char *name, KVal v) {
  uint32_t *at = names_at(&p->visible, name);
  if (*at) return lex_error(&p->l, "%%%s is defined twice", name);
  *at = v;
  PUSH(p, &p->defined, name);
  return OK;
}

static void leave_scope(Parser *p, uint32_t mark) {
  while (p->defined.n > mark) *names_at(&p->visible, p->defined.at[--p->defined.n]) = 0;
}

static Status use(Parser *p, KVal *out) {
  const char *name;
  TRY(lex_local(&p->l, "a value", &name));
  *out = names_get(&p->visible, name);
  return *out ? OK : lex_error(&p->l, "%%%s is not defined here", name);
}

/* ---- types and operands --------------------------------------------------------------------- */

static bool type_of_word(const char *word, KType *out) {
  bool vector = !strncmp(word, "v16", 3);
  KScalar s;
  if (!kscalar_parse(word + (vector ? 3 : 0), strlen(word) - (vector ? 3 : 0), &s)) return false;
  *out = (KType){(uint8_t)s, vector ? 16 : 1};
  return true;
}

static Status parse_type(Parser *p, KType *out) {
  const char *word;
  TRY(lex_word(&p->l, "a type", &word));
  if (type_of_word(word, out)) return OK;
  return lex_error(&p->l, "unknown type %s (expected i1 i8 i16 i32 i64 f16 bf16 f32 or v16 of one)",
                   word);
}

static Status parse_number(Parser *p, Operand *out) {
  Lexer ahead = p->l; /* a sign may stand before an integer that must stay exact */
  bool minus = lex_accept(&ahead, "-");
  uint64_t limit = (uint64_t)INT64_MAX + minus;
  out->integer = ahead.tok.kind == LX_INT && ahead.tok.i <= limit;
  if (!out->integer) return lex_f64(&p->l, &out->f);
  TRY(lex_i64(&p->l, &out->i));
  out->f = minus && out->i == 0 ? -0.0 : (double)out->i;
  return OK;
}

/* Turns a number into the literal of type `t`. */
static Status make_literal(Parser *p, Operand *o, KType t) {
  if (kscalar_is_float((KScalar)t.scalar)) {
    o->value = kernel_literal_float(p->k, t, o->f);
    return OK;
  }
  char text[8];
  if (!o->integer) return lex_error(&p->l, "not a number that %s holds", ktype_print(t, text));
  if (t.scalar == K_void) return lex_error(&p->l, "a literal of type void");
  o->value = kernel_literal_int(p->k, t, o->i);
  return OK;
}

/* `%x`, `f32 0.5`, or, left open, `0.5`. */
static Status parse_operand(Parser *p, Operand *out) {
  KType t;
  *out = (Operand){0};
  if (p->l.tok.kind == LX_LOCAL) return use(p, &out->value);
  if (p->l.tok.kind == LX_WORD && type_of_word(p->l.tok.text, &t)) {
    lex_next(&p->l);
    TRY(parse_number(p, out));
    return make_literal(p, out, t);
  }
  return parse_number(p, out);
}

static Status parse_typed(Parser *p, KVal *out) {
  Operand o;
  TRY(parse_operand(p, &o));
  *out = o.value;
  return o.value ? OK : lex_error(&p->l, "a number without a type (write it as `f32 0.5`)");
}

static Status parse_i64(Parser *p, KVal *out) {
  Operand o;
  TRY(parse_operand(p, &o));
  if (!o.value) TRY(make_literal(p, &o, KT(i64, 1)));
  *out = o.value;
  return OK;
}

static Status parse_list(Parser *p, ValueList *out) {
  do {
    KVal v;
    TRY(parse_typed(p, &v));
    PUSH(p, out, v);
    if (out->n > MOST_VALUES) return lex_error(&p->l, "more than %d values", MOST_VALUES);
  } while (lex_accept(&p->l, ","));
  return OK;
}

/* ---- instructions --------------------------------------------------------------------------- */

static Status parse_term(Parser *p, KAddr *a) {
  int64_t stride = 1;
  KVal index;
  if (p->l.tok.kind != LX_LOCAL) {
    TRY(lex_i64(&p->l, &stride));
    a->offset = (int64_t)((uint64_t)a->offset + (uint64_t)stride);
    return OK;
  }
  TRY(use(p, &index));
  if (lex_accept(&p->l, "*")) TRY(lex_i64(&p->l, &stride));
  if (a->nterm == KADDR_TERMS)
    return lex_error(&p->l, "an address has at most %d indices", KADDR_TERMS);
  a->term[a->nterm].index = index;
  a->term[a->nterm++].stride = stride;
  return OK;
}

static Status parse_addr(Parser *p, KAddr *a) {
  a->lane = 1;
  TRY(use(p, &a->base));
  TRY(lex_expect(&p->l, "["));
  do TRY(parse_term(p, a));
  while (lex_accept(&p->l, "+"));
  TRY(lex_expect(&p->l, "]"));
  if (lex_accept(&p->l, "lane")) {
    TRY(lex_expect(&p->l, "="));
    TRY(lex_i64(&p->l, &a->lane));
  }
  kernel_addr_normalise(p->k, a);
  return OK;
}

static Status parse_size(Parser *p, const char *name, int64_t *out) {
  TRY(lex_expect(&p->l, name));
  TRY(lex_expect(&p->l, "="));
  return lex_i64(&p->l, out);
}

/* `mma %c[..], %a[..], %b[..] m=16 n=1 k=8 row=640 group=0 add` */
static Status parse_mma(Parser *p, KInst *in) {
  KMma *s = in->mma;
  for (uint32_t i = 0; i < 3; i++) {
    if (i) TRY(lex_expect(&p->l, ","));
    TRY(parse_addr(p, &in->addr[i]));
  }
  TRY(parse_size(p, "m", &s->m));
  TRY(parse_size(p, "n", &s->n));
  TRY(parse_size(p, "k", &s->k));
  TRY(parse_size(p, "row", &s->row));
  TRY(parse_size(p, "group", &s->group));
  s->add = lex_accept(&p->l, "add");
  return OK;
}

static Status parse_memory(Parser *p, KInst *in) {
  if (in->op == KOP_mma) return parse_mma(p, in);
  if (in->op == KOP_load) TRY(parse_type(p, &in->type));
  if (in->op == KOP_store) {
    TRY(parse_typed(p, &in->arg[in->narg++]));
    TRY(lex_expect(&p->l, ","));
  }
  TRY(parse_addr(p, in->addr));
  if (in->op != KOP_prefetch && lex_accept(&p->l, "if")) TRY(parse_typed(p, &in->arg[in->narg++]));
  return OK;
}

/* The operands of an op; bare numbers take the type of the first operand that has one. */
static Status parse_args(Parser *p, KInst *in) {
  Operand o[3];
  uint32_t n = kop_args(in->op), skip = in->op == KOP_select;
  KVal typed = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (i) TRY(lex_expect(&p->l, ","));
    TRY(parse_operand(p, &o[i]));
    if (i >= skip && !typed) typed = o[i].value;
  }
  for (uint32_t i = 0; i < n; i++) {
    if (!o[i].value && (!typed || i < skip))
      return lex_error(&p->l, "a number without a type (write it as `f32 0.5`)");
    if (!o[i].value) TRY(make_literal(p, &o[i], k_type(p->k, typed)));
    in->arg[in->narg++] = o[i].value;
  }
  return OK;
}

static Status parse_arith(Parser *p, KInst *in) {
  if (kop_args(in->op)) TRY(parse_args(p, in));
  switch (in->op) {
  case KOP_iota: in->type = KT(i32, 16); return OK;
  case KOP_extract:
    in->type = (KType){k_type(p->k, in->arg[0]).scalar, 1};
    TRY(lex_expect(&p->l, ","));
    return lex_i64(&p->l, &in->imm.i);
  case KOP_cvt:
  case KOP_cvtu:
  case KOP_bits:
  case KOP_splat: TRY(lex_expect(&p->l, ":")); return parse_type(p, &in->type);
  case KOP_dot4:
    TRY(lex_expect(&p->l, "bits"));
    TRY(lex_expect(&p->l, "="));
    TRY(lex_i64(&p->l, &in->imm.i));
    break;
  default: break;
  }
  in->type = kinst_infer(p->k, in->op, in->arg);
  return OK;
}

static Status parse_inst(Parser *p);

/* `{ .. yield a, b }`; the caller has opened the scope of what stands before the body. */
static Status parse_body(Parser *p, KRegion *r, ValueList *yield) {
  KRegion *outer = p->region;
  uint32_t mark = p->defined.n;
  if (p->depth == DEEPEST) return lex_error(&p->l, "loops nested deeper than %d", DEEPEST);
  p->depth++;
  p->region = r;
  TRY(lex_expect(&p->l, "{"));
  while (!lex_is(&p->l, "}") && !lex_is(&p->l, "yield")) TRY(parse_inst(p));
  if (lex_accept(&p->l, "yield")) TRY(parse_list(p, yield));
  TRY(lex_expect(&p->l, "}"));
  leave_scope(p, mark);
  p->region = outer;
  p->depth--;
  return OK;
}

static Status parse_var(Parser *p, KInst *in) {
  const char *name;
  TRY(lex_local(&p->l, "the loop's variable", &name));
  in->loop->var = kernel_value(p->k, KT(i64, 1), KV_VAR, kept_name(name), in);
  TRY(lex_expect(&p->l, "in"));
  if (in->op == KOP_for) {
    TRY(parse_i64(p, &in->arg[in->narg++]));
  } else {
    if (p->l.tok.kind != LX_INT || p->l.tok.i != 0) return lex_error(&p->l, "par begins at 0");
    lex_next(&p->l);
  }
  TRY(lex_expect(&p->l, ".."));
  TRY(parse_i64(p, &in->arg[in->narg++]));
  return define(p, name, in->loop->var);
}

static Status parse_carries(Parser *p, KInst *in) {
  ValueList init = {0}, param = {0};
  NameList names = {0};
  do {
    const char *name;
    KVal v;
    TRY(lex_local(&p->l, "a carry", &name));
    TRY(lex_expect(&p->l, "="));
    TRY(parse_typed(p, &v));
    PUSH(p, &init, v);
    v = kernel_value(p->k, k_type(p->k, v), KV_CARRY, kept_name(name), in);
    PUSH(p, &param, v);
    PUSH(p, &names, name);
    if (init.n > MOST_VALUES) return lex_error(&p->l, "more than %d carries", MOST_VALUES);
  } while (lex_accept(&p->l, ","));
  for (uint32_t i = 0; i < names.n; i++) TRY(define(p, names.at[i], param.at[i]));
  in->loop->ncarry = init.n;
  in->loop->init = init.at;
  in->loop->param = param.at;
  return OK;
}

static Status parse_for(Parser *p, KInst *in) {
  uint32_t mark = p->defined.n;
  ValueList yield = {0};
  TRY(parse_var(p, in));
  in->imm.i = in->op == KOP_for;
  if (in->op == KOP_for) {
    if (lex_accept(&p->l, "step")) TRY(lex_i64(&p->l, &in->imm.i));
    if (lex_accept(&p->l, "carry")) TRY(parse_carries(p, in));
    in->loop->unroll = lex_accept(&p->l, "unroll");
  }
  TRY(parse_body(p, &in->loop->body, &yield));
  leave_scope(p, mark);
  if (yield.n != in->loop->ncarry)
    return lex_error(&p->l, "%u carries but %u values yielded", in->loop->ncarry, yield.n);
  in->loop->yield = yield.at;
  return OK;
}

static Status parse_if(Parser *p, KInst *in) {
  ValueList yes = {0}, no = {0};
  TRY(parse_typed(p, &in->arg[in->narg++]));
  TRY(parse_body(p, &in->loop->body, &yes));
  if (lex_accept(&p->l, "else")) TRY(parse_body(p, &in->loop->orelse, &no));
  if (yes.n != no.n) return lex_error(&p->l, "the branches yield %u and %u values", yes.n, no.n);
  in->loop->ncarry = yes.n;
  in->loop->yield = yes.at;
  in->loop->else_yield = no.at;
  return OK;
}

static Status parse_op(Parser *p, KOpCode *out) {
  const char *names[KOP_COUNT], *word;
  TRY(lex_word(&p->l, "an operation", &word));
  for (int op = 0; op < KOP_COUNT; op++) {
    names[op] = kop_name((KOpCode)op);
    *out = (KOpCode)op;
    if (!strcmp(word, names[op])) return OK;
  }
  const char *near = nearest_name(word, names, KOP_COUNT);
  if (near) return lex_error(&p->l, "unknown operation %s; did you mean %s?", word, near);
  return lex_error(&p->l, "unknown operation %s", word);
}

/* Makes the results of an instruction and brings their names into scope. */
static Status define_results(Parser *p, KInst *in, const NameList *names) {
  KLoop *l = in->loop;
  uint32_t n = l ? l->ncarry : in->type.scalar != K_void;
  if (names->n != n)
    return lex_error(&p->l, "%s gives %u values but %u are named", kop_name(in->op), n, names->n);
  if (!l) return n ? define(p, names->at[0], kernel_result(p->k, in, kept_name(names->at[0]))) : OK;
  l->result = ARENA_ARRAY(p->arena, KVal, n);
  for (uint32_t i = 0; i < n; i++) {
    KType t = k_type(p->k, in->op == KOP_for ? l->init[i] : l->yield[i]);
    l->result[i] = kernel_value(p->k, t, KV_INST, kept_name(names->at[i]), in);
    TRY(define(p, names->at[i], l->result[i]));
  }
  return OK;
}

/* A literal by name: `%zero = const v16f32 0`. It joins the kernel's shared literals. */
static Status parse_const(Parser *p, const NameList *names) {
  KType t;
  Operand o = {0};
  TRY(parse_type(p, &t));
  TRY(parse_number(p, &o));
  TRY(make_literal(p, &o, t));
  if (names->n != 1) return lex_error(&p->l, "a const gives one value");
  return define(p, names->at[0], o.value);
}

static Status parse_inst(Parser *p) {
  NameList names = {0};
  KOpCode op;
  while (p->l.tok.kind == LX_LOCAL) {
    const char *name;
    TRY(lex_local(&p->l, "a result", &name));
    PUSH(p, &names, name);
    if (!lex_accept(&p->l, ",")) break;
  }
  if (names.n) TRY(lex_expect(&p->l, "="));
  TRY(parse_op(p, &op));
  if (op == KOP_const) return parse_const(p, &names);
  KInst *in = kernel_inst(p->k, op, (KType){0});
  if (op == KOP_if)
    TRY(parse_if(p, in));
  else if (kop_kind(op) == 'C')
    TRY(parse_for(p, in));
  else if (kop_kind(op) == 'M')
    TRY(parse_memory(p, in));
  else
    TRY(parse_arith(p, in));
  kregion_push(p->k, p->region, in);
  return define_results(p, in, &names);
}

/* ---- kernels -------------------------------------------------------------------------------- */

/* `%x: ptr<f32>` */
static Status parse_pointer(Parser *p, const char **name, KScalar *element) {
  const char *word;
  TRY(lex_local(&p->l, "a buffer", name));
  TRY(lex_expect(&p->l, ":"));
  TRY(lex_expect(&p->l, "ptr"));
  TRY(lex_expect(&p->l, "<"));
  TRY(lex_word(&p->l, "an element type", &word));
  if (!kscalar_parse(word, strlen(word), element))
    return lex_error(&p->l, "unknown element type %s", word);
  return lex_expect(&p->l, ">");
}

static Status parse_params(Parser *p, KBuilder *b) {
  const char *name;
  KScalar element;
  TRY(lex_expect(&p->l, "("));
  while (p->l.tok.kind == LX_LOCAL) {
    TRY(parse_pointer(p, &name, &element));
    TRY(define(p, name, k_buffer(b, kept_name(name), element)));
    if (!lex_accept(&p->l, ",")) break;
  }
  if (lex_accept(&p->l, ";")) {
    do {
      TRY(lex_local(&p->l, "a dimension", &name));
      TRY(define(p, name, k_scalar(b, kept_name(name))));
    } while (lex_accept(&p->l, ","));
  }
  return lex_expect(&p->l, ")");
}

static Status parse_class(Parser *p, KClass *out) {
  const char *word;
  TRY(lex_expect(&p->l, "class"));
  TRY(lex_word(&p->l, "a class", &word));
  for (int c = KC_map; c <= KC_sort; c++) {
    *out = (KClass)c;
    if (!strcmp(word, kclass_name(*out))) return OK;
  }
  return lex_error(&p->l, "unknown class %s (expected map row contract attend scan sort)", word);
}

static Status parse_locals(Parser *p, KBuilder *b) {
  while (lex_accept(&p->l, "local")) {
    const char *name;
    KScalar element;
    int64_t count;
    TRY(parse_pointer(p, &name, &element));
    TRY(lex_expect(&p->l, "["));
    TRY(lex_i64(&p->l, &count));
    if (count < 1) return lex_error(&p->l, "a local of %lld elements", (long long)count);
    TRY(lex_expect(&p->l, "]"));
    TRY(define(p, name, k_local(b, kept_name(name), element, count)));
  }
  return OK;
}

static Status parse_kernel(Parser *p) {
  const char *name;
  KClass klass;
  TRY(lex_expect(&p->l, "kernel"));
  TRY(lex_global(&p->l, "a kernel's name", &name));
  p->k = kernel_new(p->arena, name, KC_map);
  p->region = &p->k->body;
  p->visible = (NameMap){.arena = p->arena};
  p->defined.n = 0;
  p->depth = 0;
  KBuilder b = kbuilder(p->k);
  TRY(parse_params(p, &b));
  TRY(parse_class(p, &klass));
  p->k->klass = klass;
  TRY(lex_expect(&p->l, "{"));
  TRY(parse_locals(p, &b));
  while (!lex_is(&p->l, "}")) TRY(parse_inst(p));
  return lex_expect(&p->l, "}");
}

Status kernels_parse(Arena *a, const char *text, const char *where, Diag *d, Kernel ***out,
                     uint32_t *out_n) {
  struct {
    Kernel **at;
    uint32_t n, cap;
  } list = {0};
  Parser p = {.arena = a};
  lex_init(&p.l, a, text, where, d);
  while (p.l.tok.kind != LX_END) {
    TRY(parse_kernel(&p));
    PUSH(&p, &list, p.k);
  }
  *out = list.at;
  *out_n = list.n;
  return OK;
}
