/* Operators: types inferred and refused, values against closed forms and hand-computed cases.
 * Element-wise expressions are in expr_test.c, lowering is in tests/op.
 */
#include "ir/eval.h"
#include "ir/kernel.h"
#include "ir/op/common.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

/* ---- one-op graphs ---- */

enum { MAX_IN = 5 };

/* A dimension -1 is the symbol S (1..64), -2 is P (0..64), -3 is P+S. */
typedef struct Shape {
  DType dtype;
  int rank;
  int64_t dim[4];
} Shape;

typedef struct Bench {
  Module *module;
  Graph *graph;
  Diag *diag;
  Arena *arena;
} Bench;

static Bench bench_new(void) {
  Bench b = {module_new("test"), NULL, diag_new(), arena_new()};
  dim_symbol(b.module->dims, "P", 0, 64);
  dim_symbol(b.module->dims, "S", 1, 64);
  b.graph = module_graph(b.module, "g");
  return b;
}

static void bench_free(Bench *b) {
  module_free(b->module);
  diag_free(b->diag);
  arena_free(b->arena);
}

static Type type_of(Bench *b, const Shape *s) {
  Dims *dims = b->module->dims;
  DimId S = dim_find(dims, "S"), P = dim_find(dims, "P");
  Type t = {.dtype = s->dtype, .rank = (uint8_t)s->rank};
  for (int i = 0; i < s->rank; i++) {
    int64_t n = s->dim[i];
    t.dim[i] = n == -1   ? S
               : n == -2 ? P
               : n == -3 ? dim_op(dims, DIM_ADD, P, S)
                         : dim_const(dims, n);
  }
  return t;
}

static ValueId input(Bench *b, uint32_t i, const Shape *s) {
  static const char *const names[] = {"a", "b", "c", "d", "e"};
  return graph_input(b->graph, names[i], type_of(b, s));
}

/* ---- types ---- */

typedef struct TypeCase {
  OpCode code;
  uint32_t nin;
  Shape in[MAX_IN];
  Attrs attrs;
  const char *want; /* printed types of the results, or a part of the message */
} TypeCase;

#define F(...)                                                                                     \
  {                                                                                                \
    DT_f32, COUNT(((int64_t[]){__VA_ARGS__})), {                                                   \
      __VA_ARGS__                                                                                  \
    }                                                                                              \
  }
#define I(...)                                                                                     \
  {                                                                                                \
    DT_i32, COUNT(((int64_t[]){__VA_ARGS__})), {                                                   \
      __VA_ARGS__                                                                                  \
    }                                                                                              \
  }
#define LIST(...)                                                                                  \
  {                                                                                                \
    COUNT(((int64_t[]){__VA_ARGS__})), (int64_t[]) {                                               \
      __VA_ARGS__                                                                                  \
    }                                                                                              \
  }

static const TypeCase GOOD[] = {
    {OP_neg, 1, {F(-1, 72)}, {{0}}, "tensor<Sx72 x f32>"},
    {OP_add, 2, {F(-1, 72), F(72)}, {{0}}, "tensor<Sx72 x f32>"},
    {OP_add, 2, {F(3, 1, 5), F(4, 1)}, {{0}}, "tensor<3x4x5 x f32>"},
    {OP_mul, 2, {F(-1, 1), F(1, 7)}, {{0}}, "tensor<Sx7 x f32>"},
    {OP_add, 2, {I(5), I(5)}, {{0}}, "tensor<5 x i32>"},
    {OP_cast, 1, {F(3)}, {.cast = {DT_i32}}, "tensor<3 x i32>"},
    {OP_reshape, 1, {F(-1, 72)}, {.shape = {LIST(-1, 3, 24)}}, "tensor<Sx3x24 x f32>"},
    {OP_reshape, 1, {F(-1, 3, 24)}, {.shape = {LIST(-1, 72)}}, "tensor<Sx72 x f32>"},
    {OP_reshape, 1, {F(-1, 3, 8)}, {.shape = {LIST(-1, 4)}}, "tensor<(6*S)x4 x f32>"},
    {OP_reshape, 1, {F(6)}, {.shape = {LIST(2, 3)}}, "tensor<2x3 x f32>"},
    {OP_transpose, 1, {F(2, 3, 4)}, {.perm = {LIST(2, 0, 1)}}, "tensor<4x2x3 x f32>"},
    {OP_split,
     1,
     {F(-1, 120)},
     {.split = {-1, LIST(72, 24, 24)}},
     "tensor<Sx72 x f32>, tensor<Sx24 x f32>, tensor<Sx24 x f32>"},
    {OP_concat, 3, {F(2, 3), F(2, 4), F(2, 1)}, {.axis = {1}}, "tensor<2x8 x f32>"},
    {OP_slice, 1, {F(-1, 72)}, {.slice = {0, -1, 1}}, "tensor<1x72 x f32>"},
    {OP_slice, 1, {F(4, 9)}, {.slice = {-1, 2, 7}}, "tensor<4x7 x f32>"},
    {OP_rmsnorm, 2, {F(-1, 72), F(72)}, {.norm = {1e-5}}, "tensor<Sx72 x f32>"},
    {OP_layernorm, 3, {F(-1, 8), F(8), F(8)}, {.norm = {1e-5}}, "tensor<Sx8 x f32>"},
    {OP_argmax, 1, {F(-1, 131)}, {{0}}, "tensor<S x i32>"},
    {OP_reduce_sum, 1, {F(-1, 131)}, {{0}}, "tensor<Sx1 x f32>"},
    {OP_requant, 1, {F(-1, 72)}, {.linear = {ACT_i16}}, "tensor<Sx72 x f32 : act_i16>"},
    {OP_linear, 3, {F(-1, 72), F(131, 72), F(131)}, {{0}}, "tensor<Sx131 x f32>"},
    {OP_matmul, 2, {F(5, 1, 2, 3), F(4, 3, 7)}, {{0}}, "tensor<5x4x2x7 x f32>"},
    {OP_gather, 2, {F(131, 72), I(-1)}, {{0}}, "tensor<Sx72 x f32>"},
    {OP_rope_freqs,
     1,
     {I(1)},
     {.rope_freqs = {ROPEFREQ_dynamic, 1e4, 8, 2, 32}},
     "tensor<4 x f32>"},
    {OP_rope_freqs,
     2,
     {I(1), F(2, 4)},
     {.rope_freqs = {ROPEFREQ_longrope, 1e4, 8, 1, 32}},
     "tensor<4 x f32>"},
    {OP_rope_table, 2, {I(-1), F(4)}, {.rope_table = {1}}, "tensor<Sx4 x f32>, tensor<Sx4 x f32>"},
    {OP_rope, 3, {F(-1, 3, 24), F(-1, 4), F(-1, 4)}, {{0}}, "tensor<Sx3x24 x f32>"},
    {OP_attention,
     4,
     {F(-1, 6, 24), F(-1, 3, 24), F(-1, 3, 16), F(-1)},
     {.attention = {0.2, 0, 0, true}},
     "tensor<Sx6x16 x f32>"},
    {OP_attention,
     5,
     {F(-1, 6, 24), F(-1, 3, 24), F(-1, 3, 16), F(-1), I(7, 4)},
     {.attention = {0.2, 0, 0, true}},
     "tensor<Sx6x16 x f32>"},
};

static const TypeCase BAD[] = {
    {OP_exp, 1, {I(3)}, {{0}}, "expected a float tensor"},
    {OP_add, 2, {F(3), F(4)}, {{0}}, "do not broadcast"},
    {OP_add, 2, {F(3), I(3)}, {{0}}, "cannot combine f32 and i32"},
    {OP_div, 2, {I(3), I(3)}, {{0}}, "expected a float tensor"},
    {OP_clip, 1, {F(3)}, {.clip = {1, 0}}, "lo 1 is above hi 0"},
    {OP_reshape, 1, {F(-1, 72)}, {.shape = {LIST(4, 18)}}, "does not have 72 elements"},
    {OP_reshape, 1, {F(7)}, {.shape = {LIST(-1, 2)}}, "do not divide"},
    {OP_reshape, 1, {F(7)}, {.shape = {LIST(-1, -1)}}, "bad dimension -1"},
    {OP_transpose, 1, {F(2, 3)}, {.perm = {LIST(0, 0)}}, "no permutation"},
    {OP_transpose, 1, {F(2, 3)}, {.perm = {LIST(0)}}, "1 entries (expected 2)"},
    {OP_split, 1, {F(2, 8)}, {.split = {1, LIST(4, 3)}}, "sum to 7 (expected 8)"},
    {OP_split, 1, {F(-1, 8)}, {.split = {0, LIST(1, 1)}}, "must be literal"},
    {OP_concat, 2, {F(2, 3), F(3, 3)}, {.axis = {1}}, "operand 2 does not match"},
    {OP_slice, 1, {F(4, 9)}, {.slice = {1, 3, 7}}, "7 elements from 3"},
    {OP_slice, 1, {F(-1, 9)}, {.slice = {0, 0, 2}}, "not within a dimension of 1"},
    {OP_slice, 1, {F(4)}, {.slice = {1, 0, 1}}, "axis 1"},
    {OP_rmsnorm, 2, {F(-1, 72), F(71)}, {.norm = {1e-5}}, "a vector of 72"},
    {OP_rmsnorm, 1, {F(-1, 72)}, {.norm = {-1}}, "eps is -1"},
    {OP_requant, 1, {F(-1, 72)}, {{0}}, "act must be i16, i8 or i8p"},
    {OP_linear, 2, {F(-1, 72), F(131, 70)}, {{0}}, "expected [.., K] and [N, K]"},
    {OP_linear, 3, {F(-1, 72), F(131, 72), F(72)}, {{0}}, "a vector of 131"},
    {OP_matmul, 2, {F(2, 3), F(4, 7)}, {{0}}, "do not fit"},
    {OP_gather, 2, {F(131, 72), F(-1)}, {{0}}, "an i32 or i64 tensor"},
    {OP_rope_freqs, 1, {I(2)}, {.rope_freqs = {0, 1e4, 8, 2, 32}}, "one element"},
    {OP_rope_freqs, 1, {I(1)}, {.rope_freqs = {0, 1e4, 7, 2, 32}}, "even number"},
    {OP_rope_freqs, 1, {I(1)}, {.rope_freqs = {0, 1e4, 8, 0.5, 32}}, "factor is 0.5"},
    {OP_rope_freqs, 1, {I(1)}, {.rope_freqs = {1, 1e4, 8, 1, 32}}, "belong to longrope"},
    {OP_rope_table, 2, {I(-1), F(4)}, {{0}}, "scale is 0"},
    {OP_rope, 3, {F(-1, 3, 6), F(-1, 4), F(-1, 4)}, {{0}}, "4 angles for heads of 6"},
    {OP_attention,
     3,
     {F(-1, 5, 24), F(-1, 3, 24), F(-1, 3, 24)},
     {.attention = {0.2, 0, 0, true}},
     "5 query heads"},
    {OP_attention,
     3,
     {F(-1, 3, 24), F(7, 3, 24), F(7, 3, 24)},
     {.attention = {0.2, 0, 0, true}},
     "as many keys as queries"},
    {OP_attention,
     3,
     {F(-1, 3, 24), F(-1, 3, 24), F(-1, 3, 24)},
     {.attention = {0, 0, 0, true}},
     "scale is 0"},
    {OP_attention,
     5,
     {F(-1, 3, 24), F(-1, 3, 24), F(-1, 3, 24), F(-1), I(5, 3)},
     {.attention = {0.2, 0, 0, false}},
     "spans must be [W, 4]"},
    {OP_kv_append, 3, {F(), F(-1, 3, 24), F(-1, 3, 24)}, {{0}}, "must be a KV cache"},
};

static Status try_case(Bench *b, const TypeCase *c, OpId *op) {
  ValueId in[MAX_IN];
  for (uint32_t i = 0; i < c->nin; i++) in[i] = input(b, i, &c->in[i]);
  return graph_try_op(b->graph, b->diag, "case", c->code, in, c->nin, &c->attrs, op);
}

static void well_typed(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(GOOD); i++) {
    Bench b = bench_new();
    OpId id;
    Buf text = {0};
    if (try_case(&b, &GOOD[i], &id) != OK) fail_msg("case %zu: %s", i, diag_text(b.diag));
    const Op *op = graph_get(b.graph, id);
    for (uint32_t r = 0; r < op->nout; r++) {
      if (r) buf_puts(&text, ", ");
      type_print(b.module->dims, &graph_value(b.graph, op->out[r])->type, &text);
    }
    assert_string_equal(text.data, GOOD[i].want);
    buf_free(&text);
    bench_free(&b);
  }
}

static void ill_typed(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(BAD); i++) {
    Bench b = bench_new();
    OpId id;
    assert_int_equal(try_case(&b, &BAD[i], &id), FAIL);
    if (!strstr(diag_text(b.diag), BAD[i].want))
      fail_msg("case %zu: '%s' lacks '%s'", i, diag_text(b.diag), BAD[i].want);
    bench_free(&b);
  }
}

/* A value in an activation format is for linears with integer weights alone. */
static void activation_formats(void **state) {
  Bench b = bench_new();
  Attrs i16 = {.linear = {ACT_i16}};
  OpId id;
  (void)state;
  ValueId x = input(&b, 0, &(Shape)F(-1, 64));
  ValueId q = graph_op1(b.graph, OP_requant, &x, 1, &i16);
  ConstDef def = {.name = "w", .type = type_of(&b, &(Shape)F(16, 64))};
  def.type.storage = Q_q4_0;
  ValueId w = graph_const(b.graph, module_const(b.module, &def));
  def.type.storage = Q_f16;
  ValueId half = graph_const(b.graph, module_const(b.module, &def));
  Graph *g = b.graph;
  assert_int_equal(graph_try_op(g, b.diag, "c", OP_linear, (ValueId[]){q, w}, 2, &i16, &id), OK);
  assert_int_equal(graph_try_op(g, b.diag, "c", OP_linear, (ValueId[]){q, w}, 2, NULL, &id), FAIL);
  assert_int_equal(graph_try_op(g, b.diag, "c", OP_linear, (ValueId[]){q, half}, 2, &i16, &id),
                   FAIL);
  assert_int_equal(graph_try_op(g, b.diag, "c", OP_neg, &q, 1, NULL, &id), FAIL);
  bench_free(&b);
}

/* ---- values ---- */

static int64_t actual(int64_t n) {
  return n == -1 ? 2 : n;
}

static RefTensor tensor(Bench *b, const char *name, const Shape *s, const double *v) {
  RefTensor t = {.name = name, .dtype = s->dtype, .rank = (uint8_t)s->rank, .elements = 1};
  for (int i = 0; i < s->rank; i++) t.elements *= t.dim[i] = actual(s->dim[i]);
  t.f = ARENA_ARRAY(b->arena, float, (size_t)t.elements + 1);
  t.i = ARENA_ARRAY(b->arena, int64_t, (size_t)t.elements + 1);
  for (int64_t i = 0; i < t.elements; i++) {
    t.f[i] = (float)v[i];
    t.i[i] = (int64_t)v[i];
  }
  if (dtype_is_float(s->dtype))
    t.i = NULL;
  else
    t.f = NULL;
  return t;
}

/* Evaluates one op on given numbers (S is 2); result r's elements are compared with `want`. */
typedef struct ValueCase {
  TypeCase op;
  double in[MAX_IN][16];
  double want[16]; /* of all results, one after the other */
  int nwant;
} ValueCase;

static const ValueCase VALUES[] = {
    {{OP_add, 2, {F(2, 2), F(2)}, {{0}}, NULL}, {{1, 2, 3, 4}, {10, 20}}, {11, 22, 13, 24}, 4},
    {{OP_sub, 2, {F(2, 1), F(2)}, {{0}}, NULL}, {{1, 2}, {10, 20}}, {-9, -19, -8, -18}, 4},
    {{OP_add, 2, {I(2), I(1)}, {{0}}, NULL}, {{2147483647, 1}, {1}}, {-2147483648.0, 2}, 2},
    {{OP_max, 2, {I(3), I(3)}, {{0}}, NULL}, {{-5, 4, 0}, {2, -7, 0}}, {2, 4, 0}, 3},
    {{OP_div, 2, {F(2), F(2)}, {{0}}, NULL}, {{1, -6}, {4, 3}}, {0.25, -2}, 2},
    {{OP_cast, 1, {F(4)}, {.cast = {DT_i32}}, NULL}, {{1.9, -1.9, 0.4, -7}}, {1, -1, 0, -7}, 4},
    {{OP_cast, 1, {F(2)}, {.cast = {DT_f16}}, NULL}, {{1.0 / 3, 2049}}, {0.333251953125, 2048}, 2},
    {{OP_transpose, 1, {F(2, 3)}, {.perm = {LIST(1, 0)}}, NULL},
     {{1, 2, 3, 4, 5, 6}},
     {1, 4, 2, 5, 3, 6},
     6},
    {{OP_split, 1, {F(2, 3)}, {.split = {1, LIST(1, 2)}}, NULL},
     {{1, 2, 3, 4, 5, 6}},
     {1, 4, 2, 3, 5, 6},
     6},
    {{OP_concat, 2, {F(2, 1), F(2, 2)}, {.axis = {-1}}, NULL},
     {{1, 2}, {3, 4, 5, 6}},
     {1, 3, 4, 2, 5, 6},
     6},
    {{OP_slice, 1, {F(-1, 3)}, {.slice = {0, -1, 1}}, NULL}, {{1, 2, 3, 4, 5, 6}}, {4, 5, 6}, 3},
    {{OP_slice, 1, {F(2, 3)}, {.slice = {1, 1, 2}}, NULL}, {{1, 2, 3, 4, 5, 6}}, {2, 3, 5, 6}, 4},
    {{OP_rmsnorm, 2, {F(1, 2), F(2)}, {.norm = {0}}, NULL},
     {{3, 4}, {1, 2}},
     {0.84852813742, 2.26274169980},
     2},
    {{OP_layernorm, 3, {F(1, 2), F(2), F(2)}, {.norm = {0}}, NULL},
     {{1, 5}, {1, 2}, {10, 20}},
     {9, 22},
     2},
    {{OP_softmax, 1, {F(1, 2)}, {{0}}, NULL}, {{1000, 1001}}, {0.26894142, 0.73105858}, 2},
    {{OP_argmax, 1, {F(3, 3)}, {{0}}, NULL},
     {{1, 7, 7, -3, -2, -5, -INFINITY, -INFINITY, -INFINITY}},
     {1, 1, 0},
     3},
    {{OP_reduce_sum, 1, {F(2, 3)}, {{0}}, NULL}, {{1, 2, 3, 4, 5, 6}}, {6, 15}, 2},
    {{OP_linear, 3, {F(2, 2), F(3, 2), F(3)}, {{0}}, NULL},
     {{1, 2, 3, 4}, {1, 0, 0, 1, 1, 1}, {10, 20, 30}},
     {11, 22, 33, 13, 24, 37},
     6},
    {{OP_matmul, 2, {F(2, 1, 2), F(2, 2)}, {{0}}, NULL},
     {{1, 2, 3, 4}, {1, 10, 100, 1000}},
     {201, 2010, 403, 4030},
     4},
    {{OP_gather, 2, {F(3, 2), I(2)}, {{0}}, NULL}, {{1, 2, 3, 4, 5, 6}, {2, 0}}, {5, 6, 1, 2}, 4},
    {{OP_rope_freqs, 1, {I(1)}, {.rope_freqs = {ROPEFREQ_dynamic, 100, 4, 2, 8}}, NULL},
     {{8}},
     {1, 0.1},
     2},
    /* seq_len 16, original 8: base 100 * (2 * 16 / 8 - 1) ^ (4 / 2) = 900 */
    {{OP_rope_freqs, 1, {I(1)}, {.rope_freqs = {ROPEFREQ_dynamic, 100, 4, 2, 8}}, NULL},
     {{16}},
     {1, 1.0 / 30},
     2},
    {{OP_rope_freqs, 2, {I(1), F(2, 2)}, {.rope_freqs = {ROPEFREQ_longrope, 100, 4, 1, 8}}, NULL},
     {{8}, {1, 2, 4, 5}},
     {1, 0.05},
     2},
    {{OP_rope_freqs, 2, {I(1), F(2, 2)}, {.rope_freqs = {ROPEFREQ_longrope, 100, 4, 1, 8}}, NULL},
     {{9}, {1, 2, 4, 5}},
     {0.25, 0.02},
     2},
    {{OP_rope_table, 2, {I(2), F(1)}, {.rope_table = {2}}, NULL},
     {{0, 1}, {0.5}},
     {2, 1.75516512378, 0, 0.95885107720},
     4},
    {{OP_rope, 3, {F(1, 1, 5), F(1, 2), F(1, 2)}, {.rope = {ROPE_half}}, NULL},
     {{1, 2, 3, 4, 9}, {0, 1}, {1, 0}},
     {-3, 2, 1, 4, 9},
     5},
    {{OP_rope, 3, {F(1, 1, 4), F(1, 2), F(1, 2)}, {.rope = {ROPE_pairs}}, NULL},
     {{1, 2, 3, 4}, {0, 1}, {1, 0}},
     {-2, 1, 3, 4},
     4},
    /* Two query heads on one key head; with scale ln 3 the scores of query 1 are 0 and ln 3. */
    {{OP_attention,
      3,
      {F(2, 2, 1), F(2, 1, 1), F(2, 1, 1)},
      {.attention = {1.0986122886681098, 0, 0, true}},
      NULL},
     {{1, 0, 1, 0}, {0, 1}, {4, 8}},
     {4, 4, 7, 6},
     4},
    {{OP_attention, 3, {F(2, 1, 1), F(2, 1, 1), F(2, 1, 1)}, {.attention = {1, 1, 0, true}}, NULL},
     {{1, 1}, {0, 1}, {4, 8}},
     {4, 8},
     2},
    /* A query that sees no key gives zero, one that sees one key its value. */
    {{OP_attention,
      4,
      {F(2, 1, 1), F(2, 1, 1), F(2, 1, 1), F(2)},
      {.attention = {1, 0, 0, true}},
      NULL},
     {{1, 1}, {0, 1}, {4, 8}, {0, 1}},
     {0, 8},
     2},
    /* softcap 2: scores 0 and 2 tanh(1) = 1.5231883 */
    {{OP_attention, 3, {F(1, 1, 1), F(2, 1, 1), F(2, 1, 1)}, {.attention = {1, 0, 2, false}}, NULL},
     {{2}, {0, 1}, {0, 1}},
     {0.8210075},
     1},
};

static void check_values(Bench *b, const ValueCase *c, size_t at) {
  static const char *const names[] = {"a", "b", "c", "d", "e"};
  RefTensor in[MAX_IN], *out;
  OpId id;
  if (try_case(b, &c->op, &id) != OK) fail_msg("case %zu: %s", at, diag_text(b->diag));
  for (uint32_t i = 0; i < c->op.nin; i++) in[i] = tensor(b, names[i], &c->op.in[i], c->in[i]);
  const Op *op = graph_get(b->graph, id);
  for (uint32_t r = 0; r < op->nout; r++) graph_output(b->graph, "y", op->out[r]);
  if (graph_eval(b->arena, b->graph, NULL, in, c->op.nin, NULL, 0, &out, b->diag) != OK)
    fail_msg("case %zu: %s", at, diag_text(b->diag));
  int n = 0;
  for (uint32_t r = 0; r < op->nout; r++) {
    for (int64_t i = 0; i < out[r].elements; i++, n++) {
      double got = out[r].f ? out[r].f[i] : (double)out[r].i[i];
      if (!(fabs(got - c->want[n]) <= 3e-7 * fmax(1, fabs(c->want[n]))))
        fail_msg("case %zu, element %d: %.9g (expected %.9g)", at, n, got, c->want[n]);
    }
  }
  assert_int_equal(n, c->nwant);
}

static void values(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(VALUES); i++) {
    Bench b = bench_new();
    check_values(&b, &VALUES[i], i);
    bench_free(&b);
  }
}

static void activation_rounding(void **state) {
  float x[40], y[40];
  (void)state;
  for (int i = 0; i < 40; i++) x[i] = sinf((float)i) * (i < 32 ? 1 : 100);
  float max = 0;
  for (int i = 0; i < 40; i++) max = fmaxf(max, fabsf(x[i]));
  act_round(x, y, 40, ACT_i16);
  for (int i = 0; i < 40; i++) {
    float q = y[i] / (max / 16256);
    assert_true(fabsf(q - rintf(q)) < 1e-2f && fabsf(y[i] - x[i]) <= 0.5001f * max / 16256);
  }
  act_round(x, y, 40, ACT_i8); /* two blocks, each with its own scale */
  for (int i = 0; i < 40; i++) assert_true(fabsf(y[i] - x[i]) <= (i < 32 ? 1 : 100) * 0.5f / 127);
  act_round(x, y, 40, ACT_i8p); /* 2^-6 is the next above 1 / 127, 2^0 that above 100 / 127 */
  for (int i = 0; i < 40; i++) assert_true(y[i] == (i < 32 ? rintf(x[i] * 64) / 64 : rintf(x[i])));
  memset(x, 0, sizeof x);
  act_round(x, y, 40, ACT_i8p);
  for (int i = 0; i < 40; i++) assert_true(y[i] == 0);
  act_round(x, y, 40, ACT_i16);
  for (int i = 0; i < 40; i++) assert_true(y[i] == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(well_typed),          cmocka_unit_test(ill_typed),
      cmocka_unit_test(activation_formats),  cmocka_unit_test(values),
      cmocka_unit_test(activation_rounding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
