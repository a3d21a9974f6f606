/* Packing: the bytes of one constant as the program's kernels read them.
 *
 * KL_plain is elements in row-major order, floats widened to f32. KL_rows16 is groups of 16 rows
 * with their blocks along K interleaved (ir/quant.h); rows and blocks come from ir/const_rows,
 * which re-encodes row by row where the file has another format, so that scratch memory is 16 rows
 * and a piece of the result whatever the size of the tensor. Source: mapped files; destination: the
 * program's own file.
 *
 * A split matrix (QuantSplit) is packed in three pieces, from its rows each time: upper bits, lower
 * bits, and the doubt of its rows: E such that for any activations x the product with a row's upper
 * bits, the lower ones being taken for the middle of their range, is within E |x| (the Euclidean
 * norm) of the product with the row itself, both as kernels compute them. By Cauchy and Schwarz, E
 * is the norm of what the lower bits add, and for rounding (at most K / 16 + 6 operations on either
 * side, each 2^-24 of at most |w| |x|; the norms themselves are sums of K / 16 terms a lane) a
 * little more.
 */
#include "ir/const_rows.h"
#include "passes/passes.h"

#include <math.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20 };

static Status check_size(const ConstRows *r, const KWeight *w, uint64_t need, Diag *d) {
  if (need != w->bytes)
    return diag_error(d, r->def->name, "packs to %llu bytes (expected %llu)",
                      (unsigned long long)need, (unsigned long long)w->bytes);
  return OK;
}

/* How many of n units of `bytes` each make a piece. */
static int64_t piece_of(int64_t n, uint64_t bytes) {
  uint64_t k = bytes ? PIECE_BYTES / bytes : PIECE_BYTES;
  if (k < 1) k = 1;
  return k < (uint64_t)n ? (int64_t)k : n;
}

static void plain_row(ConstRows *r, int64_t row, uint8_t *to, uint64_t bytes) {
  if (dtype_is_float(r->def->type.dtype))
    const_row_floats(r, row, (float *)(void *)to);
  else
    memcpy(to, const_row_data(r, row), bytes);
}

static Status pack_plain(ConstRows *r, const KWeight *w, PackSink *sink, void *user, Diag *d) {
  bool floats = dtype_is_float(r->def->type.dtype);
  uint64_t size = floats ? sizeof(float) : dtype_size(r->def->type.dtype), row, all;
  if (!size_mul((uint64_t)r->cols, size, &row) || !size_mul((uint64_t)r->rows, row, &all))
    return diag_error(d, r->def->name, "is too large");
  TRY(check_size(r, w, all, d));
  int64_t step = piece_of(r->rows, row);
  uint8_t *piece = mem_alloc((uint64_t)step * row + 1);
  Status s = OK;
  for (int64_t i = 0; i < r->rows && s == OK; i += step) {
    int64_t n = r->rows - i < step ? r->rows - i : step;
    for (int64_t k = 0; k < n; k++) plain_row(r, i + k, piece + (uint64_t)k * row, row);
    s = sink(user, piece, (uint64_t)n * row);
  }
  mem_free(piece);
  return s;
}

/* ---- groups of 16 rows ----------------------------------------------------------------------- */

/* What is made of one packed block of 16 rows. */
static void pack_block(const QuantDef *q, KLayout layout, const void *const rows[16], uint8_t *out,
                       uint8_t *other) {
  switch (layout) {
  case KL_upper: q->split->pack(rows, out, other); break;
  case KL_lower: q->split->pack(rows, other, out); break;
  default: q->pack(rows, out); break;
  }
}

/* E of a row of blocks; `floats` has room for the row. */
static float row_doubt(const QuantDef *q, const uint8_t *blocks, int64_t n, float *floats) {
  double norm = 0, rounding = ldexp((double)n / 8 + 64, -24);
  q->decode(blocks, floats, (size_t)n);
  for (int64_t i = 0; i < n; i++) norm += (double)floats[i] * (double)floats[i];
  double lost = sqrt(q->split->lost(blocks, (size_t)n));
  return (float)((lost + sqrt(norm) * rounding) * (1 + ldexp(1, -10)));
}

/* Bytes that a packed block of 16 rows takes; 0 for what is not of blocks. */
static uint32_t block_bytes(const QuantDef *q, KLayout layout) {
  return layout == KL_upper   ? q->split->upper_bytes
         : layout == KL_lower ? q->split->lower_bytes
         : layout == KL_doubt ? 0
                              : q->packed_bytes;
}

uint64_t pack_group_bytes(const KWeight *w) {
  const QuantDef *q = quant_def(w->storage);
  if (w->layout == KL_doubt) return 16 * sizeof(float);
  return quant_half_size(q, block_bytes(q, w->layout), 16, w->cols);
}

static void pack_group(ConstRows *r, const QuantDef *q, KLayout layout, int64_t group,
                       uint8_t *scratch, uint8_t *out) {
  uint64_t row_bytes = const_row_bytes(r->cols, q);
  int64_t padded = (int64_t)align_up((uint64_t)r->cols, q->packed_block);
  const uint8_t *rows[16];
  uint8_t *after = scratch + 16 * row_bytes; /* a float row, or the other half of a block */
  for (int i = 0; i < 16; i++) {
    int64_t row = group * 16 + i;
    rows[i] = row < r->rows ? const_row_blocks(r, row, q, scratch + (uint64_t)i * row_bytes) : NULL;
    if (layout != KL_doubt) continue;
    float e = rows[i] ? row_doubt(q, rows[i], padded, (float *)(void *)after) : 0;
    memcpy(out + (size_t)i * sizeof e, &e, sizeof e);
  }
  if (layout == KL_doubt) return;
  uint64_t step = (uint64_t)(q->packed_block / q->block) * q->block_bytes;
  for (uint64_t k = 0; k < (uint64_t)padded / q->packed_block; k++) {
    const void *at[16];
    for (int i = 0; i < 16; i++) at[i] = rows[i] ? rows[i] + k * step : NULL;
    pack_block(q, layout, at, out + k * block_bytes(q, layout), after);
  }
}

static Status check_rows16(const ConstRows *r, const QuantDef *q, const KWeight *w, Diag *d) {
  bool split = w->layout != KL_rows16;
  if (!q || !q->encode || !dtype_is_float(r->def->type.dtype) || (split && !q->split))
    return diag_error(d, r->def->name, "cannot be packed as %s", storage_name(w->storage));
  if (w->rows != r->rows || w->cols != r->cols)
    return diag_error(d, r->def->name, "is %lld x %lld (the program expects %lld x %lld)",
                      (long long)r->rows, (long long)r->cols, (long long)w->rows,
                      (long long)w->cols);
  return check_size(r, w, pack_group_bytes(w) * (uint64_t)pack_units(w), d);
}

/* Memory for 16 encoded rows and what pack_group needs beside them. */
static uint8_t *group_scratch(const ConstRows *r, const QuantDef *q) {
  uint64_t floats = align_up((uint64_t)r->cols, q->packed_block) * sizeof(float);
  uint64_t rows = align_up(16 * const_row_bytes(r->cols, q), sizeof(float));
  return mem_alloc(rows + floats + q->packed_bytes);
}

static Status pack_rows16(ConstRows *r, const KWeight *w, PackPart part, PackSink *sink, void *user,
                          Diag *d) {
  const QuantDef *q = quant_def(w->storage);
  TRY(check_rows16(r, q, w, d));
  uint64_t bytes = pack_group_bytes(w);
  int64_t step = piece_of(part.n, pack_unit_bytes(w));
  uint8_t *scratch = group_scratch(r, q);
  uint8_t *piece = mem_alloc((uint64_t)step * bytes + 1);
  Status s = OK;
  for (int64_t g = part.first, end = g + part.n; g < end && s == OK; g += step) {
    int64_t n = end - g < step ? end - g : step;
    memset(piece, 0, (uint64_t)n * bytes);
    for (int64_t k = 0; k < n; k++)
      pack_group(r, q, w->layout, g + k, scratch, piece + (uint64_t)k * bytes);
    s = sink(user, piece, (uint64_t)n * bytes);
  }
  mem_free(piece);
  mem_free(scratch);
  return s;
}

uint64_t pack_unit_bytes(const KWeight *w) {
  const QuantDef *q = quant_def(w->storage);
  return w->layout == KL_plain ? w->bytes : quant_packed_size(q, 16, w->cols);
}

int64_t pack_units(const KWeight *w) {
  return w->layout == KL_plain ? 1 : (w->rows + 15) / 16;
}

Status pack_weight_to(const Module *m, const KWeight *w, PackPart part, PackSink *sink, void *user,
                      Diag *d) {
  ConstRows r;
  TRY(const_rows_open(m, w->constant, &r, d));
  Status s = w->layout == KL_plain ? pack_plain(&r, w, sink, user, d)
                                   : pack_rows16(&r, w, part, sink, user, d);
  const_rows_close(&r);
  return s;
}

static Status copy_piece(void *user, const void *bytes, uint64_t size) {
  uint8_t **to = user;
  memcpy(*to, bytes, size);
  *to += size;
  return OK;
}

Status pack_weight(const Module *m, const KWeight *w, uint8_t *out, Diag *d) {
  return pack_weight_to(m, w, (PackPart){0, pack_units(w)}, copy_piece, &out, d);
}
