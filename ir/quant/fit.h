/* The encoders' search for scales: least squares over a few candidate codings (fit.c). */
#ifndef INGOT_IR_QUANT_FIT_H
#define INGOT_IR_QUANT_FIT_H

#include "ir/quant/super.h"

/* Fills s->scale, min, d, dmin and code for weights d * scale * code - dmin * min: parts (8 or 16)
 * scales of at most `scale_top`, codes of at most `code_top`. */
void fit_affine(const float *x, int parts, int scale_top, int code_top, Super *s);
/* For weights d * scale * (code - zero), codes of 0 .. 2 * zero - 1, scales of -scale_top ..
 * scale_top - 1. */
void fit_symmetric(const float *x, int parts, int scale_top, int zero, Super *s);

#endif
