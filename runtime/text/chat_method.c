/* Methods of Python's str, dict and list that templates may call, one row each.
 * See runtime/text/chat.h. What would change a value is refused, as in Jinja's immutable sandbox.
 */
#include "runtime/text/chat.h"

#include <string.h>

typedef Val MethodFn(Chat *c, Val self, CallArgs a);

static Val want_string(Chat *c, Val v) {
  if (v.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)v.size, v.u.text);
  if (v.kind != VK_STRING) chat_fail(c, "must be str, not %s", val_type_name(&v));
  return v;
}

static Val string_arg(Chat *c, CallArgs a, uint32_t i, const char *name) {
  Val v = arg_get(c, a, i, name, val_none());
  if (v.kind == VK_NONE) chat_fail(c, "a string argument is missing");
  return want_string(c, v);
}

/* ---- str ---- */

static Val strip(Chat *c, Val s, CallArgs a, bool left, bool right) {
  Val set = arg_get(c, a, 0, "chars", val_none());
  if (set.kind == VK_NONE) return str_strip(s, NULL, 0, left, right);
  set = want_string(c, set);
  return str_strip(s, set.u.text, set.size, left, right);
}

static Val str_m_strip(Chat *c, Val s, CallArgs a) {
  return strip(c, s, a, true, true);
}

static Val str_m_lstrip(Chat *c, Val s, CallArgs a) {
  return strip(c, s, a, true, false);
}

static Val str_m_rstrip(Chat *c, Val s, CallArgs a) {
  return strip(c, s, a, false, true);
}

static bool has_affix(const Val *s, const Val *affix, bool front) {
  if (affix->kind != VK_STRING || affix->size > s->size) return false;
  return memcmp(s->u.text + (front ? 0 : s->size - affix->size), affix->u.text, affix->size) == 0;
}

static Val affix_test(Chat *c, Val s, CallArgs a, bool front) {
  Val v = arg_get(c, a, 0, "prefix", val_none());
  if (v.kind != VK_TUPLE) {
    v = want_string(c, v);
    return val_bool(has_affix(&s, &v, front));
  }
  bool any = false;
  for (uint32_t i = 0; i < v.u.list->n; i++) any |= has_affix(&s, &v.u.list->item[i], front);
  return val_bool(any);
}

static Val str_m_startswith(Chat *c, Val s, CallArgs a) {
  return affix_test(c, s, a, true);
}

static Val str_m_endswith(Chat *c, Val s, CallArgs a) {
  return affix_test(c, s, a, false);
}

static Val str_m_removeprefix(Chat *c, Val s, CallArgs a) {
  Val p = string_arg(c, a, 0, "prefix");
  return has_affix(&s, &p, true) ? val_text(s.u.text + p.size, s.size - p.size) : s;
}

static Val str_m_removesuffix(Chat *c, Val s, CallArgs a) {
  Val p = string_arg(c, a, 0, "suffix");
  return has_affix(&s, &p, false) ? val_text(s.u.text, s.size - p.size) : s;
}

static Val str_m_upper(Chat *c, Val s, CallArgs a) {
  (void)a;
  return str_case(c, s, 'u');
}

static Val str_m_lower(Chat *c, Val s, CallArgs a) {
  (void)a;
  return str_case(c, s, 'l');
}

static Val str_m_title(Chat *c, Val s, CallArgs a) {
  (void)a;
  return str_case(c, s, 't');
}

static Val str_m_capitalize(Chat *c, Val s, CallArgs a) {
  (void)a;
  return str_case(c, s, 'c');
}

static Val str_m_replace(Chat *c, Val s, CallArgs a) {
  Val from = string_arg(c, a, 0, "old"), to = string_arg(c, a, 1, "new");
  return str_replace(c, s, from, to, arg_int(c, a, 2, "count", -1));
}

static Val str_m_join(Chat *c, Val s, CallArgs a) {
  ValList *items = val_items(c, arg_get(c, a, 0, "iterable", val_none()));
  for (uint32_t i = 0; i < items->n; i++) want_string(c, items->item[i]);
  return str_join(c, s, items);
}

static Val str_m_format(Chat *c, Val s, CallArgs a) {
  return chat_brace_format(c, s, a);
}

/* Pieces between runs of white space; the rest stays whole after `most` cuts. */
static Val split_white(Chat *c, Val s, int64_t most) {
  Val list = val_list(c, VK_LIST);
  s = str_strip(s, NULL, 0, true, most < 0);
  while (s.size) {
    size_t n = 0;
    while (n < s.size && str_strip(val_text(s.u.text + n, utf8_offset(s.u.text + n, s.size - n, 1)),
                                   NULL, 0, true, true)
                             .size)
      n += utf8_offset(s.u.text + n, s.size - n, 1);
    if (most >= 0 && list.u.list->n == most) n = s.size;
    list_push(c, list.u.list, val_text(s.u.text, n));
    s = str_strip(val_text(s.u.text + n, s.size - n), NULL, 0, true, false);
  }
  return list;
}

static Val str_m_split(Chat *c, Val s, CallArgs a) {
  Val by = arg_get(c, a, 0, "sep", val_none());
  int64_t most = arg_int(c, a, 1, "maxsplit", -1);
  if (by.kind == VK_NONE) return split_white(c, s, most);
  by = want_string(c, by);
  if (!by.size) chat_fail(c, "empty separator");
  Val list = val_list(c, VK_LIST);
  for (;;) {
    const char *hit =
        most < 0 || list.u.list->n < most ? memmem(s.u.text, s.size, by.u.text, by.size) : NULL;
    size_t n = hit ? (size_t)(hit - s.u.text) : s.size;
    list_push(c, list.u.list, val_text(s.u.text, n));
    if (!hit) return list;
    s = val_text(hit + by.size, s.size - n - by.size);
  }
}

static int64_t find_last(const Val *s, const Val *what) {
  for (int64_t i = (int64_t)s->size - what->size; i >= 0; i--) {
    if (memcmp(s->u.text + i, what->u.text, what->size) == 0) return i;
  }
  return -1;
}

static Val str_m_rsplit(Chat *c, Val s, CallArgs a) {
  Val by = arg_get(c, a, 0, "sep", val_none());
  int64_t most = arg_int(c, a, 1, "maxsplit", -1), at;
  if (most < 0) return str_m_split(c, s, a);
  by = want_string(c, by);
  if (!by.size) chat_fail(c, "empty separator");
  Val backward = val_list(c, VK_LIST), list = val_list(c, VK_LIST);
  while (backward.u.list->n < most && (at = find_last(&s, &by)) >= 0) {
    list_push(c, backward.u.list, val_text(s.u.text + at + by.size, s.size - (size_t)at - by.size));
    s = val_text(s.u.text, (size_t)at);
  }
  list_push(c, list.u.list, s);
  for (uint32_t i = backward.u.list->n; i-- > 0;)
    list_push(c, list.u.list, backward.u.list->item[i]);
  return list;
}

static Val partition(Chat *c, Val s, CallArgs a, bool last) {
  Val by = string_arg(c, a, 0, "sep"), t = val_list(c, VK_TUPLE), none = val_cstr("");
  if (!by.size) chat_fail(c, "empty separator");
  const char *hit = memmem(s.u.text, s.size, by.u.text, by.size);
  int64_t at = last ? find_last(&s, &by) : hit ? hit - s.u.text : -1;
  if (at < 0) {
    list_push(c, t.u.list, last ? none : s);
    list_push(c, t.u.list, none);
    list_push(c, t.u.list, last ? s : none);
  } else {
    list_push(c, t.u.list, val_text(s.u.text, (size_t)at));
    list_push(c, t.u.list, by);
    list_push(c, t.u.list, val_text(s.u.text + at + by.size, s.size - (size_t)at - by.size));
  }
  return t;
}

static Val str_m_partition(Chat *c, Val s, CallArgs a) {
  return partition(c, s, a, false);
}

static Val str_m_rpartition(Chat *c, Val s, CallArgs a) {
  return partition(c, s, a, true);
}

static Val str_m_splitlines(Chat *c, Val s, CallArgs a) {
  Val list = val_list(c, VK_LIST), keep = arg_get(c, a, 0, "keepends", val_bool(false));
  while (s.size) {
    size_t n = 0, end;
    while (n < s.size && s.u.text[n] != '\n' && s.u.text[n] != '\r') n++;
    end = n + (n < s.size) + (n + 1 < s.size && s.u.text[n] == '\r' && s.u.text[n + 1] == '\n');
    list_push(c, list.u.list, val_text(s.u.text, val_truth(&keep) ? end : n));
    s = val_text(s.u.text + end, s.size - end);
  }
  return list;
}

static int64_t find_in(Chat *c, Val s, CallArgs a, bool last) {
  Val what = string_arg(c, a, 0, "sub");
  const char *hit = memmem(s.u.text, s.size, what.u.text, what.size);
  int64_t at = last ? find_last(&s, &what) : what.size == 0 ? 0 : hit ? hit - s.u.text : -1;
  return at < 0 ? -1 : (int64_t)utf8_length(s.u.text, (size_t)at);
}

static Val str_m_find(Chat *c, Val s, CallArgs a) {
  return val_int(find_in(c, s, a, false));
}

static Val str_m_rfind(Chat *c, Val s, CallArgs a) {
  return val_int(find_in(c, s, a, true));
}

static Val str_m_index(Chat *c, Val s, CallArgs a) {
  int64_t at = find_in(c, s, a, false);
  if (at < 0) chat_fail(c, "substring not found");
  return val_int(at);
}

static Val str_m_count(Chat *c, Val s, CallArgs a) {
  Val what = string_arg(c, a, 0, "sub");
  int64_t n = 0;
  if (!what.size) return val_int((int64_t)utf8_length(s.u.text, s.size) + 1);
  for (const char *p = s.u.text, *end = p + s.size;
       (p = memmem(p, (size_t)(end - p), what.u.text, what.size)); n++)
    p += what.size;
  return val_int(n);
}

static bool every(const Val *s, bool (*is)(unsigned char)) {
  bool all = s->size > 0;
  for (uint32_t i = 0; i < s->size; i++) all &= is((unsigned char)s->u.text[i]);
  return all;
}

static bool is_digit(unsigned char u) {
  return u >= '0' && u <= '9';
}

/* Every letter beyond ASCII counts as one. */
static bool is_letter(unsigned char u) {
  return (u | 32) >= 'a' && ((u | 32) <= 'z' || u >= 0x80);
}

static bool is_alnum(unsigned char u) {
  return is_digit(u) || is_letter(u);
}

static Val str_m_isdigit(Chat *c, Val s, CallArgs a) {
  (void)c, (void)a;
  return val_bool(every(&s, is_digit));
}

static Val str_m_isalpha(Chat *c, Val s, CallArgs a) {
  (void)c, (void)a;
  return val_bool(every(&s, is_letter));
}

static Val str_m_isalnum(Chat *c, Val s, CallArgs a) {
  (void)c, (void)a;
  return val_bool(every(&s, is_alnum));
}

static Val str_m_isspace(Chat *c, Val s, CallArgs a) {
  (void)c, (void)a;
  return val_bool(s.size && !str_strip(s, NULL, 0, true, true).size);
}

static Val str_m_isupper(Chat *c, Val s, CallArgs a) {
  return val_bool(chat_test(c, CT_upper, s, a));
}

static Val str_m_islower(Chat *c, Val s, CallArgs a) {
  return val_bool(chat_test(c, CT_lower, s, a));
}

/* ---- dict ---- */

static Val dict_m_get(Chat *c, Val d, CallArgs a) {
  Val v;
  if (dict_get(c, d.u.dict, arg_get(c, a, 0, "key", val_none()), &v)) return v;
  return arg_get(c, a, 1, "default", val_none());
}

static Val dict_m_keys(Chat *c, Val d, CallArgs a) {
  (void)a;
  return (Val){.kind = VK_LIST, .u.list = val_items(c, d)};
}

static Val dict_m_values(Chat *c, Val d, CallArgs a) {
  Val list = val_list(c, VK_LIST);
  (void)a;
  for (uint32_t i = 0; i < d.u.dict->n; i++) list_push(c, list.u.list, d.u.dict->item[i].value);
  return list;
}

static Val dict_m_items(Chat *c, Val d, CallArgs a) {
  return chat_filter(c, CF_items, d, a);
}

static Val dict_m_copy(Chat *c, Val d, CallArgs a) {
  Val copy = val_dict(c, VK_DICT);
  (void)a;
  for (uint32_t i = 0; i < d.u.dict->n; i++)
    dict_set(c, copy.u.dict, d.u.dict->item[i].key, d.u.dict->item[i].value);
  return copy;
}

/* ---- list ---- */

static Val list_m_index(Chat *c, Val l, CallArgs a) {
  Val what = arg_get(c, a, 0, "value", val_none());
  for (uint32_t i = 0; i < l.u.list->n; i++) {
    if (val_equal(c, l.u.list->item[i], what)) return val_int(i);
  }
  chat_fail(c, "the value is not in the list");
}

static Val list_m_count(Chat *c, Val l, CallArgs a) {
  Val what = arg_get(c, a, 0, "value", val_none());
  int64_t n = 0;
  for (uint32_t i = 0; i < l.u.list->n; i++) n += val_equal(c, l.u.list->item[i], what);
  return val_int(n);
}

static Val refused(Chat *c, Val v, CallArgs a) {
  (void)a;
  chat_fail(c, "a template may not change a %s", val_type_name(&v));
}

typedef struct MethodRow {
  ValKind kind;
  const char *name;
  MethodFn *fn;
} MethodRow;

#define STR(name) {VK_STRING, #name, str_m_##name}
#define DICT(name) {VK_DICT, #name, dict_m_##name}
static const MethodRow rows[] = {
    STR(strip),
    STR(lstrip),
    STR(rstrip),
    STR(startswith),
    STR(endswith),
    STR(removeprefix),
    STR(removesuffix),
    STR(upper),
    STR(lower),
    STR(title),
    STR(capitalize),
    STR(replace),
    STR(join),
    STR(format),
    STR(split),
    STR(rsplit),
    STR(partition),
    STR(rpartition),
    STR(splitlines),
    STR(find),
    STR(rfind),
    STR(index),
    STR(count),
    STR(isdigit),
    STR(isalpha),
    STR(isalnum),
    STR(isspace),
    STR(isupper),
    STR(islower),
    DICT(get),
    DICT(keys),
    DICT(values),
    DICT(items),
    DICT(copy),
    {VK_DICT, "update", refused},
    {VK_DICT, "pop", refused},
    {VK_DICT, "clear", refused},
    {VK_DICT, "setdefault", refused},
    {VK_DICT, "popitem", refused},
    {VK_LIST, "index", list_m_index},
    {VK_LIST, "count", list_m_count},
    {VK_TUPLE, "index", list_m_index},
    {VK_TUPLE, "count", list_m_count},
    {VK_LIST, "append", refused},
    {VK_LIST, "extend", refused},
    {VK_LIST, "insert", refused},
    {VK_LIST, "pop", refused},
    {VK_LIST, "remove", refused},
    {VK_LIST, "clear", refused},
    {VK_LIST, "sort", refused},
    {VK_LIST, "reverse", refused},
};

static const MethodRow *find_row(ValKind kind, const char *name, size_t n) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].kind == kind && name_is(name, n, rows[i].name)) return &rows[i];
  }
  return NULL;
}

bool chat_has_method(const Val *object, const char *name, size_t n) {
  return find_row(object->kind, name, n) != NULL;
}

static Val loop_method(Chat *c, Loop *l, const Method *m, CallArgs a) {
  if (name_is(m->name, m->size, "cycle")) {
    if (!a.n) chat_fail(c, "no items for cycling given");
    return a.arg[l->index % a.n];
  }
  Val now = val_list(c, VK_TUPLE);
  for (uint32_t i = 0; i < a.n; i++) list_push(c, now.u.list, a.arg[i]);
  bool same = val_equal(c, now, l->last_changed);
  l->last_changed = now;
  return val_bool(!same);
}

Val chat_method(Chat *c, const Method *m, CallArgs args) {
  if (m->object.kind == VK_LOOP) return loop_method(c, m->object.u.loop, m, args);
  return find_row(m->object.kind, m->name, m->size)->fn(c, m->object, args);
}
