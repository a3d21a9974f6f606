/* Text in the produced program: tokenizer, streaming decoder and chat template, all from the
 * constant blobs that backends/text made. Functions return 0 or a TEXT_ error; nothing aborts. */
#ifndef INGOT_RUNTIME_TEXT_H
#define INGOT_RUNTIME_TEXT_H

#include "runtime/core/json.h"

enum { TEXT_OK, TEXT_NO_MEMORY, TEXT_BAD_BLOB, TEXT_BAD_ID, TEXT_TEMPLATE_ERROR };

typedef struct Tokenizer Tokenizer;
/* Opens the tokenizer in a blob (runtime/text/tok_blob.h); the blob must outlive it. */
int tok_open(const void *blob, size_t size, Tokenizer **out);
void tok_close(Tokenizer *t);
uint32_t tok_vocab(const Tokenizer *t); /* largest id + 1, added tokens counted */

typedef struct TokIds {
  uint32_t *id; /* heap; tok_ids_free */
  size_t n, cap;
} TokIds;
void tok_ids_free(TokIds *ids);

enum {
  TOK_ADD_SPECIAL = 1, /* what the post-processor adds (bos, eos, [CLS] ..) */
  TOK_NO_ADDED = 2     /* text is data: the content of special tokens in it is not recognised */
};
/* Appends the ids of text[0..n) (UTF-8; invalid bytes become U+FFFD as in Hugging Face).
 * `pair` NULL: a single sequence. */
int tok_encode(const Tokenizer *t, const char *text, size_t n, const char *pair, size_t npair,
               unsigned flags, TokIds *out);
/* Decodes a whole list as Hugging Face's decode does. skip_special drops special tokens. */
int tok_decode(const Tokenizer *t, const uint32_t *ids, size_t n, bool skip_special, Out *out);
/* How many tokens the post-processor puts before and behind a single text. */
void tok_template(const Tokenizer *t, size_t *before, size_t *after);
bool tok_is_special(const Tokenizer *t, uint32_t id);
int64_t tok_find(const Tokenizer *t, const char *content); /* id of a token by its text, or -1 */

/* Streaming decode: text appears as soon as it is certain (incomplete UTF-8 is held back). */
typedef struct TokStream TokStream;
TokStream *tok_stream_new(const Tokenizer *t, bool skip_special);
void tok_stream_free(TokStream *s);
int tok_stream_put(TokStream *s, uint32_t id, Out *out);
int tok_stream_end(TokStream *s,
                   Out *out); /* what is left, replacement characters for broken bytes */

/* Renders the chat template. `context` is an object: messages, tools, add_generation_prompt, any
 * other variable; `now`: ISO time for strftime_now, NULL = the clock. On TEXT_TEMPLATE_ERROR
 * `error` holds the message (raise_exception's, or ours). Steps and recursion are bounded. */
int chat_render(const void *blob, size_t size, const Json *context, const char *now, Out *out,
                Out *error);

#endif
