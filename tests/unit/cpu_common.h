/* What the tests of the cpu backend share: a folder of their own, programs from kernel text,
 * emitting. Included once by each test program; everything is static. */
#ifndef INGOT_TESTS_CPU_COMMON_H
#define INGOT_TESTS_CPU_COMMON_H

#include "ir/kernel.h"
#include "passes/passes.h"
#include "tests/emu/levels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/ingot-cpu-test-XXXXXX";

static char *in_folder(Arena *a, const char *name) {
  return arena_printf(a, "%s/%s", folder, name);
}

static int run(const char *fmt, ...) {
  char command[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(command, sizeof command, fmt, args);
  va_end(args);
  int status = system(command);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* ---- levels and programs -----------------------------------------------------------------------
 */

#ifdef TEST_EMULATOR
#define TEST_LEVEL(t) ((t)->arch == cpu_arch("aarch64-linux")) /* the emulated machine's */
#else
#define TEST_LEVEL(t) test_runs_level(t)
#endif

typedef struct Levels {
  const CpuTarget *target[8];
  KProgram *program[8];
  uint32_t n;
} Levels;

/* The same kernels with every mma expanded. */
static KProgram *without_mma(const KProgram *p) {
  KProgram *plain = ARENA_NEW(p->arena, KProgram);
  *plain = *p;
  Buf text = {0};
  Diag *d = diag_new();
  for (uint32_t i = 0; i < p->nkernels; i++) kernel_print(p->kernels[i], &text);
  Status s = kernels_parse(p->arena, text.data, "again", d, &plain->kernels, &plain->nkernels);
  for (uint32_t i = 0; s == OK && i < plain->nkernels; i++) {
    expand_mma(plain->kernels[i]);
    s = kernel_verify(plain->kernels[i], d);
  }
  if (s != OK) fail_msg("%s", diag_text(d));
  diag_free(d);
  buf_free(&text);
  return plain;
}

/* The program at every level that this machine runs (all kernels are the same on each, but for
 * mma). */
static Levels levels_of(KProgram *p) {
  size_t n;
  const CpuTarget *all = cpu_targets(&n);
  KProgram *plain = p->nkernels ? without_mma(p) : p;
  Levels l = {0};
  for (size_t i = 0; i < n; i++) {
    if (!TEST_LEVEL(&all[i])) continue;
    l.target[l.n] = &all[i];
    l.program[l.n++] = all[i].lower.mma ? p : plain;
  }
  return l;
}

static KProgram *program_of(Arena *a, Module *m, const char *text) {
  Diag *d = diag_new();
  KProgram *p = ARENA_NEW(a, KProgram);
  p->module = m;
  p->arena = a;
  if (kernels_parse(a, text, "test", d, &p->kernels, &p->nkernels) != OK)
    fail_msg("%s", diag_text(d));
  for (uint32_t i = 0; i < p->nkernels; i++)
    if (kernel_verify(p->kernels[i], d) != OK) fail_msg("%s", diag_text(d));
  diag_free(d);
  return p;
}

static Status emit_program(KProgram *p, EmitKind kind, const char *out, const uint8_t *runtime,
                           size_t size, Diag *d) {
  static const ProgramText text = {.name = "test", .arch = "none", .task = "generate"};
  Levels l = levels_of(p);
  EmitRequest r = {.module = p->module,
                   .programs = l.program,
                   .levels = l.target,
                   .nlevels = l.n,
                   .text = &text,
                   .kind = kind,
                   .out = out,
                   .runtime = runtime,
                   .runtime_size = size};
  EmitResult result;
  return backend_cpu.emit(&r, d, &result);
}

static int setup(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  return run("rm -r %s", folder);
}

#endif
