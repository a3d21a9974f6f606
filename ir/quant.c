/* The table of storage formats: names, sizes and the rows that are computed.
 *
 * One array from ir/quants.def serves both kinds of row; a QUANT row also links to its QuantDef in
 * ir/quant/. Sizes of named-only formats are known so that a GGUF that carries them can be read,
 * inspected and refused by name.
 */
#include "ir/quant.h"
#include "ir/quant/common.h"

typedef struct QuantRow {
  Storage storage;
  uint32_t ggml_type, block, block_bytes;
  const QuantDef *def;
} QuantRow;

static const QuantRow rows[] = {
#define QUANT(name, ggml, block, bytes, packed) {Q_##name, ggml, block, bytes, &quant_##name},
#define QUANT_NAMED(name, ggml, block, bytes) {Q_##name, ggml, block, bytes, NULL},
#include "ir/quants.def"
#undef QUANT
#undef QUANT_NAMED
};

#define QUANT(name, ggml, block, bytes, packed)                                                    \
  _Static_assert(block <= QUANT_LARGEST_BLOCK, #name " has larger blocks than rows are padded "    \
                                                     "to");
#define QUANT_NAMED(name, ggml, block, bytes)
#include "ir/quants.def"
#undef QUANT
#undef QUANT_NAMED

static const QuantRow *row_of(Storage s) {
  for (size_t i = 0; i < COUNT(rows); i++)
    if (rows[i].storage == s) return &rows[i];
  return NULL;
}

const QuantDef *quant_def(Storage s) {
  const QuantRow *r = row_of(s);
  return r ? r->def : NULL;
}

bool quant_size(Storage s, uint32_t *block, uint32_t *block_bytes) {
  const QuantRow *r = row_of(s);
  if (!r) return false;
  *block = r->block;
  *block_bytes = r->block_bytes;
  return true;
}

Storage quant_from_ggml(uint32_t ggml_type) {
  for (size_t i = 0; i < COUNT(rows); i++)
    if (rows[i].ggml_type == ggml_type) return rows[i].storage;
  return Q_plain;
}

QuantInts quant_form(const QuantDef *q) {
  Arena *a = arena_new();
  KBuilder b = kbuilder(kernel_new(a, "form", KC_contract));
  QuantInts w = {0};
  KVal packed = k_buffer(&b, "w", K_i8);
  q->unpack_ints(&b, k_addr(packed), k_i64(&b, 0), &w);
  arena_free(a);
  return w;
}

bool quant_folds(const QuantDef *q) {
  if (q->packed_block != QUANT_FOLD || !q->unpack_ints) return false;
  QuantInts form = quant_form(q);
  return form.top > 0 && form.bits < 8;
}

void quant_unpack_floats(const QuantDef *q, KBuilder *b, KAddr a, KVal sub, KVal *out) {
  QuantInts ints;
  if (!q->unpack_ints) {
    q->unpack_floats(b, a, sub, out);
    return;
  }
  q->unpack_ints(b, a, sub, &ints);
  floats_of_ints(b, &ints, out);
}

uint64_t quant_half_size(const QuantDef *q, uint32_t block_bytes, int64_t n_rows, int64_t cols) {
  BUG_IF(n_rows < 0 || cols < 0, "packed size of %lld x %lld", (long long)n_rows, (long long)cols);
  uint64_t groups = align_up((uint64_t)n_rows, 16) / 16;
  uint64_t blocks = align_up((uint64_t)cols, q->packed_block) / q->packed_block;
  uint64_t n, bytes;
  BUG_IF(!size_mul(groups, blocks, &n) || !size_mul(n, block_bytes, &bytes),
         "packed size of %lld x %lld overflows", (long long)n_rows, (long long)cols);
  return bytes;
}

uint64_t quant_packed_size(const QuantDef *q, int64_t n_rows, int64_t cols) {
  return quant_half_size(q, q->packed_bytes, n_rows, cols);
}
