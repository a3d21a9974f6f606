/* Lowering against the evaluator: every case is lowered, packed and interpreted as Kernel IR.
 *
 * Three things are held for each case of op_common.h, fused and op by op: values within the case's
 * tolerance of graph_eval; the same bits for targets with different tiles; and, row for row, the
 * same bits for a run of S rows, S runs of one row, and S runs of the graph of one literal token.
 */
#include "tests/op/op_common.h"

#include <math.h>

/* Tiles that do not divide the cases' sizes, and those of real machines. */
static const LowerTarget TARGETS[] = {
    {"narrow", 2, 4, 2, 4, 1024, .panel_words = 1, .key_vectors = 1, .float_groups = 2},
    {"wide", 4, 8, 4, 8, 2048, .float_groups = 3, .chains = 4},
    {"odd", 3, 5, 3, 3, 0, .mma = true, .key_vectors = 3, .chains = 3},
};

static bool stateful(const World *w) {
  return w->reference->nstates > 0;
}

/* ---- judging ---- */

static void compare(const OpCase *c, const RefTensor *want, const KBuffer *got) {
  double largest = c->random ? 1 : 0;
  assert_int_equal(got->size, want->elements * 4);
  for (int64_t i = 0; want->f && i < want->elements; i++)
    if (isfinite(want->f[i])) largest = fmax(largest, fabs(want->f[i]));
  for (int64_t i = 0; i < want->elements; i++) {
    float x;
    int32_t n;
    memcpy(&x, (const uint8_t *)got->data + 4 * i, 4);
    memcpy(&n, &x, 4);
    if (want->i ? n == want->i[i] : fabs(x - want->f[i]) <= c->tolerance * largest) continue;
    fail_msg("%s: output %s, element %lld: %.9g (expected %.9g, largest %.3g)", c->name, want->name,
             (long long)i, want->i ? n : (double)x, want->i ? (double)want->i[i] : want->f[i],
             largest);
  }
}

static void judge_values(const OpCase *c, const LowerTarget *target, bool fused) {
  World w;
  world_init(&w, c, target, fused);
  const Graph *g = w.reference->graphs[0];
  RefState *ref_states = ref_states_new(w.arena, w.reference);
  uint8_t **states = states_new(&w);
  int64_t first = 0;
  for (int r = 0; c->runs[r]; r++) {
    RefTensor in[MAX_IO], *want;
    KBuffer got[MAX_IO];
    const Dims *dims = w.reference->dims;
    int64_t *env = ARENA_ARRAY(w.arena, int64_t, dim_count(dims) + 1);
    env[dim_find(dims, "P")] = first;
    env[dim_find(dims, "S")] = c->runs[r];
    for (uint32_t i = 0; i < g->ninputs; i++)
      in[i] = make_input(&w, c, &g->values[g->inputs[i]], env, first);
    const RefSymbol symbols[] = {{"P", first}, {"S", c->runs[r]}};
    need(&w, graph_eval(w.arena, g, ref_states, in, g->ninputs, symbols, 2, &want, w.diag),
         c->name);
    uint32_t n = run_program(&w, c, first, c->runs[r], states, got);
    assert_int_equal(n, g->noutputs);
    for (uint32_t i = 0; i < n; i++) compare(c, &want[i], &got[i]);
    first += c->runs[r];
  }
  world_free(&w);
}

/* Outputs of all targets, of all runs: the same bytes. */
static void judge_targets(const OpCase *c, bool fused) {
  World w[COUNT(TARGETS)];
  uint8_t **states[COUNT(TARGETS)];
  for (size_t t = 0; t < COUNT(TARGETS); t++) {
    world_init(&w[t], c, &TARGETS[t], fused);
    states[t] = states_new(&w[t]);
  }
  int64_t first = 0;
  for (int r = 0; c->runs[r]; r++) {
    KBuffer a[MAX_IO], b[MAX_IO];
    uint32_t n = run_program(&w[0], c, first, c->runs[r], states[0], a);
    for (size_t t = 1; t < COUNT(TARGETS); t++) {
      run_program(&w[t], c, first, c->runs[r], states[t], b);
      for (uint32_t i = 0; i < n; i++) {
        if (memcmp(a[i].data, b[i].data, a[i].size) != 0)
          fail_msg("%s: targets %s and %s give different bits (output %u, S = %lld)", c->name,
                   TARGETS[0].name, TARGETS[t].name, i, (long long)c->runs[r]);
      }
    }
    first += c->runs[r];
  }
  for (size_t t = 0; t < COUNT(TARGETS); t++) world_free(&w[t]);
}

/* True when outputs have one row a token and a token's row depends on no later token. */
static bool row_by_row(const World *w, const OpCase *c) {
  const Graph *g = w->reference->graphs[0];
  DimId s = dim_find(w->reference->dims, "S");
  for (uint32_t i = 0; i < g->noutputs; i++) {
    const Type *t = &g->values[g->outputs[i]].type;
    if (t->rank == 0 || t->dim[0] != s) return false;
  }
  for (uint32_t i = 0; i < g->ninputs; i++) {
    const Type *t = &g->values[g->inputs[i]].type;
    if (t->rank == 0 || (t->dim[0] != s && !strstr(c->inputs, "mask"))) return false;
  }
  return stateful(w) || !strstr(c->body, "attention");
}

/* One run of all rows against runs of one row, by the same program and by that of one literal
 * token. */
static void judge_chunks(const OpCase *c, bool fused) {
  World w[2];
  OpCase literal = one_token(c);
  world_init(&w[0], c, &TARGETS[1], fused);
  world_init(&w[1], &literal, &TARGETS[1], fused);
  if (row_by_row(&w[0], c)) {
    int64_t total = 0;
    for (int r = 0; c->runs[r]; r++) total += c->runs[r];
    KBuffer all[MAX_IO], one[MAX_IO];
    uint32_t n = run_program(&w[0], c, 0, total, states_new(&w[0]), all);
    for (int how = 0; how < 2; how++) {
      uint8_t **states = states_new(&w[how]);
      for (int64_t row = 0; row < total; row++) {
        run_program(&w[how], how ? &literal : c, row, 1, states, one);
        for (uint32_t i = 0; i < n; i++) {
          const uint8_t *at = (const uint8_t *)all[i].data + (uint64_t)row * one[i].size;
          if (memcmp(at, one[i].data, one[i].size) != 0)
            fail_msg("%s: row %lld of output %u differs between one run of %lld and runs of 1%s",
                     c->name, (long long)row, i, (long long)total, how ? ", S literal" : "");
        }
      }
    }
  }
  world_free(&w[0]);
  world_free(&w[1]);
}

/* ---- folded weights ---- */

enum { FOLD_N = 32, FOLD_K = 512 };

/* Rows of the identity meet a weight's columns as they are: [k][n]. */
static float *columns_of(Arena *a, const char *storage, const char *attrs, bool program) {
  OpCase c = {.name = storage, .inputs = "%eye: tensor<Sx512 x f32>", .outputs = "y: %y"};
  c.declarations = arena_printf(a, "const %%w : tensor<%dx%d x f32 : %s> = weight \"w\"\n", FOLD_N,
                                FOLD_K, storage);
  c.body = arena_printf(a, "%%y = linear %%eye, %%w {%s}\n", attrs);
  World w;
  world_init(&w, &c, &TARGETS[1], true);
  const Graph *g = w.reference->graphs[0];
  float *y = ARENA_ARRAY(a, float, (size_t)FOLD_N *FOLD_K);
  if (program) {
    KBuffer out[MAX_IO];
    run_program(&w, &c, 0, FOLD_K, states_new(&w), out);
    memcpy(y, out[0].data, out[0].size);
  } else {
    const Dims *dims = w.reference->dims;
    int64_t *env = ARENA_ARRAY(w.arena, int64_t, dim_count(dims) + 1);
    env[dim_find(dims, "S")] = FOLD_K;
    RefTensor in = make_input(&w, &c, &g->values[g->inputs[0]], env, 0), *want;
    const RefSymbol symbols[] = {{"P", 0}, {"S", FOLD_K}};
    need(&w,
         graph_eval(w.arena, g, ref_states_new(w.arena, w.reference), &in, 1, symbols, 2, &want,
                    w.diag),
         c.name);
    memcpy(y, want[0].f, (size_t)want[0].elements * sizeof *y);
  }
  world_free(&w);
  return y;
}

/* A folded weight is the weight to three quarters of a step (rounded to the nearest, of a scale
 * that is rounded too), and neither up nor down on the whole. A step is 1/127 of what the codes of
 * 256 can mean, which of few levels is above the largest that they do mean. */
static void folding_rounds_to_the_nearest(void **state) {
  (void)state;
  int folded = 0;
  for (size_t s = 0; s < COUNT(STORAGES); s++) {
    if (!folds(STORAGES[s])) continue;
    Arena *a = arena_new();
    const float *x = columns_of(a, STORAGES[s], "act = f32", false);
    const float *y = columns_of(a, STORAGES[s], arena_printf(a, "act = %s", FOLDED), true);
    double bias = 0, largest = 0;
    for (int n = 0; n < FOLD_N; n++)
      for (int half = 0; half < 2; half++) {
        float top = 0;
        for (int k = 0; k < 256; k++) top = fmaxf(top, fabsf(x[(256 * half + k) * FOLD_N + n]));
        for (int k = 0; k < 256; k++) {
          int at = (256 * half + k) * FOLD_N + n;
          double step = top / 127, off = step > 0 ? (y[at] - x[at]) / step : 0;
          bias += off / (FOLD_N * FOLD_K);
          largest = fmax(largest, fabs(off));
        }
      }
    if (largest > 1.25 || fabs(bias) > 0.1 || largest == 0)
      fail_msg("%s: off by %.3f steps at most, %.4f on average", STORAGES[s], largest, bias);
    arena_free(a);
    folded++;
  }
  assert_true(folded >= 8);
}

static void judge(const OpCase *c) {
  OpCase one = one_token(c);
  for (int fused = 0; fused < 2; fused++) {
    judge_values(c, &TARGETS[0], fused);
    judge_values(&one, &TARGETS[0], fused);
    judge_targets(c, fused);
    judge_chunks(c, fused);
  }
}

static void run_case(void **state) {
  judge(*state);
}

/* An argument picks cases by name; * and ? are wildcards. */
int main(int argc, char **argv) {
  Arena *a = arena_new();
  CaseList l = all_cases(a, SIZE_MAX, 200);
  struct CMUnitTest *tests = ARENA_ARRAY(a, struct CMUnitTest, l.n + 1);
  for (size_t i = 0; i < l.n; i++)
    tests[i] =
        (struct CMUnitTest){.name = l.c[i].name, .test_func = run_case, .initial_state = &l.c[i]};
  tests[l.n] = (struct CMUnitTest)cmocka_unit_test(folding_rounds_to_the_nearest);
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  int failed = _cmocka_run_group_tests("op.lower", tests, l.n + 1, NULL, NULL);
  mem_free(l.c);
  arena_free(a);
  return failed;
}
