/* Llama, and the shortest example of what an architecture file is: keys, tensor names, defaults.
 *
 * Touvron et al. 2023; grouped heads (Ainslie et al. 2023), rotary positions in halves, RMS norms
 * before attention and before a gated MLP. What counts is Transformers' LlamaForCausalLM: keys that
 * it ignores are ignored, defaults of keys that old files lack are its defaults. One odd thing: a
 * GGUF holds q and k with each head's rotary halves interleaved.
 */
#include "frontend/arch/decoder.h"

static const ConfigKey keys[] = {DECODER_KEYS};

static Status read(Decoder *l, Config *c, Loader *w) {
  static const char *const irrelevant[] = {"rope_interleaved", "is_llama_config"};
  bool bias;
  TRY(config_bool(c, "attention_bias", false, &bias));
  l->qkv_bias = l->o_bias = bias;
  TRY(config_bool(c, "mlp_bias", false, &l->mlp_bias));
  config_ignore(c, irrelevant, COUNT(irrelevant));
  return decoder_rope(l, c, w, 10000);
}

static const DecoderDef def = {
    .name = "llama",
    .keys = keys,
    .nkeys = COUNT(keys),
    .act_key = "hidden_act",
    .act = "silu",
    .norms = {.attn = LAYER_NAME("input_layernorm", "attn_norm"),
              .mlp = LAYER_NAME("post_attention_layernorm", "ffn_norm")},
    .absent = {.positions = 2048},
    .interleaved = true,
    .read = read,
};

static Status build(const Model *model, const BuildOptions *o, Module *m, Diag *d) {
  return decoder_build(&def, model, o, m, d);
}

static const char *const classes[] = {"LlamaForCausalLM", NULL};
const ArchDef arch_llama = {"llama", classes, build};
