/* Every invariant of the verifier is broken once, in a module that is otherwise good. */
#include "ir/graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char good[] =
    "module @m {\n"
    "  dim S in 1..8\n"
    "  dim P in 0..8\n"
    "  const %w : tensor<8x4 x f32 : q8_0> = weight \"w\" heads=2\n"
    "  const %two : tensor<8x4 x f32> = weight \"a\" : tensor<6x4 x f32>, \"b\" : tensor<2x4 x "
    "f32>\n"
    "  const %d : tensor<4 x f32> = dense [1, 2, 3, 4]\n"
    "  state %kv : cache<slots=1, context=16, kv_heads=1, head_dim=4, f16>\n"
    "  graph @g(%x: tensor<Sx4 x f32>, %y: tensor<Sx4 x f32>) -> (a: %n, b: %l) {\n"
    "    %r = relu %x {cluster = 1}\n"
    "    %n = rmsnorm %r, %d {eps = 1e-05, cluster = 1}\n"
    "    %l = linear %n, %w {act = i16}\n"
    "    %z = sub %x, %y\n"
    "    %h = reshape %z {shape = [-1, 1, 4]}\n"
    "    %c = kv_append %kv, %h, %h\n"
    "    %at = attention_kv %h, %c {scale = 0.5, causal = true}\n"
    "    cluster 1 row anchor %n : %r, %n\n"
    "  }\n"
    "  graph @other(%x: tensor<S x f32>) -> (y: %x) {\n"
    "  }\n"
    "}\n";

enum { RELU = 1, NORM, LINEAR, SUB, RESHAPE, APPEND, ATTEND }; /* op ids of @g */

static Module *fresh(Graph **g) {
  Diag *d = diag_new();
  Module *m = NULL;
  if (module_parse(good, "good.ir", d, &m) != OK || module_verify(m, d) != OK)
    fail_msg("%s", diag_text(d));
  diag_free(d);
  *g = m->graphs[0];
  return m;
}

static void expect(Module *m, const char *rule) {
  Diag *d = diag_new();
  assert_int_equal(module_verify(m, d), FAIL);
  if (!strstr(diag_text(d), rule)) fail_msg("%slacks: %s", diag_text(d), rule);
  diag_free(d);
  module_free(m);
}

static Graph *g;

static void g1_ids(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->ops[RELU].in[0] = 999;
  expect(m, "G1: 999 is no value");
  m = fresh(&g);
  g->outputs[0] = 0;
  expect(m, "G1: 0 is no value");
  m = fresh(&g);
  g->ops[SUB].out[0] = 999;
  expect(m, "G1: 999");
}

static void g2_order(void **state) {
  (void)state;
  Module *m = fresh(&g); /* the linear before the norm that it reads */
  Op op = g->ops[NORM];
  g->ops[NORM] = g->ops[LINEAR];
  g->ops[LINEAR] = op;
  g->values[g->ops[NORM].out[0]].def = NORM;
  g->values[g->ops[LINEAR].out[0]].def = LINEAR;
  expect(m, "= linear: G2: operand 1 (%n)");
  m = fresh(&g);
  g->ops[RELU].dead = true;
  expect(m, "G2: operand 1 (%r) is not defined");
  m = fresh(&g);
  g->ops[LINEAR].dead = true;
  expect(m, "G2: the output b");
}

static void g3_definitions(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->values[g->ops[RELU].out[0]].def = SUB;
  expect(m, "G3: %r and what defines it disagree");
  m = fresh(&g);
  g->values[g->inputs[0]].index = 1;
  expect(m, "G3");
  m = fresh(&g);
  g->values[g->ops[NORM].in[1]].index = 77;
  expect(m, "G3");
  m = fresh(&g);
  g->inputs[0] = g->inputs[1];
  expect(m, "G3");
  m = fresh(&g);
  g->ops[SUB].out[0] = g->ops[RELU].out[0];
  expect(m, "G3");
  m = fresh(&g); /* a constant's value whose type has gone its own way */
  m->consts[0].type.storage = Q_q4_0;
  expect(m, "G3: %w");
}

static void g4_uses(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->values[g->ops[RELU].out[0]].uses++;
  expect(m, "G4: %r has 1 uses (its count says 2)");
}

static void g5_rows(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->ops[RELU].code = OP_COUNT;
  expect(m, "G5: op code");
  m = fresh(&g);
  g->ops[SUB].code = OP_relu;
  expect(m, "G5: 2 operands (expected 1 to 1)");
  m = fresh(&g);
  g->ops[LINEAR].attrs.linear.act = (ActFormat)9;
  expect(m, "G5: the attribute act");
}

static void g6_types(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->values[g->ops[SUB].out[0]].type.dim[1] = dim_const(m->dims, 5);
  expect(m, "G6: result 1 is tensor<Sx5 x f32> (inference gives tensor<Sx4 x f32>)");
  m = fresh(&g);
  g->ops[SUB].nout = 0; /* and its result is nobody's */
  g->values[g->ops[SUB].out[0]].def = SUB;
  expect(m, "G3");
  m = fresh(&g);
  g->values[g->inputs[0]].type.dtype = DT_i32;
  expect(m, "G6: its results have no type");
}

static void g7_rules(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->ops[NORM].attrs.norm.eps = -1;
  expect(m, "G7: a rule of rmsnorm");
}

static void g8_types(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->values[g->inputs[1]].type.dim[0] = 0;
  expect(m, "G8: the type of %y can't be: a dimension is not valid");
  m = fresh(&g);
  g->values[g->inputs[1]].type.rank = 9;
  expect(m, "rank is above 8");
  m = fresh(&g);
  g->values[g->inputs[1]].type.dtype = DT_i8;
  g->values[g->inputs[1]].type.storage = Q_q8_0;
  expect(m, "only f32");
  m = fresh(&g);
  DimId s = dim_find(m->dims, "S");
  g->values[g->inputs[1]].type.dim[0] = dim_op(m->dims, DIM_SUB, s, dim_const(m->dims, 2));
  expect(m, "may be negative");
}

static void g9_constants(void **state) {
  (void)state;
  Module *m = fresh(&g);
  m->consts[1].name = "w";
  expect(m, "G9: two definitions are named w");
  m = fresh(&g);
  m->consts[1].parts[0].view.dim[0] = 5;
  expect(m, "G9: the parts have 7 rows (expected 8)");
  m = fresh(&g);
  m->consts[1].parts[1].view.dim[1] = 5;
  expect(m, "G9: axis 1 of part b");
  m = fresh(&g);
  m->consts[0].parts[0].interleaved_heads = 8;
  expect(m, "G9: 8 heads do not divide");
  m = fresh(&g);
  m->consts[2].dense = NULL;
  expect(m, "G9: neither parts nor dense");
  m = fresh(&g);
  m->consts[1].type.dim[0] = dim_find(m->dims, "S");
  expect(m, "G9: axis 0 is not a number");
  m = fresh(&g);
  m->consts[1].type.storage = Q_act_i8;
  expect(m, "G9: a constant in an activation format");
}

static void g10_states(void **state) {
  (void)state;
  Module *m = fresh(&g);
  m->states[0].context = 0;
  expect(m, "G10: a size below 1");
  m = fresh(&g);
  m->states[0].context = m->states[0].kv_heads = INT64_C(1) << 32;
  expect(m, "G10: a cache of more than 2^63 bytes");
  m = fresh(&g);
  m->states[0].dtype = DT_bf16;
  expect(m, "G10: a cache of bf16");
  m = fresh(&g);
  m->states[0].name = "w";
  expect(m, "G10: two definitions are named w");
}

static void g11_names(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->values[g->inputs[1]].name = "x";
  expect(m, "G11: two definitions are named x");
  m = fresh(&g);
  g->output_names[1] = "a";
  expect(m, "G11: two definitions are named a");
  m = fresh(&g);
  m->graphs[1]->name = "g";
  expect(m, "G11: two definitions are named g");
  m = fresh(&g);
  g->values[g->inputs[1]].name = NULL;
  expect(m, "G11: a definition without a name");
}

static void g12_states(void **state) {
  (void)state;
  Module *m = fresh(&g);
  ValueId in[3] = {g->ops[APPEND].in[0], g->ops[APPEND].in[1], g->ops[APPEND].in[2]};
  graph_op(g, OP_kv_append, in, 3, NULL);
  expect(m, "G12: the state %kv has been updated before by");
  m = fresh(&g);
  graph_set_operand(g, ATTEND, 1, g->ops[APPEND].in[0]);
  expect(m, "= attention_kv: G12");
}

static void g13_clusters(void **state) {
  (void)state;
  Module *m = fresh(&g);
  g->ops[RELU].cluster = 0;
  expect(m, "G13: op 1 does not name this cluster");
  m = fresh(&g);
  g->ops[SUB].cluster = 2;
  expect(m, "G13: there is no cluster 2");
  m = fresh(&g);
  g->ops[SUB].cluster = 1;
  expect(m, "G13: 3 ops name a cluster, 2 are listed");
  m = fresh(&g);
  g->clusters[0].anchor = SUB;
  expect(m, "G13: its anchor");
  m = fresh(&g);
  g->clusters[0].ops[0] = NORM;
  g->clusters[0].ops[1] = RELU;
  expect(m, "G13: its ops are not in execution order");
  m = fresh(&g);
  g->clusters[0].klass = CC_COUNT;
  expect(m, "G13: class");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(g1_ids),       cmocka_unit_test(g2_order),  cmocka_unit_test(g3_definitions),
      cmocka_unit_test(g4_uses),      cmocka_unit_test(g5_rows),   cmocka_unit_test(g6_types),
      cmocka_unit_test(g7_rules),     cmocka_unit_test(g8_types),  cmocka_unit_test(g9_constants),
      cmocka_unit_test(g10_states),   cmocka_unit_test(g11_names), cmocka_unit_test(g12_states),
      cmocka_unit_test(g13_clusters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
