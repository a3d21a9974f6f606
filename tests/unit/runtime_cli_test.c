/* The command line of a produced program, tried on the hand-made model (runtime_toy): exit codes,
 * messages, raw tensors, interruption, closed pipes.
 */
#include "runtime/core/safetensors.h"

#include "runtime/abi.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
enum { ROWS = 3, LENGTH = 23, VOCAB = 37 };

typedef struct Result {
  int status;
  char out[8192], err[8192];
} Result;

static void read_back(const char *path, char *text, size_t n) {
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  text[fread(text, 1, n - 1, f)] = 0;
  fclose(f);
  unlink(path);
}

/* Starts the program by a shell command line behind its name. */
static pid_t start(const char *words, const char *out, const char *err) {
  pid_t pid = fork();
  if (pid == 0) {
    char line[1024];
    snprintf(line, sizeof line, "exec " RUNTIME_TOY " %s >%s 2>%s </dev/null", words, out, err);
    execl("/bin/sh", "sh", "-c", line, (char *)NULL);
    _exit(127);
  }
  assert_true(pid > 0);
  return pid;
}

static int wait_for(pid_t pid) {
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void run(const char *words, Result *r) {
  char out[64], err[64];
  snprintf(out, sizeof out, "cli-%d.out", (int)getpid());
  snprintf(err, sizeof err, "cli-%d.err", (int)getpid());
  r->status = wait_for(start(words, out, err));
  read_back(out, r->out, sizeof r->out);
  read_back(err, r->err, sizeof r->err);
}

static void calls_answer_as_documented(void **unused) {
  (void)unused;
  static const struct {
    const char *words;
    int status;
    const char *out, *err;
  } cases[] = {
      {"--help", 0, "runtime_toy tensors", ""},
      {"--version", 0, "toy (hand-made) ingot", ""},
      {"bench --help", 0, "--depth", ""},
      {"card", 0, "{\"made\": \"by hand\"}", ""},
      {"card word", 2, "", "takes no argument 'word'"},
      {"generate --ids 1,2,3 -n 5 --json", 0, "{\"ids\": [30, 30, 13, 1, 13], \"text\": \"\"", ""},
      {"--ids '1 2 3' --json -n 5 -t 1", 0, "[30, 30, 13, 1, 13]", ""},
      {"--ids 1,2,3 -n 0 --json", 0, "{\"ids\": [], ", ""},
      {"--ids 1,2,3 -n 3 --stats", 0, "\n", "first token after"},
      {"--ids 1,2 --json --temp 1 --seed 3", 0, "\"seed\": 3",
       "the context of 48 positions is full"},
      {"bench -p 20 -n 20 -d 3 -r 2 --json", 0, "\"threads\": ", ""},
      {"bench", 0, "prefill     48 tokens", ""},
      {"bench -p 64", 1, "", "64 tokens do not fit (the context holds 48"},
      {"bench -n 99999999999", 2, "", "--tokens: '99999999999' is not possible"},
      {"bench word", 2, "", "takes no argument 'word'"},
      {"tensros", 2, "", "is not a call; did you mean 'tensors'?"},
      {"embed", 2, "", "needs the pooling of a sentence model"},
      {"profile --help", 0, "--each", ""},
      {"profile -p 9 -n 5 -t 1", 0, "greedy: 6 tokens in ", ""},
      {"profile -p 9 -n 0 -t 2 --json", 0, "\"entry\": \"prefill\", \"runs\": 1, \"tokens\": 8",
       ""},
      {"profile -p 40 -n 9", 1, "", "49 tokens do not fit (the context holds 48"},
      {"profile -p 0 -n 0", 1, "", "no token to run"},
      {"profile word", 2, "", "takes no argument 'word'"},
      {"hello", 2, "", "has no tokenizer; give --ids"},
      {"--idz 3", 2, "", "runtime_toy: error: --idz: unknown option; did you mean --ids?"},
      {"--ids 1,x", 1, "", "'x' is not a list of ids"},
      {"--ids 37", 1, "", "id 37 at position 0 is out of range (expected 0 to 36)"},
      {"--ids 1 words", 2, "", "takes the place of a prompt"},
      {"--ids 1 --system x", 2, "", "needs the chat template"},
      {"--ids 1 --stop ''", 2, "", "--stop: is empty"},
      {"--ids 1 --cpu x86-64-v9", 1, "", "no code for 'x86-64-v9' in this program"},
      {"--ids 1 -t 0", 2, "", "expected an integer from 1 to 512"},
      {"tokenize a", 2, "", "needs a tokenizer, which this program"},
      {"template --jsonl", 2, "", "needs a chat template, which this program"},
      {"tensors --in x", 2, "", "needs --in FILE and --out FILE"},
      {"tensors --in /nonexistent --out y", 1, "", "can't be opened"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    Result r;
    run(cases[i].words, &r);
    if (r.status != cases[i].status || !strstr(r.out, cases[i].out) || !strstr(r.err, cases[i].err))
      print_message("%s\n -> %d\n%s\n%s\n", cases[i].words, r.status, r.out, r.err);
    assert_int_equal(r.status, cases[i].status);
    assert_non_null(strstr(r.out, cases[i].out));
    assert_non_null(strstr(r.err, cases[i].err));
  }
}

/* ---- tensors --------------------------------------------------------------------------------- */

static const char *in_path = "in.safetensors";

static void put_input(int64_t rows, int64_t length, const char *second, int64_t value) {
  StTensor t[2] = {{.name = "input_ids", .dtype = INGOT_I64, .rank = 2, .dim = {rows, length}},
                   {.name = second, .dtype = INGOT_I64, .rank = 2, .dim = {rows, length}}};
  StWriter *w;
  Err e = {0};
  assert_int_equal(st_create(in_path, t, second ? 2 : 1, &w, &e), 0);
  for (int64_t i = 0; i < rows * length; i++) {
    int64_t id = (i * 17 + 5) % VOCAB;
    assert_int_equal(st_write(w, &id, sizeof id, &e), 0);
  }
  for (int64_t i = 0; second && i < rows * length; i++) {
    int64_t v = i % length < 4 ? value : 1;
    assert_int_equal(st_write(w, &v, sizeof v, &e), 0);
  }
  assert_int_equal(st_commit(w, &e), 0);
}

static StFile *run_tensors(const char *options, const char *out) {
  char words[512];
  Result r;
  StFile *f;
  Err e = {0};
  snprintf(words, sizeof words, "tensors --in %s --out %s %s", in_path, out, options);
  run(words, &r);
  if (r.status) print_message("%s\n", r.err);
  assert_int_equal(r.status, 0);
  assert_int_equal(st_open(out, &f, &e), 0);
  unlink(out);
  return f;
}

static void entries_and_threads_give_the_same_bits(void **unused) {
  (void)unused;
  put_input(ROWS, LENGTH, NULL, 0);
  StFile *a = run_tensors("-t 1", "a"), *b = run_tensors("-t 3", "b");
  StFile *c = run_tensors("--entry decode", "c");
  StFile *d = run_tensors("--entry prefill", "d");
  const StTensor *x = st_find(a, "logits"), *y = st_find(d, "logits");
  assert_int_equal(x->dim[0], ROWS);
  assert_int_equal(x->dim[1], LENGTH);
  assert_int_equal(x->dim[2], VOCAB);
  assert_memory_equal(x->data, st_find(b, "logits")->data, x->bytes);
  assert_memory_equal(x->data, st_find(c, "logits")->data, x->bytes);
  assert_int_equal(y->dim[1], 1);
  for (size_t i = 0; i < ROWS; i++)
    assert_memory_equal(y->data + i * VOCAB * 4, x->data + (i * LENGTH + LENGTH - 1) * VOCAB * 4,
                        VOCAB * 4);
  st_close(a);
  st_close(b);
  st_close(c);
  st_close(d);
}

static void mask_and_positions_matter(void **unused) {
  (void)unused;
  put_input(ROWS, LENGTH, NULL, 0);
  StFile *plain = run_tensors("", "a");
  put_input(ROWS, LENGTH, "attention_mask", 0);
  StFile *masked = run_tensors("", "b");
  put_input(ROWS, LENGTH, "position_ids", 30);
  StFile *moved = run_tensors("", "c");
  const StTensor *a = st_find(plain, "logits");
  assert_memory_not_equal(a->data, st_find(masked, "logits")->data, a->bytes);
  assert_memory_not_equal(a->data, st_find(moved, "logits")->data, a->bytes);
  st_close(plain);
  st_close(masked);
  st_close(moved);
}

static void wrong_tensors_are_refused(void **unused) {
  (void)unused;
  Result r;
  char words[256];
  snprintf(words, sizeof words, "tensors --in %s --out x", in_path);
  put_input(1, 4, "pixel_values", 0);
  run(words, &r);
  assert_int_equal(r.status, 1);
  assert_non_null(strstr(r.err, "pixel_values is not an input"));
  put_input(1, 4, "position_ids", -1);
  run(words, &r);
  assert_non_null(strstr(r.err, "position_ids: -1 is out of range"));
  put_input(1, 4, "\033[31m\nred", 0);
  run(words, &r);
  assert_non_null(strstr(r.err, "?[31m?red is not an input"));
  put_input(1, 60, NULL, 0);
  run(words, &r);
  assert_non_null(strstr(r.err, "60 tokens do not fit (the context holds 48"));
  assert_int_equal(access("x", F_OK), -1);
  put_input(1, 8, "attention_mask", 0);
  strcat(words, " --entry decode");
  run(words, &r);
  assert_int_equal(r.status, 1);
  assert_non_null(strstr(r.err, "hides position 0"));
  put_input(1, 8, NULL, 0);
  strcat(words, "r");
  run(words, &r);
  assert_int_equal(r.status, 2);
  assert_non_null(strstr(r.err, "'decoder' is not an entry"));
}

/* 2^40 rows of no tokens are a small file, and must be little work. */
static void rows_without_tokens_take_no_time(void **unused) {
  (void)unused;
  put_input((int64_t)1 << 40, 0, NULL, 0);
  StFile *f = run_tensors("", "out.safetensors");
  assert_int_equal(st_at(f, 0)->elements, 0);
  st_close(f);
  unlink("out.safetensors");
}

static void full_device_is_an_error(void **unused) {
  (void)unused;
  Result r;
  char words[256];
  put_input(ROWS, LENGTH, NULL, 0);
  snprintf(words, sizeof words, "tensors --in %s --out /dev/full", in_path);
  run(words, &r);
  assert_int_equal(r.status, 1);
  assert_non_null(strstr(r.err, "No space left on device"));
}

/* ---- signals and pipes ----------------------------------------------------------------------- */

static void expect_clean_end(int signal_number) {
  char words[256];
  put_input(20000, 47, NULL, 0);
  snprintf(words, sizeof words, "tensors --in %s --out i", in_path);
  pid_t pid = start(words, "/dev/null", "/dev/null");
  usleep(100000);
  kill(pid, signal_number);
  assert_int_equal(wait_for(pid), 128 + signal_number);
  assert_int_equal(access("i", F_OK), -1);
  snprintf(words, sizeof words, "i.tmp-%ld", (long)pid);
  assert_int_equal(access(words, F_OK), -1);
  unlink(in_path);
}

static void interrupt_leaves_nothing_behind(void **unused) {
  (void)unused;
  expect_clean_end(SIGINT);
  expect_clean_end(SIGTERM);
}

static void closed_pipe_ends_cleanly(void **unused) {
  (void)unused;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  close(ends[0]); /* nobody reads */
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execl(RUNTIME_TOY, RUNTIME_TOY, "--ids", "1,2,3", "--json", (char *)NULL);
    _exit(127);
  }
  close(ends[1]);
  assert_int_equal(wait_for(pid), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(calls_answer_as_documented),
      cmocka_unit_test(entries_and_threads_give_the_same_bits),
      cmocka_unit_test(mask_and_positions_matter),
      cmocka_unit_test(wrong_tensors_are_refused),
      cmocka_unit_test(rows_without_tokens_take_no_time),
      cmocka_unit_test(full_device_is_an_error),
      cmocka_unit_test(interrupt_leaves_nothing_behind),
      cmocka_unit_test(closed_pipe_ends_cleanly),
  };
  char folder[] = "/tmp/ingot-test-XXXXXX"; /* files of this run, safe from other runs */
  if (!mkdtemp(folder) || chdir(folder)) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(folder);
  return failed;
}
