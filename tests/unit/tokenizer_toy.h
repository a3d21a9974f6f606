/* Tokenizers on vocabularies made by hand, for the tests of this folder.
 *
 * The vocabulary of toy() is GPT-2's: 256 bytes in its alphabet, ids 0..255 by byte, then merges.
 */
#ifndef INGOT_TOKENIZER_TOY_H
#define INGOT_TOKENIZER_TOY_H

#include "backends/text/text_backend.h"
#include "backends/text/tok_compile.h"
#include "runtime/text/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

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

static inline TextBytes bytes(const char *s) {
  return (TextBytes){s, (uint32_t)strlen(s)};
}

/* A string of the alphabet for raw bytes. */
static inline TextBytes in_alphabet(Arena *a, const char *raw) {
  char *out = arena_alloc(a, 2 * strlen(raw) + 1);
  size_t n = 0;
  for (const char *p = raw; *p; p++) {
    uint32_t c = stand_in_of_byte((uint8_t)*p);
    if (c >= 0x80) out[n++] = (char)(0xc0 | c >> 6);
    out[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
  }
  return (TextBytes){out, (uint32_t)n};
}

static inline Toy toy(void) {
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

static inline void merge(Toy *y, const char *left, const char *right) {
  TokenizerSpec *s = &y->spec;
  TextBytes l = in_alphabet(y->arena, left), r = in_alphabet(y->arena, right);
  s->merges[s->nmerges].left = l;
  s->merges[s->nmerges++].right = r;
  char *both = arena_printf(y->arena, "%.*s%.*s", (int)l.size, l.data, (int)r.size, r.data);
  s->vocab[s->nvocab++] = bytes(both);
}

static inline void pretokenizer(Toy *y, TextStep step) {
  y->step[y->spec.npretokenizer++] = step;
}

static inline void split_by(Toy *y, const char *pattern) {
  pretokenizer(
      y, (TextStep){.kind = STEP_SPLIT, .pattern = bytes(pattern), .behaviour = SPLIT_ISOLATED});
}

static inline void add(Toy *y, AddedToken a) {
  a.id = y->spec.nvocab + y->spec.nadded;
  y->added[y->spec.nadded++] = a;
}

static inline Status compile(Toy *y) {
  y->spec.pretokenizer = y->step;
  y->spec.added = y->added;
  return tokenizer_compile(&y->spec, y->diag, &y->blob);
}

static inline void open_toy(Toy *y) {
  if (compile(y) != OK) fail_msg("%s", diag_text(y->diag));
  assert_int_equal(tok_open(y->blob.data, y->blob.size, &y->t), TEXT_OK);
}

static inline void free_toy(Toy *y) {
  tok_close(y->t);
  buf_free(&y->blob);
  diag_free(y->diag);
  arena_free(y->arena);
}

/* The ids of a text as words: "97 256". */
static inline const char *encode(Toy *y, const char *text, size_t n, unsigned flags) {
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

static inline const char *decode(Toy *y, const char *text, size_t n) {
  TokIds ids = {0};
  Out out = {0};
  assert_int_equal(tok_encode(y->t, text, n, NULL, 0, 0, &ids), TEXT_OK);
  assert_int_equal(tok_decode(y->t, ids.id, ids.n, false, &out), TEXT_OK);
  const char *copy = arena_strndup(y->arena, out.data ? out.data : "", out.size);
  out_free(&out);
  tok_ids_free(&ids);
  return copy;
}

#endif
