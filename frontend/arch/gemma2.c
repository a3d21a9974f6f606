/* Gemma 2 (Gemma team 2024): scaled embeddings, norms before and after each half of a layer, every
 * other layer slides, soft caps of scores and logits, tied output. What counts is Transformers'
 * Gemma2ForCausalLM (eager: other attentions drop the cap).
 *
 * Odd: a folder keeps norm weights minus 1, a GGUF whole. A GGUF does not say how scores are
 * scaled: by the head's width, but in the 46 layers of the 27B by hidden_size / heads.
 */
#include "frontend/arch/decoder.h"

static const ConfigKey keys[] = {
    DECODER_KEYS,
    {"sliding_window", "attention.sliding_window"},
    {"attn_logit_softcapping", "attn_logit_softcapping"},
    {"final_logit_softcapping", "final_logit_softcapping"},
};

/* hidden_act is a key of the first Gemma; cache_implementation says how Transformers stores keys
 * and values. */
static const char *const irrelevant[] = {"hidden_act", "cache_implementation"};

static Status read_layers(Decoder *l, Config *c) {
  bool *sliding = ARENA_ARRAY(c->arena, bool, (size_t)l->layers);
  bool null = json_is_null(json_object_get(c->object, "sliding_window"));
  int64_t window;
  TRY(config_i64(c, "sliding_window", null ? 0 : 4096, 0, INT32_MAX, &window));
  for (int64_t i = 0; i < l->layers; i++) sliding[i] = i % 2 == 0;
  return decoder_sliding(l, c, window, sliding);
}

static Status read(Decoder *l, Config *c, Loader *w) {
  enum { LAYERS_27B = 46 };
  bool bias;
  double by = l->gguf ? (double)l->head_dim : 256;
  if (l->gguf && l->layers == LAYERS_27B) by = (double)l->hidden / (double)l->heads;
  TRY(config_bool(c, "attention_bias", false, &bias));
  l->qkv_bias = l->o_bias = bias;
  l->embed_scale = sqrt((double)l->hidden);
  TRY(decoder_query_scalar(l, c, by));
  TRY(decoder_cap(c, "attn_logit_softcapping", 50, &l->attn_cap));
  TRY(decoder_cap(c, "final_logit_softcapping", 30, &l->logits_cap));
  TRY(read_layers(l, c));
  config_ignore(c, irrelevant, COUNT(irrelevant));
  return decoder_rope(l, c, w, 10000);
}

static const DecoderDef def = {
    .name = "gemma2",
    .keys = keys,
    .nkeys = COUNT(keys),
    .act_key = "hidden_activation",
    .act = "gelu_pytorch_tanh",
    .norms = {.attn = LAYER_NAME("input_layernorm", "attn_norm"),
              .mlp = LAYER_NAME("pre_feedforward_layernorm", "ffn_norm"),
              .post_attn = LAYER_NAME("post_attention_layernorm", "post_attention_norm"),
              .post_mlp = LAYER_NAME("post_feedforward_layernorm", "post_ffw_norm")},
    .absent = {.vocab = 256000,
               .hidden = 2304,
               .intermediate = 9216,
               .layers = 26,
               .heads = 8,
               .kv_heads = 4,
               .head_dim = 256,
               .positions = 8192},
    .tied = true,
    .minus_one = true,
    .read = read,
};

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  return decoder_build(&def, model, o, m, d);
}

static const char *const classes[] = {"Gemma2ForCausalLM", NULL};
const ArchDef arch_gemma2 = {"gemma2", classes, build};
