/* Profiles of the hand-made model: who ran what, how often, and that the times add up.
 *
 * Times themselves can't be foretold; their relations can: the calls of all rows make up the run,
 * no thread works longer than the run, bits don't change while a trace is set.
 */
#include "runtime/core/profile.h"

#include "runtime/core/session.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PROMPT = 19, STEPS = 11, CHUNK = 8, VOCAB = 37 };
static const uint32_t ids[PROMPT] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8};

static Session *opened(unsigned threads) {
  Err e = {0};
  Session *s;
  assert_int_equal(session_open(&ingot_model, &(ExecOptions){.threads = threads}, &s, &e), 0);
  return s;
}

static void run_all(Session *s, float *logits) {
  Err e = {0};
  session_rewind(s, 0);
  assert_int_equal(session_prefill(s, ids, PROMPT, NULL, &e), 0);
  for (int i = 0; i < STEPS; i++) assert_int_equal(session_decode(s, ids[i], &e), 0);
  memcpy(logits, session_logits(s), VOCAB * sizeof *logits);
}

static Profile *profiled(Session *s, bool each, float *logits) {
  Err e = {0};
  Profile *p;
  Exec *x = session_exec(s);
  assert_int_equal(profile_open(x, each, &p, &e), 0);
  assert_int_equal(profile_reserve(p, exec_entry(x, "decode"), STEPS - 1, &e), 0);
  assert_int_equal(profile_reserve(p, exec_entry(x, "decode"), 1, &e), 0);
  assert_int_equal(profile_reserve(p, exec_entry(x, "prefill"), 3, &e), 0);
  profile_start(p);
  run_all(s, logits);
  profile_stop(p);
  profile_sort(p);
  return p;
}

static void check_times(const ProfileEntry *en, unsigned threads) {
  double total = 0, busy = 0, by_thread = 0;
  int64_t launches = 0;
  for (uint32_t i = 0; i < en->nrows; i++) {
    const ProfileRow *r = &en->row[i];
    double sum = 0;
    assert_int_equal(r->calls, en->runs * r->launches);
    for (int64_t k = 0; k < r->calls; k++) {
      assert_true(r->seconds[k] >= (k ? r->seconds[k - 1] : 0));
      sum += r->seconds[k];
    }
    assert_true(fabs(sum - r->total) < 1e-9);
    assert_true(i == 0 || r->total <= en->row[i - 1].total);
    assert_true(profile_quantile(r, 0) == r->seconds[0]);
    assert_true(profile_quantile(r, 1) == r->seconds[r->calls - 1]);
    assert_true(profile_quantile(r, 0.5) <= profile_quantile(r, 0.95));
    total += r->total;
    busy += r->busy;
    launches += r->launches;
  }
  assert_int_equal(launches, ingot_model.entries[en->entry].nlaunches);
  assert_true(total > 0 && fabs(total - en->seconds) < 1e-9);
  for (unsigned i = 0; i < threads; i++) {
    assert_true(en->busy[i] >= 0 && en->busy[i] <= en->seconds + 1e-9);
    by_thread += en->busy[i];
  }
  assert_true(fabs(by_thread - busy) < 1e-9);
}

static void times_add_up(void **unused) {
  (void)unused;
  float plain[VOCAB], traced[VOCAB];
  for (unsigned threads = 1; threads <= 4; threads++) {
    Session *s = opened(threads);
    run_all(s, plain);
    Profile *p = profiled(s, false, traced);
    assert_memory_equal(plain, traced, sizeof plain);
    ProfileEntry *prefill = profile_entry(p, exec_entry(session_exec(s), "prefill"));
    ProfileEntry *decode = profile_entry(p, exec_entry(session_exec(s), "decode"));
    assert_int_equal(prefill->runs, (PROMPT + CHUNK - 1) / CHUNK);
    assert_int_equal(decode->runs, STEPS);
    assert_int_equal(profile_entry(p, exec_entry(session_exec(s), "logits"))->runs, 0);
    check_times(prefill, threads);
    check_times(decode, threads);
    profile_close(p);
    run_all(s, traced); /* the trace is off again */
    assert_memory_equal(plain, traced, sizeof plain);
    session_close(s);
  }
}

static const ProfileRow *row_named(const ProfileEntry *en, const char *label) {
  for (uint32_t i = 0; i < en->nrows; i++)
    if (strcmp(en->row[i].label, label) == 0) return &en->row[i];
  return NULL;
}

static void rows_sum_over_layers(void **unused) {
  (void)unused;
  float logits[VOCAB];
  Session *s = opened(2);
  int decode = exec_entry(session_exec(s), "decode");
  Profile *p = profiled(s, false, logits);
  const ProfileEntry *en = profile_entry(p, decode);
  assert_int_equal(en->nrows, 3);
  assert_int_equal(row_named(en, "attention / history")->launches, 2);
  assert_int_equal(row_named(en, "layer / not numbered")->launches, 1);
  assert_true(row_named(en, "attention / history")->flops == 2.0 * STEPS * VOCAB);
  assert_true(row_named(en, "layer / not numbered")->flops == 0);
  profile_close(p);
  p = profiled(s, true, logits);
  en = profile_entry(p, decode);
  assert_int_equal(en->nrows, 4);
  assert_int_equal(row_named(en, "layer 11 / attention / history")->launches, 1);
  profile_close(p);
  session_close(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_add_up),
      cmocka_unit_test(rows_sum_over_layers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
