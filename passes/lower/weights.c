/* The weight table: each constant once per layout, in order of first use.
 *
 * Linears and embeddings stream rows16 (ir/quant.h), whatever the float or integer format;
 * everything else is read as plain elements. Entries share the table, so the order is that of the
 * first entry, which is the one that must be fast: decode.
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

Place weight_rows16(Lower *l, uint32_t constant, const QuantDef **def) {
  const Type *t = &l->m->consts[constant].type;
  KWeight w = {.constant = constant, .layout = KL_rows16, .storage = stream_format(t)};
  Place p = {.rank = 2, .dtype = DT_f32, .storage = w.storage};
  *def = quant_def(w.storage);
  if (!*def) return p;
  w.rows = dim_literal(l, t->dim[0]);
  w.cols = dim_literal(l, t->dim[1]);
  w.bytes = quant_packed_size(*def, w.rows, w.cols);
  p.bytes = w.bytes;
  p.bind = (KBind){.space = KS_weight, .offset = add_weight(l->program, &w)->offset};
  return p;
}
