/* ISA level on AArch64: the hardware capabilities that Linux hands to a program at its start.
 *
 * ASIMD (NEON) is a part of every ARMv8-A processor that Linux runs on. Linux sets a bit only when
 * all cores have the feature and it saves the registers, so nothing else has to be asked. Bit
 * numbers are Linux's ABI, written out as musl's headers lack some.
 */
#include "runtime/core/cpu.h"

#include <stdio.h>

#if defined(__aarch64__)
#include <sys/auxv.h>

enum { HWCAP2 = 26 }; /* AT_HWCAP2 */

typedef struct Feature {
  const char *name;
  uint32_t first_level; /* from this level of abi.h on it is needed */
  unsigned long vector; /* AT_HWCAP or AT_HWCAP2 */
  unsigned bit;
} Feature;

static const Feature features[] = {
    {"asimd", INGOT_AARCH64, AT_HWCAP, 1},
    {"asimddp", INGOT_AARCH64_DOTPROD, AT_HWCAP, 20},
    {"i8mm", INGOT_AARCH64_I8MM, HWCAP2, 13},
};

bool cpu_supports(uint32_t isa, char *missing, size_t n) {
  bool ok = true;
  size_t used = 0;
  if (n) missing[0] = 0;
  if (isa < INGOT_AARCH64 || isa > INGOT_AARCH64_I8MM) {
    snprintf(missing, n, "another processor family");
    return false;
  }
  for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
    const Feature *f = &features[i];
    if (f->first_level > isa || (getauxval(f->vector) >> f->bit & 1)) continue;
    ok = false;
    int k = snprintf(missing + used, n - used, "%s%s", used ? " " : "", f->name);
    if (k > 0 && (size_t)k < n - used) used += (size_t)k;
  }
  return ok;
}
#elif !defined(__x86_64__)
bool cpu_supports(uint32_t isa, char *missing, size_t n) {
  (void)isa;
  snprintf(missing, n, "another processor family");
  return false;
}
#endif
