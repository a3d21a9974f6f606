/* Transcendentals by Kernel IR arithmetic: each takes an f32 value of 1 or 16 lanes.
 *
 * Branch-free: special cases are selects at the end. Every step is one rounded f32 operation or an
 * exact integer one, so the bits are the same in every lane, width and backend. The last
 * instruction that each emits is the one that gives its result: passes/expand_math relies on that.
 * Bounds are held by tests/unit/math_test.c.
 */
#ifndef INGOT_PASSES_MATH_MATH_H
#define INGOT_PASSES_MATH_MATH_H

#include "ir/kernel.h"

KVal math_exp(KBuilder *b, KVal x);  /* 1 ulp; 0 below -104, inf above 88.73, subnormals right */
KVal math_log(KBuilder *b, KVal x);  /* 1 ulp; log 0 = -inf, log of a negative = NaN */
KVal math_tanh(KBuilder *b, KVal x); /* 2 ulp */
KVal math_erf(KBuilder *b, KVal x);  /* 2 ulp */
KVal math_gelu(KBuilder *b, KVal x); /* absolute error 1e-7, or an ulp; 0 and x far out */
KVal math_sin(KBuilder *b, KVal x);  /* absolute error 1e-7 for |x| <= 2^20; NaN from 2^23 on */
KVal math_cos(KBuilder *b, KVal x);

/* ---- shared by the files of this folder ----------------------------------------------------- */

KVal math_f32(KBuilder *b, KVal like, double v); /* literals with the lanes of `like` */
KVal math_i32(KBuilder *b, KVal like, int64_t v);
/* c[0] + c[1] t + .. by Horner's rule, one fma a coefficient. */
KVal math_poly(KBuilder *b, KVal t, const float *c, int n);
/* exp of an x that is a number in -104..89. */
KVal math_exp_core(KBuilder *b, KVal x);
/* 2^x of x <= 0, for weights that are summed: 1 ulp down to 2^-126, below that within 2^-126, and 0
 * from -127 on. Half the instructions of math_exp. */
KVal math_exp2_decay(KBuilder *b, KVal x);
/* The same with an error of 2^-18.4, for weights that are rounded to 14 bits anyway. Two
 * instructions less. */
KVal math_exp2_decay_short(KBuilder *b, KVal x);
/* 2^x of an x that is a number in -126 .. 0, within 2^-22.9 of it. */
KVal math_exp2_near(KBuilder *b, KVal x);
/* |x| with the sign of `sign`. */
KVal math_copysign(KBuilder *b, KVal x, KVal sign);
/* `y`, but NaN where x is NaN. */
KVal math_keep_nan(KBuilder *b, KVal x, KVal y);

#endif
