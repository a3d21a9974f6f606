/* The encoders' search for scales: least squares over a few candidate codings (fit.c).
 *
 * `weight` says how much the squared error of each element counts; NULL: all alike.
 */
#ifndef INGOT_IR_QUANT_FIT_H
#define INGOT_IR_QUANT_FIT_H

#include "ir/quant/super.h"

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
/* Code of the table's value nearest to v. */
uint8_t table_nearest(const int8_t *table, float v);

#endif
