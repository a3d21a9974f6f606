/* The tokenizer on vocabularies made by hand: merging, added tokens, broken input, streaming.
 * Agreement with Hugging Face is tests/tokenizer's; what is refused, tokenizer_refuse_test.c's. */
#include "tests/unit/tokenizer_toy.h"

/* ---- merging ------------------------------------------------------------------------------- */

static void test_merges_by_rank(void **state) {
  (void)state;
  Toy y = toy();
  merge(&y, "b", "c");  /* 256 */
  merge(&y, "a", "b");  /* 257 */
  merge(&y, "a", "bc"); /* 258 */
  merge(&y, "c", "d");  /* 259 */
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "abc"), "258");
  assert_string_equal(ENCODE(&y, "abd"), "257 100");
  assert_string_equal(ENCODE(&y, "bcd"), "256 100");
  assert_string_equal(ENCODE(&y, "acd"), "97 259");
  assert_string_equal(ENCODE(&y, ""), "");
  free_toy(&y);
}

/* One token by two merges: only the ways that are in the list lead there, and the list's order
 * rules. */
static void test_two_ways_to_a_token(void **state) {
  (void)state;
  Toy y = toy();
  merge(&y, "b", "c");  /* 256 */
  merge(&y, "a", "b");  /* 257 */
  merge(&y, "a", "bc"); /* 258 */
  y.spec.merges[3].left = bytes("ab");
  y.spec.merges[3].right = bytes("c");
  y.spec.nmerges = 4;
  merge(&y, "b", "b"); /* 259 */
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "abc"), "258");
  assert_string_equal(ENCODE(&y, "abb"), "257 98");
  assert_string_equal(ENCODE(&y, "abbc"), "257 256");
  free_toy(&y);
}

static void test_ranks_out_of_id_order(void **state) {
  (void)state;
  Toy y = toy();
  merge(&y, "a", "b"); /* 256 */
  merge(&y, "b", "c"); /* 257 */
  TextBytes swap = y.spec.merges[0].left;
  y.spec.merges[0].left = y.spec.merges[1].left;
  y.spec.merges[1].left = swap;
  swap = y.spec.merges[0].right;
  y.spec.merges[0].right = y.spec.merges[1].right;
  y.spec.merges[1].right = swap;
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "abc"), "97 257");
  free_toy(&y);
}

static void test_missing_bytes_vanish(void **state) {
  (void)state;
  Toy y = toy();
  merge(&y, "a", "b"); /* 256 */
  y.spec.vocab['x'].size = 0;
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "axb"), "256");
  assert_string_equal(ENCODE(&y, "xxx"), "");
  assert_int_equal(tok_find(y.t, "x"), -1);
  free_toy(&y);
}

static void test_unknown_token_for_missing_bytes(void **state) {
  (void)state;
  for (int fuse = 0; fuse < 2; fuse++) {
    Toy y = toy();
    y.spec.vocab['x'].size = 0;
    y.spec.unk_id = 0;
    y.spec.fuse_unk = fuse == 1;
    open_toy(&y);
    assert_string_equal(ENCODE(&y, "axxb"), fuse ? "97 0 98" : "97 0 0 98");
    free_toy(&y);
  }
}

static void test_ignore_merges(void **state) {
  (void)state;
  Toy y = toy();
  merge(&y, "a", "b");
  y.spec.vocab[y.spec.nvocab++] = bytes("zyx"); /* 257: no merge makes it */
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "zyx"), "122 121 120");
  free_toy(&y);
  y = toy();
  merge(&y, "a", "b");
  y.spec.vocab[y.spec.nvocab++] = bytes("zyx");
  y.spec.ignore_merges = true;
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "zyx"), "257");
  free_toy(&y);
}

/* ---- SentencePiece BPE --------------------------------------------------------------------- */

/* Characters and byte tokens; merges follow from the scores. */
static Toy sentencepiece(void) {
  static const char *const pieces[] = {
      "<unk>", "a", "b", "c", "ab", "bc", "abc", "\xe2\x96\x81", "<0xC3>", "<0xA9>", "<0xE2>", "d"};
  Toy y = {.arena = arena_new(), .diag = diag_new()};
  TokenizerSpec *s = &y.spec;
  s->model = TOK_BPE;
  s->source = "toy.json";
  s->byte_fallback = s->fuse_unk = true;
  s->bos_id = s->eos_id = s->pad_id = -1;
  s->vocab = ARENA_ARRAY(y.arena, TextBytes, COUNT(pieces));
  s->scores = ARENA_ARRAY(y.arena, float, COUNT(pieces));
  for (uint32_t i = 0; i < COUNT(pieces); i++) s->vocab[s->nvocab++] = bytes(pieces[i]);
  s->scores[4] = -2; /* ab */
  s->scores[5] = -1; /* bc goes first */
  s->scores[6] = -3; /* abc */
  s->decoder = ARENA_ARRAY(y.arena, TextStep, 2);
  s->decoder[s->ndecoder++] = (TextStep){.kind = STEP_REPLACE,
                                         .pattern = bytes("\xe2\x96\x81"),
                                         .is_literal = true,
                                         .content = bytes(" ")};
  s->decoder[s->ndecoder++] =
      (TextStep){.kind = STEP_STRIP, .trim_left = true, .content = bytes(" ")};
  return y;
}

static void test_merges_of_scores(void **state) {
  (void)state;
  Toy y = sentencepiece();
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "abc"), "6");
  assert_string_equal(ENCODE(&y, "ab"), "4");
  assert_string_equal(ENCODE(&y, "abbc"), "4 5");
  assert_string_equal(ENCODE(&y, "a\xc3\xa9zzb"), "1 8 9 0 2"); /* bytes, then unknown, fused */
  free_toy(&y);
}

static void test_byte_tokens_are_text_when_whole(void **state) {
  (void)state;
  static const struct {
    uint32_t id[6];
    size_t n;
    const char *text;
  } cases[] = {{{7, 6, 7, 8, 9, 1},
                6,
                "abc \xc3\xa9"
                "a"},
               {{8, 9, 10}, 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
               {{10, 1, 8},
                3,
                "\xef\xbf\xbd"
                "a\xef\xbf\xbd"},
               {{7, 7, 1}, 3, " a"}};
  Toy y = sentencepiece();
  open_toy(&y);
  for (size_t i = 0; i < COUNT(cases); i++) {
    Out whole = {0}, parts = {0};
    TokStream *s = tok_stream_new(y.t, false);
    assert_int_equal(tok_decode(y.t, cases[i].id, cases[i].n, false, &whole), TEXT_OK);
    for (size_t k = 0; k < cases[i].n; k++)
      assert_int_equal(tok_stream_put(s, cases[i].id[k], &parts), TEXT_OK);
    assert_int_equal(tok_stream_end(s, &parts), TEXT_OK);
    assert_int_equal(whole.size, strlen(cases[i].text));
    assert_memory_equal(whole.data, cases[i].text, whole.size);
    assert_int_equal(parts.size, whole.size);
    assert_memory_equal(parts.data, whole.data, whole.size);
    tok_stream_free(s);
    out_free(&whole);
    out_free(&parts);
  }
  free_toy(&y);
}

static void test_metaspace_schemes(void **state) {
  (void)state;
  static const struct {
    int scheme;
    const char *ids;
  } cases[] = {{TOK_META_ALWAYS, "7 1 12 7 2 7 3"},
               {TOK_META_FIRST, "7 1 12 2 7 3"},
               {TOK_META_NEVER, "1 12 2 7 3"}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    Toy y = sentencepiece();
    pretokenizer(&y, (TextStep){.kind = STEP_METASPACE,
                                .content = bytes("\xe2\x96\x81"),
                                .split = true,
                                .prepend_scheme = cases[i].scheme});
    add(&y, (AddedToken){.text = bytes("<x>")});
    open_toy(&y);
    assert_string_equal(ENCODE(&y, "a<x>b c"), cases[i].ids);
    free_toy(&y);
  }
}

/* ---- added tokens -------------------------------------------------------------------------- */

static void test_added_tokens(void **state) {
  (void)state;
  Toy y = toy();
  add(&y, (AddedToken){.text = bytes("<s>"), .special = true}); /* 256 */
  add(&y, (AddedToken){.text = bytes("<s>x")});                 /* 257 */
  add(&y, (AddedToken){.text = bytes("<m>"), .special = true, .lstrip = true, .rstrip = true});
  add(&y, (AddedToken){.text = bytes("is"), .single_word = true}); /* 259 */
  open_toy(&y);
  assert_string_equal(ENCODE(&y, "<s>a<s>x"), "256 97 257");
  assert_string_equal(ENCODE(&y, "a \n <m>\t b"), "97 258 98");
  assert_string_equal(ENCODE(&y, "is this"), "259 32 116 104 105 115");
  assert_string_equal(encode(&y, "<s>", 3, TOK_NO_ADDED), "60 115 62");
  assert_string_equal(encode(&y, "<s>x", 4, TOK_NO_ADDED), "257");
  assert_int_equal(tok_find(y.t, "<s>"), 256);
  assert_int_equal(tok_find(y.t, "a"), 'a');
  assert_int_equal(tok_find(y.t, "nothing"), -1);
  assert_true(tok_is_special(y.t, 256) && !tok_is_special(y.t, 257));
  assert_false(tok_is_special(y.t, 4000000000u));
  assert_int_equal(tok_vocab(y.t), 260);
  free_toy(&y);
}

static void test_bos_eos_of_gguf(void **state) {
  (void)state;
  Toy y = toy();
  y.spec.add_bos = y.spec.add_eos = true;
  y.spec.bos_id = 1;
  y.spec.eos_id = 2;
  open_toy(&y);
  TokIds ids = {0};
  assert_string_equal(ENCODE(&y, "a"), "1 97 2");
  assert_int_equal(tok_encode(y.t, "a", 1, "b", 1, TOK_ADD_SPECIAL, &ids), TEXT_OK);
  const uint32_t want[] = {1, 97, 2, 1, 98, 2};
  assert_int_equal(ids.n, 6);
  assert_memory_equal(ids.id, want, sizeof want);
  tok_ids_free(&ids);
  free_toy(&y);
}

/* ---- text ---------------------------------------------------------------------------------- */

static void test_broken_input_is_repaired(void **state) {
  (void)state;
  static const struct {
    const char *in, *out;
  } cases[] = {
      {"a\xff"
       "b",
       "a\xef\xbf\xbd"
       "b"},
      {"\xe2\x82", "\xef\xbf\xbd"},
      {"\xe2\x28\xa1", "\xef\xbf\xbd(\xef\xbf\xbd"},
      {"\xf0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
  };
  Toy y = toy();
  open_toy(&y);
  for (size_t i = 0; i < COUNT(cases); i++)
    assert_string_equal(decode(&y, cases[i].in, strlen(cases[i].in)), cases[i].out);
  free_toy(&y);
}

static void test_stream_waits_for_whole_characters(void **state) {
  (void)state;
  Toy y = toy();
  Out out = {0};
  open_toy(&y);
  TokStream *s = tok_stream_new(y.t, true);
  static const struct {
    uint32_t id;
    const char *so_far;
  } steps[] = {{0xe2, ""},
               {0x82, ""},
               {0xac, "€"},
               {0xf0, "€"},
               {0x9f, "€"},
               {'a', "€\xef\xbf\xbd"
                     "a"},
               {0x80, "€\xef\xbf\xbd"
                      "a\xef\xbf\xbd"},
               {0xc3, "€\xef\xbf\xbd"
                      "a\xef\xbf\xbd"},
               {0xc3, "€\xef\xbf\xbd"
                      "a\xef\xbf\xbd\xef\xbf\xbd"},
               {0xa9, "€\xef\xbf\xbd"
                      "a\xef\xbf\xbd\xef\xbf\xbdé"},
               {99999, "€\xef\xbf\xbd"
                       "a\xef\xbf\xbd\xef\xbf\xbdé"}};
  for (size_t i = 0; i < COUNT(steps); i++) {
    assert_int_equal(tok_stream_put(s, steps[i].id, &out), TEXT_OK);
    assert_int_equal(out.size, strlen(steps[i].so_far));
    if (out.size) assert_memory_equal(out.data, steps[i].so_far, out.size);
  }
  assert_int_equal(tok_stream_put(s, 0xe2, &out), TEXT_OK);
  size_t before = out.size;
  assert_int_equal(tok_stream_end(s, &out), TEXT_OK);
  assert_int_equal(out.size, before + 3);
  tok_stream_free(s);
  out_free(&out);
  free_toy(&y);
}

static void test_tidied_spaces(void **state) {
  (void)state;
  Toy y = toy();
  y.spec.clean_up_spaces = true;
  open_toy(&y);
  assert_string_equal(decode(&y, "a . b , do n't ' x ' we 're", 27), "a. b, don't'x'we're");
  assert_string_equal(decode(&y, "  ' s", 5), "'s");
  TokStream *s = tok_stream_new(y.t, true);
  Out out = {0};
  for (const char *p = "word ."; *p; p++) assert_int_equal(tok_stream_put(s, (uint8_t)*p, &out), 0);
  assert_int_equal(out.size, 4); /* " ." may still change */
  assert_int_equal(tok_stream_end(s, &out), TEXT_OK);
  assert_int_equal(out.size, 5);
  out_free(&out);
  tok_stream_free(s);
  free_toy(&y);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_merges_by_rank),
      cmocka_unit_test(test_two_ways_to_a_token),
      cmocka_unit_test(test_ranks_out_of_id_order),
      cmocka_unit_test(test_missing_bytes_vanish),
      cmocka_unit_test(test_unknown_token_for_missing_bytes),
      cmocka_unit_test(test_ignore_merges),
      cmocka_unit_test(test_merges_of_scores),
      cmocka_unit_test(test_byte_tokens_are_text_when_whole),
      cmocka_unit_test(test_metaspace_schemes),
      cmocka_unit_test(test_added_tokens),
      cmocka_unit_test(test_bos_eos_of_gguf),
      cmocka_unit_test(test_broken_input_is_repaired),
      cmocka_unit_test(test_stream_waits_for_whole_characters),
      cmocka_unit_test(test_tidied_spaces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
