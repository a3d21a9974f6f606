/* Jinja statements to tree nodes: see backends/text/jinja.h. */
#include "backends/text/jinja.h"

#include <string.h>

enum { DEEPEST_BLOCKS = 100 };

/* Statements up to a block tag that begins with one of the words (NULL-terminated; an empty list:
 * up to the end of the template). The tag's word is the current token then, not taken. */
static Status parse_body(Jinja *j, const char *const *ends, uint32_t *out);

static Status end_tag(Jinja *j, const char *word) {
  TRY(jinja_expect(j, word));
  if (j->at->kind != JT_BLOCK_END) return jinja_fail(j, "expected '%%}' behind '%s'", word);
  j->at++;
  return OK;
}

static Status close_tag(Jinja *j) {
  if (j->at->kind != JT_BLOCK_END)
    return jinja_fail(j, "expected '%%}', got '%.*s'", (int)j->at->size, j->at->text);
  j->at++;
  return OK;
}

/* Behind a statement's opening tag: body and its end tag. */
static Status body_until(Jinja *j, const char *end, uint32_t *out) {
  const char *const ends[] = {end, NULL};
  TRY(close_tag(j));
  TRY(parse_body(j, ends, out));
  return end_tag(j, end);
}

static Status parse_for(Jinja *j, uint32_t *out) {
  static const char *const ends[] = {"endfor", "else", NULL};
  uint32_t target, part[4] = {0}; /* iterable, condition, body, else */
  TRY(jinja_target(j, false, &target));
  TRY(jinja_expect(j, "in"));
  TRY(jinja_tuple(j, false, &part[0]));
  if (jinja_skip(j, "if")) TRY(jinja_expression(j, &part[1]));
  bool recursive = jinja_skip(j, "recursive");
  TRY(close_tag(j));
  j->loops++;
  TRY(parse_body(j, ends, &part[2]));
  j->loops--;
  if (jinja_skip(j, "else"))
    TRY(body_until(j, "endfor", &part[3]));
  else
    TRY(end_tag(j, "endfor"));
  *out = jinja_node(j, CN_for, recursive, target, jinja_list(j, part, 4), 4);
  return OK;
}

/* Behind "if" or "elif". */
static Status parse_if(Jinja *j, uint32_t *out) {
  static const char *const ends[] = {"elif", "else", "endif", NULL};
  uint32_t condition, yes, no = 0;
  TRY(jinja_tuple(j, false, &condition));
  if (jinja_is(j, "if")) return jinja_fail(j, "unexpected 'if'");
  TRY(close_tag(j));
  TRY(parse_body(j, ends, &yes));
  if (jinja_skip(j, "elif"))
    TRY(parse_if(j, &no));
  else if (jinja_skip(j, "else"))
    TRY(body_until(j, "endif", &no));
  else
    TRY(end_tag(j, "endif"));
  *out = jinja_node(j, CN_if, 0, condition, yes, no);
  return OK;
}

static Status parse_set(Jinja *j, uint32_t *out) {
  uint32_t target, value, filters = 0;
  TRY(jinja_target(j, true, &target));
  if (jinja_skip(j, "=")) {
    TRY(jinja_tuple(j, true, &value));
    TRY(close_tag(j));
    *out = jinja_node(j, CN_set, 0, target, value, 0);
    return OK;
  }
  if (jinja_skip(j, "|")) TRY(jinja_filters(j, 0, &filters));
  TRY(body_until(j, "endset", &value));
  *out = jinja_node(j, CN_set_block, 0, target, value, filters);
  return OK;
}

/* "(a, b=1)": params behind what is in `list`. */
static Status parse_signature(Jinja *j, NodeList *list) {
  TRY(jinja_expect(j, "("));
  for (bool first = true; !jinja_skip(j, ")"); first = false) {
    JinjaToken name;
    uint32_t value = 0;
    if (!first) TRY(jinja_expect(j, ","));
    if (jinja_skip(j, ")")) break;
    TRY(jinja_expect_name(j, &name));
    uint32_t node = jinja_text_node(j, CN_name, name.text, name.size, 0);
    if (jinja_skip(j, "=")) TRY(jinja_expression(j, &value));
    node_push(list, jinja_node(j, CN_param, 0, node, value, 0));
  }
  return OK;
}

/* A body with params, for macro and call: list[0] is filled with the body. */
static Status callable(Jinja *j, const char *end, NodeList *list) {
  uint32_t loops = j->loops;
  j->loops = 0;
  Status s = body_until(j, end, &list->id[0]);
  j->loops = loops;
  return s;
}

static Status parse_macro(Jinja *j, uint32_t *out) {
  JinjaToken name;
  NodeList list = {0};
  TRY(jinja_expect_name(j, &name));
  uint32_t node = jinja_text_node(j, CN_name, name.text, name.size, 0);
  node_push(&list, 0);
  Status s = parse_signature(j, &list);
  if (s == OK) s = callable(j, "endmacro", &list);
  *out = jinja_node(j, CN_macro, 0, node, jinja_list(j, list.id, list.n), list.n);
  mem_free(list.id);
  return s;
}

static Status parse_call_block(Jinja *j, uint32_t *out) {
  NodeList list = {0};
  uint32_t call = 0;
  node_push(&list, 0);
  Status s = jinja_is(j, "(") ? parse_signature(j, &list) : OK;
  if (s == OK) s = jinja_expression(j, &call);
  if (s == OK && j->node[call].kind != CN_call) s = jinja_fail(j, "expected a call");
  if (s == OK) s = callable(j, "endcall", &list);
  *out = jinja_node(j, CN_call_block, 0, call, jinja_list(j, list.id, list.n), list.n);
  mem_free(list.id);
  return s;
}

static Status parse_filter_block(Jinja *j, uint32_t *out) {
  uint32_t filters, body;
  TRY(jinja_filters(j, 0, &filters));
  TRY(body_until(j, "endfilter", &body));
  *out = jinja_node(j, CN_filter_block, 0, filters, body, 0);
  return OK;
}

static Status parse_with(Jinja *j, uint32_t *out) {
  NodeList sets = {0};
  uint32_t target, value, body = 0;
  Status s = OK;
  while (s == OK && j->at->kind != JT_BLOCK_END) {
    if (sets.n) s = jinja_expect(j, ",");
    if (s == OK) s = jinja_target(j, false, &target);
    if (s == OK) s = jinja_expect(j, "=");
    if (s == OK) s = jinja_expression(j, &value);
    if (s == OK) node_push(&sets, jinja_node(j, CN_set, 0, target, value, 0));
  }
  if (s == OK) s = body_until(j, "endwith", &body);
  *out = jinja_node(j, CN_with, 0, body, jinja_list(j, sets.id, sets.n), sets.n);
  mem_free(sets.id);
  return s;
}

/* Transformers' own block: it marks the assistant's part and is rendered as it stands. */
static Status parse_generation(Jinja *j, uint32_t *out) {
  return body_until(j, "endgeneration", out);
}

static Status parse_jump(Jinja *j, ChatKind kind, uint32_t *out) {
  if (!j->loops)
    return jinja_fail(j, "'%s' outside a loop", kind == CN_break ? "break" : "continue");
  *out = jinja_node(j, kind, 0, 0, 0, 0);
  return close_tag(j);
}

static Status parse_break(Jinja *j, uint32_t *out) {
  return parse_jump(j, CN_break, out);
}

static Status parse_continue(Jinja *j, uint32_t *out) {
  return parse_jump(j, CN_continue, out);
}

static Status parse_statement(Jinja *j, uint32_t *out) {
  static const struct {
    const char *word;
    Status (*parse)(Jinja *, uint32_t *);
  } rows[] = {{"for", parse_for},         {"if", parse_if},
              {"set", parse_set},         {"macro", parse_macro},
              {"call", parse_call_block}, {"filter", parse_filter_block},
              {"with", parse_with},       {"generation", parse_generation},
              {"break", parse_break},     {"continue", parse_continue}};
  for (size_t i = 0; i < COUNT(rows); i++) {
    if (jinja_skip(j, rows[i].word)) return rows[i].parse(j, out);
  }
  return jinja_fail(j, "the statement '%.*s' cannot be compiled", (int)j->at->size, j->at->text);
}

static bool at_end(const Jinja *j, const char *const *ends) {
  for (; *ends; ends++) {
    if (jinja_is(j, *ends)) return true;
  }
  return false;
}

/* One statement, output or text; *done when an end tag was met instead. */
static Status parse_piece(Jinja *j, const char *const *ends, uint32_t *out, bool *done) {
  const JinjaToken *t = j->at++;
  switch (t->kind) {
  case JT_TEXT: *out = jinja_text_node(j, CN_text, t->text, t->size, 0); return OK;
  case JT_VAR_BEGIN:
    TRY(jinja_tuple(j, true, out));
    *out = jinja_node(j, CN_output, 0, *out, 0, 0);
    if (j->at->kind != JT_VAR_END)
      return jinja_fail(j, "expected '}}', got '%.*s'", (int)j->at->size, j->at->text);
    j->at++;
    return OK;
  case JT_BLOCK_BEGIN: *done = at_end(j, ends); return *done ? OK : parse_statement(j, out);
  default: break;
  }
  j->at--;
  if (!*ends) {
    *done = true;
    return OK;
  }
  return jinja_fail(j, "the template ends inside a block (expected '%s')", *ends);
}

static Status parse_body(Jinja *j, const char *const *ends, uint32_t *out) {
  NodeList pieces = {0};
  bool done = false;
  Status s = ++j->depth > DEEPEST_BLOCKS ? jinja_fail(j, "blocks nested too deeply") : OK;
  while (s == OK && !done) {
    uint32_t piece = 0;
    s = parse_piece(j, ends, &piece, &done);
    if (s == OK && !done) node_push(&pieces, piece);
  }
  j->depth--;
  *out = jinja_node(j, CN_block, 0, 0, jinja_list(j, pieces.id, pieces.n), pieces.n);
  mem_free(pieces.id);
  return s;
}

Status jinja_template(Jinja *j, uint32_t *out) {
  static const char *const none[] = {NULL};
  return parse_body(j, none, out);
}
