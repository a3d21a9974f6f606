/* The library that `ingot compile --emit lib` makes: a language model as a few C functions.
 *
 *     Ingot *m = ingot_open(NULL, message, sizeof message);
 *     int32_t ids[512];
 *     int64_t n = ingot_tokenize(m, "Once upon a time", 16, 1, ids, 512);
 *     ingot_prefill(m, ids, n);
 *     while (!ingot_is_end(m, ingot_greedy(m))) ingot_decode(m, ingot_greedy(m));
 *     ingot_close(m);
 *
 * Handles. ingot_open makes one conversation with its own cache, working memory and threads over
 * the model that is linked in; any number may be open, and they share the weights. A handle
 * belongs to one thread at a time; different handles may be used at the same time.
 *
 * Ownership. Text and ids are copied in and out of the caller's buffers. What ingot_logits returns
 * belongs to the handle.
 *
 * Errors. Functions that can fail return INGOT_OK or INGOT_FAILED, those that count return -1;
 * ingot_error then says what was wrong. Nothing prints, exits or aborts; a failed call leaves the
 * conversation as it was.
 *
 * Linking. Link the library with -pthread -lm, against glibc or musl. No signal handler is set and
 * no environment variable is read. Files are read only at ingot_open without a number of threads
 * (the CPU quota of the process).
 */
#ifndef INGOT_H
#define INGOT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Ingot Ingot;

enum { INGOT_OK = 0, INGOT_FAILED = 1 };

typedef struct IngotOpenOptions {
  unsigned threads; /* 0: as many as the process may use */
  const char *cpu;  /* an instruction set level of the library, NULL: the best that runs here */
} IngotOpenOptions;

/* Opens a conversation. `options` may be NULL. On failure returns NULL and writes the reason to
 * message[0..size) (message may be NULL). */
Ingot *ingot_open(const IngotOpenOptions *options, char *message, size_t size);
/* Ends the conversation and frees all of it; NULL is fine. */
void ingot_close(Ingot *m);

/* The model's name, as given at compile time. */
const char *ingot_name(const Ingot *m);
/* What the last failed call on this handle found; "" when none has failed. */
const char *ingot_error(const Ingot *m);
/* Size of the vocabulary: ids are 0 .. vocab - 1. */
int64_t ingot_vocab(const Ingot *m);
/* Most tokens that one conversation holds. */
int64_t ingot_context(const Ingot *m);
/* Tokens in the cache now. */
int64_t ingot_position(const Ingot *m);

/* Appends n tokens to the conversation (n > 0). Afterwards the logits are those behind the last. */
int ingot_prefill(Ingot *m, const int32_t *ids, int64_t n);
/* Appends one token; the same as ingot_prefill with n = 1, with the same bits. */
int ingot_decode(Ingot *m, int32_t id);
/* Forgets all but the first `position` tokens (0: begins anew). The logits stay those of the last
 * token run. */
int ingot_rewind(Ingot *m, int64_t position);

/* The logits of the next token, ingot_vocab of them, until the next call that runs tokens; the
 * caller may change them. NULL before the first. */
float *ingot_logits(Ingot *m);
/* The most probable next token (of equals, the lowest id); -1 before the first run. */
int32_t ingot_greedy(const Ingot *m);
/* 1 when the id ends an answer. */
int ingot_is_end(const Ingot *m, int32_t id);

/* Text to ids. Writes up to `max` ids (ids may be NULL when max is 0) and returns how many there
 * are in all; -1 on failure. `add_special`: what the tokenizer adds by default (begin, end). */
int64_t ingot_tokenize(Ingot *m, const char *text, size_t n, int add_special, int32_t *ids,
                       size_t max);
/* Ids to text. Writes up to `max` bytes, without a NUL, and returns how many there are in all; -1
 * on failure. `skip_special`: leaves special tokens out. */
int64_t ingot_detokenize(Ingot *m, const int32_t *ids, size_t n, int skip_special, char *text,
                         size_t max);
/* Renders the chat template for a JSON object ({"messages": [..], "add_generation_prompt": true,
 * ..}). Writes and returns as ingot_detokenize does. Tokenize the result with add_special = 0. */
int64_t ingot_render_chat(Ingot *m, const char *json, size_t n, char *text, size_t max);

#ifdef __cplusplus
}
#endif

#endif
