/* Inside of the Kernel IR evaluator: registers and decoded steps.
 *
 * A kernel is decoded once to flat arrays of steps, each with a handler and pointers to its
 * registers; kernel_eval.c runs control and memory, kernel_eval_ops.c arithmetic. Convention: lanes
 * of i1, i8, i16, i32 and the bits of f16 and bf16 live in `i`, sign-extended (i1: 0 or 1), those
 * of i64 in `l`, those of f32 in `f`, so that `bits` between types of one size is a copy.
 */
#ifndef INGOT_IR_KERNEL_EVAL_H
#define INGOT_IR_KERNEL_EVAL_H

#include "ir/kernel_impl.h"

typedef union KReg {
  int32_t i[16];
  int64_t l[16];
  float f[16];
} KReg;

typedef struct KEval KEval;
typedef struct KStep KStep;
/* Runs one step; false after an error has been given. */
typedef bool KRun(KEval *e, const KStep *s);

typedef struct KSteps {
  KStep *step;
  uint32_t n;
} KSteps;

struct KStep {
  KRun *run;
  KReg *out, *a, *b, *c;
  uint8_t lanes; /* of the operands of arithmetic; of the access in memory steps */
  uint8_t bits;  /* width of the result's scalar */
  uint8_t bytes; /* of one lane in memory */
  uint8_t from;  /* KScalar of the first operand */
  const KInst *inst;
  KSteps body, orelse;
  KReg *carry; /* loops: room for all next values at once, NULL when one by one will do */
};

/* The handler of an arithmetic or structural op. */
KRun *keval_op(const Kernel *k, const KInst *in);
/* Gives an error at a step; returns false. */
bool keval_error(KEval *e, const KStep *s, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ---- running ---- */

typedef struct KWatch KWatch;
KEval *keval_decode(Arena *arena, const Kernel *k); /* verified; may be run any number of times */
/* Iterations lo..hi of the par loop, hi < 0: all; `watch` may be NULL. */
Status keval_run(KEval *e, const KBuffer *buffers, const int64_t *scalars, int64_t lo, int64_t hi,
                 KWatch *watch, Diag *d);

/* ---- races (kernel_watch.c) ---- */

/* Watches `n` regions of memory; everything else may be read only. */
KWatch *kwatch_new(Arena *arena, const KBuffer *regions, uint32_t n);
void kwatch_next(KWatch *w);    /* what follows may run at the same time as what came before */
void kwatch_barrier(KWatch *w); /* what follows runs after all that came before */
/* NULL, or what is wrong with this access. */
const char *kwatch_touch(KWatch *w, const uint8_t *p, uint64_t bytes, bool store);

#endif
