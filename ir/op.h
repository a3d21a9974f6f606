/* The functions that every row of ir/ops.def must define; a forgotten one is a link error. */
#ifndef INGOT_IR_OP_H
#define INGOT_IR_OP_H

#include "ir/graph.h"

#define OP(name, min_in, max_in, outs, traits, attrs)                                              \
  Status infer_##name(Graph *g, const Op *op, Type *out, uint32_t *nout, Diag *d,                  \
                      const char *where);                                                          \
  Status verify_##name(const Graph *g, const Op *op, Diag *d, const char *where);                  \
  Status ref_##name(RefCtx *c, const Op *op);                                                      \
  uint32_t expr_##name(KBuilder *b, const Op *op, const uint32_t *args); /* element-wise only */
#include "ir/ops.def"
#undef OP

#endif
