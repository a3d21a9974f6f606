/* Element types and the layout of tensors: cast, reshape, transpose, split, concat, slice.
 *
 * The values stay what they are (cast rounds them); everything is row-major. Axes may be negative,
 * as in numpy. A quantised constant that is an operand here counts as its f32 values.
 */
#include "ir/graph_impl.h"
#include "ir/op/common.h"

#include <math.h>
#include <string.h>

/* ---- cast ---- */

INFER(cast) {
  TRY(need_tensor(g, op, 0, 0, d, where));
  same_type(g, op, out, nout);
  out[0].dtype = op->attrs.cast.to;
  return OK;
}

VERIFY(cast) {
  (void)g;
  if ((unsigned)op->attrs.cast.to >= DT_COUNT) return op_error(d, where, op, "unknown type");
  return OK;
}

/* Floats go to integers toward zero, to bool by != 0. */
static int64_t to_integer(float x, DType t) {
  if (t == DT_bool) return x != 0;
  if (!(fabsf(x) < 9e18f)) return 0;
  return wrap_integer((int64_t)x, t);
}

REF(cast) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  for (int64_t i = 0; i < out->elements; i++) {
    if (out->f)
      out->f[i] = round_float(in->f ? in->f[i] : (float)in->i[i], out->dtype);
    else
      out->i[i] = in->f ? to_integer(in->f[i], out->dtype) : wrap_integer(in->i[i], out->dtype);
  }
  return OK;
}

static KScalar scalar_of(DType t) {
  switch (t) {
  case DT_f16: return K_f16;
  case DT_bf16: return K_bf16;
  case DT_i64: return K_i64;
  case DT_i16: return K_i16;
  case DT_i8:
  case DT_u8: return K_i8;
  case DT_i32: return K_i32;
  default: return K_f32;
  }
}

/* Floats are f32 in kernels, so a cast to f16 is there and back. */
EXPR(cast) {
  KVal x = args[0];
  KScalar from = (KScalar)k_type(b->kernel, x).scalar, to = scalar_of(op->attrs.cast.to);
  if (to == K_f16 || to == K_bf16) {
    if (from != K_f32) x = k_cvt(b, x, K_f32);
    return k_cvt(b, k_cvt(b, x, to), K_f32);
  }
  return from == to ? x : k_cvt(b, x, to);
}

/* ---- reshape ---- */

/* Splits dimensions into the product of the literal ones and that of the others (0: none). */
static bool split_product(Dims *dims, const DimId *dim, int rank, uint64_t *literal, DimId *other) {
  *literal = 1;
  *other = 0;
  for (int i = 0; i < rank; i++) {
    int64_t n;
    if (!dim_is_const(dims, dim[i], &n)) {
      *other = *other ? dim_try_op(dims, DIM_MUL, *other, dim[i]) : dim[i];
      if (!*other) return false;
    } else if (!size_mul(*literal, (uint64_t)n, literal)) {
      return false;
    }
  }
  return true;
}

/* What the dimension -1 is: operand elements over the product of the other new dimensions. */
static Status open_dim(Dims *dims, uint64_t literal, DimId other, uint64_t rest, const Op *op,
                       DimId *out, Diag *d, const char *where) {
  if (rest == 0) return op_error(d, where, op, "-1 beside a dimension of 0");
  if (!other) {
    if (literal % rest != 0)
      return op_error(d, where, op, "%llu elements do not divide by %llu",
                      (unsigned long long)literal, (unsigned long long)rest);
    *out = dim_const(dims, (int64_t)(literal / rest));
  } else if (literal % rest == 0) {
    *out = dim_try_op(dims, DIM_MUL, other, dim_const(dims, (int64_t)(literal / rest)));
  } else {
    DimId all = dim_try_op(dims, DIM_MUL, other, dim_const(dims, (int64_t)literal));
    *out = all ? dim_try_op(dims, DIM_DIV, all, dim_const(dims, (int64_t)rest)) : 0;
  }
  return *out ? OK : op_error(d, where, op, "the shape is too large");
}

INFER(reshape) {
  TRY(need_tensor(g, op, 0, 0, d, where));
  Dims *dims = g->module->dims;
  const Type *in = operand_type(g, op, 0);
  const I64List *shape = &op->attrs.shape.shape;
  if (shape->n > MAX_RANK) return op_error(d, where, op, "more than %d dimensions", MAX_RANK);
  uint64_t literal, rest = 1;
  DimId other;
  if (!split_product(dims, in->dim, in->rank, &literal, &other))
    return op_error(d, where, op, "the operand is too large");
  Type t = {.dtype = in->dtype, .rank = (uint8_t)shape->n};
  int open = -1;
  for (uint32_t i = 0; i < shape->n; i++) {
    int64_t n = shape->v[i];
    if (n == -1 && open < 0) {
      open = (int)i;
    } else if (n < 0 || !size_mul(rest, (uint64_t)n, &rest)) {
      return op_error(d, where, op, "bad dimension %lld in the shape", (long long)n);
    } else {
      t.dim[i] = dim_const(dims, n);
    }
  }
  if (open >= 0) {
    TRY(open_dim(dims, literal, other, rest, op, &t.dim[open], d, where));
  } else if (other || literal != rest) {
    Buf b = {0};
    type_print(dims, in, &b);
    Status s =
        op_error(d, where, op, "%s does not have %llu elements", b.data, (unsigned long long)rest);
    buf_free(&b);
    return s;
  }
  out[0] = t;
  *nout = 1;
  return OK;
}
VERIFY_NONE(reshape)

REF(reshape) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  if (in->elements != out->elements)
    return op_error(c->diag, "eval", op, "%lld elements cannot become %lld",
                    (long long)in->elements, (long long)out->elements);
  ref_copy(out, 0, in, 0, in->elements);
  return OK;
}

/* ---- transpose ---- */

INFER(transpose) {
  TRY(need_tensor(g, op, 0, 0, d, where));
  const Type *in = operand_type(g, op, 0);
  const I64List *perm = &op->attrs.perm.perm;
  if (perm->n != in->rank)
    return op_error(d, where, op, "perm has %u entries (expected %u)", perm->n, in->rank);
  uint32_t seen = 0;
  Type t = {.dtype = in->dtype, .rank = in->rank};
  for (uint32_t i = 0; i < perm->n; i++) {
    int64_t p = perm->v[i];
    if (p < 0 || p >= in->rank || (seen >> p & 1))
      return op_error(d, where, op, "perm is no permutation of 0..%d", in->rank - 1);
    seen |= 1u << p;
    t.dim[i] = in->dim[p];
  }
  out[0] = t;
  *nout = 1;
  return OK;
}
VERIFY_NONE(transpose)

REF(transpose) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t stride[MAX_RANK] = {0};
  for (int i = 0; i < out->rank; i++) {
    int p = (int)op->attrs.perm.perm.v[i];
    stride[i] = ref_inner(in, p);
  }
  for (int64_t at = 0; at < out->elements; at++) {
    int64_t rest = at, from = 0;
    for (int i = out->rank; i-- > 0; rest /= out->dim[i]) from += rest % out->dim[i] * stride[i];
    ref_copy(out, at, in, from, 1);
  }
  return OK;
}

/* ---- split ---- */

INFER(split) {
  TRY(need_tensor(g, op, 0, 1, d, where));
  Dims *dims = g->module->dims;
  const Type *in = operand_type(g, op, 0);
  const I64List *sizes = &op->attrs.split.sizes;
  int axis = axis_of(op->attrs.split.axis, in->rank);
  int64_t n;
  if (axis < 0) return op_error(d, where, op, "axis %lld", (long long)op->attrs.split.axis);
  if (!dim_is_const(dims, in->dim[axis], &n))
    return op_error(d, where, op, "the dimension that is split must be literal");
  if (sizes->n == 0) return op_error(d, where, op, "no sizes");
  uint64_t sum = 0;
  for (uint32_t i = 0; i < sizes->n; i++) {
    if (sizes->v[i] <= 0 || !size_add(sum, (uint64_t)sizes->v[i], &sum))
      return op_error(d, where, op, "bad size %lld", (long long)sizes->v[i]);
  }
  if (sum != (uint64_t)n)
    return op_error(d, where, op, "the sizes sum to %llu (expected %lld)", (unsigned long long)sum,
                    (long long)n);
  for (uint32_t i = 0; i < sizes->n; i++) {
    out[i] = *in;
    out[i].storage = Q_plain;
    out[i].dim[axis] = dim_const(dims, sizes->v[i]);
  }
  *nout = sizes->n;
  return OK;
}
VERIFY_NONE(split)

/* Copies `n` of the elements along an axis, from position `from` to position `to`. */
static void copy_along(RefTensor *out, int axis, int64_t to, const RefTensor *in, int64_t from,
                       int64_t n) {
  int64_t outer = ref_outer(out, axis), inner = ref_inner(out, axis);
  for (int64_t o = 0; o < outer; o++) {
    ref_copy(out, (o * out->dim[axis] + to) * inner, in, (o * in->dim[axis] + from) * inner,
             n * inner);
  }
}

REF(split) {
  const RefTensor *in = ref_value(c, op->in[0]);
  int axis = axis_of(op->attrs.split.axis, in->rank);
  int64_t from = 0;
  for (uint32_t i = 0; i < op->nout; i++) {
    RefTensor *out = ref_result(c, op->out[i]);
    copy_along(out, axis, 0, in, from, out->dim[axis]);
    from += out->dim[axis];
  }
  return OK;
}

/* ---- concat ---- */

INFER(concat) {
  TRY(need_tensor(g, op, 0, 1, d, where));
  same_type(g, op, out, nout);
  int axis = axis_of(op->attrs.axis.axis, out[0].rank);
  if (axis < 0) return op_error(d, where, op, "axis %lld", (long long)op->attrs.axis.axis);
  for (uint32_t i = 1; i < op->nin; i++) {
    TRY(need_tensor(g, op, i, 1, d, where));
    const Type *t = operand_type(g, op, i);
    bool same = t->rank == out[0].rank && t->dtype == out[0].dtype;
    for (int k = 0; same && k < t->rank; k++) same = k == axis || t->dim[k] == out[0].dim[k];
    if (!same)
      return op_error(d, where, op, "operand %u does not match the first but for axis %d", i + 1,
                      axis);
    out[0].dim[axis] = dim_try_op(g->module->dims, DIM_ADD, out[0].dim[axis], t->dim[axis]);
    if (!out[0].dim[axis]) return op_error(d, where, op, "the result is too large");
  }
  return OK;
}
VERIFY_NONE(concat)

REF(concat) {
  RefTensor *out = ref_result(c, op->out[0]);
  int axis = axis_of(op->attrs.axis.axis, out->rank);
  int64_t to = 0;
  for (uint32_t i = 0; i < op->nin; i++) {
    const RefTensor *in = ref_value(c, op->in[i]);
    copy_along(out, axis, to, in, 0, in->dim[axis]);
    to += in->dim[axis];
  }
  return OK;
}

/* ---- slice ---- */

INFER(slice) {
  TRY(need_tensor(g, op, 0, 1, d, where));
  same_type(g, op, out, nout);
  const Attrs_slice *a = &op->attrs.slice;
  int axis = axis_of(a->axis, out[0].rank);
  if (axis < 0) return op_error(d, where, op, "axis %lld", (long long)a->axis);
  const DimExpr *dim = dim_get(g->module->dims, out[0].dim[axis]);
  uint64_t end;
  bool inside = a->size >= 0;
  if (a->start < 0) {
    inside = inside && a->start >= -dim->lo && a->size <= -a->start;
  } else {
    inside =
        inside && size_add((uint64_t)a->start, (uint64_t)a->size, &end) && end <= (uint64_t)dim->lo;
  }
  if (!inside)
    return op_error(d, where, op, "%lld elements from %lld are not within a dimension of %lld",
                    (long long)a->size, (long long)a->start, (long long)dim->lo);
  out[0].dim[axis] = dim_const(g->module->dims, a->size);
  return OK;
}
VERIFY_NONE(slice)

REF(slice) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  const Attrs_slice *a = &op->attrs.slice;
  int axis = axis_of(a->axis, in->rank);
  copy_along(out, axis, 0, in, a->start < 0 ? a->start + in->dim[axis] : a->start, a->size);
  return OK;
}
