/* The encoder of codebooks: scales and points of least squared error (grid_fit.c). */
#ifndef INGOT_IR_QUANT_GRID_FIT_H
#define INGOT_IR_QUANT_GRID_FIT_H

#include "ir/quant/fit.h"
#include "ir/quant/grid.h"

/* What a codebook format adds to its SuperFormat for the search. */
struct GridFit {
  const Grid *grid;
  int top;   /* scales are odd numbers up to it */
  bool even; /* of eight weights an even number is negative */
  /* Elements that are shifted together; 0: weights have signs instead, and digits are worth what
   * the format's table says. Digit g is worth 8 (g - 1) + 1 or - 1, code 8 g + 2 or 8 g. */
  int shift;
};

/* Fills s->scale, d and code for a format with `grid`. `weight` as in fit.h. */
void fit_grid(const SuperFormat *f, const float *x, const float *weight, Super *s);

#endif
