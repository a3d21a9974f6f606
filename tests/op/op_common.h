/* What the tests of lowering share: the cases, modules made of them, inputs, and one run.
 *
 * The cases are the table of op_cases.h, two sweeps made here (linear over shapes, formats and
 * activations; gather over formats) and random graphs. Included once by each test program;
 * everything is static.
 */
#ifndef INGOT_TESTS_OP_COMMON_H
#define INGOT_TESTS_OP_COMMON_H

#include "ir/eval.h"
#include "passes/passes.h"
#include "tests/op/op_random.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_RUNS = 8, MAX_IO = 6 };

typedef struct OpCase {
  const char *name;
  double tolerance;
  int64_t runs[MAX_RUNS];
  const char *declarations, *inputs, *outputs, *body;
  bool random; /* errors count against 1 where all values are small */
  bool one;    /* with the literal 1 in place of S, as a decode entry has it */
} OpCase;

static const OpCase TABLE[] = {
#define CASE(name, tolerance, runs, declarations, inputs, outputs, body)                           \
  {name, tolerance, runs, declarations, inputs, outputs, body, false, false},
#include "tests/op/op_cases.h"
#undef CASE
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

/* S as the literal 1 wherever it is a dimension of an input. */
static const char *literal_inputs(World *w, const OpCase *c) {
  char *text = arena_strdup(w->arena, c->inputs);
  for (char *at = text; (at = strchr(at, 'S')) != NULL; at++)
    if (strchr("<x+", at[-1]) && strchr("x )", at[1])) *at = '1';
  return text;
}

static Module *parse(World *w, const OpCase *c) {
  char text[4096];
  Module *m;
  snprintf(
      text, sizeof text,
      "module @t {\n dim P in 0..599\n dim S in 1..600\n %s graph @main(%s) -> (%s) {\n %s }\n}\n",
      c->declarations, c->one ? literal_inputs(w, c) : c->inputs, c->outputs, c->body);
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
  bool changed = false;
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
static RefTensor make_input(World *w, const OpCase *c, const Value *v, const int64_t *env,
                            int64_t first) {
  const Dims *dims = w->reference->dims;
  bool per_row = strstr(c->inputs, arena_printf(w->arena, "%%%s: tensor<S", v->name)) != NULL;
  RefTensor t = {.name = v->name, .dtype = v->type.dtype, .rank = v->type.rank, .elements = 1};
  for (int i = 0; i < t.rank; i++) {
    t.dim[i] = dim_eval(dims, v->type.dim[i], env);
    t.elements *= t.dim[i];
  }
  int64_t skip = per_row && t.dim[0] ? first * (t.elements / t.dim[0]) : 0;
  t.f = ARENA_ARRAY(w->arena, float, (size_t)t.elements + 1);
  t.i = ARENA_ARRAY(w->arena, int64_t, (size_t)t.elements + 1);
  for (int64_t i = 0; i < t.elements; i++) {
    int64_t at = i + skip;
    t.f[i] = 3 * noise(seed_of(v->name), at);
    if (strcmp(v->name, "eye") == 0) t.f[i] = at / t.dim[1] == at % t.dim[1];
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

/* What one run of the program is given: dimensions, inputs, outputs, as bytes. */
typedef struct Run {
  int64_t *env;
  KBuffer in[MAX_IO], out[MAX_IO];
  uint32_t nout;
} Run;

static Run make_run(World *w, const OpCase *c, int64_t first, int64_t s) {
  const Graph *g = w->lowered->graphs[0];
  const Dims *dims = w->lowered->dims;
  const KEntry *e = &w->program->entries[0];
  Run r = {.env = ARENA_ARRAY(w->arena, int64_t, dim_count(dims) + 1), .nout = e->noutputs};
  r.env[dim_find(dims, "P")] = first;
  r.env[dim_find(dims, "S")] = s;
  for (DimId i = 1; i <= dim_count(dims); i++) r.env[i] = dim_eval(dims, i, r.env);
  for (uint32_t i = 0; i < g->ninputs; i++) {
    RefTensor t = make_input(w, c, &g->values[g->inputs[i]], r.env, first);
    r.in[i] = to_bytes(w, &t);
  }
  for (uint32_t i = 0; i < e->noutputs; i++) {
    int64_t n = 1;
    for (int k = 0; k < e->outputs[i].type.rank; k++) n *= r.env[e->outputs[i].type.dim[k]];
    r.out[i].size = (uint64_t)n * 4;
    r.out[i].data = arena_alloc(w->arena, r.out[i].size + 1);
    memset(r.out[i].data, 0xff, r.out[i].size);
  }
  return r;
}

/* One run by the evaluator of Kernel IR; outputs as bytes. Returns how many. */
static uint32_t run_program(World *w, const OpCase *c, int64_t first, int64_t s,
                            uint8_t *const *states, KBuffer *out) {
  Run r = make_run(w, c, first, s);
  need(w, kprogram_eval(w->program, 0, r.env, w->weights, states, r.in, r.out, w->diag), c->name);
  memcpy(out, r.out, sizeof r.out);
  return r.nout;
}

static uint8_t **states_new(World *w) {
  uint8_t **s = ARENA_ARRAY(w->arena, uint8_t *, w->program->nstates + 1);
  for (uint32_t i = 0; i < w->program->nstates; i++)
    s[i] = arena_alloc(w->arena, w->program->states[i].bytes + 64);
  return s;
}

/* ---- all cases ---- */

/* The formats that are computed. */
static const char *const STORAGES[] = {
#define QUANT(name, ggml, block, bytes, packed) #name,
#define QUANT_NAMED(name, ggml, block, bytes)
#include "ir/quants.def"
#undef QUANT
#undef QUANT_NAMED
};

typedef struct CaseList {
  OpCase *c;
  size_t n, cap;
} CaseList;

/* A folded weight may be a code, 1/127 of its stretch's largest, beside the evaluator's, which
 * rounds values and not codes; of the largest output these are at most some hundredths. */
static const char *const FOLDED = "i8, fold = true";

static bool folds(const char *storage) {
  Storage s;
  return storage_parse(storage, &s) && quant_folds(quant_def(s));
}

static void add_linear(Arena *a, CaseList *l, const char *storage, const char *act, int n, int k,
                       bool bias) {
  OpCase *c = VEC_PUSH(l->c, l->n, l->cap);
  *c = (OpCase){.tolerance = 4e-6, .runs = {1, 7, 33}, .outputs = "y: %y"};
  if (act == FOLDED && folds(storage)) c->tolerance = 2e-2;
  c->name = arena_printf(a, "linear %s %s %dx%d", storage, act, n, k);
  c->declarations = arena_printf(a,
                                 "const %%w : tensor<%dx%d x f32 : %s> = weight \"w\"\n"
                                 " const %%b : tensor<%d x f32> = weight \"b\"\n",
                                 n, k, storage, n);
  c->inputs = arena_printf(a, "%%x: tensor<Sx%d x f32>", k);
  c->body = arena_printf(a, "%%y = linear %%x, %%w%s {act = %s}\n", bias ? ", %b" : "", act);
}

static void add_gather(Arena *a, CaseList *l, const char *storage) {
  OpCase *c = VEC_PUSH(l->c, l->n, l->cap);
  *c = (OpCase){.runs = {1, 5}, .inputs = "%ids: tensor<S x i32>", .outputs = "y: %y"};
  c->name = arena_printf(a, "gather %s", storage);
  c->declarations =
      arena_printf(a, "const %%w : tensor<35x72 x f32 : %s> = weight \"w\"\n", storage);
  c->body = "%y = gather %w, %ids\n";
}

static void add_random(Arena *a, CaseList *l, uint32_t seed) {
  OpCase *c = VEC_PUSH(l->c, l->n, l->cap);
  *c = (OpCase){.tolerance = 1e-4, .runs = {1, 4}, .random = true};
  c->name = arena_printf(a, "random %u", seed);
  random_graph(a, seed, &c->declarations, &c->inputs, &c->outputs, &c->body);
}

/* The case with one literal token, run a few times. */
static OpCase one_token(const OpCase *c) {
  OpCase one = *c;
  one.one = true;
  memcpy(one.runs, (int64_t[MAX_RUNS]){1, 1, 1}, sizeof one.runs);
  return one;
}

/* `shapes`: how many of the linear shapes; `randoms`: how many random graphs. */
static CaseList all_cases(Arena *a, size_t shapes, uint32_t randoms) {
  const char *const acts[] = {"f32", "i16", "i8", FOLDED};
  static const struct {
    int n, k;
    bool bias;
  } shape[] = {{131, 72, true}, {16, 32, false}, {5, 96, false}, {200, 33, true}, {49, 288, false}};
  CaseList l = {0};
  for (size_t i = 0; i < COUNT(TABLE); i++) *VEC_PUSH(l.c, l.n, l.cap) = TABLE[i];
  for (size_t s = 0; s < COUNT(STORAGES); s++) {
    for (size_t i = 0; i < COUNT(shape) && i < shapes; i++)
      for (size_t t = 0; t < COUNT(acts); t++)
        add_linear(a, &l, STORAGES[s], acts[t], shape[i].n, shape[i].k, shape[i].bias);
    add_gather(a, &l, STORAGES[s]);
  }
  for (uint32_t i = 0; i < randoms; i++) add_random(a, &l, i);
  return l;
}

#endif
