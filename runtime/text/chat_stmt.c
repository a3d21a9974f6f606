/* Statements, loops and macros of the chat template interpreter. See runtime/text/chat.h. */
#include "runtime/text/chat.h"

#include <string.h>

/* Runs a node with its output caught, and gives that. */
static Val capture(Chat *c, uint32_t body) {
  Out *outer = c->out, *part = chat_out(c);
  c->out = part;
  chat_run(c, body);
  c->out = outer;
  return chat_out_done(c, part);
}

/* ---- assignment ---- */

static void assign_tuple(Chat *c, const ChatNode *t, Val value) {
  ValList *items = val_items(c, value);
  if (items->n != t->c)
    chat_fail(c,
              items->n < t->c ? "not enough values to unpack (expected %u, got %u)"
                              : "too many values to unpack (expected %u, got %u)",
              t->c, items->n);
  for (uint32_t i = 0; i < t->c; i++) chat_assign(c, c->list[t->b + i], items->item[i]);
}

void chat_assign(Chat *c, uint32_t target, Val value) {
  const ChatNode *t = &c->node[target];
  if (t->kind == CN_name) {
    dict_set(c, &c->scope->names, val_text(c->text + t->a, t->b), value);
  } else if (t->kind == CN_tuple) {
    assign_tuple(c, t, value);
  } else if (t->kind == CN_getattr) {
    Val space = chat_eval(c, t->c);
    if (space.kind != VK_NAMESPACE) chat_fail(c, "cannot assign attribute on non-namespace object");
    dict_set(c, space.u.dict, val_text(c->text + t->a, t->b), value);
  } else {
    chat_fail(c, "the template's code is damaged");
  }
}

/* ---- loops ---- */

static Scope *inner_scope(Chat *c) {
  return c->scope = scope_new(c, c->scope);
}

/* The items that pass the loop's condition, which sees the loop's target. */
static ValList *loop_items(Chat *c, const ChatNode *n, Val iterable) {
  uint32_t condition = c->list[n->b + 1];
  ValList *all = val_items(c, iterable);
  if (!condition) return all;
  ValList *kept = chat_alloc(c, sizeof *kept);
  Scope *outer = c->scope;
  for (uint32_t i = 0; i < all->n; i++) {
    inner_scope(c);
    chat_assign(c, n->a, all->item[i]);
    Val keep = chat_eval(c, condition);
    if (val_truth(&keep)) list_push(c, kept, all->item[i]);
    c->scope = outer;
  }
  return kept;
}

static void run_loop(Chat *c, const ChatNode *n, Val iterable, uint32_t depth) {
  Scope *outer = c->scope;
  Loop *loop = chat_alloc(c, sizeof *loop);
  *loop = (Loop){.items = loop_items(c, n, iterable), .depth = depth, .node = n, .scope = outer};
  loop->last_changed = val_undefined("", 0);
  for (loop->index = 0; loop->index < loop->items->n; loop->index++) {
    inner_scope(c);
    dict_set(c, &c->scope->names, val_cstr("loop"), (Val){.kind = VK_LOOP, .u.loop = loop});
    chat_assign(c, n->a, loop->items->item[loop->index]);
    chat_run(c, c->list[n->b + 2]);
    c->scope = outer;
    int jump = c->jump;
    c->jump = 0;
    if (jump == CN_break) break;
  }
  if (!loop->items->n && c->list[n->b + 3]) {
    inner_scope(c);
    chat_run(c, c->list[n->b + 3]);
    c->scope = outer;
  }
}

/* loop(items) in a recursive loop: runs it over them and gives what it wrote. */
Val chat_call_loop(Chat *c, Loop *l, CallArgs args) {
  if (!l->node->sub || args.n != 1)
    chat_fail(c, "the loop must have the 'recursive' marker to be called");
  Out *outer = c->out, *part = chat_out(c);
  Scope *scope = c->scope;
  c->out = part;
  c->scope = l->scope;
  run_loop(c, l->node, args.arg[0], l->depth + 1);
  c->scope = scope;
  c->out = outer;
  return chat_out_done(c, part);
}

Val chat_loop_attr(Chat *c, Loop *l, const char *name, size_t n) {
  int64_t i = l->index, count = l->items->n;
  if (name_is(name, n, "index")) return val_int(i + 1);
  if (name_is(name, n, "index0")) return val_int(i);
  if (name_is(name, n, "revindex")) return val_int(count - i);
  if (name_is(name, n, "revindex0")) return val_int(count - i - 1);
  if (name_is(name, n, "first")) return val_bool(i == 0);
  if (name_is(name, n, "last")) return val_bool(i + 1 == count);
  if (name_is(name, n, "length")) return val_int(count);
  if (name_is(name, n, "depth")) return val_int(l->depth + 1);
  if (name_is(name, n, "depth0")) return val_int(l->depth);
  if (name_is(name, n, "previtem") && i > 0) return l->items->item[i - 1];
  if (name_is(name, n, "nextitem") && i + 1 < count) return l->items->item[i + 1];
  if (name_is(name, n, "previtem")) return val_undefined("there is no previous item", 25);
  if (name_is(name, n, "nextitem")) return val_undefined("there is no next item", 21);
  if (name_is(name, n, "cycle") || name_is(name, n, "changed")) {
    Method *m = chat_alloc(c, sizeof *m);
    *m = (Method){(Val){.kind = VK_LOOP, .u.loop = l}, name, (uint32_t)n};
    return (Val){.kind = VK_METHOD, .u.method = m};
  }
  return val_undefined("'LoopContext' has no such attribute", 35);
}

/* ---- macros ---- */

static void bind_params(Chat *c, const ChatNode *n, CallArgs args) {
  uint32_t params = n->c - 1;
  if (args.n > params) chat_fail(c, "macro takes not more than %u argument(s)", params);
  for (uint32_t i = 0; i < params; i++) {
    const ChatNode *p = &c->node[c->list[n->b + 1 + i]], *name = &c->node[p->a];
    Val key = val_text(c->text + name->a, name->b), v;
    if (i < args.n)
      v = args.arg[i];
    else if (!args.named || !dict_get(c, args.named, key, &v))
      v = p->b ? chat_eval(c, p->b) : val_undefined("parameter was not provided", 26);
    dict_set(c, &c->scope->names, key, v);
  }
}

Val chat_call_macro(Chat *c, const Macro *m, CallArgs args) {
  Scope *outer = c->scope;
  Val given;
  c->scope = scope_new(c, m->scope);
  if (args.named && dict_find(c, args.named, "caller", &given))
    dict_set(c, &c->scope->names, val_cstr("caller"), given);
  bind_params(c, m->node, args);
  Val v = capture(c, c->list[m->node->b]);
  c->scope = outer;
  return v;
}

static Val make_macro(Chat *c, const ChatNode *n) {
  Macro *m = chat_alloc(c, sizeof *m);
  *m = (Macro){.node = n, .scope = c->scope};
  return (Val){.kind = VK_MACRO, .u.macro = m};
}

/* {% call(x) f(a) %}..{% endcall %}: f gets the block as the macro `caller`. */
static void run_call_block(Chat *c, const ChatNode *n) {
  const ChatNode *call = &c->node[n->a];
  ValList *values = chat_alloc(c, sizeof *values);
  ValDict *named = chat_alloc(c, sizeof *named);
  Val callee = chat_eval(c, call->a);
  for (uint32_t i = 0; i < call->c; i++) {
    const ChatNode *arg = &c->node[c->list[call->b + i]];
    if (arg->kind == CN_kwarg)
      dict_set(c, named, val_text(c->text + arg->a, arg->b), chat_eval(c, arg->c));
    else
      list_push(c, values, chat_eval(c, c->list[call->b + i]));
  }
  dict_set(c, named, val_cstr("caller"), make_macro(c, n));
  val_print(c, chat_call(c, callee, (CallArgs){values->item, values->n, named}), c->out);
}

/* ---- statements ---- */

static void run_with(Chat *c, const ChatNode *n) {
  Scope *outer = c->scope, *inner = scope_new(c, outer);
  for (uint32_t i = 0; i < n->c; i++) {
    const ChatNode *set = &c->node[c->list[n->b + i]];
    Val v = chat_eval(c, set->b); /* values are seen from outside */
    c->scope = inner;
    chat_assign(c, set->a, v);
    c->scope = outer;
  }
  c->scope = inner;
  chat_run(c, n->a);
  c->scope = outer;
}

static void run_set_block(Chat *c, const ChatNode *n) {
  Scope *outer = c->scope;
  inner_scope(c);
  Val v = capture(c, n->b);
  c->scope = outer;
  chat_assign(c, n->a, chat_filters_on(c, n->c, v));
}

static void run_filter_block(Chat *c, const ChatNode *n) {
  Scope *outer = c->scope;
  inner_scope(c);
  Val v = capture(c, n->b);
  c->scope = outer;
  val_print(c, chat_filters_on(c, n->a, v), c->out);
}

static void run_node(Chat *c, const ChatNode *n) {
  Val v;
  switch ((ChatKind)n->kind) {
  case CN_none: break;
  case CN_text: out_put(c->out, c->text + n->a, n->b); break;
  case CN_output: val_print(c, chat_eval(c, n->a), c->out); break;
  case CN_block:
    for (uint32_t i = 0; i < n->c && !c->jump; i++) chat_run(c, c->list[n->b + i]);
    break;
  case CN_for: run_loop(c, n, chat_eval(c, c->list[n->b]), 0); break;
  case CN_if:
    v = chat_eval(c, n->a);
    chat_run(c, val_truth(&v) ? n->b : n->c);
    break;
  case CN_set: chat_assign(c, n->a, chat_eval(c, n->b)); break;
  case CN_set_block: run_set_block(c, n); break;
  case CN_macro: chat_assign(c, n->a, make_macro(c, n)); break;
  case CN_call_block: run_call_block(c, n); break;
  case CN_filter_block: run_filter_block(c, n); break;
  case CN_with: run_with(c, n); break;
  case CN_break:
  case CN_continue: c->jump = n->kind; break;
  default: chat_fail(c, "the template's code is damaged");
  }
}

void chat_run(Chat *c, uint32_t node) {
  enum { DEEPEST = 800, LONGEST_OUTPUT = 1 << 28 };
  chat_step(c, 1);
  if (++c->depth > DEEPEST) chat_fail(c, "maximum recursion depth exceeded");
  run_node(c, &c->node[node]);
  if (c->out->failed) chat_no_memory(c);
  if (c->out->size > LONGEST_OUTPUT) chat_fail(c, "the output is too long");
  c->depth--;
}
