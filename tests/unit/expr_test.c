/* Element-wise expressions on kernel values against the definitions (ref_), over a grid with
 * extremes.
 *
 * Each is run on 16 lanes and on one, with exp and its kin by the C library and by our polynomials;
 * lanes must agree bit for bit, values within the table's bounds.
 */
#include "ir/eval.h"
#include "ir/kernel.h"
#include "passes/passes.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

typedef struct ExprCase {
  OpCode code;
  Attrs attrs;
  double relative, absolute; /* error allowed: relative * |y| + absolute */
} ExprCase;

/* Where the definition subtracts (1 + erf, 1 + tanh of negative x) the error is relative to x, not
 * to the result: the absolute column carries it, as in PyTorch's own f32 kernels. */
static const ExprCase EXPRS[] = {
    {OP_neg, {{0}}, 0, 0},
    {OP_abs, {{0}}, 0, 0},
    {OP_exp, {{0}}, 2e-7, 0},
    {OP_log, {{0}}, 2e-7, 0},
    {OP_sqrt, {{0}}, 1e-7, 0},
    {OP_square, {{0}}, 1e-7, 0},
    {OP_reciprocal, {{0}}, 1e-7, 0},
    {OP_sigmoid, {{0}}, 3e-7, 1e-38},
    {OP_erf, {{0}}, 3e-7, 0},
    {OP_tanh, {{0}}, 3e-7, 0},
    {OP_relu, {{0}}, 0, 0},
    {OP_relu2, {{0}}, 1e-7, 0},
    {OP_leaky_relu, {.alpha = {0.01}}, 1e-7, 0},
    {OP_clip, {.clip = {0, 6}}, 0, 0},
    {OP_clip, {.clip = {-10, 10}}, 0, 0},
    {OP_silu, {{0}}, 4e-7, 1e-36},
    {OP_gelu, {{0}}, 4e-7, 4e-7},
    {OP_gelu_tanh, {{0}}, 6e-7, 6e-7},
    {OP_gelu_quick, {{0}}, 5e-6, 1e-36},
    {OP_softplus, {{0}}, 4e-7, 1e-38},
    {OP_mish, {{0}}, 6e-7, 1e-36},
    {OP_elu, {.alpha = {1}}, 6e-7, 0},
    {OP_elu, {.alpha = {0.5}}, 6e-7, 0},
    {OP_laplace, {{0}}, 4e-7, 4e-7},
    {OP_hardswish, {{0}}, 4e-7, 6e-7},
};

static size_t make_grid(float *x) {
  static const float special[] = {0,     -0.0f,  1e-38f, -1e-38f, 1e-20f, -1e-20f, 1e-8f, -1e-8f,
                                  1e-4f, -1e-4f, 50,     -50,     87,     -87,     90,    -90,
                                  200,   -200,   1e4f,   -1e4f,   1e18f,  -1e18f,  3e38f, -3e38f};
  size_t n = COUNT(special);
  memcpy(x, special, sizeof special);
  for (int i = -1600; i <= 1600; i++) x[n++] = (float)i / 97;
  while (n % 16) x[n++] = 0.5f;
  return n;
}

enum { GRID = 4096 };

/* y[i] = op(x[i]) by the expression, with 16 lanes or with one; exp and its kin by the C library or
 * by our polynomials. */
static void run_expr(Arena *a, Diag *d, const Op *op, float *x, float *y, size_t n, uint8_t lanes,
                     bool polynomials) {
  Kernel *k = kernel_new(a, "expr", KC_map);
  KBuilder kb = kbuilder(k);
  KVal in = k_buffer(&kb, "x", K_f32), out = k_buffer(&kb, "y", K_f32);
  KVal i = k_par(&kb, "i", k_i64(&kb, (int64_t)n / lanes));
  KType t = {K_f32, lanes};
  KVal v = k_load(&kb, t, k_at(k_addr(in), i, lanes));
  k_store(&kb, op_info(op->code)->expr(&kb, op, &v), k_at(k_addr(out), i, lanes));
  k_par_end(&kb);
  if (polynomials) expand_math(k);
  KBuffer buffers[] = {{x, n * 4}, {y, n * 4}};
  if (kernel_verify(k, d) != OK || kernel_eval(k, buffers, NULL, 0, -1, d) != OK)
    fail_msg("%s", diag_text(d));
}

static void check_expr(const ExprCase *c, float *x, size_t n) {
  static float y[2][GRID];
  Module *m = module_new("test");
  Graph *g = module_graph(m, "g");
  Diag *d = diag_new();
  Type type = {.dtype = DT_f32, .rank = 1, .dim = {dim_const(m->dims, (int64_t)n)}};
  ValueId v = graph_input(g, "a", type);
  OpId id = graph_op(g, c->code, &v, 1, &c->attrs);
  const Op *op = graph_get(g, id);
  graph_output(g, "y", op->out[0]);
  RefTensor in = {"a", DT_f32, 1, {(int64_t)n}, (int64_t)n, x, NULL}, *out;
  assert_int_equal(graph_eval(m->arena, g, NULL, &in, 1, NULL, 0, &out, d), OK);
  for (int polynomials = 0; polynomials < 2; polynomials++) {
    run_expr(m->arena, d, op, x, y[0], n, 16, polynomials);
    run_expr(m->arena, d, op, x, y[1], n, 1, polynomials);
    assert_memory_equal(y[0], y[1], n * 4);
    for (size_t i = 0; i < n; i++) {
      double want = out[0].f[i], got = y[0][i];
      bool same = got == want || (isnan(got) && isnan(want));
      if (!same && !(fabs(got - want) <= c->relative * fabs(want) + c->absolute))
        fail_msg("%s(%.9g) = %.9g (expected %.9g; polynomials %d)", op_info(c->code)->name, x[i],
                 got, want, polynomials);
    }
  }
  module_free(m);
  diag_free(d);
}

static void expressions_follow_the_definitions(void **state) {
  static float x[GRID];
  size_t n = make_grid(x);
  (void)state;
  for (size_t i = 0; i < COUNT(EXPRS); i++) check_expr(&EXPRS[i], x, n);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(expressions_follow_the_definitions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
