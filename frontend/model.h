/* Model: the one thing that every reader produces, and the architectures that turn it into a
 * Module.
 *
 * A Model is config (typed key/value), weights (name to view into the mapped files, never copied),
 * tokenizer, chat template, generation defaults and card. Model files are hostile until checked.
 */
#ifndef INGOT_FRONTEND_MODEL_H
#define INGOT_FRONTEND_MODEL_H

#include "ir/graph.h"
#include "ir/text.h"

#include <jansson.h>

typedef enum ModelFormat { FORMAT_HF, FORMAT_GGUF, FORMAT_ONNX } ModelFormat;

typedef struct Weight {
  const char *name; /* as in the file: "model.layers.0.self_attn.q_proj.weight" */
  WeightView view;
  const char *file; /* for messages */
} Weight;

typedef struct GenerationDefaults {
  double temperature, top_p, min_p, repetition_penalty; /* < 0: not said */
  int64_t top_k, max_new_tokens;                        /* < 0: not said */
  bool do_sample;
  int64_t *eos_ids;
  uint32_t neos;  /* tokens that end a generation */
  int64_t bos_id; /* -1: not said */
} GenerationDefaults;

/* How the vector of a text is made of those of its tokens; several modes are put one behind the
 * other, in this order. The values are those of runtime/abi.h. */
enum {
  POOL_CLS = 1,
  POOL_MAX = 2,
  POOL_MEAN = 4,
  POOL_MEAN_SQRT = 8,
  POOL_WEIGHTED = 16,
  POOL_LAST = 32
};

/* What a sentence-transformers folder says about embedding. */
typedef struct SentenceModel {
  bool there;
  unsigned pooling; /* POOL_.. */
  bool normalize;
  int64_t max_tokens;  /* 0: not said */
  const char *unknown; /* a part that ingot does not know, NULL: none */
} SentenceModel;

/* SHA-256 of a file's bytes, in hexadecimal. */
const char *file_sha256(Arena *a, const MappedFile *f);

typedef struct Card {
  const char *name, *license, *source_path;
  struct {
    const char *file, *sha256;
    uint64_t bytes;
  } *files;
  uint32_t nfiles;
} Card;

typedef struct Model {
  Arena *arena;
  const char *path;
  ModelFormat format;
  const char *arch;         /* model_type, or general.architecture of a GGUF */
  const char *architecture; /* first of `architectures` ("LlamaForCausalLM"), or NULL (GGUF) */
  json_t *config;           /* HF: config.json. GGUF: every metadata key, scalars and arrays but the
                               tokenizer's, as a flat object ("llama.block_count": 30) */
  Weight *weights;
  uint32_t nweights; /* sorted by name */
  TokenizerSpec tokenizer;
  ChatTemplateSpec chat;
  GenerationDefaults generation;
  SentenceModel sentence;
  Card card;
  MappedFile *files;
  uint32_t nfiles;
} Model;

/* What is to be read: a tokenizer-only program needs no weights. */
enum { MODEL_WEIGHTS = 1, MODEL_TEXT = 2, MODEL_HASHES = 4 };

/* Opens a Hugging Face directory, a .gguf or a .safetensors file; the format is chosen by what is
 * there and by magic bytes, never by name alone. *out is owned by the caller (model_close). */
Status model_open(const char *path, unsigned what, Diag *d, Model **out);
void model_close(Model *m);                                   /* NULL is fine; unmaps the files */
const Weight *model_weight(const Model *m, const char *name); /* NULL when absent */

/* ---- architectures ------------------------------------------------------------------------------
 */

typedef struct BuildOptions {
  int64_t context;    /* positions of the KV cache; 0: the model's own limit */
  int64_t chunk;      /* largest S of one prefill run */
  DType kv;           /* f32 or f16; f32 when it has a format */
  Storage kv_storage; /* Q_plain or q8_0 */
} BuildOptions;

/* One architecture: a row of frontend/arch/archs.def and one file. */
typedef struct ArchDef {
  const char *name;           /* "llama": model_type; archs.def has the name in a GGUF */
  const char *const *classes; /* `architectures` it serves, NULL-terminated; [0] is the default */
  /* Builds every graph of the program into `m`. */
  Status (*build)(const Model *model, const BuildOptions *o, Module *m, Diag *d);
} ArchDef;

const ArchDef *arch_find(const Model *model,
                         Diag *d); /* NULL after an error naming what is known */
Status model_build(const Model *model, const BuildOptions *o, Diag *d, Module **out);

#endif
