/* Reductions over the last axis: softmax, argmax, sum.
 *
 * softmax subtracts the row's maximum; argmax gives the first of equal maxima (a NaN is never one).
 */
#include "ir/op/common.h"

#include <math.h>

INFER(softmax) {
  TRY(need_float(g, op, 0, 1, d, where));
  same_type(g, op, out, nout);
  return OK;
}
VERIFY_NONE(softmax)

REF(softmax) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t n = in->dim[in->rank - 1];
  for (int64_t row = 0; row + n <= in->elements && n > 0; row += n) {
    const float *x = in->f + row;
    double max = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++) max = fmax(max, x[i]);
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - max);
    for (int64_t i = 0; i < n; i++) out->f[row + i] = (float)(exp(x[i] - max) / sum);
  }
  return OK;
}

INFER(argmax) {
  TRY(need_float(g, op, 0, 1, d, where));
  same_type(g, op, out, nout);
  out[0].dtype = DT_i32;
  out[0].dim[--out[0].rank] = 0;
  return OK;
}
VERIFY_NONE(argmax)

int64_t first_largest(const float *x, int64_t n) {
  float best = -INFINITY;
  int64_t at = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!(x[i] > best)) continue;
    best = x[i];
    at = i;
  }
  return at;
}

REF(argmax) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t n = in->dim[in->rank - 1];
  for (int64_t r = 0; r < out->elements; r++) out->i[r] = first_largest(in->f + r * n, n);
  return OK;
}

INFER(reduce_sum) {
  TRY(need_float(g, op, 0, 1, d, where));
  same_type(g, op, out, nout);
  out[0].dim[out[0].rank - 1] = dim_const(g->module->dims, 1);
  return OK;
}
VERIFY_NONE(reduce_sum)

REF(reduce_sum) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t n = in->dim[in->rank - 1];
  for (int64_t r = 0; r < out->elements; r++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += in->f[r * n + i];
    out->f[r] = (float)sum;
  }
  return OK;
}
