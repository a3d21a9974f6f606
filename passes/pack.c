/* Packing: the bytes of one constant as the program's kernels read them.
 *
 * KL_plain is elements in row-major order, floats widened to f32. KL_rows16 is groups of 16 rows
 * with their blocks along K interleaved (ir/quant.h); rows and blocks come from ir/const_rows,
 * which re-encodes row by row where the file has another format, so that scratch memory is 16 rows
 * whatever the size of the tensor. Source: mapped files; destination: the program's own file.
 */
#include "ir/const_rows.h"
#include "passes/passes.h"

#include <string.h>

static Status check_size(const ConstRows *r, const KWeight *w, uint64_t need, Diag *d) {
  if (need != w->bytes)
    return diag_error(d, r->def->name, "packs to %llu bytes (expected %llu)",
                      (unsigned long long)need, (unsigned long long)w->bytes);
  return OK;
}

static Status pack_plain(ConstRows *r, const KWeight *w, uint8_t *out, Diag *d) {
  bool floats = dtype_is_float(r->def->type.dtype);
  uint64_t size = floats ? sizeof(float) : dtype_size(r->def->type.dtype), row, all;
  if (!size_mul((uint64_t)r->cols, size, &row) || !size_mul((uint64_t)r->rows, row, &all))
    return diag_error(d, r->def->name, "is too large");
  TRY(check_size(r, w, all, d));
  float *x = floats ? mem_alloc(row + 1) : NULL;
  for (int64_t i = 0; i < r->rows; i++) {
    const void *from = x;
    if (floats)
      const_row_floats(r, i, x);
    else
      from = const_row_data(r, i);
    memcpy(out + (uint64_t)i * row, from, row);
  }
  mem_free(x);
  return OK;
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

static Status pack_rows16(ConstRows *r, const KWeight *w, uint8_t *out, Diag *d) {
  const QuantDef *q = quant_def(w->storage);
  if (!q || !q->encode || !dtype_is_float(r->def->type.dtype))
    return diag_error(d, r->def->name, "cannot be packed as %s", storage_name(w->storage));
  if (w->rows != r->rows || w->cols != r->cols)
    return diag_error(d, r->def->name, "is %lld x %lld (the program expects %lld x %lld)",
                      (long long)r->rows, (long long)r->cols, (long long)w->rows,
                      (long long)w->cols);
  TRY(check_size(r, w, quant_packed_size(q, r->rows, r->cols), d));
  uint64_t group_bytes = quant_packed_size(q, 16, r->cols);
  uint8_t *scratch = mem_alloc(16 * const_row_bytes(r->cols, q) + 1);
  for (int64_t g = 0; g * 16 < r->rows; g++)
    pack_group(r, q, g, scratch, out + (uint64_t)g * group_bytes);
  mem_free(scratch);
  return OK;
}

Status pack_weight(const Module *m, const KWeight *w, uint8_t *out, Diag *d) {
  ConstRows r;
  TRY(const_rows_open(m, w->constant, &r, d));
  Status s = w->layout == KL_plain ? pack_plain(&r, w, out, d) : pack_rows16(&r, w, out, d);
  const_rows_close(&r);
  return s;
}
