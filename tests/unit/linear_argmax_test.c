/* linear_argmax against linear: the token is that of all outputs, however few were computed.
 *
 * Programs of one graph are lowered and run by the evaluator of Kernel IR. Besides random weights
 * there is the worst case of the bound: activations along the bits that the first launch does not
 * read, with a winner that those bits alone decide.
 */
#include "ir/eval.h"
#include "passes/lower/launch.h"
#include "passes/passes.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_ROWS = 1100, MOST_K = 512, LOW = 8 /* codes of q8_0 with equal upper bits */ };

static const LowerTarget TARGET = {"wide", 4, 8, 4, 8, 2048};

typedef struct World {
  Module *module;
  KProgram *program;
  uint8_t *weights;
  Diag *diag;
  Arena *arena;
  int64_t rows, k;
  uint8_t file[MOST_ROWS * MOST_K * 2];
} World;

static void need(World *w, Status s) {
  if (s != OK) fail_msg("%s", diag_text(w->diag));
}

/* After the caller has written w->file. */
static void world_init(World *w, Storage s, int64_t rows, int64_t k) {
  char text[512];
  PassCtx ctx = {0};
  snprintf(
      text, sizeof text,
      "module @m {\nconst %%w : tensor<%lldx%lld x f32 : %s> = weight \"w\"\n"
      "graph @main(%%x: tensor<1x%lld x f32>) -> (token: %%t, full: %%f, y: %%y) {\n"
      "%%t, %%f = linear_argmax %%x, %%w {act = i16}\n%%y = linear %%x, %%w {act = i16}\n}\n}\n",
      (long long)rows, (long long)k, storage_name(s), (long long)k);
  w->diag = diag_new();
  w->arena = arena_new();
  w->rows = rows;
  w->k = k;
  ctx.diag = w->diag;
  need(w, module_parse(text, "m", w->diag, &w->module));
  w->module->consts[0].parts[0].view =
      (WeightView){s, DT_f32, 2, {rows, k}, w->file, sizeof w->file};
  need(w, lower_module(w->module, &TARGET, &ctx, &w->program));
  w->weights = arena_alloc(w->arena, w->program->weight_bytes + 64);
  for (uint32_t i = 0; i < w->program->nweights; i++) {
    const KWeight *kw = &w->program->weights[i];
    need(w, pack_weight(w->module, kw, w->weights + kw->offset, w->diag));
  }
}

static void world_free(World *w) {
  module_free(w->module);
  diag_free(w->diag);
  arena_free(w->arena);
}

typedef struct Answer {
  int32_t token, full;
  float y[MOST_ROWS];
} Answer;

/* Also checks the token against y: the first of the largest, 0 where there is none. */
static void ask(World *w, float *x, Answer *a) {
  const Dims *dims = w->module->dims;
  int64_t *env = ARENA_ARRAY(w->arena, int64_t, dim_count(dims) + 1);
  for (DimId i = 1; i <= dim_count(dims); i++) env[i] = dim_eval(dims, i, env);
  KBuffer in = {x, (uint64_t)w->k * 4};
  KBuffer out[] = {{&a->token, 4}, {&a->full, 4}, {a->y, (uint64_t)w->rows * 4}};
  need(w, kprogram_eval(w->program, 0, env, w->weights, NULL, &in, out, w->diag));
  int32_t best = 0;
  float top = -INFINITY;
  for (int32_t r = 0; r < w->rows; r++) {
    if (!(a->y[r] > top)) continue;
    top = a->y[r];
    best = r;
  }
  assert_int_equal(a->token, best);
  assert_true(a->full >= 16 && a->full % 16 == 0 && a->full <= (w->rows + 15) / 16 * 16);
}

static float noise(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return (float)(int32_t)*seed / 2147483648.0f;
}

static void the_token_is_that_of_all_outputs(void **state) {
  static World w;
  static Answer a;
  static const struct {
    Storage storage;
    int64_t rows, k;
  } CASES[] = {{Q_q8_0, 3, 96},  {Q_q8_0, 37, 96},  {Q_q8_0, 1099, 64},
               {Q_q6_k, 3, 256}, {Q_q6_k, 37, 512}, {Q_q6_k, 270, 256}};
  (void)state;
  uint32_t seed = 7;
  int part = 0, negative = 0;
  for (size_t c = 0; c < COUNT(CASES); c++) {
    const QuantDef *q = quant_def(CASES[c].storage);
    int64_t padded = (int64_t)align_up((uint64_t)CASES[c].k, q->block);
    uint64_t row_bytes = (uint64_t)padded / q->block * q->block_bytes;
    float x[MOST_K];
    for (int64_t r = 0; r < CASES[c].rows; r++) {
      for (int64_t k = 0; k < padded; k++) x[k] = k < CASES[c].k ? noise(&seed) : 0;
      q->encode(x, NULL, w.file + (uint64_t)r * row_bytes, (size_t)padded);
    }
    world_init(&w, CASES[c].storage, CASES[c].rows, CASES[c].k);
    for (int i = 0; i < 8; i++) {
      for (int64_t k = 0; k < CASES[c].k; k++) x[k] = noise(&seed);
      ask(&w, x, &a);
      part += a.full < CASES[c].rows;
      negative += a.y[a.token] < 0;
    }
    world_free(&w);
  }
  assert_true(part > 8 && negative > 0); /* both kinds occur */
}

enum { ROWS = 64, K = 64, WINNER = 5, RIVAL = 39 };

/* Codes 0 .. 255 of a row of scale 1, even and odd elements. */
static void put_row(World *w, int row, int even, int odd) {
  uint8_t *p = w->file + row * (K / 32) * 34;
  for (int b = 0; b < K / 32; b++, p += 34) {
    p[0] = 0x00, p[1] = 0x3c; /* 1 in f16 */
    for (int k = 0; k < 32; k++) p[2 + k] = (uint8_t)((k % 2 ? odd : even) - 128);
  }
}

/* By its upper bits the rival is far ahead; the winner's low bits are all set, and the bound leaves
 * it half a unit an element, of three and a half that the low bits may add. */
static void low_bits_may_decide(void **state) {
  static World w;
  static Answer a;
  float x[K];
  (void)state;
  for (int r = 0; r < ROWS; r++) put_row(&w, r, 128, 128);
  put_row(&w, WINNER, 20 * LOW + 7, 20 * LOW + 7);
  put_row(&w, RIVAL, 21 * LOW, 20 * LOW + 5);
  world_init(&w, Q_q8_0, ROWS, K);
  for (int k = 0; k < K; k++) x[k] = 0.75f;
  ask(&w, x, &a);
  assert_int_equal(a.token, WINNER);
  assert_int_equal(a.full, 32); /* the groups of these two */
  for (int k = 0; k < K; k++) x[k] = k % 3 ? 0.75f : NAN;
  ask(&w, x, &a);
  assert_int_equal(a.full, ROWS);
  memset(x, 0, sizeof x);
  ask(&w, x, &a);
  assert_int_equal(a.full, ROWS);
  world_free(&w);
}

static void the_first_of_equals_wins(void **state) {
  static World w;
  static Answer a;
  float x[K];
  (void)state;
  for (int r = 0; r < ROWS; r++) put_row(&w, r, 100, 99);
  put_row(&w, RIVAL, 200, 201);
  put_row(&w, RIVAL + 8, 200, 201);
  put_row(&w, RIVAL + 20, 200, 201);
  world_init(&w, Q_q8_0, ROWS, K);
  for (int k = 0; k < K; k++) x[k] = 1;
  ask(&w, x, &a);
  assert_int_equal(a.token, RIVAL);
  world_free(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_token_is_that_of_all_outputs),
      cmocka_unit_test(low_bits_may_decide),
      cmocka_unit_test(the_first_of_equals_wins),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
