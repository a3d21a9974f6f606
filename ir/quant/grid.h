/* Codebooks: formats that store groups of 8 (iq1, iq2) or 4 (iq3) weights as the number of a point.
 *
 * The points are data (grids.c); a format says what a digit of a point is worth. Signs of iq2 and
 * iq3 are stored beside; where a file has 7 bits for 8 signs, the eighth makes their number even.
 */
#ifndef INGOT_IR_QUANT_GRID_H
#define INGOT_IR_QUANT_GRID_H

#include "ir/quant/super.h"

typedef struct Grid {
  const uint16_t *point; /* ascending */
  const uint16_t *run;   /* where the points begin whose upper half is 0, 1, .. or more */
  int n, halves;         /* points; upper halves, rounded up to a multiple of 8 */
  int dims, bits;        /* digits of a point, bits of a digit */
} Grid;
extern const Grid grid_iq2_xxs, grid_iq2_xs, grid_iq2_s, grid_iq3_xxs, grid_iq3_s, grid_iq1;

/* Digit i of a point. */
static inline uint8_t grid_digit(const Grid *g, unsigned point, int i) {
  return (uint8_t)(point >> (g->bits * i) & ((1u << g->bits) - 1));
}
/* The number of a point; -1 when the codebook doesn't have it. */
int grid_find(const Grid *g, unsigned point);
/* Eight signs (bit i set: weight i is negative) of the 7 bits that a file has. */
static inline uint8_t even_signs(unsigned seven) {
  unsigned parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (uint8_t)(seven | (parity & 1) << 7);
}
/* Writes the codes of a group: digit, and above it the sign of each. */
void grid_codes(const Grid *g, int index, unsigned signs, uint8_t *code);
/* The other way: number and signs of the codes of a group, which must be a point's. */
int grid_index(const Grid *g, const uint8_t *code, unsigned *signs);

#endif
