/* The library API of runtime/ingot.h over the hand-made model. */
#include "runtime/ingot.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int32_t prompt[] = {1, 2, 3};
static const int32_t answer[] = {30, 30, 13, 1, 13}; /* as runtime_cli_test has it */

static Ingot *open_model(unsigned threads) {
  char message[256];
  Ingot *m = ingot_open(&(IngotOpenOptions){.threads = threads}, message, sizeof message);
  assert_non_null(m);
  assert_string_equal(message, "");
  return m;
}

static void say_answer(Ingot *m) {
  for (size_t i = 0; i < sizeof answer / sizeof answer[0]; i++) {
    assert_int_equal(ingot_greedy(m), answer[i]);
    assert_int_equal(ingot_decode(m, answer[i]), INGOT_OK);
  }
}

static void conversation_goes_on_and_back(void **unused) {
  (void)unused;
  Ingot *m = open_model(2);
  assert_string_equal(ingot_name(m), "toy");
  assert_int_equal(ingot_vocab(m), 37);
  assert_int_equal(ingot_context(m), 48);
  assert_null(ingot_logits(m));
  assert_int_equal(ingot_greedy(m), -1);
  assert_int_equal(ingot_prefill(m, prompt, 3), INGOT_OK);
  const float *logits = ingot_logits(m);
  for (int i = 0; i < 37; i++) assert_true(logits[i] <= logits[ingot_greedy(m)]);
  say_answer(m);
  assert_int_equal(ingot_position(m), 8);
  assert_int_equal(ingot_rewind(m, 2), INGOT_OK);
  assert_int_equal(ingot_decode(m, prompt[2]), INGOT_OK);
  say_answer(m);
  assert_int_equal(ingot_is_end(m, 5), 1);
  assert_int_equal(ingot_is_end(m, 6), 0);
  ingot_close(m);
}

static void wrong_calls_say_why_and_change_nothing(void **unused) {
  (void)unused;
  Ingot *m = open_model(1);
  int32_t bad[] = {1, 37}, negative[] = {-1}, many[49] = {0};
  assert_int_equal(ingot_prefill(m, prompt, 3), INGOT_OK);
  assert_int_equal(ingot_prefill(m, bad, 2), INGOT_FAILED);
  assert_non_null(strstr(ingot_error(m), "id 37 at position 1 is out of range"));
  assert_int_equal(ingot_prefill(m, negative, 1), INGOT_FAILED);
  assert_int_equal(ingot_prefill(m, many, 49), INGOT_FAILED);
  assert_int_equal(ingot_prefill(m, many, 0), INGOT_FAILED);
  assert_int_equal(ingot_rewind(m, 4), INGOT_FAILED);
  assert_int_equal(ingot_tokenize(m, "a", 1, 1, NULL, 0), -1);
  assert_non_null(strstr(ingot_error(m), "no tokenizer"));
  assert_int_equal(ingot_detokenize(m, prompt, 3, 0, NULL, 0), -1);
  assert_int_equal(ingot_render_chat(m, "{}", 2, NULL, 0), -1);
  assert_int_equal(ingot_position(m), 3);
  say_answer(m);
  assert_string_equal(ingot_error(m), "");
  ingot_close(m);
  ingot_close(NULL);
}

static void opening_can_fail(void **unused) {
  (void)unused;
  char message[256];
  IngotOpenOptions silly = {.threads = 100000}, unknown = {.cpu = "z80"};
  assert_null(ingot_open(&silly, message, sizeof message));
  assert_non_null(strstr(message, "100000 is not possible"));
  assert_null(ingot_open(&unknown, message, sizeof message));
  assert_non_null(strstr(message, "no code for 'z80'"));
  assert_null(ingot_open(&unknown, NULL, 0));
}

static void *converse(void *unused) {
  (void)unused;
  for (int i = 0; i < 20; i++) {
    Ingot *m = open_model(2);
    assert_int_equal(ingot_prefill(m, prompt, 3), INGOT_OK);
    say_answer(m);
    ingot_close(m);
  }
  return NULL;
}

static void handles_do_not_disturb_each_other(void **unused) {
  (void)unused;
  pthread_t t;
  assert_int_equal(pthread_create(&t, NULL, converse, NULL), 0);
  converse(NULL);
  pthread_join(t, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(conversation_goes_on_and_back),
      cmocka_unit_test(wrong_calls_say_why_and_change_nothing),
      cmocka_unit_test(opening_can_fail),
      cmocka_unit_test(handles_do_not_disturb_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
