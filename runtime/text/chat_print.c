/* str(), repr() and JSON of the chat template interpreter's values. See runtime/text/chat.h. */
#include "runtime/core/utf8.h"
#include "runtime/text/chat.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEEPEST_VALUE = 200 };

/* The shortest digits that read back the same, as Python prints them. */
static void print_float(double d, Out *o, const char *nan, const char *inf) {
  if (isnan(d)) {
    out_puts(o, nan);
  } else if (isinf(d)) {
    out_puts(o, d < 0 ? "-" : "");
    out_puts(o, inf);
  } else {
    Json j = {.kind = JS_FLOAT, .u.number = d};
    out_json(o, &j);
  }
}

/* Python's quotes: single ones, unless the text holds those and no double ones. */
static void repr_string(const char *s, size_t n, Out *o) {
  char quote = memchr(s, '\'', n) && !memchr(s, '"', n) ? '"' : '\'';
  out_put(o, &quote, 1);
  for (size_t i = 0; i < n; i++) {
    unsigned char u = (unsigned char)s[i];
    if (s[i] == quote || s[i] == '\\')
      out_printf(o, "\\%c", s[i]);
    else if (s[i] == '\n')
      out_puts(o, "\\n");
    else if (s[i] == '\r')
      out_puts(o, "\\r");
    else if (s[i] == '\t')
      out_puts(o, "\\t");
    else if (u < 0x20 || u == 0x7f)
      out_printf(o, "\\x%02x", u);
    else
      out_put(o, &s[i], 1);
  }
  out_put(o, &quote, 1);
}

static void repr_list(Chat *c, const Val *v, Out *o) {
  bool tuple = v->kind == VK_TUPLE;
  out_puts(o, tuple ? "(" : "[");
  for (uint32_t i = 0; i < v->u.list->n; i++) {
    if (i) out_puts(o, ", ");
    val_repr(c, v->u.list->item[i], o);
  }
  out_puts(o, tuple ? v->u.list->n == 1 ? ",)" : ")" : "]");
}

static void repr_dict(Chat *c, const ValDict *d, Out *o) {
  out_puts(o, "{");
  for (uint32_t i = 0; i < d->n; i++) {
    if (i) out_puts(o, ", ");
    val_repr(c, d->item[i].key, o);
    out_puts(o, ": ");
    val_repr(c, d->item[i].value, o);
  }
  out_puts(o, "}");
}

static void print_scalar(Chat *c, const Val *v, Out *o) {
  switch (v->kind) {
  case VK_UNDEFINED: break;
  case VK_NONE: out_puts(o, "None"); break;
  case VK_BOOL: out_puts(o, v->u.boolean ? "True" : "False"); break;
  case VK_INT: out_printf(o, "%lld", (long long)v->u.integer); break;
  case VK_FLOAT: print_float(v->u.number, o, "nan", "inf"); break;
  case VK_NAMESPACE:
    out_puts(o, "<Namespace ");
    repr_dict(c, v->u.dict, o);
    out_puts(o, ">");
    break;
  default: chat_fail(c, "a %s cannot be printed", val_type_name(v));
  }
}

void val_repr(Chat *c, Val v, Out *o) {
  chat_step(c, 1);
  if (++c->depth > DEEPEST_VALUE) chat_fail(c, "a value is nested too deeply");
  if (v.kind == VK_UNDEFINED)
    out_puts(o, "Undefined");
  else if (v.kind == VK_STRING)
    repr_string(v.u.text, v.size, o);
  else if (v.kind == VK_LIST || v.kind == VK_TUPLE)
    repr_list(c, &v, o);
  else if (v.kind == VK_DICT)
    repr_dict(c, v.u.dict, o);
  else
    print_scalar(c, &v, o);
  c->depth--;
}

void val_print(Chat *c, Val v, Out *o) {
  if (v.kind == VK_UNDEFINED) return;
  if (v.kind == VK_STRING)
    out_put(o, v.u.text, v.size);
  else
    val_repr(c, v, o);
}

Val val_string(Chat *c, Val v) {
  if (v.kind == VK_STRING) return v;
  Out *o = chat_out(c);
  val_print(c, v, o);
  return chat_out_done(c, o);
}

/* ---- JSON, as Python's json.dumps(ensure_ascii=False) writes it ---- */

static void json_newline(Out *o, const char *indent, uint32_t level) {
  if (!indent) return;
  out_puts(o, "\n");
  for (uint32_t i = 0; i < level; i++) out_puts(o, indent);
}

/* Keys of a JSON object are strings; Python turns these kinds into them. */
static Val json_key(Chat *c, Val key) {
  if (key.kind == VK_NONE) return val_cstr("null");
  if (key.kind == VK_BOOL) return val_cstr(key.u.boolean ? "true" : "false");
  if (key.kind != VK_STRING && !val_is_number(&key))
    chat_fail(c, "keys must be str, int, float, bool or None, not %s", val_type_name(&key));
  return val_string(c, key);
}

static ValList *sorted_keys(Chat *c, const ValDict *d) {
  ValList *keys = chat_alloc(c, sizeof *keys);
  for (uint32_t i = 0; i < d->n; i++) {
    list_push(c, keys, d->item[i].key);
    for (uint32_t k = i; k && val_compare(c, keys->item[k], keys->item[k - 1]) < 0; k--) {
      Val swap = keys->item[k];
      keys->item[k] = keys->item[k - 1];
      keys->item[k - 1] = swap;
    }
  }
  return keys;
}

typedef struct JsonStyle {
  const char *indent, *comma, *colon;
  bool sort, ascii;
} JsonStyle;

/* With `ascii` whatever is beyond ASCII becomes \\u escapes, in pairs above the basic plane. */
static void json_string(Val s, Out *o, const JsonStyle *style) {
  Out plain = {0};
  if (!style->ascii) {
    out_json_string(o, s.u.text, s.size);
    return;
  }
  out_json_string(&plain, s.u.text, s.size);
  o->failed |= plain.failed;
  for (size_t at = 0, n; at < plain.size; at += n) {
    uint32_t code;
    n = utf8_step(plain.data + at, plain.size - at, &code);
    if (code >= 0x10000)
      out_printf(o, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
    else if (code >= 0x80)
      out_printf(o, "\\u%04x", code);
    else
      out_put(o, plain.data + at, n);
  }
  out_free(&plain);
}

static void json_value(Chat *c, Val v, Out *o, const JsonStyle *style, uint32_t level);

static void json_dict(Chat *c, const ValDict *d, Out *o, const JsonStyle *style, uint32_t level) {
  ValList *keys = style->sort ? sorted_keys(c, d) : NULL;
  out_puts(o, "{");
  for (uint32_t i = 0; i < d->n; i++) {
    Val key = keys ? keys->item[i] : d->item[i].key, value = d->item[i].value;
    if (keys) dict_get(c, d, key, &value);
    if (i) out_puts(o, style->comma);
    json_newline(o, style->indent, level + 1);
    json_string(json_key(c, key), o, style);
    out_puts(o, style->colon);
    json_value(c, value, o, style, level + 1);
  }
  if (d->n) json_newline(o, style->indent, level);
  out_puts(o, "}");
}

static void json_list(Chat *c, const ValList *l, Out *o, const JsonStyle *style, uint32_t level) {
  out_puts(o, "[");
  for (uint32_t i = 0; i < l->n; i++) {
    if (i) out_puts(o, style->comma);
    json_newline(o, style->indent, level + 1);
    json_value(c, l->item[i], o, style, level + 1);
  }
  if (l->n) json_newline(o, style->indent, level);
  out_puts(o, "]");
}

static void json_value(Chat *c, Val v, Out *o, const JsonStyle *style, uint32_t level) {
  chat_step(c, 1);
  if (level > DEEPEST_VALUE) chat_fail(c, "a value is nested too deeply");
  switch (v.kind) {
  case VK_NONE: out_puts(o, "null"); break;
  case VK_BOOL: out_puts(o, v.u.boolean ? "true" : "false"); break;
  case VK_FLOAT: print_float(v.u.number, o, "NaN", "Infinity"); break;
  case VK_STRING: json_string(v, o, style); break;
  case VK_LIST:
  case VK_TUPLE: json_list(c, v.u.list, o, style, level); break;
  case VK_DICT: json_dict(c, v.u.dict, o, style, level); break;
  case VK_INT: val_print(c, v, o); break;
  default: chat_fail(c, "Object of type %s is not JSON serializable", val_type_name(&v));
  }
}

void val_json(Chat *c, Val v, Out *o, const char *indent, const char *comma, const char *colon,
              bool sort_keys, bool ascii) {
  JsonStyle style = {indent, comma, colon, sort_keys, ascii};
  json_value(c, v, o, &style, 0);
}
