/* Contraction of two run-time values: matmul, and linear whose weight isn't a constant.
 *
 *   par p in rows * chunks:  for 16 columns:  for k: a[k & 3] = fma(splat x[row, k], y[k, cols],
 * a[k & 3])
 *
 * The order of additions is that of integer weights under act f32 (contract_float.c). A linear's
 * weight is read as its transposed view, lanes a row apart. Plain on purpose: models multiply by
 * constants.
 */
#include "passes/lower/lower.h"

enum { COLUMNS = 256 };

typedef struct MatBody {
  Draft *d;
  const Op *op;
  const Type *shape;
  Place x, y;
  KVal row;
} MatBody;

/* y[k, col..col+16) of the row's matrix: rows of the result are matched by broadcasting, then k
 * steps over the operand's own rows. */
static KVal right_at(MatBody *m, Point *pt, KVal k) {
  Lower *l = m->d->l;
  KBuilder *b = &m->d->b;
  Place one = m->y;
  DimId stride = one.stride[one.rank - 2];
  one.dim[one.rank - 2] = dim_const(l->m->dims, 1);
  int64_t literal = dim_literal(l, stride), step;
  KScalar s = kscalar_of(one.dtype);
  KAddr a = point_row(m->d, pt, &one, draft_buffer(m->d, &one, s, false), &step);
  a = literal >= 0 ? k_at(a, k, literal)
                   : k_at(a, k_op2(b, KOP_mul, k, draft_dim(m->d, stride)), 1);
  if (step == 0) return k_splat(b, k_cvt(b, k_load(b, (KType){s, 1}, a), K_f32));
  a = k_lane(k_at(a, pt->col, step), step);
  KType t = {s, 16};
  return k_cvt(b, pt->mask ? k_load_mask(b, t, a, pt->mask) : k_load(b, t, a), K_f32);
}

static KVal step_at(MatBody *m, Point *pt, KVal k, KVal acc) {
  KBuilder *b = &m->d->b;
  int64_t step;
  KScalar s = kscalar_of(m->x.dtype);
  KAddr a = point_row(m->d, pt, &m->x, draft_buffer(m->d, &m->x, s, false), &step);
  KVal x = k_load(b, (KType){s, 1}, k_at(a, k, step));
  return k_fma(b, k_splat(b, k_cvt(b, x, K_f32)), right_at(m, pt, k), acc);
}

static KVal mat_sum(MatBody *m, Point *pt) {
  Lower *l = m->d->l;
  KBuilder *b = &m->d->b;
  KVal n = draft_dim(m->d, m->x.dim[m->x.rank - 1]), a[4];
  int64_t literal = dim_literal(l, m->x.dim[m->x.rank - 1]);
  for (int i = 0; i < 4; i++) a[i] = k_f32(b, 16, 0);
  if (pt->rank > 2) point_indices(m->d, pt);
  KVal whole = k_op2(b, KOP_and, n, k_i64(b, -4));
  KVal k = k_for(b, "k", k_i64(b, 0), whole, 4, 4, a);
  for (int i = 0; i < 4; i++) a[i] = step_at(m, pt, k_op2(b, KOP_add, k, k_i64(b, i)), a[i]);
  k_for_end(b, a);
  /* What is left of K goes to the first accumulators; beyond the end a step is computed and
   * dropped. */
  for (int i = 0; i < 3 && literal % 4 != i; i++) {
    KVal at = k_op2(b, KOP_add, whole, k_i64(b, i)), last = k_op2(b, KOP_sub, n, k_i64(b, 1));
    KVal there = k_op2(b, KOP_lt, k_splat(b, k_cvt(b, at, K_i32)), k_splat(b, k_cvt(b, n, K_i32)));
    KVal next = step_at(m, pt, k_op2(b, KOP_min, at, last), a[i]);
    a[i] = k_select(b, there, next, a[i]);
  }
  return k_op2(b, KOP_add, k_op2(b, KOP_add, a[0], a[2]), k_op2(b, KOP_add, a[1], a[3]));
}

static void mat_body(void *user, KVal col, KVal mask, KVal *carry) {
  (void)carry;
  MatBody *m = user;
  KBuilder *b = &m->d->b;
  Expr e;
  expr_begin(&e, m->d, point_at(m->shape, m->row, col, mask));
  KVal y = mat_sum(m, &e.pt);
  if (m->op->nin > 2) {
    Place bias = place_of(m->d->l, m->op->in[2]);
    y = k_op2(b, KOP_add, y, point_load(m->d, &e.pt, &bias));
  }
  expr_preset(&e, m->op->out[0], y);
  expr_store_results(&e, m->shape);
}

/* Dense in the last dimension or strided by a literal there. */
static Place readable(Lower *l, const Place *p) {
  if (dim_literal(l, p->stride[p->rank - 1]) >= 0) return *p;
  Type t = {.dtype = p->dtype, .rank = p->rank};
  for (int i = 0; i < t.rank; i++) t.dim[i] = p->dim[i];
  Place copy = place_scratch(l, &t);
  lower_copy(l, p, &copy);
  return copy;
}

Status lower_matmul(Lower *l, const Op *op) {
  static const int64_t swapped[] = {1, 0};
  Place x = place_of(l, op->in[0]), y = place_of(l, op->in[1]);
  if (op->code == OP_linear) y = place_transpose(&y, swapped);
  MatBody m = {.op = op, .x = readable(l, &x), .y = readable(l, &y)};
  m.shape = &graph_value(l->g, op->out[0])->type;
  Draft d;
  draft_begin(&d, l, KC_contract, op_info(op->code)->name);
  m.d = &d;
  DimId cols = last_dim(l, m.shape), rows = rows_of(l, m.shape);
  DimId chunks = dim_op(l->m->dims, DIM_CEILDIV, cols, dim_const(l->m->dims, COLUMNS));
  d.extent = dim_mul(l, rows, chunks);
  d.flops =
      dim_mul(l, dim_mul(l, rows, cols), dim_mul(l, dim_const(l->m->dims, 2), x.dim[x.rank - 1]));
  KBuilder *b = &d.b;
  KVal n = draft_dim(&d, cols), per_row = draft_dim(&d, chunks);
  KVal p = k_par(b, "p", draft_dim(&d, d.extent));
  m.row = k_op2(b, KOP_div, p, per_row);
  KVal lo = k_op2(b, KOP_mul, k_op2(b, KOP_rem, p, per_row), k_i64(b, COLUMNS));
  if (dim_literal(l, chunks) == 1) lo = k_i64(b, 0);
  KVal hi = k_op2(b, KOP_min, k_op2(b, KOP_add, lo, k_i64(b, COLUMNS)), n);
  draft_span(&d, lo, hi, 0, NULL, mat_body, &m);
  k_par_end(b);
  draft_end(&d);
  return OK;
}
