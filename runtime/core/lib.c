/* The public library API (runtime/ingot.h) over the same session code as the program's calls.
 *
 * In a library the weights are not at a fixed address: when the model's table holds no pointer to
 * them they are the symbol ingot_weights, and each handle has its own copy of the model's head with
 * the pointer filled in.
 */
#include "runtime/ingot.h"

#include "runtime/core/session.h"
#include "runtime/text/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const uint8_t ingot_weights[] __attribute__((weak));

struct Ingot {
  IngotModel model;
  Session *session;
  Tokenizer *tok;    /* NULL: none */
  uint32_t *scratch; /* ids of the call in progress */
  size_t nscratch;
  Err err;
};

static int open_handle(Ingot *m, const IngotOpenOptions *options, Err *e) {
  ExecOptions o = {.threads = options ? options->threads : 0, .cpu = options ? options->cpu : NULL};
  m->model = ingot_model;
  if (!m->model.weights && m->model.weight_bytes) m->model.weights = ingot_weights;
  if (!m->model.weights && m->model.weight_bytes)
    return err_set(e, "open", "the weights (symbol ingot_weights) are not linked in");
  if (m->model.tokenizer.size &&
      tok_open(m->model.tokenizer.data, m->model.tokenizer.size, &m->tok) != TEXT_OK)
    return err_set(e, "open", "the stored tokenizer is damaged, or out of memory");
  if (m->model.nentries == 0) return 0; /* a tokenizer alone */
  return session_open(&m->model, &o, &m->session, e);
}

Ingot *ingot_open(const IngotOpenOptions *options, char *message, size_t size) {
  Err e = {0};
  Ingot *m = calloc(1, sizeof *m);
  if (!m) {
    err_no_memory(&e, "open");
  } else if (open_handle(m, options, &e)) {
    ingot_close(m);
    m = NULL;
  }
  if (message && size) snprintf(message, size, "%s%s%s", e.where, e.what[0] ? ": " : "", e.what);
  return m;
}

void ingot_close(Ingot *m) {
  if (!m) return;
  session_close(m->session);
  if (m->tok) tok_close(m->tok);
  free(m->scratch);
  free(m);
}

const char *ingot_name(const Ingot *m) {
  return m->model.name;
}

const char *ingot_error(const Ingot *m) {
  return m->err.what;
}

int64_t ingot_vocab(const Ingot *m) {
  return m->model.generation.vocab;
}

int64_t ingot_context(const Ingot *m) {
  return m->session ? session_context(m->session) : 0;
}

int64_t ingot_position(const Ingot *m) {
  return m->session ? session_past(m->session) : 0;
}

/* A new call: the error of an earlier one is not its own. */
static Err *begin(Ingot *m) {
  m->err = (Err){0};
  return &m->err;
}

/* Ids of the caller as unsigned ones in m->scratch. */
static int take_ids(Ingot *m, const int32_t *ids, size_t n) {
  if (n > m->nscratch) {
    uint32_t *grown = n > SIZE_MAX / 8 ? NULL : realloc(m->scratch, n * sizeof *grown);
    if (!grown) return err_no_memory(&m->err, "ids");
    m->scratch = grown;
    m->nscratch = n;
  }
  for (size_t i = 0; i < n; i++) {
    if (ids[i] < 0) return err_set(&m->err, "ids", "id %d at position %zu is negative", ids[i], i);
    m->scratch[i] = (uint32_t)ids[i];
  }
  return 0;
}

int ingot_prefill(Ingot *m, const int32_t *ids, int64_t n) {
  Err *e = begin(m);
  if (!m->session) return err_set(e, "prefill", "this library holds only a tokenizer");
  if (n <= 0) return err_set(e, "prefill", "%lld tokens (expected at least 1)", (long long)n);
  if (take_ids(m, ids, (size_t)n)) return INGOT_FAILED;
  return session_prefill(m->session, m->scratch, n, NULL, e) ? INGOT_FAILED : INGOT_OK;
}

int ingot_decode(Ingot *m, int32_t id) {
  return ingot_prefill(m, &id, 1);
}

int ingot_rewind(Ingot *m, int64_t position) {
  Err *e = begin(m);
  if (position < 0 || position > ingot_position(m))
    return err_set(e, "rewind", "%lld is not in the conversation (expected 0 to %lld)",
                   (long long)position, (long long)ingot_position(m));
  if (m->session) session_rewind(m->session, position);
  return INGOT_OK;
}

float *ingot_logits(Ingot *m) {
  return m->session ? session_logits(m->session) : NULL;
}

int32_t ingot_greedy(const Ingot *m) {
  if (!m->session || !session_logits(m->session)) return -1;
  return (int32_t)session_token(m->session);
}

int ingot_is_end(const Ingot *m, int32_t id) {
  const IngotGeneration *g = &m->model.generation;
  for (uint32_t i = 0; i < g->neos; i++)
    if (g->eos_ids[i] == id) return 1;
  return 0;
}

static int64_t text_failed(Ingot *m, const char *call, int r) {
  static const char *const what[] = {"", "out of memory", "the stored tables are damaged",
                                     "an id is out of range", "the template refused"};
  err_set(&m->err, call, "%s", what[r]);
  return -1;
}

int64_t ingot_tokenize(Ingot *m, const char *text, size_t n, int add_special, int32_t *ids,
                       size_t max) {
  TokIds out = {0};
  Err *e = begin(m);
  if (!m->tok) return err_set(e, "tokenize", "this library has no tokenizer"), -1;
  int r = tok_encode(m->tok, text, n, NULL, 0, add_special ? TOK_ADD_SPECIAL : 0, &out);
  int64_t count = (int64_t)out.n;
  for (size_t i = 0; r == TEXT_OK && i < out.n && i < max; i++) ids[i] = (int32_t)out.id[i];
  tok_ids_free(&out);
  return r == TEXT_OK ? count : text_failed(m, "tokenize", r);
}

/* Copies a result out and frees it. */
static int64_t give_text(Ingot *m, const char *call, int r, Out *out, char *text, size_t max) {
  int64_t count = (int64_t)out->size;
  if (r == TEXT_OK && out->failed) r = TEXT_NO_MEMORY;
  if (r == TEXT_OK && out->size && max) memcpy(text, out->data, out->size < max ? out->size : max);
  out_free(out);
  return r == TEXT_OK ? count : text_failed(m, call, r);
}

int64_t ingot_detokenize(Ingot *m, const int32_t *ids, size_t n, int skip_special, char *text,
                         size_t max) {
  Out out = {0};
  Err *e = begin(m);
  if (!m->tok) return err_set(e, "detokenize", "this library has no tokenizer"), -1;
  if (take_ids(m, ids, n)) return -1;
  int r = tok_decode(m->tok, m->scratch, n, skip_special != 0, &out);
  return give_text(m, "detokenize", r, &out, text, max);
}

int64_t ingot_render_chat(Ingot *m, const char *json, size_t n, char *text, size_t max) {
  Out out = {0}, error = {0};
  Err *e = begin(m);
  const char *wrong = "out of memory";
  size_t at = 0;
  if (!m->model.chat.size) return err_set(e, "chat", "this library has no chat template"), -1;
  JsonPool *pool = json_pool_new();
  Json *context = pool ? json_parse(pool, json, n, &wrong, &at) : NULL;
  int r = TEXT_OK;
  if (!context || context->kind != JS_OBJECT) {
    err_set(e, "chat", "byte %zu: %s", at, context ? "expected a JSON object" : wrong);
  } else {
    r = chat_render(m->model.chat.data, m->model.chat.size, context, NULL, &out, &error);
    if (r == TEXT_TEMPLATE_ERROR) err_set(e, "chat", "%s", error.data ? error.data : "");
  }
  json_pool_free(pool);
  out_free(&error);
  if (!e->what[0]) return give_text(m, "chat", r, &out, text, max);
  out_free(&out);
  return -1;
}
