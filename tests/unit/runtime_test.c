/* The runtime: threads, processor, execution, session, safetensors. */
#include "runtime/core/cpu.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/session.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int32_t toy_hash(int32_t id, int32_t pos, int32_t v);

/* ---- threads --------------------------------------------------------------------------------- */

enum { LAPS = 300, RANGES = 8, PIECES = LAP_PIECES };
typedef struct Relay {
  int plain[LAPS][RANGES][PIECES]; /* times that a piece was run */
  atomic_uint ranges;              /* of each lap */
  atomic_int wrong, idle;
} Relay;

/* Every third lap does not wait for the one before. */
static bool relay_waits(const void *arg, unsigned lap) {
  (void)arg;
  return lap % 3 != 2;
}

static unsigned relay_pieces(const void *arg, unsigned lap, unsigned n) {
  (void)arg;
  if (n == 1) return 1;
  return lap % 5 ? 1 + lap % 3 : PIECES;
}

/* Has work for three times before each lap that waits. */
static bool relay_idle(const void *arg, unsigned lap, unsigned range, unsigned n,
                       uint64_t *progress) {
  Relay *r = (Relay *)(uintptr_t)arg;
  if (*progress / 4 != lap) *progress = 4 * (uint64_t)lap;
  if (!relay_waits(arg, lap) || range >= n || lap >= LAPS) atomic_fetch_add(&r->wrong, 1);
  atomic_fetch_add(&r->idle, 1);
  return ++*progress % 4 != 3;
}

static void relay_range(const void *arg, unsigned lap, const LapPart *part) {
  unsigned n = part->nranges;
  Relay *r = (Relay *)(uintptr_t)arg;
  atomic_store(&r->ranges, n);
  if (lap && relay_waits(arg, lap))
    for (unsigned i = 0; i < n * relay_pieces(arg, lap - 1, n); i++)
      if (r->plain[lap - 1][i % n][i / n] != 1) atomic_fetch_add(&r->wrong, 1);
  if (lap % 50 == 7 && part->range == 1) usleep(200); /* this one is late */
  r->plain[lap][part->range][part->piece]++;
}

static void laps_run_once_and_in_order(void **unused) {
  (void)unused;
  static const unsigned sizes[] = {1, 2, 3, 7}; /* more than this machine may have: some pause */
  for (size_t i = 0; i < COUNT(sizes); i++) {
    ThreadPool *pool;
    Err e = {0};
    assert_int_equal(pool_open(sizes[i], &pool, &e), 0);
    static Relay r; /* late workers may look at it until the pool is closed */
    for (int k = 0; k < 20; k++) {
      Laps laps = {.range = relay_range,
                   .waits = relay_waits,
                   .idle = relay_idle,
                   .pieces = relay_pieces,
                   .arg = &r,
                   .count = LAPS,
                   .whole = k % 2};
      memset(&r, 0, sizeof r);
      pool_laps(pool, &laps);
      assert_int_equal(r.wrong, 0);
      assert_true(r.ranges == sizes[i] || (!laps.whole && r.ranges < sizes[i]));
      assert_true(r.ranges == 1 || r.idle > 0);
      for (unsigned lap = 0; lap < LAPS; lap++)
        for (unsigned w = 0; w < sizes[i]; w++)
          for (unsigned p = 0; p < PIECES; p++)
            assert_int_equal(r.plain[lap][w][p],
                             w < r.ranges && p < relay_pieces(&r, lap, r.ranges));
    }
    pool_close(pool);
  }
}

typedef struct Slow {
  pthread_t caller;
  atomic_bool slow;
  atomic_uint ranges;
} Slow;

/* Every thread but the caller's takes milliseconds, as if it had lost its core. */
static void slow_range(const void *arg, unsigned lap, const LapPart *part) {
  Slow *s = (Slow *)(uintptr_t)arg;
  (void)lap;
  atomic_store(&s->ranges, part->nranges);
  if (atomic_load(&s->slow) && !pthread_equal(pthread_self(), s->caller)) usleep(3000);
}

static bool always_waits(const void *arg, unsigned lap) {
  (void)arg, (void)lap;
  return true;
}

/* Runs jobs until one has `want` ranges a lap; false after ten seconds without. */
static bool comes_to(ThreadPool *pool, Slow *s, unsigned want) {
  Laps laps = {.range = slow_range, .waits = always_waits, .arg = s, .count = 50};
  for (time_t end = time(NULL) + 10; time(NULL) < end;) {
    pool_laps(pool, &laps);
    if (s->ranges == want) return true;
  }
  return false;
}

static void who_lost_its_core_pauses(void **unused) {
  (void)unused;
  static Slow s;
  ThreadPool *pool;
  Err e = {0};
  s.caller = pthread_self();
  assert_int_equal(pool_open(3, &pool, &e), 0);
  atomic_store(&s.slow, true);
  assert_true(comes_to(pool, &s, 1)); /* one after the other */
  Laps whole = {.range = slow_range, .waits = always_waits, .arg = &s, .count = 3, .whole = true};
  pool_laps(pool, &whole);
  assert_int_equal(s.ranges, 3);
  atomic_store(&s.slow, false);
  assert_true(comes_to(pool, &s, threads_cpus() < 3 ? threads_cpus() : 3)); /* all are back */
  pool_close(pool);
}

static void count_worker(void *arg, unsigned worker, unsigned n) {
  atomic_int *seen = arg;
  (void)n;
  atomic_fetch_add(&seen[worker], 1);
}

static void pool_runs_on_every_worker(void **unused) {
  (void)unused;
  ThreadPool *pool;
  Err e = {0};
  atomic_int seen[5] = {0};
  assert_int_equal(pool_open(5, &pool, &e), 0);
  for (int k = 0; k < 100; k++) pool_run(pool, count_worker, seen);
  for (int i = 0; i < 5; i++) assert_int_equal(seen[i], 100);
  pool_close(pool);
}

static void pool_refuses_silly_sizes(void **unused) {
  (void)unused;
  ThreadPool *p;
  Err e = {0};
  assert_int_equal(pool_open(0, &p, &e), 1);
  assert_null(p);
  assert_string_equal(e.where, "threads");
}

static void put_file(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void cores_and_quota_are_counted(void **unused) {
  (void)unused;
  char root[] = "cgroup-XXXXXX", path[256];
  assert_non_null(mkdtemp(root));
  static const char *const dirs[] = {
      "c", "a", "a/b", "cpu,cpuacct", "cpu,cpuacct/x", "cpu6", "cpu6/topology"};
  static const char *const files[][2] = {{"a/cpu.max", "250000 100000\n"},
                                         {"a/b/cpu.max", "max 100000\n"},
                                         {"c/cpu.max", "50000 100000\n"},
                                         {"cpu,cpuacct/x/cpu.cfs_quota_us", "150000\n"},
                                         {"cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"},
                                         {"cpu6/topology/thread_siblings_list", "2,6\n"}};
  for (size_t i = 0; i < COUNT(dirs); i++) {
    snprintf(path, sizeof path, "%s/%s", root, dirs[i]);
    assert_int_equal(mkdir(path, 0777), 0);
  }
  for (size_t i = 0; i < COUNT(files); i++) {
    snprintf(path, sizeof path, "%s/%s", root, files[i][0]);
    put_file(path, files[i][1]);
  }
  assert_int_equal(threads_quota(root, "0::/a/b\n"), 2);
  assert_int_equal(threads_quota(root, "0::/nowhere/b\n"), 0);
  assert_int_equal(threads_quota(root, "0::/\n"), 0);
  assert_int_equal(threads_quota(root, "0::/c/gone\n"), 1);       /* less than one core is one */
  assert_int_equal(threads_quota(root, "1:cpu:/\n0::/a/b\n"), 2); /* both kinds at once */
  assert_int_equal(threads_quota(root, "12:memory:/x\n4:cpu,cpuacct:/x\n"), 1);
  assert_int_equal(threads_quota(root, "garbage\n:\n"), 0);
  assert_int_equal(threads_first_sibling(root, 6), 2);
  assert_int_equal(threads_first_sibling(root, 7), 7);
  for (size_t i = COUNT(files); i-- > 0;) {
    snprintf(path, sizeof path, "%s/%s", root, files[i][0]);
    unlink(path);
  }
  for (size_t i = COUNT(dirs); i-- > 0;) {
    snprintf(path, sizeof path, "%s/%s", root, dirs[i]);
    rmdir(path);
  }
  rmdir(root);
  assert_true(threads_default() >= 1);
}

/* ---- processor ------------------------------------------------------------------------------- */

static void level_is_chosen_or_refused(void **unused) {
  (void)unused;
  const IngotLevel *level = NULL;
  Err e = {0};
  assert_int_equal(cpu_choose(&ingot_model, NULL, &level, &e), 0);
  assert_string_equal(level->name, "x86-64-v2"); /* the other one is for another processor */
  assert_int_equal(cpu_choose(&ingot_model, "x86-64-v9", &level, &e), 1);
  assert_non_null(strstr(e.what, "it has: x86-64-v2, aarch64-i8mm"));
  memset(&e, 0, sizeof e);
  assert_int_equal(cpu_choose(&ingot_model, "aarch64-i8mm", &level, &e), 1);
  assert_non_null(strstr(e.what, "lacks"));
}

/* ---- execution and session ------------------------------------------------------------------- */

static Session *open_toy(unsigned threads) {
  Session *s;
  Err e = {0};
  ExecOptions o = {.threads = threads};
  assert_int_equal(session_open(&ingot_model, &o, &s, &e), 0);
  return s;
}

static float expected_logit(const uint32_t *ids, int64_t n, const float *mask, int32_t v) {
  float sum = 0;
  for (int64_t j = 0; j < n; j++)
    if (!mask || mask[j] != 0) sum += (float)toy_hash((int32_t)ids[j], (int32_t)j, v);
  return sum;
}

static void check_logits(Session *s, const uint32_t *ids, int64_t n) {
  for (int32_t v = 0; v < session_vocab(s); v++)
    assert_true(session_logits(s)[v] == expected_logit(ids, n, NULL, v));
}

static void some_ids(uint32_t *ids, int64_t n) {
  for (int64_t i = 0; i < n; i++) ids[i] = (uint32_t)((i * 11 + 3) % 37);
}

static void prefill_in_chunks_equals_decode(void **unused) {
  (void)unused;
  uint32_t ids[48], tokens[2][48];
  some_ids(ids, 48);
  for (unsigned threads = 1; threads <= 3; threads++) {
    Session *s = open_toy(threads);
    Err e = {0};
    for (int64_t n = 1; n <= 48; n++) {
      session_rewind(s, 0);
      assert_int_equal(session_prefill(s, ids, n, NULL, &e), 0);
      assert_int_equal(session_past(s), n);
      check_logits(s, ids, n);
      tokens[0][n - 1] = session_token(s);
    }
    session_rewind(s, 0);
    for (int64_t n = 1; n <= 48; n++) {
      assert_int_equal(session_decode(s, ids[n - 1], &e), 0);
      check_logits(s, ids, n);
      tokens[1][n - 1] = session_token(s);
    }
    assert_memory_equal(tokens[0], tokens[1], sizeof tokens[0]);
    session_rewind(s, 20); /* and go on from the middle */
    assert_int_equal(session_prefill(s, ids + 20, 17, NULL, &e), 0);
    check_logits(s, ids, 37);
    session_close(s);
  }
}

/* Positions 20 to 29 of the toy make entry greedy read everything: it rests for 1, 3 and 7 steps.
 */
static void greedy_rests_where_it_does_not_pay(void **unused) {
  static const char *const by = "gggggggggggggggggggggdgdddgdddddddgggg";
  (void)unused;
  Session *s = open_toy(1), *all = open_toy(1);
  Err e = {0};
  uint32_t ids[38];
  some_ids(ids, 38);
  session_token_only(s, true);
  for (int64_t n = 0; n < 38; n++) {
    assert_int_equal(session_decode(s, ids[n], &e), 0);
    assert_int_equal(session_decode(all, ids[n], &e), 0);
    assert_int_equal(session_logits(s) == NULL, by[n] == 'g');
    assert_non_null(session_logits(all));
    assert_int_equal(session_token(s), session_token(all));
  }
  session_token_only(s, false);
  session_rewind(s, 10);
  assert_int_equal(session_decode(s, ids[10], &e), 0);
  check_logits(s, ids, 11);
  session_close(s);
  session_close(all);
}

static void session_refuses_too_much(void **unused) {
  (void)unused;
  uint32_t ids[49];
  some_ids(ids, 49);
  Session *s = open_toy(1);
  Err e = {0};
  assert_int_equal(session_prefill(s, ids, 49, NULL, &e), 1);
  assert_non_null(strstr(e.what, "49 tokens do not fit (the context holds 48"));
  memset(&e, 0, sizeof e);
  ids[3] = 37;
  assert_int_equal(session_prefill(s, ids, 4, NULL, &e), 1);
  assert_non_null(strstr(e.what, "id 37 at position 3 is out of range (expected 0 to 36)"));
  assert_int_equal(session_past(s), 0);
  session_close(s);
}

typedef struct Rows {
  Session *s;
  const uint32_t *ids;
  const float *mask;
  int64_t seen;
} Rows;

static int check_rows(void *user, int64_t first, int64_t count, Err *e) {
  Rows *r = user;
  Exec *x = session_exec(r->s);
  int entry = exec_entry(x, "logits");
  const float *out = exec_output_data(x, entry, exec_output(x, entry, "logits"));
  (void)e;
  for (int64_t i = 0; i < count; i++)
    for (int32_t v = 0; v < 37; v++)
      assert_true(out[i * 37 + v] == expected_logit(r->ids, first + i + 1, r->mask, v));
  r->seen += count;
  return 0;
}

static void rows_see_mask_and_history(void **unused) {
  (void)unused;
  uint32_t ids[23];
  float mask[23];
  some_ids(ids, 23);
  for (int i = 0; i < 23; i++) mask[i] = i < 3 || i == 11 ? 0.0f : 1.0f;
  Session *s = open_toy(2);
  Rows r = {.s = s, .ids = ids};
  Err e = {0};
  SessionRow row = {.ids = ids, .n = 23};
  int logits = exec_entry(session_exec(s), "logits");
  assert_int_equal(session_row(s, logits, &row, check_rows, &r, &e), 0);
  r.mask = row.mask = mask;
  assert_int_equal(session_row(s, logits, &row, check_rows, &r, &e), 0);
  assert_int_equal(r.seen, 46);
  assert_int_equal(session_row(s, exec_entry(session_exec(s), "decode"), &row, check_rows, &r, &e),
                   1); /* decode has no mask */
  assert_non_null(strstr(e.what, "hides position 0"));
  session_close(s);
}

static void dims_follow_their_symbols(void **unused) {
  (void)unused;
  Session *s = open_toy(1);
  Exec *x = session_exec(s);
  Err e = {0};
  int p = exec_symbol(x, "P"), chunk = exec_symbol(x, "S");
  assert_int_equal(exec_symbol(x, "nothing"), -1);
  assert_int_equal(exec_set(x, p, 10, &e), 0);
  assert_int_equal(exec_set(x, chunk, 7, &e), 0);
  assert_int_equal(exec_dim(x, 6), 17);     /* P + S */
  assert_int_equal(exec_dim(x, 8), 7 * 37); /* S * VOCAB */
  assert_int_equal(exec_set(x, chunk, 9, &e), 1);
  assert_string_equal(e.what, "9 is out of range (expected 1 to 8)");
  session_close(s);
}

static void exec_refuses_another_abi(void **unused) {
  (void)unused;
  IngotModel m = ingot_model;
  Exec *x;
  ExecOptions o = {.threads = 1};
  Err e = {0};
  m.abi = INGOT_ABI + 1;
  assert_int_equal(exec_open(&m, &o, &x, &e), 1);
  assert_null(x);
  m = ingot_model;
  m.nentries = 0;
  memset(&e, 0, sizeof e);
  assert_int_equal(exec_open(&m, &o, &x, &e), 1);
  m = ingot_model;
  m.nstates = 0; /* launches name state 0 */
  memset(&e, 0, sizeof e);
  assert_int_equal(exec_open(&m, &o, &x, &e), 1);
  assert_non_null(strstr(e.what, "malformed"));
}

static void impossible_state_is_an_error(void **unused) {
  (void)unused;
  IngotModel m = ingot_model;
  IngotState huge = {"history", (uint64_t)1 << 62};
  Exec *x;
  ExecOptions o = {.threads = 1};
  Err e = {0};
  m.states = &huge;
  assert_int_equal(exec_open(&m, &o, &x, &e), 1);
  assert_string_equal(e.where, "history");
  assert_non_null(strstr(e.what, "can't reserve"));
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static const char *st_path = "test.safetensors";

static void put_safetensors(const char *header, size_t data) {
  FILE *f = fopen(st_path, "wb");
  uint64_t n = strlen(header);
  assert_non_null(f);
  fwrite(&n, 8, 1, f);
  fwrite(header, 1, n, f);
  for (size_t i = 0; i < data; i++) fputc((int)i, f);
  fclose(f);
}

static void safetensors_round_trip(void **unused) {
  (void)unused;
  StTensor t[2] = {{.name = "a\"b", .dtype = INGOT_F32, .rank = 2, .dim = {2, 3}},
                   {.name = "ids", .dtype = INGOT_I64, .rank = 1, .dim = {2}}};
  float a[6] = {1, 2, 3, 4, 5, -0.5f};
  int64_t ids[2] = {-7, 9};
  StWriter *w;
  StFile *f;
  Err e = {0};
  assert_int_equal(st_create(st_path, t, 2, &w, &e), 0);
  assert_int_equal(st_write(w, a, 8, &e), 0); /* in pieces */
  assert_int_equal(st_write(w, a + 2, 16, &e), 0);
  assert_int_equal(st_write(w, ids, sizeof ids, &e), 0);
  assert_int_equal(st_commit(w, &e), 0);
  assert_int_equal(st_open(st_path, &f, &e), 0);
  assert_int_equal(st_count(f), 2);
  const StTensor *r = st_find(f, "a\"b");
  assert_non_null(r);
  assert_int_equal(r->dim[1], 3);
  assert_memory_equal(r->data, a, sizeof a);
  assert_memory_equal(st_find(f, "ids")->data, ids, sizeof ids);
  st_close(f);
  unlink(st_path);
}

static void unfinished_file_does_not_appear(void **unused) {
  (void)unused;
  StTensor t = {.name = "a", .dtype = INGOT_F32, .rank = 1, .dim = {4}};
  float a[5] = {0};
  StWriter *w;
  Err e = {0};
  unlink(st_path);
  assert_int_equal(st_create(st_path, &t, 1, &w, &e), 0);
  assert_int_equal(st_write(w, a, 8, &e), 0);
  assert_int_equal(st_commit(w, &e), 1); /* 8 bytes are missing */
  assert_int_equal(access(st_path, F_OK), -1);
  memset(&e, 0, sizeof e);
  assert_int_equal(st_create(st_path, &t, 1, &w, &e), 0);
  assert_int_equal(st_write(w, a, 20, &e), 1); /* more than said */
  st_abandon(w);
  assert_int_equal(access(st_path, F_OK), -1);
  memset(&e, 0, sizeof e);
  assert_int_equal(st_create("/nonexistent-folder/x", &t, 1, &w, &e), 1);
  assert_non_null(strstr(e.what, "can't be written"));
}

static void hostile_files_are_refused(void **unused) {
  (void)unused;
  static const struct {
    const char *header;
    size_t data;
    const char *error;
  } cases[] = {
      {"[]", 0, "header is not an object"},
      {"{", 0, "header, byte 1"},
      {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 4, "outside the data"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "outside the data"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
       "do not fit its shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "impossible shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
       "impossible shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
       "at most 8 sizes"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4, "two integers"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "leave a gap"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
       4, "overlap"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "bytes behind"},
      {"{\"a\":7}", 0, "unknown dtype"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    StFile *f;
    Err e = {0};
    put_safetensors(cases[i].header, cases[i].data);
    assert_int_equal(st_open(st_path, &f, &e), 1);
    assert_null(f);
    assert_non_null(strstr(e.what, cases[i].error));
  }
  StFile *f;
  Err e = {0};
  put_file(st_path, "\xff\xff\xff\xff\xff\xff\xff\x7f{}");
  assert_int_equal(st_open(st_path, &f, &e), 1);
  memset(&e, 0, sizeof e);
  put_file(st_path, "");
  assert_int_equal(st_open(st_path, &f, &e), 1);
  memset(&e, 0, sizeof e);
  assert_int_equal(st_open("/", &f, &e), 1);
  assert_non_null(strstr(e.what, "not a regular file"));
  unlink(st_path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(laps_run_once_and_in_order),
      cmocka_unit_test(who_lost_its_core_pauses),
      cmocka_unit_test(pool_runs_on_every_worker),
      cmocka_unit_test(pool_refuses_silly_sizes),
      cmocka_unit_test(cores_and_quota_are_counted),
      cmocka_unit_test(level_is_chosen_or_refused),
      cmocka_unit_test(prefill_in_chunks_equals_decode),
      cmocka_unit_test(greedy_rests_where_it_does_not_pay),
      cmocka_unit_test(session_refuses_too_much),
      cmocka_unit_test(rows_see_mask_and_history),
      cmocka_unit_test(dims_follow_their_symbols),
      cmocka_unit_test(exec_refuses_another_abi),
      cmocka_unit_test(impossible_state_is_an_error),
      cmocka_unit_test(safetensors_round_trip),
      cmocka_unit_test(unfinished_file_does_not_appear),
      cmocka_unit_test(hostile_files_are_refused),
  };
  char folder[] = "/tmp/ingot-test-XXXXXX"; /* files of this run, safe from other runs */
  if (!mkdtemp(folder) || chdir(folder)) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(folder);
  return failed;
}
