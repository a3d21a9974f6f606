/* The cpu backend on lowered models: every case of op_common.h on every ISA level of this machine.
 *
 * All cases are lowered for each level's tiles and their kernels compiled together into one object,
 * linked as a shared library and launched here, as a program's runtime would, with par loops
 * cut in two as two threads would. Outputs and states must have the bits that the evaluator of
 * Kernel IR gives for another target's tiles.
 */
#include "tests/emu/levels.h"
#include "tests/op/op_common.h"

#include <dlfcn.h>
#include <stdlib.h>

enum { LEVELS = 8 };

/* A case at every level; `base` is where its kernels begin in the combined program. */
typedef struct Native {
  World judge, level[LEVELS];
  uint32_t base;
} Native;

typedef struct Suite {
  Arena *arena;
  CaseList cases;
  Native *native;
  const CpuTarget *level[LEVELS]; /* those that this machine runs */
  KProgram *program[LEVELS];
  uint32_t nlevels;
  const IngotModel *model;
} Suite;
static Suite suite;

static const LowerTarget JUDGE = {"odd", 3, 5, 3, 3, 0};

/* ---- compiling ---- */

static char folder[] = "/tmp/ingot-op-test-XXXXXX";

static void find_levels(Suite *s) {
  size_t n;
  const CpuTarget *all = cpu_targets(&n);
  assert_non_null(cpu_target_native());
  for (size_t i = 0; i < n && s->nlevels < LEVELS; i++)
    if (test_runs_level(&all[i])) s->level[s->nlevels++] = &all[i];
}

/* One program a level out of the kernels of all cases; it has no entries of its own. */
static void combine(Suite *s) {
  Module *m = module_new("cases");
  for (uint32_t t = 0; t < s->nlevels; t++) {
    KProgram *p = ARENA_NEW(s->arena, KProgram);
    *p = (KProgram){.module = m, .arena = s->arena};
    for (size_t i = 0; i < s->cases.n; i++) {
      const KProgram *from = s->native[i].level[t].program;
      s->native[i].base = p->nkernels;
      assert_int_equal(from->nkernels, s->native[i].level[0].program->nkernels);
      for (uint32_t k = 0; k < from->nkernels; k++)
        *VEC_PUSH(p->kernels, p->nkernels, p->ckernels) = from->kernels[k];
    }
    s->program[t] = p;
  }
}

static void compile(Suite *s) {
  static const ProgramText text = {.name = "cases", .arch = "none", .task = "generate"};
  Diag *d = diag_new();
  EmitResult result;
  char *object = arena_printf(s->arena, "%s/cases.o", folder);
  char *shared = arena_printf(s->arena, "%s/cases.so", folder);
  char *link =
      arena_printf(s->arena, "%s -shared -z noexecstack -o %s %s", TEST_LLD, shared, object);
  EmitRequest r = {.module = s->program[0]->module,
                   .programs = s->program,
                   .levels = s->level,
                   .nlevels = s->nlevels,
                   .text = &text,
                   .kind = EMIT_OBJ,
                   .out = object};
  if (backend_cpu.emit(&r, d, &result) != OK) fail_msg("%s", diag_text(d));
  assert_int_equal(system(link), 0);
  void *handle = dlopen(shared, RTLD_NOW | RTLD_LOCAL);
  if (!handle) fail_msg("%s", dlerror());
  s->model = dlsym(handle, "ingot_model");
  diag_free(d);
}

static int setup(void **state) {
  Suite *s = &suite;
  (void)state;
  assert_non_null(mkdtemp(folder));
  s->native = ARENA_ARRAY(s->arena, Native, s->cases.n);
  find_levels(s);
  for (size_t i = 0; i < s->cases.n; i++) {
    world_init(&s->native[i].judge, &s->cases.c[i], &JUDGE, true);
    for (size_t t = 0; t < s->nlevels; t++)
      world_init(&s->native[i].level[t], &s->cases.c[i], &s->level[t]->lower, true);
  }
  combine(s);
  compile(s);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  for (size_t i = 0; i < suite.cases.n; i++) {
    world_free(&suite.native[i].judge);
    for (uint32_t t = 0; t < suite.nlevels; t++) world_free(&suite.native[i].level[t]);
  }
  return system(arena_printf(suite.arena, "rm -r %s", folder));
}

/* ---- launching ---- */

static void *resolve(const World *w, const Run *r, uint8_t *arena, uint8_t *const *states,
                     const KBind *bind) {
  uint8_t *base = NULL;
  switch (bind->space) {
  case KS_arena: base = arena; break;
  case KS_weight: base = w->weights; break;
  case KS_state: base = states[bind->index]; break;
  case KS_input: base = r->in[bind->index].data; break;
  case KS_output: base = r->out[bind->index].data; break;
  }
  return base + bind->offset;
}

static void run_native(World *w, const Run *r, IngotKernelFn *const *fns, uint8_t *const *states) {
  const KEntry *e = &w->program->entries[0];
  uint8_t *arena = arena_alloc(w->arena, e->arena_bytes + 64);
  arena = (uint8_t *)align_up((uint64_t)(uintptr_t)arena, 64);
  memset(arena, 0xff, e->arena_bytes);
  for (uint32_t i = 0; i < e->nlaunches; i++) {
    const KLaunch *l = &e->launches[i];
    const Kernel *k = w->program->kernels[l->kernel];
    void **buffers = ARENA_ARRAY(w->arena, void *, k->nbuffers + 1);
    int64_t *scalars = ARENA_ARRAY(w->arena, int64_t, k->nscalars + 1);
    for (uint32_t j = 0; j < k->nbuffers; j++)
      buffers[j] = resolve(w, r, arena, states, &l->bind[j]);
    for (uint32_t j = 0; j < k->nscalars; j++) scalars[j] = r->env[l->scalar[j]];
    int64_t extent = r->env[l->extent], half = extent / 2;
    fns[l->kernel](buffers, scalars, half, extent); /* the second thread may be first */
    fns[l->kernel](buffers, scalars, 0, half);
  }
}

static void check_level(Native *n, const OpCase *c, uint32_t t) {
  World *w = &n->level[t];
  const char *level = suite.level[t]->name;
  IngotKernelFn *const *fns = suite.model->levels[t].kernels + n->base;
  uint8_t **states = states_new(w), **want_states = states_new(&n->judge);
  int64_t first = 0;
  for (int i = 0; c->runs[i]; i++) {
    KBuffer want[MAX_IO];
    run_program(&n->judge, c, first, c->runs[i], want_states, want);
    Run r = make_run(w, c, first, c->runs[i]);
    run_native(w, &r, fns, states);
    for (uint32_t o = 0; o < r.nout; o++) {
      if (memcmp(want[o].data, r.out[o].data, want[o].size) != 0)
        fail_msg("%s at %s: output %u has other bits than the evaluator's (run %d)", c->name, level,
                 o, i);
    }
    for (uint32_t k = 0; k < w->program->nstates; k++)
      assert_memory_equal(states[k], want_states[k], w->program->states[k].bytes);
    first += c->runs[i];
  }
}

static void run_case(void **state) {
  const OpCase *c = *state;
  Native *n = &suite.native[c - suite.cases.c];
  amx_emulate_here(); /* here, since cmocka has a handler of its own for each test */
  for (uint32_t t = 0; t < suite.nlevels; t++) check_level(n, c, t);
}

int main(int argc, char **argv) {
  suite.arena = arena_new();
  suite.cases = all_cases(suite.arena, 2, 30);
  size_t n = suite.cases.n;
  for (size_t i = 0; i < n; i++) {
    OpCase one = one_token(&suite.cases.c[i]);
    if (strchr(one.name, ',') || strstr(one.name, "linear") || strstr(one.name, "layer"))
      *VEC_PUSH(suite.cases.c, suite.cases.n, suite.cases.cap) = one;
  }
  struct CMUnitTest *tests = ARENA_ARRAY(suite.arena, struct CMUnitTest, suite.cases.n);
  for (size_t i = 0; i < suite.cases.n; i++)
    tests[i] = (struct CMUnitTest){
        .name = suite.cases.c[i].name, .test_func = run_case, .initial_state = &suite.cases.c[i]};
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return _cmocka_run_group_tests("op.native", tests, suite.cases.n, setup, teardown);
}
