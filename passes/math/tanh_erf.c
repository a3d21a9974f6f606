/* tanh and erf: odd functions, one form near 0 and one further out, chosen by select; and gelu,
 * whose one form serves everywhere.
 *
 * tanh: x + x^3 T(x^2) below 0.625, else 1 - 2 / (exp(2|x|) + 1). erf: x + x E(x^2) below 0.8, else
 * 1 - 2^G(|x|) where G is the binary logarithm of 1 - erf; beyond 4 it is 1 in f32. gelu: max(x, 0)
 * - |x| 2^H(|x|), where 2^H is the normal distribution's function below 0; at 10, where |x| is cut,
 * it is 2^-111.
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

/* Nine coefficients by pairs: half as long a chain as Horner's rule for one product more. */
static KVal poly_by_pairs(KBuilder *b, KVal t, const float *c) {
  KVal t2 = k_op2(b, KOP_mul, t, t), sum = math_f32(b, t, (double)c[8]);
  for (int i = 6; i >= 0; i -= 2) sum = k_fma(b, sum, t2, math_poly(b, t, c + i, 2));
  return sum;
}

/* max(x, 0) of a NaN is NaN, in this order of operands. */
KVal math_gelu(KBuilder *b, KVal x) {
  KVal a = k_op2(b, KOP_min, k_op1(b, KOP_abs, x), math_f32(b, x, 10));
  KVal below = math_exp2_near(b, poly_by_pairs(b, a, gelu_tail));
  return k_fma(b, k_op1(b, KOP_neg, a), below, k_op2(b, KOP_max, math_f32(b, x, 0), x));
}
