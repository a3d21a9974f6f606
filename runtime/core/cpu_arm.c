/* ISA level on AArch64: the hardware capabilities that Linux hands to a program at its start.
 *
 * ASIMD (NEON) is a part of every ARMv8-A processor that Linux runs on. Linux sets a bit only when
 * all cores have the feature and it saves the registers, so nothing else has to be asked. Bit
 * numbers are Linux's ABI, written out as musl's headers lack some.
 */
#include "runtime/core/cpu_family.h"

#if defined(__aarch64__)
#include <sys/auxv.h>

enum { HWCAP2 = 26 }; /* AT_HWCAP2 */

static const CpuFeature features[] = {
    {"asimd", INGOT_AARCH64, AT_HWCAP, 0, 0, 1u << 1},
    {"asimddp", INGOT_AARCH64_DOTPROD, AT_HWCAP, 0, 0, 1u << 20},
    {"i8mm", INGOT_AARCH64_I8MM, HWCAP2, 0, 0, 1u << 13},
};

const CpuFamily cpu_family = {INGOT_AARCH64, INGOT_AARCH64_I8MM, features,
                              sizeof features / sizeof features[0]};

bool cpu_has(const CpuFeature *f) {
  return (getauxval(f->leaf) & f->mask) == f->mask;
}
#endif
