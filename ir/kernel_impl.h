/* What the files of ir_kernel share: raw construction of instructions and the type rules.
 *
 * The builder (kernel_build.c) checks what it is given and folds; the parser and the passes use the
 * raw layer here, which does neither, so that the verifier can be given ill-formed kernels.
 * Convention: literals always stand at the head of the kernel's body, each once.
 */
#ifndef INGOT_IR_KERNEL_IMPL_H
#define INGOT_IR_KERNEL_IMPL_H

#include "ir/kernel.h"

/* One scope that instructions are being added to: a loop or if not yet ended. */
struct KOpen {
  KInst *inst;
  KRegion *outer; /* the region that holds `inst` */
  struct KOpen *up;
};

KVal kernel_value(Kernel *k, KType t, KValueKind kind, const char *name, KInst *def);
/* A fresh instruction, with its addr or loop allocated when the op has one; not yet in a region. */
KInst *kernel_inst(Kernel *k, KOpCode op, KType t);
void kregion_push(Kernel *k, KRegion *r, KInst *inst);
/* Rebuilds a region and those within it, instruction by instruction: what `rewrite` has emitted
 * something else for (true) is left out. */
typedef bool KRewrite(KBuilder *b, const KInst *in);
void kregion_rewrite(Kernel *k, KRegion *r, KRewrite *rewrite);
/* Gives `inst` a result value of its type (none for void) and returns it. */
KVal kernel_result(Kernel *k, KInst *inst, const char *name);
/* The shared literal of a type; integers wrap to the type, floats are rounded to it. */
KVal kernel_literal_int(Kernel *k, KType t, int64_t v);
KVal kernel_literal_float(Kernel *k, KType t, double v);
/* The instruction of a literal, or NULL when `v` isn't one. */
const KInst *kernel_literal(const Kernel *k, KVal v);
/* Brings an address to its one form: literal indices in the offset, equal indices merged. */
void kernel_addr_normalise(const Kernel *k, KAddr *a);

bool kscalar_is_float(KScalar s);
int kscalar_bits(KScalar s);             /* 1 for i1 */
int64_t kint_wrap(KScalar s, int64_t v); /* v as an integer of that type, sign-extended */
/* `v16f32`; into a buffer of 8 that is returned. */
const char *ktype_print(KType t, char out[8]);
static inline bool ktype_equal(KType a, KType b) {
  return a.scalar == b.scalar && a.lanes == b.lanes;
}
/* The result type when it follows from the operands (kinds A and T); void type otherwise. */
KType kinst_infer(const Kernel *k, KOpCode op, const KVal *arg);
/* Says what is ill-typed about one instruction (not about the bodies of loops), or NULL. */
const char *kinst_ill_typed(const Kernel *k, const KInst *inst);

#endif
