/* Chat template to the blob that a program executes (layout: runtime/text/chat_blob.h). */
#include "backends/text/jinja.h"
#include "backends/text/text_backend.h"

#include <stdio.h>
#include <string.h>

uint32_t jinja_node(Jinja *j, ChatKind kind, uint32_t sub, uint32_t a, uint32_t b, uint32_t c) {
  *VEC_PUSH(j->node, j->nnodes, j->cnodes) = (ChatNode){(uint16_t)kind, (uint16_t)sub, a, b, c};
  return j->nnodes - 1;
}

uint32_t jinja_text_node(Jinja *j, ChatKind kind, const char *text, uint32_t size, uint32_t c) {
  uint32_t start = (uint32_t)j->text.size;
  buf_put(&j->text, text, size);
  return jinja_node(j, kind, 0, start, size, c);
}

uint32_t jinja_list(Jinja *j, const uint32_t *ids, uint32_t n) {
  uint32_t start = j->nlists;
  for (uint32_t i = 0; i < n; i++) *VEC_PUSH(j->list, j->nlists, j->clists) = ids[i];
  return start;
}

Status jinja_fail(Jinja *j, const char *fmt, ...) {
  char text[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  return diag_error(j->diag, j->where, "chat template, line %u: %s", j->at->line, text);
}

bool jinja_is(const Jinja *j, const char *word) {
  const JinjaToken *t = j->at;
  return (t->kind == JT_NAME || t->kind == JT_OP) && strlen(word) == t->size &&
         memcmp(t->text, word, t->size) == 0;
}

bool jinja_skip(Jinja *j, const char *word) {
  if (!jinja_is(j, word)) return false;
  j->at++;
  return true;
}

Status jinja_expect(Jinja *j, const char *word) {
  if (jinja_skip(j, word)) return OK;
  return jinja_fail(j, "expected '%s', got '%.*s'", word, (int)j->at->size, j->at->text);
}

Status jinja_expect_name(Jinja *j, JinjaToken *out) {
  *out = *j->at;
  if (out->kind != JT_NAME)
    return jinja_fail(j, "expected a name, got '%.*s'", (int)out->size, out->text);
  j->at++;
  return OK;
}

/* A filter or test that Jinja does not know is refused at once, unless it stands in a part that may
 * never be reached (the branches of an `if`, outside of inner scopes): Jinja2's soft frames. */
static Status check_names(const Jinja *j, uint32_t id, bool soft) {
  static const char *const meanings[] = {
#define N(name, meaning) meaning,
      CHAT_NODES(N)
#undef N
  };
  const ChatNode *n = &j->node[id];
  const uint32_t field[4] = {n->a, n->b, n->c, 0};
  switch ((ChatKind)n->kind) {
  case CN_unknown:
    if (soft) return OK;
    return diag_error(j->diag, j->where, "chat template: no %s named '%.*s'",
                      n->c ? "filter" : "test", (int)n->b, j->text.data + n->a);
  case CN_if:
  case CN_conditional: soft = true; break;
  case CN_for:
  case CN_macro:
  case CN_call_block:
  case CN_set_block:
  case CN_filter_block:
  case CN_with: soft = false; break;
  default: break;
  }
  for (uint32_t i = 0; i < 3; i++) {
    char m = meanings[n->kind][i];
    if (m == 'n' && field[i]) TRY(check_names(j, field[i], soft));
    for (uint32_t k = 0; m == 'l' && k < field[i + 1]; k++) {
      if (j->list[field[i] + k]) TRY(check_names(j, j->list[field[i] + k], soft));
    }
  }
  return OK;
}

static uint32_t token_text(Jinja *j, const char *text) {
  return text ? jinja_text_node(j, CN_string, text, (uint32_t)strlen(text), 0) : 0;
}

static void write_blob(Jinja *j, const ChatTemplateSpec *spec, uint32_t root, Buf *out) {
  ChatBlob head = {.magic = CHAT_MAGIC, .root = root};
  head.bos = token_text(j, spec->bos_token);
  head.eos = token_text(j, spec->eos_token);
  head.pad = token_text(j, spec->pad_token);
  head.unk = token_text(j, spec->unk_token);
  head.nnodes = j->nnodes;
  head.nlists = j->nlists;
  head.ntext = (uint32_t)j->text.size;
  buf_put(out, &head, sizeof head);
  buf_put(out, j->node, j->nnodes * sizeof *j->node);
  buf_put(out, j->list, j->nlists * sizeof *j->list);
  buf_put(out, j->text.data, j->text.size);
}

Status chat_compile(const ChatTemplateSpec *spec, Diag *d, Buf *out) {
  Jinja j = {.arena = arena_new(), .diag = d, .where = spec->where ? spec->where : "chat template"};
  JinjaTokens tokens = {0};
  uint32_t root = 0;
  jinja_node(&j, CN_none, 0, 0, 0, 0);
  Status s = jinja_lex(j.arena, d, j.where, spec->source, &tokens);
  j.at = tokens.token;
  if (s == OK) s = jinja_template(&j, &root);
  if (s == OK) s = check_names(&j, root, false);
  if (s == OK) write_blob(&j, spec, root, out);
  mem_free(tokens.token);
  mem_free(j.node);
  mem_free(j.list);
  buf_free(&j.text);
  arena_free(j.arena);
  return s;
}
