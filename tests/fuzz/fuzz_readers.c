/* A seeded fuzzer of the readers: valid tiny files, mutated; whatever comes must end in a model or
 * in an error, never in a crash. `fuzz_readers [ITERATIONS] [SEED]`, run in an empty folder.
 *
 * Deterministic (xorshift64*), so a failing seed can be run again; run it under sanitizers.
 */
#include "frontend/model.h"
#include "tests/reject/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t state;

static uint64_t next(uint64_t below) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (state * 2685821657736338717u >> 11) % below;
}

static void overwrite(Buf *b, size_t at) {
  static const uint64_t values[] = {
      0,          1,         0x7f,       0xff,       0x7fff, 0xffff, 0x7fffffff, 0xffffffff,
      1000000000, INT64_MAX, UINT64_MAX, 1ull << 40, 9,      8,      4,          32};
  uint64_t v = values[next(COUNT(values))];
  size_t n = (size_t)1 << next(4);
  if (at + n <= b->size) memcpy(b->data + at, &v, n);
}

static void cut(Buf *b, size_t at) {
  size_t n = 1 + next(16);
  if (at + n > b->size) return;
  memmove(b->data + at, b->data + at + n, b->size - at - n);
  b->size -= n;
}

static void insert(Buf *b, size_t at) {
  static const char *const pieces[] = {"[",    "{",     "\"",       "]",       "}",
                                       ",",    "-",     "9",        "\\u0000", "\xff",
                                       "null", "1e999", "[[[[[[[[", "{\"a\":", "../"};
  const char *p = pieces[next(COUNT(pieces))];
  Buf out = {0};
  buf_put(&out, b->data, at);
  buf_puts(&out, p);
  buf_put(&out, b->data + at, b->size - at);
  buf_free(b);
  *b = out;
}

static void mutate(Buf *b) {
  for (uint64_t n = 1 + next(4); n && b->size; n--) {
    size_t at = next(next(2) ? b->size : b->size < 1500 ? b->size : 1500); /* headers stand first */
    switch (next(5)) {
    case 0: b->data[at] = (char)(b->data[at] ^ 1 << next(8)); break;
    case 1: b->data[at] = (char)next(256); break;
    case 2: overwrite(b, at); break;
    case 3: cut(b, at); break;
    default: insert(b, at);
    }
  }
}

static bool try_model(const char *path) {
  Diag *d = diag_new();
  Model *m = NULL;
  Module *built = NULL;
  Status s = model_open(path, MODEL_WEIGHTS | MODEL_TEXT | MODEL_HASHES, d, &m);
  if (s == OK) s = model_build(m, &(BuildOptions){.kv = DT_f32}, d, &built);
  if (s != OK && !diag_errors(d)) {
    printf("%s failed without a message\n", path);
    abort();
  }
  module_free(built);
  model_close(m);
  diag_free(d);
  return s == OK;
}

typedef struct Target {
  const char *file, *model;
  void (*make)(Buf *out);
} Target;

int main(int argc, char **argv) {
  static const Target targets[] = {{"model/config.json", "model", tiny_config},
                                   {"model/model.safetensors", "model", tiny_safetensors},
                                   {"model/tokenizer.json", "model", tiny_tokenizer},
                                   {"model.gguf", "model.gguf", tiny_gguf}};
  long n = argc > 1 ? atol(argv[1]) : 2000, built = 0;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  mkdir("model", 0777);
  for (long i = 0; i < n; i++) {
    state = (seed + (uint64_t)i) * 0x9e3779b97f4a7c15u | 1;
    for (size_t k = 0; k < COUNT(targets); k++) {
      Buf b = {0};
      targets[k].make(&b);
      if (k == (size_t)i % COUNT(targets)) mutate(&b);
      write_file(targets[k].file, b.data, b.size);
      buf_free(&b);
    }
    built += try_model(targets[(size_t)i % COUNT(targets)].model);
  }
  printf("%ld files, %ld of them still models\n", n, built);
  return 0;
}
