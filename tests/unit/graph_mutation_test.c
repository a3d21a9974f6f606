/* Hostile text: the files of tests/pass with seeded damage. Parser and verifier must refuse or
 * accept without a crash; what they accept, the passes must keep valid and the printer must give a
 * text that is read back and printed the same.
 */
#include "passes/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 400, MOST_DAMAGE = 4 };

static const char *const files[] = {"fold_constants", "canonicalize", "merge_linear", "cse", "dce",
                                    "quantize",       "pipeline"};
static const char *const words[] = {"0",
                                    "-1",
                                    "9223372036854775807",
                                    "1099511627776",
                                    "S",
                                    "(P+S)",
                                    "[]",
                                    "[0]",
                                    "{axis = 0}",
                                    "%x",
                                    "%kv",
                                    "dense [1]",
                                    "i32",
                                    "q8_0",
                                    "act_i16",
                                    "tensor<f32>",
                                    "reshape",
                                    "split",
                                    "concat",
                                    "linear",
                                    "gather",
                                    "matmul",
                                    "kv_append",
                                    "attention_kv",
                                    "rope_table",
                                    "rope",
                                    "rope_freqs",
                                    "transpose",
                                    "slice",
                                    "softmax",
                                    "argmax",
                                    "requant",
                                    "cast",
                                    ",",
                                    "}",
                                    "inf"};

typedef struct Random {
  uint64_t state;
} Random;

static size_t below(Random *r, size_t n) {
  r->state = r->state * 6364136223846793005u + 1442695040888963407u;
  return n ? (size_t)(r->state >> 33) % n : 0;
}

/* One kind of damage to `text`, appended to `out`. */
static void damage(Random *r, const char *text, Buf *out) {
  size_t n = strlen(text), at = below(r, n), end = at;
  switch (below(r, 4)) {
  case 0: /* another character */
    buf_put(out, text, at);
    buf_printf(out, "%c", (int)(32 + below(r, 95)));
    buf_puts(out, text + at + (at < n));
    return;
  case 1: /* another word */
    while (end < n && !strchr(" ,\n", text[end])) end++;
    buf_put(out, text, at);
    buf_puts(out, words[below(r, COUNT(words))]);
    buf_puts(out, text + end);
    return;
  case 2: /* a piece less */
    end += below(r, 9);
    buf_put(out, text, at);
    buf_puts(out, text + (end < n ? end : n));
    return;
  default: /* a line twice */
    while (at && text[at - 1] != '\n') at--;
    while (end < n && text[end] != '\n') end++;
    buf_put(out, text, end);
    buf_puts(out, "\n");
    buf_puts(out, text + at);
  }
}

/* True when the text was accepted. */
static bool try_text(const char *text, ActFormat act, Storage quant) {
  Diag *d = diag_new();
  Buf first = {0}, second = {0};
  PassCtx c = {.diag = d, .options = {.act = act, .quant = quant}};
  bool accepted = opt_text(text, "mutated", "all", &c, &first) == OK;
  if (strstr(diag_text(d), "breaks an invariant")) fail_msg("%s%s", text, diag_text(d));
  if (accepted && (opt_text(first.data, "printed", "", &c, &second) != OK ||
                   strcmp(first.data, second.data) != 0))
    fail_msg("%s%s", text, diag_text(d));
  if (!accepted && !diag_errors(d)) fail_msg("refused without a message:\n%s", text);
  buf_free(&first);
  buf_free(&second);
  diag_free(d);
  return accepted;
}

static void damaged_text_is_refused_or_sound(void **state) {
  (void)state;
  Random r = {2025};
  int accepted = 0;
  for (size_t f = 0; f < COUNT(files); f++) {
    Arena *a = arena_new();
    Diag *d = diag_new();
    char *text;
    size_t size;
    const char *path = arena_printf(a, "%s/pass/%s.ir", TEST_SOURCE_DIR, files[f]);
    if (file_read(a, d, path, 1 << 20, &text, &size) != OK) fail_msg("%s", diag_text(d));
    for (int round = 0; round < ROUNDS; round++) {
      Buf b = {0}, worse = {0};
      buf_puts(&b, text);
      for (size_t k = below(&r, MOST_DAMAGE) + 1; k > 0; k--) {
        damage(&r, b.data, &worse);
        buf_free(&b);
        b = worse;
        worse = (Buf){0};
      }
      accepted += try_text(b.data, round % 2 ? ACT_i16 : ACT_i8, round % 3 ? Q_q4_1 : Q_plain);
      buf_free(&b);
    }
    diag_free(d);
    arena_free(a);
  }
  assert_in_range(accepted, 100, ROUNDS * COUNT(files) - 100); /* both kinds were met */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(damaged_text_is_refused_or_sound)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
