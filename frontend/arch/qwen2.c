/* Qwen2 and Qwen2.5 (Yang et al. 2024): llama with biases on q, k and v, and in some models a
 * sliding window in the layers from max_window_layers on. What counts is Transformers'
 * Qwen2ForCausalLM. A GGUF keeps the halves of heads as they are and has no windows. */
#include "frontend/arch/decoder.h"

static const ConfigKey keys[] = {DECODER_KEYS};

static Status read(Decoder *l, Config *c, Loader *w) {
  l->qkv_bias = true;
  TRY(decoder_late_windows(l, c));
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
