/* Lowering against the evaluator: every case is lowered, packed and interpreted as Kernel IR.
 *
 * The cases are op_cases.h and two sweeps made here (linear over shapes, formats and activations;
 * gather over formats). Three things are held for each: values within the table's tolerance of
 * graph_eval; the same bits for targets with different tiles; and, row for row, the same bits for a
 * run of S rows and S runs of one row.
 */
#include "ir/eval.h"
#include "passes/passes.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_RUNS = 8, MAX_IO = 6, NAMES = 32 };

typedef struct OpCase {
  const char *name;
  double tolerance;
  int64_t runs[MAX_RUNS];
  const char *declarations, *inputs, *outputs, *body;
} OpCase;

static const OpCase CASES[] = {
#define CASE(name, tolerance, runs, declarations, inputs, outputs, body)                           \
  {name, tolerance, runs, declarations, inputs, outputs, body},
#include "op_cases.h"
#undef CASE
};

/* Tiles that do not divide the cases' sizes, and those of real machines. */
static const LowerTarget TARGETS[] = {
    {"narrow", 2, 4, 2, 4, 1024},
    {"wide", 4, 8, 4, 8, 2048},
    {"odd", 3, 5, 3, 3, 0},
};

typedef struct World {
  Module *reference, *lowered;
  KProgram *program;
  uint8_t *weights;
  Diag *diag;
  Arena *arena;
} World;

/* ---- making modules ---- */

static float noise(uint32_t seed, int64_t i) {
  uint32_t h = seed * 2654435761u + (uint32_t)i * 40503u + 12345u;
  h ^= h >> 15;
  h *= 2246822519u;
  h ^= h >> 13;
  h *= 3266489917u;
  h ^= h >> 16;
  return (float)((int32_t)(h >> 8) - (1 << 23)) / (float)(1 << 23);
}

static uint32_t seed_of(const char *name) {
  uint32_t h = 5381;
  for (; *name; name++) h = h * 33 + (uint8_t)*name;
  return h;
}

/* Gives every weight of the module values in an f32 "file". */
static void fill_weights(World *w, Module *m) {
  for (uint32_t c = 0; c < m->nconsts; c++) {
    ConstDef *def = &m->consts[c];
    if (!def->nparts) continue;
    WeightView v = {.storage = Q_f32, .dtype = DT_f32, .rank = def->type.rank};
    int64_t n = 1;
    for (int i = 0; i < v.rank; i++) {
      dim_is_const(m->dims, def->type.dim[i], &v.dim[i]);
      n *= v.dim[i];
    }
    float *x = ARENA_ARRAY(w->arena, float, (size_t)n);
    for (int64_t i = 0; i < n; i++) x[i] = noise(seed_of(def->parts[0].name), i);
    v.data = (const uint8_t *)x;
    v.bytes = (uint64_t)n * 4;
    def->parts[0].view = v;
  }
}

static Module *parse(World *w, const OpCase *c) {
  char text[4096];
  Module *m;
  snprintf(
      text, sizeof text,
      "module @t {\n dim P in 0..199\n dim S in 1..200\n %s graph @main(%s) -> (%s) {\n %s }\n}\n",
      c->declarations, c->inputs, c->outputs, c->body);
  if (module_parse(text, c->name, w->diag, &m) != OK) fail_msg("%s", diag_text(w->diag));
  fill_weights(w, m);
  return m;
}

static void need(World *w, Status s, const char *what) {
  if (s != OK) fail_msg("%s: %s", what, diag_text(w->diag));
}

/* `fused`: as a compile does it, but for the choice of formats, which the cases make; else op by
 * op. */
static void world_init(World *w, const OpCase *c, const LowerTarget *target, bool fused) {
  static const char *const passes[] = {"canonicalize", "fold_constants", "cse", "dce",
                                       "merge_linear", "requant",        "fuse"};
  *w = (World){.diag = diag_new(), .arena = arena_new()};
  PassCtx ctx = {.diag = w->diag};
  bool changed;
  w->reference = parse(w, c);
  w->lowered = parse(w, c);
  for (size_t i = 0; fused && i < COUNT(passes); i++) {
    need(w, graph_pass_find(passes[i])->run(w->lowered, &ctx, &changed), c->name);
    for (uint32_t g = 0; g < w->lowered->ngraphs; g++) graph_sweep(w->lowered->graphs[g]);
  }
  need(w, module_verify(w->lowered, w->diag), c->name);
  need(w, lower_module(w->lowered, target, &ctx, &w->program), c->name);
  w->weights = arena_alloc(w->arena, w->program->weight_bytes + 64);
  for (uint32_t i = 0; i < w->program->nweights; i++) {
    const KWeight *k = &w->program->weights[i];
    need(w, pack_weight(w->lowered, k, w->weights + k->offset, w->diag), c->name);
  }
  for (uint32_t i = 0; i < w->program->nkernels; i++)
    need(w, kernel_verify(w->program->kernels[i], w->diag), c->name);
}

static void world_free(World *w) {
  module_free(w->reference);
  module_free(w->lowered);
  diag_free(w->diag);
  arena_free(w->arena);
}

/* ---- running ---- */

/* Row `row` of the whole sequence decides the numbers, so that a run of S rows and S runs of one
 * row see the same: `first` is the position of the run's first row. */
static RefTensor make_input(World *w, const Value *v, const int64_t *env, int64_t first) {
  const Dims *dims = w->reference->dims;
  RefTensor t = {.name = v->name, .dtype = v->type.dtype, .rank = v->type.rank, .elements = 1};
  bool per_row = false;
  for (int i = 0; i < t.rank; i++) {
    t.dim[i] = dim_eval(dims, v->type.dim[i], env);
    t.elements *= t.dim[i];
    if (i == 0) per_row = v->type.dim[0] == dim_find(dims, "S");
  }
  int64_t skip = per_row && t.dim[0] ? first * (t.elements / t.dim[0]) : 0;
  t.f = ARENA_ARRAY(w->arena, float, (size_t)t.elements + 1);
  t.i = ARENA_ARRAY(w->arena, int64_t, (size_t)t.elements + 1);
  for (int64_t i = 0; i < t.elements; i++) {
    int64_t at = i + skip;
    t.f[i] = 3 * noise(seed_of(v->name), at);
    if (strcmp(v->name, "mask") == 0 || strcmp(v->name, "hide") == 0) t.f[i] = at % 3 != 0;
    t.i[i] = strcmp(v->name, "pos") == 0 ? at : (at * 5 + 3) % 7;
    if (strcmp(v->name, "seq_len") == 0) t.i[i] = first + env[dim_find(dims, "S")];
  }
  if (dtype_is_float(t.dtype))
    t.i = NULL;
  else
    t.f = NULL;
  return t;
}

/* A dense tensor as the program's bytes (f32 and i32 inputs). */
static KBuffer to_bytes(World *w, const RefTensor *t) {
  KBuffer b = {t->f, (uint64_t)t->elements * 4};
  if (t->f) return b;
  int32_t *x = ARENA_ARRAY(w->arena, int32_t, (size_t)t->elements + 1);
  for (int64_t i = 0; i < t->elements; i++) x[i] = (int32_t)t->i[i];
  b.data = x;
  return b;
}

/* One run of the program; outputs as bytes. Returns how many. */
static uint32_t run_program(World *w, const OpCase *c, int64_t first, int64_t s,
                            uint8_t *const *states, KBuffer *out) {
  const Graph *g = w->lowered->graphs[0];
  const Dims *dims = w->lowered->dims;
  const KEntry *e = &w->program->entries[0];
  int64_t *env = ARENA_ARRAY(w->arena, int64_t, dim_count(dims) + 1);
  KBuffer in[MAX_IO];
  env[dim_find(dims, "P")] = first;
  env[dim_find(dims, "S")] = s;
  for (DimId i = 1; i <= dim_count(dims); i++) env[i] = dim_eval(dims, i, env);
  for (uint32_t i = 0; i < g->ninputs; i++) {
    RefTensor t = make_input(w, &g->values[g->inputs[i]], env, first);
    in[i] = to_bytes(w, &t);
  }
  for (uint32_t i = 0; i < e->noutputs; i++) {
    int64_t n = 1;
    for (int k = 0; k < e->outputs[i].type.rank; k++) n *= env[e->outputs[i].type.dim[k]];
    out[i].size = (uint64_t)n * 4;
    out[i].data = arena_alloc(w->arena, out[i].size + 1);
    memset(out[i].data, 0xff, out[i].size);
  }
  need(w, kprogram_eval(w->program, 0, env, w->weights, states, in, out, w->diag), c->name);
  return e->noutputs;
}

static uint8_t **states_new(World *w) {
  uint8_t **s = ARENA_ARRAY(w->arena, uint8_t *, w->program->nstates + 1);
  for (uint32_t i = 0; i < w->program->nstates; i++)
    s[i] = arena_alloc(w->arena, w->program->states[i].bytes + 64);
  return s;
}

static bool stateful(const World *w) {
  return w->reference->nstates > 0;
}

/* ---- judging ---- */

static void compare(const OpCase *c, const RefTensor *want, const KBuffer *got) {
  double largest = 0;
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
      in[i] = make_input(&w, &g->values[g->inputs[i]], env, first);
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

static void judge_chunks(const OpCase *c, bool fused) {
  World w;
  world_init(&w, c, &TARGETS[1], fused);
  if (row_by_row(&w, c)) {
    int64_t total = 0;
    for (int r = 0; c->runs[r]; r++) total += c->runs[r];
    KBuffer all[MAX_IO], one[MAX_IO];
    uint32_t n = run_program(&w, c, 0, total, states_new(&w), all);
    uint8_t **states = states_new(&w);
    for (int64_t row = 0; row < total; row++) {
      run_program(&w, c, row, 1, states, one);
      for (uint32_t i = 0; i < n; i++) {
        const uint8_t *at = (const uint8_t *)all[i].data + (uint64_t)row * one[i].size;
        if (memcmp(at, one[i].data, one[i].size) != 0)
          fail_msg("%s: row %lld of output %u differs between one run of %lld and runs of 1",
                   c->name, (long long)row, i, (long long)total);
      }
    }
  }
  world_free(&w);
}

static void judge(const OpCase *c) {
  for (int fused = 0; fused < 2; fused++) {
    judge_values(c, &TARGETS[0], fused);
    judge_targets(c, fused);
    judge_chunks(c, fused);
  }
}

/* ---- the tests ---- */

static void run_case(void **state) {
  judge(*state);
}

static void run_linears(void **state) {
  static const Storage storages[] = {Q_f32, Q_f16, Q_bf16, Q_q4_0, Q_q4_1, Q_q5_0, Q_q5_1, Q_q8_0};
  static const struct {
    int n, k;
    bool bias;
  } shapes[] = {
      {16, 32, false}, {131, 72, true}, {5, 96, false}, {200, 33, true}, {49, 288, false}};
  static const char *const acts[] = {"f32", "i16", "i8"};
  const Storage storage = storages[*(const size_t *)*state];
  for (size_t i = 0; i < COUNT(shapes) * COUNT(acts); i++) {
    char name[NAMES * 2], declarations[256], inputs[64], body[128];
    int n = shapes[i / COUNT(acts)].n, k = shapes[i / COUNT(acts)].k;
    bool bias = shapes[i / COUNT(acts)].bias;
    const char *act = acts[i % COUNT(acts)];
    snprintf(name, sizeof name, "linear %s %s %dx%d", storage_name(storage), act, n, k);
    snprintf(declarations, sizeof declarations,
             "const %%w : tensor<%dx%d x f32 : %s> = weight \"w\"\n"
             " const %%b : tensor<%d x f32> = weight \"b\"\n",
             n, k, storage_name(storage), n);
    snprintf(inputs, sizeof inputs, "%%x: tensor<Sx%d x f32>", k);
    snprintf(body, sizeof body, "%%y = linear %%x, %%w%s {act = %s}\n", bias ? ", %b" : "", act);
    OpCase c = {name, 4e-6, {1, 7, 33}, declarations, inputs, "y: %y", body};
    judge(&c);
  }
}

static void run_gathers(void **state) {
  static const char *const storages[] = {"f32",  "f16",  "bf16", "q4_0",
                                         "q4_1", "q5_0", "q5_1", "q8_0"};
  (void)state;
  for (size_t i = 0; i < COUNT(storages); i++) {
    char declarations[128];
    snprintf(declarations, sizeof declarations,
             "const %%w : tensor<35x72 x f32 : %s> = weight \"w\"\n", storages[i]);
    OpCase c = {"gather",
                0,
                {1, 5},
                declarations,
                "%ids: tensor<S x i32>",
                "y: %y",
                "%y = gather %w, %ids\n"};
    judge(&c);
  }
}

/* An argument picks cases by name; * and ? are wildcards. */
int main(int argc, char **argv) {
  static const char *const names[] = {"linear f32",  "linear f16",  "linear bf16", "linear q4_0",
                                      "linear q4_1", "linear q5_0", "linear q5_1", "linear q8_0"};
  static size_t index[COUNT(names)];
  static struct CMUnitTest tests[COUNT(CASES) + COUNT(names) + 1];
  size_t n = 0;
  for (size_t i = 0; i < COUNT(CASES); i++) {
    tests[n++] = (struct CMUnitTest){
        .name = CASES[i].name, .test_func = run_case, .initial_state = (void *)&CASES[i]};
  }
  for (size_t i = 0; i < COUNT(names); i++) {
    index[i] = i;
    tests[n++] =
        (struct CMUnitTest){.name = names[i], .test_func = run_linears, .initial_state = &index[i]};
  }
  tests[n++] = (struct CMUnitTest){.name = "gather", .test_func = run_gathers};
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return _cmocka_run_group_tests("op", tests, n, NULL, NULL);
}
