/* matmul: [.., M, K] [.., K, N] -> [.., M, N], leading dimensions broadcast as in numpy. */
#include "ir/op/common.h"

#include <cblas.h>

INFER(matmul) {
  TRY(need_float(g, op, 0, 2, d, where));
  TRY(need_float(g, op, 1, 2, d, where));
  const Type *x = operand_type(g, op, 0), *y = operand_type(g, op, 1);
  Type t = {.dtype = x->dtype, .rank = x->rank > y->rank ? x->rank : y->rank};
  bool fits = x->dim[x->rank - 1] == y->dim[y->rank - 2] &&
              broadcast_dims(g->module->dims, x->dim, x->rank - 2, y->dim, y->rank - 2, t.dim);
  if (!fits) {
    Buf a = {0}, b = {0};
    type_print(g->module->dims, x, &a);
    type_print(g->module->dims, y, &b);
    Status s = op_error(d, where, op, "%s and %s do not fit (expected [.., M, K] and [.., K, N])",
                        a.data, b.data);
    buf_free(&a);
    buf_free(&b);
    return s;
  }
  t.dim[t.rank - 2] = x->dim[x->rank - 2];
  t.dim[t.rank - 1] = y->dim[y->rank - 1];
  out[0] = t;
  *nout = 1;
  return OK;
}
VERIFY_NONE(matmul)

/* Which matrix of an operand belongs to matrix `at` of the result. */
static int64_t batch_at(const RefTensor *out, const RefTensor *in, int64_t at) {
  int64_t pos = 0, stride = 1;
  for (int i = 3; i <= out->rank; i++) {
    int64_t n = out->dim[out->rank - i], here = at % n;
    at /= n;
    if (i <= in->rank) {
      int64_t own = in->dim[in->rank - i];
      pos += (own == 1 ? 0 : here) * stride;
      stride *= own;
    }
  }
  return pos;
}

REF(matmul) {
  const RefTensor *x = ref_value(c, op->in[0]), *y = ref_value(c, op->in[1]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t m = x->dim[x->rank - 2], k = x->dim[x->rank - 1], n = y->dim[y->rank - 1];
  if (out->elements == 0 || k == 0) return OK;
  for (int64_t b = 0; b < out->elements / (m * n); b++) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1,
                x->f + batch_at(out, x, b) * m * k, (int)k, y->f + batch_at(out, y, b) * k * n,
                (int)n, 0, out->f + b * m * n, (int)n);
  }
  return OK;
}
