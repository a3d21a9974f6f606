/* The named pre-tokenizers of GGUF (tokenizer.ggml.pre), as the pipelines of the original
 * tokenizers. */
#ifndef INGOT_FRONTEND_GGUF_PRE_H
#define INGOT_FRONTEND_GGUF_PRE_H

#include "frontend/readers.h"

typedef struct PreTokenizer {
  bool add_bos; /* when tokenizer.ggml.add_bos_token does not say */
} PreTokenizer;

/* Fills normalizer, pre-tokenizer, decoder and ignore_merges of the spec; `name` NULL: none is
 * named. An unknown name is an error. */
Status gguf_pre_apply(Reader *r, const char *where, const char *name, PreTokenizer *out);

#endif
