/* The Jinja compiler's own header: tokens, the tree under construction, the parser's state.
 *
 * Syntax as of Jinja2 3.1 with the settings of Transformers (trim_blocks, lstrip_blocks, loop
 * controls, the `generation` block). Grammar: Jinja's Template Designer Documentation; corner cases
 * were checked against Jinja2 itself (tests/template).
 */
#ifndef INGOT_BACKENDS_JINJA_H
#define INGOT_BACKENDS_JINJA_H

#include "ir/base.h"
#include "runtime/text/chat_blob.h"

typedef enum JinjaTokenKind {
  JT_END,
  JT_TEXT,
  JT_BLOCK_BEGIN,
  JT_BLOCK_END,
  JT_VAR_BEGIN,
  JT_VAR_END,
  JT_NAME,
  JT_STRING,
  JT_INT,
  JT_FLOAT,
  JT_OP
} JinjaTokenKind;

typedef struct JinjaToken {
  JinjaTokenKind kind;
  const char *text; /* TEXT, NAME, OP: the characters; STRING: with escapes resolved */
  uint32_t size;
  int64_t integer;
  double number;
  uint32_t line;
} JinjaToken;

typedef struct JinjaTokens {
  JinjaToken *token;
  uint32_t n, cap;
} JinjaTokens;

/* Splits the source into tokens, white space control applied. Tokens' text is in the arena. */
Status jinja_lex(Arena *a, Diag *d, const char *where, const char *source, JinjaTokens *out);

typedef struct Jinja {
  Arena *arena;
  Diag *diag;
  const char *where;
  const JinjaToken *at;
  uint32_t depth; /* of nested expressions and blocks */
  uint32_t loops; /* open for loops: break and continue need one */
  ChatNode *node;
  uint32_t nnodes, cnodes;
  uint32_t *list;
  uint32_t nlists, clists;
  Buf text;
} Jinja;

/* ---- the tree ---- */
uint32_t jinja_node(Jinja *j, ChatKind kind, uint32_t sub, uint32_t a, uint32_t b, uint32_t c);
uint32_t jinja_text_node(Jinja *j, ChatKind kind, const char *text, uint32_t size, uint32_t c);
/* Stores ids in lists; returns the start. */
uint32_t jinja_list(Jinja *j, const uint32_t *ids, uint32_t n);

/* ---- tokens ---- */
Status jinja_fail(Jinja *j, const char *fmt, ...)
    PRINTF_LIKE(2, 3);                           /* at the current token's line */
bool jinja_is(const Jinja *j, const char *word); /* the current token is this name or operator */
bool jinja_skip(Jinja *j, const char *word);     /* and is passed over */
Status jinja_expect(Jinja *j, const char *word);
Status jinja_expect_name(Jinja *j, JinjaToken *out);

/* ---- expressions (jinja_expr.c) ---- */
Status jinja_expression(Jinja *j, uint32_t *out);
Status jinja_no_condition(Jinja *j, uint32_t *out); /* without `x if y`: what `for .. in` takes */
/* One or more expressions with commas between; a tuple when there is a comma. */
Status jinja_tuple(Jinja *j, bool condition, uint32_t *out);
/* The names (and tuples of names) that a for or set assigns to; `space`: ns.attribute is allowed.
 */
Status jinja_target(Jinja *j, bool space, uint32_t *out);
/* name(args)|name.. ; `value` 0 begins a chain without a value. */
Status jinja_filters(Jinja *j, uint32_t value, uint32_t *out);

/* ---- statements (jinja_stmt.c) ---- */
Status jinja_template(Jinja *j, uint32_t *out);

/* A growing list of node ids on the heap, for lists under construction. */
typedef struct NodeList {
  uint32_t *id;
  uint32_t n, cap;
} NodeList;
static inline void node_push(NodeList *l, uint32_t id) {
  *VEC_PUSH(l->id, l->n, l->cap) = id;
}

#endif
