/* Graph passes keep what a model computes: the reference evaluator runs a small model, with real
 * weights behind its constants, before and after; and the runner does what its options say.
 */
#include "ir/eval.h"
#include "passes/pipeline.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One layer of a llama with something for every pass: biases, constants on the left, dead ops. */
static const char layer[] =
    "module @layer {\n"
    "  dim S in 1..8\n"
    "  dim P in 0..24\n"
    "  const %emb : tensor<40x64 x f32 : f32> = weight \"emb\"\n"
    "  const %g : tensor<64 x f32> = weight \"g\"\n"
    "  const %wq : tensor<64x64 x f32 : f32> = weight \"q\" heads=4\n"
    "  const %wk : tensor<32x64 x f32 : f32> = weight \"k\" heads=2\n"
    "  const %wv : tensor<32x64 x f32 : f32> = weight \"v\"\n"
    "  const %bq : tensor<64 x f32> = weight \"bq\"\n"
    "  const %bk : tensor<32 x f32> = weight \"bk\"\n"
    "  const %bv : tensor<32 x f32> = weight \"bv\"\n"
    "  const %wo : tensor<64x64 x f32 : f32> = weight \"o\"\n"
    "  const %wgate : tensor<96x64 x f32 : f32> = weight \"gate\"\n"
    "  const %wup : tensor<96x64 x f32 : f32> = weight \"up\"\n"
    "  const %wdown : tensor<64x96 x f32 : f32> = weight \"down\"\n"
    "  const %freqs : tensor<8 x f32> = dense [1, 0.5, 0.25, 0.125, 0.1, 0.05, 0.01, 0.001]\n"
    "  const %one : tensor<f32> = dense [1]\n"
    "  const %two : tensor<f32> = dense [2]\n"
    "  const %half : tensor<f32> = dense [0.5]\n"
    "  state %kv : cache<slots=1, context=32, kv_heads=2, head_dim=16, f32>\n"
    "  graph @main(%ids: tensor<S x i32>, %pos: tensor<S x i32>) -> (logits: %logits, token: "
    "%token) {\n"
    "    %x = gather %emb, %ids\n"
    "    %fold = mul %two, %half\n"
    "    %x1 = mul %fold, %x\n"
    "    %n = rmsnorm %x1, %g {eps = 1e-05}\n"
    "    %q = linear %n, %wq, %bq  // layer 0 / q\n"
    "    %k = linear %n, %wk, %bk  // layer 0 / k\n"
    "    %v = linear %n, %wv, %bv  // layer 0 / v\n"
    "    %qh = reshape %q {shape = [-1, 4, 16]}\n"
    "    %kh0 = reshape %k {shape = [-1, 32]}\n"
    "    %kh = reshape %kh0 {shape = [-1, 2, 16]}\n"
    "    %vh = reshape %v {shape = [-1, 2, 16]}\n"
    "    %cos, %sin = rope_table %pos, %freqs {scale = 1}\n"
    "    %cos2, %sin2 = rope_table %pos, %freqs {scale = 1}\n"
    "    %qr = rope %qh, %cos, %sin\n"
    "    %kr = rope %kh, %cos2, %sin2\n"
    "    %c = kv_append %kv, %kr, %vh\n"
    "    %a = attention_kv %qr, %c {scale = 0.25, causal = true}\n"
    "    %ar = reshape %a {shape = [-1, 64]}\n"
    "    %o = linear %ar, %wo\n"
    "    %r = add %x1, %o\n"
    "    %dead = tanh %r\n"
    "    %gate = linear %r, %wgate\n"
    "    %up = linear %r, %wup\n"
    "    %act = silu %gate\n"
    "    %m = mul %act, %up\n"
    "    %down = linear %m, %wdown\n"
    "    %r2 = add %down, %r\n"
    "    %last = slice %r2 {axis = 0, start = -1, size = 1}\n"
    "    %logits = linear %last, %emb\n"
    "    %token = argmax %logits\n"
    "  }\n"
    "}\n";

typedef struct Case {
  Arena *a;
  Diag *d;
  Module *m;
} Case;

/* Puts seeded floats behind every weight whose elements are only named. */
static void fill_weights(Case *c) {
  uint64_t seed = 42;
  for (uint32_t i = 0; i < c->m->nconsts; i++) {
    for (uint32_t k = 0; k < c->m->consts[i].nparts; k++) {
      WeightView *v = &c->m->consts[i].parts[k].view;
      size_t n = (size_t)(v->dim[0] * (v->rank > 1 ? v->dim[1] : 1));
      float *x = ARENA_ARRAY(c->a, float, n);
      for (size_t j = 0; j < n; j++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[j] = ((float)(seed >> 40) / (float)(1 << 24) - 0.5f) * 0.4f;
      }
      v->data = (const uint8_t *)x;
      v->bytes = n * sizeof *x;
    }
  }
}

static Case case_new(void) {
  Case c = {.a = arena_new(), .d = diag_new()};
  if (module_parse(layer, "layer.ir", c.d, &c.m) != OK || module_verify(c.m, c.d) != OK)
    fail_msg("%s", diag_text(c.d));
  fill_weights(&c);
  return c;
}

static void case_free(Case *c) {
  module_free(c->m);
  diag_free(c->d);
  arena_free(c->a);
}

/* Logits of two runs, the second over the first one's cache. */
static const float *run(Case *c) {
  RefState *states = ref_states_new(c->a, c->m);
  const Graph *g = module_find_graph(c->m, "main");
  float *out = ARENA_ARRAY(c->a, float, 80);
  int64_t ids[2][3] = {{3, 17, 39}, {5, 0, 0}}, pos[2][3] = {{0, 1, 2}, {3, 0, 0}};
  for (int r = 0; r < 2; r++) {
    int64_t n = r ? 1 : 3;
    RefTensor in[2] = {{.name = "ids", .dtype = DT_i32, .rank = 1, .dim = {n}, .elements = n},
                       {.name = "pos", .dtype = DT_i32, .rank = 1, .dim = {n}, .elements = n}};
    in[0].i = ids[r];
    in[1].i = pos[r];
    RefSymbol past = {"P", r ? 3 : 0};
    RefTensor *result;
    if (graph_eval(c->a, g, states, in, 2, &past, 1, &result, c->d) != OK)
      fail_msg("%s", diag_text(c->d));
    memcpy(out + 40 * r, result[0].f, 40 * sizeof *out);
  }
  return out;
}

static double distance(const float *x, const float *y) {
  double most = 0, size = 0;
  for (int i = 0; i < 80; i++) {
    most = fmax(most, fabs((double)x[i] - y[i]));
    size = fmax(size, fabs((double)x[i]));
  }
  return most / size;
}

static void pipeline(Case *c, PassOptions options, const char *first, const char *last) {
  PassCtx p = {.diag = c->d, .options = options};
  PipelineOptions o = {.verify_each = true, .start_from = first, .stop_after = last};
  if (pipeline_run(c->m, &p, &o) != OK) fail_msg("%s", diag_text(c->d));
}

static uint32_t count_ops(const Graph *g, OpCode code) {
  uint32_t n = 0;
  for (OpId o = 1; o < g->nops; o++) n += !g->ops[o].dead && g->ops[o].code == code;
  return n;
}

static void passes_keep_the_meaning(void **state) {
  (void)state;
  Case before = case_new(), after = case_new();
  pipeline(&after, (PassOptions){.act = ACT_i16}, NULL, "requant");
  assert_true(distance(run(&before), run(&after)) < 1e-5);
  const Graph *g = after.m->graphs[0];
  assert_int_equal(count_ops(g, OP_linear), 5); /* q,k,v; o; gate,up; down; logits */
  assert_int_equal(count_ops(g, OP_split), 2);
  assert_int_equal(count_ops(g, OP_rope_table), 1);
  assert_int_equal(count_ops(g, OP_tanh), 0);
  assert_int_equal(count_ops(g, OP_mul), 1);     /* x * (2 * 0.5) is gone */
  assert_int_equal(count_ops(g, OP_requant), 0); /* float weights read values as they are */
  case_free(&before);
  case_free(&after);
}

/* What quantisation costs is decided by quantize; nothing after it changes a value. */
static void stacking_and_requant_keep_quantised_values(void **state) {
  (void)state;
  const struct {
    Storage quant;
    ActFormat act;
    double most; /* against float weights: the order of the format's step */
  } cases[] = {{Q_q8_0, ACT_i16, 0.03},
               {Q_q8_0, ACT_i8, 0.05},
               {Q_q4_1, ACT_i16, 0.4},
               {Q_q5_0, ACT_f32, 0.3},
               {Q_f16, ACT_i16, 1e-3}};
  Case plain = case_new();
  const float *want = run(&plain);
  for (size_t i = 0; i < COUNT(cases); i++) {
    PassOptions o = {.quant = cases[i].quant, .act = cases[i].act};
    Case one = case_new(), all = case_new();
    pipeline(&one, o, "quantize", "quantize");
    pipeline(&all, o, NULL, "requant");
    const float *x = run(&one), *y = run(&all);
    assert_true(distance(x, y) < 1e-4);
    assert_true(distance(want, x) < cases[i].most);
    assert_true(distance(want, x) > 1e-6);
    bool integers = cases[i].quant != Q_f16 && cases[i].act != ACT_f32;
    assert_int_equal(count_ops(all.m->graphs[0], OP_requant), integers ? 5 : 0);
    case_free(&one);
    case_free(&all);
  }
  case_free(&plain);
}

/* A table of ids beside a model 32 times its size: positions, not words. */
static void small_tables_stay_in_f32(void **state) {
  (void)state;
  static const char text[] =
      "module @m {\n"
      "  dim S in 1..8\n"
      "  const %words : tensor<1000x64 x f32 : f32> = weight \"words\"\n"
      "  const %places : tensor<16x64 x f32 : f32> = weight \"places\"\n"
      "  graph @main(%ids: tensor<S x i32>, %pos: tensor<S x i32>) -> (y: %y) {\n"
      "    %x = gather %words, %ids\n"
      "    %p = gather %places, %pos\n"
      "    %y = add %x, %p\n"
      "  }\n"
      "}\n";
  const struct {
    Storage quant, words, places;
  } cases[] = {{Q_q8_0, Q_q8_0, Q_f32}, {Q_f16, Q_f16, Q_f16}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    Case c = {.a = arena_new(), .d = diag_new()};
    assert_int_equal(module_parse(text, "m.ir", c.d, &c.m), OK);
    pipeline(&c, (PassOptions){.quant = cases[i].quant}, "quantize", "quantize");
    assert_int_equal(c.m->consts[0].type.storage, cases[i].words);
    assert_int_equal(c.m->consts[1].type.storage, cases[i].places);
    case_free(&c);
  }
}

static void runner_checks_its_names(void **state) {
  (void)state;
  Case c = case_new();
  PassCtx p = {.diag = c.d};
  assert_int_equal(pipeline_run(c.m, &p, &(PipelineOptions){.dump = "fusee"}), FAIL);
  assert_non_null(strstr(diag_text(c.d), "--dump: no pass is named 'fusee'; is it 'fuse'?"));
  assert_int_equal(pipeline_run(c.m, &p, &(PipelineOptions){.stop_after = "x"}), FAIL);
  assert_int_equal(pipeline_run(c.m, &p, &(PipelineOptions){.start_from = "x"}), FAIL);
  assert_int_equal(diag_errors(c.d), 3);
  case_free(&c);
}

static void runner_dumps_and_times(void **state) {
  (void)state;
  Case c = case_new();
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream(&text, &size);
  PassCtx p = {.diag = c.d, .options.act = ACT_i16};
  PipelineOptions o = {.dump = "dce", .stop_after = "cse", .time = true, .report = f};
  assert_int_equal(pipeline_run(c.m, &p, &o), OK);
  fflush(f);
  assert_non_null(strstr(text, "canonicalize"));
  assert_null(strstr(text, "// after")); /* dce was not reached */
  o = (PipelineOptions){.dump = "dce", .start_from = "dce", .stop_after = "dce", .report = f};
  assert_int_equal(pipeline_run(c.m, &p, &o), OK);
  fclose(f);
  assert_non_null(strstr(text, "// after dce\nmodule @layer {\n"));
  free(text);
  case_free(&c);
}

/* A second run of a pass finds nothing more to do. */
static void passes_reach_their_end(void **state) {
  (void)state;
  Case c = case_new();
  size_t n;
  const GraphPass *all = graph_passes(&n);
  PassOptions o = {.quant = Q_q8_0, .act = ACT_i16};
  pipeline(&c, o, NULL, "requant");
  for (size_t i = 0; i < n && strcmp(all[i].name, "fuse") != 0; i++) {
    PassCtx p = {.diag = c.d, .options = o};
    bool changed = false;
    assert_int_equal(all[i].run(c.m, &p, &changed), OK);
    if (changed) fail_msg("%s changes its own result", all[i].name);
  }
  case_free(&c);
}

static void opt_text_reports(void **state) {
  (void)state;
  Diag *d = diag_new();
  PassCtx p = {.diag = d};
  Buf out = {0};
  assert_int_equal(opt_text("module @m { }", "a.ir", "", &p, &out), OK);
  assert_string_equal(out.data, "module @m {\n}\n");
  assert_int_equal(opt_text("module @m { }", "a.ir", "dce,,cse", &p, &out), FAIL);
  assert_int_equal(opt_text("modul @m { }", "a.ir", "dce", &p, &out), FAIL);
  p.options.quant = Q_q8_k;
  assert_int_equal(opt_text("module @m { }", "a.ir", "quantize", &p, &out), FAIL);
  assert_non_null(strstr(diag_text(d), "--quant: q8_k can't be written"));
  buf_free(&out);
  diag_free(d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(passes_keep_the_meaning),
      cmocka_unit_test(stacking_and_requant_keep_quantised_values),
      cmocka_unit_test(small_tables_stay_in_f32),
      cmocka_unit_test(runner_checks_its_names),
      cmocka_unit_test(runner_dumps_and_times),
      cmocka_unit_test(passes_reach_their_end),
      cmocka_unit_test(opt_text_reports),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
