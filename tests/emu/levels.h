/* Which ISA levels a test can run here: those of the machine, and AMX by emulation
 * (tests/emu/amx_signal.c) where all else that it needs is there. */
#ifndef INGOT_TESTS_EMU_LEVELS_H
#define INGOT_TESTS_EMU_LEVELS_H

#include "backends/backend.h"
#include "tests/emu/amx.h"

static inline bool test_runs_level(const CpuTarget *t) {
  const CpuTarget *native = cpu_target_native();
  if (!native) return false;
  bool emulated = t->isa == INGOT_X86_64_AMX && native->isa == INGOT_X86_64_V4_VNNI;
  return cpu_target_runs(t) || emulated;
}

#endif
