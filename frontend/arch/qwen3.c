/* Qwen3 (Qwen team 2025): qwen2 with norms of q and k in place of their biases, and heads of a
 * width of their own. What counts is Transformers' Qwen3ForCausalLM. */
#include "frontend/arch/decoder.h"

static const ConfigKey keys[] = {DECODER_KEYS};

static Status read(Decoder *l, Config *c, Loader *w) {
  bool bias;
  TRY(config_bool(c, "attention_bias", false, &bias));
  l->qkv_bias = l->o_bias = bias;
  TRY(decoder_late_windows(l, c));
  return decoder_rope(l, c, w, 10000);
}

static const DecoderDef def = {
    .name = "qwen3",
    .keys = keys,
    .nkeys = COUNT(keys),
    .act_key = "hidden_act",
    .act = "silu",
    .norms = {.attn = LAYER_NAME("input_layernorm", "attn_norm"),
              .mlp = LAYER_NAME("post_attention_layernorm", "ffn_norm"),
              .q = LAYER_NAME("self_attn.q_norm", "attn_q_norm"),
              .k = LAYER_NAME("self_attn.k_norm", "attn_k_norm")},
    .absent = {.vocab = 151936,
               .hidden = 4096,
               .intermediate = 22016,
               .layers = 32,
               .heads = 32,
               .kv_heads = 32,
               .head_dim = 128,
               .positions = 32768},
    .read = read,
};

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  return decoder_build(&def, model, o, m, d);
}

static const char *const classes[] = {"Qwen3ForCausalLM", NULL};
const ArchDef arch_qwen3 = {"qwen3", classes, build};
