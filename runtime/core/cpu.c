/* ISA level by CPUID and XGETBV; no other probing at start.
 *
 * A level is a list of features, each one bit of a CPUID leaf (and, for wide registers, bits of
 * XCR0, which say that the operating system saves them). Levels name all they need, lower ones
 * included.
 */
#include "runtime/core/cpu.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct Feature {
  const char *name;
  uint32_t first_level; /* from this level of abi.h on it is needed */
  uint32_t leaf, subleaf;
  char reg; /* 'a'..'d' of CPUID, 'x': XCR0, 'p': given by the system when asked */
  uint32_t mask;
} Feature;

static const Feature features[] = {
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

static bool has_feature(const Feature *f) {
  if (f->reg == 'p') return tiles_permitted();
  uint32_t r[4] = {0, 0, 0, 0};
  if (f->reg == 'x') return (read_xcr0() & f->mask) == f->mask;
  if (!__get_cpuid_count(f->leaf, f->subleaf, &r[0], &r[1], &r[2], &r[3])) return false;
  return (r[f->reg - 'a'] & f->mask) == f->mask;
}

bool cpu_supports(uint32_t isa, char *missing, size_t n) {
  bool ok = true;
  size_t used = 0;
  if (n) missing[0] = 0;
  if (isa > INGOT_X86_64_AMX) {
    snprintf(missing, n, "another processor family");
    return false;
  }
  for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
    if (features[i].first_level > isa || has_feature(&features[i])) continue;
    ok = false;
    int k = snprintf(missing + used, n - used, "%s%s", used ? " " : "", features[i].name);
    if (k > 0 && (size_t)k < n - used) used += (size_t)k;
  }
  return ok;
}
#endif /* the other families': cpu_arm.c */

int cpu_choose(const IngotModel *m, const char *want, const IngotLevel **out, Err *e) {
  char missing[256] = "";
  if (!want) {
    for (uint32_t i = m->nlevels; i-- > 0;) {
      if (cpu_supports(m->levels[i].isa, missing, sizeof missing)) {
        *out = &m->levels[i];
        return 0;
      }
    }
    return err_set(e, "cpu", "this program needs at least %s; this processor lacks: %s",
                   m->nlevels ? m->levels[0].name : "?", missing);
  }
  char names[256] = "";
  for (uint32_t i = 0; i < m->nlevels; i++) {
    if (strcmp(m->levels[i].name, want) == 0) {
      *out = &m->levels[i];
      if (cpu_supports(m->levels[i].isa, missing, sizeof missing)) return 0;
      return err_set(e, "--cpu", "this processor can't run %s; it lacks: %s", want, missing);
    }
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", m->levels[i].name);
  }
  return err_set(e, "--cpu", "no code for '%s' in this program (it has: %s)", want, names);
}
