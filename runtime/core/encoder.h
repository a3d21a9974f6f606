/* One sequence at a time through a compiled encoder: what `tensors`, `embed` and `bench` run on.
 *
 * Rows of a batch are run one after the other at their own lengths, each on all threads, so nothing
 * is spent on padding: hidden tokens at the end of a row are not run at all, which changes nothing
 * for the others. A row that hides tokens elsewhere is run whole, with its mask.
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
int64_t encoder_longest(const Encoder *c); /* tokens of the longest sequence */

typedef struct EncoderRow {
  const uint32_t *ids;
  const int32_t *types;     /* NULL: all 0 */
  const int32_t *positions; /* NULL: 0, 1, .. */
  const float *mask;        /* NULL: all ones; 0 hides a token */
  int64_t n;
} EncoderRow;
/* Runs the row. *run is how many of its tokens were run; the outputs are in the entry's places
 * until the next run. */
int encoder_run(Encoder *c, const EncoderRow *row, int64_t *run, Err *e);
/* Whether an output has a row for each token; else it is one row for the sequence. */
bool encoder_by_token(const Encoder *c, uint32_t output);

#endif
