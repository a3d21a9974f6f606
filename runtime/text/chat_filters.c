/* Jinja's filters (`x | name`), one function a row of CHAT_FILTERS. See runtime/text/chat.h.
 * Meanings are those of Jinja2 3.1; `tojson` is Transformers' own (json.dumps, not ASCII-only). */
#include "runtime/text/chat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef Val FilterFn(Chat *c, Val v, CallArgs a);
#define FILTER(name) static Val filter_##name(Chat *c, Val v, CallArgs a)

static _Noreturn void fail_undefined(Chat *c, const Val *v) {
  chat_fail(c, "%.*s", (int)v->size, v->u.text);
}

static int64_t int_arg(Chat *c, CallArgs a, uint32_t i, const char *name, int64_t fallback) {
  Val v = arg_get(c, a, i, name, val_int(fallback));
  if (!val_is_int(&v)) chat_fail(c, "an integer is required, not %s", val_type_name(&v));
  return val_integer(&v);
}

static bool flag_arg(Chat *c, CallArgs a, uint32_t i, const char *name, bool fallback) {
  Val v = arg_get(c, a, i, name, val_bool(fallback));
  return val_truth(&v);
}

static Val list_of(ValList *items) {
  return (Val){.kind = VK_LIST, .u.list = items};
}

static Val generator(Chat *c) {
  return val_list(c, VK_GENERATOR);
}

/* ---- strings ---- */

FILTER(string) {
  (void)a;
  return val_string(c, v);
}

FILTER(safe) {
  Val s = val_string(c, v);
  (void)a;
  s.safe = true;
  return s;
}

FILTER(upper) {
  (void)a;
  return str_case(c, val_string(c, v), 'u');
}

FILTER(lower) {
  (void)a;
  return str_case(c, val_string(c, v), 'l');
}

FILTER(capitalize) {
  (void)a;
  return str_case(c, val_string(c, v), 'c');
}

/* Words begin behind white space, - ( { [ <; unlike str.title an apostrophe begins none. */
FILTER(title) {
  Val s = str_case(c, val_string(c, v), 'l');
  Out *o = chat_out(c);
  bool first = true;
  (void)a;
  for (size_t at = 0; at < s.size;) {
    size_t n = utf8_offset(s.u.text + at, s.size - at, 1);
    Val letter = val_text(s.u.text + at, n);
    if (first) letter = str_case(c, letter, 'u');
    out_put(o, letter.u.text, letter.size);
    first = strchr(" \t\n\r\v\f-({[<", s.u.text[at]) != NULL;
    at += n;
  }
  return chat_out_done(c, o);
}

FILTER(trim) {
  Val set = arg_get(c, a, 0, "chars", val_none()), s = val_string(c, v);
  return set.kind == VK_STRING ? str_strip(s, set.u.text, set.size, true, true)
                               : str_strip(s, NULL, 0, true, true);
}

FILTER(replace) {
  Val from = val_string(c, arg_get(c, a, 0, "old", val_cstr(""))),
      to = val_string(c, arg_get(c, a, 1, "new", val_cstr("")));
  Val count = arg_get(c, a, 2, "count", val_none());
  return str_replace(c, val_string(c, v), from, to, val_is_int(&count) ? val_integer(&count) : -1);
}

FILTER(escape) {
  (void)a;
  return str_escape(c, val_string(c, v));
}

FILTER(center) {
  Val s = val_string(c, v);
  int64_t width = int_arg(c, a, 0, "width", 80), length = (int64_t)utf8_length(s.u.text, s.size);
  int64_t pad = width > length ? width - length : 0, left = pad / 2 + (pad & width & 1);
  if (pad > 1 << 20) chat_fail(c, "the width is too large");
  Out *o = chat_out(c);
  for (int64_t i = 0; i < left; i++) out_puts(o, " ");
  out_put(o, s.u.text, s.size);
  for (int64_t i = left; i < pad; i++) out_puts(o, " ");
  return chat_out_done(c, o);
}

FILTER(indent) {
  Val width = arg_get(c, a, 0, "width", val_int(4)), s = val_string(c, v);
  bool first = flag_arg(c, a, 1, "first", false), blank = flag_arg(c, a, 2, "blank", false),
       line = first;
  Val by = width;
  if (val_is_int(&width)) by = chat_binary(c, CB_mul, val_cstr(" "), width);
  if (by.kind != VK_STRING) chat_fail(c, "the width of indent must be a number or a string");
  Out *o = chat_out(c);
  for (uint32_t i = 0; i < s.size; i++) {
    if (line && (blank || i == 0 || s.u.text[i] != '\n')) out_put(o, by.u.text, by.size);
    out_put(o, &s.u.text[i], 1);
    line = s.u.text[i] == '\n';
  }
  if (line && blank) out_put(o, by.u.text, by.size);
  return chat_out_done(c, o);
}

FILTER(truncate) {
  Val s = val_string(c, v), end = val_string(c, arg_get(c, a, 2, "end", val_cstr("...")));
  int64_t length = int_arg(c, a, 0, "length", 255), leeway = int_arg(c, a, 3, "leeway", 5);
  bool kill = flag_arg(c, a, 1, "killwords", false);
  int64_t room = length - (int64_t)utf8_length(end.u.text, end.size);
  if ((int64_t)utf8_length(s.u.text, s.size) <= length + leeway) return s;
  size_t n = utf8_offset(s.u.text, s.size, room > 0 ? (size_t)room : 0), cut = n;
  while (!kill && cut && s.u.text[cut - 1] != ' ') cut--;
  if (!kill && cut) n = cut - 1;
  return chat_binary(c, CB_add, val_text(s.u.text, n), end);
}

FILTER(wordcount) {
  Val s = val_string(c, v);
  int64_t n = 0;
  bool inside = false;
  (void)a;
  for (uint32_t i = 0; i < s.size; i++) {
    unsigned char u = (unsigned char)s.u.text[i];
    bool word =
        (u >= '0' && u <= '9') || ((u | 32) >= 'a' && (u | 32) <= 'z') || u == '_' || u >= 0x80;
    n += word && !inside;
    inside = word;
  }
  return val_int(n);
}

FILTER(format) {
  return chat_percent_format(c, val_string(c, v), a);
}

FILTER(tojson) {
  Val indent = arg_get(c, a, 1, "indent", val_none()),
      separators = arg_get(c, a, 2, "separators", val_none());
  const char *by = NULL, *comma = ", ", *colon = ": ";
  /* Transformers' order: ensure_ascii, indent, separators, sort_keys. */
  if (val_is_int(&indent)) {
    int64_t n = val_integer(&indent);
    if (n < 0 || n > 64) chat_fail(c, "the indent of tojson is out of range");
    char *spaces = chat_alloc(c, (size_t)n + 1);
    memset(spaces, ' ', (size_t)n);
    by = spaces;
  } else if (indent.kind == VK_STRING) {
    by = val_copy(c, indent.u.text, indent.size).u.text;
  }
  if (by) comma = ",";
  if ((separators.kind == VK_TUPLE || separators.kind == VK_LIST) && separators.u.list->n == 2) {
    Val first = val_string(c, separators.u.list->item[0]),
        second = val_string(c, separators.u.list->item[1]);
    comma = val_copy(c, first.u.text, first.size).u.text;
    colon = val_copy(c, second.u.text, second.size).u.text;
  }
  Out *o = chat_out(c);
  val_json(c, v, o, by, comma, colon, flag_arg(c, a, 3, "sort_keys", false),
           flag_arg(c, a, 0, "ensure_ascii", false));
  return chat_out_done(c, o);
}

/* ---- numbers ---- */

FILTER(abs) {
  (void)a;
  if (v.kind == VK_FLOAT) return val_float(fabs(v.u.number));
  if (!val_is_int(&v)) chat_fail(c, "bad operand type for abs(): '%s'", val_type_name(&v));
  return val_integer(&v) < 0 ? chat_binary(c, CB_sub, val_int(0), v) : val_int(val_integer(&v));
}

/* A number at the whole of a string, white space around it allowed. */
static bool read_number(Chat *c, Val s, bool integer, int base, Val *out) {
  char text[128], *end;
  s = str_strip(s, NULL, 0, true, true);
  if (s.kind != VK_STRING || !s.size || s.size >= sizeof text) return false;
  memcpy(text, s.u.text, s.size);
  text[s.size] = 0;
  (void)c;
  if (integer)
    *out = val_int(strtoll(text, &end, base));
  else
    *out = val_float(strtod(text, &end));
  return !*end;
}

FILTER(int) {
  Val fallback = arg_get(c, a, 0, "default", val_int(0)), n;
  int base = (int)int_arg(c, a, 1, "base", 10);
  if (val_is_int(&v)) return val_int(val_integer(&v));
  if (v.kind == VK_FLOAT && fabs(v.u.number) < 9e18) return val_int((int64_t)v.u.number);
  if (v.kind != VK_STRING) return fallback;
  if (read_number(c, v, true, base, &n)) return n;
  if (read_number(c, v, false, 0, &n) && fabs(n.u.number) < 9e18)
    return val_int((int64_t)n.u.number);
  return fallback;
}

FILTER(float) {
  Val n;
  if (val_is_number(&v)) return val_float(val_number(&v));
  if (v.kind == VK_STRING && read_number(c, v, false, 0, &n)) return n;
  return arg_get(c, a, 0, "default", val_float(0));
}

FILTER(round) {
  int64_t precision = int_arg(c, a, 0, "precision", 0);
  Val method = arg_get(c, a, 1, "method", val_cstr("common"));
  if (!val_is_number(&v))
    chat_fail(c, "type %s doesn't define __round__ method", val_type_name(&v));
  double scale = pow(10, (double)precision), x = val_number(&v);
  if (val_is(&method, "ceil")) return val_float(ceil(x * scale) / scale);
  if (val_is(&method, "floor")) return val_float(floor(x * scale) / scale);
  if (precision < 0 || precision > 15) return val_float(nearbyint(x * scale) / scale);
  char text[400]; /* correct decimal rounding, as Python's round */
  Out *o = chat_out(c);
  out_printf(o, "%.*f", (int)precision, x);
  Val s = chat_out_done(c, o);
  size_t n = s.size < sizeof text - 1 ? s.size : sizeof text - 1;
  memcpy(text, s.u.text, n);
  text[n] = 0;
  Val r = val_float(strtod(text, NULL));
  return val_is_int(&v) ? val_int((int64_t)r.u.number) : r;
}

/* ---- sequences ---- */

FILTER(length) {
  int64_t n;
  (void)a;
  if (!val_length(&v, &n)) chat_fail(c, "object of type '%s' has no len()", val_type_name(&v));
  return val_int(n);
}

FILTER(list) {
  ValList *items = val_items(c, v), *copy = chat_alloc(c, sizeof *copy);
  (void)a;
  for (uint32_t i = 0; i < items->n; i++) list_push(c, copy, items->item[i]);
  return list_of(copy);
}

FILTER(first) {
  ValList *items = val_items(c, v);
  (void)a;
  return items->n ? items->item[0] : val_undefined("No first item, sequence was empty.", 34);
}

FILTER(last) {
  ValList *items = val_items(c, v);
  (void)a;
  return items->n ? items->item[items->n - 1]
                  : val_undefined("No last item, sequence was empty.", 33);
}

FILTER(reverse) {
  ValList *items = val_items(c, v), *backward = chat_alloc(c, sizeof *backward);
  (void)a;
  for (uint32_t i = items->n; i-- > 0;) list_push(c, backward, items->item[i]);
  return v.kind == VK_STRING ? str_join(c, val_cstr(""), backward) : list_of(backward);
}

FILTER(default) {
  Val fallback = arg_get(c, a, 0, "default_value", val_cstr(""));
  bool falsy = flag_arg(c, a, 1, "boolean", false);
  return v.kind == VK_UNDEFINED || (falsy && !val_truth(&v)) ? fallback : v;
}

FILTER(attr) {
  Val name = val_string(c, arg_get(c, a, 0, "name", val_cstr("")));
  if (v.kind == VK_UNDEFINED) fail_undefined(c, &v);
  if (v.kind == VK_DICT && !chat_has_method(&v, name.u.text, name.size))
    return val_undefined("no such attribute", 17); /* items are not attributes */
  return chat_getattr(c, v, name.u.text, name.size);
}

FILTER(items) {
  Val list = val_list(c, VK_LIST);
  (void)a;
  if (v.kind == VK_UNDEFINED) return list;
  if (v.kind != VK_DICT) chat_fail(c, "Can only get item pairs from a mapping.");
  for (uint32_t i = 0; i < v.u.dict->n; i++) {
    Val pair = val_list(c, VK_TUPLE);
    list_push(c, pair.u.list, v.u.dict->item[i].key);
    list_push(c, pair.u.list, v.u.dict->item[i].value);
    list_push(c, list.u.list, pair);
  }
  return list;
}

/* The attribute "a.b.0" of a value, by items; a number is an index. */
static Val dotted(Chat *c, Val v, Val path) {
  if (path.kind != VK_STRING) return chat_getitem(c, v, path);
  for (size_t at = 0; at <= path.size;) {
    const char *dot = memchr(path.u.text + at, '.', path.size - at);
    size_t n = dot ? (size_t)(dot - path.u.text) - at : path.size - at;
    Val part = val_text(path.u.text + at, n), number;
    bool index = n && part.u.text[0] >= '0' && part.u.text[0] <= '9' &&
                 read_number(c, part, true, 10, &number);
    v = chat_getitem(c, v, index ? number : part);
    at += n + 1;
  }
  return v;
}

FILTER(join) {
  Val separator = val_string(c, arg_get(c, a, 0, "d", val_cstr("")));
  Val attribute = arg_get(c, a, 1, "attribute", val_none());
  ValList *items = val_items(c, v), *texts = chat_alloc(c, sizeof *texts);
  for (uint32_t i = 0; i < items->n; i++) {
    Val item = attribute.kind == VK_NONE ? items->item[i] : dotted(c, items->item[i], attribute);
    list_push(c, texts, val_string(c, item));
  }
  return str_join(c, separator, texts);
}

/* ---- order ---- */

typedef struct Sorting {
  bool caseless, backward;
  Val attribute; /* NONE: the items themselves */
} Sorting;

static Val sort_key(Chat *c, Val v, const Sorting *s) {
  Val key = s->attribute.kind == VK_NONE ? v : dotted(c, v, s->attribute);
  return s->caseless && key.kind == VK_STRING ? str_case(c, key, 'l') : key;
}

/* A stable merge sort of items by their keys. */
static void merge_sort(Chat *c, Val *item, Val *key, Val *spare, uint32_t n, bool backward) {
  if (n < 2) return;
  uint32_t half = n / 2, i = 0, k = half, to = 0;
  merge_sort(c, item, key, spare, half, backward);
  merge_sort(c, item + half, key + half, spare, n - half, backward);
  while (i < half || k < n) {
    bool right = i >= half;
    if (!right && k < n) {
      int order = val_compare(c, key[k], key[i]);
      right = backward ? order > 0 : order < 0;
    }
    uint32_t from = right ? k++ : i++;
    spare[2 * to] = item[from];
    spare[2 * to++ + 1] = key[from];
  }
  for (uint32_t j = 0; j < n; j++) {
    item[j] = spare[2 * j];
    key[j] = spare[2 * j + 1];
  }
}

static ValList *sorted(Chat *c, ValList *items, const Sorting *s) {
  ValList *copy = chat_alloc(c, sizeof *copy);
  Val *keys = chat_alloc(c, (size_t)items->n * sizeof *keys + 1);
  Val *spare = chat_alloc(c, (size_t)items->n * 2 * sizeof *spare + 1);
  for (uint32_t i = 0; i < items->n; i++) {
    list_push(c, copy, items->item[i]);
    keys[i] = sort_key(c, items->item[i], s);
  }
  merge_sort(c, copy->item, keys, spare, items->n, s->backward);
  return copy;
}

FILTER(sort) {
  Sorting s = {.backward = flag_arg(c, a, 0, "reverse", false),
               .caseless = !flag_arg(c, a, 1, "case_sensitive", false),
               .attribute = arg_get(c, a, 2, "attribute", val_none())};
  return list_of(sorted(c, val_items(c, v), &s));
}

FILTER(dictsort) {
  Val by = arg_get(c, a, 1, "by", val_cstr("key"));
  Sorting s = {.backward = flag_arg(c, a, 2, "reverse", false),
               .caseless = !flag_arg(c, a, 0, "case_sensitive", false),
               .attribute = val_int(val_is(&by, "value"))};
  return list_of(sorted(c, filter_items(c, v, (CallArgs){0}).u.list, &s));
}

FILTER(groupby) {
  Sorting s = {.caseless = !flag_arg(c, a, 2, "case_sensitive", false),
               .attribute = arg_get(c, a, 0, "attribute", val_none())};
  ValList *items = sorted(c, val_items(c, v), &s), *groups = chat_alloc(c, sizeof *groups);
  for (uint32_t i = 0; i < items->n;) {
    Val key = sort_key(c, items->item[i], &s), group = val_list(c, VK_TUPLE),
        members = val_list(c, VK_LIST);
    list_push(c, group.u.list, dotted(c, items->item[i], s.attribute));
    do list_push(c, members.u.list, items->item[i++]);
    while (i < items->n && val_equal(c, sort_key(c, items->item[i], &s), key));
    list_push(c, group.u.list, members);
    list_push(c, groups, group);
  }
  return list_of(groups);
}

FILTER(unique) {
  Sorting s = {.caseless = !flag_arg(c, a, 0, "case_sensitive", false),
               .attribute = arg_get(c, a, 1, "attribute", val_none())};
  ValList *items = val_items(c, v);
  Val seen = val_dict(c, VK_DICT), list = generator(c), ignored;
  for (uint32_t i = 0; i < items->n; i++) {
    Val key = sort_key(c, items->item[i], &s);
    if (dict_get(c, seen.u.dict, key, &ignored)) continue;
    dict_set(c, seen.u.dict, key, val_none());
    list_push(c, list.u.list, items->item[i]);
  }
  return list;
}

static Val extreme(Chat *c, Val v, CallArgs a, int sign) {
  Sorting s = {.caseless = !flag_arg(c, a, 0, "case_sensitive", false),
               .attribute = arg_get(c, a, 1, "attribute", val_none())};
  ValList *items = val_items(c, v);
  if (!items->n) return val_undefined("No aggregated item, sequence was empty.", 39);
  Val best = items->item[0];
  for (uint32_t i = 1; i < items->n; i++) {
    if (sign * val_compare(c, sort_key(c, items->item[i], &s), sort_key(c, best, &s)) > 0)
      best = items->item[i];
  }
  return best;
}

FILTER(max) {
  return extreme(c, v, a, 1);
}

FILTER(min) {
  return extreme(c, v, a, -1);
}

FILTER(sum) {
  Val attribute = arg_get(c, a, 0, "attribute", val_none()),
      total = arg_get(c, a, 1, "start", val_int(0));
  ValList *items = val_items(c, v);
  for (uint32_t i = 0; i < items->n; i++)
    total = chat_binary(c, CB_add, total,
                        attribute.kind == VK_NONE ? items->item[i]
                                                  : dotted(c, items->item[i], attribute));
  return total;
}

/* ---- by another filter or test ---- */

static const char *const filter_names[] = {
#define F(name) #name,
    CHAT_FILTERS(F)
#undef F
};
static const char *const test_names[] = {
#define T(name) #name,
    CHAT_TESTS(T)
#undef T
};
typedef struct Alias {
  const char *name, *same;
} Alias;
static const Alias aliases[] = {
#define A(name, same) {#name, #same},
    CHAT_FILTER_ALIASES(A) CHAT_TEST_ALIASES(A)
#undef A
        {"==", "eq"},
    {"!=", "ne"},
};

static uint32_t find_name(Chat *c, Val name, const char *const *names, uint32_t n,
                          const char *what) {
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
    if (val_is(&name, aliases[i].name)) name = val_cstr(aliases[i].same);
  }
  for (uint32_t i = 0; i < n; i++) {
    if (val_is(&name, names[i])) return i;
  }
  name = val_string(c, name);
  chat_fail(c, "No %s named '%.*s'.", what, (int)name.size, name.u.text);
}

static CallArgs behind(CallArgs a, uint32_t n) {
  if (n > a.n) n = a.n;
  return (CallArgs){.arg = a.arg + n, .n = a.n - n, .named = a.named};
}

FILTER(map) {
  Val attribute = arg_get(c, a, UINT32_MAX, "attribute", val_none()), list = generator(c);
  Val fallback = arg_get(c, a, UINT32_MAX, "default", val_undefined("", 0));
  if (!val_truth(&v)) return list;
  ValList *items = val_items(c, v);
  uint32_t filter = 0;
  if (attribute.kind == VK_NONE) {
    if (!a.n) chat_fail(c, "map requires a filter argument");
    filter = find_name(c, a.arg[0], filter_names, CF_COUNT, "filter");
  }
  for (uint32_t i = 0; i < items->n; i++) {
    Val item = attribute.kind == VK_NONE
                   ? chat_filter(c, (ChatFilter)filter, items->item[i], behind(a, 1))
                   : dotted(c, items->item[i], attribute);
    list_push(c, list.u.list,
              item.kind == VK_UNDEFINED && fallback.kind != VK_UNDEFINED ? fallback : item);
  }
  return list;
}

/* select, reject and their attr forms: items for which a test (without one: truth) is `keep`. */
static Val choose(Chat *c, Val v, CallArgs a, bool by_attribute, bool keep) {
  Val list = generator(c), attribute = val_none();
  if (!val_truth(&v)) return list;
  ValList *items = val_items(c, v);
  if (by_attribute) {
    if (!a.n) chat_fail(c, "the name of an attribute is missing");
    attribute = a.arg[0];
    a = behind(a, 1);
  }
  uint32_t test = a.n ? find_name(c, a.arg[0], test_names, CT_COUNT, "test") : 0;
  for (uint32_t i = 0; i < items->n; i++) {
    Val subject = by_attribute ? dotted(c, items->item[i], attribute) : items->item[i];
    bool passes = a.n ? chat_test(c, (ChatTest)test, subject, behind(a, 1)) : val_truth(&subject);
    if (passes == keep) list_push(c, list.u.list, items->item[i]);
  }
  return list;
}

FILTER(select) {
  return choose(c, v, a, false, true);
}

FILTER(reject) {
  return choose(c, v, a, false, false);
}

FILTER(selectattr) {
  return choose(c, v, a, true, true);
}

FILTER(rejectattr) {
  return choose(c, v, a, true, false);
}

/* ---- parts ---- */

FILTER(batch) {
  int64_t size = int_arg(c, a, 0, "linecount", 1);
  Val fill = arg_get(c, a, 1, "fill_with", val_none()), list = generator(c), row = list;
  ValList *items = val_items(c, v);
  if (size < 1 || size > 1 << 20) chat_fail(c, "the size of a batch is out of range");
  for (uint32_t i = 0; i < items->n; i++) {
    if (i % size == 0) list_push(c, list.u.list, row = val_list(c, VK_LIST));
    list_push(c, row.u.list, items->item[i]);
  }
  while (fill.kind != VK_NONE && items->n && row.u.list->n < size) list_push(c, row.u.list, fill);
  return list;
}

FILTER(slice) {
  int64_t count = int_arg(c, a, 0, "slices", 1);
  Val fill = arg_get(c, a, 1, "fill_with", val_none()), list = generator(c);
  ValList *items = val_items(c, v);
  if (count < 1 || count > 1 << 20) chat_fail(c, "the number of slices is out of range");
  uint32_t at = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t n = items->n / count + (i < items->n % count);
    Val part = val_list(c, VK_LIST);
    for (int64_t k = 0; k < n; k++) list_push(c, part.u.list, items->item[at++]);
    if (fill.kind != VK_NONE && items->n % count && i >= items->n % count)
      list_push(c, part.u.list, fill);
    list_push(c, list.u.list, part);
  }
  return list;
}

Val chat_filter(Chat *c, ChatFilter filter, Val value, CallArgs args) {
  static FilterFn *const filters[] = {
#define F(name) filter_##name,
      CHAT_FILTERS(F)
#undef F
  };
  return filters[filter](c, value, args);
}
