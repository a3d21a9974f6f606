/* The activation functions that Transformers names (ACT2FN), and their usual relatives.
 *
 * Definitions follow Transformers' activations.py and PyTorch. Expressions take care of two things:
 * no inf * 0 and no inf / inf for finite x, and no cancellation near 0 (softplus, mish, elu):
 * each says how.
 */
#include "ir/op/common.h"

#include <math.h>

static const double SQRT_HALF = 0.70710678118654752440;
static const double GELU_SCALE = 0.79788456080286535588; /* sqrt(2 / pi) */
static const double GELU_CUBIC = 0.044715;
static const double QUICK_SCALE = 1.702;
static const double LAPLACE_MU = 0.707107, LAPLACE_SIGMA = 0.282095;
static const double MISH_LINEAR = 20; /* beyond it tanh(softplus(x)) is 1 in f32 */

static KVal add(KBuilder *b, KVal x, KVal y) {
  return k_op2(b, KOP_add, x, y);
}
static KVal mul(KBuilder *b, KVal x, KVal y) {
  return k_op2(b, KOP_mul, x, y);
}
static KVal divide(KBuilder *b, KVal x, KVal y) {
  return k_op2(b, KOP_div, x, y);
}

FORMULA(relu, x > 0 ? x : 0)
VERIFY_NONE(relu)
EXPR(relu) {
  (void)op;
  return k_op2(b, KOP_max, args[0], like(b, args[0], 0));
}

FORMULA(relu2, x > 0 ? x * x : 0)
VERIFY_NONE(relu2)
EXPR(relu2) {
  (void)op;
  KVal r = k_op2(b, KOP_max, args[0], like(b, args[0], 0));
  return mul(b, r, r);
}

FORMULA(leaky_relu, x > 0 ? x : (float)op->attrs.alpha.alpha * x)
VERIFY(leaky_relu) {
  (void)g;
  if (!isfinite(op->attrs.alpha.alpha)) return op_error(d, where, op, "alpha is not finite");
  return OK;
}
EXPR(leaky_relu) {
  KVal x = args[0], low = mul(b, x, like(b, x, op->attrs.alpha.alpha));
  return k_select(b, k_op2(b, KOP_gt, x, like(b, x, 0)), x, low);
}

FORMULA(clip, fmin(fmax(x, (float)op->attrs.clip.lo), (float)op->attrs.clip.hi))
VERIFY(clip) {
  (void)g;
  if (!(op->attrs.clip.lo <= op->attrs.clip.hi))
    return op_error(d, where, op, "lo %g is above hi %g", op->attrs.clip.lo, op->attrs.clip.hi);
  return OK;
}
EXPR(clip) {
  KVal x = args[0];
  x = k_op2(b, KOP_max, x, like(b, x, op->attrs.clip.lo));
  return k_op2(b, KOP_min, x, like(b, x, op->attrs.clip.hi));
}

/* x / (1 + exp(-x)): exp overflows to inf for x below -88 and the quotient is then 0. */
FORMULA(silu, x / (1 + exp(-x)))
VERIFY_NONE(silu)
EXPR(silu) {
  (void)op;
  KVal x = args[0];
  KVal e = k_op1(b, KOP_exp, k_op1(b, KOP_neg, x));
  return divide(b, x, add(b, like(b, x, 1), e));
}

FORMULA(gelu, 0.5 * x * (1 + erf(x * SQRT_HALF)))
VERIFY_NONE(gelu)
EXPR(gelu) {
  (void)op;
  return k_op1(b, KOP_gelu, args[0]);
}

FORMULA(gelu_tanh, 0.5 * x * (1 + tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x))))
VERIFY_NONE(gelu_tanh)
EXPR(gelu_tanh) {
  (void)op;
  /* scale * x * (1 + cubic * x^2); the clamp keeps x^2 finite and changes nothing, since tanh
   * is +-1 long before. */
  KVal x = args[0], bound = like(b, x, 30);
  KVal in = k_op2(b, KOP_min, k_op2(b, KOP_max, x, k_op1(b, KOP_neg, bound)), bound);
  KVal poly = k_fma(b, mul(b, in, in), like(b, x, GELU_CUBIC), like(b, x, 1));
  KVal t = k_op1(b, KOP_tanh, mul(b, mul(b, in, like(b, x, GELU_SCALE)), poly));
  KVal half = mul(b, x, like(b, x, 0.5));
  return k_fma(b, half, t, half);
}

FORMULA(gelu_quick, x / (1 + exp(-QUICK_SCALE * x)))
VERIFY_NONE(gelu_quick)
EXPR(gelu_quick) {
  (void)op;
  KVal x = args[0];
  KVal e = k_op1(b, KOP_exp, mul(b, x, like(b, x, -QUICK_SCALE)));
  return divide(b, x, add(b, like(b, x, 1), e));
}

/* log(1 + e) for 0 <= e <= 1 without losing small e (Kahan): with u = 1 + e rounded, the error of
 * the rounding is taken back by the factor e / (u - 1). */
static KVal log1p_of(KBuilder *b, KVal e) {
  KVal one = like(b, e, 1), zero = like(b, e, 0);
  KVal u = add(b, one, e), rounded = k_op2(b, KOP_sub, u, one);
  KVal lost = k_op2(b, KOP_eq, rounded, zero);
  KVal ratio = divide(b, e, k_select(b, lost, one, rounded));
  return k_select(b, lost, e, mul(b, k_op1(b, KOP_log, u), ratio));
}

FORMULA(softplus, fmax(x, 0) + log1p(exp(-fabs(x))))
VERIFY_NONE(softplus)
EXPR(softplus) {
  (void)op;
  KVal x = args[0];
  KVal e = k_op1(b, KOP_exp, k_op1(b, KOP_neg, k_op1(b, KOP_abs, x)));
  return add(b, k_op2(b, KOP_max, x, like(b, x, 0)), log1p_of(b, e));
}

/* tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2) with e = exp(x): no logarithm, no cancellation. */
FORMULA(mish, x *tanh(fmax(x, 0) + log1p(exp(-fabs(x)))))
VERIFY_NONE(mish)
EXPR(mish) {
  (void)op;
  KVal x = args[0], two = like(b, x, 2);
  KVal e = k_op1(b, KOP_exp, k_op2(b, KOP_min, x, like(b, x, MISH_LINEAR)));
  KVal n = mul(b, e, add(b, e, two));
  return mul(b, x, divide(b, n, add(b, n, two)));
}

/* exp(x) - 1 = 2t / (1 - t) with t = tanh(x / 2), which keeps small x. */
FORMULA(elu, x > 0 ? x : (float)op->attrs.alpha.alpha * expm1(x))
VERIFY(elu) {
  (void)g;
  if (!isfinite(op->attrs.alpha.alpha)) return op_error(d, where, op, "alpha is not finite");
  return OK;
}
EXPR(elu) {
  KVal x = args[0], zero = like(b, x, 0);
  KVal t = k_op1(b, KOP_tanh, mul(b, k_op2(b, KOP_min, x, zero), like(b, x, 0.5)));
  KVal em1 = divide(b, add(b, t, t), k_op2(b, KOP_sub, like(b, x, 1), t));
  KVal low = mul(b, em1, like(b, x, op->attrs.alpha.alpha));
  return k_select(b, k_op2(b, KOP_gt, x, zero), x, low);
}

FORMULA(laplace, 0.5 * (1 + erf((x - LAPLACE_MU) / (LAPLACE_SIGMA * sqrt(2)))))
VERIFY_NONE(laplace)
EXPR(laplace) {
  (void)op;
  KVal x = args[0], half = like(b, x, 0.5);
  KVal in = k_op2(b, KOP_sub, x, like(b, x, LAPLACE_MU));
  KVal e = k_op1(b, KOP_erf, mul(b, in, like(b, x, SQRT_HALF / LAPLACE_SIGMA)));
  return k_fma(b, half, e, half);
}

FORMULA(hardswish, x *fmin(fmax(x + 3, 0), 6) / 6)
VERIFY_NONE(hardswish)
EXPR(hardswish) {
  (void)op;
  KVal x = args[0], six = like(b, x, 6);
  KVal gate = k_op2(b, KOP_max, add(b, x, like(b, x, 3)), like(b, x, 0));
  return mul(b, x, divide(b, k_op2(b, KOP_min, gate, six), six));
}
