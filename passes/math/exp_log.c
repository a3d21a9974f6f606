/* exp and log: reduction by powers of two, then a minimax polynomial.
 *
 * exp: x = n ln 2 + r, |r| <= ln(2)/2; 2^n in two exact factors, so that subnormal results round
 * once and overflow gives infinity. log: x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); subnormals
 * are scaled by 2^23 first. ln 2 comes in two parts, the first short enough for n ln2[0] to be
 * exact.
 */
#include "passes/math/coefficients.h"
#include "passes/math/math.h"

#include <math.h>

KVal math_f32(KBuilder *b, KVal like, double v) {
  return k_f32(b, k_type(b->kernel, like).lanes, v);
}

KVal math_i32(KBuilder *b, KVal like, int64_t v) {
  return k_int(b, (KType){K_i32, k_type(b->kernel, like).lanes}, v);
}

KVal math_poly(KBuilder *b, KVal t, const float *c, int n) {
  KVal sum = math_f32(b, t, (double)c[n - 1]);
  for (int i = n - 2; i >= 0; i--) sum = k_fma(b, sum, t, math_f32(b, t, (double)c[i]));
  return sum;
}

KVal math_keep_nan(KBuilder *b, KVal x, KVal y) {
  return k_select(b, k_op2(b, KOP_ne, x, x), x, y);
}

/* 2^n for an i32 n in -126..127. */
static KVal power_of_two(KBuilder *b, KVal n) {
  KVal biased = k_op2(b, KOP_add, n, math_i32(b, n, 127));
  return k_bits(b, k_op2(b, KOP_shl, biased, math_i32(b, n, 23)), K_f32);
}

KVal math_exp_core(KBuilder *b, KVal x) {
  KVal n = k_op1(b, KOP_rint, k_op2(b, KOP_mul, x, math_f32(b, x, M_LOG2E)));
  KVal r = k_fma(b, n, math_f32(b, x, -(double)ln2[0]), x);
  r = k_fma(b, n, math_f32(b, x, -(double)ln2[1]), r);
  KVal tail = math_poly(b, r, exp_tail, COUNT(exp_tail));
  KVal r2 = k_op2(b, KOP_mul, r, r);
  KVal p = k_op2(b, KOP_add, k_fma(b, tail, r2, r), math_f32(b, x, 1));
  KVal power = k_cvt(b, n, K_i32);
  KVal half = k_op2(b, KOP_ashr, power, math_i32(b, x, 1));
  p = k_op2(b, KOP_mul, p, power_of_two(b, half));
  return k_op2(b, KOP_mul, p, power_of_two(b, k_op2(b, KOP_sub, power, half)));
}

KVal math_exp(KBuilder *b, KVal x) {
  KVal in_range = k_op2(b, KOP_max, x, math_f32(b, x, -104));
  in_range = k_op2(b, KOP_min, in_range, math_f32(b, x, 89));
  return math_keep_nan(b, x, math_exp_core(b, in_range));
}

/* x + 1.5 * 2^23 holds rint(x) in its low bits. */
static KVal exp2_by(KBuilder *b, KVal x, const float *c, int n) {
  KVal magic = math_f32(b, x, 0x1.8p23);
  KVal t = k_op2(b, KOP_add, x, magic);
  KVal r = k_op2(b, KOP_sub, x, k_op2(b, KOP_sub, t, magic));
  KVal p = math_poly(b, r, c, n);
  KVal power = k_op2(b, KOP_shl, k_bits(b, t, K_i32), math_i32(b, x, 23));
  return k_bits(b, k_op2(b, KOP_add, k_bits(b, p, K_i32), power), K_f32);
}

/* At -127 the polynomial is exactly 1 and its exponent becomes 0, all other bits being 0. */
static KVal bounded(KBuilder *b, KVal x) {
  return k_op2(b, KOP_max, math_f32(b, x, -127), x);
}

KVal math_exp2_decay(KBuilder *b, KVal x) {
  return exp2_by(b, bounded(b, x), exp2_whole, COUNT(exp2_whole));
}

KVal math_exp2_decay_short(KBuilder *b, KVal x) {
  return exp2_by(b, bounded(b, x), exp2_short, COUNT(exp2_short));
}

KVal math_exp2_near(KBuilder *b, KVal x) {
  return exp2_by(b, x, exp2_near, COUNT(exp2_near));
}

KVal math_log(KBuilder *b, KVal x) {
  KVal zero = math_f32(b, x, 0);
  KVal small = k_op2(b, KOP_lt, x, math_f32(b, x, 0x1p-126));
  KVal scaled = k_select(b, small, k_op2(b, KOP_mul, x, math_f32(b, x, 0x1p23)), x);
  KVal from = k_select(b, small, math_i32(b, x, 23), math_i32(b, x, 0));
  KVal bits = k_bits(b, scaled, K_i32);
  /* e = how often 2 divides x beyond sqrt(1/2), whose bits are 0x3f3504f3 */
  KVal above = k_op2(b, KOP_sub, bits, math_i32(b, x, 0x3f3504f3));
  KVal e = k_op2(b, KOP_ashr, above, math_i32(b, x, 23));
  KVal mantissa = k_op2(b, KOP_sub, bits, k_op2(b, KOP_shl, e, math_i32(b, x, 23)));
  KVal f = k_op2(b, KOP_sub, k_bits(b, mantissa, K_f32), math_f32(b, x, 1));
  KVal n = k_cvt(b, k_op2(b, KOP_sub, e, from), K_f32);

  KVal f2 = k_op2(b, KOP_mul, f, f);
  KVal tail = k_op2(b, KOP_mul, math_poly(b, f, log_tail, COUNT(log_tail)), f);
  tail = k_op2(b, KOP_mul, k_op2(b, KOP_sub, tail, math_f32(b, x, 0.5)), f2);
  tail = k_fma(b, n, math_f32(b, x, (double)ln2[1]), tail);
  KVal y = k_fma(b, n, math_f32(b, x, (double)ln2[0]), k_op2(b, KOP_add, f, tail));

  KVal inf = math_f32(b, x, INFINITY);
  KVal positive = k_op2(b, KOP_gt, x, zero), finite = k_op2(b, KOP_lt, x, inf);
  KVal edge =
      k_select(b, k_op2(b, KOP_eq, x, zero), math_f32(b, x, -INFINITY), math_f32(b, x, NAN));
  edge = k_select(b, k_op2(b, KOP_eq, x, inf), inf, edge);
  return k_select(b, k_op2(b, KOP_and, positive, finite), y, edge);
}
