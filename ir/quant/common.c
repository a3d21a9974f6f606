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

void unpack_nibbles(KBuilder *b, KAddr a, KVal *code) {
  KVal mask = k_int(b, KT(i32, 16), 0x0f0f0f0f), four = k_int(b, KT(i32, 16), 4);
  for (int j = 0; j < 4; j++) {
    KVal v = k_load(b, KT(i32, 16), k_off(a, 64 * j));
    code[j] = k_op2(b, KOP_and, v, mask);
    code[4 + j] = k_op2(b, KOP_and, k_op2(b, KOP_lshr, v, four), mask);
  }
}

KVal unpack_nibble_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  /* Element k of 0..15 is in the low half of byte k % 4 of the lane in vector k / 4; k + 16 in the
   * high half of the same byte. */
  KVal low = k_op2(b, KOP_and, k, k_i64(b, 15));
  KVal vector = k_op2(b, KOP_lshr, low, k_i64(b, 2));
  KVal byte = k_op2(b, KOP_and, low, k_i64(b, 3));
  KVal at = k_op2(b, KOP_add, k_op2(b, KOP_mul, vector, k_i64(b, 64)),
                  k_op2(b, KOP_add, k_op2(b, KOP_mul, lane, k_i64(b, 4)), byte));
  KVal code = k_cvtu(b, k_load(b, KT(i8, 1), k_at(a, at, 1)), K_i32);
  KVal high = k_op2(b, KOP_lshr, k, k_i64(b, 4));
  KVal shift = k_cvt(b, k_op2(b, KOP_mul, high, k_i64(b, 4)), K_i32);
  KVal fifteen = k_int(b, KT(i32, 1), 15);
  return k_op2(b, KOP_and, k_op2(b, KOP_lshr, code, shift), fifteen);
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
