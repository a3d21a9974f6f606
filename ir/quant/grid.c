/* Codebooks; see grid.h. */
#include "ir/quant/grid.h"

int grid_find(const Grid *g, unsigned point) {
  int lo = 0, hi = g->n;
  while (lo < hi) {
    int middle = (lo + hi) / 2;
    if (g->point[middle] < point)
      lo = middle + 1;
    else
      hi = middle;
  }
  return lo < g->n && g->point[lo] == point ? lo : -1;
}

void grid_codes(const Grid *g, int index, unsigned signs, uint8_t *code) {
  for (int i = 0; i < g->dims; i++)
    code[i] = (uint8_t)(grid_digit(g, g->point[index], i) | (signs >> i & 1) << g->bits);
}

int grid_index(const Grid *g, const uint8_t *code, unsigned *signs) {
  unsigned point = 0;
  *signs = 0;
  for (int i = 0; i < g->dims; i++) {
    point |= (code[i] & ((1u << g->bits) - 1)) << (g->bits * i);
    *signs |= (unsigned)(code[i] >> g->bits & 1) << i;
  }
  int index = grid_find(g, point);
  BUG_IF(index < 0, "codes that are no point of the codebook");
  return index;
}
