/* What the files of Graph IR share among themselves and nobody else needs. */
#ifndef INGOT_IR_GRAPH_IMPL_H
#define INGOT_IR_GRAPH_IMPL_H

#include "ir/graph.h"
#include "ir/lex.h"

/* Bounds that keep hostile text from overflowing anything: the largest literal dimension, and the
 * largest number of elements of a type. Sums of a few such products stay within 63 bits. */
#define MAX_DIM ((int64_t)1 << 40)
#define MAX_ELEMENTS ((int64_t)1 << 56)

Dims *dims_new(Arena *a);
void dims_free(Dims *d);
/* dim_op for values that come from outside: 0 on overflow, on division by what may be 0, and when
 * the expression has too many terms. */
DimId dim_try_op(Dims *d, DimKind kind, DimId a, DimId b);

/* False with a reason when the type can't be: a bad rank or dimension, a storage format of what is
 * not f32, more than MAX_ELEMENTS elements. */
bool type_check(Dims *d, const Type *t, const char **why);

/* Zero attributes are those that the text form leaves out. */
bool attr_is_zero(const AttrField *f, const Attrs *a);
/* Enumerated values within their enum. */
bool attr_is_valid(const AttrField *f, const Attrs *a);
void attr_print(const AttrField *f, const Attrs *a, Buf *out);
Status attr_parse(Lexer *l, const AttrField *f, Attrs *a);
/* Copies lists into the arena, so that the copy shares nothing with the original. */
void attrs_copy(Arena *a, const OpInfo *info, Attrs *to, const Attrs *from);

/* Infers the result types (up to MAX_RESULTS) of an op with valid operands, and checks them. */
Status graph_infer(Graph *g, const Op *op, Type *out, uint32_t *nout, Diag *d, const char *where);

/* A name for every value (by id), unique in the module's text, without %; in arena `a`. */
const char **graph_value_names(const Graph *g, Arena *a);

/* Shapes and types of the text form (ir/type_parse.c). */
Status parse_dim(Lexer *l, Dims *d, DimId *out);
Status parse_type(Lexer *l, Dims *d, Type *out);

/* A parse under way. `names` holds the module's constants and states, see parse_graph. */
typedef struct GraphParser {
  Lexer l;
  Module *m;
  NameMap names; /* constant i: 2 * i + 1, state i: 2 * i + 2 */
} GraphParser;
/* From behind the word `graph` to its closing brace. */
Status parse_graph(GraphParser *p);

#endif
