/* Whole programs of Kernel IR: evaluation, races, text, and one broken program an invariant P1..P6.
 */
#include "ir/kernel.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static Kernel *parse(Arena *a, const char *text) {
  Diag *d = diag_new();
  Kernel **k;
  uint32_t n;
  if (kernels_parse(a, text, "test", d, &k, &n) != OK || kernel_verify(k[0], d) != OK)
    fail_msg("%s\n%s", text, diag_text(d));
  diag_free(d);
  return k[0];
}

/* y = (x + w) * state, by way of the arena, over S elements. */
static KProgram *make_program(Module *m, KBind *binds) {
  Arena *a = m->arena;
  KProgram *p = ARENA_NEW(a, KProgram);
  DimId s = dim_symbol(m->dims, "S", 1, 16);
  p->module = m;
  p->arena = a;
  p->nkernels = 2;
  p->kernels = ARENA_ARRAY(a, Kernel *, 2);
  p->kernels[0] = parse(a, "kernel @add(%x: ptr<f32>, %w: ptr<f32>, %y: ptr<f32>; %S) class map {\n"
                           "par %i in 0..%S {\n%a = load f32 %x[%i]\n%b = load f32 %w[%i]\n"
                           "%c = add %a, %b\nstore %c, %y[%i]\n}\n}\n");
  p->kernels[1] = parse(a, "kernel @mul(%x: ptr<f32>, %w: ptr<f32>, %y: ptr<f32>; %S) class map {\n"
                           "par %i in 0..%S {\n%a = load f32 %x[%i]\n%b = load f32 %w[%i]\n"
                           "%c = mul %a, %b\nstore %c, %y[%i]\n}\n}\n");
  p->weight_bytes = 192;
  p->nstates = 1;
  p->states = ARENA_NEW(a, KState);
  p->states[0] = (KState){"cache", 64};
  p->nentries = 1;
  KEntry *e = p->entries = ARENA_NEW(a, KEntry);
  *e = (KEntry){.name = "decode", .ninputs = 1, .noutputs = 1, .arena_bytes = 128, .nlaunches = 2};
  e->inputs = ARENA_NEW(a, KTensor);
  e->outputs = ARENA_NEW(a, KTensor);
  e->inputs[0] = (KTensor){"x", {.dtype = DT_f32, .rank = 1, .dim = {s}}};
  e->outputs[0] = (KTensor){"y", {.dtype = DT_f32, .rank = 1, .dim = {s}}};
  memcpy(binds,
         (KBind[6]){{KS_input, 0, 0},
                    {KS_weight, 0, 128},
                    {KS_arena, 0, 64},
                    {KS_arena, 0, 64},
                    {KS_state, 0, 0},
                    {KS_output, 0, 0}},
         6 * sizeof *binds);
  DimId *scalars = ARENA_NEW(a, DimId);
  *scalars = s;
  e->launches = ARENA_ARRAY(a, KLaunch, 2);
  e->launches[0] = (KLaunch){
      .kernel = 0, .bind = binds, .scalar = scalars, .extent = s, .label = "layer 0 / add"};
  e->launches[1] =
      (KLaunch){.kernel = 1, .bind = binds + 3, .scalar = scalars, .extent = s, .barrier = true};
  return p;
}

static void test_program(void **state) {
  (void)state;
  Module *m = module_new("tiny");
  Diag *d = diag_new();
  KBind binds[6];
  KProgram *p = make_program(m, binds);
  if (kprogram_verify(p, d) != OK) fail_msg("%s", diag_text(d));
  float x[4] = {1, 2, 3, 4}, y[4], weights[48] = {0}, cache[16] = {2, 3, 5, 7};
  for (int i = 0; i < 4; i++) weights[32 + i] = 10;
  int64_t *dims = ARENA_ARRAY(m->arena, int64_t, dim_count(m->dims) + 1);
  dims[dim_find(m->dims, "S")] = 4;
  uint8_t *states[1] = {(uint8_t *)cache};
  const KBuffer in = {x, sizeof x}, out = {y, sizeof y};
  if (kprogram_eval(p, 0, dims, (uint8_t *)weights, states, &in, &out, d) != OK)
    fail_msg("%s", diag_text(d));
  for (int i = 0; i < 4; i++) assert_true(y[i] == (x[i] + 10) * cache[i]);

  Buf text = {0};
  kprogram_print(p, &text);
  assert_non_null(strstr(
      text.data, "program @tiny {\n"
                 "  state 0 %cache size 64\n"
                 "  entry @decode(x: tensor<S x f32>) -> (y: tensor<S x f32>) arena 128 {\n"
                 "    launch @add(input 0, weight+128, arena+64; S) par S  // layer 0 / add\n"
                 "    barrier\n"
                 "    launch @mul(arena+64, state 0, output 0; S) par S\n"
                 "  }\n}\n"));
  buf_free(&text);

  /* a launch that leaves its space fails and says which */
  binds[1].offset = 188;
  assert_int_equal(kprogram_eval(p, 0, dims, (uint8_t *)weights, states, &in, &out, d), FAIL);
  assert_non_null(strstr(diag_text(d), "layer 0 / add: launch of @add failed"));
  diag_free(d);
  module_free(m);
}

/* ---- races ---- */

/* Runs one launch of a kernel over x (the arena) and y (an output), 4 iterations. */
static Status run_alone(const char *body, KSpace x, Diag *d) {
  Module *m = module_new("alone");
  KBind binds[6];
  KProgram *p = make_program(m, binds);
  char text[512];
  snprintf(text, sizeof text, "kernel @k(%%x: ptr<i8>, %%y: ptr<i8>; %%S) class map {\n%s}\n",
           body);
  p->kernels[0] = parse(m->arena, text);
  binds[0] = (KBind){x, 0, 0};
  binds[1] = (KBind){KS_output, 0, 0};
  p->entries[0].nlaunches = 1;
  float in[4] = {0}, out[4] = {0}, weights[48] = {0}, cache[16] = {0};
  int64_t *dims = ARENA_ARRAY(m->arena, int64_t, dim_count(m->dims) + 1);
  dims[dim_find(m->dims, "S")] = 4;
  uint8_t *states[1] = {(uint8_t *)cache};
  Status s = kprogram_eval(p, 0, dims, (uint8_t *)weights, states, &(KBuffer){in, sizeof in},
                           &(KBuffer){out, sizeof out}, d);
  module_free(m);
  return s;
}

static void test_races(void **state) {
  (void)state;
  static const struct {
    KSpace x;
    const char *body, *message; /* NULL: no race */
  } cases[] = {
      {KS_arena, "par %i in 0..%S {\n%v = load i8 %x[%i]\nstore %v, %x[%i]\n}\n", NULL},
      {KS_arena, "par %i in 0..%S {\n%v = load i8 %x[9]\nstore %v, %x[%i]\n}\n", NULL},
      {KS_state, "par %i in 0..%S {\nstore v16i8 0, %x[%i*16]\n}\n", NULL},
      {KS_weight, "par %i in 0..%S {\n%v = load i8 %x[0]\nstore %v, %y[%i]\n}\n", NULL},
      {KS_arena, "par %i in 0..%S {\nstore i8 0, %x[7]\n}\n", "%x at byte 7 is written twice"},
      {KS_arena, "par %i in 0..%S {\nstore v16i8 0, %x[%i*15]\n}\n",
       "%x at byte 15 is written twice"},
      {KS_arena, "par %i in 0..%S {\n%v = load i8 %x[%i]\nstore %v, %x[%i + 1]\n}\n",
       "is read while another"},
      {KS_arena, "par %i in 0..%S {\n%v = load i8 %x[%i + 1]\nstore %v, %x[%i]\n}\n",
       "is written while another"},
      {KS_arena, "%w = load i8 %x[3]\npar %i in 0..%S {\nstore %w, %x[%i]\n}\n",
       "is written while another"},
      {KS_weight, "par %i in 0..%S {\nstore i8 0, %x[%i]\n}\n", "belongs to nobody who may"},
      {KS_input, "par %i in 0..%S {\nstore i8 0, %x[%i]\n}\n", "belongs to nobody who may"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    Diag *d = diag_new();
    Status s = run_alone(cases[i].body, cases[i].x, d);
    if (!cases[i].message && s != OK) fail_msg("%s%s", cases[i].body, diag_text(d));
    if (cases[i].message && (s == OK || !strstr(diag_text(d), cases[i].message)))
      fail_msg("%s%s lacks: %s", cases[i].body, diag_text(d), cases[i].message);
    diag_free(d);
  }
}

/* The same launches with their barrier, and without. */
static void test_missing_barrier(void **state) {
  (void)state;
  Module *m = module_new("tiny");
  KBind binds[6];
  KProgram *p = make_program(m, binds);
  float x[4] = {1, 2, 3, 4}, y[4], weights[48] = {0}, cache[16] = {0};
  int64_t *dims = ARENA_ARRAY(m->arena, int64_t, dim_count(m->dims) + 1);
  dims[dim_find(m->dims, "S")] = 4;
  uint8_t *states[1] = {(uint8_t *)cache};
  const KBuffer in = {x, sizeof x}, out = {y, sizeof y};
  Diag *d = diag_new();
  assert_int_equal(kprogram_eval(p, 0, dims, (uint8_t *)weights, states, &in, &out, d), OK);
  p->entries[0].launches[1].barrier = false;
  assert_int_equal(kprogram_eval(p, 0, dims, (uint8_t *)weights, states, &in, &out, d), FAIL);
  assert_non_null(strstr(diag_text(d), "is read while another iteration or launch writes it"));
  diag_free(d);
  module_free(m);
}

/* ---- invariants ---- */

static void assert_program_breaks(KProgram *p, const char *message) {
  Diag *d = diag_new();
  if (kprogram_verify(p, d) == OK) fail_msg("held: %s", message);
  if (!strstr(diag_text(d), message)) fail_msg("%s lacks: %s", diag_text(d), message);
  diag_free(d);
}

static void test_program_verify(void **state) {
  (void)state;
  Module *m = module_new("tiny");
  KBind binds[6];
  KProgram *p = make_program(m, binds);
  p->kernels[1]->name = "add";
  assert_program_breaks(p, "P1: two kernels named @add");
  p = make_program(m, binds);
  KWeight misplaced = {.offset = 32, .bytes = 64};
  module_const(m, &(ConstDef){.name = "w", .type = {.dtype = DT_f32}});
  p->weights = &misplaced;
  p->nweights = 1;
  assert_program_breaks(p, "P2: weight 0 @w at 32 size 64 is misplaced");
  misplaced = (KWeight){.offset = 128, .bytes = 128};
  assert_program_breaks(p, "P2: weight 0 @w at 128 size 128 is misplaced");
  p = make_program(m, binds);
  p->entries[0].launches[1].kernel = 2;
  assert_program_breaks(p, "P3: launch of no kernel");
  p = make_program(m, binds);
  binds[2].offset = 129;
  assert_program_breaks(p, "P3: @add: buffer 2 is bound outside");
  p = make_program(m, binds);
  binds[4].index = 1;
  assert_program_breaks(p, "P3: @mul: buffer 1 is bound outside");
  p = make_program(m, binds);
  binds[3].offset = 2;
  assert_program_breaks(p, "P4: @mul: buffer 0 is misaligned");
  p = make_program(m, binds);
  p->entries[0].launches[0].barrier = true;
  assert_program_breaks(p, "P5: a barrier before the first launch");
  static const KStreams good = {3, 16, 24}, bad[] = {{3, 16, 25}, {4, 16, 24}, {3, 17, 24}};
  for (int i = 0; i < 4; i++) { /* weights: 192 bytes; 4 iterations from byte 80 on */
    p = make_program(m, binds);
    binds[0] = (KBind){KS_weight, 0, 80};
    p->entries[0].launches[0].extent = dim_const(m->dims, 4);
    p->entries[0].launches[0].streams = i < 3 ? bad[i] : good;
    if (i < 3) assert_program_breaks(p, "P6: @add: its streams are not all within a weight");
  }
  Diag *d = diag_new();
  assert_int_equal(kprogram_verify(p, d), OK);
  diag_free(d);
  p->entries[0].launches[0].extent = dim_find(m->dims, "S");
  assert_program_breaks(p, "P6: @add: its streams");
  binds[0] = (KBind){KS_input, 0, 0};
  assert_program_breaks(p, "P6: @add: its streams");
  module_free(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_program), cmocka_unit_test(test_races),
                                     cmocka_unit_test(test_missing_barrier),
                                     cmocka_unit_test(test_program_verify)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
