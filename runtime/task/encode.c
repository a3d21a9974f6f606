/* `tensors` of an encoder; see encode.h.
 *
 * Outputs by token have the shape [B, N, ..] with zeros where a hidden token was not run; outputs
 * by sequence are [B, ..].
 */
#include "runtime/task/encode.h"

#include "runtime/core/dtype.h"
#include "runtime/core/encoder.h"
#include "runtime/core/io.h"
#include "runtime/task/batch.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_OUTPUTS = 16 };

typedef struct Result {
  StTensor t;
  uint64_t row; /* bytes of one token (by token) or of one sequence */
  uint8_t *data;
} Result;

static int describe(Encoder *c, const Batch *b, uint32_t i, Result *r, Err *e) {
  Exec *x = encoder_exec(c);
  const IngotTensor *t = &exec_model(x)->entries[encoder_entry(c)].outputs[i];
  bool by_token = encoder_by_token(c, i);
  uint64_t bytes;
  r->t = (StTensor){.name = t->name, .dtype = t->dtype, .rank = t->rank};
  r->row = dtype_size(t->dtype);
  for (uint32_t k = 1; k < t->rank; k++) {
    r->t.dim[by_token ? k + 1 : k] = exec_dim(x, t->dim[k]);
    r->row *= (uint64_t)exec_dim(x, t->dim[k]);
  }
  r->t.dim[0] = b->rows;
  if (by_token) {
    r->t.dim[1] = b->length;
    r->t.rank++;
  }
  if (__builtin_mul_overflow(r->row, (uint64_t)b->rows, &bytes) ||
      (by_token && __builtin_mul_overflow(bytes, (uint64_t)b->length, &bytes)) || bytes > SIZE_MAX)
    return err_no_memory(e, t->name);
  r->t.bytes = bytes;
  r->data = calloc(bytes ? bytes : 1, 1);
  return r->data ? 0 : err_no_memory(e, t->name);
}

/* Copies the outputs of row `r` of the batch, the i-th of the last run. */
static void take_row(Encoder *c, const Batch *b, Result *results, uint32_t n, const EncoderRow *row,
                     int64_t r, int64_t i) {
  for (uint32_t k = 0; k < n; k++) {
    const uint8_t *data = exec_output_data(encoder_exec(c), encoder_entry(c), (int)k);
    bool by_token = encoder_by_token(c, k);
    uint64_t bytes = results[k].row, count = (uint64_t)(by_token ? row->ran : 1);
    uint64_t to = (uint64_t)(by_token ? r * b->length : r) * bytes;
    memcpy(results[k].data + to, data + (uint64_t)(by_token ? row->at : i) * bytes, count * bytes);
  }
}

static int run_rows(Encoder *c, const Batch *b, EncoderRow *rows, Result *results, uint32_t n,
                    Err *e) {
  for (int64_t r = 0; r < b->rows; r++) {
    int64_t at = r * b->length;
    rows[r] = (EncoderRow){.ids = b->ids + at,
                           .types = b->types ? b->types + at : NULL,
                           .positions = b->positions ? b->positions + at : NULL,
                           .mask = b->mask ? b->mask + at : NULL,
                           .n = b->length};
  }
  for (int64_t r = 0, done; r < b->rows; r += done) {
    if (*io_interrupted()) return err_set(e, "tensors", "interrupted");
    if (encoder_run(c, rows + r, b->rows - r, &done, e)) return 1;
    for (int64_t i = 0; i < done; i++) take_row(c, b, results, n, &rows[r + i], r + i, i);
  }
  return 0;
}

static int write_results(const char *path, const Result *results, uint32_t n, Err *e) {
  StTensor t[MAX_OUTPUTS];
  StWriter *w;
  for (uint32_t i = 0; i < n; i++) t[i] = results[i].t;
  if (st_create(path, t, n, &w, e)) return 1;
  for (uint32_t i = 0; i < n; i++) {
    if (st_write(w, results[i].data, results[i].t.bytes, e)) {
      st_abandon(w);
      return 1;
    }
  }
  return st_commit(w, e);
}

static int run_all(Encoder *c, const Batch *b, const char *out, Err *e) {
  const IngotModel *m = exec_model(encoder_exec(c));
  uint32_t n = m->entries[encoder_entry(c)].noutputs;
  Result results[MAX_OUTPUTS] = {0};
  if (n > MAX_OUTPUTS) return err_set(e, "encode", "has too many outputs");
  int bad = 0;
  for (uint32_t i = 0; i < n && !bad; i++) bad = describe(c, b, i, &results[i], e);
  EncoderRow *rows = bad ? NULL : calloc((size_t)b->rows + 1, sizeof *rows);
  if (!bad && !rows) bad = err_no_memory(e, "input_ids");
  if (!bad && b->length) bad = run_rows(c, b, rows, results, n, e);
  if (!bad) bad = write_results(out, results, n, e);
  for (uint32_t i = 0; i < n; i++) free(results[i].data);
  free(rows);
  return bad;
}

int encode_tensors(const IngotModel *m, const ExecOptions *o, const char *in, const char *out,
                   Err *e) {
  Encoder *c = NULL;
  StFile *f = NULL;
  Batch b = {0};
  BatchLimits limits = {
      .vocab = m->generation.vocab, .positions = m->encoder.positions, .types = m->encoder.types};
  int bad = encoder_open(m, o, &c, e) || st_open(in, &f, e) || batch_read(f, in, &limits, &b, e) ||
            run_all(c, &b, out, e);
  st_close(f);
  encoder_close(c);
  batch_free(&b);
  return bad;
}
