/* x86-64: features by CPUID and XGETBV.
 *
 * A feature is one bit of a CPUID leaf or, for wide registers, bits of XCR0, which say that the
 * operating system saves them. A level needs what lower ones need, but for VNNI in ymm registers
 * (client processors since 2021), which those with AVX-512 may lack.
 */
#include "runtime/core/cpu_family.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static const CpuFeature features[] = {
    {"cx16", INGOT_X86_64_V2, 1, 0, 'c', 1u << 13},
    {"lahf", INGOT_X86_64_V2, 0x80000001, 0, 'c', 1u << 0},
    {"popcnt", INGOT_X86_64_V2, 1, 0, 'c', 1u << 23},
    {"ssse3", INGOT_X86_64_V2, 1, 0, 'c', 1u << 9},
    {"sse4.1", INGOT_X86_64_V2, 1, 0, 'c', 1u << 19},
    {"sse4.2", INGOT_X86_64_V2, 1, 0, 'c', 1u << 20},
    {"avx", INGOT_X86_64_V3, 1, 0, 'c', 1u << 28},
    {"avx2", INGOT_X86_64_V3, 7, 0, 'b', 1u << 5},
    {"bmi1", INGOT_X86_64_V3, 7, 0, 'b', 1u << 3},
    {"bmi2", INGOT_X86_64_V3, 7, 0, 'b', 1u << 8},
    {"f16c", INGOT_X86_64_V3, 1, 0, 'c', 1u << 29},
    {"fma", INGOT_X86_64_V3, 1, 0, 'c', 1u << 12},
    {"lzcnt", INGOT_X86_64_V3, 0x80000001, 0, 'c', 1u << 5},
    {"movbe", INGOT_X86_64_V3, 1, 0, 'c', 1u << 22},
    {"os-saves-ymm", INGOT_X86_64_V3, 0, 0, 'x', 0x6},
    {"avx_vnni", INGOT_X86_64_V3_VNNI, 7, 1, 'a', 1u << 4, true},
    {"avx512f", INGOT_X86_64_V4, 7, 0, 'b', 1u << 16},
    {"avx512bw", INGOT_X86_64_V4, 7, 0, 'b', 1u << 30},
    {"avx512cd", INGOT_X86_64_V4, 7, 0, 'b', 1u << 28},
    {"avx512dq", INGOT_X86_64_V4, 7, 0, 'b', 1u << 17},
    {"avx512vl", INGOT_X86_64_V4, 7, 0, 'b', 1u << 31},
    {"os-saves-zmm", INGOT_X86_64_V4, 0, 0, 'x', 0xe6},
    {"avx512_vnni", INGOT_X86_64_V4_VNNI, 7, 0, 'c', 1u << 11},
    {"amx-tile", INGOT_X86_64_AMX, 7, 0, 'd', 1u << 24},
    {"amx-int8", INGOT_X86_64_AMX, 7, 0, 'd', 1u << 25},
    {"os-saves-tiles", INGOT_X86_64_AMX, 0, 0, 'x', 3u << 17},
    {"tile-permission", INGOT_X86_64_AMX, 0, 0, 'p', 0},
};

const CpuFamily cpu_family = {INGOT_X86_64_V2, INGOT_X86_64_AMX, features,
                              sizeof features / sizeof features[0]};

static uint32_t read_xcr0(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) return 0; /* no OSXSAVE */
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
}

/* Linux saves tiles only for processes that have asked; threads made later may use them too. */
static bool tiles_permitted(void) {
  enum { REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

bool cpu_has(const CpuFeature *f) {
  if (f->reg == 'p') return tiles_permitted();
  uint32_t r[4] = {0, 0, 0, 0};
  if (f->reg == 'x') return (read_xcr0() & f->mask) == f->mask;
  if (!__get_cpuid_count(f->leaf, f->subleaf, &r[0], &r[1], &r[2], &r[3])) return false;
  return (r[f->reg - 'a'] & f->mask) == f->mask;
}
#elif !defined(__aarch64__)
const CpuFamily cpu_family = {1, 0, NULL, 0}; /* no level is for it */

bool cpu_has(const CpuFeature *f) {
  (void)f;
  return false;
}
#endif /* cpu_arm.c */
