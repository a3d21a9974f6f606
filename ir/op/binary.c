/* Element-wise functions of two operands, with numpy's broadcasting.
 *
 * Both operands have one element type. Integers are computed in 64 bits and wrap to their type, as
 * kernels do; `div` is for floats only.
 */
#include "ir/op/common.h"

#include <math.h>
#include <string.h>

static Status infer_binary(const Graph *g, const Op *op, Type *out, uint32_t *nout, Diag *d,
                           const char *where) {
  TRY(need_tensor(g, op, 0, 0, d, where));
  TRY(need_tensor(g, op, 1, 0, d, where));
  const Type *x = operand_type(g, op, 0), *y = operand_type(g, op, 1);
  if (x->dtype != y->dtype || x->dtype == DT_bool)
    return op_error(d, where, op, "cannot combine %s and %s", dtype_name(x->dtype),
                    dtype_name(y->dtype));
  Type t = {.dtype = x->dtype, .rank = x->rank > y->rank ? x->rank : y->rank};
  if (!broadcast_dims(g->module->dims, x->dim, x->rank, y->dim, y->rank, t.dim)) {
    Buf a = {0}, b = {0};
    type_print(g->module->dims, x, &a);
    type_print(g->module->dims, y, &b);
    Status s = op_error(d, where, op, "%s and %s do not broadcast", a.data, b.data);
    buf_free(&a);
    buf_free(&b);
    return s;
  }
  out[0] = t;
  *nout = 1;
  return OK;
}

/* Position in an operand of element `at` of the result: a dimension of 1 stays at 0. */
static int64_t broadcast_at(const RefTensor *out, const RefTensor *in, int64_t at) {
  int64_t pos = 0, stride = 1;
  for (int i = 1; i <= out->rank; i++) {
    int64_t here = at % out->dim[out->rank - i];
    at /= out->dim[out->rank - i];
    if (i <= in->rank) {
      int64_t n = in->dim[in->rank - i];
      pos += (n == 1 ? 0 : here) * stride;
      stride *= n;
    }
  }
  return pos;
}

#define BINARY_REF(name, float_formula, int_formula)                                               \
  REF(name) {                                                                                      \
    const RefTensor *in0 = ref_value(c, op->in[0]), *in1 = ref_value(c, op->in[1]);                \
    RefTensor *out = ref_result(c, op->out[0]);                                                    \
    for (int64_t i = 0; i < out->elements; i++) {                                                  \
      int64_t at0 = broadcast_at(out, in0, i), at1 = broadcast_at(out, in1, i);                    \
      if (out->f) {                                                                                \
        float x = in0->f[at0], y = in1->f[at1];                                                    \
        out->f[i] = (float_formula);                                                               \
      } else {                                                                                     \
        uint64_t x = (uint64_t)in0->i[at0], y = (uint64_t)in1->i[at1];                             \
        out->i[i] = wrap_integer((int64_t)(int_formula), out->dtype);                              \
      }                                                                                            \
    }                                                                                              \
    return OK;                                                                                     \
  }

#define BINARY(name, float_formula, int_formula)                                                   \
  INFER(name) {                                                                                    \
    return infer_binary(g, op, out, nout, d, where);                                               \
  }                                                                                                \
  VERIFY_NONE(name)                                                                                \
  BINARY_REF(name, float_formula, int_formula)                                                     \
  EXPR(name) {                                                                                     \
    (void)op;                                                                                      \
    return k_op2(b, KOP_##name, args[0], args[1]);                                                 \
  }

BINARY(add, x + y, x + y)
BINARY(sub, x - y, x - y)
BINARY(mul, x *y, x *y)
BINARY(min, x < y ? x : y, (int64_t)x < (int64_t)y ? x : y)
BINARY(max, x > y ? x : y, (int64_t)x > (int64_t)y ? x : y)

INFER(div) {
  TRY(need_float(g, op, 0, 0, d, where));
  return infer_binary(g, op, out, nout, d, where);
}
VERIFY_NONE(div)
BINARY_REF(div, x / y, y ? x / y : 0) /* inference lets no integers in */
EXPR(div) {
  (void)op;
  return k_op2(b, KOP_div, args[0], args[1]);
}
