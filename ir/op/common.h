/* Shared by the operators: signatures, type checks with one wording, and access in reference code.
 *
 * Every operator file defines, by the macros below, infer_ verify_ ref_ and (element-wise) expr_
 * of its rows. Inference says what the types of the results are and refuses ill-typed operands;
 * verify checks the attributes' values; ref is the definition.
 */
#ifndef INGOT_IR_OP_COMMON_H
#define INGOT_IR_OP_COMMON_H

#include "ir/eval.h"
#include "ir/kernel.h"
#include "ir/op.h"

#define INFER(name)                                                                                \
  Status infer_##name(Graph *g, const Op *op, Type *out, uint32_t *nout, Diag *d, const char *where)
#define VERIFY(name) Status verify_##name(const Graph *g, const Op *op, Diag *d, const char *where)
#define REF(name) Status ref_##name(RefCtx *c, const Op *op)
#define EXPR(name) uint32_t expr_##name(KBuilder *b, const Op *op, const uint32_t *args)
/* An operator whose attributes need no check. */
#define VERIFY_NONE(name)                                                                          \
  VERIFY(name) {                                                                                   \
    (void)g, (void)op, (void)d, (void)where;                                                       \
    return OK;                                                                                     \
  }

/* infer_ and ref_ of an element-wise function: the formula on a double x, rounded once to f32. */
#define FORMULA(name, formula)                                                                     \
  INFER(name) {                                                                                    \
    TRY(need_float(g, op, 0, 0, d, where));                                                        \
    same_type(g, op, out, nout);                                                                   \
    return OK;                                                                                     \
  }                                                                                                \
  REF(name) {                                                                                      \
    const RefTensor *in = ref_value(c, op->in[0]);                                                 \
    RefTensor *out = ref_result(c, op->out[0]);                                                    \
    for (int64_t i = 0; i < out->elements; i++) {                                                  \
      double x = in->f[i];                                                                         \
      out->f[i] = (float)(formula);                                                                \
    }                                                                                              \
    return OK;                                                                                     \
  }

/* An error in the words "NAME: text". */
Status op_error(Diag *d, const char *where, const Op *op, const char *fmt, ...) PRINTF_LIKE(4, 5);

static inline const Type *operand_type(const Graph *g, const Op *op, uint32_t i) {
  return &g->values[op->in[i]].type;
}
/* Operand i is a float tensor of at least `rank` dimensions, not in an activation format, and no
 * state. */
Status need_float(const Graph *g, const Op *op, uint32_t i, int rank, Diag *d, const char *where);
/* The same for any element type. */
Status need_tensor(const Graph *g, const Op *op, uint32_t i, int rank, Diag *d, const char *where);
/* Operand i is an integer tensor (i32 or i64). */
Status need_index(const Graph *g, const Op *op, uint32_t i, int rank, Diag *d, const char *where);
/* Operand i is a float vector of `dim` elements. */
Status need_vector(const Graph *g, const Op *op, uint32_t i, DimId dim, Diag *d, const char *where);
/* Writes the one result: operand 0's shape in plain storage. */
void same_type(const Graph *g, const Op *op, Type *out, uint32_t *nout);
/* Axis in -rank..rank-1 as 0..rank-1; -1 when outside. */
int axis_of(int64_t axis, int rank);
/* The shape that two shapes (the first `na`, `nb` dimensions) broadcast to as in numpy; false when
 * they do not. `out` may hold MAX_RANK. */
bool broadcast_dims(const Dims *dims, const DimId *a, int na, const DimId *b, int nb, DimId *out);
/* The state that a value stands for, through the ops that update it; NULL when it is no state. */
const StateDef *value_state(const Graph *g, ValueId v, uint32_t *index);

/* ---- reference ---- */

/* Elements of all dimensions before axis `axis`, and after it. */
int64_t ref_outer(const RefTensor *t, int axis);
int64_t ref_inner(const RefTensor *t, int axis);
/* to[ti .. ti+n) = from[fi .. fi+n), whatever the elements are. */
void ref_copy(RefTensor *to, int64_t ti, const RefTensor *from, int64_t fi, int64_t n);
/* An integer as it is in a narrower type (bool: 0 or 1), a float as it is in f16 or bf16. */
int64_t wrap_integer(int64_t v, DType t);
float round_float(float x, DType t);
/* Index of the first of the largest values that are no NaN; 0 when all are NaN or minus infinity.
 */
int64_t first_largest(const float *x, int64_t n);
/* A row as an activation format gives it back: y = scale * rint(x / scale) (doc/ir.md, section 1).
 */
void act_round(const float *x, float *y, int64_t n, ActFormat format);

/* ---- expressions ---- */

/* A literal with the lanes of x. */
static inline KVal like(KBuilder *b, KVal x, double v) {
  return k_f32(b, k_type(b->kernel, x).lanes, v);
}
/* 1 / (1 + exp(-x)), the middle of several activations. */
KVal expr_of_sigmoid(KBuilder *b, KVal x);

#endif
