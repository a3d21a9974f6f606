/* BERT: an encoder, with any of the heads that Transformers puts on it.
 *
 * Devlin et al. 2018: learned positions and segments, norms behind the residuals, attention in both
 * directions. One entry, "encode", takes sequences one behind the other: ids, type_ids, pos and
 * mask [S] (0 hides a key), spans [W, 4] as attention wants them and, where a head reads the first
 * tokens, their places [N]. Its outputs carry the names of Transformers' forward(); [S, ..] is by
 * token, [N, ..] by sequence. Files name a tensor with or without "bert." before it, and old ones
 * call a norm's weight and bias gamma and beta.
 */
#include "frontend/arch/blocks.h"

#include <string.h>

typedef struct Layer {
  Linear q, k, v, o, up, down;
  LayerNorm attn_norm, mlp_norm;
} Layer;

typedef struct Head Head;

typedef struct Bert {
  Module *m;
  Config *c;
  Loader *w;
  const Head *head;
  const char *prefix; /* of the encoder's tensors: "bert." or "" */
  int64_t vocab, hidden, intermediate, layers, heads, positions, types, labels, length;
  double eps;
  const char *act;
  bool tied;
  uint32_t words, places, segments;
  LayerNorm embed_norm, head_norm;
  Layer *layer;
  Linear pooler, head_dense, out; /* weight NO_CONST: none */
} Bert;

/* What stands on the encoder: by the class of the model. */
struct Head {
  const char *class;
  Status (*load)(Bert *b);
  void (*build)(const Bert *b, Graph *g, ValueId x);
};

/* ---- config ---- */

static Status refuse(Config *c, const char *key, const char *why) {
  bool on;
  TRY(config_bool(c, key, false, &on));
  return on ? config_error(c, key, "is true, %s", why) : OK;
}

static Status read_labels(Bert *b) {
  const json_t *names = config_get(b->c, "id2label");
  int64_t n =
      json_is_object(names) && json_object_size(names) > 0 ? (int64_t)json_object_size(names) : 2;
  return config_i64(b->c, "num_labels", n, 1, 1 << 20, &b->labels);
}

static Status read_config(Bert *b) {
  static const char *const irrelevant[] = {"pooler_fc_size",       "pooler_num_attention_heads",
                                           "pooler_num_fc_layers", "directionality",
                                           "pooler_size_per_head", "pooler_type",
                                           "layer_norm_type"};
  Config *c = b->c;
  const char *kind;
  TRY(config_i64(c, "vocab_size", 30522, 1, 1 << 28, &b->vocab));
  TRY(config_i64(c, "hidden_size", 768, 1, 1 << 16, &b->hidden));
  TRY(config_i64(c, "num_hidden_layers", 12, 1, 1 << 12, &b->layers));
  TRY(config_i64(c, "num_attention_heads", 12, 1, 1 << 12, &b->heads));
  TRY(config_i64(c, "intermediate_size", 3072, 1, 1 << 20, &b->intermediate));
  TRY(config_i64(c, "max_position_embeddings", 512, 1, 1 << 20, &b->positions));
  TRY(config_i64(c, "type_vocab_size", 2, 1, 1 << 20, &b->types));
  TRY(config_f64(c, "layer_norm_eps", 1e-12, &b->eps));
  TRY(config_str(c, "hidden_act", "gelu", &b->act));
  TRY(activation_check(c, "hidden_act", b->act));
  TRY(config_bool(c, "tie_word_embeddings", true, &b->tied));
  TRY(config_str(c, "position_embedding_type", "absolute", &kind));
  TRY(read_labels(b));
  TRY(refuse(c, "is_decoder", "which makes attention causal (expected an encoder)"));
  TRY(refuse(c, "add_cross_attention", "but an encoder has nothing else to attend to"));
  if (b->hidden % b->heads != 0)
    return config_error(c, "num_attention_heads", "is %lld, which does not divide the width %lld",
                        (long long)b->heads, (long long)b->hidden);
  if (strcmp(kind, "absolute") != 0)
    return config_error(c, "position_embedding_type", "is \"%s\" (expected \"absolute\")", kind);
  if (!(b->eps >= 0 && b->eps < 1))
    return config_error(c, "layer_norm_eps", "is %g (expected 0 to 1)", b->eps);
  config_ignore(c, irrelevant, COUNT(irrelevant));
  return config_finish(c);
}

/* ---- weights ---- */

/* "bert.encoder.layer.3.attention.self.query.weight" */
static TensorName named(const Bert *b, const char *prefix, const char *stem, const char *end) {
  return (TensorName){arena_printf(b->m->arena, "%s%s%s", prefix, stem, end), NULL};
}

static Status load_linear(Bert *b, const char *prefix, const char *stem, int layer, int64_t rows,
                          int64_t cols, Linear *out) {
  TRY(loader_matrix(b->w, named(b, prefix, stem, ".weight"), layer, rows, cols, 0, &out->weight));
  return loader_vector(b->w, named(b, prefix, stem, ".bias"), layer, rows, 0, &out->bias);
}

static Status load_norm(Bert *b, const char *prefix, const char *stem, int layer, LayerNorm *out) {
  TensorName weight = named(b, prefix, stem, ".weight"), bias = named(b, prefix, stem, ".bias");
  if (!loader_find(b->w, weight, layer)) {
    TensorName gamma = named(b, prefix, stem, ".gamma");
    if (loader_find(b->w, gamma, layer)) {
      weight = gamma;
      bias = named(b, prefix, stem, ".beta");
    }
  }
  out->eps = b->eps;
  TRY(loader_vector(b->w, weight, layer, b->hidden, 0, &out->weight));
  return loader_vector(b->w, bias, layer, b->hidden, 0, &out->bias);
}

static Status load_table(Bert *b, const char *stem, int64_t rows, uint32_t *out) {
  return loader_matrix(b->w, named(b, b->prefix, stem, ".weight"), 0, rows, b->hidden, 0, out);
}

static Status load_layer(Bert *b, int i) {
#define LAYER "encoder.layer.%d."
  Layer *y = &b->layer[i];
  const char *p = b->prefix;
  int64_t h = b->hidden, wide = b->intermediate;
  TRY(load_linear(b, p, LAYER "attention.self.query", i, h, h, &y->q));
  TRY(load_linear(b, p, LAYER "attention.self.key", i, h, h, &y->k));
  TRY(load_linear(b, p, LAYER "attention.self.value", i, h, h, &y->v));
  TRY(load_linear(b, p, LAYER "attention.output.dense", i, h, h, &y->o));
  TRY(load_norm(b, p, LAYER "attention.output.LayerNorm", i, &y->attn_norm));
  TRY(load_linear(b, p, LAYER "intermediate.dense", i, wide, h, &y->up));
  TRY(load_linear(b, p, LAYER "output.dense", i, h, wide, &y->down));
  return load_norm(b, p, LAYER "output.LayerNorm", i, &y->mlp_norm);
}

static bool has(Bert *b, const char *prefix, const char *name) {
  return loader_find(b->w, named(b, prefix, name, ""), 0) != NULL;
}

static void ignore(Bert *b, const char *prefix, const char *name) {
  loader_ignore(b->w, named(b, prefix, name, ""), 0);
}

static Status load_weights(Bert *b) {
  static const char *const unused[] = {"pooler.dense.weight", "pooler.dense.bias",
                                       "embeddings.position_ids"};
  static const char *const other_heads[] = {"cls.seq_relationship.weight",
                                            "cls.seq_relationship.bias"};
  b->prefix = has(b, "bert.", "embeddings.word_embeddings.weight") ? "bert." : "";
  b->pooler.weight = b->head_dense.weight = b->out.weight = NO_CONST;
  TRY(load_table(b, "embeddings.word_embeddings", b->vocab, &b->words));
  TRY(load_table(b, "embeddings.position_embeddings", b->positions, &b->places));
  TRY(load_table(b, "embeddings.token_type_embeddings", b->types, &b->segments));
  TRY(load_norm(b, b->prefix, "embeddings.LayerNorm", 0, &b->embed_norm));
  b->layer = ARENA_ARRAY(b->m->arena, Layer, (size_t)b->layers);
  for (int i = 0; i < b->layers; i++) TRY(load_layer(b, i));
  TRY(b->head->load(b));
  for (size_t i = 0; i < COUNT(unused); i++) ignore(b, b->prefix, unused[i]);
  for (size_t i = 0; i < COUNT(other_heads); i++) ignore(b, "", other_heads[i]);
  return loader_finish(b->w);
}

/* ---- heads ---- */

static Status load_pooler(Bert *b) {
  return load_linear(b, b->prefix, "pooler.dense", 0, b->hidden, b->hidden, &b->pooler);
}

/* tanh(W x0 + b) of each sequence's first token */
static ValueId build_pooler(const Bert *b, Graph *g, ValueId x) {
  graph_origin(g, "pooler / first token");
  DimId n = dim_symbol(b->m->dims, "N", 1, b->length);
  ValueId first = graph_input(g, "first", (Type){.dtype = DT_i32, .rank = 1, .dim = {n}});
  x = graph_op1(g, OP_gather, (ValueId[]){x, first}, 2, &(Attrs){0});
  return graph_unary(g, OP_tanh, block_linear(g, &b->pooler, x, "pooler", "dense"));
}

/* A BertModel that was saved without its pooler has none. */
static Status load_base(Bert *b) {
  return has(b, b->prefix, "pooler.dense.weight") ? load_pooler(b) : OK;
}

static void build_base(const Bert *b, Graph *g, ValueId x) {
  graph_output(g, "last_hidden_state", x);
  if (b->pooler.weight != NO_CONST) graph_output(g, "pooler_output", build_pooler(b, g, x));
}

static Status load_masked_lm(Bert *b) {
  TensorName bias = named(b, "", "cls.predictions.bias", "");
  TensorName decoder = named(b, "", "cls.predictions.decoder.weight", "");
  TensorName decoder_bias = named(b, "", "cls.predictions.decoder.bias", "");
  TRY(load_linear(b, "", "cls.predictions.transform.dense", 0, b->hidden, b->hidden,
                  &b->head_dense));
  TRY(load_norm(b, "", "cls.predictions.transform.LayerNorm", 0, &b->head_norm));
  b->out.weight = b->words;
  if (!b->tied) TRY(loader_matrix(b->w, decoder, 0, b->vocab, b->hidden, 0, &b->out.weight));
  if (!loader_find(b->w, bias, 0)) bias = decoder_bias; /* the two are one parameter */
  loader_ignore(b->w, decoder, 0);
  loader_ignore(b->w, decoder_bias, 0);
  return loader_vector(b->w, bias, 0, b->vocab, 0, &b->out.bias);
}

static void build_masked_lm(const Bert *b, Graph *g, ValueId x) {
  x = block_linear(g, &b->head_dense, x, "head", "transform");
  x = block_activation(g, b->act, x);
  x = block_layernorm(g, &b->head_norm, x, "head", "norm");
  graph_output(g, "logits", block_linear(g, &b->out, x, "head", "decoder"));
}

static Status load_sequence(Bert *b) {
  TRY(load_pooler(b));
  return load_linear(b, "", "classifier", 0, b->labels, b->hidden, &b->out);
}

static void build_sequence(const Bert *b, Graph *g, ValueId x) {
  ValueId pooled = build_pooler(b, g, x);
  graph_output(g, "logits", block_linear(g, &b->out, pooled, "head", "classifier"));
}

static Status load_token(Bert *b) {
  return load_linear(b, "", "classifier", 0, b->labels, b->hidden, &b->out);
}

static void build_token(const Bert *b, Graph *g, ValueId x) {
  graph_output(g, "logits", block_linear(g, &b->out, x, "head", "classifier"));
}

static Status load_span(Bert *b) {
  if (b->labels != 2)
    return config_error(b->c, "num_labels", "is %lld (expected 2: start and end of a span)",
                        (long long)b->labels);
  return load_linear(b, "", "qa_outputs", 0, 2, b->hidden, &b->out);
}

static void build_span(const Bert *b, Graph *g, ValueId x) {
  static const char *const names[] = {"start_logits", "end_logits"};
  static int64_t flat[] = {-1};
  x = block_linear(g, &b->out, x, "head", "qa outputs");
  for (int i = 0; i < 2; i++) {
    Attrs column = {.slice = {.axis = 1, .start = i, .size = 1}}, shape = {.shape = {{1, flat}}};
    ValueId y = graph_op1(g, OP_slice, &x, 1, &column);
    graph_output(g, names[i], graph_op1(g, OP_reshape, &y, 1, &shape));
  }
}

static const Head heads[] = {
    {"BertModel", load_base, build_base},
    {"BertForMaskedLM", load_masked_lm, build_masked_lm},
    {"BertForSequenceClassification", load_sequence, build_sequence},
    {"BertForTokenClassification", load_token, build_token},
    {"BertForQuestionAnswering", load_span, build_span},
};

static const Head *find_head(const char *class) {
  for (size_t i = 1; class && i < COUNT(heads); i++) {
    if (strcmp(heads[i].class, class) == 0) return &heads[i];
  }
  return &heads[0];
}

/* ---- graph ---- */

static ValueId look_up(Graph *g, uint32_t table, ValueId ids) {
  return graph_op1(g, OP_gather, (ValueId[]){graph_const(g, table), ids}, 2, &(Attrs){0});
}

static ValueId build_embeddings(const Bert *b, Graph *g, Type row) {
  ValueId ids = graph_input(g, "ids", row), types = graph_input(g, "type_ids", row);
  ValueId pos = graph_input(g, "pos", row);
  graph_origin(g, "embeddings");
  ValueId x = graph_binary(g, OP_add, look_up(g, b->words, ids), look_up(g, b->segments, types));
  x = graph_binary(g, OP_add, x, look_up(g, b->places, pos));
  return block_layernorm(g, &b->embed_norm, x, "embeddings", "norm");
}

/* `masks`: of the keys, and the spans of the sequences. */
static ValueId build_layer(const Bert *b, Graph *g, int i, ValueId x, const ValueId *masks) {
  const Layer *y = &b->layer[i];
  Arena *arena = b->m->arena;
  const char *place = arena_printf(arena, "layer %d", i);
  const char *attention = arena_printf(arena, "%s / attention", place);
  const char *mlp = arena_printf(arena, "%s / mlp", place);
  int64_t split[] = {-1, b->heads, b->hidden / b->heads}, join[] = {-1, b->hidden};
  Attrs to_heads = {.shape = {{3, split}}}, from_heads = {.shape = {{2, join}}};
  ValueId part[5] = {block_linear(g, &y->q, x, attention, "q"),
                     block_linear(g, &y->k, x, attention, "k"),
                     block_linear(g, &y->v, x, attention, "v"), masks[0], masks[1]};
  graph_origin(g, arena_printf(arena, "%s / attend", attention));
  for (int k = 0; k < 3; k++) part[k] = graph_op1(g, OP_reshape, &part[k], 1, &to_heads);
  Attrs attend = {.attention = {.scale = 1 / sqrt((double)split[2])}};
  ValueId a = graph_op1(g, OP_attention, part, 5, &attend);
  a = graph_op1(g, OP_reshape, &a, 1, &from_heads);
  a = block_linear(g, &y->o, a, attention, "o");
  graph_origin(g, arena_printf(arena, "%s / residual", attention));
  x = block_layernorm(g, &y->attn_norm, graph_binary(g, OP_add, a, x), attention, "norm");
  ValueId f = block_linear(g, &y->up, x, mlp, "up");
  f = block_linear(g, &y->down, block_activation(g, b->act, f), mlp, "down");
  graph_origin(g, arena_printf(arena, "%s / residual", mlp));
  return block_layernorm(g, &y->mlp_norm, graph_binary(g, OP_add, f, x), mlp, "norm");
}

static void build_graph(const Bert *b) {
  Dims *dims = b->m->dims;
  DimId s = dim_symbol(dims, "S", 1, b->length);
  Graph *g = module_graph(b->m, "encode");
  ValueId x = build_embeddings(b, g, (Type){.dtype = DT_i32, .rank = 1, .dim = {s}});
  ValueId mask = graph_input(g, "mask", (Type){.dtype = DT_f32, .rank = 1, .dim = {s}});
  DimId w = dim_symbol(dims, "W", 1, b->length);
  Type spans = {.dtype = DT_i32, .rank = 2, .dim = {w, dim_const(dims, 4)}};
  ValueId masks[] = {mask, graph_input(g, "spans", spans)};
  for (int i = 0; i < b->layers; i++) x = build_layer(b, g, i, x, masks);
  b->head->build(b, g, x);
  graph_origin(g, NULL);
}

static Status prepare(Bert *b, const BuildOptions *o, Diag *d) {
  TRY(read_config(b));
  if (o->context < 0 || o->context > b->positions)
    return diag_error(d, "--context", "is %lld (expected 1 to %lld, the model's positions)",
                      (long long)o->context, (long long)b->positions);
  b->length = o->context > 0 ? o->context : b->positions;
  return load_weights(b);
}

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  if (model->format != FORMAT_HF)
    return diag_error(d, model->path, "is a bert model in a GGUF (expected a Transformers folder)");
  Config c;
  Loader w;
  Bert b = {.m = m, .c = &c, .w = &w, .head = find_head(model->architecture)};
  TRY(config_open(model, NULL, 0, d, &c));
  loader_open(&w, model, m, d);
  Status s = prepare(&b, o, d);
  if (s == OK) build_graph(&b);
  loader_close(&w);
  config_close(&c);
  return s;
}

static const char *const classes[] = {"BertModel",
                                      "BertForMaskedLM",
                                      "BertForSequenceClassification",
                                      "BertForTokenClassification",
                                      "BertForQuestionAnswering",
                                      NULL};
const ArchDef arch_bert = {"bert", classes, build};
