/* Decoder-only language models: what llama, qwen2, gemma3_text and their like have in common.
 *
 * Embedding, layers of self-attention over a KV cache and a gated MLP with norms around them, a
 * norm, an output projection. An architecture's file says how its config keys and tensors are
 * called, what keys that are left out mean, and reads the keys that are its own; the rest (sizes,
 * loading with every shape checked, the entries decode, prefill and logits) is decoder.c and
 * decoder_config.c.
 */
#ifndef INGOT_FRONTEND_ARCH_DECODER_H
#define INGOT_FRONTEND_ARCH_DECODER_H

#include "frontend/arch/blocks.h"

typedef struct Decoder Decoder;

#define LAYER_HF "model.layers.%d."
#define LAYER_GGUF "blk.%d."
#define LAYER_NAME(hf, gguf) {LAYER_HF hf ".weight", LAYER_GGUF gguf ".weight"}

/* Norms of a layer by name; those without a name are not there. */
typedef struct DecoderNorms {
  TensorName attn, mlp;           /* before attention and before the MLP */
  TensorName post_attn, post_mlp; /* of their results, before these are added */
  TensorName q, k;                /* of each head, before rotation */
} DecoderNorms;

/* What a config of the class means by leaving a key out; 0: the key is needed. GGUFs have them all,
 * but for kv_heads (0: as many as heads), head_dim (0: hidden_size / heads) and positions. */
typedef struct DecoderSizes {
  int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, positions;
} DecoderSizes;

typedef struct DecoderDef {
  const char *name;
  const ConfigKey *keys; /* DECODER_KEYS and its own */
  size_t nkeys;
  const char *act_key, *act; /* key of the MLP's activation, and what its absence means */
  DecoderNorms norms;
  DecoderSizes absent;
  bool tied;        /* when tie_word_embeddings is left out */
  bool interleaved; /* a GGUF holds q and k with each head's rotary halves interleaved */
  bool minus_one;   /* a folder holds norm weights minus 1 (a GGUF holds them whole) */
  /* Reads the keys of its own, and sets biases, ropes, kinds of layers, scales and caps where they
   * are not what decoder_config.c has set. */
  Status (*read)(Decoder *l, Config *c, Loader *w);
} DecoderDef;

enum { DECODER_ROPES = 2 };

typedef struct LayerKind {
  int64_t window; /* keys that a query sees, itself included; 0: all */
  int rope;       /* index of Decoder.rope */
} LayerKind;

typedef struct DecoderLayer {
  Norm attn_norm, post_attn_norm, mlp_norm, post_mlp_norm;
  Attention attn;
  GatedMlp mlp;
} DecoderLayer;

struct Decoder {
  const DecoderDef *def;
  Module *m;
  bool gguf;
  int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, positions;
  int64_t context, chunk, logits_chunk;
  double eps;
  const char *act;
  bool tied, qkv_bias, o_bias, mlp_bias;   /* biases: of a folder; a GGUF's tensors say so */
  double embed_scale;                      /* the embedding is multiplied by it; 1: none */
  double attn_scale, attn_cap, logits_cap; /* caps: cap * tanh(x / cap); 0: none */
  DType kv;
  Storage kv_storage;
  Rope rope[DECODER_ROPES];
  int nropes;
  LayerKind *kind; /* of each layer */
  uint32_t embed;
  DecoderLayer *layer;
  Norm norm;
  Linear head;
};

/* clang-format off */
#define DECODER_KEYS                                                                               \
  {"vocab_size", "vocab_size"},                                                                    \
  {"hidden_size", "embedding_length"},                                                             \
  {"intermediate_size", "feed_forward_length"},                                                    \
  {"num_hidden_layers", "block_count"},                                                            \
  {"num_attention_heads", "attention.head_count"},                                                 \
  {"num_key_value_heads", "attention.head_count_kv"},                                              \
  {"head_dim", "attention.key_length"},                                                            \
  {"value_length", "attention.value_length"},                                                      \
  {"max_position_embeddings", "context_length"},                                                   \
  {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},                                            \
  {"rope_theta", "rope.freq_base"},                                                                \
  {"rope_dim", "rope.dimension_count"},                                                            \
  {"rope_scaling.factor", "rope.scale_linear"}, /* old */                                          \
  {"rope_scaling.factor", "rope.scaling.factor"},                                                  \
  {"rope_scaling.rope_type", "rope.scaling.type"},                                                 \
  {"rope_scaling.finetuned", "rope.scaling.finetuned"},                                            \
  {"rope_scaling.original_max_position_embeddings", "rope.scaling.original_context_length"},       \
  {"rope_scaling.attn_factor", "rope.scaling.attn_factor"},                                        \
  {"rope_scaling.beta_fast", "rope.scaling.yarn_beta_fast"},                                       \
  {"rope_scaling.beta_slow", "rope.scaling.yarn_beta_slow"},                                       \
  {"tensor_data_layout", "tensor_data_layout"}
/* clang-format on */

/* The rotation of all layers, rope[0], by rope_theta (`theta` when it is left out) and its
 * scaling. */
Status decoder_rope(Decoder *l, Config *c, Loader *w, double theta);
/* Layers that slide see `window` keys: `layer_types` says which, or, when that is left out,
 * sliding[i] as the caller has set it. Sliding layers with a window of 0 are an error. */
Status decoder_sliding(Decoder *l, Config *c, int64_t window, bool *sliding);
/* decoder_sliding by use_sliding_window, sliding_window and max_window_layers: the layers from that
 * one on slide. */
Status decoder_late_windows(Decoder *l, Config *c);
/* A soft cap: null is none (0), left out is `absent`. */
Status decoder_cap(Config *c, const char *key, double absent, double *out);
/* Scores are scaled by 1 / sqrt(query_pre_attn_scalar); `by` when that is left out. */
Status decoder_query_scalar(Decoder *l, Config *c, double by);

/* Reads the config and sets every field of `l` but those made of weights. */
Status decoder_config(Decoder *l, Config *c, Loader *w, const BuildOptions *o, Diag *d);
/* The `build` of an ArchDef. */
Status decoder_build(const DecoderDef *def, const Model *model, const BuildOptions *o, Module *m,
                     Diag *d);

#endif
