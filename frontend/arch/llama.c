/* Llama, and the model of what an architecture file is: keys, tensor names, graphs.
 *
 * Touvron et al. 2023; grouped heads (Ainslie et al. 2023), rotary positions in halves, RMS norms
 * before attention and before a gated MLP. What counts is Transformers' LlamaForCausalLM: keys that
 * it ignores are ignored, defaults of keys that old files lack are its defaults. One odd thing: a
 * GGUF holds q and k with each head's rotary halves interleaved (the loader is told the heads).
 */
#include "frontend/arch/blocks.h"

#include <string.h>

static const ConfigKey keys[] = {
    {"vocab_size", "vocab_size"},
    {"hidden_size", "embedding_length"},
    {"intermediate_size", "feed_forward_length"},
    {"num_hidden_layers", "block_count"},
    {"num_attention_heads", "attention.head_count"},
    {"num_key_value_heads", "attention.head_count_kv"},
    {"head_dim", "attention.key_length"},
    {"value_length", "attention.value_length"},
    {"max_position_embeddings", "context_length"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
    {"rope_theta", "rope.freq_base"},
    {"rope_dim", "rope.dimension_count"},
    {"rope_scaling.factor", "rope.scale_linear"}, /* old */
    {"rope_scaling.factor", "rope.scaling.factor"},
    {"rope_scaling.rope_type", "rope.scaling.type"},
    {"rope_scaling.finetuned", "rope.scaling.finetuned"},
    {"rope_scaling.original_max_position_embeddings", "rope.scaling.original_context_length"},
    {"rope_scaling.attn_factor", "rope.scaling.attn_factor"},
    {"rope_scaling.beta_fast", "rope.scaling.yarn_beta_fast"},
    {"rope_scaling.beta_slow", "rope.scaling.yarn_beta_slow"},
    {"tensor_data_layout", "tensor_data_layout"},
};

/* pretraining_tp splits products for training and changes no result beyond rounding; the others are
 * in real files and not read by Transformers. */
static const char *const irrelevant[] = {"pretraining_tp", "rope_interleaved", "is_llama_config",
                                         "max_sequence_length", "tensor_data_layout"};

#define LAYER_HF "model.layers.%d."
#define LAYER_GGUF "blk.%d."
static const TensorName embed_name = {"model.embed_tokens.weight", "token_embd.weight"};
static const TensorName norm_name = {"model.norm.weight", "output_norm.weight"};
static const TensorName head_name = {"lm_head.weight", "output.weight"};
static const TensorName divisors_name = {NULL, "rope_freqs.weight"};
static const TensorName inv_freq_name = {LAYER_HF "self_attn.rotary_emb.inv_freq",
                                         LAYER_GGUF "attn_rot_embd"}; /* old files; unused */
static const TensorName attn_norm_name = {LAYER_HF "input_layernorm.weight",
                                          LAYER_GGUF "attn_norm.weight"};
static const TensorName mlp_norm_name = {LAYER_HF "post_attention_layernorm.weight",
                                         LAYER_GGUF "ffn_norm.weight"};

typedef struct LinearName {
  TensorName weight, bias;
} LinearName;
#define LINEAR_NAME(hf, gguf)                                                                      \
  {{LAYER_HF hf ".weight", LAYER_GGUF gguf ".weight"},                                             \
   {LAYER_HF hf ".bias", LAYER_GGUF gguf ".bias"}}
static const LinearName q_name = LINEAR_NAME("self_attn.q_proj", "attn_q");
static const LinearName k_name = LINEAR_NAME("self_attn.k_proj", "attn_k");
static const LinearName v_name = LINEAR_NAME("self_attn.v_proj", "attn_v");
static const LinearName o_name = LINEAR_NAME("self_attn.o_proj", "attn_output");
static const LinearName gate_name = LINEAR_NAME("mlp.gate_proj", "ffn_gate");
static const LinearName up_name = LINEAR_NAME("mlp.up_proj", "ffn_up");
static const LinearName down_name = LINEAR_NAME("mlp.down_proj", "ffn_down");

typedef struct Layer {
  Norm attn_norm, mlp_norm;
  Attention attn;
  GatedMlp mlp;
} Layer;

typedef struct Llama {
  Module *m;
  bool gguf;
  int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, positions;
  int64_t context, chunk, logits_chunk;
  double eps;
  const char *act;
  bool tied, attention_bias, mlp_bias;
  DType kv;
  Rope rope;
  uint32_t embed;
  Layer *layer;
  Norm norm;
  Linear head;
} Llama;

/* ---- config ---- */

static Status read_heads(Llama *l, Config *c) {
  TRY(config_i64(c, "num_attention_heads", CONFIG_NEEDED, 1, 1 << 16, &l->heads));
  TRY(config_i64(c, "num_key_value_heads", l->heads, 1, 1 << 16, &l->kv_heads));
  if (l->heads % l->kv_heads != 0)
    return config_error(c, "num_key_value_heads", "is %lld, which does not divide the %lld heads",
                        (long long)l->kv_heads, (long long)l->heads);
  TRY(config_i64(c, "head_dim", l->hidden / l->heads, 2, 1 << 16, &l->head_dim));
  if (!l->gguf) return OK;
  int64_t value, rotated;
  TRY(config_i64(c, "value_length", l->head_dim, l->head_dim, l->head_dim, &value));
  return config_i64(c, "rope_dim", l->head_dim, l->head_dim, l->head_dim, &rotated);
}

static Status read_config(Llama *l, Config *c, const Loader *w) {
  const Weight *embed = model_weight(w->model, "token_embd.weight");
  int64_t rows = l->gguf && embed && embed->view.rank == 2 ? embed->view.dim[0] : CONFIG_NEEDED;
  double partial;
  TRY(config_i64(c, "vocab_size", rows, 1, 1 << 28, &l->vocab));
  TRY(config_i64(c, "hidden_size", CONFIG_NEEDED, 1, 1 << 20, &l->hidden));
  TRY(config_i64(c, "intermediate_size", CONFIG_NEEDED, 1, 1 << 24, &l->intermediate));
  TRY(config_i64(c, "num_hidden_layers", CONFIG_NEEDED, 1, 1 << 14, &l->layers));
  TRY(read_heads(l, c));
  TRY(config_i64(c, "max_position_embeddings", 2048, 1, INT32_MAX, &l->positions));
  TRY(config_f64(c, "rms_norm_eps", 1e-6, &l->eps));
  TRY(config_str(c, "hidden_act", "silu", &l->act));
  TRY(activation_check(c, "hidden_act", l->act));
  TRY(config_bool(c, "tie_word_embeddings", false, &l->tied));
  TRY(config_bool(c, "attention_bias", false, &l->attention_bias));
  TRY(config_bool(c, "mlp_bias", false, &l->mlp_bias));
  TRY(config_f64(c, "partial_rotary_factor", 1, &partial));
  if (partial != 1)
    return config_error(c, "partial_rotary_factor", "is %g (expected 1 in a llama model)", partial);
  if (!(l->eps >= 0 && l->eps < 1))
    return config_error(c, "rms_norm_eps", "is %g (expected 0 to 1)", l->eps);
  config_ignore(c, irrelevant, COUNT(irrelevant));
  return OK;
}

/* The context a program gets by default: the model's own limit, stretched where dynamic scaling
 * is meant to go beyond it; at least 512, since Transformers itself sets no limit. */
static Status choose_context(Llama *l, const BuildOptions *o, Diag *d) {
  enum { LEAST = 512, MOST = 1 << 24, CHUNK = 256, LOGITS_ROWS = 64, LOGITS = 1 << 22 };
  double limit = (double)l->positions * (l->rope.dynamic ? l->rope.factor : 1);
  l->context = limit > MOST ? MOST : limit < LEAST ? LEAST : (int64_t)limit;
  if (o->context < 0 || o->context > MOST)
    return diag_error(d, "--context", "is %lld (expected 1 to %d)", (long long)o->context, MOST);
  if (o->context > 0) l->context = o->context;
  uint64_t bytes;
  if (!size_mul((uint64_t)(l->kv_heads * l->head_dim), (uint64_t)l->context, &bytes) ||
      !size_mul(bytes, (uint64_t)l->layers * 8, &bytes) || bytes >> 46)
    return diag_error(d, "--context", "a KV cache of %lld positions is too large; give less",
                      (long long)l->context);
  l->chunk = o->chunk > 0 ? o->chunk : CHUNK;
  if (l->chunk > l->context) l->chunk = l->context;
  l->logits_chunk = LOGITS / l->vocab; /* bounds the memory of the logits of all rows */
  if (l->logits_chunk > LOGITS_ROWS) l->logits_chunk = LOGITS_ROWS;
  if (l->logits_chunk > l->chunk) l->logits_chunk = l->chunk;
  if (l->logits_chunk < 1) l->logits_chunk = 1;
  l->kv = o->kv;
  return OK;
}

/* ---- weights ---- */

/* A GGUF has a bias where it holds the tensor; the config of a folder says so. */
static Status load_linear(const Llama *l, Loader *w, const LinearName *n, int layer, int64_t rows,
                          int64_t cols, int heads, bool bias, Linear *out) {
  out->bias = NO_CONST;
  TRY(loader_matrix(w, n->weight, layer, rows, cols, heads, &out->weight));
  if (l->gguf) bias = loader_find(w, n->bias, layer) != NULL;
  return bias ? loader_vector(w, n->bias, layer, rows, heads, &out->bias) : OK;
}

static Status load_attention(Llama *l, Loader *w, int i, Attention *a) {
  int64_t q = l->heads * l->head_dim, kv = l->kv_heads * l->head_dim;
  bool bias = l->attention_bias;
  int heads = (int)l->heads, kv_heads = (int)l->kv_heads;
  TRY(load_linear(l, w, &q_name, i, q, l->hidden, heads, bias, &a->q));
  TRY(load_linear(l, w, &k_name, i, kv, l->hidden, kv_heads, bias, &a->k));
  TRY(load_linear(l, w, &v_name, i, kv, l->hidden, 0, bias, &a->v));
  TRY(load_linear(l, w, &o_name, i, l->hidden, q, 0, bias, &a->o));
  a->heads = l->heads;
  a->kv_heads = l->kv_heads;
  a->head_dim = l->head_dim;
  a->scale = 1 / sqrt((double)l->head_dim);
  StateDef kv_state = {arena_printf(l->m->arena, "kv%d", i),
                       STATE_KV,
                       1,
                       l->context,
                       l->kv_heads,
                       l->head_dim,
                       l->kv};
  a->cache = module_state(l->m, &kv_state);
  return OK;
}

static Status load_layer(Llama *l, Loader *w, int i) {
  Layer *y = &l->layer[i];
  y->attn_norm.eps = y->mlp_norm.eps = l->eps;
  TRY(loader_vector(w, attn_norm_name, i, l->hidden, 0, &y->attn_norm.weight));
  TRY(load_attention(l, w, i, &y->attn));
  TRY(loader_vector(w, mlp_norm_name, i, l->hidden, 0, &y->mlp_norm.weight));
  GatedMlp *m = &y->mlp;
  m->act = l->act;
  TRY(load_linear(l, w, &gate_name, i, l->intermediate, l->hidden, 0, l->mlp_bias, &m->gate));
  TRY(load_linear(l, w, &up_name, i, l->intermediate, l->hidden, 0, l->mlp_bias, &m->up));
  TRY(load_linear(l, w, &down_name, i, l->hidden, l->intermediate, 0, l->mlp_bias, &m->down));
  loader_ignore(w, inv_freq_name, i);
  return OK;
}

static Status load_weights(Llama *l, Loader *w) {
  TRY(loader_matrix(w, embed_name, 0, l->vocab, l->hidden, 0, &l->embed));
  l->layer = ARENA_ARRAY(l->m->arena, Layer, (size_t)l->layers);
  for (int i = 0; i < l->layers; i++) TRY(load_layer(l, w, i));
  l->norm.eps = l->eps;
  TRY(loader_vector(w, norm_name, 0, l->hidden, 0, &l->norm.weight));
  l->head = (Linear){l->embed, NO_CONST};
  if (l->gguf) l->tied = !loader_find(w, head_name, 0);
  if (!l->tied) TRY(loader_matrix(w, head_name, 0, l->vocab, l->hidden, 0, &l->head.weight));
  loader_ignore(w, head_name, 0);
  return OK;
}

/* ---- graphs ---- */

typedef struct Entry {
  const char *name;
  DimId rows; /* tokens of one run */
  bool
      all_rows; /* logits of every row, and a mask over the keys; else the last row's and a token */
} Entry;

static ValueId build_layer(const Llama *l, Graph *g, int i, ValueId x, RopeTable t, ValueId mask) {
  const Layer *y = &l->layer[i];
  const char *place = arena_printf(l->m->arena, "layer %d", i);
  const char *attention = arena_printf(l->m->arena, "%s / attention", place);
  const char *mlp = arena_printf(l->m->arena, "%s / mlp", place);
  ValueId n = block_rmsnorm(g, &y->attn_norm, x, place, "attention norm");
  ValueId a = block_attention(g, &y->attn, n, t, mask, attention);
  graph_origin(g, arena_printf(l->m->arena, "%s / residual", attention));
  x = graph_op1(g, OP_add, (ValueId[]){x, a}, 2, NULL);
  n = block_rmsnorm(g, &y->mlp_norm, x, place, "mlp norm");
  ValueId f = block_gated_mlp(g, &y->mlp, n, mlp);
  graph_origin(g, arena_printf(l->m->arena, "%s / residual", mlp));
  return graph_op1(g, OP_add, (ValueId[]){x, f}, 2, NULL);
}

static void build_graph(const Llama *l, const Entry *e) {
  Module *m = l->m;
  Graph *g = module_graph(m, e->name);
  Type row = {.dtype = DT_i32, .rank = 1, .dim = {e->rows}};
  Type one = {.dtype = DT_i32, .rank = 1, .dim = {dim_const(m->dims, 1)}};
  DimId past = dim_find(m->dims, "P");
  Type keep = {.dtype = DT_f32, .rank = 1, .dim = {dim_op(m->dims, DIM_ADD, past, e->rows)}};
  ValueId ids = graph_input(g, "ids", row), pos = graph_input(g, "pos", row);
  ValueId mask = e->all_rows ? graph_input(g, "mask", keep) : 0;
  ValueId seq_len = l->rope.dynamic ? graph_input(g, "seq_len", one) : 0;
  graph_origin(g, "embedding");
  ValueId table = graph_const(g, l->embed);
  ValueId x = graph_op1(g, OP_gather, (ValueId[]){table, ids}, 2, &(Attrs){0});
  RopeTable t = rope_table(g, &l->rope, pos, seq_len);
  for (int i = 0; i < l->layers; i++) x = build_layer(l, g, i, x, t, mask);
  if (!e->all_rows) {
    graph_origin(g, "last row");
    x = graph_op1(g, OP_slice, &x, 1, &(Attrs){.slice = {.axis = 0, .start = -1, .size = 1}});
  }
  x = block_rmsnorm(g, &l->norm, x, NULL, "output norm");
  ValueId logits = block_linear(g, &l->head, x, NULL, "output");
  graph_output(g, "logits", logits);
  if (!e->all_rows) {
    graph_origin(g, "greedy token");
    graph_output(g, "token", graph_op1(g, OP_argmax, &logits, 1, &(Attrs){0}));
  }
  graph_origin(g, NULL);
}

static void build_graphs(const Llama *l) {
  Dims *dims = l->m->dims;
  dim_symbol(dims, "P", 0, l->context - 1);
  DimId s = dim_symbol(dims, "S", 1, l->chunk);
  DimId t = l->logits_chunk == l->chunk ? s : dim_symbol(dims, "T", 1, l->logits_chunk);
  build_graph(l, &(Entry){"decode", dim_const(dims, 1), false});
  build_graph(l, &(Entry){"prefill", s, false});
  build_graph(l, &(Entry){"logits", t, true});
}

static Status prepare(Llama *l, Config *c, Loader *w, const BuildOptions *o, Diag *d) {
  TRY(read_config(l, c, w));
  TRY(rope_read(c, w, l->head_dim, l->positions, divisors_name, &l->rope));
  TRY(config_finish(c));
  TRY(choose_context(l, o, d));
  TRY(load_weights(l, w));
  return loader_finish(w);
}

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  Llama l = {.m = m, .gguf = model->format == FORMAT_GGUF};
  Config c;
  Loader w;
  TRY(config_open(model, keys, COUNT(keys), d, &c));
  loader_open(&w, model, m, d);
  Status s = prepare(&l, &c, &w, o, d);
  if (s == OK) build_graphs(&l);
  loader_close(&w);
  config_close(&c);
  return s;
}

static const char *const classes[] = {"LlamaForCausalLM", NULL};
const ArchDef arch_llama = {"llama", classes, build};
