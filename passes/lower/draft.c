/* Drafts: one kernel while it is built, then shared, bound and launched.
 *
 * Everything that differs from layer to layer (weights, scratch, offsets of views) is in the
 * launch's binds; a kernel names only its parameters, so that equal work compiles to one kernel: a
 * finished draft is compared with the kernels that the program has and dropped when one is the
 * same. A draft has an arena of its own, since a deep model makes hundreds and keeps tens.
 */
#include "passes/lower/lower.h"

#include <string.h>

void draft_begin(Draft *d, Lower *l, KClass klass, const char *name) {
  memset(d, 0, sizeof *d);
  d->l = l;
  BUG_IF(l->draft, "a draft within a draft");
  l->draft = arena_new();
  Kernel *k = kernel_new(l->draft, name, klass);
  d->b = kbuilder(k);
  d->extent = dim_const(l->m->dims, 1);
  d->bytes = dim_const(l->m->dims, 0);
}

/* The bytes of a place that a launch reads or writes once; 0 for a state and for packed weights
 * outside of class contract (the table of a gather), of which a launch touches a part. */
static DimId place_traffic(Draft *d, const Place *p) {
  Lower *l = d->l;
  Dims *dims = l->m->dims;
  bool act = storage_is_act(p->storage);
  if (p->bind.space == KS_state) return dim_const(dims, 0);
  if (p->storage != Q_plain && !act)
    return dim_const(dims, d->b.kernel->klass == KC_contract ? (int64_t)p->bytes : 0);
  Type t = {.dtype = p->dtype, .rank = p->rank};
  for (int i = 0; i < t.rank; i++) t.dim[i] = p->dim[i];
  if (!act)
    return dim_mul(l, type_elements(dims, &t), dim_const(dims, (int64_t)dtype_size(t.dtype)));
  ActLayout a = act_layout(p->storage, dim_literal(l, last_dim(l, &t)));
  return dim_mul(l, rows_of(l, &t), dim_const(dims, a.row_bytes));
}

void draft_traffic(Draft *d, DimId bytes) {
  d->bytes = dim_op(d->l->m->dims, DIM_ADD, d->bytes, bytes);
}

KVal draft_buffer(Draft *d, const Place *p, KScalar element, bool write) {
  static const char *const names[] = {"x", "w", "cache", "in", "out"};
  for (uint32_t i = 0; i < d->nbuf; i++) {
    const KBind *o = &d->buf[i].access.bind;
    if (o->space == p->bind.space && o->index == p->bind.index && o->offset == p->bind.offset &&
        k_type(d->b.kernel, d->buf[i].val).scalar == element) {
      d->buf[i].access.write |= write;
      return d->buf[i].val;
    }
  }
  BUG_IF(d->nbuf == DRAFT_BUFFERS, "kernel %s needs too many buffers", d->b.kernel->name);
  bool result = write && p->bind.space != KS_state;
  KVal v = k_buffer(&d->b, result ? "y" : names[p->bind.space], element);
  uint64_t bytes = p->bind.space == KS_weight ? p->bytes : p->bytes - p->bind.offset;
  d->buf[d->nbuf].val = v;
  d->buf[d->nbuf++].access = (Access){.bind = p->bind, .bytes = bytes, .write = write};
  draft_traffic(d, place_traffic(d, p));
  return v;
}

KVal draft_dim(Draft *d, DimId dim) {
  int64_t literal = dim_literal(d->l, dim);
  if (literal >= 0) return k_i64(&d->b, literal);
  for (uint32_t i = 0; i < d->ndim; i++)
    if (d->dim[i].dim == dim) return d->dim[i].val;
  BUG_IF(d->ndim == DRAFT_DIMS, "kernel %s needs too many dimensions", d->b.kernel->name);
  const DimExpr *e = dim_get(d->l->m->dims, dim);
  d->dim[d->ndim].dim = dim;
  d->dim[d->ndim].val = k_scalar(&d->b, e->kind == DIM_SYMBOL ? e->name : "n");
  return d->dim[d->ndim++].val;
}

void draft_span(Draft *d, KVal lo, KVal hi, uint32_t ncarry, KVal *carry, SpanBody *body,
                void *user) {
  KBuilder *b = &d->b;
  KVal width = k_op2(b, KOP_sub, hi, lo);
  KVal full = k_op2(b, KOP_add, lo, k_op2(b, KOP_and, width, k_i64(b, -16)));
  KVal col = k_for(b, "c", lo, full, 16, ncarry, carry);
  body(user, col, 0, carry);
  k_for_end(b, carry);
  if (full == hi) return; /* equal literals are one value */
  KVal left = k_cvt(b, k_op2(b, KOP_sub, hi, full), K_i32);
  body(user, full, k_op2(b, KOP_lt, k_iota(b), k_splat(b, left)), carry);
}

/* ---- ending -------------------------------------------------------------------------------- */

/* The index of the draft's kernel in the program: its equal's, or its own. */
static uint32_t share_kernel(Lower *l, Kernel *k) {
  KProgram *p = l->program;
  Arena *draft = l->draft;
  l->draft = NULL;
  for (uint32_t i = 0; i < p->nkernels; i++) {
    if (!kernel_same(p->kernels[i], k)) continue;
    arena_free(draft);
    return i;
  }
  arena_adopt(p->arena, draft);
  k->arena = p->arena;
  k->name = arena_printf(p->arena, "%s_%u", k->name, p->nkernels);
  *VEC_PUSH(p->kernels, p->nkernels, p->ckernels) = k;
  return p->nkernels - 1;
}

/* Adds the words of `origin` that `label` doesn't end in yet: "layer 0 / attention / q" and
 * "layer 0 / attention / rope" become "layer 0 / attention / q + rope". */
static void label_add(Buf *label, const char *origin) {
  if (!origin) return;
  if (!label->size) {
    buf_puts(label, origin);
    return;
  }
  const char *word = strrchr(origin, '/');
  word = word ? word + 1 : origin;
  while (*word == ' ') word++;
  if (!strstr(label->data, word)) buf_printf(label, " + %s", word);
}

static const char *launch_label(Lower *l) {
  Buf label = {0};
  const Cluster *cl = l->cluster;
  if (cl && cl->anchor) label_add(&label, graph_get(l->g, cl->anchor)->origin);
  for (uint32_t i = 0; cl && i < cl->nops; i++)
    label_add(&label, graph_get(l->g, cl->ops[i])->origin);
  if (!label.size && cl && cl->nops)
    buf_puts(&label, op_info(graph_get(l->g, cl->ops[0])->code)->name);
  const char *text = arena_strdup(l->program->arena, label.size ? label.data : l->g->name);
  buf_free(&label);
  return text;
}

void draft_end(Draft *d) {
  Lower *l = d->l;
  KProgram *p = l->program;
  expand_math(d->b.kernel);
  if (!l->target->mma) expand_mma(d->b.kernel);
  interleave(d->b.kernel, l->target->chains);
  KBind *bind = ARENA_ARRAY(p->arena, KBind, d->nbuf + 1);
  LaunchUse *use = VEC_PUSH(l->launches.use, l->launches.nuses, l->launches.cuses);
  use->access = ARENA_ARRAY(l->arena, Access, d->nbuf + 1);
  use->n = d->nbuf;
  for (uint32_t i = 0; i < d->nbuf; i++) {
    use->access[i] = d->buf[i].access;
    bind[i] = d->buf[i].access.bind;
  }
  DimId *scalar = ARENA_ARRAY(p->arena, DimId, d->ndim + 1);
  for (uint32_t i = 0; i < d->ndim; i++) scalar[i] = d->dim[i].dim;
  uint32_t kernel = share_kernel(l, d->b.kernel);
  KEntry *e = l->entry;
  *VEC_PUSH(e->launches, e->nlaunches, e->claunches) =
      (KLaunch){.kernel = kernel,
                .bind = bind,
                .scalar = scalar,
                .extent = d->extent,
                .label = launch_label(l),
                .flops = d->flops ? d->flops : dim_const(l->m->dims, 0),
                .bytes = d->bytes,
                .streams = d->streams};
}
