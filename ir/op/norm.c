/* Normalisations over the last axis.
 *
 * rmsnorm (Zhang and Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * weight.
 * layernorm (Ba et al. 2016): y = (x - mean) / sqrt(var + eps) * weight + bias, var with divisor H.
 */
#include "ir/op/common.h"

#include <math.h>

static Status infer_norm(const Graph *g, const Op *op, Type *out, uint32_t *nout, Diag *d,
                         const char *where) {
  TRY(need_float(g, op, 0, 1, d, where));
  same_type(g, op, out, nout);
  for (uint32_t i = 1; i < op->nin; i++)
    TRY(need_vector(g, op, i, out[0].dim[out[0].rank - 1], d, where));
  return OK;
}

static Status verify_norm(const Op *op, Diag *d, const char *where) {
  double eps = op->attrs.norm.eps;
  if (!(eps >= 0) || !isfinite(eps))
    return op_error(d, where, op, "eps is %g (expected >= 0)", eps);
  return OK;
}

INFER(rmsnorm) {
  return infer_norm(g, op, out, nout, d, where);
}
VERIFY(rmsnorm) {
  (void)g;
  return verify_norm(op, d, where);
}

INFER(layernorm) {
  return infer_norm(g, op, out, nout, d, where);
}
VERIFY(layernorm) {
  (void)g;
  return verify_norm(op, d, where);
}

static const float *optional(RefCtx *c, const Op *op, uint32_t i) {
  return i < op->nin ? ref_value(c, op->in[i])->f : NULL;
}

REF(rmsnorm) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  const float *weight = optional(c, op, 1);
  int64_t n = in->dim[in->rank - 1];
  for (int64_t row = 0; row + n <= in->elements && n > 0; row += n) {
    const float *x = in->f + row;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    double r = 1 / sqrt(sum / (double)n + op->attrs.norm.eps);
    for (int64_t i = 0; i < n; i++) out->f[row + i] = (float)(x[i] * r * (weight ? weight[i] : 1));
  }
  return OK;
}

REF(layernorm) {
  const RefTensor *in = ref_value(c, op->in[0]);
  RefTensor *out = ref_result(c, op->out[0]);
  const float *weight = optional(c, op, 1), *bias = optional(c, op, 2);
  int64_t n = in->dim[in->rank - 1];
  for (int64_t row = 0; row + n <= in->elements && n > 0; row += n) {
    const float *x = in->f + row;
    double mean = 0, var = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) var += (x[i] - mean) * (x[i] - mean);
    double r = 1 / sqrt(var / (double)n + op->attrs.norm.eps);
    for (int64_t i = 0; i < n; i++) {
      double y = (x[i] - mean) * r * (weight ? weight[i] : 1);
      out->f[row + i] = (float)(y + (bias ? bias[i] : 0));
    }
  }
  return OK;
}
