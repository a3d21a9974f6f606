/* Jinja's filters on sequences and their order, one function a row of CHAT_FILTERS. See
 * runtime/text/chat.h. */
#include "runtime/text/chat.h"

#include <string.h>

#define FILTER(name) Val filter_##name(Chat *c, Val v, CallArgs a)

static Val list_of(ValList *items) {
  return (Val){.kind = VK_LIST, .u.list = items};
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
  bool falsy = arg_flag(c, a, 1, "boolean", false);
  return v.kind == VK_UNDEFINED || (falsy && !val_truth(&v)) ? fallback : v;
}

FILTER(attr) {
  Val name = val_string(c, arg_get(c, a, 0, "name", val_cstr("")));
  if (v.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)v.size, v.u.text);
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

Val val_dotted(Chat *c, Val v, Val path) {
  if (path.kind != VK_STRING) return chat_getitem(c, v, path);
  for (size_t at = 0; at <= path.size;) {
    const char *dot = memchr(path.u.text + at, '.', path.size - at);
    size_t n = dot ? (size_t)(dot - path.u.text) - at : path.size - at;
    Val part = val_text(path.u.text + at, n), number;
    bool index = n && part.u.text[0] >= '0' && part.u.text[0] <= '9' &&
                 str_number(c, part, true, 10, &number);
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
    Val item =
        attribute.kind == VK_NONE ? items->item[i] : val_dotted(c, items->item[i], attribute);
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
  Val key = s->attribute.kind == VK_NONE ? v : val_dotted(c, v, s->attribute);
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
  Sorting s = {.backward = arg_flag(c, a, 0, "reverse", false),
               .caseless = !arg_flag(c, a, 1, "case_sensitive", false),
               .attribute = arg_get(c, a, 2, "attribute", val_none())};
  return list_of(sorted(c, val_items(c, v), &s));
}

FILTER(dictsort) {
  Val by = arg_get(c, a, 1, "by", val_cstr("key"));
  Sorting s = {.backward = arg_flag(c, a, 2, "reverse", false),
               .caseless = !arg_flag(c, a, 0, "case_sensitive", false),
               .attribute = val_int(val_is(&by, "value"))};
  return list_of(sorted(c, filter_items(c, v, (CallArgs){0}).u.list, &s));
}

FILTER(groupby) {
  Sorting s = {.caseless = !arg_flag(c, a, 2, "case_sensitive", false),
               .attribute = arg_get(c, a, 0, "attribute", val_none())};
  ValList *items = sorted(c, val_items(c, v), &s), *groups = chat_alloc(c, sizeof *groups);
  for (uint32_t i = 0; i < items->n;) {
    Val key = sort_key(c, items->item[i], &s), group = val_list(c, VK_TUPLE),
        members = val_list(c, VK_LIST);
    list_push(c, group.u.list, val_dotted(c, items->item[i], s.attribute));
    do list_push(c, members.u.list, items->item[i++]);
    while (i < items->n && val_equal(c, sort_key(c, items->item[i], &s), key));
    list_push(c, group.u.list, members);
    list_push(c, groups, group);
  }
  return list_of(groups);
}

FILTER(unique) {
  Sorting s = {.caseless = !arg_flag(c, a, 0, "case_sensitive", false),
               .attribute = arg_get(c, a, 1, "attribute", val_none())};
  ValList *items = val_items(c, v);
  Val seen = val_dict(c, VK_DICT), list = val_list(c, VK_GENERATOR), ignored;
  for (uint32_t i = 0; i < items->n; i++) {
    Val key = sort_key(c, items->item[i], &s);
    if (dict_get(c, seen.u.dict, key, &ignored)) continue;
    dict_set(c, seen.u.dict, key, val_none());
    list_push(c, list.u.list, items->item[i]);
  }
  return list;
}

static Val extreme(Chat *c, Val v, CallArgs a, int sign) {
  Sorting s = {.caseless = !arg_flag(c, a, 0, "case_sensitive", false),
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
                                                  : val_dotted(c, items->item[i], attribute));
  return total;
}

/* ---- parts ---- */

FILTER(batch) {
  int64_t size = arg_int(c, a, 0, "linecount", 1);
  Val fill = arg_get(c, a, 1, "fill_with", val_none()), list = val_list(c, VK_GENERATOR),
      row = list;
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
  int64_t count = arg_int(c, a, 0, "slices", 1);
  Val fill = arg_get(c, a, 1, "fill_with", val_none()), list = val_list(c, VK_GENERATOR);
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
