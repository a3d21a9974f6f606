/* Layout ops: reshape, transpose, split, slice and concat.
 *
 * All but concat are views where the strides allow it, and copies where they don't; concat copies
 * each operand into its slice of the result. What the graph gives away is always copied into the
 * output.
 */
#include "passes/lower/lower.h"

static int axis_of_rank(int64_t axis, int rank) {
  return (int)(axis < 0 ? axis + rank : axis);
}

static bool is_output(const Lower *l, ValueId v) {
  for (uint32_t i = 0; i < l->g->noutputs; i++)
    if (l->g->outputs[i] == v) return true;
  return false;
}

/* Makes `view` the place of result v, or copies it where the graph wants it dense. */
static void view_result(Lower *l, ValueId v, const Place *view) {
  if (!is_output(l, v)) {
    place_set(l, v, view);
    return;
  }
  Place out = place_result(l, v);
  lower_copy(l, view, &out);
}

static void lower_reshape(Lower *l, const Op *op) {
  const Type *t = &graph_value(l->g, op->out[0])->type;
  Place from = place_of(l, op->in[0]), view;
  if (!place_reshape(l, &from, t, &view)) {
    Type dense = graph_value(l->g, op->in[0])->type;
    Place copy = place_scratch(l, &dense);
    lower_copy(l, &from, &copy);
    BUG_IF(!place_reshape(l, &copy, t, &view), "reshape of a dense value");
  }
  view_result(l, op->out[0], &view);
}

static void lower_split(Lower *l, const Op *op) {
  Place from = place_of(l, op->in[0]);
  int axis = axis_of_rank(op->attrs.split.axis, from.rank);
  int64_t start = 0;
  for (uint32_t i = 0; i < op->nout; i++) {
    Dims *dims = l->m->dims;
    int64_t size = op->attrs.split.sizes.v[i];
    Place part = place_slice(l, &from, axis, dim_const(dims, start), dim_const(dims, size));
    view_result(l, op->out[i], &part);
    start += size;
  }
}

static void lower_slice(Lower *l, const Op *op) {
  Dims *dims = l->m->dims;
  Place from = place_of(l, op->in[0]);
  int axis = axis_of_rank(op->attrs.slice.axis, from.rank);
  int64_t at = op->attrs.slice.start;
  DimId start =
      at >= 0 ? dim_const(dims, at) : dim_op(dims, DIM_SUB, from.dim[axis], dim_const(dims, -at));
  DimId size = graph_value(l->g, op->out[0])->type.dim[axis];
  Place part = place_slice(l, &from, axis, start, size);
  view_result(l, op->out[0], &part);
}

static void lower_concat(Lower *l, const Op *op) {
  Place to = place_result(l, op->out[0]);
  int axis = axis_of_rank(op->attrs.axis.axis, to.rank);
  DimId start = dim_const(l->m->dims, 0);
  for (uint32_t i = 0; i < op->nin; i++) {
    Place from = place_of(l, op->in[i]);
    Place part = place_slice(l, &to, axis, start, from.dim[axis]);
    lower_copy(l, &from, &part);
    start = dim_op(l->m->dims, DIM_ADD, start, from.dim[axis]);
  }
}

Status lower_view(Lower *l, const Op *op) {
  if (kscalar_of(place_of(l, op->in[0]).dtype) == K_void)
    return lower_error(l, op,
                       "works on elements that kernels don't have (expected f32, f16, bf16 "
                       "or an integer of up to 64 bits)");
  switch (op->code) {
  case OP_reshape: lower_reshape(l, op); return OK;
  case OP_split: lower_split(l, op); return OK;
  case OP_slice: lower_slice(l, op); return OK;
  case OP_concat: lower_concat(l, op); return OK;
  case OP_transpose: {
    Place view = place_of(l, op->in[0]);
    view = place_transpose(&view, op->attrs.perm.perm.v);
    view_result(l, op->out[0], &view);
    return OK;
  }
  default: return lower_error(l, op, "isn't a layout op");
  }
}
