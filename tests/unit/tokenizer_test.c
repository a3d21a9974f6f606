/* The tokenizer on vocabularies made by hand: what is refused and how, flags, streaming, broken
 * input, hostile lengths. Agreement with Hugging Face is tests/tokenizer's.
 *
 * The vocabulary is GPT-2's: 256 bytes in its alphabet, ids 0..255 by byte, then merges.
 */
#include "backends/text/text_backend.h"
#include "backends/text/tok_compile.h"
#include "runtime/text/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { MAX_TOKENS = 400 };

typedef struct Toy {
  Arena *arena;
  TokenizerSpec spec;
  TextStep step[8];
  AddedToken added[8];
  Diag *diag;
  Buf blob;
  Tokenizer *t;
} Toy;

static TextBytes bytes(const char *s) {
  return (TextBytes){s, (uint32_t)strlen(s)};
}

/* A string of the alphabet for raw bytes. */
static TextBytes in_alphabet(Arena *a, const char *raw) {
  char *out = arena_alloc(a, 2 * strlen(raw) + 1);
  size_t n = 0;
  for (const char *p = raw; *p; p++) {
    uint32_t c = stand_in_of_byte((uint8_t)*p);
    if (c >= 0x80) out[n++] = (char)(0xc0 | c >> 6);
    out[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
  }
  return (TextBytes){out, (uint32_t)n};
}

static Toy toy(void) {
  Toy y = {.arena = arena_new(), .diag = diag_new()};
  TokenizerSpec *s = &y.spec;
  s->model = TOK_BPE;
  s->source = "toy.json";
  s->byte_level = true;
  s->unk_id = s->bos_id = s->eos_id = s->pad_id = -1;
  s->vocab = ARENA_ARRAY(y.arena, TextBytes, MAX_TOKENS);
  s->merges = arena_alloc_array(y.arena, MAX_TOKENS, sizeof *s->merges);
  for (int b = 0; b < 256; b++) {
    char raw[2] = {(char)b, 0};
    s->vocab[s->nvocab++] = b ? in_alphabet(y.arena, raw) : bytes("\xc4\x80");
  }
  return y;
}

static void merge(Toy *y, const char *left, const char *right) {
  TokenizerSpec *s = &y->spec;
  TextBytes l = in_alphabet(y->arena, left), r = in_alphabet(y->arena, right);
  s->merges[s->nmerges].left = l;
  s->merges[s->nmerges++].right = r;
  char *both = arena_printf(y->arena, "%.*s%.*s", (int)l.size, l.data, (int)r.size, r.data);
  s->vocab[s->nvocab++] = bytes(both);
}

static void pretokenizer(Toy *y, TextStep step) {
  y->step[y->spec.npretokenizer++] = step;
}

static void split_by(Toy *y, const char *pattern) {
  pretokenizer(
      y, (TextStep){.kind = STEP_SPLIT, .pattern = bytes(pattern), .behaviour = SPLIT_ISOLATED});
}

static void add(Toy *y, AddedToken a) {
  a.id = y->spec.nvocab + y->spec.nadded;
  y->added[y->spec.nadded++] = a;
}

static Status compile(Toy *y) {
  y->spec.pretokenizer = y->step;
  y->spec.added = y->added;
  return tokenizer_compile(&y->spec, y->diag, &y->blob);
}

static void open_toy(Toy *y) {
  if (compile(y) != OK) fail_msg("%s", diag_text(y->diag));
  assert_int_equal(tok_open(y->blob.data, y->blob.size, &y->t), TEXT_OK);
}

static void free_toy(Toy *y) {
  tok_close(y->t);
  buf_free(&y->blob);
  diag_free(y->diag);
  arena_free(y->arena);
}

/* The ids of a text as words: "97 256". */
static const char *encode(Toy *y, const char *text, size_t n, unsigned flags) {
  TokIds ids = {0};
  Buf b = {0};
  assert_int_equal(tok_encode(y->t, text, n, NULL, 0, flags, &ids), TEXT_OK);
  for (size_t i = 0; i < ids.n; i++) buf_printf(&b, i ? " %u" : "%u", ids.id[i]);
  tok_ids_free(&ids);
  const char *out = arena_strdup(y->arena, b.size ? b.data : "");
  buf_free(&b);
  return out;
}
#define ENCODE(y, text) encode(y, text, strlen(text), TOK_ADD_SPECIAL)

static const char *decode(Toy *y, const char *text, size_t n) {
  TokIds ids = {0};
  Out out = {0};
  assert_int_equal(tok_encode(y->t, text, n, NULL, 0, 0, &ids), TEXT_OK);
  assert_int_equal(tok_decode(y->t, ids.id, ids.n, false, &out), TEXT_OK);
  const char *copy = arena_strndup(y->arena, out.data ? out.data : "", out.size);
  out_free(&out);
  tok_ids_free(&ids);
  return copy;
}

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

/* ---- SentencePiece BPE
 * --------------------------------------------------------------------------- */

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
