/* A language model's logits by the reference evaluator; see reference.h.
 *
 * The inputs are those of the graph "logits" that every decoder has (frontend/arch/decoder.c): one
 * sequence, nothing before it, nothing masked.
 */
#include "tools/reference.h"

static RefTensor vector(Arena *a, const char *name, DType type, int64_t n) {
  RefTensor t = {.name = name, .dtype = type, .rank = 1, .dim = {n}, .elements = n};
  if (dtype_is_float(type))
    t.f = ARENA_ARRAY(a, float, (size_t)n);
  else
    t.i = ARENA_ARRAY(a, int64_t, (size_t)n);
  return t;
}

Status reference_logits(Arena *a, const Graph *g, const int64_t *ids, int64_t n, RefWatch *watch,
                        void *user, Diag *d, RefTensor *out) {
  RefTensor in[] = {vector(a, "ids", DT_i32, n), vector(a, "pos", DT_i32, n),
                    vector(a, "mask", DT_f32, n), vector(a, "seq_len", DT_i32, 1)};
  for (int64_t i = 0; i < n; i++) {
    in[0].i[i] = ids[i];
    in[1].i[i] = i;
    in[2].f[i] = 1;
  }
  in[3].i[0] = n;
  RefSymbol symbols[] = {{"P", 0}};
  RefTensor *outputs;
  TRY(graph_eval_watched(a, g, ref_states_new(a, g->module), in, g->ninputs, symbols, 1, watch,
                         user, &outputs, d));
  *out = outputs[0];
  return OK;
}
