/* Jinja expressions to tree nodes: see backends/text/jinja.h.
 *
 * Precedence from loosest to tightest: x if y else z; or; and; not; comparisons; + -; ~; * / // %;
 * ** (from left to right, unlike Python's); unary - and +; postfix . [] () and then | and is.
 */
#include "backends/text/jinja.h"

#include <string.h>

enum { DEEPEST = 200, NOT_KNOWN = 0xffff };

static Status parse_or(Jinja *j, uint32_t *out);
static Status parse_unary(Jinja *j, bool filters, uint32_t *out);
static Status parse_call(Jinja *j, ChatKind kind, uint32_t sub, uint32_t value, uint32_t *out);

static Status deeper(Jinja *j) {
  return ++j->depth > DEEPEST ? jinja_fail(j, "nested too deeply (at most %d levels)", DEEPEST)
                              : OK;
}

/* ---- filters and tests by name ---- */

typedef struct NamedId {
  const char *name;
  uint32_t id;
} NamedId;

static const NamedId filter_names[] = {
#define F(name) {#name, CF_##name},
#define A(name, same) {#name, CF_##same},
    CHAT_FILTERS(F) CHAT_FILTER_ALIASES(A)
#undef F
#undef A
#define F(name) {#name, NOT_KNOWN},
        CHAT_FILTERS_REFUSED(F)
#undef F
};

static const NamedId test_names[] = {
#define T(name) {#name, CT_##name},
#define A(name, same) {#name, CT_##same},
    CHAT_TESTS(T) CHAT_TEST_ALIASES(A)
#undef T
#undef A
#define T(name) {#name, NOT_KNOWN},
        CHAT_TESTS_REFUSED(T)
#undef T
            {"==", CT_eq},
    {"!=", CT_ne},
};

/* *id is NOT_KNOWN when Jinja does not know the name either; a name that only we refuse fails. */
static Status find_named(Jinja *j, const char *what, const NamedId *names, size_t n,
                         const JinjaToken *t, uint32_t *id) {
  *id = NOT_KNOWN;
  for (size_t i = 0; i < n; i++) {
    if (strlen(names[i].name) != t->size || memcmp(names[i].name, t->text, t->size) != 0) continue;
    *id = names[i].id;
    if (*id == NOT_KNOWN)
      return jinja_fail(j, "the %s '%s' cannot be compiled", what, names[i].name);
    return OK;
  }
  return OK;
}

/* A filter or test that nobody knows is an error only where it is reached, as in Jinja2. */
static Status named_call(Jinja *j, bool is_filter, const JinjaToken *name, uint32_t value,
                         uint32_t *out) {
  uint32_t id;
  if (is_filter)
    TRY(find_named(j, "filter", filter_names, COUNT(filter_names), name, &id));
  else
    TRY(find_named(j, "test", test_names, COUNT(test_names), name, &id));
  TRY(parse_call(j, is_filter ? CN_filter : CN_test, id, value, out));
  if (id == NOT_KNOWN) { /* in the place of the call, which could not be executed */
    uint32_t unknown = jinja_text_node(j, CN_unknown, name->text, name->size, is_filter);
    j->node[*out] = j->node[unknown];
  }
  return OK;
}

/* ---- calls ---- */

static Status parse_argument(Jinja *j, NodeList *args) {
  const JinjaToken *t = j->at;
  uint32_t value;
  if (jinja_is(j, "*") || jinja_is(j, "**"))
    return jinja_fail(j, "* and ** arguments cannot be compiled");
  if (t->kind == JT_NAME && t[1].kind == JT_OP && t[1].size == 1 && t[1].text[0] == '=') {
    j->at += 2;
    TRY(jinja_expression(j, &value));
    node_push(args, jinja_text_node(j, CN_kwarg, t->text, t->size, value));
    return OK;
  }
  TRY(jinja_expression(j, &value));
  node_push(args, value);
  return OK;
}

/* Behind "(": arguments up to ")". */
static Status parse_arguments(Jinja *j, NodeList *args) {
  while (!jinja_skip(j, ")")) {
    if (args->n) {
      TRY(jinja_expect(j, ","));
      if (jinja_skip(j, ")")) break;
    }
    TRY(parse_argument(j, args));
  }
  return OK;
}

/* What may follow `is name` without brackets: one operand. */
static bool begins_test_operand(const Jinja *j) {
  switch (j->at->kind) {
  case JT_STRING:
  case JT_INT:
  case JT_FLOAT: return true;
  case JT_OP: return jinja_is(j, "[") || jinja_is(j, "{");
  case JT_NAME: return !jinja_is(j, "else") && !jinja_is(j, "or") && !jinja_is(j, "and");
  default: return false;
  }
}

static Status parse_primary(Jinja *j, uint32_t *out);
static Status parse_postfix(Jinja *j, uint32_t *node);

/* The arguments of a call, filter or test at the current token, if any. */
static Status parse_call(Jinja *j, ChatKind kind, uint32_t sub, uint32_t value, uint32_t *out) {
  NodeList args = {0};
  Status s = OK;
  if (jinja_skip(j, "(")) {
    s = parse_arguments(j, &args);
  } else if (kind == CN_test && begins_test_operand(j)) {
    uint32_t operand = 0;
    if (jinja_is(j, "is")) s = jinja_fail(j, "tests cannot be chained with 'is'");
    if (s == OK) s = parse_primary(j, &operand);
    if (s == OK) s = parse_postfix(j, &operand);
    node_push(&args, operand);
  }
  *out = jinja_node(j, kind, sub, value, jinja_list(j, args.id, args.n), args.n);
  mem_free(args.id);
  return s;
}

/* ---- primaries ---- */

static Status parse_items(Jinja *j, const char *close, bool pairs, NodeList *items) {
  while (!jinja_skip(j, close)) {
    uint32_t item;
    if (items->n) {
      TRY(jinja_expect(j, ","));
      if (jinja_skip(j, close)) break;
    }
    TRY(jinja_expression(j, &item));
    node_push(items, item);
    if (!pairs) continue;
    TRY(jinja_expect(j, ":"));
    TRY(jinja_expression(j, &item));
    node_push(items, item);
  }
  return OK;
}

static Status parse_display(Jinja *j, ChatKind kind, const char *close, uint32_t *out) {
  NodeList items = {0};
  Status s = parse_items(j, close, kind == CN_dict, &items);
  *out = jinja_node(j, kind, 0, 0, jinja_list(j, items.id, items.n), items.n);
  mem_free(items.id);
  return s;
}

static uint32_t bits_node(Jinja *j, ChatKind kind, const void *eight_bytes) {
  uint64_t bits;
  memcpy(&bits, eight_bytes, sizeof bits);
  return jinja_node(j, kind, 0, (uint32_t)bits, (uint32_t)(bits >> 32), 0);
}

/* Strings that stand side by side are one. */
static uint32_t parse_strings(Jinja *j) {
  Buf whole = {0};
  for (; j->at->kind == JT_STRING; j->at++) buf_put(&whole, j->at->text, j->at->size);
  uint32_t node = jinja_text_node(j, CN_string, whole.data, (uint32_t)whole.size, 0);
  buf_free(&whole);
  return node;
}

static uint32_t parse_name(Jinja *j) {
  static const struct {
    const char *word;
    ChatKind kind;
  } literals[] = {{"true", CN_true},   {"True", CN_true}, {"false", CN_false},
                  {"False", CN_false}, {"none", CN_null}, {"None", CN_null}};
  for (size_t i = 0; i < COUNT(literals); i++) {
    if (jinja_skip(j, literals[i].word)) return jinja_node(j, literals[i].kind, 0, 0, 0, 0);
  }
  const JinjaToken *t = j->at++;
  return jinja_text_node(j, CN_name, t->text, t->size, 0);
}

static Status parse_primary(Jinja *j, uint32_t *out) {
  const JinjaToken *t = j->at;
  switch (t->kind) {
  case JT_NAME: *out = parse_name(j); return OK;
  case JT_STRING: *out = parse_strings(j); return OK;
  case JT_INT:
    j->at++;
    *out = bits_node(j, CN_int, &t->integer);
    return OK;
  case JT_FLOAT:
    j->at++;
    *out = bits_node(j, CN_float, &t->number);
    return OK;
  default: break;
  }
  if (jinja_skip(j, "(")) {
    if (jinja_skip(j, ")")) {
      *out = jinja_node(j, CN_tuple, 0, 0, 0, 0);
      return OK;
    }
    TRY(jinja_tuple(j, true, out));
    return jinja_expect(j, ")");
  }
  if (jinja_skip(j, "[")) return parse_display(j, CN_list, "]", out);
  if (jinja_skip(j, "{")) return parse_display(j, CN_dict, "}", out);
  return jinja_fail(j, "expected an expression, got '%.*s'", (int)t->size, t->text);
}

/* ---- postfix ---- */

/* Behind "[": an index or a slice. */
static Status parse_subscript(Jinja *j, uint32_t object, uint32_t *out) {
  uint32_t part[3] = {0}, colons = 0;
  if (!jinja_is(j, ":")) TRY(jinja_expression(j, &part[0]));
  while (colons < 2 && jinja_skip(j, ":")) {
    colons++;
    if (!jinja_is(j, ":") && !jinja_is(j, "]")) TRY(jinja_expression(j, &part[colons]));
  }
  if (colons)
    *out = jinja_node(j, CN_slice, 0, object, jinja_list(j, part, 3), 3);
  else
    *out = jinja_node(j, CN_getitem, 0, object, part[0], 0);
  return jinja_expect(j, "]");
}

static Status parse_dot(Jinja *j, uint32_t object, uint32_t *out) {
  const JinjaToken *t = j->at++;
  if (t->kind == JT_NAME) {
    *out = jinja_text_node(j, CN_getattr, t->text, t->size, object);
  } else if (t->kind == JT_INT) {
    *out = jinja_node(j, CN_getitem, 0, object, bits_node(j, CN_int, &t->integer), 0);
  } else {
    j->at--;
    return jinja_fail(j, "expected a name behind '.'");
  }
  return OK;
}

static Status parse_postfix(Jinja *j, uint32_t *node) {
  for (;;) {
    if (jinja_skip(j, "."))
      TRY(parse_dot(j, *node, node));
    else if (jinja_skip(j, "["))
      TRY(parse_subscript(j, *node, node));
    else if (jinja_is(j, "("))
      TRY(parse_call(j, CN_call, 0, *node, node));
    else
      return OK;
  }
}

/* A dotted name, as filters and tests may have. */
static Status filter_name(Jinja *j, JinjaToken *out) {
  if (j->at->kind == JT_OP && (jinja_is(j, "==") || jinja_is(j, "!="))) {
    *out = *j->at++;
    return OK;
  }
  TRY(jinja_expect_name(j, out));
  while (jinja_skip(j, ".")) {
    JinjaToken part;
    TRY(jinja_expect_name(j, &part));
    out->size = (uint32_t)(part.text + part.size - out->text);
  }
  return OK;
}

Status jinja_filters(Jinja *j, uint32_t value, uint32_t *out) {
  *out = value;
  do {
    JinjaToken name;
    TRY(filter_name(j, &name));
    TRY(named_call(j, true, &name, *out, out));
  } while (jinja_skip(j, "|"));
  return OK;
}

static Status parse_test(Jinja *j, uint32_t *node) {
  JinjaToken name;
  bool negated = jinja_skip(j, "not");
  TRY(filter_name(j, &name));
  TRY(named_call(j, false, &name, *node, node));
  if (negated) *node = jinja_node(j, CN_not, 0, *node, 0, 0);
  return OK;
}

static Status parse_filters_and_tests(Jinja *j, uint32_t *node) {
  for (;;) {
    if (jinja_skip(j, "|"))
      TRY(jinja_filters(j, *node, node));
    else if (jinja_skip(j, "is"))
      TRY(parse_test(j, node));
    else if (jinja_is(j, "("))
      TRY(parse_call(j, CN_call, 0, *node, node));
    else
      return OK;
  }
}

/* ---- operators ---- */

static Status parse_unary(Jinja *j, bool filters, uint32_t *out) {
  TRY(deeper(j));
  bool negative = jinja_skip(j, "-");
  if (negative || jinja_skip(j, "+")) {
    TRY(parse_unary(j, false, out));
    *out = jinja_node(j, negative ? CN_negative : CN_positive, 0, *out, 0, 0);
  } else {
    TRY(parse_primary(j, out));
  }
  TRY(parse_postfix(j, out));
  if (filters) TRY(parse_filters_and_tests(j, out));
  j->depth--;
  return OK;
}

static Status parse_power(Jinja *j, uint32_t *out) {
  TRY(parse_unary(j, true, out));
  while (jinja_skip(j, "**")) {
    uint32_t right;
    TRY(parse_unary(j, true, &right));
    *out = jinja_node(j, CN_binary, CB_pow, *out, right, 0);
  }
  return OK;
}

typedef struct BinaryRow {
  const char *word;
  ChatBinary op;
} BinaryRow;

/* operand (op operand)*, from left to right. */
static Status parse_binary(Jinja *j, const BinaryRow *rows, size_t n,
                           Status (*operand)(Jinja *, uint32_t *), uint32_t *out) {
  TRY(operand(j, out));
  for (;;) {
    size_t i = 0;
    while (i < n && !jinja_skip(j, rows[i].word)) i++;
    if (i == n) return OK;
    uint32_t right;
    TRY(operand(j, &right));
    *out = jinja_node(j, CN_binary, rows[i].op, *out, right, 0);
  }
}

static Status parse_product(Jinja *j, uint32_t *out) {
  static const BinaryRow rows[] = {
      {"*", CB_mul}, {"//", CB_floordiv}, {"/", CB_div}, {"%", CB_mod}};
  return parse_binary(j, rows, COUNT(rows), parse_power, out);
}

static Status parse_concat(Jinja *j, uint32_t *out) {
  NodeList parts = {0};
  TRY(parse_product(j, out));
  if (!jinja_is(j, "~")) return OK;
  node_push(&parts, *out);
  Status s = OK;
  while (s == OK && jinja_skip(j, "~")) {
    s = parse_product(j, out);
    node_push(&parts, *out);
  }
  *out = jinja_node(j, CN_concat, 0, 0, jinja_list(j, parts.id, parts.n), parts.n);
  mem_free(parts.id);
  return s;
}

static Status parse_sum(Jinja *j, uint32_t *out) {
  static const BinaryRow rows[] = {{"+", CB_add}, {"-", CB_sub}};
  return parse_binary(j, rows, COUNT(rows), parse_concat, out);
}

static bool skip_comparison(Jinja *j, ChatCompare *op) {
  static const struct {
    const char *word;
    ChatCompare op;
  } rows[] = {{"==", CC_eq}, {"!=", CC_ne}, {"<", CC_lt}, {"<=", CC_le},
              {">", CC_gt},  {">=", CC_ge}, {"in", CC_in}};
  for (size_t i = 0; i < COUNT(rows); i++) {
    if (!jinja_skip(j, rows[i].word)) continue;
    *op = rows[i].op;
    return true;
  }
  const JinjaToken *t = j->at;
  if (!jinja_is(j, "not") || t[1].kind != JT_NAME || t[1].size != 2 ||
      memcmp(t[1].text, "in", 2) != 0)
    return false;
  j->at += 2;
  *op = CC_not_in;
  return true;
}

static Status parse_comparison(Jinja *j, uint32_t *out) {
  NodeList operands = {0};
  ChatCompare op;
  Status s = parse_sum(j, out);
  while (s == OK && skip_comparison(j, &op)) {
    uint32_t right = 0;
    s = parse_sum(j, &right);
    node_push(&operands, jinja_node(j, CN_operand, op, right, 0, 0));
  }
  if (operands.n)
    *out = jinja_node(j, CN_compare, 0, *out, jinja_list(j, operands.id, operands.n), operands.n);
  mem_free(operands.id);
  return s;
}

static Status parse_not(Jinja *j, uint32_t *out) {
  if (!jinja_skip(j, "not")) return parse_comparison(j, out);
  TRY(deeper(j));
  TRY(parse_not(j, out));
  j->depth--;
  *out = jinja_node(j, CN_not, 0, *out, 0, 0);
  return OK;
}

static Status parse_and(Jinja *j, uint32_t *out) {
  TRY(parse_not(j, out));
  while (jinja_skip(j, "and")) {
    uint32_t right;
    TRY(parse_not(j, &right));
    *out = jinja_node(j, CN_and, 0, *out, right, 0);
  }
  return OK;
}

static Status parse_or(Jinja *j, uint32_t *out) {
  TRY(parse_and(j, out));
  while (jinja_skip(j, "or")) {
    uint32_t right;
    TRY(parse_and(j, &right));
    *out = jinja_node(j, CN_or, 0, *out, right, 0);
  }
  return OK;
}

Status jinja_no_condition(Jinja *j, uint32_t *out) {
  return parse_or(j, out);
}

Status jinja_expression(Jinja *j, uint32_t *out) {
  TRY(deeper(j));
  TRY(parse_or(j, out));
  while (jinja_skip(j, "if")) {
    uint32_t condition, other = 0;
    TRY(parse_or(j, &condition));
    if (jinja_skip(j, "else")) TRY(jinja_expression(j, &other));
    *out = jinja_node(j, CN_conditional, 0, condition, *out, other);
  }
  j->depth--;
  return OK;
}

/* ---- tuples and targets ---- */

static bool ends_tuple(const Jinja *j) {
  JinjaTokenKind k = j->at->kind;
  return k == JT_BLOCK_END || k == JT_VAR_END || jinja_is(j, ")") || jinja_is(j, "in") ||
         jinja_is(j, "=") || jinja_is(j, "recursive");
}

static Status parse_list_of(Jinja *j, Status (*item)(Jinja *, uint32_t *), uint32_t *out) {
  NodeList items = {0};
  TRY(item(j, out));
  if (!jinja_is(j, ",")) return OK;
  node_push(&items, *out);
  Status s = OK;
  while (s == OK && jinja_skip(j, ",") && !ends_tuple(j)) {
    s = item(j, out);
    node_push(&items, *out);
  }
  *out = jinja_node(j, CN_tuple, 0, 0, jinja_list(j, items.id, items.n), items.n);
  mem_free(items.id);
  return s;
}

Status jinja_tuple(Jinja *j, bool condition, uint32_t *out) {
  return parse_list_of(j, condition ? jinja_expression : jinja_no_condition, out);
}

static Status parse_target_item(Jinja *j, uint32_t *out) {
  JinjaToken name;
  TRY(deeper(j));
  if (jinja_skip(j, "(")) {
    TRY(parse_list_of(j, parse_target_item, out));
    TRY(jinja_expect(j, ")"));
  } else {
    TRY(jinja_expect_name(j, &name));
    *out = jinja_text_node(j, CN_name, name.text, name.size, 0);
  }
  j->depth--;
  return OK;
}

Status jinja_target(Jinja *j, bool space, uint32_t *out) {
  TRY(parse_list_of(j, parse_target_item, out));
  if (!space || !jinja_skip(j, ".")) return OK;
  JinjaToken name;
  TRY(jinja_expect_name(j, &name));
  *out = jinja_text_node(j, CN_getattr, name.text, name.size, *out);
  return OK;
}
