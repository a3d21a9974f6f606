/* Class map: element-wise chains and copies.
 *
 *   par p in rows * chunks:            // chunks of up to 1024 columns
 *     for col in chunk step 16:  results[row, col] = expr(row, col)
 *
 * When every operand and result is dense and of one shape, rows are joined first, so that a single
 * long row is split over threads and many short ones waste no lanes.
 */
#include "passes/lower/lower.h"

enum { CHUNK = 1024 };

typedef struct MapBody {
  Draft *d;
  const Type *shape;   /* of the iteration */
  const Type *results; /* of the values to store: `shape` before rows were joined */
  KVal row;
  const Place *from, *to; /* a copy; else the cluster's results */
} MapBody;

static void map_body(void *user, KVal col, KVal mask, KVal *carry) {
  MapBody *m = user;
  (void)carry;
  Point pt = point_at(m->shape, m->row, col, mask);
  if (m->from) {
    KVal x = point_load(m->d, &pt, m->from);
    point_store(m->d, &pt, m->to, x);
    return;
  }
  Expr e;
  expr_begin(&e, m->d, pt);
  expr_store_results(&e, m->results);
}

/* Runs map_body over a shape: the par loop over rows and chunks of columns. */
static void map_over(Draft *d, MapBody *m) {
  Lower *l = d->l;
  KBuilder *b = &d->b;
  Dims *dims = l->m->dims;
  DimId cols = last_dim(l, m->shape), rows = rows_of(l, m->shape);
  DimId chunks = dim_op(dims, DIM_CEILDIV, cols, dim_const(dims, CHUNK));
  d->extent = dim_mul(l, rows, chunks);
  d->flops = dim_mul(l, rows, cols);
  KVal n = draft_dim(d, cols), nchunks = draft_dim(d, chunks);
  KVal extent = draft_dim(d, d->extent);
  KVal p = k_par(b, "p", extent);
  int64_t literal_chunks = dim_literal(l, chunks);
  KVal chunk = k_i64(b, 0);
  m->row = p;
  if (literal_chunks != 1) {
    bool one_row = dim_literal(l, rows) == 1;
    m->row = one_row ? k_i64(b, 0) : k_op2(b, KOP_div, p, nchunks);
    chunk = one_row ? p : k_op2(b, KOP_rem, p, nchunks);
  }
  if (literal_chunks == 1) {
    draft_span(d, k_i64(b, 0), n, 0, NULL, map_body, m);
  } else {
    KVal lo = k_op2(b, KOP_mul, chunk, k_i64(b, CHUNK));
    KVal hi = k_op2(b, KOP_min, k_op2(b, KOP_add, lo, k_i64(b, CHUNK)), n);
    draft_span(d, lo, hi, 0, NULL, map_body, m);
  }
  k_par_end(b);
}

/* ---- joining rows -------------------------------------------------------------------------- */

/* A dense value of the iteration's shape, or one element. */
static bool joinable(const Lower *l, const Type *shape, const Place *p) {
  bool one = true;
  for (int i = 0; i < p->rank; i++) one &= dim_literal(l, p->dim[i]) == 1;
  if (one) return !p->shift;
  if (p->rank != shape->rank || !place_is_contiguous(l, p)) return false;
  for (int i = 0; i < p->rank; i++)
    if (p->dim[i] != shape->dim[i]) return false;
  return true;
}

static void join(Lower *l, const Type *flat, Place *p) {
  bool one = true;
  for (int i = 0; i < p->rank; i++) one &= dim_literal(l, p->dim[i]) == 1;
  p->rank = one ? 0 : 1;
  p->dim[0] = flat->dim[0];
  p->stride[0] = dim_const(l->m->dims, 1);
}

/* Calls for every operand from outside and every result: tests them, or joins their rows. */
static bool each_place(Lower *l, const Type *shape, const Type *flat) {
  const Cluster *cl = l->cluster;
  for (uint32_t i = 0; i < cl->nops; i++) {
    const Op *o = graph_get(l->g, cl->ops[i]);
    for (uint32_t j = 0; j < o->nin + o->nout; j++) {
      ValueId v = j < o->nin ? o->in[j] : o->out[j - o->nin];
      if (j < o->nin ? in_cluster(l, v) : !value_escapes(l, v)) continue;
      Place p = l->placed[v] || j < o->nin ? place_of(l, v) : place_result(l, v);
      if (!flat && !joinable(l, shape, &p)) return false;
      if (flat && l->place[v].rank == shape->rank) join(l, flat, &l->place[v]);
    }
  }
  return true;
}

Status lower_map(Lower *l) {
  const Cluster *cl = l->cluster;
  const Op *last = graph_get(l->g, cl->ops[cl->nops - 1]);
  const Type *shape = &graph_value(l->g, last->out[0])->type;
  Type flat = {.rank = 1};
  flat.dim[0] = type_elements(l->m->dims, shape);
  Place *saved = NULL;
  MapBody m = {.shape = shape, .results = shape};
  if (shape->rank > 1 && each_place(l, shape, NULL)) {
    saved = ARENA_ARRAY(l->arena, Place, l->g->nvalues);
    for (uint32_t i = 0; i < l->g->nvalues; i++) saved[i] = l->place[i];
    each_place(l, shape, &flat);
    m.shape = &flat;
  }
  Draft d;
  draft_begin(&d, l, KC_map, op_info(last->code)->name);
  m.d = &d;
  map_over(&d, &m);
  draft_end(&d);
  for (uint32_t i = 0; saved && i < l->g->nvalues; i++)
    if (l->placed[i]) l->place[i] = saved[i];
  return OK;
}

void lower_copy(Lower *l, const Place *from, const Place *to) {
  Type shape = {.dtype = to->dtype, .rank = to->rank};
  for (int i = 0; i < to->rank; i++) shape.dim[i] = to->dim[i];
  Draft d;
  draft_begin(&d, l, KC_map, "copy");
  MapBody m = {.d = &d, .shape = &shape, .from = from, .to = to};
  map_over(&d, &m);
  draft_end(&d);
}
