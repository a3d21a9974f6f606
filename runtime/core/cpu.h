/* What this processor can run: ISA levels of abi.h against CPUID and the operating system. */
#ifndef INGOT_RUNTIME_CPU_H
#define INGOT_RUNTIME_CPU_H

#include "runtime/abi.h"
#include "runtime/core/err.h"
#include <stdbool.h>

/* True when the machine runs code of this level. Otherwise the names of the missing features stand
 * in missing[0..n), separated by blanks (cut when too long). */
bool cpu_supports(uint32_t isa, char *missing, size_t n);
/* The level to use: `want` by its name, or (NULL) the last of the model's levels that runs here. */
int cpu_choose(const IngotModel *m, const char *want, const IngotLevel **out, Err *e);

#endif
