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

/* A dot4 whose sum is still in 16-bit words: the value is start + pairs of words (emit_chain.c). */
enum { CHAIN_WORDS = 8 }; /* registers of words, at most */
typedef struct DotChain {
  LLVMValueRef start, words[CHAIN_WORDS];
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
  int16_t *grid;       /* by KVal, where fma is soft (emit_grid.c); else NULL */
  const KInst **user;  /* by KVal: the one instruction that uses it; NULL: none or several */
  TileShape tile;      /* of every mma; rows 0: there are none, or of several shapes */
  TileTurns tiles;
} KernelEmit;

/* Adds the kernel to `module` as an external function `symbol` of type IngotKernelFn. */
void emit_kernel(LLVMModuleRef module, const Kernel *k, const CpuTarget *target,
                 const bool *constant_buffers, const char *symbol);

/* ---- inside the translator ---- */

LLVMTypeRef emit_scalar_type(KernelEmit *e, KScalar s); /* f16 and bf16 are kept as i16 */
LLVMTypeRef emit_type(KernelEmit *e, KType t);
static inline LLVMTypeRef emit_lanes_type(KernelEmit *e, KScalar s, unsigned n) {
  return emit_type(e, (KType){(uint8_t)s, (uint8_t)n});
}
static inline KType emit_ktype(const KernelEmit *e, KVal v) {
  return e->kernel->values[v].type;
}
LLVMValueRef emit_int(KernelEmit *e, KType t, int64_t v);
LLVMValueRef emit_i64(KernelEmit *e, int64_t v);
LLVMValueRef emit_splat(KernelEmit *e, LLVMValueRef x, unsigned lanes);
/* Lanes first .. first + n - 1 of a vector. */
LLVMValueRef emit_lanes(KernelEmit *e, LLVMValueRef x, unsigned first, unsigned n);
/* Two vectors one behind the other. */
LLVMValueRef emit_joined(KernelEmit *e, LLVMValueRef low, LLVMValueRef high);
LLVMBasicBlockRef emit_new_block(KernelEmit *e, const char *name); /* at the function's end */
/* The level's features, and what is true of all our functions; one more attribute by its name. */
void emit_attributes(KernelEmit *e, LLVMValueRef fn);
void emit_flag(KernelEmit *e, LLVMValueRef fn, const char *name, uint64_t value);
/* Calls an intrinsic; `types` are its overloaded types (may be none). */
LLVMValueRef emit_intrinsic(KernelEmit *e, const char *name, LLVMTypeRef *types, unsigned ntypes,
                            LLVMValueRef *args, unsigned nargs);

/* By value, for f32: all its finite values are multiples of 2^grid (emit_grid.c). To be freed. */
enum { GRID_NONE = INT16_MIN, GRID_ANY = 127 };
int16_t *emit_grids(const Kernel *k);

/* Where the level has no instruction for it (emit_soft.c): scalars and vectors of f32, f16 as i16.
 */
static inline bool emit_is_soft(const KernelEmit *e) {
  return e->target->isa == INGOT_X86_64_V2;
}
LLVMValueRef emit_soft_fma(KernelEmit *e, LLVMValueRef *x, int16_t grid); /* x: a, b, c */
LLVMValueRef emit_soft_from_half(KernelEmit *e, LLVMValueRef x);
LLVMValueRef emit_soft_to_half(KernelEmit *e, LLVMValueRef x);

void emit_arith(KernelEmit *e, const KInst *in);
void emit_convert(KernelEmit *e, const KInst *in);
void emit_reduce(KernelEmit *e, const KInst *in);
void emit_lookup(KernelEmit *e, const KInst *in);
void emit_dot4(KernelEmit *e, const KInst *in);
void emit_dot2(KernelEmit *e, const KInst *in);
void emit_memory(KernelEmit *e, const KInst *in);
/* For a dot4 in words: begin, add each register of products, then ask whether the chain ends here
 * with all of it in *chain; else the next dot4 takes it over. */
DotChain emit_chain_begin(KernelEmit *e, const KInst *in);
void emit_chain_add(KernelEmit *e, DotChain *chain, unsigned i, LLVMValueRef words);
bool emit_chain_ends(KernelEmit *e, const KInst *in, const DotChain *chain);
LLVMValueRef emit_address(KernelEmit *e, const KAddr *a);
void emit_mma(KernelEmit *e, const KInst *in);
/* Around the body of a kernel: set up the tiles for its mma, if any; leave them empty. */
void emit_mma_begin(KernelEmit *e);
void emit_mma_end(KernelEmit *e);

/* Those three of AArch64 (emit_arm.c); the plain ones are x86-64's. */
void emit_arm_dot4(KernelEmit *e, const KInst *in);
void emit_arm_dot2(KernelEmit *e, const KInst *in);
void emit_arm_lookup(KernelEmit *e, const KInst *in);

#endif
