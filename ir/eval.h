/* The reference evaluator of Graph IR: the judge in every test.
 *
 * Plain C that can be read against the paper, matmul by OpenBLAS, everything held as dense arrays.
 * Slow and clear on purpose.
 */
#ifndef INGOT_IR_EVAL_H
#define INGOT_IR_EVAL_H

#include "ir/graph.h"

/* A dense tensor: floats as f32, integers as i64 (bool as 0 / 1). */
struct RefTensor {
  const char *name;
  DType dtype; /* the logical type */
  uint8_t rank;
  int64_t dim[MAX_RANK];
  int64_t elements;
  float *f;   /* when dtype_is_float */
  int64_t *i; /* otherwise */
};

/* State held between runs: per state, keys and values [slots][context][kv_heads][head_dim]. */
typedef struct RefState {
  float *k, *v;
} RefState;

struct RefCtx {
  Arena *arena;
  const Graph *graph;
  const int64_t *dims; /* env for dim_eval, indexed by DimId */
  RefTensor *values;   /* by ValueId */
  RefState *states;    /* by state index, shared by the graphs of a module */
  Diag *diag;
};

RefTensor *ref_value(RefCtx *c, ValueId v);
/* Allocates the dense array of result `v` with the shape its type has under the dims. */
RefTensor *ref_result(RefCtx *c, ValueId v);

RefState *ref_states_new(Arena *a, const Module *m);
/* Runs a graph. Inputs are matched by name; symbols follow from the inputs' shapes, those that do
 * not (P, the past) are read from `symbols` (name, value pairs; may be NULL). Outputs in arena
 * `a`. */
typedef struct RefSymbol {
  const char *name;
  int64_t value;
} RefSymbol;
Status graph_eval(Arena *a, const Graph *g, RefState *states, const RefTensor *in, uint32_t nin,
                  const RefSymbol *symbols, uint32_t nsymbols, RefTensor **out, Diag *d);
/* The same, with a look at every op whose operands are known, before it runs. */
typedef void RefWatch(void *user, RefCtx *c, const Op *op);
Status graph_eval_watched(Arena *a, const Graph *g, RefState *states, const RefTensor *in,
                          uint32_t nin, const RefSymbol *symbols, uint32_t nsymbols,
                          RefWatch *watch, void *user, RefTensor **out, Diag *d);
/* A constant as the program will compute with it: parts stacked and un-permuted, then rounded
 * through the constant's storage format. Caller's arena. */
Status const_dense(Arena *a, const Module *m, uint32_t index, RefTensor *out, Diag *d);

#endif
