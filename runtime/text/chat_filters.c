/* Jinja's filters (`x | name`), one function a row of CHAT_FILTERS. See runtime/text/chat.h.
 * Meanings are those of Jinja2 3.1; `tojson` is Transformers' own (json.dumps, not ASCII-only). */
#include "runtime/text/chat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name) Val filter_##name(Chat *c, Val v, CallArgs a)

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
  int64_t width = arg_int(c, a, 0, "width", 80), length = (int64_t)utf8_length(s.u.text, s.size);
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
  bool first = arg_flag(c, a, 1, "first", false), blank = arg_flag(c, a, 2, "blank", false),
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
  int64_t length = arg_int(c, a, 0, "length", 255), leeway = arg_int(c, a, 3, "leeway", 5);
  bool kill = arg_flag(c, a, 1, "killwords", false);
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
  val_json(c, v, o, by, comma, colon, arg_flag(c, a, 3, "sort_keys", false),
           arg_flag(c, a, 0, "ensure_ascii", false));
  return chat_out_done(c, o);
}

/* ---- numbers ---- */

FILTER(abs) {
  (void)a;
  if (v.kind == VK_FLOAT) return val_float(fabs(v.u.number));
  if (!val_is_int(&v)) chat_fail(c, "bad operand type for abs(): '%s'", val_type_name(&v));
  return val_integer(&v) < 0 ? chat_binary(c, CB_sub, val_int(0), v) : val_int(val_integer(&v));
}

bool str_number(Chat *c, Val s, bool integer, int base, Val *out) {
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
  int base = (int)arg_int(c, a, 1, "base", 10);
  if (val_is_int(&v)) return val_int(val_integer(&v));
  if (v.kind == VK_FLOAT && fabs(v.u.number) < 9e18) return val_int((int64_t)v.u.number);
  if (v.kind != VK_STRING) return fallback;
  if (str_number(c, v, true, base, &n)) return n;
  if (str_number(c, v, false, 0, &n) && fabs(n.u.number) < 9e18)
    return val_int((int64_t)n.u.number);
  return fallback;
}

FILTER(float) {
  Val n;
  if (val_is_number(&v)) return val_float(val_number(&v));
  if (v.kind == VK_STRING && str_number(c, v, false, 0, &n)) return n;
  return arg_get(c, a, 0, "default", val_float(0));
}

FILTER(round) {
  int64_t precision = arg_int(c, a, 0, "precision", 0);
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
  Val attribute = arg_get(c, a, UINT32_MAX, "attribute", val_none()),
      list = val_list(c, VK_GENERATOR);
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
                   : val_dotted(c, items->item[i], attribute);
    list_push(c, list.u.list,
              item.kind == VK_UNDEFINED && fallback.kind != VK_UNDEFINED ? fallback : item);
  }
  return list;
}

/* select, reject and their attr forms: items for which a test (without one: truth) is `keep`. */
static Val choose(Chat *c, Val v, CallArgs a, bool by_attribute, bool keep) {
  Val list = val_list(c, VK_GENERATOR), attribute = val_none();
  if (!val_truth(&v)) return list;
  ValList *items = val_items(c, v);
  if (by_attribute) {
    if (!a.n) chat_fail(c, "the name of an attribute is missing");
    attribute = a.arg[0];
    a = behind(a, 1);
  }
  uint32_t test = a.n ? find_name(c, a.arg[0], test_names, CT_COUNT, "test") : 0;
  for (uint32_t i = 0; i < items->n; i++) {
    Val subject = by_attribute ? val_dotted(c, items->item[i], attribute) : items->item[i];
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

Val chat_filter(Chat *c, ChatFilter filter, Val value, CallArgs args) {
  static Val (*const filters[])(Chat *, Val, CallArgs) = {
#define F(name) filter_##name,
      CHAT_FILTERS(F)
#undef F
  };
  return filters[filter](c, value, args);
}
