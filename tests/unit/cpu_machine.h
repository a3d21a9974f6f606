/* The machine that cpu_test.c runs kernels on: this one, or an emulated one of another family.
 *
 * Here an object becomes a shared library and kernels are called through `ingot_model`. With
 * TEST_EMULATOR it is linked with tests/cross/call_kernels.c (TEST_CALLER: that and its libc, for
 * the linker) into a program which an emulator runs, and calls go through its standard input and
 * output. Included once; everything is static.
 */
#ifndef INGOT_TESTS_CPU_MACHINE_H
#define INGOT_TESTS_CPU_MACHINE_H

#include "tests/cross/call_kernels.h"
#include "tests/unit/cpu_common.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>

typedef struct Machine {
  const IngotModel *model;
  FILE *to, *from;
  pid_t pid;
} Machine;

static char *emit_for_machine(Arena *a, KProgram *p, const char *name) {
  Diag *d = diag_new();
  char *object = in_folder(a, name);
  if (emit_program(p, EMIT_OBJ, object, NULL, 0, d) != OK) fail_msg("%s", diag_text(d));
  diag_free(d);
  return object;
}

#ifdef TEST_EMULATOR
static Machine machine_open(Arena *a, KProgram *p, const char *name) {
  Machine m = {0};
  char *object = emit_for_machine(a, p, name), *program = arena_printf(a, "%s.exe", object);
  int to[2], from[2];
  assert_int_equal(run("%s -static -o %s %s %s", TEST_LLD, program, object, TEST_CALLER), 0);
  assert_int_equal(pipe2(to, O_CLOEXEC) | pipe2(from, O_CLOEXEC), 0);
  signal(SIGPIPE, SIG_IGN); /* a program that ends early is a failing read */
  m.pid = fork();
  if (m.pid == 0) {
    dup2(to[0], 0);
    dup2(from[1], 1);
    execl(TEST_EMULATOR, TEST_EMULATOR, "-cpu", "max", program, (char *)NULL);
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  m.to = fdopen(to[1], "w");
  m.from = fdopen(from[0], "r");
  uint32_t counts[2];
  assert_int_equal(fread(counts, sizeof counts, 1, m.from), 1);
  assert_int_equal(counts[0], levels_of(p).n);
  assert_int_equal(counts[1], p->nkernels);
  return m;
}

static void machine_call(const Machine *m, CallHead h, uint8_t (*data)[CALL_BYTES]) {
  fwrite(&h, sizeof h, 1, m->to);
  fwrite(data, CALL_BYTES, h.nbuffers, m->to);
  fflush(m->to);
  size_t n = fread(data, CALL_BYTES, h.nbuffers, m->from);
  if (n != h.nbuffers) fail_msg("level %u, kernel %u: the program ended", h.level, h.kernel);
}

static void machine_close(Machine *m) {
  int status;
  fclose(m->to);
  fclose(m->from);
  assert_int_equal(waitpid(m->pid, &status, 0), m->pid);
  assert_int_equal(status, 0);
}
#else
static Machine machine_open(Arena *a, KProgram *p, const char *name) {
  char *object = emit_for_machine(a, p, name), *shared = arena_printf(a, "%s.so", object);
  assert_int_equal(run("%s -shared -z noexecstack -o %s %s", TEST_LLD, shared, object), 0);
  void *handle = dlopen(shared, RTLD_NOW | RTLD_LOCAL);
  if (!handle) fail_msg("%s", dlerror());
  const IngotModel *model = dlsym(handle, "ingot_model");
  assert_int_equal(model->nlevels, levels_of(p).n);
  assert_int_equal(model->nkernels, p->nkernels);
  for (uint32_t i = 0; i < p->nkernels; i++)
    assert_string_equal(model->kernels[i].name, p->kernels[i]->name);
  return (Machine){.model = model};
}

static void machine_call(const Machine *m, CallHead h, uint8_t (*data)[CALL_BYTES]) {
  void *pointers[CALL_BUFFERS];
  for (uint32_t i = 0; i < h.nbuffers; i++) pointers[i] = data[i];
  m->model->levels[h.level].kernels[h.kernel](pointers, h.scalars, h.lo, h.hi);
}

static void machine_close(Machine *m) {
  (void)m;
}
#endif

#endif
