/* Chat templates against results recorded from Jinja2 as Transformers sets it up.
 *
 * template_test FILE.jsonl [--print]: each line holds template, context, now and either expect (the
 * text) or error (the kind: "syntax" when it must not compile, "render" when rendering must fail).
 */
#include "backends/text/text_backend.h"
#include "runtime/text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Tally {
  unsigned passed, failed;
} Tally;

static const char *string_of(const Json *j) {
  return j && j->kind == JS_STRING ? j->u.string.data : NULL;
}

static void report(Tally *t, unsigned line, const char *what, const Json *want, const Out *got) {
  t->failed++;
  fprintf(stderr, "line %u: %s\n  want: ", line, what);
  if (want) {
    Out o = {0};
    out_json(&o, want);
    fprintf(stderr, "%.*s", (int)o.size, o.data);
    out_free(&o);
  }
  fprintf(stderr, "\n  got:  %.*s\n", got ? (int)got->size : 0, got && got->data ? got->data : "");
}

static void render_case(Tally *t, unsigned line, const Json *test, const Buf *blob) {
  const Json *want = json_get(test, "expect");
  Out out = {0}, error = {0};
  int status = chat_render(blob->data, blob->size, json_get(test, "context"),
                           string_of(json_get(test, "now")), &out, &error);
  if (!want) {
    if (status == TEXT_TEMPLATE_ERROR && error.size)
      t->passed++;
    else
      report(t, line, "an error was expected", NULL, &out);
  } else if (status != TEXT_OK) {
    report(t, line, "failed", want, &error);
  } else if (out.size != want->u.string.size ||
             (out.size && memcmp(out.data, want->u.string.data, out.size) != 0)) {
    Out quoted = {0};
    out_json_string(&quoted, out.data, out.size);
    report(t, line, "other text", want, &quoted);
    out_free(&quoted);
  } else {
    t->passed++;
  }
  out_free(&out);
  out_free(&error);
}

static void run_case(Tally *t, unsigned line, const Json *test) {
  ChatTemplateSpec spec = {.source = string_of(json_get(test, "template")),
                           .where = "test",
                           .bos_token = "<s>",
                           .eos_token = "</s>"};
  const char *error = string_of(json_get(test, "error"));
  bool syntax = error && strcmp(error, "syntax") == 0;
  Diag *d = diag_new();
  Buf blob = {0};
  Status s = chat_compile(&spec, d, &blob);
  if (syntax && s != OK)
    t->passed++;
  else if (s != OK)
    report(t, line, diag_text(d), json_get(test, "expect"), NULL);
  else if (syntax)
    report(t, line, "compiled, but is no valid template", NULL, NULL);
  else
    render_case(t, line, test, &blob);
  buf_free(&blob);
  diag_free(d);
}

int main(int argc, char **argv) {
  FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
  char *text = NULL;
  size_t cap = 0;
  ssize_t n;
  Tally t = {0};
  if (!f) {
    fprintf(stderr, "usage: template_test FILE.jsonl\n");
    return 2;
  }
  for (unsigned line = 1; (n = getline(&text, &cap, f)) > 0; line++) {
    const char *error;
    size_t at;
    JsonPool *pool = json_pool_new();
    Json *test = json_parse(pool, text, (size_t)n, &error, &at);
    if (test)
      run_case(&t, line, test);
    else
      report(&t, line, error, NULL, NULL);
    json_pool_free(pool);
  }
  free(text);
  fclose(f);
  printf("%u passed, %u failed\n", t.passed, t.failed);
  return t.failed || !t.passed;
}
