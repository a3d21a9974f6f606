/* The encoder of codebooks: scales and points of least squared error (grid_fit.c). */
#ifndef INGOT_IR_QUANT_GRID_FIT_H
#define INGOT_IR_QUANT_GRID_FIT_H

#include "ir/quant/fit.h"
#include "ir/quant/grid.h"

typedef struct GridFit {
  const Grid *grid;
  const int8_t *level; /* what digits are worth, ascending; NULL with `shift` */
  int parts;           /* 8 or 16 scales of a super-block, odd numbers up to top */
  int top;
  float factor;
  bool even; /* of eight weights an even number is negative */
  /* Elements that are shifted together; 0: weights have signs instead. Digit g is worth 8 (g - 1)
   * + 1 or - 1, code 8 g + 2 or 8 g. */
  int shift;
} GridFit;

/* Fills s->scale, d and code. `weight` as in fit.h. */
void fit_grid(const GridFit *f, const float *x, const float *weight, Super *s);

#endif
