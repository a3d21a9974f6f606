/* passes/expand_math against the C library in double, over dense grids and edge values.
 *
 * A kernel applies one operation to a buffer in 16-lane and in scalar form; it is expanded,
 * verified and evaluated. Errors are counted in units of the last place of the exact result (those
 * of subnormal results in units of the smallest subnormal).
 */
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ir/kernel_impl.h"
#include "passes/math/math.h"
#include "passes/passes.h"

/* x[0..n) -> y by 16 lanes a turn, -> z one by one. */
static Kernel *make(Arena *a, KOpCode op) {
  Kernel *k = kernel_new(a, kop_name(op), KC_map);
  KBuilder b = kbuilder(k);
  KVal x = k_buffer(&b, "x", K_f32), y = k_buffer(&b, "y", K_f32), z = k_buffer(&b, "z", K_f32);
  KVal g = k_par(&b, "g", k_scalar(&b, "N"));
  k_store(&b, k_op1(&b, op, k_load(&b, KT(f32, 16), k_at(k_addr(x), g, 16))),
          k_at(k_addr(y), g, 16));
  KVal i = k_for(&b, "i", k_i64(&b, 0), k_i64(&b, 16), 1, 0, NULL);
  KAddr at = k_at(k_at(k_addr(x), g, 16), i, 1);
  KVal v = k_load(&b, KT(f32, 1), at);
  at.base = z;
  k_store(&b, k_op1(&b, op, v), at);
  k_for_end(&b, NULL);
  k_par_end(&b);
  return k;
}

static bool has_transcendental(const KRegion *r) {
  for (uint32_t i = 0; i < r->n; i++) {
    if (kop_kind(r->inst[i]->op) == 'T') return true;
    if (r->inst[i]->loop && has_transcendental(&r->inst[i]->loop->body)) return true;
  }
  return false;
}

enum { POINTS = 16 * 4096 };

/* y = op(x) for POINTS values, checked to be the same by lanes and one by one. */
static void apply(KOpCode op, const float *x, float *y) {
  Arena *a = arena_new();
  Diag *d = diag_new();
  Kernel *k = make(a, op);
  expand_math(k);
  assert_false(has_transcendental(&k->body));
  if (kernel_verify(k, d) != OK) fail_msg("%s", diag_text(d));
  float *z = mem_alloc(POINTS * sizeof *z);
  KBuffer buffers[3] = {
      {(void *)(uintptr_t)x, POINTS * sizeof *x}, {y, POINTS * sizeof *y}, {z, POINTS * sizeof *z}};
  int64_t n = POINTS / 16;
  if (kernel_eval(k, buffers, &n, 0, -1, d) != OK) fail_msg("%s", diag_text(d));
  for (int i = 0; i < POINTS; i++)
    if (memcmp(&y[i], &z[i], 4) && !(isnan(y[i]) && isnan(z[i])))
      fail_msg("%s(%.9g): %.9g in lanes, %.9g alone", kop_name(op), (double)x[i], (double)y[i],
               (double)z[i]);
  mem_free(z);
  diag_free(d);
  arena_free(a);
}

static double ulp_of(double exact) {
  double magnitude = fabs(exact);
  if (magnitude < 0x1p-126) return 0x1p-149;
  return ldexp(1, ilogb(magnitude) - 23);
}

typedef double Reference(double x);

/* Every point of lo..hi (evenly spaced) within `bound` of `reference`, in ulps, or absolutely when
 * `absolute`. */
static void check(KOpCode op, Reference *reference, double lo, double hi, double bound,
                  bool absolute) {
  float *x = mem_alloc(POINTS * sizeof *x), *y = mem_alloc(POINTS * sizeof *y);
  double worst = 0;
  float worst_x = 0;
  for (int i = 0; i < POINTS; i++) x[i] = (float)(lo + (hi - lo) * i / (POINTS - 1));
  apply(op, x, y);
  for (int i = 0; i < POINTS; i++) {
    double exact = reference((double)x[i]);
    double error = fabs((double)y[i] - exact);
    if (isinf((double)(float)exact)) error = (double)y[i] == (double)(float)exact ? 0 : INFINITY;
    if (!absolute && error) error /= ulp_of(exact);
    if (error > worst || isnan(error)) {
      worst = error;
      worst_x = x[i];
    }
    if (isnan(error)) break;
  }
  printf("%-5s %12g .. %-12g worst %.3g at %.9g\n", kop_name(op), lo, hi, worst, (double)worst_x);
  if (!(worst <= bound))
    fail_msg("%s(%.9g) is off by %g (bound %g)", kop_name(op), (double)worst_x, worst, bound);
  mem_free(x);
  mem_free(y);
}

static void test_exp(void **state) {
  (void)state;
  check(KOP_exp, exp, -0.35, 0.35, 1, false);
  check(KOP_exp, exp, -1e-6, 1e-6, 1, false);
  check(KOP_exp, exp, -20, 20, 1, false);
  check(KOP_exp, exp, -87.3, 88.72, 1, false);
  check(KOP_exp, exp, -110, -87.3, 1, false); /* subnormals down to 0 */
  check(KOP_exp, exp, 88.72, 1000, 1, false); /* into infinity */
}

/* y = f(x) of what is no operation of its own: math_exp2_decay or its short form. */
static void decay(KVal (*f)(KBuilder *, KVal), const float *x, float *y) {
  Arena *a = arena_new();
  Diag *d = diag_new();
  Kernel *k = kernel_new(a, "f", KC_map);
  KBuilder b = kbuilder(k);
  KVal in = k_buffer(&b, "x", K_f32), out = k_buffer(&b, "y", K_f32);
  KVal g = k_par(&b, "g", k_i64(&b, POINTS / 16));
  k_store(&b, f(&b, k_load(&b, KT(f32, 16), k_at(k_addr(in), g, 16))), k_at(k_addr(out), g, 16));
  k_par_end(&b);
  KBuffer buffers[2] = {{(void *)(uintptr_t)x, POINTS * sizeof *x}, {y, POINTS * sizeof *y}};
  if (kernel_verify(k, d) != OK || kernel_eval(k, buffers, NULL, 0, -1, d) != OK)
    fail_msg("%s", diag_text(d));
  diag_free(d);
  arena_free(a);
}

static void test_exp2_decay(void **state) {
  (void)state;
  float *x = mem_alloc(POINTS * sizeof *x), *y = mem_alloc(POINTS * sizeof *y);
  for (int i = 0; i < POINTS; i++) x[i] = -140.0f * (float)i / (POINTS - 1);
  x[POINTS - 1] = -1e30f;
  x[POINTS - 2] = -127.0f;
  x[POINTS - 3] = NAN;
  decay(math_exp2_decay, x, y);
  for (int i = 0; i < POINTS; i++) {
    if (isnan(x[i])) { /* there is no ulp to measure it by */
      assert_true(isnan(y[i]));
      continue;
    }
    double exact = exp2((double)x[i]), bound = x[i] < -126 ? 0x1p-126 : ulp_of(exact);
    if (!(fabs((double)y[i] - exact) <= bound))
      fail_msg("2^%.9g is %.9g", (double)x[i], (double)y[i]);
    if (x[i] <= -127) assert_true(y[i] == 0.0f);
  }
  assert_true(y[0] == 1.0f); /* 2^0 */
  mem_free(x);
  mem_free(y);
}

static void test_exp2_decay_short(void **state) {
  (void)state;
  float *x = mem_alloc(POINTS * sizeof *x), *y = mem_alloc(POINTS * sizeof *y);
  for (int i = 0; i < POINTS; i++) x[i] = 14 - 160.0f * (float)i / (POINTS - 1);
  x[POINTS - 1] = -1e30f;
  decay(math_exp2_decay_short, x, y);
  for (int i = 0; i < POINTS; i++) {
    double exact = exp2((double)x[i]), bound = x[i] < -126 ? 0x1p-126 : exact * 0x1p-18;
    if (!(fabs((double)y[i] - exact) <= bound))
      fail_msg("2^%.9g is %.9g", (double)x[i], (double)y[i]);
    if (x[i] <= -127) assert_true(y[i] == 0.0f);
  }
  mem_free(x);
  mem_free(y);
}

static void test_log(void **state) {
  (void)state;
  check(KOP_log, log, 1e-6, 4, 1, false);
  check(KOP_log, log, 0.99, 1.01, 1, false);
  check(KOP_log, log, 1, 1e6, 1, false);
  check(KOP_log, log, 1e30, 3.4e38, 1, false);
  check(KOP_log, log, 1.2e-38, 1e-36, 1, false);
  check(KOP_log, log, 2e-45, 1.1e-38, 1, false); /* subnormals */
}

static void test_tanh(void **state) {
  (void)state;
  check(KOP_tanh, tanh, -12, 12, 2, false);
  check(KOP_tanh, tanh, -0.7, 0.7, 2, false);
  check(KOP_tanh, tanh, -1e-3, 1e-3, 1, false);
  check(KOP_tanh, tanh, -1e-30, 1e-30, 1, false);
  check(KOP_tanh, tanh, 12, 1e6, 1, false);
}

static void test_erf(void **state) {
  (void)state;
  check(KOP_erf, erf, -5, 5, 2, false);
  check(KOP_erf, erf, 0.7, 0.9, 2, false);
  check(KOP_erf, erf, -1e-3, 1e-3, 1, false);
  check(KOP_erf, erf, -1e-30, 1e-30, 1, false);
  check(KOP_erf, erf, 5, 1e6, 1, false);
}

static float one(KOpCode op, float in) {
  static float x[POINTS], y[POINTS];
  for (int i = 0; i < POINTS; i++) x[i] = in;
  apply(op, x, y);
  return y[0];
}

static double gelu(double x) {
  return x * erfc(x * -M_SQRT1_2) / 2;
}

/* Near 0 it is x 2^H: 2.1 ulp of 2^r, and roundings of H near -1, of 2^H and of the product. */
static void test_gelu(void **state) {
  (void)state;
  check(KOP_gelu, gelu, -12, 1, 1e-7, true);
  check(KOP_gelu, gelu, -1e30, -5, 1e-7, true);
  check(KOP_gelu, gelu, 0.5, 12, 2, false);
  check(KOP_gelu, gelu, 5, 1e30, 1, false);
  check(KOP_gelu, gelu, -1e-3, 1e-3, 6, false);
  assert_true(fabsf(one(KOP_gelu, -INFINITY)) < 1e-30f && one(KOP_gelu, INFINITY) == INFINITY);
}

static void test_sin_cos(void **state) {
  (void)state;
  static const double reach[] = {0.8, 7, 1000, 131072, 1048576};
  for (size_t i = 0; i < COUNT(reach); i++) {
    check(KOP_sin, sin, -reach[i], reach[i], 1e-7, true);
    check(KOP_cos, cos, -reach[i], reach[i], 1e-7, true);
  }
  check(KOP_sin, sin, -0.8, 0.8, 1, false); /* relative too, near 0 */
}

/* ---- edge values ---------------------------------------------------------------------------- */

static void test_edges(void **state) {
  (void)state;
  static const KOpCode ops[] = {KOP_exp, KOP_log, KOP_tanh, KOP_erf, KOP_gelu, KOP_sin, KOP_cos};
  for (size_t i = 0; i < COUNT(ops); i++) assert_true(isnan(one(ops[i], NAN)));
  assert_true(one(KOP_exp, -INFINITY) == 0.0f);
  assert_true(one(KOP_exp, INFINITY) == INFINITY);
  assert_true(one(KOP_exp, 0.0f) == 1.0f);
  assert_true(one(KOP_exp, 88.7228f) < INFINITY);
  assert_true(one(KOP_exp, 88.7229f) == INFINITY);
  assert_true(one(KOP_exp, -103.9f) == 0x1p-149f);
  assert_true(one(KOP_exp, -104.0f) == 0.0f);
  assert_true(one(KOP_log, 0.0f) == -INFINITY);
  assert_true(one(KOP_log, -0.0f) == -INFINITY);
  assert_true(one(KOP_log, INFINITY) == INFINITY);
  assert_true(one(KOP_log, 1.0f) == 0.0f);
  assert_true(isnan(one(KOP_log, -1.0f)));
  assert_true(isnan(one(KOP_log, -INFINITY)));
  assert_true(one(KOP_tanh, INFINITY) == 1.0f);
  assert_true(one(KOP_tanh, -INFINITY) == -1.0f);
  assert_true(signbit(one(KOP_tanh, -0.0f)));
  assert_true(one(KOP_erf, INFINITY) == 1.0f);
  assert_true(one(KOP_erf, -INFINITY) == -1.0f);
  assert_true(one(KOP_sin, 0.0f) == 0.0f);
  assert_true(one(KOP_cos, 0.0f) == 1.0f);
  assert_true(isnan(one(KOP_sin, INFINITY)));
  assert_true(isnan(one(KOP_cos, 1e30f)));
}

/* An op before the par loop, in a branch and in a loop is expanded where it stands. */
static void test_places(void **state) {
  (void)state;
  static const char text[] =
      "kernel @k(%x: ptr<f32>; %S) class map {\n"
      "  local %t: ptr<f32>[1]\n"
      "  %e = exp f32 1\n"
      "  store %e, %t[0]\n"
      "  par %r in 0..%S {\n"
      "    %v = load f32 %t[0]\n"
      "    %c = lt %r, 1\n"
      "    %w = if %c {\n      %l = log %v\n      yield %l\n    } else {\n      yield %v\n    }\n"
      "    %u = for %i in 0..2 carry %a = %w {\n      %b = tanh %a\n      yield %b\n    }\n"
      "    store %u, %x[%r]\n"
      "  }\n"
      "}\n";
  Arena *a = arena_new();
  Diag *d = diag_new();
  Kernel **k;
  uint32_t n;
  if (kernels_parse(a, text, "test", d, &k, &n) != OK) fail_msg("%s", diag_text(d));
  expand_math(k[0]);
  assert_false(has_transcendental(&k[0]->body));
  if (kernel_verify(k[0], d) != OK) fail_msg("%s", diag_text(d));
  float x[2];
  int64_t rows = 2;
  if (kernel_eval(k[0], &(KBuffer){x, sizeof x}, &rows, 0, -1, d) != OK)
    fail_msg("%s", diag_text(d));
  assert_true(fabs((double)x[0] - tanh(tanh(1.0))) < 1e-6);
  assert_true(fabs((double)x[1] - tanh(tanh(exp(1.0)))) < 1e-6);
  Buf out = {0};
  Kernel **again;
  kernel_print(k[0], &out);
  if (kernels_parse(a, out.data, "test", d, &again, &n) != OK) fail_msg("%s", diag_text(d));
  assert_true(kernel_same(k[0], again[0]));
  buf_free(&out);
  diag_free(d);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exp),
      cmocka_unit_test(test_exp2_decay),
      cmocka_unit_test(test_exp2_decay_short),
      cmocka_unit_test(test_log),
      cmocka_unit_test(test_tanh),
      cmocka_unit_test(test_erf),
      cmocka_unit_test(test_gelu),
      cmocka_unit_test(test_sin_cos),
      cmocka_unit_test(test_edges),
      cmocka_unit_test(test_places),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
