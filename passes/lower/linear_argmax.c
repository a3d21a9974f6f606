/* linear_argmax: where the largest output of a split weight is, from half of its bits.
 *
 * Four launches:
 *
 *   upper   m[r] = the product of x and row r's upper bits, the lower ones taken for their middle
 *   top     of each sixteenth of the rows, the one with the largest m, and that row's exact
 * product; T = the largest of the sixteen: the winner is at least this full    rows with m[r] +
 * E[r] |x| < T can't be the winner (E: passes/pack.c; Cauchy and Schwarz); of the others, 16 at a
 * time, exact products and where the largest is join    the first of the sections' largest
 *
 * A comparison with a NaN fails, so that such rows count among the others. An exact product is that
 * of `linear`, with its bits: who is compared with whom is decided by it alone. How many rows are
 * left depends on x and the weight, and is the second result. Simulated on 24 positions of English
 * prose each, with the fp32 models' states: Gemma-3-270M in q8_0 4 rows in 10,000, which are one
 * group in 190; Qwen2.5-1.5B in q6_k 9 rows in 10,000. On random ids Gemma's are one in nine.
 */
#include "passes/lower/contract.h"

#include <math.h>

enum { LANES = 16, TOPS = 16, SECTION_GROUPS = 64 };

typedef struct Search {
  Lower *l;
  const Op *op;
  int64_t rows, groups, sections;
  Place middle, tops;           /* m; the products of launch top */
  Place value, column, counted; /* of each section */
} Search;

static Place vector_of(Lower *l, DType dtype, int64_t n) {
  Type t = {.dtype = dtype, .rank = 1, .dim = {dim_const(l->m->dims, n)}};
  return place_scratch(l, &t);
}

static KAddr at_of(Draft *d, const Place *p, KScalar s, bool write, KVal index) {
  return k_at(k_addr(draft_buffer(d, p, s, write)), index, 1);
}

/* Columns of a group's rows, and which are rows at all (0: all). */
static KVal columns_of(const Search *s, KBuilder *b, KVal group, KVal *mask) {
  KVal first = k_cvt(b, k_op2(b, KOP_mul, group, k_i64(b, LANES)), K_i32);
  KVal at = k_op2(b, KOP_add, k_splat(b, first), k_iota(b));
  *mask = s->rows % LANES ? k_op2(b, KOP_lt, at, k_int(b, KT(i32, LANES), s->rows)) : 0;
  return at;
}

static KVal middle_of(const Search *s, Draft *d, KVal group) {
  KVal row = k_op2(&d->b, KOP_mul, group, k_i64(&d->b, LANES));
  return k_load(&d->b, KT(f32, LANES), at_of(d, &s->middle, K_f32, false, row));
}

/* The exact products of a group. */
static KVal full_product(Contract *c, KVal group) {
  Tile t = {.groups = 1, .tokens = 1, .group = {group}, .token = {k_i64(&c->d.b, 0)}, .run = 1};
  KVal y;
  contract_one_token_sums(c, &t, &y);
  return y;
}

/* Groups lo .. hi of the p-th of some equal stretches of `n`. */
static void stretch(const Search *s, KBuilder *b, KVal p, int64_t n, KVal *lo, KVal *hi) {
  *lo = k_op2(b, KOP_min, k_op2(b, KOP_mul, p, k_i64(b, n)), k_i64(b, s->groups));
  *hi = k_op2(b, KOP_min, k_op2(b, KOP_add, *lo, k_i64(b, n)), k_i64(b, s->groups));
}

/* A draft of a launch that multiplies some groups in full. */
static Status begin_some(const Search *s, Contract *c, const char *name, int64_t extent) {
  TRY(contract_begin(c, s->l, s->op, name, READS_SOME));
  c->prefetch = 0;
  c->d.extent = dim_const(s->l->m->dims, extent);
  c->d.flops = dim_const(s->l->m->dims, 2 * s->rows);
  return OK;
}

static Status upper_launch(const Search *s) {
  Contract c;
  TRY(contract_begin(&c, s->l, s->op, "upper", READS_UPPER));
  c.sums = &s->middle;
  contract_one_token(&c);
  draft_end(&c.d);
  return OK;
}

static Status top_launch(const Search *s) {
  Contract c;
  TRY(begin_some(s, &c, "top", TOPS));
  KBuilder *b = &c.d.b;
  KVal p = k_par(b, "p", k_i64(b, TOPS)), lo, hi, best[2], mask, top;
  stretch(s, b, p, (s->groups + TOPS - 1) / TOPS, &lo, &hi);
  argmax_begin(b, best);
  KVal g = k_for(b, "g", lo, hi, 1, 2, best);
  KVal at = columns_of(s, b, g, &mask);
  argmax_meet(b, middle_of(s, &c.d, g), at, mask, best);
  k_for_end(b, best);
  KVal row = k_cvt(b, argmax_column(b, argmax_lanes(b, best, &top)), K_i64);
  KVal group = k_op2(b, KOP_lshr, row, k_i64(b, 4));
  KVal y = full_product(&c, group), lowest = k_f32(b, LANES, -INFINITY);
  columns_of(s, b, group, &mask);
  if (mask) y = k_select(b, mask, y, lowest);
  k_store(b, k_op1(b, KOP_reduce_max, y), at_of(&c.d, &s->tops, K_f32, true, p));
  k_par_end(b);
  draft_end(&c.d);
  return OK;
}

/* |x|: the Euclidean norm of the activations as they are multiplied. */
static KVal norm_of_x(Contract *c) {
  KBuilder *b = &c->d.b;
  KAddr row = k_addr(c->x);
  KVal sum = k_f32(b, LANES, 0);
  KVal block = k_for(b, "b", k_i64(b, 0), k_i64(b, c->act.blocks), 1, 1, &sum);
  for (int half = 0; half < 2; half++) {
    KAddr at = k_off(k_at(row, block, c->act.block_bytes), LANES * half);
    KVal high = k_cvt(b, k_load(b, KT(i8, LANES), at), K_i32);
    KVal low = k_cvt(b, k_load(b, KT(i8, LANES), k_off(at, c->act.block_bytes / 2)), K_i32);
    KVal q = k_op2(b, KOP_add, k_op2(b, KOP_shl, high, k_int(b, KT(i32, LANES), 7)), low);
    KVal f = k_cvt(b, q, K_f32);
    sum = k_fma(b, f, f, sum);
  }
  k_for_end(b, &sum);
  KVal scale = k_load(b, KT(f32, 1), k_off(row, c->act.scales));
  return k_op2(b, KOP_mul, k_op1(b, KOP_sqrt, k_op1(b, KOP_reduce_add, sum)), scale);
}

/* Whether a group has a row that may win: an i1. */
static KVal may_win(const Search *s, Draft *d, const Place *doubt, KVal group, KVal mask, KVal norm,
                    KVal least) {
  KBuilder *b = &d->b;
  KVal row = k_op2(b, KOP_mul, group, k_i64(b, LANES));
  KVal e = k_load(b, KT(f32, LANES), at_of(d, doubt, K_f32, false, row));
  KVal below = k_op2(b, KOP_lt, k_fma(b, e, norm, middle_of(s, d, group)), least);
  KVal one = k_int(b, KT(i32, LANES), 1), zero = k_int(b, KT(i32, LANES), 0);
  KVal left = k_select(b, below, zero, one);
  if (mask) left = k_select(b, mask, left, zero);
  return k_op2(b, KOP_ne, k_op1(b, KOP_reduce_max, left), k_int(b, KT(i32, 1), 0));
}

static Status full_launch(const Search *s) {
  Contract c;
  TRY(begin_some(s, &c, "full", s->sections));
  Draft *d = &c.d;
  KBuilder *b = &d->b;
  Place doubt = weight_doubt(s->l, graph_value(s->l->g, s->op->in[1])->index);
  KVal norm = k_splat(b, norm_of_x(&c)), lo, hi, top;
  KVal tops = k_load(b, KT(f32, LANES), at_of(d, &s->tops, K_f32, false, k_i64(b, 0)));
  KVal least = k_splat(b, k_op1(b, KOP_reduce_max, tops));
  KVal p = k_par(b, "p", k_i64(b, s->sections));
  stretch(s, b, p, SECTION_GROUPS, &lo, &hi);
  KVal carry[3]; /* best values, their columns, groups computed */
  argmax_begin(b, carry);
  carry[2] = k_int(b, KT(i32, 1), 0);
  KVal g = k_for(b, "g", lo, hi, 1, 3, carry), mask, found[3] = {carry[0], carry[1], carry[2]};
  KVal at = columns_of(s, b, g, &mask);
  k_if(b, may_win(s, d, &doubt, g, mask, norm, least));
  argmax_meet(b, full_product(&c, g), at, mask, found);
  found[2] = k_op2(b, KOP_add, found[2], k_int(b, KT(i32, 1), 1));
  k_else(b, 3, found);
  k_if_end(b, 3, carry, carry);
  k_for_end(b, carry);
  KVal column = argmax_lanes(b, carry, &top);
  k_store(b, top, at_of(d, &s->value, K_f32, true, p));
  k_store(b, column, at_of(d, &s->column, K_i32, true, p));
  k_store(b, carry[2], at_of(d, &s->counted, K_i32, true, p));
  k_par_end(b);
  draft_end(d);
  return OK;
}

static void join_launch(const Search *s) {
  Lower *l = s->l;
  Draft d;
  draft_begin(&d, l, KC_row, "argmax_join");
  KBuilder *b = &d.b;
  d.extent = dim_const(l->m->dims, 1);
  d.flops = dim_const(l->m->dims, s->sections);
  Place token = place_result(l, s->op->out[0]), full = place_result(l, s->op->out[1]);
  KVal p = k_par(b, "p", k_i64(b, 1)), carry[3], top;
  argmax_begin(b, carry);
  carry[2] = k_int(b, KT(i32, LANES), 0);
  KVal i = k_for(b, "i", k_i64(b, 0), k_i64(b, s->sections), LANES, 3, carry);
  KVal value = k_load(b, KT(f32, LANES), at_of(&d, &s->value, K_f32, false, i));
  KVal column = k_load(b, KT(i32, LANES), at_of(&d, &s->column, K_i32, false, i));
  KVal counted = k_load(b, KT(i32, LANES), at_of(&d, &s->counted, K_i32, false, i));
  argmax_meet(b, value, column, 0, carry);
  carry[2] = k_op2(b, KOP_add, carry[2], counted);
  k_for_end(b, carry);
  KVal rows = k_op2(b, KOP_mul, k_op1(b, KOP_reduce_add, carry[2]), k_int(b, KT(i32, 1), LANES));
  k_store(b, argmax_column(b, argmax_lanes(b, carry, &top)), at_of(&d, &token, K_i32, true, p));
  k_store(b, rows, at_of(&d, &full, K_i32, true, p));
  k_par_end(b);
  draft_end(&d);
}

Status lower_linear_argmax(Lower *l, const Op *op) {
  const Value *w = graph_value(l->g, op->in[1]);
  const QuantDef *q = quant_def(w->type.storage);
  int64_t rows = dim_literal(l, w->type.dim[0]);
  bool one = dim_literal(l, rows_of(l, &graph_value(l->g, op->in[0])->type)) == 1;
  if (w->kind != V_CONST || !q || !q->split || op->attrs.linear.act != ACT_i16 || !one)
    return lower_error(l, op, "needs one row with act i16 and a constant weight that can be split");
  Search s = {.l = l, .op = op, .rows = rows, .groups = (rows + LANES - 1) / LANES};
  s.sections = (s.groups + SECTION_GROUPS - 1) / SECTION_GROUPS;
  s.sections = (int64_t)align_up((uint64_t)s.sections, LANES);
  s.middle = vector_of(l, DT_f32, s.groups * LANES);
  s.tops = vector_of(l, DT_f32, TOPS);
  s.value = vector_of(l, DT_f32, s.sections);
  s.column = vector_of(l, DT_i32, s.sections);
  s.counted = vector_of(l, DT_i32, s.sections);
  TRY(upper_launch(&s));
  TRY(top_launch(&s));
  TRY(full_launch(&s));
  join_launch(&s);
  return OK;
}
