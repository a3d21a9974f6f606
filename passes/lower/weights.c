/* The weight table: each constant once per layout, in order of first use.
 *
 * Linears and embeddings stream rows16 (ir/quant.h), whatever the float or integer format;
 * everything else is read as plain elements. A matrix that some graph's linear_argmax reads is
 * split (ir/quant.h, QuantSplit), for all who read it. Entries share the table, so the order is
 * that of the first entry, which is the one that must be fast: decode.
 */
#include "passes/lower/lower.h"

enum { WEIGHT_ALIGN = 64 };

static KWeight *find_weight(KProgram *p, uint32_t constant, KLayout layout, Storage s) {
  for (uint32_t i = 0; i < p->nweights; i++) {
    KWeight *w = &p->weights[i];
    if (w->constant == constant && w->layout == layout && w->storage == s) return w;
  }
  return NULL;
}

static KWeight *add_weight(KProgram *p, const KWeight *like) {
  KWeight *w = find_weight(p, like->constant, like->layout, like->storage);
  if (w) return w;
  w = VEC_PUSH(p->weights, p->nweights, p->cweights);
  *w = *like;
  w->offset = align_up(p->weight_bytes, WEIGHT_ALIGN);
  BUG_IF(!size_add(w->offset, w->bytes, &p->weight_bytes), "weights overflow");
  return w;
}

/* The storage in which a constant's rows are streamed; a plain constant by its dtype. */
static Storage stream_format(const Type *t) {
  if (t->storage != Q_plain) return t->storage;
  if (t->dtype == DT_f16) return Q_f16;
  return t->dtype == DT_bf16 ? Q_bf16 : Q_f32;
}

Place weight_plain(Lower *l, uint32_t constant) {
  const Type *t = &l->m->consts[constant].type;
  Place p = {.rank = t->rank, .dtype = dtype_is_float(t->dtype) ? DT_f32 : t->dtype};
  for (int i = 0; i < t->rank; i++) p.dim[i] = t->dim[i];
  place_contiguous(l, &p);
  int64_t n = dim_literal(l, type_elements(l->m->dims, t));
  BUG_IF(n < 0, "constant %s of run-time size", l->m->consts[constant].name);
  KWeight w = {.constant = constant,
               .layout = KL_plain,
               .rows = n,
               .cols = 1,
               .bytes = (uint64_t)n * dtype_size(p.dtype)};
  p.bytes = w.bytes;
  p.bind = (KBind){.space = KS_weight, .offset = add_weight(l->program, &w)->offset};
  return p;
}

/* Which part of a matrix's bits a launch reads. */
static Place matrix(Lower *l, uint32_t constant, KLayout layout) {
  const Type *t = &l->m->consts[constant].type;
  KWeight w = {.constant = constant, .layout = layout, .storage = stream_format(t)};
  const QuantDef *q = quant_def(w.storage);
  Place p = {.rank = 2, .dtype = DT_f32, .storage = w.storage};
  if (!q) return p;
  w.rows = dim_literal(l, t->dim[0]);
  w.cols = dim_literal(l, t->dim[1]);
  BUG_IF(!size_mul((uint64_t)pack_units(&w), pack_group_bytes(&w), &w.bytes), "weights overflow");
  p.bytes = w.bytes;
  p.bind = (KBind){.space = KS_weight, .offset = add_weight(l->program, &w)->offset};
  return p;
}

Place weight_rows16(Lower *l, uint32_t constant, const QuantDef **def) {
  *def = quant_def(stream_format(&l->m->consts[constant].type));
  return matrix(l, constant, weight_is_split(l, constant) ? KL_upper : KL_rows16);
}

bool weight_read_by(const Lower *l, uint32_t constant, OpCode code) {
  for (uint32_t i = 0; i < l->m->ngraphs; i++) {
    const Graph *g = l->m->graphs[i];
    for (OpId o = 1; o < g->nops; o++) {
      const Op *op = graph_get(g, o);
      if (op->dead || op->code != code) continue;
      const Value *w = graph_value(g, op->in[1]);
      if (w->kind == V_CONST && w->index == constant) return true;
    }
  }
  return false;
}

bool weight_is_split(const Lower *l, uint32_t constant) {
  return weight_read_by(l, constant, OP_linear_argmax);
}

Place weight_lower(Lower *l, uint32_t constant) {
  return matrix(l, constant, KL_lower);
}

Place weight_doubt(Lower *l, uint32_t constant) {
  Place p = matrix(l, constant, KL_doubt);
  p.storage = Q_plain;
  p.rank = 1;
  p.dim[0] = dim_const(l->m->dims, (int64_t)(p.bytes / sizeof(float)));
  p.stride[0] = dim_const(l->m->dims, 1);
  return p;
}
