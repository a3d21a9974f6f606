/* Shared by the operators; see common.h. */
#include "ir/op/common.h"

#include <stdio.h>
#include <string.h>

Status op_error(Diag *d, const char *where, const Op *op, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return diag_error(d, where, "%s: %s", op_info(op->code)->name, text);
}

static Status bad_operand(const Graph *g, const Op *op, uint32_t i, const char *want, Diag *d,
                          const char *where) {
  Buf b = {0};
  type_print(g->module->dims, operand_type(g, op, i), &b);
  Status s = op_error(d, where, op, "operand %u is %s (expected %s)", i + 1, b.data, want);
  buf_free(&b);
  return s;
}

static bool is_act(const Type *t) {
  return storage_is_act(t->storage);
}

Status need_tensor(const Graph *g, const Op *op, uint32_t i, int rank, Diag *d, const char *where) {
  const Type *t = operand_type(g, op, i);
  if (value_state(g, op->in[i], NULL))
    return op_error(d, where, op, "operand %u is a state (expected a tensor)", i + 1);
  if (is_act(t)) return bad_operand(g, op, i, "a value that is not requantised", d, where);
  if (t->rank < rank) {
    char want[64];
    snprintf(want, sizeof want, "at least %d dimensions", rank);
    return bad_operand(g, op, i, want, d, where);
  }
  return OK;
}

Status need_float(const Graph *g, const Op *op, uint32_t i, int rank, Diag *d, const char *where) {
  TRY(need_tensor(g, op, i, rank, d, where));
  if (!dtype_is_float(operand_type(g, op, i)->dtype))
    return bad_operand(g, op, i, "a float tensor", d, where);
  return OK;
}

Status need_index(const Graph *g, const Op *op, uint32_t i, int rank, Diag *d, const char *where) {
  TRY(need_tensor(g, op, i, rank, d, where));
  DType t = operand_type(g, op, i)->dtype;
  if (t != DT_i32 && t != DT_i64) return bad_operand(g, op, i, "an i32 or i64 tensor", d, where);
  return OK;
}

Status need_vector(const Graph *g, const Op *op, uint32_t i, DimId dim, Diag *d,
                   const char *where) {
  TRY(need_float(g, op, i, 1, d, where));
  const Type *t = operand_type(g, op, i);
  if (t->rank == 1 && t->dim[0] == dim) return OK;
  Buf want = {0};
  buf_puts(&want, "a vector of ");
  dim_print(g->module->dims, dim, &want);
  Status s = bad_operand(g, op, i, want.data, d, where);
  buf_free(&want);
  return s;
}

void same_type(const Graph *g, const Op *op, Type *out, uint32_t *nout) {
  out[0] = *operand_type(g, op, 0);
  out[0].storage = Q_plain;
  *nout = 1;
}

int axis_of(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) return -1;
  return (int)(axis < 0 ? axis + rank : axis);
}

bool broadcast_dims(const Dims *dims, const DimId *a, int na, const DimId *b, int nb, DimId *out) {
  int n = na > nb ? na : nb;
  for (int i = 1; i <= n; i++) {
    DimId x = i <= na ? a[na - i] : 0, y = i <= nb ? b[nb - i] : 0;
    int64_t one;
    if (!x || (y && dim_is_const(dims, x, &one) && one == 1)) {
      out[n - i] = y;
    } else if (!y || x == y || (dim_is_const(dims, y, &one) && one == 1)) {
      out[n - i] = x;
    } else {
      return false;
    }
  }
  return true;
}

const StateDef *value_state(const Graph *g, ValueId v, uint32_t *index) {
  for (;;) {
    const Value *value = &g->values[v];
    if (value->kind == V_STATE) {
      if (index) *index = value->index;
      return &g->module->states[value->index];
    }
    if (value->kind != V_OP) return NULL;
    const Op *op = &g->ops[value->def];
    if (!(op_info(op->code)->traits & T_STATE)) return NULL;
    v = op->in[0];
  }
}

int64_t ref_outer(const RefTensor *t, int axis) {
  int64_t n = 1;
  for (int i = 0; i < axis; i++) n *= t->dim[i];
  return n;
}

int64_t ref_inner(const RefTensor *t, int axis) {
  int64_t n = 1;
  for (int i = axis + 1; i < t->rank; i++) n *= t->dim[i];
  return n;
}

void ref_copy(RefTensor *to, int64_t ti, const RefTensor *from, int64_t fi, int64_t n) {
  if (from->f) {
    memcpy(to->f + ti, from->f + fi, (size_t)n * sizeof *to->f);
  } else {
    memcpy(to->i + ti, from->i + fi, (size_t)n * sizeof *to->i);
  }
}

int64_t wrap_integer(int64_t v, DType t) {
  switch (t) {
  case DT_i32: return (int32_t)v;
  case DT_i16: return (int16_t)v;
  case DT_i8: return (int8_t)v;
  case DT_u8: return (uint8_t)v;
  case DT_bool: return v != 0;
  default: return v;
  }
}

float round_float(float x, DType t) {
  if (t == DT_f16) return f16_to_f32(f32_to_f16(x));
  if (t == DT_bf16) return bf16_to_f32(f32_to_bf16(x));
  return x;
}

KVal expr_of_sigmoid(KBuilder *b, KVal x) {
  KVal one = like(b, x, 1);
  KVal e = k_op1(b, KOP_exp, k_op1(b, KOP_neg, x));
  return k_op2(b, KOP_div, one, k_op2(b, KOP_add, one, e));
}
