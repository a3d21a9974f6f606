/* Sequences through a compiled encoder: what `tensors`, `embed` and `bench` run on.
 *
 * Rows of a batch are laid one behind the other at their own lengths, as many as fit in a run, so
 * nothing is spent on padding and short rows share the reading of the weights; attention is kept
 * within a row, whose bits are those it has alone. Hidden tokens at the end of a row are not run at
 * all, which changes nothing for the others. A row that hides tokens elsewhere is run whole, with
 * its mask.
 */
#ifndef INGOT_RUNTIME_ENCODER_H
#define INGOT_RUNTIME_ENCODER_H

#include "runtime/core/exec.h"

typedef struct Encoder Encoder;

/* Whether the program has an encoder. */
bool encoder_there(const IngotModel *m);
int encoder_open(const IngotModel *m, const ExecOptions *o, Encoder **out, Err *e);
void encoder_close(Encoder *c); /* NULL is fine */
Exec *encoder_exec(Encoder *c);
int encoder_entry(const Encoder *c);
int64_t encoder_longest(const Encoder *c); /* tokens of the longest sequence, and of a run */

typedef struct EncoderRow {
  const uint32_t *ids;
  const int32_t *types;     /* NULL: all 0 */
  const int32_t *positions; /* NULL: 0, 1, .. */
  const float *mask;        /* NULL: all ones; 0 hides a token */
  int64_t n;                /* at least 1 */
  /* by encoder_run: how many tokens were run, and where they are in outputs by token */
  int64_t ran, at;
} EncoderRow;
/* Runs the first of the rows, as many as fit together: *done, at least one. The outputs are in the
 * entry's places until the next run; row i is the i-th of outputs by sequence. */
int encoder_run(Encoder *c, EncoderRow *rows, int64_t n, int64_t *done, Err *e);
/* Sets the symbols as for running one sequence of n tokens, for reading dimensions. */
int encoder_size(Encoder *c, int64_t n, Err *e);
/* Whether an output has a row for each token; else it has one for each sequence. */
bool encoder_by_token(const Encoder *c, uint32_t output);

#endif
