/* `tokenize` and `detokenize`: text to ids and back, by lines of JSON or plain.
 *
 * With --jsonl a JSON string (or, with --pair, an array of two) a line gives an array of ids, and
 * back. Without: each argument, or all of standard input, is one text; ids are separated by blanks.
 */
#include "runtime/core/io.h"
#include "runtime/task/task.h"
#include "runtime/text/text.h"
#include <stdlib.h>
#include <string.h>

typedef struct Options {
  bool jsonl, no_special, pair;
} Options;

static const ArgSpec tokenize_specs[] = {
    {"--jsonl", 0, ARG_FLAG, offsetof(Options, jsonl), 0, 0, NULL,
     "a JSON string a line in, an array of ids a line out"},
    {"--no-special", 0, ARG_FLAG, offsetof(Options, no_special), 0, 0, NULL,
     "add no special tokens (begin, end, ..)"},
    {"--pair", 0, ARG_FLAG, offsetof(Options, pair), 0, 0, NULL,
     "lines are arrays of two texts: [a, b]"},
};
static const ArgSpec detokenize_specs[] = {
    {"--jsonl", 0, ARG_FLAG, offsetof(Options, jsonl), 0, 0, NULL,
     "an array of ids a line in, a JSON string a line out"},
    {"--no-special", 0, ARG_FLAG, offsetof(Options, no_special), 0, 0, NULL,
     "leave special tokens out of the text"},
};

static int text_failed(int r, const char *where, Err *e) {
  static const char *const what[] = {
      [TEXT_NO_MEMORY] = "out of memory",
      [TEXT_BAD_BLOB] = "the stored tokenizer is damaged",
      [TEXT_BAD_ID] = "an id is out of range",
      [TEXT_TEMPLATE_ERROR] = "template error",
  };
  return r == TEXT_OK ? 0 : err_set(e, where, "%s", what[r]);
}

static void put_ids(Out *out, const TokIds *ids, bool json) {
  if (json) out_puts(out, "[");
  for (size_t i = 0; i < ids->n; i++)
    out_printf(out, "%s%u", i == 0 ? "" : json ? ", " : " ", ids->id[i]);
  out_puts(out, json ? "]\n" : "\n");
}

static int encode(const Tokenizer *tok, const Options *o, const char *a, size_t na, const char *b,
                  size_t nb, Out *out, Err *e) {
  TokIds ids = {0};
  int r = tok_encode(tok, a, na, b, nb, o->no_special ? 0 : TOK_ADD_SPECIAL, &ids);
  if (r == TEXT_OK) put_ids(out, &ids, o->jsonl);
  tok_ids_free(&ids);
  return text_failed(r, "tokenize", e);
}

static int encode_value(const Tokenizer *tok, const Options *o, const Json *v, Out *out, Err *e) {
  if (!o->pair) {
    if (v->kind != JS_STRING) return err_set(e, "", "expected a JSON string");
    return encode(tok, o, v->u.string.data, v->u.string.size, NULL, 0, out, e);
  }
  if (v->kind != JS_ARRAY || v->u.array.n != 2 || v->u.array.item[0]->kind != JS_STRING ||
      v->u.array.item[1]->kind != JS_STRING)
    return err_set(e, "", "expected an array of two JSON strings");
  const Json *a = v->u.array.item[0], *b = v->u.array.item[1];
  return encode(tok, o, a->u.string.data, a->u.string.size, b->u.string.data, b->u.string.size, out,
                e);
}

static int decode(const Tokenizer *tok, const Options *o, const TokIds *ids, Out *out, Err *e) {
  Out text = {0};
  int r = tok_decode(tok, ids->id, ids->n, o->no_special, &text);
  if (text.failed) r = TEXT_NO_MEMORY;
  if (r == TEXT_OK && o->jsonl) {
    out_json_string(out, text.data ? text.data : "", text.size);
  } else if (r == TEXT_OK) {
    out_put(out, text.data, text.size);
  }
  out_puts(out, "\n");
  out_free(&text);
  return text_failed(r, "detokenize", e);
}

static int push_id(const Tokenizer *tok, TokIds *ids, int64_t id, Err *e) {
  if (id < 0 || id >= tok_vocab(tok))
    return err_set(e, "", "id %lld is out of range (expected 0 to %u)", (long long)id,
                   tok_vocab(tok) - 1);
  if (ids->n == ids->cap) {
    size_t cap = ids->cap ? 2 * ids->cap : 256;
    uint32_t *grown = realloc(ids->id, cap * sizeof *grown);
    if (!grown) return err_no_memory(e, "");
    ids->id = grown;
    ids->cap = cap;
  }
  ids->id[ids->n++] = (uint32_t)id;
  return 0;
}

static int decode_value(const Tokenizer *tok, const Options *o, const Json *v, Out *out, Err *e) {
  if (v->kind != JS_ARRAY) return err_set(e, "", "expected an array of ids");
  TokIds ids = {0};
  int bad = 0;
  for (size_t i = 0; i < v->u.array.n && !bad; i++) {
    const Json *d = v->u.array.item[i];
    bad = d->kind != JS_INT ? err_set(e, "", "expected an array of ids")
                            : push_id(tok, &ids, d->u.integer, e);
  }
  if (!bad) bad = decode(tok, o, &ids, out, e);
  tok_ids_free(&ids);
  return bad;
}

/* Ids in plain text, separated by blanks or commas. */
static int decode_text(const Tokenizer *tok, const Options *o, const char *text, Out *out, Err *e) {
  TokIds ids = {0};
  int bad = 0;
  while (!bad && *(text += strspn(text, " \t\r\n,[]"))) {
    char *end;
    long long id = strtoll(text, &end, 10);
    bad = end == text ? err_set(e, "", "'%.20s' is not an id", text) : push_id(tok, &ids, id, e);
    text = end;
  }
  if (!bad) bad = decode(tok, o, &ids, out, e);
  tok_ids_free(&ids);
  return bad;
}

typedef int ValueFn(const Tokenizer *tok, const Options *o, const Json *v, Out *out, Err *e);

static int each_line(const Tokenizer *tok, const Options *o, ValueFn *fn, Err *e) {
  LineReader reader = {0};
  Out out = {0};
  const char *line, *error;
  size_t n, at, number = 0;
  int k = 0;
  while (!e->what[0] && (k = io_line(&reader, &out, &line, &n, e)) > 0) {
    number++;
    if (strspn(line, " \t\r") >= n) continue;
    JsonPool *pool = json_pool_new();
    Json *v = pool ? json_parse(pool, line, n, &error, &at) : NULL;
    Err why = {0};
    if (!pool) {
      err_no_memory(e, "standard input");
    } else if (!v) {
      err_set(e, "standard input", "line %zu, byte %zu: %s", number, at, error);
    } else if (fn(tok, o, v, &out, &why)) {
      err_set(e, "standard input", "line %zu: %s", number, why.what);
    }
    json_pool_free(pool);
    if (out.size > (1u << 16)) io_flush_out(&out);
  }
  io_flush_out(&out);
  out_free(&out);
  out_free(&reader.buffer);
  return e->what[0] != 0;
}

static int plain(const Task *t, const Tokenizer *tok, const Options *o, bool to_ids, Err *e) {
  Out out = {0}, in = {0};
  int bad = 0, n = t->args.argc;
  if (n == 0) {
    bad = io_read_all(&in, e);
    if (!bad && !*io_interrupted()) {
      const char *text = in.data ? in.data : "";
      bad = to_ids ? encode(tok, o, text, in.size, NULL, 0, &out, e)
                   : decode_text(tok, o, text, &out, e);
    }
  } else if (to_ids) {
    for (int i = 0; i < n && !bad; i++)
      bad = encode(tok, o, t->args.argv[i], strlen(t->args.argv[i]), NULL, 0, &out, e);
  } else {
    for (int i = 0; i < n; i++) {
      out_puts(&in, t->args.argv[i]);
      out_puts(&in, " ");
    }
    bad = in.failed ? err_no_memory(e, "detokenize") : decode_text(tok, o, in.data, &out, e);
  }
  io_flush_out(&out);
  out_free(&out);
  out_free(&in);
  return bad;
}

static int run(const Task *t, const Options *o, bool to_ids, Err *e) {
  if ((o->jsonl && t->args.argc) || (o->pair && !o->jsonl)) {
    err_set(e, o->pair ? "--pair" : "--jsonl", "%s",
            o->pair && !o->jsonl ? "works with --jsonl" : "reads standard input, not arguments");
    return CALL_WRONG_USE;
  }
  Tokenizer *tok;
  if (text_failed(tok_open(t->m->tokenizer.data, t->m->tokenizer.size, &tok), "tokenizer", e))
    return CALL_FAILED;
  int bad = o->jsonl ? each_line(tok, o, to_ids ? encode_value : decode_value, e)
                     : plain(t, tok, o, to_ids, e);
  tok_close(tok);
  if (*io_interrupted()) return CALL_INTERRUPTED;
  return bad ? CALL_FAILED : CALL_DONE;
}

static int run_tokenize(const Task *t, void *options, Err *e) {
  return run(t, options, true, e);
}

static int run_detokenize(const Task *t, void *options, Err *e) {
  return run(t, options, false, e);
}

const Call call_tokenize = {.name = "tokenize",
                            .usage = "tokenize [TEXT..] | tokenize --jsonl < texts",
                            .purpose = "text to token ids",
                            .needs = NEEDS_TOKENIZER,
                            .specs = tokenize_specs,
                            .nspecs = sizeof tokenize_specs / sizeof tokenize_specs[0],
                            .options_size = sizeof(Options),
                            .run = run_tokenize};
const Call call_detokenize = {.name = "detokenize",
                              .usage = "detokenize [ID..] | detokenize --jsonl < arrays",
                              .purpose = "token ids to text",
                              .needs = NEEDS_TOKENIZER,
                              .specs = detokenize_specs,
                              .nspecs = sizeof detokenize_specs / sizeof detokenize_specs[0],
                              .options_size = sizeof(Options),
                              .run = run_detokenize};
