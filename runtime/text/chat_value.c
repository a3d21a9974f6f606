/* Values of the chat template interpreter: making, reading, comparing. See runtime/text/chat.h. */
#include "runtime/text/chat.h"
#include "runtime/text/text.h"

#include <math.h>
#include <string.h>

void *chat_alloc(Chat *c, size_t n) {
  void *p = json_pool_alloc(c->pool, n);
  if (!p) chat_no_memory(c);
  return p;
}

Val val_none(void) {
  return (Val){.kind = VK_NONE};
}

Val val_bool(bool b) {
  return (Val){.kind = VK_BOOL, .u.boolean = b};
}

Val val_int(int64_t i) {
  return (Val){.kind = VK_INT, .u.integer = i};
}

Val val_float(double d) {
  return (Val){.kind = VK_FLOAT, .u.number = d};
}

Val val_text(const char *text, size_t n) {
  return (Val){.kind = VK_STRING, .size = (uint32_t)n, .u.text = text};
}

Val val_cstr(const char *text) {
  return val_text(text, strlen(text));
}

Val val_copy(Chat *c, const char *text, size_t n) {
  if (n > UINT32_MAX / 2) chat_fail(c, "a string is too long");
  char *copy = chat_alloc(c, n + 1);
  if (n) memcpy(copy, text, n);
  return val_text(copy, n);
}

Val val_undefined(const char *message, size_t n) {
  return (Val){.kind = VK_UNDEFINED, .size = (uint32_t)n, .u.text = message};
}

Val val_list(Chat *c, ValKind kind) {
  return (Val){.kind = kind, .u.list = chat_alloc(c, sizeof(ValList))};
}

Val val_dict(Chat *c, ValKind kind) {
  return (Val){.kind = kind, .u.dict = chat_alloc(c, sizeof(ValDict))};
}

/* Room for one more item of `size` bytes in a pool array. */
static void *grown(Chat *c, void *items, uint32_t n, uint32_t *cap, size_t size) {
  if (n < *cap) return items;
  if (*cap > (1u << 26)) chat_fail(c, "a list is too long");
  uint32_t wider = *cap ? 2 * *cap : 4;
  void *fresh = chat_alloc(c, (size_t)wider * size);
  if (n) memcpy(fresh, items, (size_t)n * size);
  *cap = wider;
  return fresh;
}

void list_push(Chat *c, ValList *l, Val v) {
  chat_step(c, 1);
  l->item = grown(c, l->item, l->n, &l->cap, sizeof *l->item);
  l->item[l->n++] = v;
}

/* Dicts are small: found by going through them, which the step limit bounds. */
static uint32_t dict_index(Chat *c, const ValDict *d, Val key) {
  chat_step(c, d->n / 16 + 1);
  for (uint32_t i = 0; i < d->n; i++) {
    if (val_equal(c, d->item[i].key, key)) return i;
  }
  return d->n;
}

void dict_set(Chat *c, ValDict *d, Val key, Val value) {
  uint32_t i = dict_index(c, d, key);
  if (i == d->n) {
    if (key.kind == VK_LIST || key.kind == VK_DICT)
      chat_fail(c, "unhashable type: '%s'", val_type_name(&key));
    d->item = grown(c, d->item, d->n, &d->cap, sizeof *d->item);
    d->item[d->n++].key = key;
  }
  d->item[i].value = value;
}

bool dict_get(Chat *c, const ValDict *d, Val key, Val *out) {
  uint32_t i = dict_index(c, d, key);
  if (i == d->n) return false;
  *out = d->item[i].value;
  return true;
}

bool dict_find(Chat *c, const ValDict *d, const char *key, Val *out) {
  return dict_get(c, d, val_cstr(key), out);
}

Val val_of_json(Chat *c, const Json *j) {
  Val v;
  switch (j->kind) {
  case JS_NULL: return val_none();
  case JS_BOOL: return val_bool(j->u.boolean);
  case JS_INT: return val_int(j->u.integer);
  case JS_FLOAT: return val_float(j->u.number);
  case JS_STRING: return val_text(j->u.string.data, j->u.string.size);
  case JS_ARRAY:
    v = val_list(c, VK_LIST);
    for (size_t i = 0; i < j->u.array.n; i++)
      list_push(c, v.u.list, val_of_json(c, j->u.array.item[i]));
    return v;
  case JS_OBJECT: break;
  }
  v = val_dict(c, VK_DICT);
  ValDict *d = v.u.dict; /* keys are distinct already: no search */
  for (size_t i = 0; i < j->u.object.n; i++) {
    chat_step(c, 1);
    d->item = grown(c, d->item, d->n, &d->cap, sizeof *d->item);
    d->item[d->n].key = val_of_json(c, j->u.object.item[i].key);
    d->item[d->n++].value = val_of_json(c, j->u.object.item[i].value);
  }
  return v;
}

Out *chat_out(Chat *c) {
  if (c->nopen == MOST_OPEN) chat_fail(c, "maximum recursion depth exceeded");
  return &c->open[c->nopen++];
}

Val chat_out_done(Chat *c, Out *o) {
  if (o->failed) chat_no_memory(c);
  Val v = val_copy(c, o->data, o->size);
  out_free(o);
  *o = (Out){0};
  c->nopen--;
  return v;
}

const char *val_type_name(const Val *v) {
  static const char *const names[] = {"Undefined", "NoneType",    "bool",  "int",      "float",
                                      "str",       "list",        "tuple", "dict",     "generator",
                                      "Namespace", "LoopContext", "Macro", "function", "method"};
  return names[v->kind];
}

bool val_truth(const Val *v) {
  switch (v->kind) {
  case VK_UNDEFINED:
  case VK_NONE: return false;
  case VK_BOOL: return v->u.boolean;
  case VK_INT: return v->u.integer != 0;
  case VK_FLOAT: return v->u.number != 0;
  case VK_STRING: return v->size != 0;
  case VK_LIST:
  case VK_TUPLE: return v->u.list->n != 0;
  case VK_DICT: return v->u.dict->n != 0;
  default: return true;
  }
}

bool val_is_number(const Val *v) {
  return v->kind == VK_INT || v->kind == VK_FLOAT || v->kind == VK_BOOL;
}

bool val_is_int(const Val *v) {
  return v->kind == VK_INT || v->kind == VK_BOOL;
}

int64_t val_integer(const Val *v) {
  return v->kind == VK_BOOL ? v->u.boolean : v->u.integer;
}

double val_number(const Val *v) {
  return v->kind == VK_FLOAT ? v->u.number : (double)val_integer(v);
}

bool val_is(const Val *v, const char *text) {
  return v->kind == VK_STRING && name_is(v->u.text, v->size, text);
}

static bool equal_lists(Chat *c, const ValList *a, const ValList *b) {
  if (a->n != b->n) return false;
  for (uint32_t i = 0; i < a->n; i++) {
    if (!val_equal(c, a->item[i], b->item[i])) return false;
  }
  return true;
}

static bool equal_dicts(Chat *c, const ValDict *a, const ValDict *b) {
  if (a->n != b->n) return false;
  for (uint32_t i = 0; i < a->n; i++) {
    Val other;
    if (!dict_get(c, b, a->item[i].key, &other) || !val_equal(c, a->item[i].value, other))
      return false;
  }
  return true;
}

bool val_equal(Chat *c, Val a, Val b) {
  chat_step(c, 1);
  if (val_is_number(&a) && val_is_number(&b)) {
    if (val_is_int(&a) && val_is_int(&b)) return val_integer(&a) == val_integer(&b);
    return val_number(&a) == val_number(&b);
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
  case VK_UNDEFINED:
  case VK_NONE: return true;
  case VK_STRING: return a.size == b.size && memcmp(a.u.text, b.u.text, a.size) == 0;
  case VK_LIST:
  case VK_TUPLE: return a.u.list == b.u.list || equal_lists(c, a.u.list, b.u.list);
  case VK_DICT: return a.u.dict == b.u.dict || equal_dicts(c, a.u.dict, b.u.dict);
  default: return a.u.integer == b.u.integer;
  }
}

/* UTF-8 keeps the order of code points, so bytes can be compared. */
static int compare_strings(const Val *a, const Val *b) {
  uint32_t n = a->size < b->size ? a->size : b->size;
  int order = n ? memcmp(a->u.text, b->u.text, n) : 0;
  return order ? order : (a->size > b->size) - (a->size < b->size);
}

int val_compare(Chat *c, Val a, Val b) {
  chat_step(c, 1);
  if (val_is_int(&a) && val_is_int(&b)) {
    int64_t x = val_integer(&a), y = val_integer(&b);
    return (x > y) - (x < y);
  }
  if (val_is_number(&a) && val_is_number(&b)) {
    double x = val_number(&a), y = val_number(&b);
    return (x > y) - (x < y);
  }
  if (a.kind == VK_STRING && b.kind == VK_STRING) return compare_strings(&a, &b);
  if (a.kind == b.kind && (a.kind == VK_LIST || a.kind == VK_TUPLE)) {
    const ValList *x = a.u.list, *y = b.u.list;
    for (uint32_t i = 0; i < x->n && i < y->n; i++) {
      if (!val_equal(c, x->item[i], y->item[i])) return val_compare(c, x->item[i], y->item[i]);
    }
    return (x->n > y->n) - (x->n < y->n);
  }
  if (a.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)a.size, a.u.text);
  if (b.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)b.size, b.u.text);
  chat_fail(c, "'<' not supported between instances of '%s' and '%s'", val_type_name(&a),
            val_type_name(&b));
}

bool val_contains(Chat *c, Val container, Val item) {
  if (container.kind == VK_STRING) {
    if (item.kind != VK_STRING)
      chat_fail(c, "'in <string>' requires string as left operand, not %s", val_type_name(&item));
    chat_step(c, container.size / 16 + 1);
    return !item.size || memmem(container.u.text, container.size, item.u.text, item.size);
  }
  if (container.kind == VK_DICT) {
    Val ignored;
    return dict_get(c, container.u.dict, item, &ignored);
  }
  if (container.kind == VK_UNDEFINED) return false;
  if (container.kind != VK_LIST && container.kind != VK_TUPLE && container.kind != VK_GENERATOR)
    chat_fail(c, "argument of type '%s' is not iterable", val_type_name(&container));
  for (uint32_t i = 0; i < container.u.list->n; i++) {
    if (val_equal(c, container.u.list->item[i], item)) return true;
  }
  return false;
}

bool val_length(const Val *v, int64_t *out) {
  switch (v->kind) {
  case VK_UNDEFINED: *out = 0; return true;
  case VK_STRING: *out = (int64_t)utf8_length(v->u.text, v->size); return true;
  case VK_LIST:
  case VK_TUPLE: *out = v->u.list->n; return true;
  case VK_DICT: *out = v->u.dict->n; return true;
  case VK_LOOP: *out = v->u.loop->items->n; return true;
  default: return false;
  }
}

ValList *val_items(Chat *c, Val v) {
  if (v.kind == VK_LIST || v.kind == VK_TUPLE || v.kind == VK_GENERATOR) return v.u.list;
  ValList *items = chat_alloc(c, sizeof *items);
  if (v.kind == VK_DICT) {
    for (uint32_t i = 0; i < v.u.dict->n; i++) list_push(c, items, v.u.dict->item[i].key);
  } else if (v.kind == VK_STRING) {
    for (size_t at = 0; at < v.size;) {
      size_t n = utf8_offset(v.u.text + at, v.size - at, 1);
      list_push(c, items, val_text(v.u.text + at, n));
      at += n;
    }
  } else if (v.kind != VK_UNDEFINED) {
    chat_fail(c, "'%s' object is not iterable", val_type_name(&v));
  }
  return items;
}
