/* Dimensions and tensor types of the text form: `tensor<Sx72 x f32 : q4_0>`, `(P+S)`.
 *
 * In a shape the letter x separates, so its tokens are read by lex_dims; inside parentheses the
 * ordinary rules hold, with + - * / (floor) ^/ (ceiling) by the usual precedence.
 */
#include "ir/graph_impl.h"

#include <string.h>

enum { MAX_DEPTH = 32 };

static Status parse_sum(Lexer *l, Dims *d, int depth, DimId *out);

static Status parse_literal(Lexer *l, Dims *d, DimId *out) {
  int64_t v;
  TRY(lex_i64(l, &v));
  if (v > MAX_DIM || v < -MAX_DIM) return lex_error(l, "a dimension above 2^40");
  *out = dim_const(d, v);
  return OK;
}

static Status parse_atom(Lexer *l, Dims *d, int depth, DimId *out) {
  if (depth > MAX_DEPTH) return lex_error(l, "parentheses deeper than %d", MAX_DEPTH);
  if (lex_accept(l, "(")) {
    TRY(parse_sum(l, d, depth + 1, out));
    return lex_expect(l, ")");
  }
  if (l->tok.kind != LX_WORD) return parse_literal(l, d, out);
  *out = dim_find(d, l->tok.text);
  if (!*out) {
    return lex_error(l, "'%s' is no dimension of the module (declare it: dim %s in 1..N)",
                     l->tok.text, l->tok.text);
  }
  lex_next(l);
  return OK;
}

static Status apply(Lexer *l, Dims *d, DimKind kind, DimId *a, DimId b) {
  DimId r = dim_try_op(d, kind, *a, b);
  if (!r) return lex_error(l, "a dimension that overflows, is too long or may divide by zero");
  *a = r;
  return OK;
}

static Status parse_product(Lexer *l, Dims *d, int depth, DimId *out) {
  TRY(parse_atom(l, d, depth, out));
  for (;;) {
    DimKind kind = DIM_MUL;
    DimId b;
    if (lex_accept(l, "/"))
      kind = DIM_DIV;
    else if (lex_accept(l, "^/"))
      kind = DIM_CEILDIV;
    else if (!lex_accept(l, "*"))
      return OK;
    TRY(parse_atom(l, d, depth, &b));
    TRY(apply(l, d, kind, out, b));
  }
}

static Status parse_sum(Lexer *l, Dims *d, int depth, DimId *out) {
  TRY(parse_product(l, d, depth, out));
  for (;;) {
    DimKind kind = DIM_ADD;
    DimId b;
    if (lex_accept(l, "-"))
      kind = DIM_SUB;
    else if (!lex_accept(l, "+"))
      return OK;
    TRY(parse_product(l, d, depth, &b));
    TRY(apply(l, d, kind, out, b));
  }
}

Status parse_dim(Lexer *l, Dims *d, DimId *out) {
  return parse_sum(l, d, 0, out);
}

/* `72`, `S` or `(..)`, then the x behind it. */
static Status parse_shape_dim(Lexer *l, Dims *d, DimId *out) {
  if (lex_is(l, "("))
    TRY(parse_atom(l, d, 0, out));
  else if (l->tok.kind == LX_WORD || l->tok.kind == LX_INT)
    TRY(parse_atom(l, d, 0, out));
  else
    return lex_error(l, "expected a dimension or an element type, got '%s'", l->tok.text);
  lex_dims(l);
  return lex_expect(l, "x");
}

Status parse_type(Lexer *l, Dims *d, Type *out) {
  const char *why, *word;
  *out = (Type){0};
  TRY(lex_expect(l, "tensor"));
  TRY(lex_expect(l, "<"));
  for (;;) {
    lex_dims(l);
    if (l->tok.kind == LX_WORD && dtype_parse(l->tok.text, &out->dtype)) break;
    if (out->rank == MAX_RANK) return lex_error(l, "more than %d dimensions", MAX_RANK);
    TRY(parse_shape_dim(l, d, &out->dim[out->rank]));
    out->rank++;
  }
  lex_next(l);
  if (lex_accept(l, ":")) {
    if (l->tok.kind != LX_WORD || !storage_parse(l->tok.text, &out->storage))
      return lex_error(l, "'%s' is no storage format (see ir/quants.def)", l->tok.text);
    TRY(lex_word(l, "a storage format", &word));
  }
  TRY(lex_expect(l, ">"));
  if (!type_check(d, out, &why)) return lex_error(l, "this type can't be: %s", why);
  return OK;
}
