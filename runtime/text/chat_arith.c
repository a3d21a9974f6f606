/* Operators of the chat template interpreter, with Python's meaning. See runtime/text/chat.h. */
#include "runtime/text/chat.h"

#include <math.h>
#include <string.h>

enum { LONGEST_REPEAT = 1 << 24 };

static _Noreturn void unsupported(Chat *c, const char *op, const Val *a, const Val *b) {
  if (a->kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)a->size, a->u.text);
  if (b->kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)b->size, b->u.text);
  chat_fail(c, "unsupported operand type(s) for %s: '%s' and '%s'", op, val_type_name(a),
            val_type_name(b));
}

static int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return a % b && (a < 0) != (b < 0) ? q - 1 : q;
}

static Val int_power(Chat *c, int64_t base, int64_t exponent) {
  int64_t result = 1;
  if (exponent < 0) return val_float(pow((double)base, (double)exponent));
  while (exponent) {
    chat_step(c, 1);
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
      chat_fail(c, "an integer is too large");
    exponent >>= 1;
    if (exponent && __builtin_mul_overflow(base, base, &base))
      chat_fail(c, "an integer is too large");
  }
  return val_int(result);
}

static Val int_binary(Chat *c, ChatBinary op, int64_t a, int64_t b) {
  int64_t r = 0;
  bool overflow = false;
  if ((op == CB_div || op == CB_floordiv || op == CB_mod) && b == 0)
    chat_fail(c, "division by zero");
  if (b == -1 && (op == CB_floordiv || op == CB_mod))
    return op == CB_mod ? val_int(0) : int_binary(c, CB_sub, 0, a);
  switch (op) {
  case CB_add: overflow = __builtin_add_overflow(a, b, &r); break;
  case CB_sub: overflow = __builtin_sub_overflow(a, b, &r); break;
  case CB_mul: overflow = __builtin_mul_overflow(a, b, &r); break;
  case CB_div: return val_float((double)a / (double)b);
  case CB_floordiv: r = floor_div(a, b); break;
  case CB_mod: r = a - floor_div(a, b) * b; break;
  case CB_pow: return int_power(c, a, b);
  }
  if (overflow) chat_fail(c, "an integer is too large");
  return val_int(r);
}

static Val float_binary(Chat *c, ChatBinary op, double a, double b) {
  if ((op == CB_div || op == CB_floordiv || op == CB_mod) && b == 0)
    chat_fail(c, "float division by zero");
  switch (op) {
  case CB_add: return val_float(a + b);
  case CB_sub: return val_float(a - b);
  case CB_mul: return val_float(a * b);
  case CB_div: return val_float(a / b);
  case CB_floordiv: return val_float(floor(a / b));
  case CB_pow: return val_float(pow(a, b));
  case CB_mod: break;
  }
  double r = fmod(a, b);
  return val_float(r && (r < 0) != (b < 0) ? r + b : r);
}

/* A string marked safe makes the sum safe, and the other part is escaped. */
static Val concat_strings(Chat *c, const Val *a, const Val *b) {
  Val escaped;
  if (a->safe != b->safe) {
    escaped = str_escape(c, a->safe ? *b : *a);
    return a->safe ? concat_strings(c, a, &escaped) : concat_strings(c, &escaped, b);
  }
  if ((uint64_t)a->size + b->size > UINT32_MAX / 2) chat_fail(c, "a string is too long");
  char *text = chat_alloc(c, (size_t)a->size + b->size + 1);
  chat_step(c, (a->size + b->size) / 64);
  memcpy(text, a->u.text, a->size);
  memcpy(text + a->size, b->u.text, b->size);
  Val sum = val_text(text, (size_t)a->size + b->size);
  sum.safe = a->safe;
  return sum;
}

static Val concat_lists(Chat *c, const Val *a, const Val *b) {
  Val v = val_list(c, a->kind);
  for (uint32_t i = 0; i < a->u.list->n; i++) list_push(c, v.u.list, a->u.list->item[i]);
  for (uint32_t i = 0; i < b->u.list->n; i++) list_push(c, v.u.list, b->u.list->item[i]);
  return v;
}

/* "ab" * 3 and [0] * 3 */
static Val repeat(Chat *c, const Val *v, int64_t times) {
  if (times < 0) times = 0;
  int64_t n = v->kind == VK_STRING ? v->size : v->u.list->n;
  if (n && times > LONGEST_REPEAT / n) chat_fail(c, "a repeated value is too long");
  if (v->kind == VK_STRING) {
    char *text = chat_alloc(c, (size_t)(n * times) + 1);
    for (int64_t i = 0; i < times; i++) memcpy(text + i * n, v->u.text, (size_t)n);
    return val_text(text, (size_t)(n * times));
  }
  Val r = val_list(c, v->kind);
  for (int64_t i = 0; i < times; i++) {
    for (uint32_t k = 0; k < v->u.list->n; k++) list_push(c, r.u.list, v->u.list->item[k]);
  }
  return r;
}

static bool is_sequence(const Val *v) {
  return v->kind == VK_STRING || v->kind == VK_LIST || v->kind == VK_TUPLE;
}

Val chat_binary(Chat *c, ChatBinary op, Val a, Val b) {
  static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
  if (val_is_int(&a) && val_is_int(&b)) return int_binary(c, op, val_integer(&a), val_integer(&b));
  if (val_is_number(&a) && val_is_number(&b))
    return float_binary(c, op, val_number(&a), val_number(&b));
  if (op == CB_add && a.kind == b.kind && a.kind == VK_STRING) return concat_strings(c, &a, &b);
  if (op == CB_add && a.kind == b.kind && is_sequence(&a)) return concat_lists(c, &a, &b);
  if (op == CB_mul && is_sequence(&a) && val_is_int(&b)) return repeat(c, &a, val_integer(&b));
  if (op == CB_mul && val_is_int(&a) && is_sequence(&b)) return repeat(c, &b, val_integer(&a));
  if (op == CB_mod && a.kind == VK_STRING) {
    CallArgs args = {.arg = &b, .n = 1};
    if (b.kind == VK_TUPLE) args = (CallArgs){.arg = b.u.list->item, .n = b.u.list->n};
    return chat_percent_format(c, a, args);
  }
  if (op == CB_add && a.kind == VK_STRING && b.kind != VK_UNDEFINED)
    chat_fail(c, "can only concatenate str (not \"%s\") to str", val_type_name(&b));
  unsupported(c, signs[op], &a, &b);
}

Val chat_compare(Chat *c, ChatCompare op, Val a, Val b) {
  switch (op) {
  case CC_eq: return val_bool(val_equal(c, a, b));
  case CC_ne: return val_bool(!val_equal(c, a, b));
  case CC_in: return val_bool(val_contains(c, b, a));
  case CC_not_in: return val_bool(!val_contains(c, b, a));
  default: break;
  }
  int order = val_compare(c, a, b);
  bool nan =
      val_is_number(&a) && val_is_number(&b) && (isnan(val_number(&a)) || isnan(val_number(&b)));
  if (nan) return val_bool(false);
  return val_bool(op == CC_lt   ? order < 0
                  : op == CC_le ? order <= 0
                  : op == CC_gt ? order > 0
                                : order >= 0);
}

/* ---- slices ---- */

static int64_t slice_bound(Chat *c, const Val *v, int64_t fallback, int64_t n, bool backward) {
  if (v->kind == VK_NONE || v->kind == VK_UNDEFINED) return fallback;
  if (!val_is_int(v)) chat_fail(c, "slice indices must be integers or None");
  int64_t i = val_integer(v), lowest = backward ? -1 : 0, highest = backward ? n - 1 : n;
  if (i < 0) i += n;
  return i < lowest ? lowest : i > highest ? highest : i;
}

Val chat_slice(Chat *c, Val object, Val start, Val stop, Val step) {
  int64_t n, by = 1;
  if (object.kind == VK_UNDEFINED) chat_fail(c, "%.*s", (int)object.size, object.u.text);
  if (!is_sequence(&object))
    chat_fail(c, "'%s' object is not subscriptable", val_type_name(&object));
  if (val_is_int(&step)) by = val_integer(&step);
  if (!by) chat_fail(c, "slice step cannot be zero");
  val_length(&object, &n);
  int64_t from = slice_bound(c, &start, by < 0 ? n - 1 : 0, n, by < 0);
  int64_t to = slice_bound(c, &stop, by < 0 ? -1 : n, n, by < 0);
  if (object.kind == VK_STRING && by == 1) {
    if (to < from) to = from;
    size_t a = utf8_offset(object.u.text, object.size, (size_t)from);
    size_t b = utf8_offset(object.u.text, object.size, (size_t)to);
    return val_text(object.u.text + a, b - a);
  }
  ValList *items = val_items(c, object);
  Val r = val_list(c, object.kind == VK_TUPLE ? VK_TUPLE : VK_LIST);
  for (int64_t i = from; by > 0 ? i < to : i > to; i += by) {
    list_push(c, r.u.list, items->item[i]);
    if (by > 0 ? by > to - i : by < to - i) break; /* the next index might overflow */
  }
  return object.kind == VK_STRING ? str_join(c, val_cstr(""), r.u.list) : r;
}
