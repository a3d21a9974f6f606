/* What a processor family tells about itself (cpu_x86.c, cpu_arm.c); inside cpu.c. */
#ifndef INGOT_RUNTIME_CPU_FAMILY_H
#define INGOT_RUNTIME_CPU_FAMILY_H

#include "runtime/core/cpu.h"

typedef struct CpuFeature {
  const char *name;
  uint32_t first_level;   /* from this level of abi.h on it is needed */
  uint32_t leaf, subleaf; /* where it is told: of CPUID; an entry of the auxiliary vector */
  char reg;      /* x86: 'a'..'d' of CPUID, 'x': XCR0, 'p': given by the system when asked */
  uint32_t mask; /* bits that must be set there */
  bool only;     /* no level above needs it */
} CpuFeature;

typedef struct CpuFamily {
  uint32_t first, last; /* its levels */
  const CpuFeature *features;
  size_t n;
} CpuFamily;

extern const CpuFamily cpu_family; /* of the machine that this is compiled for */
bool cpu_has(const CpuFeature *f);

#endif
