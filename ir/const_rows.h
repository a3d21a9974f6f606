/* Rows of a constant: where each stands in the model's files, read as floats or as blocks.
 *
 * A constant is parts stacked along axis 0, each in its file's format, sometimes with the rows of
 * rotary halves interleaved; the program wants logical rows in the constant's own format. This is
 * the one place that knows how to get from one to the other; packing and the evaluator read
 * through it, so they cannot differ. Memory is a few rows of scratch whatever the constant's size.
 * A vector is a matrix of one column.
 */
#ifndef INGOT_IR_CONST_ROWS_H
#define INGOT_IR_CONST_ROWS_H

#include "ir/quant.h"

typedef struct ConstRows {
  const ConstDef *def;
  int64_t rows, cols;
  const QuantDef *through; /* the constant's own format; NULL: as the file has it */
  ConstPart whole;         /* stands for a dense constant */
  float *floats;           /* scratch: one row, padded to whole blocks */
  uint8_t *blocks;         /* scratch: one row in `through` */
} ConstRows;

/* Checks the parts against the constant's type (the type must have constant dimensions) and against
 * their files' bytes; errors name tensor and format. const_rows_close after success. */
Status const_rows_open(const Module *m, uint32_t index, ConstRows *out, Diag *d);
void const_rows_close(ConstRows *r);

/* The cols floats of a logical row, rounded through the constant's format. Float constants only. */
void const_row_floats(ConstRows *r, int64_t row, float *x);
/* A logical row as blocks of `q`: a pointer into the file when it has them already, else encoded
 * into `buffer` (const_row_bytes(cols, q) bytes, the tail block filled with zeros). */
const uint8_t *const_row_blocks(ConstRows *r, int64_t row, const QuantDef *q, uint8_t *buffer);
uint64_t const_row_bytes(int64_t cols, const QuantDef *q);
/* The bytes of a logical row as they stand in the file, for integer constants. */
const uint8_t *const_row_data(const ConstRows *r, int64_t row);

#endif
