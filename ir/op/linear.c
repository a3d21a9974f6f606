/* linear: y = x W^T + bias, linear_argmax: where the largest y is, and requant: x in the form in
 * which integer contractions read it.
 *
 * What `act` means is in doc/ir.md, section 1: with i16 or i8 the rows of x are quantised before an
 * integer weight meets them; weights in float formats always see x as it is. The reference does the
 * same to x, then multiplies with the weight's dequantised values (OpenBLAS): exact integer sums
 * and these differ only in the rounding of additions.
 */
#include "ir/op/common.h"
#include "ir/quant.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { ACT_BLOCK = 32 };
static const float I16_TOP = 16256, I8_TOP = 127;

/* x / scale * scale for a stretch that shares one scale. */
static void round_stretch(const float *x, float *y, int64_t n, float top) {
  float max = 0;
  for (int64_t i = 0; i < n; i++) max = fmaxf(max, fabsf(x[i]));
  float scale = max / top, inverse = max > 0 ? top / max : 0;
  for (int64_t i = 0; i < n; i++) y[i] = rintf(x[i] * inverse) * scale;
}

/* The same with a power of two for a scale, the next above what it would be. */
static void round_powers(const float *x, float *y, int64_t n) {
  float max = 0;
  int e;
  for (int64_t i = 0; i < n; i++) max = fmaxf(max, fabsf(x[i]));
  float part = frexpf(max / I8_TOP, &e);
  if (part == 0.5f) e--;
  e = max > 0 && e > -ACT_EXPONENT ? e < ACT_EXPONENT ? e : ACT_EXPONENT : -ACT_EXPONENT;
  for (int64_t i = 0; i < n; i++) y[i] = ldexpf(rintf(ldexpf(x[i], -e)), e);
}

void act_round(const float *x, float *y, int64_t n, ActFormat format) {
  if (format == ACT_i16) {
    round_stretch(x, y, n, I16_TOP);
  } else if (format == ACT_i8 || format == ACT_i8p) {
    for (int64_t i = 0; i < n; i += ACT_BLOCK) {
      int64_t left = n - i < ACT_BLOCK ? n - i : ACT_BLOCK;
      if (format == ACT_i8)
        round_stretch(x + i, y + i, left, I8_TOP);
      else
        round_powers(x + i, y + i, left);
    }
  } else {
    memcpy(y, x, (size_t)n * sizeof *y);
  }
}

Storage act_storage(ActFormat f) {
  switch (f) {
  case ACT_i16: return Q_act_i16;
  case ACT_i8: return Q_act_i8;
  case ACT_i8p: return Q_act_i8p;
  default: return Q_plain;
  }
}

INFER(requant) {
  TRY(need_float(g, op, 0, 1, d, where));
  same_type(g, op, out, nout);
  out[0].storage = act_storage(op->attrs.linear.act);
  return OK;
}

VERIFY(requant) {
  (void)g;
  if (act_storage(op->attrs.linear.act) == Q_plain)
    return op_error(d, where, op, "act must be i16, i8 or i8p");
  return OK;
}

REF(requant) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t n = in->dim[in->rank - 1];
  for (int64_t row = 0; row + n <= in->elements && n > 0; row += n)
    act_round(in->f + row, out->f + row, n, op->attrs.linear.act);
  return OK;
}

static bool integer_weight(const Graph *g, const Op *op) {
  const QuantDef *q = quant_def(operand_type(g, op, 1)->storage);
  return q && q->unpack_ints;
}

INFER(linear) {
  const Type *x = operand_type(g, op, 0);
  if (x->storage == Q_plain) {
    TRY(need_float(g, op, 0, 1, d, where));
  } else if (x->storage != act_storage(op->attrs.linear.act) || !integer_weight(g, op)) {
    return op_error(d, where, op, "x is in %s, which act and weight do not read",
                    storage_name(x->storage));
  }
  TRY(need_float(g, op, 1, 2, d, where));
  const Type *w = operand_type(g, op, 1);
  if (w->rank != 2 || w->dim[1] != x->dim[x->rank - 1]) {
    Buf a = {0}, b = {0};
    type_print(g->module->dims, x, &a);
    type_print(g->module->dims, w, &b);
    Status s = op_error(d, where, op, "x %s does not fit W %s (expected [.., K] and [N, K])",
                        a.data, b.data);
    buf_free(&a);
    buf_free(&b);
    return s;
  }
  if (op->nin > 2) TRY(need_vector(g, op, 2, w->dim[0], d, where));
  same_type(g, op, out, nout);
  out[0].dim[out[0].rank - 1] = w->dim[0];
  return OK;
}

VERIFY(linear) {
  (void)g;
  if ((unsigned)op->attrs.linear.act > ACT_i8p) return op_error(d, where, op, "unknown act");
  if (op->attrs.linear.fold && op->attrs.linear.act != ACT_i8)
    return op_error(d, where, op, "fold needs act i8");
  return OK;
}

/* The rows that the weight meets: x itself, or x through the activation format. */
static const float *met_rows(RefCtx *c, const Op *op, const RefTensor *x, int64_t k) {
  bool done = operand_type(c->graph, op, 0)->storage != Q_plain;
  if (done || op->attrs.linear.act == ACT_f32 || !integer_weight(c->graph, op)) return x->f;
  float *y = ARENA_ARRAY(c->arena, float, (size_t)x->elements);
  for (int64_t row = 0; row < x->elements; row += k)
    act_round(x->f + row, y + row, k, op->attrs.linear.act);
  return y;
}

/* The weight as the rows meet it: with `fold`, of each stretch of 256 along K rounded to int8. */
static const float *met_weight(RefCtx *c, const Op *op, const RefTensor *w, int64_t k) {
  const QuantDef *q = quant_def(operand_type(c->graph, op, 1)->storage);
  if (!op->attrs.linear.fold || !q || !quant_folds(q)) return w->f;
  float *y = ARENA_ARRAY(c->arena, float, (size_t)w->elements);
  for (int64_t row = 0; row < w->elements; row += k)
    for (int64_t i = 0; i < k; i += QUANT_FOLD)
      round_stretch(w->f + row + i, y + row + i, k - i < QUANT_FOLD ? k - i : QUANT_FOLD, I8_TOP);
  return y;
}

/* y[rows, n] = x[rows, k] w[n, k]^T */
static void multiply(float *y, const float *x, const float *w, int64_t rows, int64_t n, int64_t k) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)n, (int)k, 1, x, (int)k, w,
              (int)k, 0, y, (int)n);
}

REF(linear) {
  const RefTensor *x = ref_value(c, op->in[0]), *w = ref_value(c, op->in[1]);
  const float *bias = op->nin > 2 ? ref_value(c, op->in[2])->f : NULL;
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t n = w->dim[0], k = w->dim[1];
  if (out->elements == 0) return OK;
  int64_t rows = out->elements / n;
  if (k > 0) multiply(out->f, met_rows(c, op, x, k), met_weight(c, op, w, k), rows, n, k);
  for (int64_t i = 0; bias && i < out->elements; i++) out->f[i] += bias[i % n];
  return OK;
}

INFER(linear_argmax) {
  TRY(infer_linear(g, op, out, nout, d, where));
  out[0].dtype = DT_i32;
  out[0].dim[--out[0].rank] = 0;
  out[1] = (Type){.dtype = DT_i32, .rank = 1, .dim = {dim_const(g->module->dims, 1)}};
  *nout = 2;
  return OK;
}

VERIFY(linear_argmax) {
  TRY(verify_linear(g, op, d, where));
  if (op->attrs.linear.fold) return op_error(d, where, op, "weights can't be folded");
  return OK;
}

/* The reference computes every output in full. */
REF(linear_argmax) {
  const RefTensor *x = ref_value(c, op->in[0]), *w = ref_value(c, op->in[1]);
  RefTensor *out = ref_result(c, op->out[0]), *full = ref_result(c, op->out[1]);
  int64_t n = w->dim[0], k = w->dim[1];
  const float *rows = met_rows(c, op, x, k);
  float *y = ARENA_ARRAY(c->arena, float, (size_t)n + 1);
  for (int64_t r = 0; r < out->elements; r++) {
    multiply(y, rows + r * k, w->f, 1, n, k);
    out->i[r] = first_largest(y, n);
  }
  full->i[0] = out->elements * n;
  return OK;
}
