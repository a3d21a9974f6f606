/* Compiles a tokenizer and holds it to recorded results: `tok_check MODEL CASES.jsonl`.
 *
 * A case is a line {"text", "pair"?, "ids"?, "plain"?, "text_skip"?, "text_all"?} (tests/tokenizer/
 * make.py). Every case is also decoded as a stream, token by token, which must give the same text;
 * and no prefix that the stream gave may be taken back. Prints the first differences and a count.
 */
#include "backends/text/text_backend.h"
#include "frontend/model.h"
#include "runtime/text/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 8 };

typedef struct Check {
  const Tokenizer *t;
  size_t line, cases, wrong;
} Check;

static void show(Check *c, const char *what, const char *text, size_t n) {
  Out quoted = {0};
  if (++c->wrong > SHOWN) return;
  out_json_string(&quoted, text, n);
  printf("line %zu: %s differ for %.*s\n", c->line, what, (int)quoted.size, quoted.data);
  out_free(&quoted);
}

static void print_ids(const char *name, const uint32_t *id, size_t n) {
  printf("  %s:", name);
  for (size_t i = 0; i < n && i < 60; i++) printf(" %u", id[i]);
  printf("\n");
}

/* Encodes and compares with the recorded ids; leaves the ids in *ids. */
static void check_ids(Check *c, const Json *text, const Json *pair, const Json *want,
                      unsigned flags, TokIds *ids) {
  uint32_t *expect = calloc(want->u.array.n + 1, sizeof *expect);
  ids->n = 0;
  int err =
      tok_encode(c->t, text->u.string.data, text->u.string.size, pair ? pair->u.string.data : NULL,
                 pair ? pair->u.string.size : 0, flags, ids);
  bool same = err == TEXT_OK && ids->n == want->u.array.n;
  for (size_t i = 0; i < want->u.array.n; i++) {
    expect[i] = (uint32_t)want->u.array.item[i]->u.integer;
    same = same && ids->id[i] == expect[i];
  }
  if (!same) {
    show(c, flags & TOK_ADD_SPECIAL ? "ids" : "plain ids", text->u.string.data,
         text->u.string.size);
    if (c->wrong <= SHOWN) {
      print_ids("want", expect, want->u.array.n);
      print_ids("have", ids->id, ids->n);
    }
  }
  free(expect);
}

static void check_text(Check *c, const TokIds *ids, bool skip, const Json *want) {
  Out whole = {0}, parts = {0};
  if (!want) return;
  TokStream *s = tok_stream_new(c->t, skip);
  int err = tok_decode(c->t, ids->id, ids->n, skip, &whole);
  for (size_t i = 0; i < ids->n; i++) err |= tok_stream_put(s, ids->id[i], &parts);
  err |= tok_stream_end(s, &parts);
  tok_stream_free(s);
  if (err || whole.size != want->u.string.size ||
      (whole.size && memcmp(whole.data, want->u.string.data, whole.size) != 0)) {
    show(c, skip ? "decoded texts" : "decoded texts with special tokens", whole.data, whole.size);
  } else if (parts.size != whole.size ||
             (whole.size && memcmp(parts.data, whole.data, whole.size) != 0)) {
    show(c, "streamed texts", parts.data, parts.size);
  }
  out_free(&whole);
  out_free(&parts);
}

static void check_line(Check *c, const char *line, size_t n) {
  const char *error;
  size_t at;
  JsonPool *pool = json_pool_new();
  Json *v = json_parse(pool, line, n, &error, &at);
  Json *text = v ? json_get(v, "text") : NULL, *ids = v ? json_get(v, "ids") : NULL;
  c->line++;
  Json *plain = v ? json_get(v, "plain") : NULL;
  if (!text || (!ids && !plain)) {
    printf("line %zu: no case\n", c->line);
    c->wrong++;
  } else {
    Json *pair = json_get(v, "pair");
    TokIds out = {0};
    c->cases++;
    if (plain) check_ids(c, text, pair, plain, 0, &out);
    if (ids) check_ids(c, text, pair, ids, TOK_ADD_SPECIAL, &out);
    check_text(c, &out, true, json_get(v, "text_skip"));
    check_text(c, &out, false, json_get(v, "text_all"));
    tok_ids_free(&out);
  }
  json_pool_free(pool);
}

static Tokenizer *compile(const char *path, Buf *blob, Diag *d) {
  Model *m = NULL;
  Tokenizer *t = NULL;
  Status status = model_open(path, MODEL_TEXT, d, &m);
  if (status == OK) status = tokenizer_compile(&m->tokenizer, d, blob);
  if (status == OK && tok_open(blob->data, blob->size, &t) != TEXT_OK)
    diag_error(d, path, "the blob can't be opened");
  model_close(m);
  return t;
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: tok_check MODEL CASES.jsonl\n"), 2;
  Diag *d = diag_new();
  Buf blob = {0};
  Check c = {.t = compile(argv[1], &blob, d)};
  FILE *f = fopen(argv[2], "rb");
  char *line = NULL;
  size_t cap = 0;
  ssize_t n;
  if (!c.t || !f) return fputs(c.t ? "no cases\n" : diag_text(d), stderr), 2;
  while ((n = getline(&line, &cap, f)) > 0) check_line(&c, line, (size_t)n);
  free(line);
  fclose(f);
  printf("%s: %zu of %zu cases wrong, blob of %zu bytes\n", argv[1], c.wrong, c.cases, blob.size);
  tok_close((Tokenizer *)(uintptr_t)c.t);
  buf_free(&blob);
  diag_free(d);
  return c.wrong || !c.cases ? 1 : 0;
}
