/* Weights and graphs of a decoder; see decoder.h.
 *
 * One odd thing: in some GGUFs q and k have each head's rotary halves interleaved (the loader is
 * told the heads).
 */
#include "frontend/arch/decoder.h"

static const TensorName embed_name = {"model.embed_tokens.weight", "token_embd.weight"};
static const TensorName norm_name = {"model.norm.weight", "output_norm.weight"};
static const TensorName head_name = {"lm_head.weight", "output.weight"};
static const TensorName inv_freq_name = {LAYER_HF "self_attn.rotary_emb.inv_freq",
                                         LAYER_GGUF "attn_rot_embd"}; /* old files; unused */

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

/* ---- weights ---- */

static Status load_norm(const Decoder *l, Loader *w, TensorName n, int layer, int64_t size,
                        Norm *out) {
  *out = (Norm){NO_CONST, l->eps};
  if (!n.hf) return OK;
  TRY(loader_vector(w, n, layer, size, 0, &out->weight));
  return l->def->minus_one && !l->gguf ? loader_add(w, out->weight, 1) : OK;
}

/* A GGUF has a bias where it holds the tensor; the config of a folder says so. */
static Status load_linear(const Decoder *l, Loader *w, const LinearName *n, int layer, int64_t rows,
                          int64_t cols, int heads, bool bias, Linear *out) {
  out->bias = NO_CONST;
  TRY(loader_matrix(w, n->weight, layer, rows, cols, heads, &out->weight));
  if (l->gguf) bias = loader_find(w, n->bias, layer) != NULL;
  return bias ? loader_vector(w, n->bias, layer, rows, heads, &out->bias) : OK;
}

static Status load_attention(Decoder *l, Loader *w, int i, Attention *a) {
  int64_t q = l->heads * l->head_dim, kv = l->kv_heads * l->head_dim;
  int heads = l->def->interleaved ? (int)l->heads : 0;
  int kv_heads = l->def->interleaved ? (int)l->kv_heads : 0;
  TRY(load_linear(l, w, &q_name, i, q, l->hidden, heads, l->qkv_bias, &a->q));
  TRY(load_linear(l, w, &k_name, i, kv, l->hidden, kv_heads, l->qkv_bias, &a->k));
  TRY(load_linear(l, w, &v_name, i, kv, l->hidden, 0, l->qkv_bias, &a->v));
  TRY(load_linear(l, w, &o_name, i, l->hidden, q, 0, l->o_bias, &a->o));
  TRY(load_norm(l, w, l->def->norms.q, i, l->head_dim, &a->q_norm));
  TRY(load_norm(l, w, l->def->norms.k, i, l->head_dim, &a->k_norm));
  a->heads = l->heads;
  a->kv_heads = l->kv_heads;
  a->head_dim = l->head_dim;
  a->scale = l->attn_scale;
  a->softcap = l->attn_cap;
  a->window = l->kind[i].window;
  StateDef kv_state = {arena_printf(l->m->arena, "kv%d", i),
                       STATE_KV,
                       1,
                       l->context,
                       l->kv_heads,
                       l->head_dim,
                       l->kv,
                       l->kv_storage};
  a->cache = module_state(l->m, &kv_state);
  return OK;
}

static Status load_layer(Decoder *l, Loader *w, int i) {
  DecoderLayer *y = &l->layer[i];
  const DecoderNorms *n = &l->def->norms;
  TRY(load_norm(l, w, n->attn, i, l->hidden, &y->attn_norm));
  TRY(load_attention(l, w, i, &y->attn));
  TRY(load_norm(l, w, n->post_attn, i, l->hidden, &y->post_attn_norm));
  TRY(load_norm(l, w, n->mlp, i, l->hidden, &y->mlp_norm));
  GatedMlp *m = &y->mlp;
  m->act = l->act;
  TRY(load_linear(l, w, &gate_name, i, l->intermediate, l->hidden, 0, l->mlp_bias, &m->gate));
  TRY(load_linear(l, w, &up_name, i, l->intermediate, l->hidden, 0, l->mlp_bias, &m->up));
  TRY(load_linear(l, w, &down_name, i, l->hidden, l->intermediate, 0, l->mlp_bias, &m->down));
  TRY(load_norm(l, w, n->post_mlp, i, l->hidden, &y->post_mlp_norm));
  loader_ignore(w, inv_freq_name, i);
  return OK;
}

static Status load_weights(Decoder *l, Loader *w) {
  TRY(loader_matrix(w, embed_name, 0, l->vocab, l->hidden, 0, &l->embed));
  l->layer = ARENA_ARRAY(l->m->arena, DecoderLayer, (size_t)l->layers);
  for (int i = 0; i < l->layers; i++) TRY(load_layer(l, w, i));
  TRY(load_norm(l, w, norm_name, 0, l->hidden, &l->norm));
  l->head = (Linear){l->embed, NO_CONST};
  if (l->gguf) l->tied = !loader_find(w, head_name, 0);
  if (!l->tied) TRY(loader_matrix(w, head_name, 0, l->vocab, l->hidden, 0, &l->head.weight));
  loader_ignore(w, head_name, 0);
  return loader_finish(w);
}

/* ---- graphs ---- */

typedef struct Entry {
  const char *name;
  DimId rows;    /* tokens of one run */
  bool all_rows; /* logits of every row, a mask over the keys; else the last row's, and a token */
  bool alone;    /* of these two the token alone */
} Entry;

/* Norms the result of a half of a layer where the model does so, and adds it to the stream. */
static ValueId add_half(const Decoder *l, Graph *g, const Norm *post, ValueId x, ValueId half,
                        const char *place) {
  if (post->weight != NO_CONST) half = block_rmsnorm(g, post, half, place, "post norm");
  graph_origin(g, arena_printf(l->m->arena, "%s / residual", place));
  return graph_op1(g, OP_add, (ValueId[]){x, half}, 2, NULL);
}

static ValueId build_layer(const Decoder *l, Graph *g, int i, ValueId x, const RopeTable *tables,
                           ValueId mask) {
  const DecoderLayer *y = &l->layer[i];
  const char *place = arena_printf(l->m->arena, "layer %d", i);
  const char *attention = arena_printf(l->m->arena, "%s / attention", place);
  const char *mlp = arena_printf(l->m->arena, "%s / mlp", place);
  ValueId n = block_rmsnorm(g, &y->attn_norm, x, place, "attention norm");
  ValueId a = block_attention(g, &y->attn, n, tables[l->kind[i].rope], mask, attention);
  x = add_half(l, g, &y->post_attn_norm, x, a, attention);
  n = block_rmsnorm(g, &y->mlp_norm, x, place, "mlp norm");
  ValueId f = block_gated_mlp(g, &y->mlp, n, mlp);
  return add_half(l, g, &y->post_mlp_norm, x, f, mlp);
}

static ValueId scalar(Graph *g, const char *name, double value) {
  float f = (float)value;
  return graph_const(g, const_floats(g->module, name, &f, 1));
}

static ValueId embed(const Decoder *l, Graph *g, ValueId ids) {
  graph_origin(g, "embedding");
  ValueId table = graph_const(g, l->embed);
  ValueId x = graph_op1(g, OP_gather, (ValueId[]){table, ids}, 2, &(Attrs){0});
  if (l->embed_scale == 1) return x;
  graph_origin(g, "embedding scale");
  return graph_binary(g, OP_mul, x, scalar(g, "embed_scale", l->embed_scale));
}

static ValueId output(const Decoder *l, Graph *g, ValueId x) {
  x = block_rmsnorm(g, &l->norm, x, NULL, "output norm");
  ValueId logits = block_linear(g, &l->head, x, NULL, "output");
  if (l->logits_cap == 0) return logits;
  graph_origin(g, "cap of the logits");
  logits = graph_binary(g, OP_div, logits, scalar(g, "logits_cap", l->logits_cap));
  logits = graph_unary(g, OP_tanh, logits);
  return graph_binary(g, OP_mul, logits, scalar(g, "logits_cap", l->logits_cap));
}

static bool is_dynamic(const Decoder *l) {
  for (int i = 0; i < l->nropes; i++) {
    if (l->rope[i].dynamic) return true;
  }
  return false;
}

static void build_graph(const Decoder *l, const Entry *e) {
  Module *m = l->m;
  Graph *g = module_graph(m, e->name);
  Type row = {.dtype = DT_i32, .rank = 1, .dim = {e->rows}};
  Type one = {.dtype = DT_i32, .rank = 1, .dim = {dim_const(m->dims, 1)}};
  DimId past = dim_find(m->dims, "P");
  Type keep = {.dtype = DT_f32, .rank = 1, .dim = {dim_op(m->dims, DIM_ADD, past, e->rows)}};
  ValueId ids = graph_input(g, "ids", row), pos = graph_input(g, "pos", row);
  ValueId mask = e->all_rows ? graph_input(g, "mask", keep) : 0;
  ValueId seq_len = is_dynamic(l) ? graph_input(g, "seq_len", one) : 0;
  ValueId x = embed(l, g, ids);
  RopeTable tables[DECODER_ROPES];
  for (int i = 0; i < l->nropes; i++) tables[i] = rope_table(g, &l->rope[i], pos, seq_len);
  for (int i = 0; i < l->layers; i++) x = build_layer(l, g, i, x, tables, mask);
  if (!e->all_rows) {
    graph_origin(g, "last row");
    x = graph_op1(g, OP_slice, &x, 1, &(Attrs){.slice = {.axis = 0, .start = -1, .size = 1}});
  }
  ValueId logits = output(l, g, x);
  if (!e->alone) graph_output(g, "logits", logits);
  if (!e->all_rows) {
    graph_origin(g, "greedy token");
    graph_output(g, "token", graph_op1(g, OP_argmax, &logits, 1, &(Attrs){0}));
  }
  graph_origin(g, NULL);
}

static void build_graphs(const Decoder *l) {
  Dims *dims = l->m->dims;
  dim_symbol(dims, "P", 0, l->context - 1);
  DimId s = dim_symbol(dims, "S", 1, l->chunk);
  DimId t = l->logits_chunk == l->chunk ? s : dim_symbol(dims, "T", 1, l->logits_chunk);
  DimId one = dim_const(dims, 1);
  build_graph(l, &(Entry){.name = "decode", .rows = one});
  build_graph(l, &(Entry){.name = "prefill", .rows = s});
  build_graph(l, &(Entry){.name = "logits", .rows = t, .all_rows = true});
  build_graph(l, &(Entry){.name = "greedy", .rows = one, .alone = true});
}

Status decoder_build(const DecoderDef *def, const Model *model, const BuildOptions *o, Module *m,
                     Diag *d) {
  Decoder l = {.def = def, .m = m, .gguf = model->format == FORMAT_GGUF};
  Config c;
  Loader w;
  TRY(config_open(model, def->keys, def->nkeys, d, &c));
  loader_open(&w, model, m, d);
  Status s = decoder_config(&l, &c, &w, o, d);
  if (s == OK) s = load_weights(&l, &w);
  if (s == OK) build_graphs(&l);
  loader_close(&w);
  config_close(&c);
  return s;
}
