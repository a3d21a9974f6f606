/* Graph IR: dimensions, building, text round trip, what the parser refuses. */
#include "ir/graph.h"
#include "ir/graph_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- dimensions ---- */

typedef struct Env {
  Module *m;
  Dims *d;
  DimId S, P;
} Env;

static Env env_new(void) {
  Env e = {.m = module_new("test")};
  e.d = e.m->dims;
  e.S = dim_symbol(e.d, "S", 1, 256);
  e.P = dim_symbol(e.d, "P", 0, 8191);
  return e;
}

static void expect_dim(const Env *e, DimId id, const char *text) {
  Buf b = {0};
  assert_int_not_equal(id, 0);
  dim_print(e->d, id, &b);
  assert_string_equal(b.data, text);
  buf_free(&b);
}

static DimId num(const Env *e, int64_t v) {
  return dim_const(e->d, v);
}

static DimId calc(const Env *e, DimId a, char sign, DimId b) {
  DimKind k = sign == '+'   ? DIM_ADD
              : sign == '-' ? DIM_SUB
              : sign == '*' ? DIM_MUL
              : sign == '/' ? DIM_DIV
                            : DIM_CEILDIV;
  return dim_op(e->d, k, a, b);
}

static void dims_have_one_form(void **state) {
  (void)state;
  Env e = env_new();
  DimId PS = calc(&e, e.P, '+', e.S);
  assert_int_equal(PS, calc(&e, e.S, '+', e.P));
  expect_dim(&e, PS, "P+S");
  assert_int_equal(calc(&e, PS, '-', e.P), e.S);
  expect_dim(&e, calc(&e, PS, '-', PS), "0");
  expect_dim(&e, calc(&e, calc(&e, e.S, '+', num(&e, 3)), '-', num(&e, 5)), "S-2");
  expect_dim(&e, calc(&e, e.S, '+', e.S), "2*S");
  expect_dim(&e, calc(&e, calc(&e, num(&e, 9), '*', e.S), '*', num(&e, 64)), "576*S");
  assert_int_equal(calc(&e, calc(&e, e.S, '*', num(&e, 576)), '/', num(&e, 576)), e.S);
  expect_dim(&e, calc(&e, calc(&e, e.S, '*', num(&e, 6)), '/', num(&e, 4)), "3*S/2");
  expect_dim(&e, calc(&e, PS, '^', num(&e, 16)), "(P+S)^/16");
  expect_dim(&e, calc(&e, calc(&e, e.S, '*', e.P), '/', e.S), "P");
  /* P may be 0, so it is not cancelled but refused as a divisor */
  assert_int_equal(dim_try_op(e.d, DIM_DIV, e.S, e.P), 0);
  expect_dim(&e, calc(&e, num(&e, 7), '/', num(&e, 2)), "3");
  expect_dim(&e, calc(&e, num(&e, 7), '^', num(&e, 2)), "4");
  expect_dim(&e, calc(&e, calc(&e, num(&e, 0), '-', e.S), '*', num(&e, 2)), "0-2*S");
  expect_dim(&e, calc(&e, PS, '*', calc(&e, e.S, '-', num(&e, 1))), "P*S+S*S-P-S");
  assert_int_equal(calc(&e, calc(&e, PS, '*', e.S), '/', e.S), PS);
  expect_dim(&e, calc(&e, PS, '*', num(&e, 576)), "576*P+576*S");
  assert_int_equal(calc(&e, calc(&e, PS, '*', num(&e, 576)), '/', num(&e, 576)), PS);
  expect_dim(&e,
             calc(&e, calc(&e, calc(&e, e.S, '*', num(&e, 4)), '-', num(&e, 6)), '/', num(&e, 8)),
             "(2*S-3)/4");
  module_free(e.m);
}

static void dims_have_ranges_and_values(void **state) {
  (void)state;
  Env e = env_new();
  DimId x = calc(&e, calc(&e, calc(&e, e.P, '+', e.S), '*', num(&e, 3)), '^', num(&e, 2));
  int64_t env[64] = {0};
  env[e.S] = 4;
  env[e.P] = 9;
  assert_int_equal(dim_eval(e.d, x, env), 20); /* ceil(39 / 2) */
  assert_int_equal(dim_get(e.d, x)->lo, 2);
  assert_int_equal(dim_get(e.d, x)->hi, (3 * (8191 + 256) + 1) / 2);
  assert_int_equal(dim_try_op(e.d, DIM_MUL, num(&e, INT64_MAX), e.S), 0);
  assert_int_equal(dim_try_op(e.d, DIM_ADD, num(&e, INT64_MAX), num(&e, 1)), 0);
  assert_int_equal(dim_symbol(e.d, "S", 1, 256), e.S);
  assert_int_equal(dim_find(e.d, "T"), 0);
  module_free(e.m);
}

/* Every expression of a family equals its value under random assignments, whatever form it took. */
static void dims_keep_their_values(void **state) {
  (void)state;
  uint64_t seed = 12345;
  for (int round = 0; round < 300; round++) {
    Env e = env_new();
    DimId pool[40] = {e.S, e.P};
    int64_t value[40], s = 1 + round % 256, p = round * 7 % 8192;
    unsigned n = 6;
    value[0] = s;
    value[1] = p;
    for (unsigned i = 2; i < 6; i++) pool[i] = num(&e, value[i] = (int64_t)i - 3);
    while (n < 40) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      unsigned a = (unsigned)(seed >> 40) % n, b = (unsigned)(seed >> 50) % n;
      DimKind k = (DimKind)(DIM_ADD + (seed >> 35) % 5);
      DimId id = dim_try_op(e.d, k, pool[a], pool[b]);
      if (!id) {
        pool[n] = e.S;
        value[n++] = s;
        continue;
      }
      double q = (double)value[a] / (double)value[b];
      value[n] = k == DIM_ADD   ? value[a] + value[b]
                 : k == DIM_SUB ? value[a] - value[b]
                 : k == DIM_MUL ? value[a] * value[b]
                 : k == DIM_DIV ? (int64_t)floor(q)
                                : (int64_t)ceil(q);
      if (llabs(value[n]) > 1000000000) {
        pool[n] = e.P;
        value[n++] = p;
        continue;
      }
      pool[n++] = id;
    }
    int64_t *env = calloc(dim_count(e.d) + 1, sizeof *env);
    env[e.S] = s;
    env[e.P] = p;
    for (unsigned i = 0; i < n; i++) {
      assert_int_equal(dim_eval(e.d, pool[i], env), value[i]);
      assert_true(dim_get(e.d, pool[i])->lo <= value[i] && value[i] <= dim_get(e.d, pool[i])->hi);
      Buf text = {0}; /* and its text gives the same id back */
      buf_puts(&text, "(");
      dim_print(e.d, pool[i], &text);
      buf_puts(&text, ")");
      Lexer l;
      DimId again;
      Diag *d = diag_new();
      lex_init(&l, e.m->arena, text.data, "dim", d);
      assert_int_equal(parse_dim(&l, e.d, &again), OK);
      if (again != pool[i]) print_error("%s\n", text.data);
      assert_int_equal(again, pool[i]);
      diag_free(d);
      buf_free(&text);
    }
    free(env);
    module_free(e.m);
  }
}

/* ---- text ---- */

static const char round_trip[] =
    "module @\"tiny model-1\" {\n"
    "  dim S in 1..256\n"
    "  dim P in 0..8191\n"
    "  dim max in 1..4\n"
    "  const %emb : tensor<131x72 x f32 : q8_0> = weight \"model.embed_tokens.weight\"\n"
    "  const %wqkv : tensor<120x72 x f32 : q4_1> = weight \"q.weight\" : tensor<72x72 x f32 : "
    "q4_1> "
    "heads=3, \"k.weight\" : tensor<24x72 x f32 : q4_1> heads=1, \"v.weight\" : tensor<24x72 x f32 "
    ": "
    "q4_1>\n"
    "  const %g0 : tensor<72 x f32> = weight \"norm \\\"x\\\"\\x01.weight\" : tensor<72 x f32 : "
    "f16>\n"
    "  const %freqs : tensor<4 x f32> = dense [1, 0.1, -0, 3.4028235e+38]\n"
    "  const %half : tensor<2 x f16> = dense [0.5, inf]\n"
    "  const %brain : tensor<1 x bf16> = dense [1.5]\n"
    "  const %wide : tensor<2 x f64> = dense [0.1, 1e-300]\n"
    "  const %ints : tensor<2x2 x i32> = dense [1, -2, 2147483647, -2147483648]\n"
    "  const %longs : tensor<1 x i64> = dense [-9223372036854775808]\n"
    "  const %bytes : tensor<3 x u8> = dense [0, 1, 255]\n"
    "  const %bools : tensor<2 x bool> = dense [1, 0]\n"
    "  const %one : tensor<f32> = dense [1]\n"
    "  const %lists : tensor<2x2 x f32> = dense [1, 2, 3, 4]\n"
    "  const %rows : tensor<240x72 x f32> = weight \"a\", \"b\"\n"
    "  state %kv0 : cache<slots=1, context=8192, kv_heads=1, head_dim=24, f16>\n"
    "  state %kv1 : cache<slots=1, context=64, kv_heads=2, head_dim=40, q8_0>\n"
    "\n"
    "  graph @decode(%ids: tensor<S x i32>, %pos: tensor<S x i32>, %len: tensor<1 x i32>, %mask: "
    "tensor<(P+S) x f32>, %many: tensor<(max)x4 x f32>) -> (logits: %logits, \"two words\": %c) {\n"
    "    %x = gather %emb, %ids : tensor<Sx72 x f32>  // layer 0 / embedding\n"
    "    %n = rmsnorm %x, %g0 {eps = 1e-05} : tensor<Sx72 x f32>\n"
    "    %qkv = linear %n, %wqkv {act = i16, cluster = 1} : tensor<Sx120 x f32>\n"
    "    %q, %k, %v = split %qkv {axis = -1, sizes = [72, 24, 24]} : tensor<Sx72 x f32>, "
    "tensor<Sx24 "
    "x f32>, tensor<Sx24 x f32>\n"
    "    %qh = reshape %q {shape = [-1, 3, 24]} : tensor<Sx3x24 x f32>\n"
    "    %kh = reshape %k {shape = [-1, 1, 24]} : tensor<Sx1x24 x f32>\n"
    "    %vh = reshape %v {shape = [-1, 1, 24]} : tensor<Sx1x24 x f32>\n"
    "    %lf = rope_freqs %len, %lists {kind = longrope, base = 1e+10, dim = 4, original = 9} : "
    "tensor<2 x f32>\n"
    "    %f = rope_freqs %len {base = 10000, dim = 24, factor = 2, original = 2048} : tensor<12 x "
    "f32>\n"
    "    %cos, %sin = rope_table %pos, %f {scale = 1} : tensor<Sx12 x f32>, tensor<Sx12 x f32>\n"
    "    %12 = rope %qh, %cos, %sin {mode = pairs} : tensor<Sx3x24 x f32>\n"
    "    %c1 = kv_append %kv0, %kh, %vh\n"
    "    %a = attention_kv %12, %c1, %mask {scale = 0.20412414523193154, window = 128, causal = "
    "true} : "
    "tensor<Sx3x24 x f32>\n"
    "    %r = reshape %a {shape = [-1, 72]} : tensor<Sx72 x f32>\n"
    "    %rq = requant %r {act = i8} : tensor<Sx72 x f32 : act_i8>\n"
    "    %s = slice %r {start = -1, size = 1} : tensor<1x72 x f32>\n"
    "    %logits = linear %s, %emb {cluster = 1} : tensor<1x131 x f32>\n"
    "    %c = cast %logits {to = f16} : tensor<1x131 x f16>\n"
    "    cluster 1 contract anchor %qkv : %qkv, %logits\n"
    "  }\n"
    "\n"
    "  graph @other(%x: tensor<S x f32>) -> (y: %x) {\n"
    "  }\n"
    "}\n";

static Module *parse_ok(const char *text) {
  Diag *d = diag_new();
  Module *m = NULL;
  if (module_parse(text, "test.ir", d, &m) != OK) print_error("%s", diag_text(d));
  assert_non_null(m);
  if (module_verify(m, d) != OK) print_error("%s", diag_text(d));
  assert_int_equal(diag_errors(d), 0);
  diag_free(d);
  return m;
}

static void text_round_trips(void **state) {
  (void)state;
  Module *m = parse_ok(round_trip);
  Buf b = {0};
  module_print(m, &b);
  assert_string_equal(b.data, round_trip);
  assert_string_equal(m->consts[2].parts[0].name, "norm \"x\"\x01.weight");
  assert_true(signbit(((const float *)m->consts[3].dense)[2]));
  assert_int_equal(m->consts[1].parts[0].view.dim[0], 72);
  const Graph *g = module_find_graph(m, "decode");
  assert_string_equal(g->ops[1].origin, "layer 0 / embedding");
  assert_null(g->ops[2].origin);
  assert_int_equal(g->values[g->ops[1].out[0]].uses, 1);
  buf_free(&b);
  module_free(m);
}

/* Whatever passes call their values, the text can be read back. */
static void names_are_made_unique(void **state) {
  (void)state;
  Module *m = module_new("m");
  float one = 1;
  ConstDef c = {.name = "w", .type = {.dtype = DT_f32}, .dense = &one};
  assert_int_equal(module_const(m, &c), 0);
  assert_int_equal(module_const(m, &c), 1);
  assert_string_equal(m->consts[1].name, "w.1");
  Graph *g = module_graph(m, "g");
  ValueId x = graph_input(g, "x", (Type){.dtype = DT_f32});
  for (int i = 0; i < 3; i++) x = graph_binary(g, OP_add, x, graph_const(g, (uint32_t)i / 2));
  for (ValueId v = 1; v < g->nvalues; v++) g->values[v].name = v == x ? NULL : "w";
  g->values[g->inputs[0]].name = "2";
  graph_output(g, "y", x);
  Buf first = {0}, second = {0};
  module_print(m, &first);
  Module *again = parse_ok(first.data);
  module_print(again, &second);
  assert_string_equal(first.data, second.data);
  buf_free(&first);
  buf_free(&second);
  module_free(again);
  module_free(m);
}

/* Doubles survive their text exactly, and in few digits where few do. */
static void numbers_round_trip(void **state) {
  (void)state;
  const double values[] = {0.1,  1e-05, 1.0 / 3,  5e-324, 1.7976931348623157e308,
                           -0.0, 1e22,  123456789};
  for (size_t i = 0; i < COUNT(values); i++) {
    Buf b = {0};
    Lexer l;
    Arena *a = arena_new();
    Diag *d = diag_new();
    double back = 7;
    buf_double(&b, values[i], false);
    lex_init(&l, a, b.data, "n", d);
    assert_int_equal(lex_f64(&l, &back), OK);
    assert_memory_equal(&back, &values[i], sizeof back);
    diag_free(d);
    arena_free(a);
    buf_free(&b);
  }
  Buf b = {0};
  buf_double(&b, 1e-05, false);
  assert_string_equal(b.data, "1e-05");
  buf_free(&b);
}

/* ---- what the parser refuses ---- */

#define GRAPH(body)                                                                                \
  "module @m { dim S in 1..8 graph @g(%x: tensor<Sx4 x f32>) -> (y: %y) { " body " } }"

static void refuses(const char *text, const char *message) {
  Diag *d = diag_new();
  Module *m = NULL;
  assert_int_equal(module_parse(text, "bad.ir", d, &m), FAIL);
  assert_null(m);
  if (!strstr(diag_text(d), message)) fail_msg("%s\nlacks: %s", diag_text(d), message);
  assert_int_equal(diag_errors(d), 1);
  diag_free(d);
}

static void parser_refuses(void **state) {
  (void)state;
  refuses("", "expected 'module'");
  refuses("module @m {", "the end of the text");
  refuses("module @m { } x", "behind the module");
  refuses("module @m {\n  dim S in 1..\n}", "bad.ir:3:1: expected an integer");
  refuses("module @m { dim S in 9..8 }", "range of S");
  refuses("module @m { dim S in 1..8 dim S in 1..8 }", "declared twice");
  refuses("module @m { dim S in 0..1099511627777 }", "range of S");
  refuses("module @m { widget }", "expected dim, const, state, graph");
  refuses("module @m { $ }", "begins no token");
  refuses("module @m { const %w : tensor<4 x f32> = weight \"a }", "closing quote");
  refuses("module @m { const %w : tensor<4 x f32> = weight \"\\q\" }", "unknown escape");
  refuses("module @m { const %w : tensor<4 x f32> = dense [1, 2, 3] }", "3 elements (expected 4)");
  refuses("module @m { const %w : tensor<1 x u8> = dense [256] }", "does not fit u8");
  refuses("module @m { const %w : tensor<4 x f31> = dense [1] }", "'f31' is no dimension");
  refuses("module @m { const %w : tensor<T x f32> = dense [1] }", "'T' is no dimension");
  refuses("module @m { const %w : tensor<4 x f32 : q9_9> = dense [1] }", "no storage format");
  refuses("module @m { const %w : tensor<4 x i32 : q8_0> = weight \"a\" }", "only f32");
  refuses("module @m { const %w : tensor<1x1x1x1x1x1x1x1x1 x f32> = dense [1] }", "more than 8");
  refuses("module @m { const %w : tensor<1099511627776x1099511627776 x f32> = dense [1] }",
          "too many elements");
  refuses("module @m { const %w : tensor<99999999999999999999 x f32> = dense [1] }", "64 bits");
  refuses("module @m { const %w : tensor<1099511627777 x f32> = dense [1] }", "above 2^40");
  refuses("module @m { const %w : tensor<(0-4) x f32> = dense [1] }", "may be negative");
  refuses("module @m { const %w : tensor<(4/0) x f32> = dense [1] }", "divide by zero");
  refuses("module @m { const %w : tensor<f32> = dense [1] const %w : tensor<f32> = dense [1] }",
          "twice");
  refuses("module @m { state %s : cache<slots=0, context=1, kv_heads=1, head_dim=1, f16> }",
          "slots");
  refuses("module @m { state %s : cache<slots=1, context=1, kv_heads=1, head_dim=1, q4_0> }",
          "cache of 'q4_0' (expected i16, f16, f32 or q8_0)");
  refuses("module @m { state %s : cache<slots=1, context=1, kv_heads=1, head_dim=1, i8> }",
          "cache of 'i8'");
  refuses(GRAPH("%y = relus %x"), "is it 'relu'?");
  refuses(GRAPH("%y = frobnicate %x"), "no op is named 'frobnicate'");
  refuses(GRAPH("%y = relu %z"), "%z is not defined above");
  refuses(GRAPH("%y = relu %y"), "%y is not defined above");
  refuses(GRAPH("%z = relu %x"), "%y is never defined");
  refuses(GRAPH("%y = relu %x %y = relu %x"), "%y is defined twice");
  refuses(GRAPH("%y = relu %x, %x"), "relu has 2 operands");
  refuses(GRAPH("%y, %z = relu %x"), "relu has 1 results here (2 are named)");
  refuses(GRAPH("%y = relu %x {eps = 1}"), "relu has no attribute 'eps'");
  refuses(GRAPH("%y = rmsnorm %x {eps = true}"), "expected a number");
  refuses(GRAPH("%y = cast %x {to = f33}"), "is no value of to (expected one of f32, f16");
  refuses(GRAPH("%y = relu %x : tensor<Sx5 x f32>"), "inference gives tensor<Sx4 x f32>");
  refuses(GRAPH("%y = relu %x {cluster = 0}"), "at least 1");
  refuses(GRAPH("%y = relu %x cluster 2 map : %y"), "where 1 is expected");
  refuses(GRAPH("%y = relu %x cluster 1 heap : %y"), "no class of clusters");
  refuses(GRAPH("%y = relu %x cluster 1 map : %x"), "not the first result");
}

static void parser_bounds_recursion_and_counts(void **state) {
  (void)state;
  Buf b = {0};
  buf_puts(&b, "module @m { const %w : tensor<");
  for (int i = 0; i < 100000; i++) buf_puts(&b, "(");
  refuses(b.data, "parentheses deeper");
  b.size = 0;
  buf_puts(&b, "module @m { dim A in 1..2 const %w : tensor<(1");
  for (int i = 0; i < 40; i++) buf_puts(&b, "+A*A/(A+2)*A");
  buf_puts(&b, ") x f32> = weight \"a\" }");
  Diag *d = diag_new();
  Module *m;
  (void)module_parse(b.data, "t", d, &m); /* either way, without a crash */
  module_free(m);
  diag_free(d);
  b.size = 0;
  buf_puts(&b, GRAPH("%y = split %x {axis = -1, sizes = [1"));
  b.size -= 4;
  for (int i = 0; i < 100; i++) buf_puts(&b, ", 1");
  buf_puts(&b, "]} } }");
  refuses(b.data, "sizes of split has 101 elements");
  buf_free(&b);
}

/* ---- editing ---- */

static void editing_keeps_counts(void **state) {
  (void)state;
  Diag *d = diag_new();
  Module *m =
      parse_ok("module @m { dim S in 1..8 graph @g(%x: tensor<Sx4 x f32>) -> (y: %c, z: %a) { "
               "%a = relu %x %b = relu %x %c = add %a, %b } }");
  Graph *g = m->graphs[0];
  graph_replace(g, g->ops[2].out[0], g->ops[1].out[0]);
  graph_kill(g, 2);
  assert_int_equal(module_verify(m, d), OK);
  assert_int_equal(g->values[g->ops[1].out[0]].uses, 3);
  graph_sweep(g);
  assert_int_equal(g->nops, 3);
  assert_int_equal(module_verify(m, d), OK);
  /* an op added last but used first is sorted before its user */
  OpId neg = graph_op(g, OP_neg, &g->inputs[0], 1, NULL);
  graph_set_operand(g, 2, 0, g->ops[neg].out[0]);
  assert_int_equal(module_verify(m, d), FAIL);
  graph_sort(g);
  assert_int_equal(g->ops[3].code, OP_add);
  Diag *clean = diag_new();
  assert_int_equal(module_verify(m, clean), OK);
  diag_free(clean);
  diag_free(d);
  module_free(m);
}

/* An update pulled forward by a new user does not overtake those who read the state before it. */
static void sorting_keeps_readers_before_updates(void **state) {
  (void)state;
  Module *m = parse_ok("module @m { dim S in 1..8 dim P in 0..8 "
                       "state %kv : cache<slots=1, context=16, kv_heads=1, head_dim=4, f32> "
                       "graph @g(%q: tensor<Sx1x4 x f32>) -> (a: %n, b: %late) { "
                       "%n = neg %q "
                       "%old = attention_kv %q, %kv {scale = 1} "
                       "%c = kv_append %kv, %q, %q "
                       "%late = add %old, %n } }");
  Graph *g = m->graphs[0];
  ValueId in[2] = {g->inputs[0], g->ops[3].out[0]};
  Attrs attrs = {.attention = {.scale = 1}};
  ValueId after = graph_op1(g, OP_attention_kv, in, 2, &attrs);
  graph_set_operand(g, 1, 0, after); /* the first op now needs the update */
  graph_sort(g);
  const OpCode order[] = {OP_attention_kv, OP_kv_append, OP_attention_kv, OP_neg, OP_add};
  for (uint32_t i = 0; i < COUNT(order); i++) assert_int_equal(g->ops[i + 1].code, order[i]);
  Diag *d = diag_new();
  if (module_verify(m, d) != OK) fail_msg("%s", diag_text(d));
  diag_free(d);
  module_free(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dims_have_one_form),
      cmocka_unit_test(dims_have_ranges_and_values),
      cmocka_unit_test(dims_keep_their_values),
      cmocka_unit_test(text_round_trips),
      cmocka_unit_test(names_are_made_unique),
      cmocka_unit_test(numbers_round_trip),
      cmocka_unit_test(parser_refuses),
      cmocka_unit_test(parser_bounds_recursion_and_counts),
      cmocka_unit_test(editing_keeps_counts),
      cmocka_unit_test(sorting_keeps_readers_before_updates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
