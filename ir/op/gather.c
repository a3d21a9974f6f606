/* gather: the rows of a table that ids name, [V, H] and [..] -> [.., H]. An id outside 0..V-1 is an
 * error. */
#include "ir/op/common.h"

INFER(gather) {
  TRY(need_tensor(g, op, 0, 2, d, where));
  TRY(need_index(g, op, 1, 0, d, where));
  const Type *table = operand_type(g, op, 0), *ids = operand_type(g, op, 1);
  if (table->rank != 2 || ids->rank >= MAX_RANK)
    return op_error(d, where, op, "expected a table [V, H] and ids of few dimensions");
  out[0] = *ids;
  out[0].dtype = table->dtype;
  out[0].dim[out[0].rank++] = table->dim[1];
  *nout = 1;
  return OK;
}
VERIFY_NONE(gather)

REF(gather) {
  const RefTensor *table = ref_value(c, op->in[0]), *ids = ref_value(c, op->in[1]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t h = table->dim[1];
  for (int64_t s = 0; s < ids->elements; s++) {
    if (ids->i[s] < 0 || ids->i[s] >= table->dim[0])
      return op_error(c->diag, "eval", op, "id %lld is not in 0..%lld", (long long)ids->i[s],
                      (long long)table->dim[0] - 1);
    ref_copy(out, s * h, table, ids->i[s] * h, h);
  }
  return OK;
}
