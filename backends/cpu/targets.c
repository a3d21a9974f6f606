/* ISA levels of the cpu backend: the rows of targets.def, and which of them this machine runs.
 *
 * The check reads CPUID and, since a feature bit says nothing about the operating system, XGETBV:
 * AVX needs the ymm state enabled, AVX-512 the mask and zmm states too; on AArch64 the kernel's
 * hardware capabilities say both. The runtime does the same
 * at the start of a compiled program; here it only decides what `--cpu native` means.
 */
#include "backends/cpu/arch.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

static const CpuTarget targets[] = {
#define CPU_TARGET(name, isa, cpu, features, bytes, ...)                                           \
  {name,                                                                                           \
   isa,                                                                                            \
   &cpu_x86_64,                                                                                    \
   cpu,                                                                                            \
   features,                                                                                       \
   bytes,                                                                                          \
   {name, __VA_ARGS__, .mma = (isa) == INGOT_X86_64_AMX,                                           \
    .panel_words = (isa) == INGOT_X86_64_V3}},
#define AARCH64_TARGET(name, isa, cpu, features, bytes, ...)                                       \
  {name, isa, &cpu_aarch64, cpu, features, bytes, {name, __VA_ARGS__}},
#include "backends/cpu/targets.def"
#undef AARCH64_TARGET
#undef CPU_TARGET
};

const CpuTarget *cpu_targets(size_t *n) {
  *n = COUNT(targets);
  return targets;
}

const CpuTarget *cpu_target(const char *name) {
  for (size_t i = 0; i < COUNT(targets); i++)
    if (!strcmp(targets[i].name, name)) return &targets[i];
  return NULL;
}

#if defined(__x86_64__)
enum { STATE_YMM = 0x6, STATE_ZMM = 0xe6, STATE_TILES = 3 << 17 };

static uint64_t enabled_states(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  uint32_t lo, hi;
  __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
}

/* A bit for each level that runs here, by INGOT_X86_64_.. */
static uint32_t machine_levels(void) {
  uint32_t a, b, d, c1, b7 = 0, c7 = 0, d7 = 0, cx, a71 = 0;
  uint64_t states = enabled_states();
  if (!__get_cpuid(1, &a, &b, &c1, &d) || !__get_cpuid(0x80000001, &a, &b, &cx, &d)) return 0;
  __get_cpuid_count(7, 0, &a, &b7, &c7, &d7); /* a machine without that leaf leaves zeros */
  uint32_t need = bit_CMPXCHG16B | bit_POPCNT | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2;
  if ((c1 & need) != need || !(cx & bit_LAHF_LM)) return 0;
  uint32_t levels = 1u << INGOT_X86_64_V2;
  uint32_t need1 = bit_FMA | bit_MOVBE | bit_F16C | bit_AVX;
  uint32_t need7 = bit_AVX2 | bit_BMI | bit_BMI2;
  if ((states & STATE_YMM) != STATE_YMM || (c1 & need1) != need1 || (b7 & need7) != need7 ||
      !(cx & bit_LZCNT))
    return levels;
  levels |= 1u << INGOT_X86_64_V3;
  if (__get_cpuid_count(7, 1, &a71, &b, &a, &d) && (a71 & bit_AVXVNNI))
    levels |= 1u << INGOT_X86_64_V3_VNNI;
  uint32_t need512 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  if ((states & STATE_ZMM) != STATE_ZMM || (b7 & need512) != need512) return levels;
  levels |= 1u << INGOT_X86_64_V4;
  if (!(c7 & bit_AVX512VNNI)) return levels;
  levels |= 1u << INGOT_X86_64_V4_VNNI;
  uint32_t tiles = bit_AMX_TILE | bit_AMX_INT8;
  if ((d7 & tiles) == tiles && (states & STATE_TILES) == STATE_TILES)
    levels |= 1u << INGOT_X86_64_AMX;
  return levels;
}
#elif defined(__aarch64__)
enum { BIT_ASIMDDP = 20, BIT_I8MM = 13 }; /* of AT_HWCAP and AT_HWCAP2: Linux's ABI */

static uint32_t machine_levels(void) {
  uint32_t levels = 1u << INGOT_AARCH64;
  if (!(getauxval(AT_HWCAP) >> BIT_ASIMDDP & 1)) return levels;
  levels |= 1u << INGOT_AARCH64_DOTPROD;
  if (getauxval(AT_HWCAP2) >> BIT_I8MM & 1) levels |= 1u << INGOT_AARCH64_I8MM;
  return levels;
}
#else
static uint32_t machine_levels(void) {
  return 0;
}
#endif

bool cpu_target_runs(const CpuTarget *t) {
  return t->arch == cpu_arch_native() && (machine_levels() >> t->isa & 1);
}

const CpuTarget *cpu_target_native(void) {
  const CpuTarget *best = NULL;
  for (size_t i = 0; i < COUNT(targets); i++)
    if (cpu_target_runs(&targets[i])) best = &targets[i];
  return best;
}
