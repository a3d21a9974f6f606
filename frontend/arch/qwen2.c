/* Qwen2 and Qwen2.5 (Yang et al. 2024): llama with biases on q, k and v, and in some models a
 * sliding window in the layers from max_window_layers on. What counts is Transformers'
 * Qwen2ForCausalLM. A GGUF keeps the halves of heads as they are and has no windows. */
#include "frontend/arch/decoder.h"

static const ConfigKey keys[] = {DECODER_KEYS};

/* Without use_sliding_window there is no window, whatever sliding_window says. */
static Status read_window(Decoder *l, Config *c) {
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

static Status read(Decoder *l, Config *c, Loader *w) {
  l->qkv_bias = true;
  TRY(read_window(l, c));
  return decoder_rope(l, c, w, 10000);
}

static const DecoderDef def = {
    .name = "qwen2",
    .keys = keys,
    .nkeys = COUNT(keys),
    .act_key = "hidden_act",
    .act = "silu",
    .norms = {.attn = LAYER_NAME("input_layernorm", "attn_norm"),
              .mlp = LAYER_NAME("post_attention_layernorm", "ffn_norm")},
    .absent = {.vocab = 151936,
               .hidden = 4096,
               .intermediate = 22016,
               .layers = 32,
               .heads = 32,
               .kv_heads = 32,
               .positions = 32768},
    .read = read,
};

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  return decoder_build(&def, model, o, m, d);
}

static const char *const classes[] = {"Qwen2ForCausalLM", NULL};
const ArchDef arch_qwen2 = {"qwen2", classes, build};
