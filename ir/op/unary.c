/* Element-wise functions of one operand.
 *
 * The definition of each is one formula on a double x, rounded once to f32; the expression is what
 * kernels compute, in f32 steps.
 */
#include "ir/op/common.h"

#include <math.h>

#define UNARY(name, formula) FORMULA(name, formula) VERIFY_NONE(name)

/* A function that is one operation of Kernel IR. */
#define UNARY_KOP(name, formula)                                                                   \
  UNARY(name, formula)                                                                             \
  EXPR(name) {                                                                                     \
    (void)op;                                                                                      \
    return k_op1(b, KOP_##name, args[0]);                                                          \
  }

UNARY_KOP(neg, -x)
UNARY_KOP(abs, fabs(x))
UNARY_KOP(exp, exp(x))
UNARY_KOP(log, log(x))
UNARY_KOP(sqrt, sqrt(x))
UNARY_KOP(sin, sin(x))
UNARY_KOP(cos, cos(x))
UNARY_KOP(erf, erf(x))
UNARY_KOP(tanh, tanh(x))

UNARY(square, x *x)
EXPR(square) {
  (void)op;
  return k_op2(b, KOP_mul, args[0], args[0]);
}

UNARY(reciprocal, 1 / x)
EXPR(reciprocal) {
  (void)op;
  return k_op2(b, KOP_div, like(b, args[0], 1), args[0]);
}

UNARY(sigmoid, 1 / (1 + exp(-x)))
EXPR(sigmoid) {
  (void)op;
  return expr_of_sigmoid(b, args[0]);
}
