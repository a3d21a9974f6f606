/* The encoders' search for scales: least squares over a few candidate codings (fit.c).
 *
 * `weight` says how much the squared error of each element counts; NULL: all alike.
 */
#ifndef INGOT_IR_QUANT_FIT_H
#define INGOT_IR_QUANT_FIT_H

#include "ir/quant/super.h"

/* Loops over elements go by eight strands, whose sums are added in one order: what vectors of any
 * length add up to. So they can be compiled for wider vectors, and chosen when the program begins,
 * without a change of results. */
enum { FIT_STRANDS = 8 };
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FIT_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define FIT_CLONES
#endif

typedef float Strands __attribute__((vector_size(4 * FIT_STRANDS)));
typedef int32_t StrandMasks __attribute__((vector_size(4 * FIT_STRANDS)));

/* Eight elements from `x` on. */
#define STRANDS_AT(x)                                                                              \
  (__extension__({                                                                                 \
    Strands strands_;                                                                              \
    memcpy(&strands_, (x), sizeof strands_);                                                       \
    strands_;                                                                                      \
  }))
/* Lane by lane: mask ? v : 0. */
#define STRANDS_WHERE(mask, v) ((Strands)((mask) & (StrandMasks)(v)))
/* Their sum. */
#define STRANDS_SUM(a)                                                                             \
  ((((a)[0] + (a)[4]) + ((a)[2] + (a)[6])) + (((a)[1] + (a)[5]) + ((a)[3] + (a)[7])))

/* Fills s->scale, min, d, dmin and code for weights d * scale * code - dmin * min: parts (8 or 16)
 * scales of at most `scale_top`, codes of at most `code_top`. */
void fit_affine(const float *x, const float *weight, int parts, int scale_top, int code_top,
                Super *s);
/* For weights d * scale * (code - zero), codes of 0 .. 2 * zero - 1, scales of -scale_top ..
 * scale_top - 1. */
void fit_symmetric(const float *x, const float *weight, int parts, int scale_top, int zero,
                   Super *s);

/* For weights d * scale * table[code], ascending tables of 16 values; scales as in fit_symmetric,
 * QS_BLOCKS parts. */
void fit_table(const float *x, const float *weight, int scale_top, const int8_t *table, Super *s);
/* For weights d * (code - 1), codes 0 .. 2. */
void fit_ternary(const float *x, const float *weight, Super *s);
/* Scale of least squared error of n values (a multiple of 8) against scale * table[code]. */
float fit_table_scale(const float *x, const float *weight, int n, const int8_t *table);
/* `weight`, or `ones` filled with n of them when there are no weights or all are 0. */
const float *fit_weights(const float *weight, int n, float *ones);
/* The same of a block of QK values, for weights scale * (code - zero), codes 0 .. 2 * zero - 1. */
float fit_block_scale(const float *x, const float *weight, int zero);
/* For weights scale * code + min, codes 0 .. code_top. */
void fit_block_affine(const float *x, const float *weight, int code_top, float *scale, float *min);
/* Code of the table's value nearest to v. */
uint8_t table_nearest(const int8_t *table, float v);

#endif
