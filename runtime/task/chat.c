/* The chat on a terminal: a conversation over one cache.
 *
 * Each turn renders the whole conversation; the talker runs only what the cache does not hold yet.
 * Ctrl-C stops the answer being given; at the prompt, or a second time, it ends the program.
 * Without a chat template every line is a text to continue.
 */
#include "runtime/core/io.h"
#include "runtime/task/answer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Chat {
  Talker *talker;
  Message *message;
  size_t n, cap;
  bool stats, quit;
} Chat;

static void drop_messages(Chat *c, size_t keep) {
  while (c->n > keep) free((char *)(uintptr_t)c->message[--c->n].text);
}

static int add_message(Chat *c, const char *role, const char *text, size_t n, Err *e) {
  if (c->n == c->cap) {
    size_t cap = c->cap ? 2 * c->cap : 16;
    Message *grown = realloc(c->message, cap * sizeof *grown);
    if (!grown) return err_no_memory(e, "chat");
    c->message = grown;
    c->cap = cap;
  }
  char *copy = malloc(n + 1);
  if (!copy) return err_no_memory(e, "chat");
  memcpy(copy, text, n);
  copy[n] = 0;
  c->message[c->n++] = (Message){role, copy};
  return 0;
}

static int begin(Chat *c, Err *e) {
  drop_messages(c, 0);
  const char *system = c->talker->o->system;
  return system ? add_message(c, "system", system, strlen(system), e) : 0;
}

/* One turn; what fails leaves the conversation as it was before. */
static int turn(Chat *c, const char *line, size_t n, Err *e) {
  Talker *k = c->talker;
  bool has_template = k->task->m->chat.size && !k->o->raw;
  TokIds ids = {0};
  Answer a = {0};
  size_t before = c->n;
  int bad = has_template
                ? add_message(c, "user", line, n, e) || talker_render(k, c->message, c->n, &ids, e)
                : talker_encode(k, line, n, &ids, e);
  if (!bad) bad = talker_answer(k, &ids, true, &a, e);
  if (!bad) io_write("\n", 1);
  if (!bad && has_template)
    bad = add_message(c, "assistant", a.text.data ? a.text.data : "", a.text.size, e);
  if (bad) drop_messages(c, before);
  if (!bad && strcmp(a.stopped, "context") == 0)
    fprintf(stderr, "the context of %lld positions is full; /reset begins anew\n",
            (long long)session_context(k->session));
  if (!bad && c->stats) {
    Out out = {0};
    answer_stats(k, &a, false, &out);
    fprintf(stderr, "%s\n", out.data ? out.data : "");
    out_free(&out);
  }
  free(ids.id);
  answer_free(&a);
  return bad;
}

static int command(Chat *c, const char *word, Err *e) {
  static const char *const names[] = {"/help", "/reset", "/stats", "/quit"};
  if (strcmp(word, "/help") == 0) {
    fputs(
        "/reset  begin a new conversation\n/stats  speed after each answer, on or off\n"
        "/quit   end (Ctrl-D too)\nA line that ends with \\ goes on in the next one. Ctrl-C stops "
        "an answer.\n",
        stderr);
  } else if (strcmp(word, "/reset") == 0) {
    return begin(c, e);
  } else if (strcmp(word, "/stats") == 0) {
    c->stats = !c->stats;
    fprintf(stderr, "stats %s\n", c->stats ? "on" : "off");
  } else if (strcmp(word, "/quit") == 0 || strcmp(word, "/exit") == 0) {
    c->quit = true;
  } else {
    const char *near = args_nearest(word, names, sizeof names / sizeof names[0]);
    fprintf(stderr, "unknown command %s; %s%s%s\n", word,
            near ? "did you mean " : "/help lists them", near ? near : "", near ? "?" : "");
  }
  return 0;
}

/* A message from the terminal: 1, or 0 at the end. Lines ending with a backslash are joined. */
static int read_message(LineReader *r, Out *text, Err *e) {
  const char *line;
  size_t n;
  text->size = 0;
  fputs("> ", stderr);
  for (;;) {
    int k = io_line(r, NULL, &line, &n, e);
    if (k <= 0) return k;
    bool joined = n && line[n - 1] == '\\';
    out_put(text, line, n - joined);
    if (text->failed) return err_no_memory(e, "chat"), -1;
    if (!joined) return 1;
    out_puts(text, "\n");
    fputs(". ", stderr);
  }
}

int chat_loop(Talker *k, Err *e) {
  Chat c = {.talker = k, .stats = k->o->stats};
  LineReader reader = {0};
  Out text = {0};
  int got = 0;
  fprintf(stderr, "%s: chat; /help lists the commands\n", k->task->program);
  if (!begin(&c, e)) {
    while (!c.quit && !*io_interrupted() && (got = read_message(&reader, &text, e)) > 0) {
      Err why = {0};
      if (text.size == 0) continue;
      if (text.data[0] == '/' ? command(&c, text.data, &why) : turn(&c, text.data, text.size, &why))
        fprintf(stderr, "error: %s: %s\n", why.where, why.what);
      io_clear_interrupt();
    }
  }
  if (!c.quit) fputs("\n", stderr);
  drop_messages(&c, 0);
  free(c.message);
  out_free(&text);
  out_free(&reader.buffer);
  if (*io_interrupted()) return CALL_INTERRUPTED;
  return got < 0 || e->what[0] ? CALL_FAILED : CALL_DONE;
}
