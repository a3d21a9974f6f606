/* Class row: work along the last axis, a row an iteration.
 *
 * The anchor's operand is an expression (so element-wise work before it costs no pass through
 * memory) and its result goes through the element-wise work after it; a requant at the end
 * quantises what the row has become. Sums are kept in 16 lanes (lane i adds columns i, i + 16, ..)
 * and joined by reduce_add's fixed tree; inactive lanes of the last step count as the neutral
 * element.
 *
 *   par r in rows:  reduce passes over x;  then results[r, c] = after(anchor(x))  and / or quantise
 */
#include "passes/lower/lower.h"

#include <math.h>

/* What the passes before have found about the row; splats. */
typedef struct RowBody {
  Draft *d;
  const Op *op;      /* anchor; NULL: element-wise work only (requant) */
  const Type *shape; /* of the operand */
  KVal row;
  KVal a, b;         /* rmsnorm: 1/rms; layernorm: mean, 1/deviation; softmax: max, 1/sum */
  bool square, expo; /* what sum_body adds */
  ValueId quantised;
} RowBody;

static KVal row_operand(RowBody *r, Expr *e, KVal col, KVal mask) {
  expr_begin(e, r->d, point_at(r->shape, r->row, col, mask));
  return expr_value(e, r->op->in[0]);
}

static KVal zero_like(KBuilder *b, KVal x) {
  KType t = k_type(b->kernel, x);
  return t.scalar == K_f32 ? k_f32(b, t.lanes, 0) : k_int(b, t, 0);
}

static void sum_body(void *user, KVal col, KVal mask, KVal *carry) {
  RowBody *r = user;
  KBuilder *b = &r->d->b;
  Expr e;
  KVal x = row_operand(r, &e, col, mask);
  if (r->a) x = k_op2(b, KOP_sub, x, r->a);
  if (r->expo) x = k_op1(b, KOP_exp, x);
  if (mask) x = k_select(b, mask, x, zero_like(b, x));
  carry[0] = r->square ? k_fma(b, x, x, carry[0]) : k_op2(b, KOP_add, carry[0], x);
}

static void top_body(void *user, KVal col, KVal mask, KVal *carry) {
  RowBody *r = user;
  KBuilder *b = &r->d->b;
  Expr e;
  KVal x = row_operand(r, &e, col, mask);
  if (mask) x = k_select(b, mask, x, k_f32(b, 16, -INFINITY));
  carry[0] = k_op2(b, KOP_max, carry[0], x);
}

static KVal columns(RowBody *r) {
  return draft_dim(r->d, last_dim(r->d->l, r->shape));
}

/* The row's sum (of squares, or of exponentials), as a scalar. */
static KVal row_sum(RowBody *r, KScalar s) {
  KBuilder *b = &r->d->b;
  KVal acc[1] = {s == K_f32 ? k_f32(b, 16, 0) : k_int(b, (KType){s, 16}, 0)};
  draft_span(r->d, k_i64(b, 0), columns(r), 1, acc, sum_body, r);
  return k_op1(b, KOP_reduce_add, acc[0]);
}

/* sum / columns as f32. */
static KVal row_mean(RowBody *r, KVal sum) {
  KBuilder *b = &r->d->b;
  int64_t n = dim_literal(r->d->l, last_dim(r->d->l, r->shape));
  KVal count = n >= 0 ? k_f32(b, 1, (double)n) : k_cvt(b, columns(r), K_f32);
  return k_op2(b, KOP_div, sum, count);
}

/* 1 / sqrt(mean + eps), splat. */
static KVal inverse_root(RowBody *r, KVal mean) {
  KBuilder *b = &r->d->b;
  KVal v = k_op2(b, KOP_add, mean, k_f32(b, 1, r->op->attrs.norm.eps));
  return k_splat(b, k_op2(b, KOP_div, k_f32(b, 1, 1), k_op1(b, KOP_sqrt, v)));
}

/* The passes over the row that the anchor needs before any result is known. */
static void row_prepare(RowBody *r) {
  KBuilder *b = &r->d->b;
  switch (r->op->code) {
  case OP_rmsnorm: {
    r->square = true;
    KVal sum = row_sum(r, K_f32);
    r->a = inverse_root(r, row_mean(r, sum));
    break;
  }
  case OP_layernorm: {
    KVal mean = k_splat(b, row_mean(r, row_sum(r, K_f32)));
    r->a = mean;
    r->square = true;
    r->b = inverse_root(r, row_mean(r, row_sum(r, K_f32)));
    break;
  }
  case OP_softmax: {
    KVal top[1] = {k_f32(b, 16, -INFINITY)};
    draft_span(r->d, k_i64(b, 0), columns(r), 1, top, top_body, r);
    r->a = k_splat(b, k_op1(b, KOP_reduce_max, top[0]));
    r->expo = true;
    r->b = k_splat(b, k_op2(b, KOP_div, k_f32(b, 1, 1), row_sum(r, K_f32)));
    break;
  }
  default: BUG("no row passes for %s", op_info(r->op->code)->name);
  }
}

/* The anchor's result at the point of `e`, given the prepared row. */
static KVal row_result(RowBody *r, Expr *e) {
  KBuilder *b = &r->d->b;
  const Op *o = r->op;
  KVal x = expr_value(e, o->in[0]);
  if (o->code == OP_softmax)
    return k_op2(b, KOP_mul, k_op1(b, KOP_exp, k_op2(b, KOP_sub, x, r->a)), r->b);
  if (o->code == OP_layernorm)
    x = k_op2(b, KOP_mul, k_op2(b, KOP_sub, x, r->a), r->b);
  else
    x = k_op2(b, KOP_mul, x, r->a);
  if (o->nin > 1) {
    KVal w = expr_value(e, o->in[1]);
    if (o->nin > 2) return k_fma(b, x, w, expr_value(e, o->in[2]));
    x = k_op2(b, KOP_mul, x, w);
  }
  return x;
}

static void begin_results(RowBody *r, Expr *e, KVal col, KVal mask) {
  expr_begin(e, r->d, point_at(r->shape, r->row, col, mask));
  if (r->op) expr_preset(e, r->op->out[0], row_result(r, e));
}

static void result_body(void *user, KVal col, KVal mask, KVal *carry) {
  (void)carry;
  RowBody *r = user;
  Expr e;
  begin_results(r, &e, col, mask);
  expr_store_results(&e, r->shape);
}

static KVal quantised_at(void *user, KVal col, KVal mask) {
  RowBody *r = user;
  Expr e;
  begin_results(r, &e, col, mask);
  return expr_value(&e, r->quantised);
}

/* ---- reductions to one value a row --------------------------------------------------------- */

void argmax_begin(KBuilder *b, KVal *best) {
  best[0] = k_f32(b, 16, -INFINITY);
  best[1] = k_int(b, KT(i32, 16), INT32_MAX);
}

void argmax_meet(KBuilder *b, KVal x, KVal at, KVal mask, KVal *best) {
  KVal more = k_op2(b, KOP_gt, x, best[0]);
  if (mask) more = k_op2(b, KOP_and, more, mask);
  best[0] = k_select(b, more, x, best[0]);
  best[1] = k_select(b, more, at, best[1]);
}

static void argmax_body(void *user, KVal col, KVal mask, KVal *carry) {
  RowBody *r = user;
  KBuilder *b = &r->d->b;
  Expr e;
  KVal x = row_operand(r, &e, col, mask);
  KVal at = k_op2(b, KOP_add, k_splat(b, k_cvt(b, col, K_i32)), k_iota(b));
  argmax_meet(b, x, at, mask, carry);
}

/* The best of columns lo .. hi. */
static void argmax_span(RowBody *r, KVal lo, KVal hi, KVal *best) {
  argmax_begin(&r->d->b, best);
  draft_span(r->d, lo, hi, 2, best, argmax_body, r);
}

KVal argmax_lanes(KBuilder *b, const KVal *best, KVal *top) {
  *top = k_op1(b, KOP_reduce_max, best[0]);
  KVal is_top = k_op2(b, KOP_eq, best[0], k_splat(b, *top));
  KVal at = k_select(b, is_top, best[1], k_int(b, KT(i32, 16), INT32_MAX));
  return k_op1(b, KOP_reduce_min, at);
}

KVal argmax_column(KBuilder *b, KVal at) {
  KVal none = k_op2(b, KOP_eq, at, k_int(b, KT(i32, 1), INT32_MAX));
  return k_select(b, none, k_int(b, KT(i32, 1), 0), at);
}

static KVal row_argmax(RowBody *r) {
  KVal best[2], top;
  argmax_span(r, k_i64(&r->d->b, 0), columns(r), best);
  return argmax_column(&r->d->b, argmax_lanes(&r->d->b, best, &top));
}

/* One value a row, stored densely. */
static void store_reduced(RowBody *r, KVal x) {
  KBuilder *b = &r->d->b;
  Place to = place_result(r->d->l, r->op->out[0]);
  KScalar s = kscalar_of(to.dtype);
  k_store(b, k_type(b->kernel, x).scalar == s ? x : k_cvt(b, x, s),
          k_at(k_addr(draft_buffer(r->d, &to, s, true)), r->row, 1));
}

/* ---- the cluster --------------------------------------------------------------------------- */

static int64_t act_row_bytes(const Lower *l, const Place *p) {
  return act_layout(p->storage, dim_literal(l, p->dim[p->rank - 1])).row_bytes;
}

static bool any_result_escapes(const Lower *l) {
  for (uint32_t i = 0; i < l->cluster->nops; i++) {
    const Op *o = graph_get(l->g, l->cluster->ops[i]);
    bool plain = graph_value(l->g, o->out[0])->type.storage == Q_plain;
    if (plain && value_escapes(l, o->out[0])) return true;
  }
  return false;
}

static void row_cluster(RowBody *r, const Op *requant) {
  Draft *d = r->d;
  Lower *l = d->l;
  KBuilder *b = &d->b;
  if (r->op && (r->op->code == OP_argmax || r->op->code == OP_reduce_sum)) {
    KScalar s = kscalar_of(graph_value(l->g, r->op->in[0])->type.dtype);
    if (s == K_f16 || s == K_bf16) s = K_f32;
    store_reduced(r, r->op->code == OP_argmax ? row_argmax(r) : row_sum(r, s));
    return;
  }
  if (r->op) row_prepare(r);
  if (any_result_escapes(l)) draft_span(d, k_i64(b, 0), columns(r), 0, NULL, result_body, r);
  if (!requant) return;
  r->quantised = requant->in[0];
  Place to = place_result(l, requant->out[0]);
  KAddr at = k_at(k_addr(draft_buffer(d, &to, K_i8, true)), r->row, act_row_bytes(l, &to));
  ActForm form = act_form(l, requant->out[0], to.storage, rows_of(l, r->shape));
  act_quantise(d, form, at, dim_literal(l, last_dim(l, r->shape)), quantised_at, r);
}

void row_quantised(Draft *d, const Op *requant, KVal row, KAddr to) {
  Lower *l = d->l;
  RowBody r = {.d = d, .row = row, .quantised = requant->in[0]};
  for (uint32_t i = 0; i < l->cluster->nops; i++) {
    const Op *o = graph_get(l->g, l->cluster->ops[i]);
    if (o != requant && (op_info(o->code)->traits & T_ROW)) r.op = o;
  }
  const Type *t = &graph_value(l->g, requant->out[0])->type;
  r.shape = r.op ? &graph_value(l->g, r.op->in[0])->type : t;
  if (r.op) row_prepare(&r);
  ActForm form = act_form(l, requant->out[0], t->storage, dim_const(l->m->dims, 1));
  act_quantise(d, form, to, dim_literal(l, last_dim(l, t)), quantised_at, &r);
}

/* ---- one long row, by all threads ------------------------------------------------------------ */

enum { LONG_ROW = 16384, SECTIONS = 16 };

/* A single row of logits: its sections' best values and columns go to two vectors of 16, then the
 * best of those is taken. */
static bool is_long_argmax(Lower *l, const Op *op) {
  const Type *t = &graph_value(l->g, op->in[0])->type;
  int64_t width = dim_literal(l, last_dim(l, t));
  return op->code == OP_argmax && dim_literal(l, rows_of(l, t)) == 1 && width >= LONG_ROW &&
         width % SECTIONS == 0;
}

static Place sixteen(Lower *l, DType dtype) {
  Type t = {.dtype = dtype, .rank = 1, .dim = {dim_const(l->m->dims, SECTIONS)}};
  return place_scratch(l, &t);
}

static void long_argmax(Lower *l, const Op *op) {
  Place to[2] = {sixteen(l, DT_f32), sixteen(l, DT_i32)};
  const Type *shape = &graph_value(l->g, op->in[0])->type;
  int64_t section = dim_literal(l, last_dim(l, shape)) / SECTIONS;
  Draft d;
  draft_begin(&d, l, KC_row, "argmax");
  KBuilder *b = &d.b;
  d.extent = dim_const(l->m->dims, SECTIONS);
  d.flops = type_elements(l->m->dims, shape);
  KVal p = k_par(b, "p", k_i64(b, SECTIONS)), best[2], top;
  RowBody r = {.d = &d, .op = op, .shape = shape, .row = k_i64(b, 0)};
  KVal lo = k_op2(b, KOP_mul, p, k_i64(b, section));
  argmax_span(&r, lo, k_op2(b, KOP_add, lo, k_i64(b, section)), best);
  KVal at = argmax_lanes(b, best, &top);
  k_store(b, top, k_at(k_addr(draft_buffer(&d, &to[0], K_f32, true)), p, 1));
  k_store(b, at, k_at(k_addr(draft_buffer(&d, &to[1], K_i32, true)), p, 1));
  k_par_end(b);
  draft_end(&d);

  draft_begin(&d, l, KC_row, "argmax_join");
  d.extent = dim_const(l->m->dims, 1);
  d.flops = dim_const(l->m->dims, SECTIONS);
  r.row = k_par(b, "r", k_i64(b, 1));
  best[0] = k_load(b, KT(f32, 16), k_addr(draft_buffer(&d, &to[0], K_f32, false)));
  best[1] = k_load(b, KT(i32, 16), k_addr(draft_buffer(&d, &to[1], K_i32, false)));
  store_reduced(&r, argmax_column(b, argmax_lanes(b, best, &top)));
  k_par_end(b);
  draft_end(&d);
}

Status lower_row(Lower *l) {
  const Cluster *cl = l->cluster;
  const Op *anchor = graph_get(l->g, cl->anchor);
  const Op *last = graph_get(l->g, cl->ops[cl->nops - 1]);
  const Op *requant = last->code == OP_requant ? last : NULL;
  RowBody r = {.op = anchor->code == OP_requant ? NULL : anchor};
  r.shape = &graph_value(l->g, anchor->in[0])->type;
  if (is_long_argmax(l, anchor)) {
    long_argmax(l, anchor);
    return OK;
  }
  if (requant && dim_literal(l, last_dim(l, r.shape)) < 0)
    return lower_error(l, requant, "needs rows of a width known when compiling");
  Draft d;
  draft_begin(&d, l, KC_row, op_info(anchor->code)->name);
  r.d = &d;
  d.extent = rows_of(l, r.shape);
  d.flops = type_elements(l->m->dims, r.shape);
  r.row = k_par(&d.b, "r", draft_dim(&d, d.extent));
  row_cluster(&r, requant);
  k_par_end(&d.b);
  draft_end(&d);
  return OK;
}

typedef struct Requant {
  Draft *d;
  const Type *shape;
  Place from;
  KVal row;
} Requant;

static KVal requant_at(void *user, KVal col, KVal mask) {
  Requant *r = user;
  Point pt = point_at(r->shape, r->row, col, mask);
  return point_load(r->d, &pt, &r->from);
}

Place lower_requant(Lower *l, ValueId v, Storage format) {
  Type t = graph_value(l->g, v)->type;
  Draft d;
  draft_begin(&d, l, KC_row, "requant");
  Requant r = {.d = &d, .shape = &t, .from = place_of(l, v)};
  Type to = t;
  to.storage = format;
  Place p = place_scratch(l, &to);
  d.extent = rows_of(l, &t);
  d.flops = type_elements(l->m->dims, &t);
  r.row = k_par(&d.b, "r", draft_dim(&d, d.extent));
  KAddr at = k_at(k_addr(draft_buffer(&d, &p, K_i8, true)), r.row, act_row_bytes(l, &p));
  act_quantise(&d, act_form(l, v, format, rows_of(l, &t)), at, dim_literal(l, last_dim(l, &t)),
               requant_at, &r);
  k_par_end(&d.b);
  draft_end(&d);
  return p;
}
