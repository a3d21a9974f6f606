/* `template`: renders the chat template for JSON objects read line by line. A template's own
 * exception is a result ({"error": ..}); a line that is no JSON object ends the call.
 */
#include "runtime/core/io.h"
#include "runtime/task/task.h"
#include "runtime/text/text.h"
#include <string.h>

typedef struct Options {
  bool jsonl;
} Options;

static const ArgSpec specs[] = {
    {"--jsonl", 0, ARG_FLAG, offsetof(Options, jsonl), 0, 0, NULL,
     "a JSON object a line: messages, tools, add_generation_prompt, now, .."},
};

static int render_line(const Task *t, const Json *context, Out *out, Err *e) {
  Out text = {0}, error = {0};
  const Json *now = json_get(context, "now");
  int r = chat_render(t->m->chat.data, t->m->chat.size, context,
                      now && now->kind == JS_STRING ? now->u.string.data : NULL, &text, &error);
  if (r == TEXT_OK) {
    out_json_string(out, text.data ? text.data : "", text.size);
  } else if (r == TEXT_TEMPLATE_ERROR) {
    out_puts(out, "{\"error\": ");
    out_json_string(out, error.data ? error.data : "", error.size);
    out_puts(out, "}");
  } else {
    err_set(e, "template",
            r == TEXT_NO_MEMORY ? "out of memory" : "the stored template is damaged");
  }
  out_puts(out, "\n");
  out_free(&text);
  out_free(&error);
  return e->what[0] != 0;
}

static int run(const Task *t, void *options, Err *e) {
  const Options *o = options;
  if (!o->jsonl || t->args.argc) {
    err_set(e, "template", "reads JSON objects from standard input; give --jsonl and no argument");
    return CALL_WRONG_USE;
  }
  LineReader reader = {0};
  Out out = {0};
  const char *line;
  size_t n, number = 0;
  int k;
  while ((k = io_line(&reader, &out, &line, &n, e)) > 0) {
    const char *error;
    size_t at;
    number++;
    if (strspn(line, " \t\r") >= n) continue;
    JsonPool *pool = json_pool_new();
    Json *v = pool ? json_parse(pool, line, n, &error, &at) : NULL;
    if (!pool) {
      err_no_memory(e, "template");
    } else if (!v) {
      err_set(e, "standard input", "line %zu, byte %zu: %s", number, at, error);
    } else if (v->kind != JS_OBJECT) {
      err_set(e, "standard input", "line %zu: expected a JSON object", number);
    } else {
      render_line(t, v, &out, e);
    }
    json_pool_free(pool);
    if (e->what[0]) break;
  }
  io_flush_out(&out);
  out_free(&out);
  out_free(&reader.buffer);
  if (*io_interrupted()) return CALL_INTERRUPTED;
  return e->what[0] ? CALL_FAILED : CALL_DONE;
}

const Call call_template = {.name = "template",
                            .usage = "template --jsonl < objects",
                            .purpose = "render the chat template",
                            .needs = NEEDS_TEMPLATE,
                            .specs = specs,
                            .nspecs = sizeof specs / sizeof specs[0],
                            .options_size = sizeof(Options),
                            .run = run};
