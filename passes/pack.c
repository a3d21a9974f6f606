/* Packing: the bytes of one constant as the program's kernels read them.
 *
 * KL_plain is elements in row-major order, floats widened to f32. KL_rows16 is groups of 16 rows
 * with their blocks along K interleaved (ir/quant.h); rows and blocks come from ir/const_rows,
 * which re-encodes row by row where the file has another format, so that scratch memory is 16 rows
 * and a piece of the result whatever the size of the tensor. Source: mapped files; destination: the
 * program's own file.
 */
#include "ir/const_rows.h"
#include "passes/passes.h"

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

static void pack_group(ConstRows *r, const QuantDef *q, int64_t group, uint8_t *scratch,
                       uint8_t *out) {
  uint64_t row_bytes = const_row_bytes(r->cols, q);
  const uint8_t *rows[16];
  for (int i = 0; i < 16; i++) {
    int64_t row = group * 16 + i;
    rows[i] = row < r->rows ? const_row_blocks(r, row, q, scratch + (uint64_t)i * row_bytes) : NULL;
  }
  uint64_t step = (uint64_t)(q->packed_block / q->block) * q->block_bytes;
  uint64_t blocks = align_up((uint64_t)r->cols, q->packed_block) / q->packed_block;
  for (uint64_t k = 0; k < blocks; k++) {
    const void *at[16];
    for (int i = 0; i < 16; i++) at[i] = rows[i] ? rows[i] + k * step : NULL;
    q->pack(at, out + k * q->packed_bytes);
  }
}

static Status check_rows16(const ConstRows *r, const QuantDef *q, const KWeight *w, Diag *d) {
  if (!q || !q->encode || !dtype_is_float(r->def->type.dtype))
    return diag_error(d, r->def->name, "cannot be packed as %s", storage_name(w->storage));
  if (w->rows != r->rows || w->cols != r->cols)
    return diag_error(d, r->def->name, "is %lld x %lld (the program expects %lld x %lld)",
                      (long long)r->rows, (long long)r->cols, (long long)w->rows,
                      (long long)w->cols);
  return check_size(r, w, quant_packed_size(q, r->rows, r->cols), d);
}

static Status pack_rows16(ConstRows *r, const KWeight *w, PackPart part, PackSink *sink, void *user,
                          Diag *d) {
  const QuantDef *q = quant_def(w->storage);
  TRY(check_rows16(r, q, w, d));
  uint64_t group_bytes = quant_packed_size(q, 16, r->cols);
  int64_t step = piece_of(part.n, group_bytes);
  uint8_t *scratch = mem_alloc(16 * const_row_bytes(r->cols, q) + 1);
  uint8_t *piece = mem_alloc((uint64_t)step * group_bytes + 1);
  Status s = OK;
  for (int64_t g = part.first, end = g + part.n; g < end && s == OK; g += step) {
    int64_t n = end - g < step ? end - g : step;
    memset(piece, 0, (uint64_t)n * group_bytes);
    for (int64_t k = 0; k < n; k++)
      pack_group(r, q, g + k, scratch, piece + (uint64_t)k * group_bytes);
    s = sink(user, piece, (uint64_t)n * group_bytes);
  }
  mem_free(piece);
  mem_free(scratch);
  return s;
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
