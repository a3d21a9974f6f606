/* Code generation: the kernels of all ISA levels to relocatable objects, through LLVM.
 *
 * The kernels are dealt out to a fixed number of parts, each a module in an LLVM context of its
 * own, so that threads can work on them; how many threads does not change a byte of the result.
 */
#ifndef INGOT_BACKENDS_CPU_CODEGEN_H
#define INGOT_BACKENDS_CPU_CODEGEN_H

#include "backends/backend.h"

typedef enum CodeForm { CODE_OBJECT, CODE_ASM, CODE_LLVM_IR } CodeForm;

typedef struct CpuCode {
  Buf *part;
  uint32_t nparts;
  /* Summed over the threads, seconds: translation, LLVM passes, code generation. */
  double translate, passes, emit;
} CpuCode;

/* CODE_ASM and CODE_LLVM_IR give one part of text. */
Status cpu_codegen(const EmitRequest *r, CodeForm form, Diag *d, CpuCode *out);
void cpu_code_free(CpuCode *c);

/* The name of a kernel's function: "ingot.k12.qkv.x86-64-v3". The level in it is a lower one
 * where the two differ in tiles or dot products only and the kernel has none: it is compiled once.
 */
void cpu_kernel_symbol(const EmitRequest *r, uint32_t level, uint32_t kernel, Buf *out);

#endif
