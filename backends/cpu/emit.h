/* Kernel IR to LLVM IR: one function per kernel and ISA level.
 *
 * Inside the cpu backend only. A KernelEmit is the translation of one kernel: the values of Kernel
 * IR map to LLVM values by id, and unrolled loops simply map an id anew on every trip. Nothing here
 * is shared between kernels, so that threads can translate in contexts of their own.
 */
#ifndef INGOT_BACKENDS_CPU_EMIT_H
#define INGOT_BACKENDS_CPU_EMIT_H

#include "backends/backend.h"

#include <llvm-c/Core.h>

/* A dot4 whose sum is still in 16-bit words: the value is start + pairs of words (emit_dot.c). */
typedef struct DotChain {
  LLVMValueRef start, words[8];
  uint32_t length; /* 0: not in words */
} DotChain;

/* Products of one tile: what was emitted last, NULL where memory or control came between. */
typedef struct TileTurns {
  const KInst *last;
  unsigned turn, b; /* count products and loads of b */
} TileTurns;

/* How an mma is cut into tiles: c and a have `rows` rows, a has `words` words a row (emit_amx.c).
 */
typedef struct TileShape {
  uint8_t rows, words;
} TileShape;

typedef struct KernelEmit {
  const Kernel *kernel;
  const CpuTarget *target;
  const bool *constant; /* by buffer parameter: never written while the program runs */
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef b;
  LLVMValueRef fn;
  LLVMValueRef *value; /* by KVal */
  DotChain *chain;     /* by KVal */
  const KInst **user;  /* by KVal: the one instruction that uses it; NULL: none or several */
  TileShape tile;      /* of every mma; rows 0: there are none, or of several shapes */
  TileTurns tiles;
} KernelEmit;

/* Adds the kernel to `module` as an external function `symbol` of type IngotKernelFn. */
void emit_kernel(LLVMModuleRef module, const Kernel *k, const CpuTarget *target,
                 const bool *constant_buffers, const char *symbol);

/* ---- inside the translator ---- */

LLVMTypeRef emit_scalar_type(KernelEmit *e, KScalar s); /* bf16 is kept as i16 */
LLVMTypeRef emit_type(KernelEmit *e, KType t);
static inline KType emit_ktype(const KernelEmit *e, KVal v) {
  return e->kernel->values[v].type;
}
LLVMValueRef emit_int(KernelEmit *e, KType t, int64_t v);
LLVMValueRef emit_i64(KernelEmit *e, int64_t v);
LLVMValueRef emit_splat(KernelEmit *e, LLVMValueRef x, unsigned lanes);
/* Lanes first .. first + n - 1 of a vector. */
LLVMValueRef emit_lanes(KernelEmit *e, LLVMValueRef x, unsigned first, unsigned n);
/* Calls an intrinsic; `types` are its overloaded types (may be none). */
LLVMValueRef emit_intrinsic(KernelEmit *e, const char *name, LLVMTypeRef *types, unsigned ntypes,
                            LLVMValueRef *args, unsigned nargs);

void emit_arith(KernelEmit *e, const KInst *in);
void emit_convert(KernelEmit *e, const KInst *in);
void emit_reduce(KernelEmit *e, const KInst *in);
void emit_lookup(KernelEmit *e, const KInst *in);
void emit_dot4(KernelEmit *e, const KInst *in);
void emit_memory(KernelEmit *e, const KInst *in);
LLVMValueRef emit_address(KernelEmit *e, const KAddr *a);
void emit_mma(KernelEmit *e, const KInst *in);
/* Around the body of a kernel: set up the tiles for its mma, if any; leave them empty. */
void emit_mma_begin(KernelEmit *e);
void emit_mma_end(KernelEmit *e);

/* Those two of AArch64 (emit_arm.c); the plain ones are x86-64's. */
void emit_arm_dot4(KernelEmit *e, const KInst *in);
void emit_arm_lookup(KernelEmit *e, const KInst *in);

#endif
