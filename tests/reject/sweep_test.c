/* Opening and building a model with every read, then every allocation, failing in turn: each must
 * end in a clean error. A failing read is a message and FAIL; memory that runs out ends the process
 * with status 1, so that part runs in children. Run in an empty folder.
 */
#include "frontend/model.h"
#include "tests/reject/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EACH_UP_TO = 400, THEN_EVERY = 37 }; /* allocations; a prime stride meets all kinds */

static const char *const paths[] = {"model", "model.gguf", "model/model.safetensors"};

static Status open_and_build(const char *path, Diag *d) {
  Model *m = NULL;
  Module *built = NULL;
  Status s = model_open(path, MODEL_WEIGHTS | MODEL_TEXT | MODEL_HASHES, d, &m);
  if (s == OK) s = model_build(m, &(BuildOptions){.kv = DT_f32}, d, &built);
  module_free(built);
  model_close(m);
  return s;
}

/* Returns the number of reads that were made to fail, or -1. */
static int sweep_reads(const char *path) {
  for (uint64_t n = 1;; n++) {
    Diag *d = diag_new();
    file_fail_after(n);
    Status s = open_and_build(path, d);
    file_fail_after(0);
    bool silent = s != OK && !diag_errors(d);
    diag_free(d);
    if (s == OK) return (int)n - 1;
    if (silent) return -1;
  }
}

/* 0: built; 1: a clean end; else what waitpid gave. */
static int in_child(const char *path, uint64_t n) {
  pid_t pid = fork();
  if (pid == 0) {
    int quiet = open("/dev/null", O_WRONLY);
    dup2(quiet, 2);
    Diag *d = diag_new();
    mem_fail_after(n);
    _exit(open_and_build(path, d) == OK ? 0 : 3);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : status;
}

static int sweep_allocations(const char *path) {
  int count = 0;
  for (uint64_t n = 1;; n += n < EACH_UP_TO ? 1 : THEN_EVERY) {
    int end = in_child(path, n);
    if (end == 0) return count;
    if (end != 1) {
      printf("%s: allocation %llu: ended with %d (expected 1)\n", path, (unsigned long long)n, end);
      return -1;
    }
    count++;
  }
}

static void put(const char *path, void (*make)(Buf *)) {
  Buf b = {0};
  make(&b);
  write_file(path, b.data, b.size);
  buf_free(&b);
}

int main(void) {
  bool failed = false;
  mkdir("model", 0777);
  put("model/config.json", tiny_config);
  put("model/model.safetensors", tiny_safetensors);
  put("model/tokenizer.json", tiny_tokenizer);
  put("model.gguf", tiny_gguf);
  for (size_t i = 0; i < COUNT(paths); i++) {
    int reads = sweep_reads(paths[i]), allocations = sweep_allocations(paths[i]);
    printf("%s: %d reads, %d allocations failed in turn\n", paths[i], reads, allocations);
    failed |= reads < 1 || allocations < 1;
  }
  return failed;
}
