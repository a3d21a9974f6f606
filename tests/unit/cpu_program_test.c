/* Whole programs of the cpu backend, linked with a small runtime of this test's own.
 *
 * Weights in place, strip and objcopy harmless, equal bytes on a second compile; then what happens
 * when the place is not writable, the disk full, the linker unhappy or memory short: a message or a
 * clean end, and never anything left behind.
 */
#include "backends/cpu/model_data.h"
#include "backends/cpu/pack_file.h"
#include "passes/passes.h"
#include "tests/unit/cpu_common.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- whole programs
 * ------------------------------------------------------------------------------ */

/* A runtime of a few lines and no libc: hashes the weights' words, runs the one kernel on them at
 * the lowest level and sums its results, prints both as hexadecimal numbers. */
static const char runtime_text[] =
    "#include \"runtime/abi.h\"\n"
    "static int32_t out[64];\n"
    "static long call(long n, long a, const void *b, long c) {\n"
    "  long r;\n"
    "  __asm__ volatile(\"syscall\" : \"=a\"(r) : \"a\"(n), \"D\"(a), \"S\"(b), \"d\"(c)\n"
    "                   : \"rcx\", \"r11\", \"memory\");\n"
    "  return r;\n"
    "}\n"
    "static void print(uint64_t x) {\n"
    "  char text[17];\n"
    "  for (int i = 15; i >= 0; i--, x >>= 4) text[i] = \"0123456789abcdef\"[x & 15];\n"
    "  text[16] = '\\n';\n"
    "  call(1, 1, text, 17);\n"
    "}\n"
    "__attribute__((used)) static void start(void) {\n"
    "  const IngotModel *m = &ingot_model;\n"
    "  uint64_t sum = 0, kernel_sum = 0;\n"
    "  for (uint64_t i = 0; i + 4 <= m->weight_bytes; i += 4)\n"
    "    sum = 31 * sum + *(const uint32_t *)(m->weights + i);\n"
    "  if (m->nlevels) {\n"
    "    void *buffers[2] = {(void *)(uintptr_t)m->weights, out};\n"
    "    int64_t n = 4;\n"
    "    m->levels[0].kernels[0](buffers, &n, 0, 4);\n"
    "    for (int i = 0; i < 64; i++) kernel_sum += (uint32_t)out[i];\n"
    "  }\n"
    "  print(sum);\n"
    "  print(kernel_sum);\n"
    "  call(1, 1, m->name, 5);\n"
    "  call(1, 1, m->tokenizer.data, (long)m->tokenizer.size);\n"
    "  call(60, m->abi == INGOT_ABI ? 0 : 1, 0, 0);\n"
    "}\n"
    "__asm__(\".globl _start\\n_start: xor %ebp,%ebp\\n and $-64,%rsp\\n call start\\n\");\n";

static const char sum_text[] = "kernel @copy(%w: ptr<i32>, %out: ptr<i32>; %n) class map {\n"
                               "  par %i in 0..%n {\n"
                               "    %v = load v16i32 %w[%i*16 + 320]\n"
                               "    store %v, %out[%i*16]\n"
                               "  }\n"
                               "}\n";

enum { FLOATS = 300, INTS = 70000, INTS_AT = 1280, ROWS = 1000, COLS = 1200 };

/* A program with three weights: 300 floats, after a hole 70000 integers, and a matrix that several
 * threads pack in parts, over a few huge pages. */
static KProgram *weighted_program(Arena *a, Module *m) {
  KProgram *p = program_of(a, m, sum_text);
  float *f = ARENA_ARRAY(a, float, FLOATS), *w = ARENA_ARRAY(a, float, ROWS *COLS);
  int32_t *i = ARENA_ARRAY(a, int32_t, INTS);
  for (int k = 0; k < FLOATS; k++) f[k] = (float)k * 0.25f;
  for (int k = 0; k < INTS; k++) i[k] = k * 7919;
  for (int k = 0; k < ROWS * COLS; k++) w[k] = (float)k;
  Dims *t = m->dims;
  Type floats = {.dtype = DT_f32, .rank = 1, .dim = {dim_const(t, FLOATS)}};
  Type ints = {.dtype = DT_i32, .rank = 1, .dim = {dim_const(t, INTS)}};
  Type rows = {.dtype = DT_f32, .rank = 2, .dim = {dim_const(t, ROWS), dim_const(t, COLS)}};
  uint32_t cf = module_const(m, &(ConstDef){.name = "f", .type = floats, .dense = f});
  uint32_t ci = module_const(m, &(ConstDef){.name = "i", .type = ints, .dense = i});
  uint32_t cw = module_const(m, &(ConstDef){.name = "w", .type = rows, .dense = w});
  uint64_t at = align_up(INTS_AT + INTS * 4, 64);
  p->nweights = 3;
  p->weights = ARENA_ARRAY(a, KWeight, 3);
  p->weights[0] = (KWeight){.constant = cf, .bytes = FLOATS * 4};
  p->weights[1] = (KWeight){.constant = ci, .offset = INTS_AT, .bytes = INTS * 4};
  p->weights[2] = (KWeight){cw, KL_rows16, Q_f32, ROWS, COLS, at, align_up(ROWS, 16) * COLS * 4};
  p->weight_bytes = at + p->weights[2].bytes;
  return p;
}

/* What the small runtime must print. */
static char *expected_output(Arena *a, const KProgram *p, const Module *m) {
  uint8_t *weights = arena_alloc(a, p->weight_bytes);
  Diag *d = diag_new();
  for (uint32_t i = 0; i < p->nweights; i++)
    assert_int_equal(pack_weight(m, &p->weights[i], weights + p->weights[i].offset, d), OK);
  diag_free(d);
  uint64_t sum = 0, kernel = 0;
  for (uint64_t i = 0; i + 4 <= p->weight_bytes; i += 4) {
    uint32_t word;
    memcpy(&word, weights + i, 4);
    sum = 31 * sum + word;
  }
  for (int k = 0; k < 64; k++) kernel += (uint32_t)(k * 7919);
  return arena_printf(a, "%016llx\n%016llx\ntest", (unsigned long long)sum,
                      (unsigned long long)kernel);
}

/* The weights' segment can be mapped by huge pages: file offset and address agree modulo one. */
static void expect_huge_pages(const char *program) {
  int fd = open(program, O_RDONLY), found = 0;
  Elf64_Ehdr e;
  assert_int_equal(pread(fd, &e, sizeof e, 0), sizeof e);
  for (int i = 0; i < e.e_phnum; i++) {
    Elf64_Phdr p;
    assert_int_equal(pread(fd, &p, sizeof p, (off_t)(e.e_phoff + (size_t)i * sizeof p)), sizeof p);
    if (p.p_type != PT_LOAD || p.p_vaddr < WEIGHTS_ADDRESS) continue;
    assert_int_equal(p.p_align, HUGE_PAGE);
    assert_int_equal(p.p_vaddr % HUGE_PAGE, p.p_offset % HUGE_PAGE);
    found++;
  }
  assert_int_equal(found, 1);
  close(fd);
}

static Buf small_runtime(Arena *a) {
  char *source = in_folder(a, "rt.c"), *object = in_folder(a, "rt.o");
  FILE *f = fopen(source, "w");
  assert_non_null(f);
  fputs(runtime_text, f);
  assert_int_equal(fclose(f), 0);
  assert_int_equal(
      run("cc -std=c11 -O1 -fno-pic -ffreestanding -fno-stack-protector -I%s/.. -c -o %s %s",
          TEST_SOURCE_DIR, object, source),
      0);
  Diag *d = diag_new();
  char *data;
  size_t size;
  assert_int_equal(file_read(a, d, object, 1 << 20, &data, &size), OK);
  diag_free(d);
  return (Buf){data, size, 0};
}

static void expect_output(Arena *a, const char *program, const char *want) {
  char *out;
  size_t size;
  Diag *d = diag_new();
  assert_int_equal(run("%s > %s.out", program, program), 0);
  assert_int_equal(file_read(a, d, arena_printf(a, "%s.out", program), 4096, &out, &size), OK);
  assert_memory_equal(out, want, strlen(want));
  diag_free(d);
}

/* Entries of the folder whose names begin like those of temporary files. */
static int leftovers(void) {
  return run("ls -A %s | grep -q '^.ingot'", folder) == 0;
}

static void test_program(void **state) {
  (void)state;
  Arena *a = arena_new();
  Diag *d = diag_new();
  Module *m = module_new("test");
  KProgram *p = weighted_program(a, m);
  Buf rt = small_runtime(a);
  char *app = in_folder(a, "app"), *again = in_folder(a, "again"), *want = expected_output(a, p, m);
  if (emit_program(p, EMIT_EXE, app, (uint8_t *)rt.data, rt.size, d) != OK)
    fail_msg("%s", diag_text(d));
  assert_int_equal(emit_program(p, EMIT_EXE, again, (uint8_t *)rt.data, rt.size, d), OK);
  assert_int_equal(run("cmp %s %s", app, again), 0);
  expect_output(a, app, want);
  expect_huge_pages(app);
  struct stat st;
  assert_int_equal(stat(app, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0755);
  static const char *const strippers[] = {"strip", "strip -d", "objcopy",
                                          "strip --strip-section-headers"};
  for (size_t i = 0; i < COUNT(strippers); i++) {
    if (run("cp %s %s.s && %s %s.s 2>/dev/null", app, app, strippers[i], app)) continue;
    expect_output(a, arena_printf(a, "%s.s", app), want);
    expect_huge_pages(arena_printf(a, "%s.s", app));
  }
  assert_false(leftovers());
  module_free(m);
  diag_free(d);
  arena_free(a);
}

/* Only text: no module, no kernels, no weights. */
static void test_text_program(void **state) {
  (void)state;
  Arena *a = arena_new();
  Diag *d = diag_new();
  Buf rt = small_runtime(a);
  static const int64_t eos[] = {7, 9};
  ProgramText text = {.name = "words", .arch = "none", .task = "tokenize"};
  text.generation.eos_ids = eos;
  text.generation.neos = 2;
  buf_puts(&text.tokenizer, "the tokenizer");
  char *app = in_folder(a, "words");
  EmitRequest r = {.text = &text,
                   .kind = EMIT_EXE,
                   .out = app,
                   .runtime = (uint8_t *)rt.data,
                   .runtime_size = rt.size};
  EmitResult result;
  if (backend_cpu.emit(&r, d, &result) != OK) fail_msg("%s", diag_text(d));
  assert_int_equal(result.weight_bytes, 0);
  expect_output(a, app, "0000000000000000\n0000000000000000\nwordsthe tokenizer");
  buf_free(&text.tokenizer);
  diag_free(d);
  arena_free(a);
}

/* The runtime stored in ingot links with the tables and starts. */
static void test_stored_runtime(void **state) {
  (void)state;
  Arena *a = arena_new();
  Diag *d = diag_new();
  ProgramText text = {.name = "words", .arch = "none", .task = "tokenize"};
  char *app = in_folder(a, "stored");
  EmitRequest r = {.text = &text, .kind = EMIT_EXE, .out = app};
  EmitResult result;
  if (backend_cpu.emit(&r, d, &result) != OK) fail_msg("%s", diag_text(d));
  assert_int_equal(run("%s --help | grep -q words", app), 0);
  assert_int_equal(run("strip %s && %s --help | grep -q words", app, app), 0);
  diag_free(d);
  arena_free(a);
}

/* A library goes into dynamic and static programs of the host; weights are where the model says. */
static void test_library(void **state) {
  (void)state;
  Arena *a = arena_new();
  Diag *d = diag_new();
  Module *m = module_new("test");
  KProgram *p = weighted_program(a, m);
  char *library = in_folder(a, "libtoy.a"), *source = in_folder(a, "use.c");
  if (emit_program(p, EMIT_LIB, library, NULL, 0, d) != OK) fail_msg("%s", diag_text(d));
  FILE *f = fopen(source, "w");
  assert_non_null(f);
  fputs("#include \"runtime/abi.h\"\n#include \"toy.h\"\n#include <stdio.h>\n"
        "int main(void) {\n"
        "  unsigned long long sum = 0;\n"
        "  for (uint64_t i = 0; i + 4 <= ingot_model.weight_bytes; i += 4)\n"
        "    sum = 31 * sum + *(const uint32_t *)(ingot_model.weights + i);\n"
        "  printf(\"%016llx\\n\", sum);\n"
        "  ingot_close(NULL);\n"
        "  return 0;\n"
        "}\n",
        f);
  assert_int_equal(fclose(f), 0);
  static const char *const flags[] = {"-pie -fPIE", "-no-pie", "-static"};
  char *want = expected_output(a, p, m), *use = in_folder(a, "use");
  want[17] = 0;
  for (size_t i = 0; i < COUNT(flags); i++) {
    assert_int_equal(run("cc %s -I%s/.. -I%s -o %s %s %s -lpthread -lm", flags[i], TEST_SOURCE_DIR,
                         folder, use, source, library),
                     0);
    expect_output(a, use, want);
  }
  assert_false(leftovers());
  module_free(m);
  diag_free(d);
  arena_free(a);
}

static void test_dumps(void **state) {
  (void)state;
  Arena *a = arena_new();
  Diag *d = diag_new();
  Module *m = module_new("test");
  KProgram *p = program_of(a, m, sum_text);
  assert_int_equal(emit_program(p, EMIT_LLVM_IR, in_folder(a, "ll"), NULL, 0, d), OK);
  assert_int_equal(
      run("grep -q '^define hidden void @.*ingot.k0.copy.x86-64-v3' %s", in_folder(a, "ll")), 0);
  assert_int_equal(emit_program(p, EMIT_ASM, in_folder(a, "asm"), NULL, 0, d), OK);
  assert_int_equal(run("grep -q '^.*ingot.k0.copy.x86-64-v3.*:' %s", in_folder(a, "asm")), 0);
  module_free(m);
  diag_free(d);
  arena_free(a);
}

/* ---- failures: a message, and nothing left behind
 * -------------------------------------------------- */

static void expect_failure(KProgram *p, const char *out, const Buf *rt, const char *message) {
  Diag *d = diag_new();
  assert_int_equal(emit_program(p, EMIT_EXE, out, (uint8_t *)rt->data, rt->size, d), FAIL);
  if (!strstr(diag_text(d), message)) fail_msg("%s (expected: %s)", diag_text(d), message);
  diag_free(d);
}

/* In a child process: files can't grow beyond `limit`, as on a full disk. */
static void expect_failure_at(KProgram *p, const char *out, const Buf *rt, rlim_t limit) {
  pid_t pid = fork();
  if (!pid) {
    struct rlimit l = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &l);
    Diag *d = diag_new();
    Status s = emit_program(p, EMIT_EXE, out, (uint8_t *)rt->data, rt->size, d);
    _exit(s == FAIL && diag_errors(d) == 1 && !leftovers() ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assert_false(file_exists(out));
}

static void test_failures(void **state) {
  (void)state;
  Arena *a = arena_new();
  Module *m = module_new("test");
  KProgram *p = weighted_program(a, m);
  Buf rt = small_runtime(a), bad = {"not an object", 13, 0};
  expect_failure(p, in_folder(a, "missing/app"), &rt, "cannot be written: No such file");
  expect_failure(p, folder, &rt, "is a folder");
  expect_failure(p, in_folder(a, "bad"), &bad, "ld.lld");
  assert_false(file_exists(in_folder(a, "bad")));
  expect_failure_at(p, in_folder(a, "full"), &rt, 100000); /* while packing weights */
  expect_failure_at(p, in_folder(a, "full"), &rt, 2000);   /* while linking */
  p->weights[1].bytes++;
  expect_failure(p, in_folder(a, "size"), &rt, "packs to");
  assert_false(file_exists(in_folder(a, "size")) || leftovers());
  module_free(m);
  arena_free(a);
}

static void interrupt(void *user, const char *stage, uint64_t done, uint64_t total) {
  (void)done, (void)total;
  if (!strcmp(stage, user)) raise(SIGTERM);
}

/* Killed in the middle: the temporary folder goes, the process ends by the signal. */
static void test_interrupted(void **state) {
  (void)state;
  Arena *a = arena_new();
  Module *m = module_new("test");
  KProgram *p = weighted_program(a, m);
  Buf rt = small_runtime(a);
  static char *const stages[] = {"compile kernels", "link", "pack weights"};
  for (size_t i = 0; i < COUNT(stages); i++) {
    pid_t pid = fork();
    if (!pid) {
      ProgramText text = {.name = "test", .arch = "none", .task = "generate"};
      Levels l = levels_of(p);
      EmitRequest r = {.module = m,
                       .programs = l.program,
                       .levels = l.target,
                       .nlevels = l.n,
                       .text = &text,
                       .kind = EMIT_EXE,
                       .out = in_folder(a, "cut"),
                       .runtime = (uint8_t *)rt.data,
                       .runtime_size = rt.size,
                       .progress = interrupt,
                       .user = stages[i]};
      EmitResult result;
      backend_cpu.emit(&r, diag_new(), &result);
      _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_false(leftovers() || file_exists(in_folder(a, "cut")));
  }
  module_free(m);
  arena_free(a);
}

/* Memory runs out in the middle of writing: the process ends with 1 and leaves nothing. */
static void test_out_of_memory(void **state) {
  (void)state;
  Arena *a = arena_new();
  Module *m = module_new("test");
  KProgram *p = weighted_program(a, m);
  Buf rt = small_runtime(a);
  for (uint64_t n = 1; n < 2000; n += 1 + n / 3) {
    pid_t pid = fork();
    if (!pid) {
      int null = open("/dev/null", O_WRONLY);
      dup2(null, STDERR_FILENO);
      Diag *d = diag_new();
      mem_fail_after(n);
      _exit(emit_program(p, EMIT_EXE, in_folder(a, "oom"), (uint8_t *)rt.data, rt.size, d) == OK
                ? 0
                : 3);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    assert_false(leftovers());
    if (WEXITSTATUS(status) == 1) assert_false(file_exists(in_folder(a, "oom")));
  }
  module_free(m);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_program),        cmocka_unit_test(test_text_program),
      cmocka_unit_test(test_stored_runtime), cmocka_unit_test(test_library),
      cmocka_unit_test(test_dumps),          cmocka_unit_test(test_failures),
      cmocka_unit_test(test_interrupted),    cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
