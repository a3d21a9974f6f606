/* sin and cos: x = k pi/2 + r with |r| <= pi/4, then the quadrant k mod 4 chooses.
 *
 * pi/2 comes in three floats and each step of the reduction is one fma: the first is exact, since
 * k half_pi[0] cancels all but 24 bits of x, the others round to r's own precision (Cody and Waite,
 * with fma). From 2^23 on, where k no longer is exact, the result is NaN.
 */
#include "passes/math/coefficients.h"
#include "passes/math/math.h"

#include <math.h>

/* sin(x + shift pi/2) */
static KVal sine(KBuilder *b, KVal x, int shift) {
  KVal k = k_op1(b, KOP_rint, k_op2(b, KOP_mul, x, math_f32(b, x, M_2_PI)));
  KVal r = x;
  for (size_t i = 0; i < COUNT(half_pi); i++)
    r = k_fma(b, k, math_f32(b, x, -(double)half_pi[i]), r);

  KVal r2 = k_op2(b, KOP_mul, r, r);
  KVal s = k_op2(b, KOP_mul, math_poly(b, r2, sin_tail, COUNT(sin_tail)), r2);
  s = k_fma(b, s, r, r);
  KVal c = k_op2(b, KOP_mul, math_poly(b, r2, cos_tail, COUNT(cos_tail)), r2);
  c = k_fma(b, k_op2(b, KOP_sub, c, math_f32(b, x, 0.5)), r2, math_f32(b, x, 1));

  KVal in_range = k_op2(b, KOP_lt, k_op1(b, KOP_abs, x), math_f32(b, x, 0x1p23));
  KVal safe = k_select(b, in_range, k, math_f32(b, x, 0));
  KVal quadrant = k_op2(b, KOP_add, k_cvt(b, safe, K_i32), math_i32(b, x, shift));
  KVal zero = math_i32(b, x, 0);
  KVal odd = k_op2(b, KOP_ne, k_op2(b, KOP_and, quadrant, math_i32(b, x, 1)), zero);
  KVal minus = k_op2(b, KOP_ne, k_op2(b, KOP_and, quadrant, math_i32(b, x, 2)), zero);
  KVal y = k_select(b, odd, c, s);
  y = k_select(b, minus, k_op1(b, KOP_neg, y), y);
  return k_select(b, in_range, y, math_f32(b, x, NAN));
}

KVal math_sin(KBuilder *b, KVal x) {
  return sine(b, x, 0);
}

KVal math_cos(KBuilder *b, KVal x) {
  return sine(b, x, 1);
}
