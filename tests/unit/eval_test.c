/* The evaluator of Graph IR on whole graphs: symbols, states, constants, and its errors.
 *
 * The module is one attention layer in text form. One prefill of n tokens, prefills in chunks and n
 * decode steps must agree; constants are read back from file blocks of several formats, stacked and
 * with interleaved rotary halves.
 */
#include "ir/const_rows.h"
#include "ir/eval.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static const char LAYER[] =
    "module @layer {\n"
    "  dim P in 0..15\n"
    "  dim S in 1..16\n"
    "  const %emb : tensor<7x8 x f32> = weight \"emb\"\n"
    "  const %wqkv : tensor<16x8 x f32> = weight \"qkv\"\n"
    "  const %norm : tensor<8 x f32> = weight \"norm\"\n"
    "  const %freqs : tensor<2 x f32> = dense [1, 0.1]\n"
    "  state %kv : cache<slots=1, context=12, kv_heads=1, head_dim=4, f32>\n"
    "  graph @prefill(%ids: tensor<S x i32>, %pos: tensor<S x i32>, %mask: tensor<(P+S) x f32>)"
    " -> (y: %y) {\n"
    "    %x = gather %emb, %ids\n"
    "    %n = rmsnorm %x, %norm {eps = 1e-05}\n"
    "    %qkv = linear %n, %wqkv\n"
    "    %q, %k, %v = split %qkv {axis = -1, sizes = [8, 4, 4]}\n"
    "    %q3 = reshape %q {shape = [-1, 2, 4]}\n"
    "    %k3 = reshape %k {shape = [-1, 1, 4]}\n"
    "    %v3 = reshape %v {shape = [-1, 1, 4]}\n"
    "    %cos, %sin = rope_table %pos, %freqs {scale = 1}\n"
    "    %qr = rope %q3, %cos, %sin\n"
    "    %kr = rope %k3, %cos, %sin\n"
    "    %c1 = kv_append %kv, %kr, %v3\n"
    "    %a = attention_kv %qr, %c1, %mask {scale = 0.5, causal = true}\n"
    "    %a2 = reshape %a {shape = [-1, 8]}\n"
    "    %y = add %x, %a2\n"
    "  }\n"
    "}\n";

typedef struct World {
  Module *module;
  Diag *diag;
  Arena *arena;
  float emb[7 * 8], qkv[16 * 8], norm[8];
} World;

static WeightView view_f32(const float *x, int64_t rows, int64_t cols) {
  return (WeightView){Q_f32,
                      DT_f32,
                      cols ? 2 : 1,
                      {rows, cols},
                      (const uint8_t *)x,
                      (uint64_t)(rows * (cols ? cols : 1)) * 4};
}

static void world_init(World *w) {
  w->diag = diag_new();
  w->arena = arena_new();
  if (module_parse(LAYER, "layer", w->diag, &w->module) != OK) fail_msg("%s", diag_text(w->diag));
  for (int i = 0; i < 56; i++) w->emb[i] = sinf((float)(i * i));
  for (int i = 0; i < 128; i++) w->qkv[i] = sinf((float)(i * 7 + 1)) / 2;
  for (int i = 0; i < 8; i++) w->norm[i] = 1 + (float)i / 10;
  w->module->consts[0].parts[0].view = view_f32(w->emb, 7, 8);
  w->module->consts[1].parts[0].view = view_f32(w->qkv, 16, 8);
  w->module->consts[2].parts[0].view = view_f32(w->norm, 8, 0);
}

static void world_free(World *w) {
  module_free(w->module);
  diag_free(w->diag);
  arena_free(w->arena);
}

enum { TOKENS = 6 };
static const int64_t IDS[TOKENS] = {3, 0, 6, 6, 1, 2};

/* Runs tokens from..from+n-1 and writes their rows of y. */
static Status forward(World *w, RefState *states, int64_t from, int64_t n, const float *mask,
                      float *y) {
  int64_t ids[TOKENS + 8], pos[TOKENS + 8];
  for (int64_t i = 0; i < n; i++) {
    ids[i] = IDS[(from + i) % TOKENS];
    pos[i] = from + i;
  }
  float ones[32];
  for (int i = 0; i < 32; i++) ones[i] = 1;
  const RefTensor in[] = {
      {"pos", DT_i32, 1, {n}, n, NULL, pos},
      {"mask", DT_f32, 1, {from + n}, from + n, (float *)(mask ? mask : ones), NULL},
      {"ids", DT_i32, 1, {n}, n, NULL, ids},
  };
  const RefSymbol past = {"P", from};
  RefTensor *out;
  TRY(graph_eval(w->arena, w->module->graphs[0], states, in, 3, &past, 1, &out, w->diag));
  assert_string_equal(out[0].name, "y");
  assert_int_equal(out[0].elements, n * 8);
  memcpy(y + from * 8, out[0].f, (size_t)n * 8 * sizeof *y);
  return OK;
}

static void assert_near(const float *a, const float *b, int n) {
  for (int i = 0; i < n; i++) assert_true(fabsf(a[i] - b[i]) <= 1e-6f);
}

static void chunks_and_steps_agree(void **state) {
  static const int64_t chunks[3][TOKENS] = {{6}, {2, 3, 1}, {1, 1, 1, 1, 1, 1}};
  float y[3][TOKENS * 8];
  World w;
  (void)state;
  world_init(&w);
  for (int c = 0; c < 3; c++) {
    RefState *states = ref_states_new(w.arena, w.module);
    for (int64_t at = 0, i = 0; at < TOKENS; at += chunks[c][i++])
      assert_int_equal(forward(&w, states, at, chunks[c][i], NULL, y[c]), OK);
  }
  assert_near(y[0], y[1], TOKENS * 8);
  assert_near(y[0], y[2], TOKENS * 8);
  world_free(&w);
}

/* The first token sees itself alone: its attention is its own value, twice (two query heads). */
static void the_first_token_by_hand(void **state) {
  float y[8], x[8], v[4] = {0};
  double square = 0;
  World w;
  (void)state;
  world_init(&w);
  assert_int_equal(forward(&w, ref_states_new(w.arena, w.module), 0, 1, NULL, y), OK);
  memcpy(x, w.emb + IDS[0] * 8, sizeof x);
  for (int i = 0; i < 8; i++) square += (double)x[i] * x[i];
  double r = 1 / sqrt(square / 8 + 1e-5);
  for (int n = 0; n < 4; n++)
    for (int k = 0; k < 8; k++) v[n] += (float)(x[k] * r * w.norm[k]) * w.qkv[(12 + n) * 8 + k];
  for (int i = 0; i < 8; i++) assert_true(fabsf(y[i] - (x[i] + v[i % 4])) < 1e-6f);
  world_free(&w);
}

/* A hidden first token leaves the others as if it were not there, but for their positions, on
 * which rotary scores do not depend. */
static void a_hidden_key_has_no_effect(void **state) {
  const float mask[TOKENS] = {0, 1, 1, 1, 1, 1};
  float hidden[TOKENS * 8], all[TOKENS * 8];
  World w;
  (void)state;
  world_init(&w);
  RefState *states = ref_states_new(w.arena, w.module);
  assert_int_equal(forward(&w, states, 0, TOKENS, mask, hidden), OK);
  assert_int_equal(forward(&w, states, 0, TOKENS, NULL, all), OK);
  assert_memory_equal(hidden, w.emb + IDS[0] * 8, 32); /* sees nothing: attention is zero */
  assert_true(fabsf(hidden[15] - all[15]) > 1e-4f);
  world_free(&w);
}

static void errors_say_what_is_wrong(void **state) {
  float y[16 * 8];
  World w;
  (void)state;
  world_init(&w);
  RefState *states = ref_states_new(w.arena, w.module);
  const Graph *g = w.module->graphs[0];
  RefTensor *out;
  assert_int_equal(forward(&w, states, 8, 5, NULL, y), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "beyond the context of 12"));
  assert_int_equal(graph_eval(w.arena, g, states, NULL, 0, NULL, 0, &out, w.diag), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "input ids is missing"));
  const RefSymbol wrong = {"Q", 1}, far = {"P", 99};
  assert_int_equal(graph_eval(w.arena, g, states, NULL, 0, &wrong, 1, &out, w.diag), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "no symbol Q"));
  assert_int_equal(graph_eval(w.arena, g, states, NULL, 0, &far, 1, &out, w.diag), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "P = 99 is not in 0..15"));
  w.module->consts[0].parts[0].view.data = NULL;
  assert_int_equal(forward(&w, states, 0, 2, NULL, y), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "only its name is known"));
  world_free(&w);
}

/* ---- constants ---- */

static const char CONSTS[] =
    "module @c {\n"
    "  const %w : tensor<12x32 x f32> = weight \"q\" heads=2, \"k\"\n"
    "  const %small : tensor<12x32 x f32 : q4_0> = weight \"q\" heads=2, \"k\"\n"
    "  const %odd : tensor<2x40 x f32 : q8_0> = weight \"odd\"\n"
    "  const %d : tensor<2x2 x i32> = dense [1, -2, 3, 4]\n"
    "}\n";

static void constants_are_stacked_and_unpermuted(void **state) {
  float q[8 * 32], k[4 * 32], odd[2 * 40], want[12 * 32];
  uint8_t k_blocks[4 * 34], block[34];
  Diag *d = diag_new();
  Arena *a = arena_new();
  Module *m;
  RefTensor t;
  (void)state;
  assert_int_equal(module_parse(CONSTS, "c", d, &m), OK);
  for (int i = 0; i < 8 * 32; i++) q[i] = cosf((float)i);
  for (int i = 0; i < 4 * 32; i++) k[i] = sinf((float)i);
  for (int i = 0; i < 80; i++) odd[i] = sinf((float)i);
  quant_def(Q_q8_0)->encode(k, NULL, k_blocks, 4 * 32);
  for (int c = 0; c < 2; c++) {
    m->consts[c].parts[0].view = view_f32(q, 8, 32);
    m->consts[c].parts[1].view =
        (WeightView){Q_q8_0, DT_f32, 2, {4, 32}, k_blocks, sizeof k_blocks};
  }
  m->consts[2].parts[0].view = view_f32(odd, 2, 40);

  /* heads of 4 rows: logical h, half, i stands at file row 4h + 2i + half */
  static const int from[8] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (int r = 0; r < 8; r++) memcpy(want + r * 32, q + from[r] * 32, 128);
  quant_def(Q_q8_0)->decode(k_blocks, want + 8 * 32, 4 * 32);
  assert_int_equal(const_dense(a, m, 0, &t, d), OK);
  assert_memory_equal(t.f, want, sizeof want);

  assert_int_equal(const_dense(a, m, 1, &t, d), OK);
  for (int r = 0; r < 12; r++) {
    float y[32];
    quant_def(Q_q4_0)->encode(want + r * 32, NULL, block, 32);
    quant_def(Q_q4_0)->decode(block, y, 32);
    assert_memory_equal(t.f + r * 32, y, sizeof y);
  }

  assert_int_equal(const_dense(a, m, 2, &t, d), OK); /* 40 = 32 + 8, filled up by zeros */
  for (int i = 0; i < 80; i++) assert_true(fabsf(t.f[i] - odd[i]) < 0.5f / 127 + 0.001f);

  assert_int_equal(const_dense(a, m, 3, &t, d), OK);
  assert_true(t.i[0] == 1 && t.i[1] == -2 && t.i[3] == 4);
  module_free(m);
  arena_free(a);
  diag_free(d);
}

static void bad_weights_are_refused(void **state) {
  static const struct {
    WeightView view;
    int32_t heads;
    const char *message;
  } CASES[] = {
      {{Q_q8_1, DT_f32, 2, {2, 40}, (const uint8_t *)"x", 1 << 20}, 0, "stored as q8_1"},
      {{Q_f32, DT_f32, 2, {2, 40}, (const uint8_t *)"x", 319}, 0, "has 319 bytes, too few"},
      {{Q_f32, DT_f32, 2, {3, 40}, (const uint8_t *)"x", 480}, 0, "3 rows together"},
      {{Q_f32, DT_f32, 2, {2, 41}, (const uint8_t *)"x", 400}, 0, "expected rows of 40"},
      {{Q_f32, DT_f32, 2, {2, 40}, (const uint8_t *)"x", 320}, 2, "two rotary halves"},
      {{Q_q8_0, DT_f32, 2, {2, 40}, (const uint8_t *)"x", 320}, 0, "whole blocks of q8_0"},
      {{Q_plain, DT_i32, 2, {2, 40}, (const uint8_t *)"x", 320}, 0, "elements of i32"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT(CASES); i++) {
    Diag *d = diag_new();
    Module *m;
    ConstRows rows;
    assert_int_equal(module_parse(CONSTS, "c", d, &m), OK);
    m->consts[2].parts[0].view = CASES[i].view;
    m->consts[2].parts[0].interleaved_heads = CASES[i].heads;
    assert_int_equal(const_rows_open(m, 2, &rows, d), FAIL);
    if (!strstr(diag_text(d), CASES[i].message))
      fail_msg("case %zu: '%s' lacks '%s'", i, diag_text(d), CASES[i].message);
    assert_non_null(strstr(diag_text(d), "odd"));
    module_free(m);
    diag_free(d);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chunks_and_steps_agree),
      cmocka_unit_test(the_first_token_by_hand),
      cmocka_unit_test(a_hidden_key_has_no_effect),
      cmocka_unit_test(errors_say_what_is_wrong),
      cmocka_unit_test(constants_are_stacked_and_unpermuted),
      cmocka_unit_test(bad_weights_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
