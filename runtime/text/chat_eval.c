/* Expressions of the chat template interpreter. See runtime/text/chat.h. */
#include "runtime/text/chat.h"

#include <stdio.h>
#include <string.h>

enum { DEEPEST = 800, LONGEST_RANGE = 100000 /* Jinja's sandbox */ };

bool name_is(const char *name, size_t n, const char *word) {
  return strlen(word) == n && memcmp(name, word, n) == 0;
}

Scope *scope_new(Chat *c, Scope *parent) {
  Scope *s = chat_alloc(c, sizeof *s);
  s->parent = parent;
  return s;
}

/* ---- names ---- */

static Val undefined_name(Chat *c, const char *name, size_t n) {
  Out *o = chat_out(c);
  out_printf(o, "'%.*s' is undefined", (int)n, name);
  Val message = chat_out_done(c, o);
  return val_undefined(message.u.text, message.size);
}

static Val undefined_item(Chat *c, const Val *object, Val key) {
  Out *o = chat_out(c);
  if (object->kind == VK_NONE)
    out_puts(o, "'None' has no attribute ");
  else
    out_printf(o, "'%s object' has no attribute ", val_type_name(object));
  val_repr(c, key, o);
  Val message = chat_out_done(c, o);
  return val_undefined(message.u.text, message.size);
}

static Val lookup(Chat *c, const char *name, size_t n) {
  static const char *const globals[] = {"raise_exception", "strftime_now", "range", "namespace",
                                        "dict"};
  Val v;
  for (const Scope *s = c->scope; s; s = s->parent) {
    if (dict_get(c, &s->names, val_text(name, n), &v)) return v;
  }
  for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
    if (name_is(name, n, globals[i])) return (Val){.kind = VK_FUNCTION, .u.integer = (int64_t)i};
  }
  return undefined_name(c, name, n);
}

/* ---- attributes and items ---- */

static bool item_at(Chat *c, const Val *object, Val key, Val *out) {
  if (object->kind == VK_DICT || object->kind == VK_NAMESPACE)
    return dict_get(c, object->u.dict, key, out);
  if (!val_is_int(&key)) return false;
  int64_t i = val_integer(&key), n;
  if ((object->kind != VK_LIST && object->kind != VK_TUPLE && object->kind != VK_STRING) ||
      !val_length(object, &n))
    return false;
  if (i < 0) i += n;
  if (i < 0 || i >= n) return false;
  if (object->kind != VK_STRING) {
    *out = object->u.list->item[i];
  } else {
    size_t at = utf8_offset(object->u.text, object->size, (size_t)i);
    *out = val_text(object->u.text + at, utf8_offset(object->u.text + at, object->size - at, 1));
  }
  return true;
}

static Val bound_method(Chat *c, Val object, const char *name, size_t n) {
  Method *m = chat_alloc(c, sizeof *m);
  *m = (Method){object, name, (uint32_t)n};
  return (Val){.kind = VK_METHOD, .u.method = m};
}

/* As Jinja's getattr: a method of the type first, then an item of that name. */
Val chat_getattr(Chat *c, Val object, const char *name, size_t n) {
  Val v;
  if (object.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)object.size, object.u.text);
  if (object.kind == VK_LOOP) return chat_loop_attr(c, object.u.loop, name, n);
  if (object.kind == VK_MACRO && name_is(name, n, "name")) {
    const ChatNode *macro = &c->node[object.u.macro->node->a];
    return val_text(c->text + macro->a, macro->b);
  }
  if (chat_has_method(&object, name, n)) return bound_method(c, object, name, n);
  if (item_at(c, &object, val_text(name, n), &v)) return v;
  return undefined_item(c, &object, val_text(name, n));
}

Val chat_getitem(Chat *c, Val object, Val key) {
  Val v;
  if (object.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)object.size, object.u.text);
  if (item_at(c, &object, key, &v)) return v;
  if (key.kind == VK_STRING && object.kind != VK_NAMESPACE &&
      chat_has_method(&object, key.u.text, key.size))
    return bound_method(c, object, key.u.text, key.size);
  if (key.kind == VK_STRING && object.kind == VK_LOOP)
    return chat_loop_attr(c, object.u.loop, key.u.text, key.size);
  return undefined_item(c, &object, key);
}

/* ---- calls ---- */

Val arg_get(Chat *c, CallArgs a, uint32_t i, const char *name, Val fallback) {
  Val v;
  if (i < a.n) return a.arg[i];
  if (a.named && dict_find(c, a.named, name, &v)) return v;
  return fallback;
}

int64_t arg_int(Chat *c, CallArgs a, uint32_t i, const char *name, int64_t fallback) {
  Val v = arg_get(c, a, i, name, val_int(fallback));
  if (!val_is_int(&v)) chat_fail(c, "an integer is required, not %s", val_type_name(&v));
  return val_integer(&v);
}

bool arg_flag(Chat *c, CallArgs a, uint32_t i, const char *name, bool fallback) {
  Val v = arg_get(c, a, i, name, val_bool(fallback));
  return val_truth(&v);
}

static CallArgs eval_args(Chat *c, const ChatNode *call) {
  ValList *values = chat_alloc(c, sizeof *values);
  ValDict *named = NULL;
  for (uint32_t i = 0; i < call->c; i++) {
    uint32_t id = c->list[call->b + i];
    const ChatNode *n = &c->node[id];
    if (n->kind != CN_kwarg) {
      list_push(c, values, chat_eval(c, id));
      continue;
    }
    if (!named) named = chat_alloc(c, sizeof *named);
    dict_set(c, named, val_text(c->text + n->a, n->b), chat_eval(c, n->c));
  }
  return (CallArgs){.arg = values->item, .n = values->n, .named = named};
}

static int64_t int_arg(Chat *c, Val v) {
  if (!val_is_int(&v))
    chat_fail(c, "'%s' object cannot be interpreted as an integer", val_type_name(&v));
  return val_integer(&v);
}

static Val call_range(Chat *c, CallArgs a) {
  if (a.n < 1 || a.n > 3) chat_fail(c, "range expected 1 to 3 arguments, got %u", a.n);
  int64_t start = a.n > 1 ? int_arg(c, a.arg[0]) : 0, stop = int_arg(c, a.arg[a.n > 1]);
  int64_t step = a.n > 2 ? int_arg(c, a.arg[2]) : 1;
  if (!step) chat_fail(c, "range() arg 3 must not be zero");
  Val v = val_list(c, VK_LIST);
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (v.u.list->n >= LONGEST_RANGE)
      chat_fail(c, "Range too big. The sandbox blocks ranges larger than 100000.");
    list_push(c, v.u.list, val_int(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return v;
}

static Val call_dict(Chat *c, CallArgs a, ValKind kind) {
  Val v = val_dict(c, kind);
  for (uint32_t i = 0; i < a.n; i++) {
    if (a.arg[i].kind != VK_DICT)
      chat_fail(c, "'%s' object is not a mapping", val_type_name(&a.arg[i]));
    const ValDict *d = a.arg[i].u.dict;
    for (uint32_t k = 0; k < d->n; k++) dict_set(c, v.u.dict, d->item[k].key, d->item[k].value);
  }
  for (uint32_t k = 0; a.named && k < a.named->n; k++)
    dict_set(c, v.u.dict, a.named->item[k].key, a.named->item[k].value);
  return v;
}

static Val call_global(Chat *c, ChatGlobal which, CallArgs a) {
  Val first = arg_get(c, a, 0, which == CG_raise_exception ? "message" : "format", val_cstr(""));
  switch (which) {
  case CG_raise_exception: {
    Val message = val_string(c, first);
    chat_fail(c, "%.*s", (int)message.size, message.u.text);
  }
  case CG_strftime_now: return chat_strftime(c, first);
  case CG_range: return call_range(c, a);
  case CG_namespace: return call_dict(c, a, VK_NAMESPACE);
  case CG_dict: break;
  }
  return call_dict(c, a, VK_DICT);
}

Val chat_call(Chat *c, Val callee, CallArgs args) {
  switch (callee.kind) {
  case VK_FUNCTION: return call_global(c, (ChatGlobal)callee.u.integer, args);
  case VK_METHOD: return chat_method(c, callee.u.method, args);
  case VK_MACRO: return chat_call_macro(c, callee.u.macro, args);
  case VK_LOOP: return chat_call_loop(c, callee.u.loop, args);
  case VK_UNDEFINED: chat_fail(c, "%.*s", (int)callee.size, callee.u.text);
  default: chat_fail(c, "'%s' object is not callable", val_type_name(&callee));
  }
}

/* ---- nodes ---- */

static Val eval_list(Chat *c, const ChatNode *n, ValKind kind) {
  Val v = val_list(c, kind);
  for (uint32_t i = 0; i < n->c; i++) list_push(c, v.u.list, chat_eval(c, c->list[n->b + i]));
  return v;
}

static Val eval_dict(Chat *c, const ChatNode *n) {
  Val v = val_dict(c, VK_DICT);
  for (uint32_t i = 0; i + 1 < n->c; i += 2) {
    Val key = chat_eval(c, c->list[n->b + i]);
    dict_set(c, v.u.dict, key, chat_eval(c, c->list[n->b + i + 1]));
  }
  return v;
}

static Val eval_concat(Chat *c, const ChatNode *n) {
  Val parts = eval_list(c, n, VK_LIST);
  for (uint32_t i = 0; i < parts.u.list->n; i++)
    parts.u.list->item[i] = val_string(c, parts.u.list->item[i]);
  return str_join(c, val_cstr(""), parts.u.list);
}

/* a < b < c, with each operand evaluated once. */
static Val eval_compare(Chat *c, const ChatNode *n) {
  Val left = chat_eval(c, n->a), result = val_bool(true);
  for (uint32_t i = 0; i < n->c; i++) {
    const ChatNode *operand = &c->node[c->list[n->b + i]];
    Val right = chat_eval(c, operand->a);
    result = chat_compare(c, (ChatCompare)operand->sub, left, right);
    if (!val_truth(&result)) return result;
    left = right;
  }
  return result;
}

static Val eval_sign(Chat *c, const ChatNode *n) {
  Val v = chat_eval(c, n->a);
  if (v.kind == VK_FLOAT) return val_float(n->kind == CN_negative ? -v.u.number : v.u.number);
  if (v.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)v.size, v.u.text);
  if (!val_is_int(&v)) chat_fail(c, "bad operand type for unary -: '%s'", val_type_name(&v));
  return n->kind == CN_negative ? chat_binary(c, CB_sub, val_int(0), v) : val_int(val_integer(&v));
}

static Val eval_slice(Chat *c, const ChatNode *n) {
  Val object = chat_eval(c, n->a), part[3];
  for (uint32_t i = 0; i < 3; i++) {
    uint32_t id = i < n->c ? c->list[n->b + i] : 0;
    part[i] = id ? chat_eval(c, id) : val_none();
  }
  return chat_slice(c, object, part[0], part[1], part[2]);
}

static Val eval_number(const ChatNode *n) {
  uint64_t bits = n->a | (uint64_t)n->b << 32;
  double d;
  memcpy(&d, &bits, sizeof d);
  return n->kind == CN_int ? val_int((int64_t)bits) : val_float(d);
}

static Val eval_node(Chat *c, const ChatNode *n) {
  Val v;
  switch ((ChatKind)n->kind) {
  case CN_string: return val_text(c->text + n->a, n->b);
  case CN_int:
  case CN_float: return eval_number(n);
  case CN_true: return val_bool(true);
  case CN_false: return val_bool(false);
  case CN_null: return val_none();
  case CN_name: return lookup(c, c->text + n->a, n->b);
  case CN_getattr: return chat_getattr(c, chat_eval(c, n->c), c->text + n->a, n->b);
  case CN_getitem: v = chat_eval(c, n->a); return chat_getitem(c, v, chat_eval(c, n->b));
  case CN_slice: return eval_slice(c, n);
  case CN_call: v = chat_eval(c, n->a); return chat_call(c, v, eval_args(c, n));
  case CN_filter:
    v = chat_eval(c, n->a);
    return chat_filter(c, (ChatFilter)n->sub, v, eval_args(c, n));
  case CN_test:
    v = chat_eval(c, n->a);
    return val_bool(chat_test(c, (ChatTest)n->sub, v, eval_args(c, n)));
  case CN_unknown:
    chat_fail(c, "No %s named '%.*s'.", n->c ? "filter" : "test", (int)n->b, c->text + n->a);
  case CN_not: v = chat_eval(c, n->a); return val_bool(!val_truth(&v));
  case CN_negative:
  case CN_positive: return eval_sign(c, n);
  case CN_binary:
    v = chat_eval(c, n->a);
    return chat_binary(c, (ChatBinary)n->sub, v, chat_eval(c, n->b));
  case CN_and: v = chat_eval(c, n->a); return val_truth(&v) ? chat_eval(c, n->b) : v;
  case CN_or: v = chat_eval(c, n->a); return val_truth(&v) ? v : chat_eval(c, n->b);
  case CN_concat: return eval_concat(c, n);
  case CN_compare: return eval_compare(c, n);
  case CN_conditional:
    v = chat_eval(c, n->a);
    if (val_truth(&v)) return chat_eval(c, n->b);
    return n->c ? chat_eval(c, n->c)
                : val_undefined("the inline if-expression has no else section", 44);
  case CN_list: return eval_list(c, n, VK_LIST);
  case CN_tuple: return eval_list(c, n, VK_TUPLE);
  case CN_dict: return eval_dict(c, n);
  default: chat_fail(c, "the template's code is damaged");
  }
}

Val chat_eval(Chat *c, uint32_t node) {
  chat_step(c, 1);
  if (++c->depth > DEEPEST) chat_fail(c, "maximum recursion depth exceeded");
  Val v = eval_node(c, &c->node[node]);
  c->depth--;
  return v;
}

Val chat_filters_on(Chat *c, uint32_t chain, Val value) {
  if (!chain) return value;
  const ChatNode *n = &c->node[chain];
  if (n->kind != CN_filter) return chat_eval(c, chain);
  value = chat_filters_on(c, n->a, value);
  return chat_filter(c, (ChatFilter)n->sub, value, eval_args(c, n));
}
