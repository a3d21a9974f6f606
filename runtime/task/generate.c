/* `generate`: one prompt (argument, standard input or --ids), one answer; without a prompt on a
 * terminal, the chat.
 */
#include "runtime/core/io.h"
#include "runtime/task/answer.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT(member) offsetof(GenerateOptions, member)
static const ArgSpec specs[] = {
    {"--tokens", 'n', ARG_INT, AT(n), 0, 1e9, "N",
     "most tokens to generate (default: until the model ends)"},
    {"--temp", 0, ARG_DOUBLE, AT(temperature), 0, 1000, "T",
     "temperature; 0: most probable token (default of this and the next 4: the model's)"},
    {"--top-k", 0, ARG_INT, AT(top_k), 0, 1e9, "K", "only the K most probable tokens; 0: off"},
    {"--top-p", 0, ARG_DOUBLE, AT(top_p), 0, 1, "P",
     "only the most probable that make up P; 1: off"},
    {"--min-p", 0, ARG_DOUBLE, AT(min_p), 0, 1, "P",
     "only those at least P times the best; 0: off"},
    {"--repeat-penalty", 0, ARG_DOUBLE, AT(repeat_penalty), 0.01, 100, "R",
     "push down tokens that were there; 1: off"},
    {"--seed", 0, ARG_INT, AT(seed), 0, 9e15, "N",
     "seed of the random numbers (default: another each time)"},
    {"--system", 0, ARG_TEXT, AT(system), 0, 0, "TEXT", "system message"},
    {"--stop", 0, ARG_LIST, AT(stop), 0, 0, "TEXT", "end the answer before this text (repeatable)"},
    {"--ids", 0, ARG_TEXT, AT(ids), 0, 0, "1,2,3", "the prompt as token ids, taken as they are"},
    {"--raw", 0, ARG_FLAG, AT(raw), 0, 0, NULL, "no chat template: continue the text"},
    {"--stats", 0, ARG_FLAG, AT(stats), 0, 0, NULL, "speed on standard error"},
    {"--json", 0, ARG_FLAG, AT(json), 0, 0, NULL, "the answer as a JSON object"},
    RUN_OPTION_SPECS,
};

static int parse_ids(const char *text, TokIds *out, Err *e) {
  size_t n = 1;
  for (const char *c = text; *c; c++) n += *c == ',' || *c == ' ';
  out->id = malloc(n * sizeof *out->id);
  if (!out->id) return err_no_memory(e, "--ids");
  while (*(text += strspn(text, " ,"))) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || errno || v < 0 || v > UINT32_MAX || !strchr(" ,", *end))
      return err_set(e, "--ids", "'%.20s' is not a list of ids (expected 1,2,3)", text);
    out->id[out->n++] = (uint32_t)v;
    text = end;
  }
  return out->n ? 0 : err_set(e, "--ids", "is empty");
}

/* The prompt's words, joined by blanks, or all of standard input. */
static int prompt_text(const Task *t, Out *text, Err *e) {
  if (t->args.argc == 0) {
    if (io_read_all(text, e)) return 1;
    while (text->size && text->data[text->size - 1] == '\n') text->size--;
    out_put(text, "", 0);
  }
  for (int i = 0; i < t->args.argc; i++) {
    if (i) out_puts(text, " ");
    out_puts(text, t->args.argv[i]);
  }
  return text->failed ? err_no_memory(e, "prompt") : 0;
}

static int make_prompt(Talker *k, const Out *text, TokIds *ids, Err *e) {
  const GenerateOptions *o = k->o;
  if (o->ids) return parse_ids(o->ids, ids, e);
  if (o->raw || !k->task->m->chat.size)
    return talker_encode(k, text->data ? text->data : "", text->size, ids, e);
  if (!text->size) return err_set(e, "prompt", "is empty (expected an argument or standard input)");
  Message m[2];
  size_t n = 0;
  if (o->system) m[n++] = (Message){"system", o->system};
  m[n++] = (Message){"user", text->data ? text->data : ""};
  return talker_render(k, m, n, ids, e);
}

static void print_json(const Talker *k, const Answer *a) {
  Out out = {0};
  out_puts(&out, "{\"ids\": [");
  for (size_t i = 0; i < a->ids.n; i++) out_printf(&out, "%s%u", i ? ", " : "", a->ids.id[i]);
  out_puts(&out, "], \"text\": ");
  out_json_string(&out, a->text.data ? a->text.data : "", a->text.size);
  out_printf(&out, ", \"stopped\": \"%s\", ", a->stopped);
  if (!sampler_is_greedy(k->sampler)) out_printf(&out, "\"seed\": %" PRIu64 ", ", k->seed);
  answer_stats(k, a, true, &out);
  out_puts(&out, "}\n");
  io_flush_out(&out);
  out_free(&out);
}

static void print_end(const Talker *k, const Answer *a) {
  if (k->o->json) {
    print_json(k, a);
  } else if (a->text.size == 0 || a->text.data[a->text.size - 1] != '\n') {
    io_write("\n", 1);
  }
  if (strcmp(a->stopped, "context") == 0)
    fprintf(stderr, "%s: the context of %lld positions is full\n", k->task->program,
            (long long)session_context(k->session));
  if (k->o->stats) {
    Out out = {0};
    answer_stats(k, a, false, &out);
    fprintf(stderr, "%s\n", out.data ? out.data : "");
    out_free(&out);
  }
}

static int answer_once(Talker *k, Err *e) {
  Out text = {0};
  TokIds ids = {0};
  Answer a = {0};
  int bad = k->o->ids ? 0 : prompt_text(k->task, &text, e);
  if (!bad && !*io_interrupted()) {
    bad = make_prompt(k, &text, &ids, e) || talker_answer(k, &ids, !k->o->json, &a, e);
    if (!bad) print_end(k, &a);
  }
  out_free(&text);
  free(ids.id);
  answer_free(&a);
  if (*io_interrupted()) return CALL_INTERRUPTED;
  return bad ? CALL_FAILED : CALL_DONE;
}

static int run(const Task *t, void *options, Err *e) {
  const GenerateOptions *o = options;
  bool has_template = t->m->chat.size && !o->raw;
  if (o->ids && t->args.argc) return err_set(e, "--ids", "takes the place of a prompt"), 2;
  if (o->system && (o->ids || !has_template))
    return err_set(e, "--system", "needs the chat template (no --raw, no --ids)"), 2;
  for (unsigned i = 0; i < o->stop.n; i++)
    if (!o->stop.item[i][0]) return err_set(e, "--stop", "is empty"), 2;
  if (!o->ids && !t->m->tokenizer.size)
    return err_set(e, "prompt", "this program has no tokenizer; give --ids"), 2;
  bool chat = !o->ids && t->args.argc == 0 && !o->json && isatty(STDIN_FILENO);
  Talker k;
  int status = CALL_FAILED;
  if (talker_open(&k, t, o, e) == 0) status = chat ? chat_loop(&k, e) : answer_once(&k, e);
  talker_close(&k);
  return status;
}

static void defaults(void *options, const IngotModel *m) {
  (void)m;
  GenerateOptions *o = options;
  o->n = o->top_k = o->seed = -1;
  o->temperature = o->top_p = o->min_p = o->repeat_penalty = -1;
}

const Call call_generate = {.name = "generate",
                            .usage = "generate [PROMPT..]   (no prompt, on a terminal: chat)",
                            .purpose = "answer a prompt, or chat",
                            .needs = NEEDS_NETWORK | NEEDS_DECODER,
                            .specs = specs,
                            .nspecs = sizeof specs / sizeof specs[0],
                            .options_size = sizeof(GenerateOptions),
                            .defaults = defaults,
                            .run = run};
