/* Sizes, kinds of layers and context of a decoder from its config; see decoder.h. What counts is
 * what Transformers makes of the same config. */
#include "frontend/arch/decoder.h"

#include <string.h>

/* pretraining_tp splits products for training and changes no result beyond rounding; the others are
 * in real files and not read by Transformers. */
static const char *const irrelevant[] = {"pretraining_tp", "max_sequence_length",
                                         "tensor_data_layout"};

/* ---- sizes ---- */

static int64_t absent(const Decoder *l, int64_t value) {
  return l->gguf || value == 0 ? CONFIG_NEEDED : value;
}

/* Left out: the class's number of them; null: as many as heads. */
static int64_t absent_kv_heads(const Decoder *l, const Config *c) {
  bool null = json_is_null(json_object_get(c->object, "num_key_value_heads"));
  return l->gguf || null || l->def->absent.kv_heads == 0 ? l->heads : l->def->absent.kv_heads;
}

static Status read_heads(Decoder *l, Config *c) {
  const DecoderSizes *a = &l->def->absent;
  TRY(config_i64(c, "num_attention_heads", absent(l, a->heads), 1, 1 << 16, &l->heads));
  TRY(config_i64(c, "num_key_value_heads", absent_kv_heads(l, c), 1, 1 << 16, &l->kv_heads));
  if (l->heads % l->kv_heads != 0)
    return config_error(c, "num_key_value_heads", "is %lld, which does not divide the %lld heads",
                        (long long)l->kv_heads, (long long)l->heads);
  int64_t width = l->gguf || a->head_dim == 0 ? l->hidden / l->heads : a->head_dim;
  TRY(config_i64(c, "head_dim", width, 2, 1 << 16, &l->head_dim));
  if (!l->gguf) return OK;
  int64_t value, rotated;
  TRY(config_i64(c, "value_length", l->head_dim, l->head_dim, l->head_dim, &value));
  return config_i64(c, "rope_dim", l->head_dim, l->head_dim, l->head_dim, &rotated);
}

static Status read_sizes(Decoder *l, Config *c, const Loader *w) {
  const DecoderSizes *a = &l->def->absent;
  const Weight *embed = model_weight(w->model, "token_embd.weight");
  int64_t rows = l->gguf && embed && embed->view.rank == 2 ? embed->view.dim[0] : 0;
  TRY(config_i64(c, "vocab_size", rows ? rows : absent(l, a->vocab), 1, 1 << 28, &l->vocab));
  TRY(config_i64(c, "hidden_size", absent(l, a->hidden), 1, 1 << 20, &l->hidden));
  TRY(config_i64(c, "intermediate_size", absent(l, a->intermediate), 1, 1 << 24, &l->intermediate));
  TRY(config_i64(c, "num_hidden_layers", absent(l, a->layers), 1, 1 << 14, &l->layers));
  TRY(read_heads(l, c));
  return config_i64(c, "max_position_embeddings", a->positions, 1, INT32_MAX, &l->positions);
}

static Status read_common(Decoder *l, Config *c) {
  double partial;
  TRY(config_f64(c, "rms_norm_eps", 1e-6, &l->eps));
  TRY(config_str(c, l->def->act_key, l->def->act, &l->act));
  TRY(activation_check(c, l->def->act_key, l->act));
  TRY(config_bool(c, "tie_word_embeddings", l->def->tied, &l->tied));
  TRY(config_f64(c, "partial_rotary_factor", 1, &partial));
  if (partial != 1)
    return config_error(c, "partial_rotary_factor", "is %g (expected 1 in a %s model)", partial,
                        l->def->name);
  if (!(l->eps >= 0 && l->eps < 1))
    return config_error(c, "rms_norm_eps", "is %g (expected 0 to 1)", l->eps);
  config_ignore(c, irrelevant, COUNT(irrelevant));
  return OK;
}

/* ---- for the architectures ---- */

Status decoder_rope(Decoder *l, Config *c, Loader *w, double theta) {
  static const TensorName divisors = {NULL, "rope_freqs.weight"};
  return rope_read(c, w, l->head_dim, l->positions, theta, divisors, &l->rope[0]);
}

static Status read_layer_types(Decoder *l, Config *c, const json_t *list, bool *sliding) {
  if (!json_is_array(list) || json_array_size(list) != (size_t)l->layers)
    return config_error(c, "layer_types", "is no list of %lld kinds, one for each layer",
                        (long long)l->layers);
  for (size_t i = 0; i < (size_t)l->layers; i++) {
    const char *kind = json_string_value(json_array_get(list, i));
    sliding[i] = kind && strcmp(kind, "sliding_attention") == 0;
    if (sliding[i] || (kind && strcmp(kind, "full_attention") == 0)) continue;
    return config_error(c, "layer_types",
                        "has \"%s\" for layer %zu (expected full_attention or sliding_attention)",
                        kind ? kind : "something that is no string", i);
  }
  return OK;
}

Status decoder_sliding(Decoder *l, Config *c, int64_t window, bool *sliding) {
  const json_t *list = config_get(c, "layer_types");
  if (list) TRY(read_layer_types(l, c, list, sliding));
  for (int64_t i = 0; i < l->layers; i++) {
    if (sliding[i] && window == 0)
      return config_error(c, "sliding_window", "is missing, but layer %lld slides", (long long)i);
    l->kind[i].window = sliding[i] ? window : 0;
  }
  return OK;
}

/* Without use_sliding_window there is no window, whatever sliding_window says. */
Status decoder_late_windows(Decoder *l, Config *c) {
  bool use;
  int64_t window, first;
  int64_t none = json_is_null(json_object_get(c->object, "sliding_window")) ? 0 : 4096;
  TRY(config_bool(c, "use_sliding_window", false, &use));
  TRY(config_i64(c, "sliding_window", none, 0, INT32_MAX, &window));
  TRY(config_i64(c, "max_window_layers", 28, 0, INT32_MAX, &first));
  if (!use) window = 0;
  bool *sliding = ARENA_ARRAY(c->arena, bool, (size_t)l->layers);
  for (int64_t i = 0; i < l->layers; i++) sliding[i] = window > 0 && i >= first;
  return decoder_sliding(l, c, window, sliding);
}

Status decoder_cap(Config *c, const char *key, double absent, double *out) {
  bool null = json_is_null(json_object_get(c->object, key));
  TRY(config_f64(c, key, null ? 0 : absent, out));
  if (!config_get(c, key) || (*out > 0 && isfinite(*out))) return OK;
  return config_error(c, key, "is %g (expected a number above 0, or null)", *out);
}

Status decoder_query_scalar(Decoder *l, Config *c, double by) {
  TRY(config_f64(c, "query_pre_attn_scalar", by, &by));
  if (!(by > 0 && isfinite(by)))
    return config_error(c, "query_pre_attn_scalar", "is %g (expected a number above 0)", by);
  l->attn_scale = 1 / sqrt(by);
  return OK;
}

/* ---- context ---- */

/* The context a program gets by default: the model's own limit, stretched where dynamic scaling
 * is meant to go beyond it; at least 512, since Transformers itself sets no limit. */
static Status choose_context(Decoder *l, const BuildOptions *o, Diag *d) {
  enum { LEAST = 512, MOST = 1 << 24, CHUNK = 256, LOGITS_ROWS = 64, LOGITS = 1 << 22 };
  double limit = (double)l->positions * (l->rope[0].dynamic ? l->rope[0].factor : 1);
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
  l->kv_storage = o->kv_storage;
  return OK;
}

Status decoder_config(Decoder *l, Config *c, Loader *w, const BuildOptions *o, Diag *d) {
  TRY(read_sizes(l, c, w));
  TRY(read_common(l, c));
  l->kind = ARENA_ARRAY(l->m->arena, LayerKind, (size_t)l->layers);
  memset(l->kind, 0, (size_t)l->layers * sizeof *l->kind);
  l->nropes = 1;
  l->embed_scale = 1;
  l->attn_scale = 1 / sqrt((double)l->head_dim);
  TRY(l->def->read(l, c, w));
  TRY(config_finish(c));
  return choose_context(l, o, d);
}
