/* Gemma 3's language model (Gemma team 2025): scaled embeddings, norms before and after each half
 * of a layer, norms of q and k, layers that slide over a window with a rotation of their own, a
 * soft cap of the logits, tied output. What counts is Transformers' Gemma3ForCausalLM.
 *
 * Odd: a folder keeps norm weights minus 1, a GGUF whole. A GGUF leaves out what its readers know
 * by heart: every sixth layer is global, local layers turn by base 10000, scores are scaled by the
 * head's width, but in the 62 layers of the 27B by hidden_size / heads.
 */
#include "frontend/arch/decoder.h"

static const ConfigKey keys[] = {
    DECODER_KEYS,
    {"sliding_window", "attention.sliding_window"},
    {"sliding_window_pattern", "attention.sliding_window_pattern"},
    {"rope_local_base_freq", "rope.freq_base_swa"},
    {"final_logit_softcapping", "final_logit_softcapping"},
};

/* hidden_act is a key of the first Gemma, attn_logit_softcapping one of Gemma 2: Transformers'
 * Gemma 3 reads neither (the attention's cap is kept but not passed on). cache_implementation says
 * how it stores keys and values. */
static const char *const irrelevant[] = {"hidden_act", "attn_logit_softcapping",
                                         "cache_implementation"};

/* The pattern is a number, or in a GGUF may be a list with true for layers that slide. */
static Status read_pattern(Decoder *l, Config *c, bool *sliding) {
  const json_t *list = config_get(c, "sliding_window_pattern");
  int64_t pattern = 6;
  if (!l->gguf || !json_is_array(list))
    TRY(config_i64(c, "sliding_window_pattern", 6, 1, INT32_MAX, &pattern));
  else if (json_array_size(list) != (size_t)l->layers)
    return config_error(c, "sliding_window_pattern", "has %zu entries (expected %lld)",
                        json_array_size(list), (long long)l->layers);
  for (int64_t i = 0; i < l->layers; i++)
    sliding[i] = json_is_array(list) ? json_is_true(json_array_get(list, (size_t)i))
                                     : (i + 1) % pattern != 0;
  return OK;
}

static Status read_layers(Decoder *l, Config *c) {
  bool *sliding = ARENA_ARRAY(c->arena, bool, (size_t)l->layers);
  int64_t window;
  bool null = json_is_null(json_object_get(c->object, "sliding_window"));
  TRY(config_i64(c, "sliding_window", l->gguf || null ? 0 : 4096, 0, INT32_MAX, &window));
  TRY(read_pattern(l, c, sliding));
  for (int64_t i = 0; l->gguf && window == 0 && i < l->layers; i++) sliding[i] = false;
  TRY(decoder_sliding(l, c, window, sliding));
  for (int64_t i = 0; i < l->layers; i++) l->kind[i].rope = sliding[i] ? 1 : 0;
  return OK;
}

static Status read_scales(Decoder *l, Config *c) {
  enum { LAYERS_27B = 62 };
  double by = l->gguf ? (double)l->head_dim : 256;
  if (l->gguf && l->layers == LAYERS_27B) by = (double)l->hidden / (double)l->heads;
  TRY(decoder_query_scalar(l, c, by));
  l->embed_scale = sqrt((double)l->hidden);
  return decoder_cap(c, "final_logit_softcapping", 0, &l->logits_cap);
}

static Status read(Decoder *l, Config *c, Loader *w) {
  bool bias, both;
  double local;
  TRY(config_bool(c, "attention_bias", false, &bias));
  l->qkv_bias = l->o_bias = bias;
  TRY(config_bool(c, "use_bidirectional_attention", false, &both));
  if (both)
    return config_error(c, "use_bidirectional_attention",
                        "is true; ingot does not compute such encoders yet");
  TRY(read_scales(l, c));
  TRY(read_layers(l, c));
  config_ignore(c, irrelevant, COUNT(irrelevant));
  TRY(config_f64(c, "rope_local_base_freq", 10000, &local));
  if (!(local > 0 && isfinite(local)))
    return config_error(c, "rope_local_base_freq", "is %g (expected a number above 0)", local);
  TRY(decoder_rope(l, c, w, l->gguf ? 10000 : 1e6));
  l->nropes = 2;
  rope_plain(l->m, l->head_dim, local, &l->rope[1]);
  return OK;
}

static const DecoderDef def = {
    .name = "gemma3_text",
    .keys = keys,
    .nkeys = COUNT(keys),
    .act_key = "hidden_activation",
    .act = "gelu_pytorch_tanh",
    .norms = {.attn = LAYER_NAME("input_layernorm", "attn_norm"),
              .mlp = LAYER_NAME("pre_feedforward_layernorm", "ffn_norm"),
              .post_attn = LAYER_NAME("post_attention_layernorm", "post_attention_norm"),
              .post_mlp = LAYER_NAME("post_feedforward_layernorm", "post_ffw_norm"),
              .q = LAYER_NAME("self_attn.q_norm", "attn_q_norm"),
              .k = LAYER_NAME("self_attn.k_norm", "attn_k_norm")},
    .absent = {.vocab = 262208,
               .hidden = 2304,
               .intermediate = 9216,
               .layers = 26,
               .heads = 8,
               .kv_heads = 4,
               .head_dim = 256,
               .positions = 131072},
    .tied = true,
    .minus_one = true,
    .read = read,
};

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  return decoder_build(&def, model, o, m, d);
}

static const char *const classes[] = {"Gemma3ForCausalLM", NULL};
const ArchDef arch_gemma3_text = {"gemma3_text", classes, build};
