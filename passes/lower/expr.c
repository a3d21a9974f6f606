/* Points and expressions: element-wise work at 16 columns of one row.
 *
 * Written once and used as prologue, epilogue and map body of every class. A point knows the
 * iteration shape; an operand is addressed by its own strides with numpy's broadcasting (a
 * dimension of 1 or a missing one stays at 0). An op of the cluster gives its scalar expression
 * (op_info()->expr) on the values of its operands; what is not of the cluster is loaded. Values are
 * f32 for every float type; halves are converted at loads and stores.
 */
#include "passes/lower/lower.h"

Point point_at(const Type *shape, KVal row, KVal col, KVal mask) {
  return (Point){.rank = shape->rank, .dim = shape->dim, .row = row, .col = col, .mask = mask};
}

void point_indices(Draft *d, Point *pt) {
  KBuilder *b = &d->b;
  KVal left = pt->row;
  int first = 0;
  while (first + 1 < pt->rank && dim_literal(d->l, pt->dim[first]) == 1) first++;
  for (int i = pt->rank - 2; i >= 0; i--) {
    KVal n = draft_dim(d, pt->dim[i]);
    if (dim_literal(d->l, pt->dim[i]) == 1) {
      pt->index[i] = k_i64(b, 0);
    } else if (i == first) {
      pt->index[i] = left;
    } else {
      pt->index[i] = k_op2(b, KOP_rem, left, n);
      left = k_op2(b, KOP_div, left, n);
    }
  }
}

/* One stride serves the flattened row: the operand has all leading dimensions, laid out as rows. */
static bool row_addressable(const Lower *l, const Point *pt, const Place *p, int64_t *stride) {
  if (p->rank != pt->rank) return false;
  for (int i = 0; i + 1 < p->rank; i++)
    if (p->dim[i] != pt->dim[i]) return false;
  Place dense = *p; /* the last dimension is looked at by itself */
  if (p->rank) dense.stride[p->rank - 1] = dim_const(l->m->dims, 1);
  return place_rows(l, &dense, stride);
}

/* Adds index * stride. An address holds few terms: places of many dimensions sum theirs first. */
static KAddr add_index(Draft *d, KAddr a, KVal index, DimId stride, bool many, KVal *sum) {
  KBuilder *b = &d->b;
  int64_t literal = dim_literal(d->l, stride);
  if (literal >= 0 && !many) return k_at(a, index, literal);
  *sum = k_op2(b, KOP_add, *sum, k_op2(b, KOP_mul, index, draft_dim(d, stride)));
  return a;
}

KAddr point_row(Draft *d, Point *pt, const Place *p, KVal buffer, int64_t *step) {
  KAddr a = k_addr(buffer);
  int64_t stride;
  if (p->shift) a = k_at(a, draft_dim(d, p->shift), 1);
  if (row_addressable(d->l, pt, p, &stride)) {
    if (stride) a = k_at(a, pt->row, stride);
  } else {
    KVal sum = k_i64(&d->b, 0);
    for (int i = 1; i < p->rank; i++) {
      int at = p->rank - 1 - i, out = pt->rank - 1 - i;
      if (dim_literal(d->l, p->dim[at]) == 1) continue;
      if (pt->rank > 1 && !pt->index[out]) point_indices(d, pt);
      a = add_index(d, a, pt->index[out], p->stride[at], p->rank > 4, &sum);
    }
    a = k_at(a, sum, 1);
  }
  *step = 0;
  if (p->rank && dim_literal(d->l, p->dim[p->rank - 1]) != 1)
    *step = dim_literal(d->l, p->stride[p->rank - 1]);
  return a;
}

/* Lanes a run-time distance apart: one scalar access a lane, through a local. */
static KVal load_scattered(Draft *d, Point *pt, const Place *p, KAddr a, KType t) {
  KBuilder *b = &d->b;
  KVal local = k_local(b, "lanes", (KScalar)t.scalar, 16);
  KVal stride = draft_dim(d, p->stride[p->rank - 1]);
  KVal zero = k_i64(b, 0);
  k_store(b, k_splat(b, t.scalar == K_f32 ? k_f32(b, 1, 0) : k_int(b, (KType){t.scalar, 1}, 0)),
          k_addr(local));
  KVal n = k_i64(b, 16);
  if (pt->mask) { /* active lanes come first */
    KVal ones = k_cvtu(b, pt->mask, K_i32);
    n = k_cvt(b, k_op1(b, KOP_reduce_add, ones), K_i64);
  }
  KVal lane = k_for(b, "lane", zero, n, 1, 0, NULL);
  KVal at = k_op2(b, KOP_mul, k_op2(b, KOP_add, pt->col, lane), stride);
  k_store(b, k_load(b, (KType){t.scalar, 1}, k_at(a, at, 1)), k_at(k_addr(local), lane, 1));
  k_for_end(b, NULL);
  return k_load(b, t, k_addr(local));
}

static KVal widened(KBuilder *b, KVal x) {
  KType t = k_type(b->kernel, x);
  return t.scalar == K_f16 || t.scalar == K_bf16 ? k_cvt(b, x, K_f32) : x;
}

KVal point_load(Draft *d, Point *pt, const Place *p) {
  KBuilder *b = &d->b;
  KScalar s = kscalar_of(p->dtype);
  int64_t step;
  KAddr a = point_row(d, pt, p, draft_buffer(d, p, s, false), &step);
  if (step == 0) return k_splat(b, widened(b, k_load(b, (KType){s, 1}, a)));
  if (step < 0) return widened(b, load_scattered(d, pt, p, a, (KType){s, 16}));
  a = k_lane(k_at(a, pt->col, step), step);
  KType t = {s, 16};
  return widened(b, pt->mask ? k_load_mask(b, t, a, pt->mask) : k_load(b, t, a));
}

void point_store(Draft *d, Point *pt, const Place *p, KVal x) {
  KBuilder *b = &d->b;
  KScalar s = kscalar_of(p->dtype);
  int64_t step;
  KAddr a = point_row(d, pt, p, draft_buffer(d, p, s, true), &step);
  if (k_type(b->kernel, x).scalar != s) x = k_cvt(b, x, s);
  if (step == 0) { /* a last dimension of 1 */
    k_store(b, k_extract(b, x, 0), a);
    return;
  }
  BUG_IF(step < 0, "results are dense in their last dimension");
  a = k_lane(k_at(a, pt->col, step), step);
  if (pt->mask)
    k_store_mask(b, x, a, pt->mask);
  else
    k_store(b, x, a);
}

/* ---- expressions --------------------------------------------------------------------------- */

bool in_cluster(const Lower *l, ValueId v) {
  const Value *x = graph_value(l->g, v);
  return x->kind == V_OP && graph_get(l->g, x->def)->cluster == l->cluster_index;
}

bool value_escapes(const Lower *l, ValueId v) {
  uint32_t inside = 0;
  for (uint32_t i = 0; i < l->cluster->nops; i++) {
    const Op *o = graph_get(l->g, l->cluster->ops[i]);
    for (uint32_t j = 0; j < o->nin; j++) inside += o->in[j] == v;
  }
  return graph_value(l->g, v)->uses > inside;
}

void expr_begin(Expr *e, Draft *d, Point pt) {
  e->d = d;
  e->pt = pt;
  e->n = 0;
}

void expr_preset(Expr *e, ValueId v, KVal k) {
  BUG_IF(e->n == EXPR_MEMO, "a cluster has too many values");
  e->memo[e->n].v = v;
  e->memo[e->n++].k = k;
}

KVal expr_value(Expr *e, ValueId v) {
  Lower *l = e->d->l;
  for (uint32_t i = 0; i < e->n; i++)
    if (e->memo[i].v == v) return e->memo[i].k;
  KVal k;
  if (in_cluster(l, v)) {
    const Op *o = graph_get(l->g, graph_value(l->g, v)->def);
    const OpInfo *info = op_info(o->code);
    BUG_IF(!info->expr, "%s has no scalar expression", info->name);
    KVal arg[3];
    for (uint32_t i = 0; i < o->nin; i++) arg[i] = expr_value(e, o->in[i]);
    k = info->expr(&e->d->b, o, arg);
  } else {
    Place p = place_of(l, v);
    k = point_load(e->d, &e->pt, &p);
  }
  expr_preset(e, v, k);
  return k;
}

static bool same_shape(const Type *a, const Type *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

void expr_store_results(Expr *e, const Type *shape) {
  Lower *l = e->d->l;
  for (uint32_t i = 0; i < l->cluster->nops; i++) {
    const Op *o = graph_get(l->g, l->cluster->ops[i]);
    for (uint32_t j = 0; j < o->nout; j++) {
      ValueId v = o->out[j];
      const Type *t = &graph_value(l->g, v)->type;
      if (t->storage != Q_plain || !same_shape(t, shape) || !value_escapes(l, v)) continue;
      KVal x = expr_value(e, v);
      Place p = l->placed[v] ? l->place[v] : place_result(l, v);
      point_store(e->d, &e->pt, &p, x);
    }
  }
}
