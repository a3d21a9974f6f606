/* fuse: cuts every graph into clusters, one anchor with the element-wise work around it.
 *
 * Greedy, in execution order, each op once. Clusters run in the order of their numbers, so an op
 * may join cluster C only when its other operands come from C itself, from clusters before C, or
 * from outside; that keeps every cluster convex without a search. What joins:
 *   - element-wise ops of the cluster's shape, behind a map, a norm or softmax, or a contraction;
 *   - requant, once, at the end of a row cluster;
 *   - the split of a linear in equal parts that element-wise ops read side by side (gate, up);
 *   - a cheap map before a row anchor becomes its prologue;
 *   - kv_append behind the rope of its keys;
 *   - a row cluster of one row that ends in a requant for one linear alone joins that linear
 * (decode: every thread quantises the row for itself, which costs less than waiting for one that
 * does). A value that something outside reads is stored by the cluster and may still be read
 * inside.
 */
#include "passes/util.h"

#include <string.h>

enum { CLUSTER_OPS = 24, SPLIT_PARTS = 4, ROW_ROOM = 8 };
enum {
  OWN_ROW = 16384
}; /* widest row that is quantised in thread-private memory: 2.1 bytes each */

typedef struct Fuse {
  Graph *g;
  PassCtx *c;
} Fuse;

static const Type *type_of(const Fuse *f, ValueId v) {
  return &graph_value(f->g, v)->type;
}

static bool same_dims(const Type *a, const Type *b) {
  return a->rank == b->rank && !memcmp(a->dim, b->dim, a->rank * sizeof *a->dim);
}

/* The cluster that computes v; 0: input, constant or state. */
static uint32_t cluster_of(const Fuse *f, ValueId v) {
  const Value *x = graph_value(f->g, v);
  return x->kind == V_OP ? graph_get(f->g, x->def)->cluster : 0;
}

static Cluster *cluster_at(const Fuse *f, uint32_t index) {
  return &f->g->clusters[index - 1];
}

static void add_op(Fuse *f, uint32_t index, OpId o) {
  Cluster *cl = cluster_at(f, index);
  cl->ops[cl->nops++] = o;
  graph_get(f->g, o)->cluster = index;
}

static uint32_t new_cluster(Fuse *f, ClusterClass klass, OpId anchor, OpId first) {
  Graph *g = f->g;
  Cluster *cl = VEC_PUSH(g->clusters, g->nclusters, g->cclusters);
  *cl = (Cluster){.klass = klass, .anchor = anchor};
  cl->ops = ARENA_ARRAY(g->module->arena, OpId, CLUSTER_OPS);
  add_op(f, g->nclusters, first);
  return g->nclusters;
}

static const Op *last_op(const Fuse *f, const Cluster *cl) {
  return graph_get(f->g, cl->ops[cl->nops - 1]);
}

/* The shape at which a cluster's element-wise work is done. */
static const Type *cluster_shape(const Fuse *f, const Cluster *cl) {
  const Op *o = last_op(f, cl);
  return type_of(f, o->out[0]);
}

static void explain(Fuse *f, OpId o, uint32_t cluster, const char *why) {
  if (!f->c->explain) return;
  const Op *op = graph_get(f->g, o);
  buf_printf(f->c->explain, "@%s: %s%s%s%s ", f->g->name, op_info(op->code)->name,
             op->origin ? " (" : "", op->origin ? op->origin : "", op->origin ? ")" : "");
  if (cluster)
    buf_printf(f->c->explain, "joins cluster %u: %s\n", cluster, why);
  else
    buf_printf(f->c->explain, "begins cluster %u: %s\n", op->cluster, why);
}

/* ---- may an op join? ----------------------------------------------------------------------- */

/* All operands of `o` are known when cluster `index` runs, or are computed by it. */
static bool operands_ready(const Fuse *f, const Op *o, uint32_t index) {
  for (uint32_t i = 0; i < o->nin; i++)
    if (cluster_of(f, o->in[i]) > index) return false;
  return true;
}

/* The latest cluster that gives an operand of `o`. */
static uint32_t latest_operand(const Fuse *f, const Op *o) {
  uint32_t latest = 0;
  for (uint32_t i = 0; i < o->nin; i++) {
    uint32_t c = cluster_of(f, o->in[i]);
    if (c > latest) latest = c;
  }
  return latest;
}

/* Why element-wise work can't follow in this cluster, or NULL. */
static const char *closed(const Fuse *f, const Cluster *cl) {
  if (cl->nops >= CLUSTER_OPS) return "the cluster before it is full";
  if (cl->klass != CC_map && cl->klass != CC_row && cl->klass != CC_contract)
    return "what computes its operand takes no element-wise work";
  OpCode anchor = cl->anchor ? graph_get(f->g, cl->anchor)->code : OP_none;
  if (cl->klass == CC_map && !(op_info(last_op(f, cl)->code)->traits & T_ELEMENTWISE))
    return "what computes its operand takes no element-wise work";
  if (anchor == OP_argmax || anchor == OP_reduce_sum) return "its operand is one value a row";
  if (last_op(f, cl)->code == OP_requant) return "its operand has been requantised";
  return NULL;
}

static const char *why_not(const Fuse *f, const Op *o, uint32_t index) {
  if (!index) return "its operands come from outside";
  const Cluster *cl = cluster_at(f, index);
  const char *why = closed(f, cl);
  if (why) return why;
  if (!same_dims(type_of(f, o->out[0]), cluster_shape(f, cl)))
    return "its shape differs from that of the cluster before it";
  return operands_ready(f, o, index) ? NULL : "an operand is computed later";
}

static void place_elementwise(Fuse *f, OpId id) {
  const Op *o = graph_get(f->g, id);
  uint32_t index = latest_operand(f, o);
  const char *why = why_not(f, o, index);
  if (!why) {
    add_op(f, index, id);
    explain(f, id, index, "element-wise work on what it computes");
    return;
  }
  new_cluster(f, CC_map, 0, id);
  explain(f, id, 0, why);
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* Sums and products only: cheap enough to compute once a pass over the row. */
static bool cheap(const Fuse *f, const Cluster *cl) {
  for (uint32_t i = 0; i < cl->nops; i++) {
    OpCode c = graph_get(f->g, cl->ops[i])->code;
    if (c != OP_add && c != OP_sub && c != OP_mul && c != OP_neg && c != OP_square) return false;
  }
  return true;
}

/* Every use of a value of `cl` is in it or is `o`. */
static bool only_feeds(const Fuse *f, const Cluster *cl, const Op *o) {
  uint32_t uses = 0, inside = 0;
  for (uint32_t i = 0; i < cl->nops; i++) {
    const Op *x = graph_get(f->g, cl->ops[i]);
    uses += graph_value(f->g, x->out[0])->uses;
    for (uint32_t j = 0; j < x->nin; j++)
      inside += graph_get(f->g, cl->ops[0])->cluster == cluster_of(f, x->in[j]);
  }
  return uses == inside + 1 && o->nin > 0;
}

static void place_row(Fuse *f, OpId id) {
  const Op *o = graph_get(f->g, id);
  uint32_t index = cluster_of(f, o->in[0]);
  Cluster *cl = index ? cluster_at(f, index) : NULL;
  bool fits = cl && cl->nops < CLUSTER_OPS && operands_ready(f, o, index) && !closed(f, cl) &&
              same_dims(type_of(f, o->in[0]), cluster_shape(f, cl));
  for (uint32_t i = 1; fits && i < o->nin; i++) fits = cluster_of(f, o->in[i]) < index;
  if (fits && cl->klass == CC_row && o->code == OP_requant) {
    add_op(f, index, id);
    explain(f, id, index, "quantises the rows that it computes");
    return;
  }
  bool reduces = o->code == OP_argmax || o->code == OP_reduce_sum;
  if (fits && cl->klass == CC_map && cheap(f, cl) && (!reduces || only_feeds(f, cl, o))) {
    cl->klass = CC_row;
    cl->anchor = id;
    add_op(f, index, id);
    explain(f, id, index, "takes its element-wise work as prologue");
    return;
  }
  new_cluster(f, CC_row, id, id);
  explain(f, id, 0, "a row anchor");
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* All uses of v are element-wise ops with results of its shape. */
static bool read_elementwise(const Fuse *f, ValueId v) {
  uint32_t found = 0;
  for (OpId o = 1; o < f->g->nops; o++) {
    const Op *op = graph_get(f->g, o);
    if (op->dead) continue;
    for (uint32_t i = 0; i < op->nin; i++) {
      if (op->in[i] != v) continue;
      if (!(op_info(op->code)->traits & T_ELEMENTWISE)) return false;
      if (!same_dims(type_of(f, op->out[0]), type_of(f, v))) return false;
      found++;
    }
  }
  return found > 0 && found == graph_value(f->g, v)->uses;
}

/* A split whose equal parts a linear can hand to its epilogue side by side. */
static bool side_by_side(const Fuse *f, const Op *o) {
  uint32_t index = cluster_of(f, o->in[0]);
  const Value *x = graph_value(f->g, o->in[0]);
  if (!index || x->uses != 1 || o->nout < 2 || o->nout > SPLIT_PARTS) return false;
  const Cluster *cl = cluster_at(f, index);
  if (!cl->anchor || last_op(f, cl) != graph_get(f->g, cl->anchor)) return false;
  if (graph_get(f->g, cl->anchor)->code != OP_linear) return false;
  if (graph_value(f->g, graph_get(f->g, cl->anchor)->in[1])->kind != V_CONST) return false;
  int64_t axis = o->attrs.split.axis, size = o->attrs.split.sizes.v[0];
  if (axis != -1 && axis != x->type.rank - 1) return false;
  for (uint32_t i = 0; i < o->nout; i++) {
    if (o->attrs.split.sizes.v[i] != size || size % 16) return false;
    if (!read_elementwise(f, o->out[i])) return false;
  }
  return true;
}

static ClusterClass class_of(const Op *o) {
  switch (o->code) {
  case OP_linear:
  case OP_linear_argmax:
  case OP_matmul: return CC_contract;
  case OP_attention:
  case OP_attention_kv: return CC_attend;
  case OP_reshape:
  case OP_split:
  case OP_slice:
  case OP_transpose: return CC_view;
  default: return CC_map;
  }
}

/* One row whose quantised form `o` alone reads, and nothing else of whose cluster is read outside.
 */
static bool private_row(const Fuse *f, const Op *o, uint32_t index) {
  const Cluster *cl = index ? cluster_at(f, index) : NULL;
  const Type *t = type_of(f, o->in[0]);
  int64_t width;
  if (!cl || cl->klass != CC_row || last_op(f, cl)->code != OP_requant) return false;
  if (cl->nops > CLUSTER_OPS - ROW_ROOM || !only_feeds(f, cl, o)) return false;
  if (graph_value(f->g, o->in[1])->kind != V_CONST || !operands_ready(f, o, index)) return false;
  return is_one_row(f->g, t) && dim_is_const(f->g->module->dims, t->dim[t->rank - 1], &width) &&
         width <= OWN_ROW;
}

static void place_linear(Fuse *f, OpId id) {
  const Op *o = graph_get(f->g, id);
  uint32_t index = cluster_of(f, o->in[0]);
  if (private_row(f, o, index)) {
    Cluster *cl = cluster_at(f, index);
    cl->klass = CC_contract;
    cl->anchor = id;
    add_op(f, index, id);
    explain(f, id, index, "reads its one row alone");
    return;
  }
  new_cluster(f, CC_contract, id, id);
  explain(f, id, 0, "an anchor");
}

/* Keys are rotated on their way into the cache when nothing else reads them, nor the cache as it
 * was (the append may move before ops that stand between). */
static void place_append(Fuse *f, OpId id) {
  const Op *o = graph_get(f->g, id);
  uint32_t index = cluster_of(f, o->in[1]);
  Cluster *cl = index ? cluster_at(f, index) : NULL;
  if (cl && cl->nops == 1 && last_op(f, cl)->code == OP_rope && operands_ready(f, o, index) &&
      graph_value(f->g, o->in[1])->uses == 1 && graph_value(f->g, o->in[0])->uses == 1) {
    cl->anchor = id;
    add_op(f, index, id);
    explain(f, id, index, "the keys that it rotates go straight into the cache");
    return;
  }
  new_cluster(f, CC_map, id, id);
  explain(f, id, 0, "an anchor");
}

static void place_op(Fuse *f, OpId id) {
  const Op *o = graph_get(f->g, id);
  uint32_t traits = op_info(o->code)->traits;
  if (traits & T_ELEMENTWISE) {
    place_elementwise(f, id);
  } else if (traits & T_ROW) {
    place_row(f, id);
  } else if (o->code == OP_kv_append) {
    place_append(f, id);
  } else if (o->code == OP_linear) {
    place_linear(f, id);
  } else if (o->code == OP_split && side_by_side(f, o)) {
    uint32_t index = cluster_of(f, o->in[0]);
    add_op(f, index, id);
    explain(f, id, index, "its equal parts are read side by side");
  } else {
    new_cluster(f, class_of(o), id, id);
    explain(f, id, 0, "an anchor");
  }
}

Status pass_fuse(Module *m, PassCtx *c, bool *changed) {
  for (uint32_t i = 0; i < m->ngraphs; i++) {
    Fuse f = {.g = m->graphs[i], .c = c};
    f.g->nclusters = 0;
    for (OpId o = 1; o < f.g->nops; o++) graph_get(f.g, o)->cluster = 0;
    for (OpId o = 1; o < f.g->nops; o++)
      if (!graph_get(f.g, o)->dead) place_op(&f, o);
    *changed |= f.g->nclusters > 0;
  }
  return OK;
}
