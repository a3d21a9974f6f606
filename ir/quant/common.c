/* Shared by the storage formats; see common.h.
 *
 * A product of an f16 scale and a code of at most 8 bits has at most 19 significant bits, so it is
 * exact in f32 and `fma(scale, code, min)` equals the two-step formula of the file formats.
 */
#include "ir/quant/common.h"

#include <math.h>

float block_extreme(const float *x) {
  float best = 0, magnitude = 0;
  for (int i = 0; i < QK; i++) {
    if (fabsf(x[i]) > magnitude) {
      magnitude = fabsf(x[i]);
      best = x[i];
    }
  }
  return best;
}

void block_range(const float *x, float *lo, float *hi) {
  *lo = *hi = x[0];
  for (int i = 1; i < QK; i++) {
    if (x[i] < *lo) *lo = x[i];
    if (x[i] > *hi) *hi = x[i];
  }
}

KVal unpack_f16x16(KBuilder *b, KAddr a, int64_t offset) {
  return k_cvt(b, k_load(b, KT(f16, 16), k_off(a, offset)), K_f32);
}

KVal unpack_f16_lane(KBuilder *b, KAddr a, int64_t offset, KVal lane) {
  return k_cvt(b, k_load(b, KT(f16, 1), k_at(k_off(a, offset), lane, 2)), K_f32);
}

/* Bits of every byte moved from `from` to `to`; what crosses bytes is masked away. */
static KVal moved_bits(KBuilder *b, KVal v, int from, int to, int width) {
  KType t = k_type(b->kernel, v);
  if (to > from) v = k_op2(b, KOP_shl, v, k_int(b, t, to - from));
  if (from > to) v = k_op2(b, KOP_lshr, v, k_int(b, t, from - to));
  return k_op2(b, KOP_and, v, k_int(b, t, (int64_t)(((1u << width) - 1) << to) * 0x01010101));
}

void unpack_plane(KBuilder *b, KAddr a, int width, int to, bool first, KVal *code) {
  KVal v[4];
  for (int i = 0; i < width; i++) v[i] = k_load(b, KT(i32, 16), k_off(a, 64 * i));
  for (int j = 0; j < 8; j++) {
    KVal bits = moved_bits(b, v[j % width], width * (j / width), to, width);
    code[j] = first ? bits : k_op2(b, KOP_or, code[j], bits);
  }
}

KVal unpack_plane_one(KBuilder *b, KAddr a, int width, int to, KVal lane, KVal k) {
  int log2 = width / 2; /* of 1, 2, 4 */
  KVal j = k_op2(b, KOP_lshr, k, k_i64(b, 2));
  KVal vector = k_op2(b, KOP_and, j, k_i64(b, width - 1));
  KVal byte = k_op2(b, KOP_and, k, k_i64(b, 3));
  KVal at = k_op2(b, KOP_add, k_op2(b, KOP_mul, vector, k_i64(b, 64)),
                  k_op2(b, KOP_add, k_op2(b, KOP_mul, lane, k_i64(b, 4)), byte));
  KVal bits = k_cvtu(b, k_load(b, KT(i8, 1), k_at(a, at, 1)), K_i32);
  KVal field = k_op2(b, KOP_lshr, j, k_i64(b, log2));
  KVal shift = k_cvt(b, k_op2(b, KOP_mul, field, k_i64(b, width)), K_i32);
  bits = k_op2(b, KOP_and, k_op2(b, KOP_lshr, bits, shift), k_int(b, KT(i32, 1), (1 << width) - 1));
  return to ? k_op2(b, KOP_shl, bits, k_int(b, KT(i32, 1), to)) : bits;
}

void pack_plane(const uint8_t *codes, int from, int width, int r, uint8_t *out) {
  unsigned mask = (1u << width) - 1;
  for (int v = 0; v < width; v++) {
    for (int byte = 0; byte < 4; byte++) {
      unsigned bits = 0;
      for (int f = 0; f < 8 / width; f++)
        bits |= (codes[4 * (f * width + v) + byte] >> from & mask) << (width * f);
      out[64 * v + 4 * r + byte] = (uint8_t)bits;
    }
  }
}

double squares_below(const uint8_t *codes, int n, int bits) {
  int all = (1 << bits) - 1, twice = 0, sum = 0;
  for (int k = 0; k < n; k++) {
    twice = 2 * (codes[k] & all) - all;
    sum += twice * twice;
  }
  return sum / 4.0;
}

KVal table_vector(KBuilder *b, const int8_t *table, int zero) {
  KVal lane = k_op2(b, KOP_and, k_iota(b), k_int(b, KT(i32, 16), 3)), out = 0;
  for (int i = 3; i >= 0; i--) {
    uint32_t word = 0;
    for (int j = 0; j < 4; j++) word |= (uint32_t)(table[4 * i + j] + zero) << (8 * j);
    KVal w = k_int(b, KT(i32, 16), (int32_t)word);
    KVal here = k_op2(b, KOP_eq, lane, k_int(b, KT(i32, 16), i));
    out = out ? k_select(b, here, w, out) : w;
  }
  return out;
}

KVal table_one(KBuilder *b, const int8_t *table, int zero, KVal code) {
  KVal v = k_op2(b, KOP_lookup, k_splat(b, code), table_vector(b, table, zero));
  return k_op2(b, KOP_and, k_extract(b, v, 0), k_int(b, KT(i32, 1), 255));
}

void floats_of_ints(KBuilder *b, const QuantInts *ints, KVal *out) {
  KVal low = k_int(b, KT(i32, 16), 255);
  KVal zero = ints->zero ? k_int(b, KT(i32, 16), ints->zero) : 0;
  for (int j = 0; j < 8; j++) {
    for (int i = 0; i < 4; i++) {
      KVal code = ints->code[j];
      if (i > 0) code = k_op2(b, KOP_lshr, code, k_int(b, KT(i32, 16), 8 * i));
      if (i < 3) code = k_op2(b, KOP_and, code, low);
      if (zero) code = k_op2(b, KOP_sub, code, zero);
      KVal f = k_cvt(b, code, K_f32);
      KVal scale = ints->scale[j * ints->parts / 8], min = ints->min[j * ints->parts / 8];
      out[4 * j + i] = min ? k_fma(b, scale, f, min) : k_op2(b, KOP_mul, scale, f);
    }
  }
}
