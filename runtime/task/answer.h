/* Answering: ids in, streamed text out. What `generate` and the chat have in common.
 *
 * A Talker holds the open model, tokenizer and sampler and remembers which ids are in the cache, so
 * a prompt that begins like the last one is only run from where it differs (prefill and decode give
 * the same bits, so this changes nothing but the time).
 */
#ifndef INGOT_RUNTIME_ANSWER_H
#define INGOT_RUNTIME_ANSWER_H

#include "runtime/core/sampler.h"
#include "runtime/core/session.h"
#include "runtime/task/task.h"
#include "runtime/text/text.h"

typedef struct GenerateOptions {
  RunOptions run;
  int64_t n, top_k, seed;                           /* n, seed < 0: not given */
  double temperature, top_p, min_p, repeat_penalty; /* temperature < 0: not given */
  const char *system, *ids;
  ArgList stop;
  bool raw, stats, json;
} GenerateOptions;

typedef struct Talker {
  const Task *task;
  const GenerateOptions *o;
  Session *session;
  Tokenizer *tok; /* NULL: the program has none */
  Sampler *sampler;
  uint64_t seed;
  TokIds cached; /* ids of the positions in the cache */
  double since;  /* what the first token is timed from: the process, then the question */
  uint64_t answers;
} Talker;

typedef struct Answer {
  TokIds ids;
  Out text;
  const char *stopped; /* "eos", "stop", "length", "context", "interrupted" */
  int64_t prompt_tokens, reused;
  double prompt_s, answer_s, first_s; /* first_s: until the first token */
} Answer;

int talker_open(Talker *k, const Task *t, const GenerateOptions *o, Err *e);
void talker_close(Talker *k);
/* Answers the prompt ids; `stream`: text goes to stdout as it comes. Zero `a` beforehand. */
int talker_answer(Talker *k, const TokIds *prompt, bool stream, Answer *a, Err *e);
void answer_free(Answer *a);

/* Prompt of a conversation (messages as role, text pairs) by the chat template. */
typedef struct Message {
  const char *role, *text;
} Message;
int talker_render(Talker *k, const Message *messages, size_t n, TokIds *out, Err *e);
int talker_encode(Talker *k, const char *text, size_t n, TokIds *out, Err *e);

/* One line for --stats, or the members of the JSON object. */
void answer_stats(const Talker *k, const Answer *a, bool json, Out *out);

int chat_loop(Talker *k, Err *e); /* exit status */

#endif
