/* Shared by the storage formats: block access that never assumes alignment, and the few kernel
 * sequences that several formats use.
 *
 * Blocks lie in mapped files at any byte offset, so every multi-byte field goes through memcpy.
 */
#ifndef INGOT_IR_QUANT_COMMON_H
#define INGOT_IR_QUANT_COMMON_H

#include "ir/quant.h"

#include <string.h>

#define QUANT(name, ggml, block, bytes, packed) extern const QuantDef quant_##name;
#define QUANT_NAMED(name, ggml, block, bytes)
#include "ir/quants.def"
#undef QUANT
#undef QUANT_NAMED

enum { QK = 32 }; /* elements of a block in the formats without super-blocks */

static inline float load_f16(const void *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return f16_to_f32(h);
}

static inline void store_f16(void *p, float f) {
  uint16_t h = f32_to_f16(f);
  memcpy(p, &h, 2);
}

/* v truncated to 0..top; anything not above 0, NaN too, gives 0. */
static inline uint8_t clamp_code(float v, int top) {
  if (!(v > 0)) return 0;
  return v >= (float)top ? (uint8_t)top : (uint8_t)v;
}

/* The element of largest magnitude, with its sign (the first of equals). */
float block_extreme(const float *x);
/* Smallest and largest element. */
void block_range(const float *x, float *lo, float *hi);

/* 16 f16 values at byte `offset` of a packed block, as v16f32. */
KVal unpack_f16x16(KBuilder *b, KAddr a, int64_t offset);
/* One of them: that of `lane`, as a scalar f32. */
KVal unpack_f16_lane(KBuilder *b, KAddr a, int64_t offset, KVal lane);
/* A plane holds `width` (1, 2 or 4) bits of each of a block's 32 codes in `width` code vectors, 64
 * bytes apart: bits width * (j / width) .. of byte b of lane r of vector j % width belong to the
 * code of k = 4j + b of row r. Puts them at bit `to` of code[j]: `first` sets the codes, else they
 * are or-ed in. */
void unpack_plane(KBuilder *b, KAddr a, int width, int to, bool first, KVal *code);
/* The same bits of element k of row `lane`, as a scalar i32. */
KVal unpack_plane_one(KBuilder *b, KAddr a, int width, int to, KVal lane, KVal k);
/* Writes lane r of a plane: bits from .. from + width of the 32 codes. */
void pack_plane(const uint8_t *codes, int from, int width, int r, uint8_t *out);
/* The sum over n codes of the square of (their lowest `bits` bits less the middle of what those can
 * be). */
double squares_below(const uint8_t *codes, int n, int bits);
/* A table of 16 signed values of -zero .. zero - 1: the codes of such formats are value + zero. */
KVal table_vector(KBuilder *b, const int8_t *table, int zero);
/* The value + zero of one scalar code. */
KVal table_one(KBuilder *b, const int8_t *table, int zero, KVal code);
/* The 32 values scale * (code - zero) + min of a block, from its unpacked integers. */
void floats_of_ints(KBuilder *b, const QuantInts *ints, KVal *out);

#endif
