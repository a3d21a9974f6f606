/* The runtime's small parts: JSON, UTF-8, sampler, option tables. */
#include "runtime/core/args.h"
#include "runtime/core/json.h"
#include "runtime/core/sampler.h"
#include "runtime/core/utf8.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_round_trip(void **unused) {
  (void)unused;
  static const char *const same[] = {"null",
                                     "[true,false,-0.0,0,1e+16,1e-05,0.0001,123456.789]",
                                     "{\"a\":{\"b\":[{}]},\"c\":[]}",
                                     "\"\\u0000\\u001f\\\"\\\\\\n\xc3\xa9\xf0\x9f\x98\x80\"",
                                     "9223372036854775807",
                                     "-9223372036854775808",
                                     "9.223372036854776e+18",
                                     "5e-324",
                                     "1.7976931348623157e+308",
                                     "5.684341886080802e-14",
                                     "2.2250738585072014e-308",
                                     "0.1",
                                     "100000.0",
                                     "1234567890123456.0"};
  for (size_t i = 0; i < COUNT(same); i++) {
    JsonPool *p = json_pool_new();
    Json *v = json_parse(p, same[i], strlen(same[i]), NULL, NULL);
    Out o = {0};
    assert_non_null(v);
    out_json(&o, v);
    assert_string_equal(o.data, same[i]);
    out_free(&o);
    json_pool_free(p);
  }
}

static void json_keeps_first_place_of_duplicate_keys(void **unused) {
  (void)unused;
  const char *text = " {\"a\": 1, \"b\": 2, \"a\": \"\\ud83d\\ude00\"} ";
  JsonPool *p = json_pool_new();
  Json *v = json_parse(p, text, strlen(text), NULL, NULL);
  Out o = {0};
  assert_non_null(v);
  out_json(&o, v);
  assert_string_equal(o.data, "{\"a\":\"\xf0\x9f\x98\x80\",\"b\":2}");
  assert_int_equal(json_get(v, "b")->u.integer, 2);
  assert_null(json_get(v, "c"));
  out_free(&o);
  json_pool_free(p);
}

static void json_refuses_what_is_wrong(void **unused) {
  (void)unused;
  static const struct {
    const char *text, *error;
    size_t at;
  } cases[] = {{"", "unexpected end", 0},
               {"[1,]", "expected a value", 3},
               {"[1 2]", "expected ',' or ']'", 3},
               {"{\"a\" 1}", "expected ':'", 5},
               {"{a:1}", "expected a key in double quotes", 1},
               {"01", "a number may not begin with 0", 0},
               {"1.", "expected a digit after '.'", 2},
               {"\"\\ud800\"", "lone surrogate", 7},
               {"\"\\udc00\"", "lone surrogate", 7},
               {"\"\\q\"", "unknown escape", 2},
               {"\"\x01\"", "control character in a string", 1},
               {"\"\xff\"", "invalid UTF-8", 1},
               {"\"\xed\xa0\x80\"", "invalid UTF-8", 1},
               {"\"abc", "unterminated string", 1},
               {"NaN", "expected a value", 0},
               {"1 1", "unexpected text behind the value", 2}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    JsonPool *p = json_pool_new();
    const char *error;
    size_t at;
    assert_null(json_parse(p, cases[i].text, strlen(cases[i].text), &error, &at));
    assert_string_equal(error, cases[i].error);
    assert_int_equal(at, cases[i].at);
    json_pool_free(p);
  }
}

static void json_bounds_nesting(void **unused) {
  (void)unused;
  for (int depth = 512; depth <= 513; depth++) {
    char *text = malloc(2 * (size_t)depth);
    memset(text, '[', (size_t)depth);
    memset(text + depth, ']', (size_t)depth);
    JsonPool *p = json_pool_new();
    assert_int_equal(json_parse(p, text, 2 * (size_t)depth, NULL, NULL) != NULL, depth == 512);
    json_pool_free(p);
    free(text);
  }
}

static void utf8_steps_as_unicode_says(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    size_t n, step;
    uint32_t code;
  } cases[] = {{"a", 1, 1, 'a'},
               {"\xc3\xa9", 2, 2, 0xe9},
               {"\xe2\x82\xac", 3, 3, 0x20ac},
               {"\xf0\x9f\x98\x80", 4, 4, 0x1f600},
               {"\xf0\x9f\x98", 3, 3, 0xfffd}, /* truncated: one maximal part */
               {"\xf0\x80\x80", 3, 1, 0xfffd}, /* overlong */
               {"\xed\xa0\x80", 3, 1, 0xfffd}, /* surrogate */
               {"\xc0\xaf", 2, 1, 0xfffd},
               {"\xf4\x90\x80\x80", 4, 1, 0xfffd},
               {"\xe2\x82z", 3, 2, 0xfffd}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    uint32_t code;
    char back[4];
    assert_int_equal(utf8_step(cases[i].text, cases[i].n, &code), cases[i].step);
    assert_int_equal(code, cases[i].code);
    if (code == 0xfffd) continue;
    assert_int_equal(utf8_encode(code, back), cases[i].n);
    assert_memory_equal(back, cases[i].text, cases[i].n);
  }
}

/* ---- sampler --------------------------------------------------------------------------------- */

enum { NWORDS = 6, DRAWS = 20000 };
static const float words[NWORDS] = {1.0f, 3.0f, 0.5f, 2.5f, NAN, -1.0f};

static void draw_counts(const SamplerOptions *o, int counts[NWORDS]) {
  Sampler *s = sampler_new(NWORDS, o);
  memset(counts, 0, NWORDS * sizeof *counts);
  for (int i = 0; i < DRAWS; i++) {
    float l[NWORDS];
    memcpy(l, words, sizeof l);
    counts[sampler_pick(s, l)]++;
  }
  sampler_free(s);
}

/* Frequencies within 5 standard deviations of softmax(words / t) over the words kept. */
static void expect_shares(const SamplerOptions *o, const bool keep[NWORDS]) {
  int counts[NWORDS];
  double p[NWORDS], total = 0;
  draw_counts(o, counts);
  for (int i = 0; i < NWORDS; i++) total += p[i] = keep[i] ? exp(words[i] / o->temperature) : 0;
  for (int i = 0; i < NWORDS; i++) {
    double share = p[i] / total;
    assert_true(fabs(counts[i] - DRAWS * share) <= 5 * sqrt(DRAWS * share * (1 - share)));
  }
}

static void sampler_draws_what_it_should(void **unused) {
  (void)unused;
  SamplerOptions o = {.temperature = 0.7, .top_p = 1, .repeat_penalty = 1, .seed = 11};
  expect_shares(&o, (bool[NWORDS]){1, 1, 1, 1, 0, 1});
  o.top_k = 3;
  expect_shares(&o, (bool[NWORDS]){1, 1, 0, 1, 0, 0});
  o.top_k = 0;
  o.temperature = 1; /* shares: .074 .543 .045 .329 none .010 */
  o.top_p = 0.9;     /* the two best make .872: one more is needed */
  expect_shares(&o, (bool[NWORDS]){1, 1, 0, 1, 0, 0});
  o.top_p = 0.5;
  expect_shares(&o, (bool[NWORDS]){0, 1, 0, 0, 0, 0});
  o.top_p = 0.6;
  o.top_k = 2; /* of what top-k left, 3.0 is .622 */
  expect_shares(&o, (bool[NWORDS]){0, 1, 0, 0, 0, 0});
  o = (SamplerOptions){.temperature = 1, .top_p = 1, .min_p = 0.13, .repeat_penalty = 1, .seed = 5};
  expect_shares(&o, (bool[NWORDS]){1, 1, 0, 1, 0, 0});
}

static void sampler_repeats_with_its_seed(void **unused) {
  (void)unused;
  SamplerOptions o = {.temperature = 1, .top_p = 0.99, .repeat_penalty = 1, .seed = 42};
  int a[NWORDS], b[NWORDS], c[NWORDS];
  draw_counts(&o, a);
  draw_counts(&o, b);
  o.seed = 43;
  draw_counts(&o, c);
  assert_memory_equal(a, b, sizeof a);
  assert_memory_not_equal(a, c, sizeof a);
}

static void penalty_pushes_down_what_was_seen(void **unused) {
  (void)unused;
  SamplerOptions o = {.temperature = 0, .top_p = 1, .repeat_penalty = 2};
  Sampler *s = sampler_new(NWORDS, &o);
  float l[NWORDS];
  assert_false(sampler_is_greedy(s));
  memcpy(l, words, sizeof l);
  assert_int_equal(sampler_pick(s, l), 1);
  sampler_see(s, 1);
  sampler_see(s, 1); /* counts once */
  sampler_see(s, 5);
  memcpy(l, words, sizeof l);
  assert_int_equal(sampler_pick(s, l), 3);
  assert_true(l[1] == 1.5f && l[5] == -2.0f && l[0] == 1.0f);
  sampler_forget(s);
  memcpy(l, words, sizeof l);
  assert_int_equal(sampler_pick(s, l), 1);
  sampler_free(s);
}

/* ---- options --------------------------------------------------------------------------------- */

typedef struct Sample {
  bool flag;
  int64_t number;
  double real;
  const char *text;
  ArgList list;
} Sample;
static const ArgSpec sample_specs[] = {
    {"--flag", 'f', ARG_FLAG, offsetof(Sample, flag), 0, 0, NULL, ""},
    {"--number", 'n', ARG_INT, offsetof(Sample, number), 0, 10, "N", ""},
    {"--real", 0, ARG_DOUBLE, offsetof(Sample, real), 0, 1, "X", ""},
    {"--text", 0, ARG_TEXT, offsetof(Sample, text), 0, 0, "T", ""},
    {"--list", 0, ARG_LIST, offsetof(Sample, list), 0, 0, "T", ""},
};

static int parse_words(const char *words_text, Sample *o, Args *a, Err *e) {
  static char copy[256], *argv[32];
  int n = 0;
  snprintf(copy, sizeof copy, "%s", words_text);
  for (char *w = strtok(copy, " "); w; w = strtok(NULL, " ")) argv[n++] = w;
  memset(o, 0, sizeof *o);
  memset(e, 0, sizeof *e);
  return args_parse(sample_specs, COUNT(sample_specs), o, n, argv, a, e);
}

static void options_are_parsed(void **unused) {
  (void)unused;
  Sample o;
  Args a;
  Err e;
  assert_int_equal(
      parse_words("one -f -n 3 --real=0.5 two --text -x --list a --list=b -- --three", &o, &a, &e),
      0);
  assert_true(o.flag && o.number == 3 && o.real == 0.5);
  assert_string_equal(o.text, "-x");
  assert_int_equal(o.list.n, 2);
  assert_int_equal(a.argc, 3);
  assert_string_equal(a.argv[2], "--three");
  assert_int_equal(parse_words("-n7", &o, &a, &e), 0);
  assert_int_equal(o.number, 7);
}

static void wrong_options_say_what_is_right(void **unused) {
  (void)unused;
  static const char *const cases[][2] = {
      {"--nubmer 3", "did you mean --number?"},
      {"--zzz", "--help lists them all"},
      {"-n 11", "expected an integer from 0 to 10"},
      {"-n 1x", "expected an integer"},
      {"--real nan", "expected a number"},
      {"--text", "needs a value (T)"},
      {"--flag=1", "takes no value"},
  };
  Sample o;
  Args a;
  Err e;
  for (size_t i = 0; i < COUNT(cases); i++) {
    assert_int_equal(parse_words(cases[i][0], &o, &a, &e), 1);
    assert_non_null(strstr(e.what, cases[i][1]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_round_trip),
      cmocka_unit_test(json_keeps_first_place_of_duplicate_keys),
      cmocka_unit_test(json_refuses_what_is_wrong),
      cmocka_unit_test(json_bounds_nesting),
      cmocka_unit_test(utf8_steps_as_unicode_says),
      cmocka_unit_test(sampler_draws_what_it_should),
      cmocka_unit_test(sampler_repeats_with_its_seed),
      cmocka_unit_test(penalty_pushes_down_what_was_seen),
      cmocka_unit_test(options_are_parsed),
      cmocka_unit_test(wrong_options_say_what_is_right),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
