/* tanh and erf: odd functions, one form near 0 and one further out, chosen by select; and cdf, the
 * normal distribution's function, which needs no relative precision and so gets by with one form.
 *
 * tanh: x + x^3 T(x^2) below 0.625, else 1 - 2 / (exp(2|x|) + 1). erf: x + x E(x^2) below 0.8, else
 * 1 - 2^G(|x|) where G is the binary logarithm of 1 - erf; beyond 4 it is 1 in f32. cdf: 2^H(|x|)
 * below 0, else 1 less that; H goes on falling where its polynomial isn't fitted any more.
 */
#include "passes/math/coefficients.h"
#include "passes/math/math.h"

KVal math_copysign(KBuilder *b, KVal x, KVal sign) {
  KVal magnitude = k_op2(b, KOP_and, k_bits(b, x, K_i32), math_i32(b, x, 0x7fffffff));
  KVal bit = k_op2(b, KOP_and, k_bits(b, sign, K_i32), math_i32(b, x, INT32_MIN));
  return k_bits(b, k_op2(b, KOP_or, magnitude, bit), K_f32);
}

/* near where |x| < border, else far, with the sign of x (of -0 too); NaN stays. */
static KVal choose(KBuilder *b, KVal x, KVal a, double border, KVal near, KVal far) {
  KVal is_near = k_op2(b, KOP_lt, a, math_f32(b, x, border));
  return math_keep_nan(b, x, math_copysign(b, k_select(b, is_near, near, far), x));
}

KVal math_tanh(KBuilder *b, KVal x) {
  KVal one = math_f32(b, x, 1), a = k_op1(b, KOP_abs, x), x2 = k_op2(b, KOP_mul, x, x);
  KVal tail = k_op2(b, KOP_mul, math_poly(b, x2, tanh_tail, COUNT(tanh_tail)), x2);
  KVal near = k_fma(b, tail, x, x);
  /* at 10 the result is 1 already; min also stops NaN on its way into exp */
  KVal bounded = k_op2(b, KOP_min, a, math_f32(b, x, 10));
  KVal e = math_exp_core(b, k_op2(b, KOP_add, bounded, bounded));
  KVal ratio = k_op2(b, KOP_div, math_f32(b, x, 2), k_op2(b, KOP_add, e, one));
  return choose(b, x, a, 0.625, near, k_op2(b, KOP_sub, one, ratio));
}

KVal math_erf(KBuilder *b, KVal x) {
  KVal one = math_f32(b, x, 1), a = k_op1(b, KOP_abs, x), x2 = k_op2(b, KOP_mul, x, x);
  KVal near = k_fma(b, math_poly(b, x2, erf_near, COUNT(erf_near)), x, x);
  KVal bounded = k_op2(b, KOP_min, a, math_f32(b, x, 4));
  KVal g = math_poly(b, bounded, erf_far, COUNT(erf_far));
  KVal far = k_op2(b, KOP_sub, one, math_exp2_decay(b, g));
  return choose(b, x, a, 0.8, near, far);
}

/* Nine coefficients by fours: half as long a chain as Horner's rule for two products more. An
 * epilogue's vectors come one after the other, so that a processor waits for chains. */
static KVal poly_by_fours(KBuilder *b, KVal t, const float *c) {
  KVal t2 = k_op2(b, KOP_mul, t, t), t4 = k_op2(b, KOP_mul, t2, t2);
  KVal sum = math_f32(b, t, (double)c[8]);
  for (int i = 4; i >= 0; i -= 4) {
    KVal low = math_poly(b, t, c + i, 2), high = math_poly(b, t, c + i + 2, 2);
    sum = k_fma(b, sum, t4, k_fma(b, high, t2, low));
  }
  return sum;
}

KVal math_cdf(KBuilder *b, KVal x) {
  KVal bounded = k_op2(b, KOP_min, k_op1(b, KOP_abs, x), math_f32(b, x, 16)); /* 2^H is 0 there */
  KVal far = poly_by_fours(b, bounded, cdf_tail);
  KVal below = math_exp2_decay(b, far), above = k_op2(b, KOP_sub, math_f32(b, x, 1), below);
  KVal negative = k_op2(b, KOP_lt, x, math_f32(b, x, 0));
  return math_keep_nan(b, x, k_select(b, negative, below, above));
}
