/* The null backend: every level's kernels and launches appear in the file it writes. */
#include "backends/backend.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* One kernel that copies S values, launched once. */
static KProgram *make_program(Module *m, const char *kernel) {
  Arena *a = m->arena;
  KProgram *p = ARENA_NEW(a, KProgram);
  KBuilder b = kbuilder(kernel_new(a, kernel, KC_map));
  KVal x = k_buffer(&b, "x", K_f32), y = k_buffer(&b, "y", K_f32);
  KVal i = k_par(&b, "i", k_scalar(&b, "S"));
  k_store(&b, k_load(&b, KT(f32, 1), k_at(k_addr(x), i, 1)), k_at(k_addr(y), i, 1));
  k_par_end(&b);
  *p = (KProgram){.module = m, .arena = a, .nkernels = 1, .nentries = 1};
  p->kernels = ARENA_NEW(a, Kernel *);
  p->kernels[0] = b.kernel;
  p->entries = ARENA_NEW(a, KEntry);
  p->entries[0] = (KEntry){.name = "decode", .nlaunches = 1};
  KBind *bind = ARENA_ARRAY(a, KBind, 2);
  bind[0] = (KBind){KS_input, 0, 0};
  bind[1] = (KBind){KS_output, 0, 0};
  DimId *s = ARENA_NEW(a, DimId);
  *s = dim_symbol(m->dims, "S", 1, 8);
  p->entries[0].launches = ARENA_NEW(a, KLaunch);
  p->entries[0].launches[0] = (KLaunch){.bind = bind, .scalar = s, .extent = *s};
  return p;
}

static void test_text(void **state) {
  (void)state;
  Module *m = module_new("tiny");
  Diag *d = diag_new();
  char path[] = "/tmp/ingot-null-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  const CpuTarget v3 = {.name = "x86-64-v3"}, v4 = {.name = "x86-64-v4"};
  const CpuTarget *levels[] = {&v3, &v4};
  KProgram *programs[] = {make_program(m, "narrow"), make_program(m, "wide")};
  EmitRequest r = {.module = m,
                   .programs = programs,
                   .levels = levels,
                   .nlevels = 2,
                   .kind = EMIT_KERNEL,
                   .out = path};
  EmitResult result;
  if (backend_null.emit(&r, d, &result) != OK) fail_msg("%s", diag_text(d));
  char *text;
  size_t size;
  assert_int_equal(file_read(m->arena, d, path, 1 << 20, &text, &size), OK);
  assert_int_equal(size, result.file_bytes);
  const char *first = strstr(text, "# x86-64-v3\nkernel @narrow(%x: ptr<f32>, %y: ptr<f32>; %S)");
  const char *second = strstr(text, "# x86-64-v4\nkernel @wide(");
  assert_true(first && second && first < second);
  assert_non_null(strstr(text, "    launch @wide(input 0, output 0; S) par S\n"));
  /* what it writes can be read: the kernels are texts of their own */
  *strstr(text, "program @tiny") = 0;
  Kernel **k;
  uint32_t n;
  assert_int_equal(kernels_parse(m->arena, text, path, d, &k, &n), OK);
  assert_true(n == 1 && kernel_same(k[0], programs[0]->kernels[0]));
  unlink(path);
  diag_free(d);
  module_free(m);
}

static void assert_refused(EmitKind kind, const char *path, const char *message) {
  Diag *d = diag_new();
  EmitResult result;
  EmitRequest r = {.kind = kind, .out = path};
  assert_int_equal(backend_null.emit(&r, d, &result), FAIL);
  if (!strstr(diag_text(d), message)) fail_msg("%s", diag_text(d));
  diag_free(d);
}

static void test_refusals(void **state) {
  (void)state;
  assert_refused(EMIT_ASM, "/tmp/x", "the null backend writes kernels only");
  assert_refused(EMIT_KERNEL, "/nowhere/at/all", "/nowhere/at/all: cannot be written");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_refusals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
