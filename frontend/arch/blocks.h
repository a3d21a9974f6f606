/* The blocks that architectures are made of. A block is a struct of constants and numbers, filled
 * once from the model, and a function that adds its ops to a graph, called for each graph.
 */
#ifndef INGOT_FRONTEND_ARCH_BLOCKS_H
#define INGOT_FRONTEND_ARCH_BLOCKS_H

#include "frontend/arch/rope.h"

typedef struct Linear {
  uint32_t weight, bias; /* bias NO_CONST: none */
} Linear;
/* y = x W^T + b; its origin is "<place> / <what>" (place NULL: "<what>"). */
ValueId block_linear(Graph *g, const Linear *l, ValueId x, const char *place, const char *what);

typedef struct Norm {
  uint32_t weight;
  double eps;
} Norm;
ValueId block_rmsnorm(Graph *g, const Norm *n, ValueId x, const char *place, const char *what);

/* The norm of Ba et al. 2016, with weight and bias. */
typedef struct LayerNorm {
  uint32_t weight, bias;
  double eps;
} LayerNorm;
ValueId block_layernorm(Graph *g, const LayerNorm *n, ValueId x, const char *place,
                        const char *what);

/* Is it a `hidden_act` that Transformers names and ingot computes? Else an error on `key`. */
Status activation_check(Config *c, const char *key, const char *name);
ValueId block_activation(Graph *g, const char *name, ValueId x);

/* Self-attention over a KV cache, with grouped heads and rotary positions (halves). Norms of the
 * heads come before the rotation; their weight is NO_CONST where the model has none. */
typedef struct Attention {
  Linear q, k, v, o;
  Norm q_norm, k_norm;
  int64_t heads, kv_heads, head_dim;
  double scale, softcap; /* softcap 0: none */
  int64_t window;        /* keys that a query sees, itself included; 0: all */
  uint32_t cache;        /* index of its state */
} Attention;
/* mask 0: none. */
ValueId block_attention(Graph *g, const Attention *a, ValueId x, RopeTable rope, ValueId mask,
                        const char *place);

/* down(act(gate x) * up x) */
typedef struct GatedMlp {
  Linear gate, up, down;
  const char *act;
} GatedMlp;
ValueId block_gated_mlp(Graph *g, const GatedMlp *m, ValueId x, const char *place);

#endif
