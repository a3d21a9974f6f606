/* Jinja's tests (`x is name`), one function a row of CHAT_TESTS. See runtime/text/chat.h. */
#include "runtime/text/chat.h"

#include <wctype.h>

typedef bool TestFn(Chat *c, Val v, CallArgs a);

static Val operand(Chat *c, CallArgs a) {
  if (!a.n) chat_fail(c, "a test lacks its argument");
  return a.arg[0];
}

static int64_t whole(Chat *c, Val v) {
  if (!val_is_int(&v))
    chat_fail(c, "unsupported operand type(s) for %%: '%s' and 'int'", val_type_name(&v));
  return val_integer(&v);
}

#define TEST(name) static bool test_##name(Chat *c, Val v, CallArgs a)
#define UNUSED_C (void)c, (void)a

TEST(boolean) {
  UNUSED_C;
  return v.kind == VK_BOOL;
}
TEST(callable) {
  UNUSED_C;
  return v.kind >= VK_MACRO || v.kind == VK_LOOP;
}
TEST(defined) {
  UNUSED_C;
  return v.kind != VK_UNDEFINED;
}
TEST(undefined) {
  UNUSED_C;
  return v.kind == VK_UNDEFINED;
}
TEST(none) {
  UNUSED_C;
  return v.kind == VK_NONE;
}
TEST(true) {
  UNUSED_C;
  return v.kind == VK_BOOL && v.u.boolean;
}
TEST(false) {
  UNUSED_C;
  return v.kind == VK_BOOL && !v.u.boolean;
}
TEST(integer) {
  UNUSED_C;
  return v.kind == VK_INT;
}
TEST(float) {
  UNUSED_C;
  return v.kind == VK_FLOAT;
}
TEST(number) {
  UNUSED_C;
  return val_is_number(&v);
}
TEST(string) {
  UNUSED_C;
  return v.kind == VK_STRING;
}
TEST(mapping) {
  UNUSED_C;
  return v.kind == VK_DICT;
}
TEST(even) {
  (void)a;
  return whole(c, v) % 2 == 0;
}
TEST(odd) {
  (void)a;
  return whole(c, v) % 2 != 0;
}
TEST(eq) {
  return val_equal(c, v, operand(c, a));
}
TEST(ne) {
  return !val_equal(c, v, operand(c, a));
}
TEST(lt) {
  return val_compare(c, v, operand(c, a)) < 0;
}
TEST(le) {
  return val_compare(c, v, operand(c, a)) <= 0;
}
TEST(gt) {
  return val_compare(c, v, operand(c, a)) > 0;
}
TEST(ge) {
  return val_compare(c, v, operand(c, a)) >= 0;
}
TEST(in) {
  return val_contains(c, operand(c, a), v);
}

TEST(divisibleby) {
  int64_t by = whole(c, operand(c, a));
  if (!by) chat_fail(c, "integer modulo by zero");
  return by == -1 || whole(c, v) % by == 0;
}

TEST(iterable) {
  UNUSED_C;
  return v.kind == VK_UNDEFINED || (v.kind >= VK_STRING && v.kind <= VK_DICT) || v.kind == VK_LOOP;
}

/* What has a length and items: strings and dicts too. */
TEST(sequence) {
  UNUSED_C;
  return v.kind == VK_UNDEFINED || (v.kind >= VK_STRING && v.kind <= VK_DICT);
}

TEST(sameas) {
  Val o = operand(c, a);
  return v.kind == o.kind && (v.kind <= VK_NONE || v.u.integer == o.u.integer);
}

/* str.islower and str.isupper: at least one letter has case, and all that have it are so. */
static bool all_case(Chat *c, Val v, bool upper) {
  Val s = val_string(c, v), same = str_case(c, s, upper ? 'u' : 'l'),
      other = str_case(c, s, upper ? 'l' : 'u');
  return val_equal(c, s, same) && !val_equal(c, s, other);
}

TEST(lower) {
  (void)a;
  return all_case(c, v, false);
}
TEST(upper) {
  (void)a;
  return all_case(c, v, true);
}

bool chat_test(Chat *c, ChatTest test, Val value, CallArgs args) {
  static TestFn *const tests[] = {
#define T(name) test_##name,
      CHAT_TESTS(T)
#undef T
  };
  return tests[test](c, value, args);
}
