/* Places: where values are, and the views that move no data.
 *
 * A place is a bind with a stride per dimension, so that reshape, split, slice and transpose are
 * only other ways to read the same bytes. Whoever needs dense rows asks for them (place_as_rows)
 * and gets a copy where the view can't be read directly. Strides are interned dimensions: a literal
 * one ends up in the address of an access, a run-time one as a multiplication.
 */
#include "passes/lower/lower.h"

KScalar kscalar_of(DType t) {
  switch (t) {
  case DT_f32: return K_f32;
  case DT_f16: return K_f16;
  case DT_bf16: return K_bf16;
  case DT_i64: return K_i64;
  case DT_i32: return K_i32;
  case DT_i16: return K_i16;
  case DT_i8:
  case DT_u8:
  case DT_bool: return K_i8;
  default: return K_void;
  }
}

DimId rows_of(Lower *l, const Type *t) {
  DimId rows = dim_const(l->m->dims, 1);
  for (int i = 0; i + 1 < t->rank; i++) rows = dim_mul(l, rows, t->dim[i]);
  return rows;
}

void place_contiguous(Lower *l, Place *p) {
  DimId stride = dim_const(l->m->dims, 1);
  for (int i = p->rank - 1; i >= 0; i--) {
    p->stride[i] = stride;
    stride = dim_mul(l, stride, p->dim[i]);
  }
}

/* Dimensions from..rank-1 are dense among themselves. */
static bool dense_from(const Lower *l, const Place *p, int from) {
  DimId stride = dim_const(l->m->dims, 1);
  for (int i = p->rank - 1; i >= from; i--) {
    if (dim_literal(l, p->dim[i]) != 1 && p->stride[i] != stride) return false;
    stride = dim_op(l->m->dims, DIM_MUL, stride, p->dim[i]);
  }
  return true;
}

bool place_is_contiguous(const Lower *l, const Place *p) {
  return dense_from(l, p, 0);
}

static Place place_shaped(const Type *t) {
  Place p = {.dtype = t->dtype, .storage = t->storage, .rank = t->rank};
  for (int i = 0; i < t->rank; i++) p.dim[i] = t->dim[i];
  return p;
}

static bool is_act(Storage s) {
  return storage_is_act(s);
}

/* Bytes of a dense value at the symbols' maximum. */
static uint64_t dense_bytes(Lower *l, const Type *t) {
  uint64_t n = (uint64_t)dim_get(l->m->dims, type_elements(l->m->dims, t))->hi, bytes;
  if (is_act(t->storage)) {
    ActLayout a = act_layout(t->storage, dim_literal(l, last_dim(l, t)));
    n = (uint64_t)dim_get(l->m->dims, rows_of(l, t))->hi;
    BUG_IF(!size_mul(n, (uint64_t)a.row_bytes, &bytes), "size of a value overflows");
    return bytes;
  }
  BUG_IF(!size_mul(n, dtype_size(t->dtype), &bytes), "size of a value overflows");
  return bytes ? bytes : 1;
}

Place place_scratch(Lower *l, const Type *type) {
  Place p = place_shaped(type);
  place_contiguous(l, &p);
  p.bytes = dense_bytes(l, type);
  LaunchList *ll = &l->launches;
  p.bind = (KBind){.space = KS_arena, .index = ll->nblocks};
  Block *b = VEC_PUSH(ll->block, ll->nblocks, ll->cblocks);
  *b = (Block){.bytes = p.bytes};
  return p;
}

static Place place_io(Lower *l, const Type *t, KSpace space, uint32_t index) {
  Place p = place_shaped(t);
  place_contiguous(l, &p);
  p.bytes = dense_bytes(l, t);
  p.bind = (KBind){.space = space, .index = index};
  return p;
}

void place_set(Lower *l, ValueId v, const Place *p) {
  BUG_IF(l->placed[v], "value %u is placed twice", v);
  l->place[v] = *p;
  l->placed[v] = true;
}

Place place_result(Lower *l, ValueId v) {
  const Type *t = &graph_value(l->g, v)->type;
  Place p = {0};
  uint32_t i = 0;
  while (i < l->g->noutputs && l->g->outputs[i] != v) i++;
  if (i < l->g->noutputs && t->storage == Q_plain)
    p = place_io(l, t, KS_output, i);
  else
    p = place_scratch(l, t);
  place_set(l, v, &p);
  return p;
}

Place place_of(Lower *l, ValueId v) {
  const Value *x = graph_value(l->g, v);
  if (l->placed[v]) return l->place[v];
  Place p = {0};
  if (x->kind == V_CONST)
    p = weight_plain(l, x->index);
  else if (x->kind == V_INPUT)
    p = place_io(l, &x->type, KS_input, x->index);
  else
    BUG("value %u of @%s is read before anything computes it", v, l->g->name);
  place_set(l, v, &p);
  return p;
}

/* ---- views --------------------------------------------------------------------------------- */

bool place_reshape(Lower *l, const Place *from, const Type *to, Place *out) {
  int same = 0;
  if (is_act(from->storage)) return false;
  while (same < from->rank && same < to->rank && from->dim[same] == to->dim[same]) same++;
  if (place_is_contiguous(l, from)) same = 0;
  if (!dense_from(l, from, same)) return false;
  *out = *from;
  out->rank = to->rank;
  for (int i = 0; i < to->rank; i++) out->dim[i] = to->dim[i];
  Place dense = *out;
  place_contiguous(l, &dense);
  for (int i = same; i < to->rank; i++) out->stride[i] = dense.stride[i];
  return true;
}

/* Moves the beginning of a place by start * stride elements. */
Place place_slice(Lower *l, const Place *from, int axis, DimId start, DimId size) {
  Place p = *from;
  p.dim[axis] = size;
  DimId by = dim_mul(l, start, from->stride[axis]);
  int64_t literal = dim_literal(l, by);
  if (literal >= 0)
    p.bind.offset += (uint64_t)literal * dtype_size(p.dtype);
  else
    p.shift = p.shift ? dim_op(l->m->dims, DIM_ADD, p.shift, by) : by;
  return p;
}

Place place_transpose(const Place *from, const int64_t *perm) {
  Place p = *from;
  for (int i = 0; i < p.rank; i++) {
    p.dim[i] = from->dim[perm[i]];
    p.stride[i] = from->stride[perm[i]];
  }
  return p;
}

/* ---- what readers ask for ------------------------------------------------------------------ */

static bool last_is_dense(const Lower *l, const Place *p) {
  if (!p->rank) return true;
  return dim_literal(l, p->stride[p->rank - 1]) == 1 || dim_literal(l, p->dim[p->rank - 1]) == 1;
}

bool place_rows(const Lower *l, const Place *p, int64_t *stride) {
  if (is_act(p->storage) || !last_is_dense(l, p)) return false;
  DimId expect = 0;
  *stride = 0;
  for (int i = p->rank - 2; i >= 0; i--) {
    if (dim_literal(l, p->dim[i]) == 1) continue;
    if (!expect) {
      *stride = dim_literal(l, p->stride[i]);
      if (*stride < 0) return false;
    } else if (p->stride[i] != expect)
      return false;
    expect = dim_op(l->m->dims, DIM_MUL, p->stride[i], p->dim[i]);
  }
  return true;
}

static Place place_copied(Lower *l, const Place *from) {
  Type t = {.dtype = from->dtype, .rank = from->rank};
  for (int i = 0; i < t.rank; i++) t.dim[i] = from->dim[i];
  Place p = place_scratch(l, &t);
  lower_copy(l, from, &p);
  return p;
}

Place place_as_rows(Lower *l, ValueId v, int64_t *stride) {
  Place p = place_of(l, v);
  if (place_rows(l, &p, stride)) return p;
  p = place_copied(l, &p);
  BUG_IF(!place_rows(l, &p, stride), "rows of a run-time width");
  return p;
}

Place place_as_strided(Lower *l, ValueId v) {
  Place p = place_of(l, v);
  bool literal = last_is_dense(l, &p);
  for (int i = 0; i < p.rank; i++) literal &= dim_literal(l, p.stride[i]) >= 0;
  if (literal) return p;
  return place_copied(l, &p);
}
