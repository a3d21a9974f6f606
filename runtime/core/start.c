/* Start of a produced program: finds the call, parses its options, runs it, reports errors.
 *
 *   ./app CALL ..      a call by name
 *   ./app [OPTION..] PROMPT   anything else is the default call of the model's task
 *
 * Errors go to stderr as `NAME: error: WHERE: WHAT`; the exit status is 0 done, 1 the work failed,
 * 2 wrong use, 128 + signal interrupted (130: Ctrl-C).
 */
#include "runtime/core/encoder.h"
#include "runtime/core/io.h"
#include "runtime/task/task.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Call *const calls[] = {&call_generate, &call_tensors,  &call_bench,
                                    &call_profile,  &call_tokenize, &call_detokenize,
                                    &call_template, &call_card,     &call_embed};
enum { NCALLS = sizeof calls / sizeof calls[0] };

static const char *what_is_missing(const Call *c, const IngotModel *m) {
  if ((c->needs & NEEDS_DECODER) && encoder_there(m)) return "a language model";
  if ((c->needs & NEEDS_POOLING) && !m->encoder.pooling) return "the pooling of a sentence model";
  if ((c->needs & NEEDS_NETWORK) && !m->nentries) return "a network";
  if ((c->needs & NEEDS_TOKENIZER) && !m->tokenizer.size) return "a tokenizer";
  if ((c->needs & NEEDS_TEMPLATE) && !m->chat.size) return "a chat template";
  return NULL;
}

static const Call *find_call(const char *name) {
  for (size_t i = 0; i < NCALLS; i++)
    if (strcmp(calls[i]->name, name) == 0) return calls[i];
  return NULL;
}

static const Call *default_call(const IngotModel *m) {
  if (!m->nentries) return NULL;
  return !encoder_there(m) ? &call_generate : m->encoder.pooling ? &call_embed : NULL;
}

static void print_help(const Task *t) {
  Out o = {0};
  const IngotModel *m = t->m;
  out_printf(&o, "%s (%s), a program made by ingot " INGOT_VERSION "\n\n", m->name, m->arch);
  if (default_call(m) == &call_embed)
    out_printf(&o, "  %s %-12s %s\n", t->program, "\"TEXT\"", "embed it");
  else if (default_call(m))
    out_printf(&o, "  %s %-12s %s\n  %s %-12s %s\n", t->program, "\"PROMPT\"", "answer it",
               t->program, "", "chat, on a terminal");
  for (size_t i = 0; i < NCALLS; i++)
    if (!what_is_missing(calls[i], m))
      out_printf(&o, "  %s %-12s %s\n", t->program, calls[i]->name, calls[i]->purpose);
  out_printf(&o, "\n%s CALL --help lists the options of a call; --version says what this is.\n",
             t->program);
  io_flush_out(&o);
  out_free(&o);
}

static void print_call_help(const Task *t, const Call *c) {
  Out o = {0};
  out_printf(&o, "usage: %s %s\n%s\n\n", t->program, c->usage ? c->usage : c->name, c->purpose);
  args_help(c->specs, c->nspecs, &o);
  out_printf(&o, "  %-24s %s\n", "-h, --help", "this text");
  io_flush_out(&o);
  out_free(&o);
}

static void print_version(const Task *t) {
  Out o = {0};
  const IngotModel *m = t->m;
  out_printf(&o, "%s (%s) ingot " INGOT_VERSION " abi %u", m->name, m->arch, m->abi);
  for (uint32_t i = 0; i < m->nlevels; i++) out_printf(&o, " %s", m->levels[i].name);
  out_puts(&o, "\n");
  io_flush_out(&o);
  out_free(&o);
}

static int report(const Task *t, const Err *e, int status) {
  if (e->what[0] && status != CALL_INTERRUPTED)
    fprintf(stderr, "%s: error: %s%s%s\n", t->program, e->where, e->where[0] ? ": " : "", e->what);
  return status == CALL_INTERRUPTED ? 128 + *io_interrupted() : status;
}

/* Calls of other programs that ingot makes: asking for one is a slip, not a prompt. */
static bool is_foreign_call(const char *word) {
  static const char *const names[] = {"classify", "ner", "qa", "fill-mask"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i], word) == 0) return true;
  return false;
}

static int run_call(Task *t, const Call *c, int argc, char **argv) {
  _Alignas(16) char options[1024] = {0};
  Err e = {0};
  if (c->options_size > sizeof options) abort();
  if (c->defaults) c->defaults(options, t->m);
  if (args_parse(c->specs, c->nspecs, options, argc, argv, &t->args, &e))
    return report(t, &e, CALL_WRONG_USE);
  if (t->args.help) {
    print_call_help(t, c);
    return CALL_DONE;
  }
  const char *missing = what_is_missing(c, t->m);
  if (missing) {
    err_set(&e, c->name, "needs %s, which this program does not have", missing);
    return report(t, &e, CALL_WRONG_USE);
  }
  int status = c->run(t, options, &e);
  return report(t, &e, status ? status : e.what[0] ? CALL_FAILED : CALL_DONE);
}

/* A lone word in small letters that is almost a call's name was meant as one. */
static const char *mistyped_call(const char *word) {
  const char *names[NCALLS];
  size_t n = strlen(word);
  if (n < 4 || strspn(word, "abcdefghijklmnopqrstuvwxyz-") != n) return NULL;
  for (size_t i = 0; i < NCALLS; i++) names[i] = calls[i]->name;
  return args_nearest(word, names, NCALLS);
}

int main(int argc, char **argv) {
  const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
  Task t = {.m = &ingot_model, .started = io_seconds()};
  t.program = argc > 0 ? (slash ? slash + 1 : argv[0]) : "program";
  io_setup();
  const char *word = argc > 1 ? argv[1] : NULL;
  const Call *call = word ? find_call(word) : NULL;
  if (call) return run_call(&t, call, argc - 2, argv + 2);
  if (word &&
      (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)) {
    print_help(&t);
    return CALL_DONE;
  }
  if (word && strcmp(word, "--version") == 0) {
    print_version(&t);
    return CALL_DONE;
  }
  bool foreign = word && is_foreign_call(word);
  const char *near = word && !foreign ? mistyped_call(word) : NULL;
  call = default_call(t.m);
  if (near || foreign || (word && !call)) {
    Err e = {0};
    if (near && call)
      err_set(&e, word, "is not a call; did you mean '%s'? (as a prompt: generate %s)", near, word);
    else
      err_set(&e, word, "is not a call of this program; --help lists them");
    return report(&t, &e, CALL_WRONG_USE);
  }
  if (!call) {
    print_help(&t);
    return CALL_DONE;
  }
  return run_call(&t, call, argc > 1 ? argc - 1 : 0, argv + 1);
}
