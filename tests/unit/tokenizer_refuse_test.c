/* What the tokenizer's compiler refuses, and what its runtime must stand: damaged blobs, texts of a
 * megabyte that tempt it into squares of their length, random bytes. */
#include "tests/unit/tokenizer_toy.h"

#include <time.h>

/* ---- what is refused ----------------------------------------------------------------------- */

static void refuse(Toy *y, const char *what) {
  assert_int_equal(compile(y), FAIL);
  if (!strstr(diag_text(y->diag), what) || !strstr(diag_text(y->diag), "toy.json"))
    fail_msg("expected '%s' in: %s", what, diag_text(y->diag));
  free_toy(y);
}

static void test_expressions_that_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *what;
  } cases[] = {
      {"(a)\\1", "this escape"},
      {"a(?=bc)", "a lookaround at more than one character"},
      {"(?>ab|a)c", "an atomic group of more than one character"},
      {"(?:ab)++", "a possessive quantifier of more than one character"},
      {"\\p{Nonsense}", "an unknown Unicode property"},
      {"[a", "an open bracket"},
      {"(a", "an open group"},
      {"a)", "a closing parenthesis"},
      {"*a", "a quantifier of nothing"},
      {"a*", "matches the empty text"},
      {"\\b", "matches the empty text"},
      {"[z-a]", "this range"},
      {"(?i:ss)", "case folding"},
      {"(?<name>a)", "a lookaround"},
      {"a{2000}", "an interval out of bounds"},
      {"((((a{900}){900}){900}){900})", "more than 20000 steps"},
      {"\\", "a final backslash"},
      {"[[:alpha:]]", "this POSIX class"},
      {"\xff", "invalid UTF-8"},
      {"(?:[ab]*a[ab]{14})", "states"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    Toy y = toy();
    split_by(&y, cases[i].pattern);
    if (strcmp(cases[i].what, "a lookaround") == 0)
      refuse(&y, "can't be compiled exactly");
    else
      refuse(&y, cases[i].what);
  }
  Toy y = toy();
  char deep[2000];
  memset(deep, '(', sizeof deep - 1);
  deep[sizeof deep - 1] = 0;
  split_by(&y, deep);
  refuse(&y, "nesting this deep");
}

static void test_vocabularies_that_are_refused(void **state) {
  (void)state;
  Toy y = toy();
  y.spec.merges[0].left = bytes("no");
  y.spec.merges[0].right = bytes("pe");
  y.spec.nmerges = 1;
  refuse(&y, "merge 0");
  y = toy();
  add(&y, (AddedToken){.text = bytes("far")});
  y.added[0].id = 0xfffffff0u;
  refuse(&y, "added token 'far'");
  y = toy();
  y.spec.nvocab = 0;
  refuse(&y, "a vocabulary of 0 tokens");
  y = toy();
  char *large = arena_alloc(y.arena, 70001);
  memset(large, 'a', 70000);
  y.spec.vocab[0] = bytes(large);
  refuse(&y, "too long");
  y = toy();
  y.spec.model = TOK_UNIGRAM;
  refuse(&y, "Unigram");
  y = toy();
  y.spec.model = TOK_NONE;
  refuse(&y, "missing");
  y = toy();
  y.spec.add_bos = true;
  y.spec.bos_id = 12345;
  refuse(&y, "12345");
  y = toy();
  pretokenizer(&y, (TextStep){.kind = STEP_PRECOMPILED});
  refuse(&y, "Precompiled");
}

static void test_blobs_that_are_refused(void **state) {
  (void)state;
  Toy y = toy();
  Tokenizer *t = NULL;
  assert_int_equal(compile(&y), OK);
  size_t n = y.blob.size;
  char *copy = malloc(n + 4);
  memcpy(copy, y.blob.data, n);
  assert_int_equal(tok_open(copy, n, &t), TEXT_OK);
  tok_close(t);
  assert_int_equal(tok_open(copy, n - 1, &t), TEXT_BAD_BLOB);
  assert_int_equal(tok_open(copy, 3, &t), TEXT_BAD_BLOB);
  assert_int_equal(tok_open(NULL, 0, &t), TEXT_BAD_BLOB);
  memmove(copy + 1, copy, n);
  assert_int_equal(tok_open(copy + 1, n, &t), TEXT_BAD_BLOB);
  memcpy(copy, y.blob.data, n);
  ((TokBlob *)(void *)copy)->version++;
  assert_int_equal(tok_open(copy, n, &t), TEXT_BAD_BLOB);
  ((TokBlob *)(void *)copy)->version--;
  ((TokBlob *)(void *)copy)->bytes.at = (uint32_t)n;
  assert_int_equal(tok_open(copy, n, &t), TEXT_BAD_BLOB);
  ((TokBlob *)(void *)copy)->bytes.at = 0xfffffffcu;
  assert_int_equal(tok_open(copy, n, &t), TEXT_BAD_BLOB);
  assert_null(t);
  free(copy);
  free_toy(&y);
}

static void test_same_blob_every_time(void **state) {
  (void)state;
  Toy y = toy(), z = toy();
  for (Toy *k = &y; k; k = k == &y ? &z : NULL) {
    merge(k, "a", "b");
    split_by(k, "(?i:'s)|\\p{L}+|\\s+(?!\\S)");
    assert_int_equal(compile(k), OK);
  }
  assert_int_equal(y.blob.size, z.blob.size);
  assert_memory_equal(y.blob.data, z.blob.data, y.blob.size);
  free_toy(&y);
  free_toy(&z);
}

/* ---- hostile lengths and bytes ------------------------------------------------------------- */

/* Encodes a megabyte of one unit; the text must come back, in time that is no square of its length.
 */
static void encode_megabyte(Toy *y, const char *unit, const char *end) {
  size_t nunit = strlen(unit), nend = strlen(end), n = (1 << 20) / nunit * nunit;
  char *text = malloc(n + nend);
  TokIds ids = {0};
  Out out = {0};
  for (size_t i = 0; i < n; i += nunit) memcpy(text + i, unit, nunit);
  memcpy(text + n, end, nend);
  n += nend;
  clock_t start = clock();
  assert_int_equal(tok_encode(y->t, text, n, NULL, 0, 0, &ids), TEXT_OK);
  assert_int_equal(tok_decode(y->t, ids.id, ids.n, false, &out), TEXT_OK);
  assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 10);
  assert_int_equal(out.size, n);
  assert_memory_equal(out.data, text, n);
  free(text);
  out_free(&out);
  tok_ids_free(&ids);
}

static void test_long_texts(void **state) {
  (void)state;
  Toy y = toy();
  merge(&y, "a", "a");
  merge(&y, "aa", "aa");
  merge(&y, "aaaa", "aaaa");
  merge(&y, " ", " ");
  merge(&y, "\xf0", "\x9f");
  add(&y, (AddedToken){.text = bytes("aaab"), .lstrip = true});
  open_toy(&y);
  encode_megabyte(&y, "a", "");
  encode_megabyte(&y, "😀", "");
  encode_megabyte(&y, " ", "x");
  encode_megabyte(&y, "e\xcc\x81", "");
  free_toy(&y);
}

/* Expressions that search far before they give up, on the texts that make them. */
static void test_long_searches(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *unit, *end;
  } cases[] = {
      {"\\s+$", " ", "x"},       {"a*b|a", "a", ""},        {"[ab]+c", "ab", ""},
      {"\\s*\\n|\\s", " ", "x"}, {"é*x|é", "é", ""},        {"\\s+(?!\\S)|\\s", " ", "x"},
      {"a+?b", "a", "c"},        {"(?<=b)a+c|a", "a", "d"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    Toy y = toy();
    split_by(&y, cases[i].pattern);
    open_toy(&y);
    encode_megabyte(&y, cases[i].unit, cases[i].end);
    free_toy(&y);
  }
}

static void test_random_bytes(void **state) {
  (void)state;
  static const char alphabet[] = " \n'sta<1\xc3\xa9\xcc\x81\xf0\x9f\x98\x80\xe2\x82\xff\xed\xa0";
  Toy y = toy();
  merge(&y, "a", "t");
  split_by(&y, "'(?i:[sdmt])|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}|\\s+(?!\\S)|\\bt|\\s");
  pretokenizer(&y, (TextStep){.kind = STEP_BYTELEVEL});
  pretokenizer(&y, (TextStep){.kind = STEP_DIGITS, .individual = true});
  TextStep nfc = {.kind = STEP_NFC};
  y.spec.normalizer = &nfc;
  y.spec.nnormalizer = 1;
  add(&y, (AddedToken){.text = bytes("<1"), .lstrip = true, .rstrip = true, .normalized = true});
  add(&y, (AddedToken){.text = bytes("st"), .single_word = true});
  open_toy(&y);
  uint64_t seed = 1;
  for (int round = 0; round < 20000; round++) {
    char text[48], *copy;
    size_t n = 0, want;
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    want = seed >> 40 & 31;
    for (; n < want; n++) {
      seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
      uint32_t r = (uint32_t)(seed >> 33);
      text[n] = r & 3 ? alphabet[(r >> 8) % (sizeof alphabet - 1)] : (char)(r >> 8);
    }
    copy = malloc(n ? n : 1); /* exact size: the sanitizer sees a read past the end */
    memcpy(copy, text, n);
    TokIds ids = {0};
    Out out = {0};
    assert_int_equal(tok_encode(y.t, copy, n, copy, n, TOK_ADD_SPECIAL, &ids), TEXT_OK);
    assert_int_equal(tok_decode(y.t, ids.id, ids.n, round & 1, &out), TEXT_OK);
    out_free(&out);
    tok_ids_free(&ids);
    free(copy);
  }
  free_toy(&y);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_expressions_that_are_refused),
      cmocka_unit_test(test_vocabularies_that_are_refused),
      cmocka_unit_test(test_blobs_that_are_refused),
      cmocka_unit_test(test_same_blob_every_time),
      cmocka_unit_test(test_long_texts),
      cmocka_unit_test(test_long_searches),
      cmocka_unit_test(test_random_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
