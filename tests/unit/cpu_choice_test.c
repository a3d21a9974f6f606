/* Which ISA level a program takes on processors that lack one feature or the other: the runtime's
 * own table of x86-64, with another answer to what the processor has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/core/cpu_family.h"

bool machine_has(const CpuFeature *f); /* of this machine: not asked */
#define cpu_has machine_has
#include "runtime/core/cpu_x86.c"
#undef cpu_has

static const char *lacking; /* names of features, a blank before and behind each */

bool cpu_has(const CpuFeature *f) {
  char name[40];
  snprintf(name, sizeof name, " %s ", f->name);
  return !strstr(lacking, name);
}

#if defined(__x86_64__)
static const IngotLevel levels[] = {
    {INGOT_X86_64_V2, "v2", NULL},           {INGOT_X86_64_V3, "v3", NULL},
    {INGOT_X86_64_V3_VNNI, "v3-vnni", NULL}, {INGOT_X86_64_V4, "v4", NULL},
    {INGOT_X86_64_V4_VNNI, "v4-vnni", NULL}, {INGOT_X86_64_AMX, "v4-amx", NULL},
};
static const IngotModel model = {.levels = levels, .nlevels = sizeof levels / sizeof *levels};

static const struct {
  const char *lacking, *level;
} processors[] = {
    {"", "v4-amx"},
    {" tile-permission ", "v4-vnni"},
    {" amx-tile amx-int8 ", "v4-vnni"},
    {" amx-tile amx-int8 avx_vnni ", "v4-vnni"},                     /* Ice Lake */
    {" amx-tile amx-int8 avx_vnni avx512_vnni ", "v4"},              /* Skylake-X */
    {" amx-tile avx512_vnni ", "v4"},                                /* above v3-vnni */
    {" amx-tile amx-int8 avx512f avx512bw avx512_vnni ", "v3-vnni"}, /* Alder Lake */
    {" os-saves-zmm os-saves-tiles ", "v3-vnni"},
    {" avx512f avx_vnni ", "v3"}, /* Haswell */
    {" os-saves-ymm ", "v2"},
    {" fma f16c ", "v2"},
};

static void test_best_level(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof processors / sizeof *processors; i++) {
    const IngotLevel *level = NULL;
    Err e = {0};
    lacking = processors[i].lacking;
    if (cpu_choose(&model, NULL, &level, &e)) fail_msg("lacking%s", lacking);
    if (strcmp(level->name, processors[i].level) != 0)
      fail_msg("lacking%s: %s (expected %s)", lacking, level->name, processors[i].level);
  }
}

static void test_what_is_missing(void **state) {
  (void)state;
  char missing[128];
  lacking = " avx_vnni popcnt avx512dq ";
  assert_false(cpu_supports(INGOT_X86_64_V3_VNNI, missing, sizeof missing));
  assert_string_equal(missing, "popcnt avx_vnni");
  assert_false(cpu_supports(INGOT_X86_64_V4, missing, sizeof missing));
  assert_string_equal(missing, "popcnt avx512dq");
  assert_false(cpu_supports(INGOT_AARCH64, missing, sizeof missing));
  assert_string_equal(missing, "another processor family");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_best_level),
      cmocka_unit_test(test_what_is_missing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) {
  return 0;
}
#endif
