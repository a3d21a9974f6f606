/* Blocks shared by architectures; see blocks.h. */
#include "frontend/arch/blocks.h"

#include <string.h>

static void origin(Graph *g, const char *place, const char *what) {
  graph_origin(g, place ? arena_printf(g->module->arena, "%s / %s", place, what) : what);
}

ValueId block_linear(Graph *g, const Linear *l, ValueId x, const char *place, const char *what) {
  origin(g, place, what);
  ValueId in[3] = {x, graph_const(g, l->weight)};
  if (l->bias != NO_CONST) in[2] = graph_const(g, l->bias);
  Attrs a = {.linear = {ACT_f32}};
  return graph_op1(g, OP_linear, in, l->bias != NO_CONST ? 3 : 2, &a);
}

ValueId block_rmsnorm(Graph *g, const Norm *n, ValueId x, const char *place, const char *what) {
  origin(g, place, what);
  Attrs a = {.norm = {n->eps}};
  return graph_op1(g, OP_rmsnorm, (ValueId[]){x, graph_const(g, n->weight)}, 2, &a);
}

ValueId block_layernorm(Graph *g, const LayerNorm *n, ValueId x, const char *place,
                        const char *what) {
  origin(g, place, what);
  Attrs a = {.norm = {n->eps}};
  ValueId in[] = {x, graph_const(g, n->weight), graph_const(g, n->bias)};
  return graph_op1(g, OP_layernorm, in, 3, &a);
}

/* ---- activations by Transformers' names (its table ACT2FN) ---- */

typedef struct Activation {
  const char *name;
  OpCode op;     /* OP_none: the identity */
  double alpha;  /* leaky_relu */
  double lo, hi; /* clipped to these behind the op when lo < hi */
} Activation;

static const Activation activations[] = {
    {"gelu", OP_gelu},
    {"gelu_10", OP_gelu, .lo = -10, .hi = 10},
    {"gelu_accurate", OP_gelu_tanh},
    {"gelu_fast", OP_gelu_tanh},
    {"gelu_new", OP_gelu_tanh},
    {"gelu_python", OP_gelu},
    {"gelu_python_tanh", OP_gelu_tanh},
    {"gelu_pytorch_tanh", OP_gelu_tanh},
    {"laplace", OP_laplace},
    {"leaky_relu", OP_leaky_relu, .alpha = 0.01},
    {"linear", OP_none},
    {"mish", OP_mish},
    {"quick_gelu", OP_gelu_quick},
    {"relu", OP_relu},
    {"relu2", OP_relu2},
    {"relu6", OP_none, .lo = 0, .hi = 6},
    {"sigmoid", OP_sigmoid},
    {"silu", OP_silu},
    {"swish", OP_silu},
    {"tanh", OP_tanh},
};

static const Activation *find_activation(const char *name) {
  for (size_t i = 0; i < COUNT(activations); i++) {
    if (strcmp(activations[i].name, name) == 0) return &activations[i];
  }
  return NULL;
}

Status activation_check(Config *c, const char *key, const char *name) {
  if (find_activation(name)) return OK;
  if (strcmp(name, "prelu") == 0 || strcmp(name, "xielu") == 0)
    return config_error(c, key, "is \"%s\", whose learned parameters ingot does not read yet",
                        name);
  const char *names[COUNT(activations)];
  for (size_t i = 0; i < COUNT(activations); i++) names[i] = activations[i].name;
  const char *near = nearest_name(name, names, COUNT(names));
  return config_error(c, key, "is \"%s\", which is no activation of Transformers%s%s%s", name,
                      near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

ValueId block_activation(Graph *g, const char *name, ValueId x) {
  const Activation *a = find_activation(name);
  BUG_IF(!a, "activation %s was not checked", name);
  if (a->op == OP_leaky_relu)
    x = graph_op1(g, OP_leaky_relu, &x, 1, &(Attrs){.alpha = {a->alpha}});
  else if (a->op != OP_none)
    x = graph_op1(g, a->op, &x, 1, NULL);
  if (a->lo < a->hi) x = graph_op1(g, OP_clip, &x, 1, &(Attrs){.clip = {a->lo, a->hi}});
  return x;
}

/* ---- attention and mlp ---- */

static ValueId reshape(Graph *g, ValueId x, int64_t *shape, uint32_t n) {
  Attrs a = {.shape = {{n, shape}}};
  return graph_op1(g, OP_reshape, &x, 1, &a);
}

static ValueId to_heads(Graph *g, ValueId x, int64_t heads, int64_t width) {
  return reshape(g, x, (int64_t[]){-1, heads, width}, 3);
}

static ValueId rotate(Graph *g, ValueId x, RopeTable t, const char *place, const char *what) {
  origin(g, place, what);
  Attrs a = {.rope = {ROPE_half}};
  return graph_op1(g, OP_rope, (ValueId[]){x, t.cos, t.sin}, 3, &a);
}

ValueId block_attention(Graph *g, const Attention *a, ValueId x, RopeTable rope, ValueId mask,
                        const char *place) {
  ValueId q = block_linear(g, &a->q, x, place, "q");
  ValueId k = block_linear(g, &a->k, x, place, "k");
  ValueId v = block_linear(g, &a->v, x, place, "v");
  origin(g, place, "heads");
  q = to_heads(g, q, a->heads, a->head_dim);
  k = to_heads(g, k, a->kv_heads, a->head_dim);
  v = to_heads(g, v, a->kv_heads, a->head_dim);
  if (a->q_norm.weight != NO_CONST) q = block_rmsnorm(g, &a->q_norm, q, place, "q norm");
  if (a->k_norm.weight != NO_CONST) k = block_rmsnorm(g, &a->k_norm, k, place, "k norm");
  q = rotate(g, q, rope, place, "rope q");
  k = rotate(g, k, rope, place, "rope k");
  origin(g, place, "append to the cache");
  ValueId cache = graph_state(g, a->cache);
  cache = graph_op1(g, OP_kv_append, (ValueId[]){cache, k, v}, 3, &(Attrs){0});
  origin(g, place, "attend");
  Attrs attrs = {.attention = {a->scale, a->window, a->softcap, .causal = true}};
  ValueId y = graph_op1(g, OP_attention_kv, (ValueId[]){q, cache, mask}, mask ? 3 : 2, &attrs);
  y = reshape(g, y, (int64_t[]){-1, a->heads * a->head_dim}, 2);
  return block_linear(g, &a->o, y, place, "o");
}

ValueId block_gated_mlp(Graph *g, const GatedMlp *m, ValueId x, const char *place) {
  ValueId gate = block_linear(g, &m->gate, x, place, "gate");
  ValueId up = block_linear(g, &m->up, x, place, "up");
  origin(g, place, "activation");
  ValueId y = graph_op1(g, OP_mul, (ValueId[]){block_activation(g, m->act, gate), up}, 2, NULL);
  return block_linear(g, &m->down, y, place, "down");
}
