/* chat_render: checks the blob, sets up one rendering and runs it. See runtime/text/text.h. */
#include "runtime/text/chat.h"
#include "runtime/text/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 20000000 };

void chat_fail(Chat *c, const char *fmt, ...) {
  char text[4096];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (n > 0) out_put(c->error, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
  c->status = TEXT_TEMPLATE_ERROR;
  longjmp(c->failed, 1);
}

void chat_no_memory(Chat *c) {
  c->status = TEXT_NO_MEMORY;
  longjmp(c->failed, 1);
}

void chat_step(Chat *c, uint64_t n) {
  if (c->steps < n) chat_fail(c, "the template takes too long");
  c->steps -= n;
}

/* ---- checking the blob: once, so that the interpreter can trust every index ---- */

static bool range_fits(uint32_t start, uint32_t count, uint32_t limit) {
  return start <= limit && count <= limit - start;
}

static bool node_fits(const Chat *c, const ChatNode *n) {
  static const char *const meanings[] = {
#define N(name, meaning) meaning,
      CHAT_NODES(N)
#undef N
  };
  const uint32_t field[4] = {n->a, n->b, n->c, 0};
  if (n->kind >= CN_COUNT) return false;
  for (uint32_t i = 0; i < 3; i++) {
    char m = meanings[n->kind][i];
    if (m == 'n' && field[i] >= c->blob->nnodes) return false;
    if (m == 't' && !range_fits(field[i], field[i + 1], c->blob->ntext)) return false;
    if (m == 'l' && !range_fits(field[i], field[i + 1], c->blob->nlists)) return false;
  }
  if (n->kind == CN_filter) return n->sub < CF_COUNT;
  if (n->kind == CN_test) return n->sub < CT_COUNT;
  if (n->kind == CN_for) return n->c == 4;
  if (n->kind == CN_macro || n->kind == CN_call_block) return n->c >= 1;
  return true;
}

static bool open_blob(Chat *c, const void *data, size_t size) {
  const ChatBlob *b = data;
  if (size < sizeof *b || b->magic != CHAT_MAGIC) return false;
  uint64_t whole =
      sizeof *b + (uint64_t)b->nnodes * sizeof(ChatNode) + (uint64_t)b->nlists * 4 + b->ntext;
  if (whole > size || b->root >= b->nnodes) return false;
  c->blob = b;
  c->node = (const ChatNode *)(b + 1);
  c->list = (const uint32_t *)(c->node + b->nnodes);
  c->text = (const char *)(c->list + b->nlists);
  for (uint32_t i = 0; i < b->nnodes; i++) {
    if (!node_fits(c, &c->node[i])) return false;
  }
  for (uint32_t i = 0; i < b->nlists; i++) {
    if (c->list[i] >= b->nnodes) return false;
  }
  return b->bos < b->nnodes && b->eos < b->nnodes && b->pad < b->nnodes && b->unk < b->nnodes;
}

/* ---- rendering ---- */

static void set_token(Chat *c, const char *name, uint32_t node) {
  if (node)
    dict_set(c, &c->scope->names, val_cstr(name),
             val_text(c->text + c->node[node].a, c->node[node].b));
}

/* The variables a template sees: those of the context, and the special tokens unless it names them.
 */
static void set_variables(Chat *c, const Json *context) {
  set_token(c, "bos_token", c->blob->bos);
  set_token(c, "eos_token", c->blob->eos);
  set_token(c, "pad_token", c->blob->pad);
  set_token(c, "unk_token", c->blob->unk);
  for (size_t i = 0; context && context->kind == JS_OBJECT && i < context->u.object.n; i++)
    dict_set(c, &c->scope->names, val_of_json(c, context->u.object.item[i].key),
             val_of_json(c, context->u.object.item[i].value));
}

int chat_render(const void *blob, size_t size, const Json *context, const char *now, Out *out,
                Out *error) {
  Chat *c = calloc(1, sizeof *c);
  if (!c) return TEXT_NO_MEMORY;
  c->pool = json_pool_new();
  c->error = error;
  c->out = out;
  c->now = now;
  c->steps = MOST_STEPS;
  if (!c->pool) {
    c->status = TEXT_NO_MEMORY;
  } else if (!open_blob(c, blob, size)) {
    c->status = TEXT_BAD_BLOB;
  } else if (!setjmp(c->failed)) {
    c->scope = scope_new(c, NULL);
    set_variables(c, context);
    chat_run(c, c->blob->root);
  }
  int status = c->status;
  for (uint32_t i = 0; i < c->nopen; i++) out_free(&c->open[i]);
  json_pool_free(c->pool);
  free(c);
  return status;
}
