/* Processor families of the cpu backend: what differs between them beyond the rows of targets.def.
 *
 * One constant a family: how LLVM and ELF call it, the stored runtime, and the two operations of
 * Kernel IR that no plain LLVM IR expresses. Everything else of the translator is the same for all.
 */
#ifndef INGOT_BACKENDS_CPU_ARCH_H
#define INGOT_BACKENDS_CPU_ARCH_H

#include "backends/backend.h"

struct KernelEmit;

struct CpuArch {
  const char *name; /* --target NAME */
  const char *triple, *llvm_cpu;
  void (*initialise)(void); /* of LLVM's target; once a process */
  uint16_t elf_machine;
  uint32_t elf_pointer;   /* type of the relocation that fills in a 64-bit address */
  uint64_t elf_far;       /* section flags beyond the reach of 32-bit displacements; 0: none */
  const uint8_t *runtime; /* rt.o and lib.o of runtime/image.h; size 0: ingot was built without */
  const size_t *runtime_size;
  const uint8_t *library;
  const size_t *library_size;
  void (*dot4)(struct KernelEmit *e, const KInst *in);
  void (*dot2)(struct KernelEmit *e, const KInst *in);
  void (*lookup)(struct KernelEmit *e, const KInst *in);
};

extern const CpuArch cpu_x86_64, cpu_aarch64;

/* The family that a request is for: that of its levels, else its own, else this machine's. */
const CpuArch *cpu_arch_of(const EmitRequest *r);

#endif
