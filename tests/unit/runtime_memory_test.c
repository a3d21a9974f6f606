/* Memory that runs out in the runtime: every allocation of an operation fails in turn, and each
 * time the operation must return an error and leak nothing (the sanitizer build checks the latter).
 *
 * malloc and its kin are wrapped by the linker.
 */
#include "runtime/core/args.h"
#include "runtime/core/json.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/sampler.h"
#include "runtime/core/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

static long count, fail_at; /* the fail_at-th allocation fails; 0: none */

static bool fails(void) {
  return ++count == fail_at;
}

void *__wrap_malloc(size_t n) {
  return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
  return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
  return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n) {
  return fails() ? NULL : __real_aligned_alloc(alignment, n);
}

/* Runs `operation` with each of its allocations failing; it returns nonzero on error. */
static void sweep(int (*operation)(void)) {
  long n = 0;
  for (;;) {
    fail_at = ++n;
    count = 0;
    int bad = operation();
    long used = count;
    fail_at = 0;
    if (used < n) {
      assert_int_equal(bad, 0);
      break;
    }
    assert_int_not_equal(bad, 0);
  }
  assert_true(n > 1); /* there was something to fail */
}

static int read_and_write_json(void) {
  static const char text[] = "{\"a\":[1,2.5,[],{}],\"b\":\"\\u00e9\",\"a\":null,\"c\":[[1],[2]]}";
  Out o = {0};
  JsonPool *p = json_pool_new();
  Json *v = p ? json_parse(p, text, sizeof text - 1, NULL, NULL) : NULL;
  if (v) out_json(&o, v);
  int bad = !v || o.failed;
  out_free(&o);
  json_pool_free(p);
  return bad;
}

static const char *path = "test.safetensors";

static int write_and_read_tensors(void) {
  StTensor t = {.name = "a", .dtype = INGOT_I32, .rank = 1, .dim = {2}};
  int32_t data[2] = {1, 2};
  StWriter *w = NULL;
  StFile *f = NULL;
  Err e = {0};
  unlink(path);
  int bad = st_create(path, &t, 1, &w, &e);
  if (!bad && st_write(w, data, sizeof data, &e)) {
    st_abandon(w);
    return 1;
  }
  bad = bad || st_commit(w, &e) || st_open(path, &f, &e);
  if (bad) assert_string_not_equal(e.what, "");
  st_close(f);
  return bad;
}

static int open_session(void) {
  ExecOptions o = {.threads = 2};
  Session *s = NULL;
  Err e = {0};
  uint32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  int bad = session_open(&ingot_model, &o, &s, &e);
  long before = count;
  if (!bad) {
    assert_int_equal(session_prefill(s, ids, 9, NULL, &e), 0);
    assert_int_equal(session_decode(s, 1, &e), 0);
    assert_int_equal(count, before); /* running allocates nothing */
  } else {
    assert_string_not_equal(e.what, "");
  }
  session_close(s);
  return bad;
}

static int open_sampler(void) {
  SamplerOptions o = {.temperature = 1, .top_p = 0.9, .repeat_penalty = 1.1};
  Sampler *s = sampler_new(100, &o);
  float logits[100] = {0};
  long before = count;
  if (!s) return 1;
  sampler_see(s, sampler_pick(s, logits));
  assert_int_equal(count, before);
  sampler_free(s);
  return 0;
}

static void json_survives(void **unused) {
  (void)unused;
  sweep(read_and_write_json);
}

static void safetensors_survive(void **unused) {
  (void)unused;
  sweep(write_and_read_tensors);
  unlink(path);
}

static void session_survives(void **unused) {
  (void)unused;
  sweep(open_session);
}

static void sampler_survives(void **unused) {
  (void)unused;
  sweep(open_sampler);
}

/* Mappings too: with the address space cut, opening is an error. */
static void mapping_survives(void **unused) {
  (void)unused;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  skip(); /* the sanitizer needs its shadow */
#endif
  struct rlimit old, tight;
  getrlimit(RLIMIT_AS, &old);
  tight = old;
  tight.rlim_cur = 1 << 20; /* below what is mapped already */
  setrlimit(RLIMIT_AS, &tight);
  int bad = open_session();
  setrlimit(RLIMIT_AS, &old);
  assert_int_equal(bad, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_survives),    cmocka_unit_test(safetensors_survive),
      cmocka_unit_test(session_survives), cmocka_unit_test(sampler_survives),
      cmocka_unit_test(mapping_survives),
  };
  char folder[] = "/tmp/ingot-test-XXXXXX"; /* files of this run, safe from other runs */
  if (!mkdtemp(folder) || chdir(folder)) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(folder);
  return failed;
}
