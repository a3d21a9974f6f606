/* The generation loop; see answer.h.
 *
 * Text is held back while it could be the beginning of a stop string; the stop string itself is not
 * part of the answer. The last token is never run through the model unless another must follow.
 */
#include "runtime/task/answer.h"

#include "runtime/core/io.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int text_error(int r, const char *where, Err *e) {
  if (r == TEXT_OK) return 0;
  return err_set(e, where, "%s", r == TEXT_NO_MEMORY ? "out of memory" : "damaged tables");
}

/* ---- the talker ------------------------------------------------------------------------------ */

/* Fills what the user left open from the model's own defaults. */
static SamplerOptions sampling(const GenerateOptions *o, const IngotGeneration *g, uint64_t seed) {
  SamplerOptions s = {.temperature = o->temperature,
                      .top_p = o->top_p >= 0 ? o->top_p : 1,
                      .min_p = o->min_p >= 0 ? o->min_p : 0,
                      .top_k = o->top_k >= 0 ? o->top_k : 0,
                      .repeat_penalty = o->repeat_penalty,
                      .seed = seed};
  bool sample = g->do_sample > 0 || o->top_p >= 0 || o->min_p >= 0 || o->top_k >= 0 || o->seed >= 0;
  if (o->temperature < 0) s.temperature = !sample ? 0 : g->temperature > 0 ? g->temperature : 1;
  if (g->do_sample > 0) {
    if (o->top_p < 0 && g->top_p > 0 && g->top_p < 1) s.top_p = g->top_p;
    if (o->min_p < 0 && g->min_p > 0) s.min_p = g->min_p;
    if (o->top_k < 0 && g->top_k > 0) s.top_k = g->top_k;
  }
  if (o->repeat_penalty < 0)
    s.repeat_penalty = g->repetition_penalty > 0 ? g->repetition_penalty : 1;
  return s;
}

int talker_open(Talker *k, const Task *t, const GenerateOptions *o, Err *e) {
  *k = (Talker){.task = t, .o = o, .since = t->started};
  ExecOptions x = run_options(&o->run);
  if (t->m->tokenizer.size &&
      text_error(tok_open(t->m->tokenizer.data, t->m->tokenizer.size, &k->tok), "tokenizer", e))
    return 1;
  if (session_open(t->m, &x, &k->session, e)) return 1;
  k->seed = (uint64_t)o->seed;
  if (o->seed < 0) {
    uint32_t random = 0;
    syscall(SYS_getrandom, &random, sizeof random, 0);
    k->seed = random;
  }
  SamplerOptions s = sampling(o, &t->m->generation, k->seed);
  k->sampler = sampler_new(session_vocab(k->session), &s);
  if (!k->sampler) return err_no_memory(e, "sampler");
  session_token_only(k->session, sampler_is_greedy(k->sampler));
  return 0;
}

void talker_close(Talker *k) {
  sampler_free(k->sampler);
  session_close(k->session);
  if (k->tok) tok_close(k->tok);
  free(k->cached.id);
}

void answer_free(Answer *a) {
  free(a->ids.id);
  out_free(&a->text);
}

static int push(TokIds *ids, uint32_t id, Err *e) {
  if (ids->n == ids->cap) {
    size_t cap = ids->cap ? 2 * ids->cap : 256;
    uint32_t *grown = realloc(ids->id, cap * sizeof *grown);
    if (!grown) return err_no_memory(e, "generate");
    ids->id = grown;
    ids->cap = cap;
  }
  ids->id[ids->n++] = id;
  return 0;
}

/* ---- prompts --------------------------------------------------------------------------------- */

int talker_encode(Talker *k, const char *text, size_t n, TokIds *out, Err *e) {
  if (!k->tok) return err_set(e, "prompt", "this program has no tokenizer; give --ids");
  return text_error(tok_encode(k->tok, text, n, NULL, 0, TOK_ADD_SPECIAL, out), "tokenizer", e);
}

static int render(Talker *k, const Json *context, TokIds *out, Err *e) {
  const IngotBlob *chat = &k->task->m->chat;
  Out text = {0}, error = {0};
  int r = chat_render(chat->data, chat->size, context, NULL, &text, &error);
  if (r == TEXT_TEMPLATE_ERROR) {
    err_set(e, "chat template", "%s", error.data ? error.data : "");
  } else if (text.failed || text_error(r, "chat template", e)) {
    err_no_memory(e, "chat template");
  } else { /* the template writes the special tokens itself */
    text_error(tok_encode(k->tok, text.data ? text.data : "", text.size, NULL, 0, 0, out),
               "tokenizer", e);
  }
  out_free(&text);
  out_free(&error);
  return e->what[0] != 0;
}

int talker_render(Talker *k, const Message *messages, size_t n, TokIds *out, Err *e) {
  if (!k->tok) return err_set(e, "prompt", "this program has no tokenizer; give --ids");
  Out json = {0};
  out_puts(&json, "{\"messages\":[");
  for (size_t i = 0; i < n; i++) {
    out_puts(&json, i ? ",{\"role\":" : "{\"role\":");
    out_json_string(&json, messages[i].role, strlen(messages[i].role));
    out_puts(&json, ",\"content\":");
    out_json_string(&json, messages[i].text, strlen(messages[i].text));
    out_puts(&json, "}");
  }
  out_puts(&json, "],\"add_generation_prompt\":true}");
  JsonPool *pool = json_pool_new();
  Json *context = pool && !json.failed ? json_parse(pool, json.data, json.size, NULL, NULL) : NULL;
  int bad = context ? render(k, context, out, e) : err_no_memory(e, "chat template");
  json_pool_free(pool);
  out_free(&json);
  return bad;
}

/* ---- the loop -------------------------------------------------------------------------------- */

typedef struct Voice { /* text on its way out */
  const ArgList *stop;
  TokStream *stream;
  bool to_stdout;
  size_t printed;
} Voice;

/* Bytes at the end of text[0..n) that begin a stop string and must wait. */
static size_t held_back(const Voice *v, const char *text, size_t n) {
  size_t held = 0;
  for (unsigned i = 0; i < v->stop->n; i++) {
    const char *s = v->stop->item[i];
    size_t k = strlen(s);
    for (k = k - 1 < n ? k - 1 : n; k > held; k--)
      if (memcmp(text + n - k, s, k) == 0) held = k;
  }
  return held;
}

/* Cuts the text at the first stop string that ends behind `from`; false when there is none. */
static bool cut_at_stop(const Voice *v, Out *text, size_t from) {
  char *best = NULL;
  for (unsigned i = 0; text->size && i < v->stop->n; i++) {
    const char *s = v->stop->item[i];
    size_t n = strlen(s), back = from < n ? from : n - 1;
    char *at = memmem(text->data + from - back, text->size - from + back, s, n);
    if (at && (!best || at < best)) best = at;
  }
  if (!best) return false;
  text->size = (size_t)(best - text->data);
  *best = 0;
  return true;
}

static void speak(Voice *v, const Out *text, bool all) {
  size_t n = text->size - (all || !text->size ? 0 : held_back(v, text->data, text->size));
  if (v->to_stdout && n > v->printed) io_write(text->data + v->printed, n - v->printed);
  if (n > v->printed) v->printed = n;
}

/* Takes a token into the answer; true when a stop string ended it. */
static bool take_token(Voice *v, Answer *a, uint32_t id, Err *e) {
  size_t before = a->text.size;
  if (push(&a->ids, id, e) || !v->stream) return false;
  if (tok_stream_put(v->stream, id, &a->text) || a->text.failed)
    return err_no_memory(e, "text"), false;
  bool stop = cut_at_stop(v, &a->text, before);
  speak(v, &a->text, stop);
  return stop;
}

static bool is_eos(const IngotGeneration *g, uint32_t id) {
  for (uint32_t i = 0; i < g->neos; i++)
    if (g->eos_ids[i] == (int64_t)id) return true;
  return false;
}

static uint32_t next_token(Talker *k) {
  if (sampler_is_greedy(k->sampler)) return session_token(k->session);
  return sampler_pick(k->sampler, session_logits(k->session));
}

static int generate(Talker *k, Voice *v, Answer *a, Err *e) {
  const IngotGeneration *g = &k->task->m->generation;
  int64_t limit = k->o->n >= 0 ? k->o->n : g->max_new_tokens > 0 ? g->max_new_tokens : INT64_MAX;
  a->stopped = "length";
  while ((int64_t)a->ids.n < limit) {
    if (*io_interrupted()) return a->stopped = "interrupted", 0;
    uint32_t id = next_token(k);
    if (a->ids.n == 0) a->first_s = io_seconds() - k->since;
    if (is_eos(g, id)) return a->stopped = "eos", 0;
    if (take_token(v, a, id, e)) return a->stopped = "stop", 0;
    if (e->what[0]) return 1;
    sampler_see(k->sampler, id);
    if ((int64_t)a->ids.n == limit) break;
    if (session_past(k->session) == session_context(k->session)) return a->stopped = "context", 0;
    if (session_decode(k->session, id, e) || push(&k->cached, id, e)) return 1;
  }
  return 0;
}

/* Brings the cache to the prompt, running only what is not there yet (at least one token, whose
 * logits are needed). */
static int read_prompt(Talker *k, const TokIds *prompt, Answer *a, Err *e) {
  size_t same = 0;
  while (same < prompt->n && same < k->cached.n && prompt->id[same] == k->cached.id[same]) same++;
  if (same == prompt->n) same--;
  session_rewind(k->session, (int64_t)same);
  k->cached.n = same;
  a->reused = (int64_t)same;
  a->prompt_tokens = (int64_t)prompt->n;
  if ((int64_t)prompt->n > session_context(k->session))
    return err_set(e, "prompt", "has %zu tokens, but the context holds %lld; shorten it", prompt->n,
                   (long long)session_context(k->session));
  sampler_forget(k->sampler);
  for (size_t i = 0; i < prompt->n; i++) sampler_see(k->sampler, prompt->id[i]);
  int bad = session_prefill(k->session, prompt->id + same, (int64_t)(prompt->n - same),
                            io_interrupted(), e);
  while (!bad && (int64_t)k->cached.n < session_past(k->session))
    bad = push(&k->cached, prompt->id[k->cached.n], e);
  return bad;
}

int talker_answer(Talker *k, const TokIds *prompt, bool stream, Answer *a, Err *e) {
  if (prompt->n == 0) return err_set(e, "prompt", "is empty");
  Voice v = {.stop = &k->o->stop, .to_stdout = stream};
  if (k->tok && !(v.stream = tok_stream_new(k->tok, true))) return err_no_memory(e, "text");
  double t0 = io_seconds();
  if (k->answers++) k->since = t0;
  a->stopped = "interrupted";
  int bad = read_prompt(k, prompt, a, e);
  double t1 = io_seconds();
  if (!bad && !*io_interrupted()) bad = generate(k, &v, a, e);
  a->prompt_s = t1 - t0;
  a->answer_s = io_seconds() - t1;
  if (!bad && v.stream && strcmp(a->stopped, "stop") != 0) {
    size_t before = a->text.size;
    if (tok_stream_end(v.stream, &a->text) || a->text.failed) bad = err_no_memory(e, "text");
    if (!bad && cut_at_stop(&v, &a->text, before)) a->stopped = "stop";
    if (!bad) speak(&v, &a->text, true);
  }
  tok_stream_free(v.stream);
  return bad;
}

void answer_stats(const Talker *k, const Answer *a, bool json, Out *out) {
  double read = (double)(a->prompt_tokens - a->reused), made = (double)a->ids.n - 1;
  double pp = a->prompt_s > 0 ? read / a->prompt_s : 0;
  double tg = made > 0 && a->answer_s > 0 ? made / a->answer_s : 0;
  unsigned threads = pool_size(exec_pool(session_exec(k->session)));
  const char *isa = exec_level(session_exec(k->session))->name;
  out_printf(
      out,
      json ? "\"prompt_tokens\": %" PRId64 ", \"reused\": %" PRId64 ", \"pp\": %.2f, \"tg\": "
             "%.2f, \"first_token_s\": %.4f, \"threads\": %u, \"isa\": \"%s\""
           : "prompt %" PRId64 " tokens (%" PRId64 " reused) %.1f/s | answer at %.1f/s | first "
             "token after %.3f s | %u threads, %s",
      a->prompt_tokens, a->reused, pp, tg, a->first_s, threads, isa);
}
