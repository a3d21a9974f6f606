/* q4_0 and q4_1: 32 codes of 4 bits with an f16 scale, and an f16 minimum in q4_1.
 *
 * File block (GGUF): f16 d (, f16 m), then 16 bytes; byte i holds element i in its low half and
 * element i + 16 in its high half. q4_0: d * (code - 8); q4_1: d * code + m. Encoding: q4_0 maps
 * the element of largest magnitude to code 0 (value -8 d), so that the sign with the longer tail
 * gets the longer side; q4_1 spans minimum to maximum in 15 steps; codes are nearest.
 */
#include "ir/quant/fit.h"

enum { Q40_BYTES = 18, Q41_BYTES = 20, Q4_SCALES = 256, Q4_MINIMA = 288 };

static void q4_0_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q40_BYTES) {
    float d = load_f16(p);
    for (int i = 0; i < 16; i++) {
      x[at + i] = d * (float)((p[2 + i] & 15) - 8);
      x[at + 16 + i] = d * (float)((p[2 + i] >> 4) - 8);
    }
  }
}

static void q4_1_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q41_BYTES) {
    float d = load_f16(p), m = load_f16(p + 2);
    for (int i = 0; i < 16; i++) {
      x[at + i] = d * (float)(p[4 + i] & 15) + m;
      x[at + 16 + i] = d * (float)(p[4 + i] >> 4) + m;
    }
  }
}

static void q4_0_encode(const float *x, const float *weight, void *blocks, size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q40_BYTES) {
    float d = block_extreme(x + at) / -8.0f;
    if (weight) d = fit_block_scale(x + at, weight + at, 8);
    float inverse = d != 0 ? 1.0f / d : 0.0f;
    store_f16(p, d);
    for (int i = 0; i < 16; i++) {
      uint8_t low = clamp_code(x[at + i] * inverse + 8.5f, 15);
      uint8_t high = clamp_code(x[at + 16 + i] * inverse + 8.5f, 15);
      p[2 + i] = (uint8_t)(low | high << 4);
    }
  }
}

static void q4_1_encode(const float *x, const float *weight, void *blocks, size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q41_BYTES) {
    float lo, hi;
    block_range(x + at, &lo, &hi);
    float d = (hi - lo) / 15.0f;
    if (weight) fit_block_affine(x + at, weight + at, 15, &d, &lo);
    float inverse = d != 0 ? 1.0f / d : 0.0f;
    store_f16(p, d);
    store_f16(p + 2, lo);
    for (int i = 0; i < 16; i++) {
      uint8_t low = clamp_code((x[at + i] - lo) * inverse + 0.5f, 15);
      uint8_t high = clamp_code((x[at + 16 + i] - lo) * inverse + 0.5f, 15);
      p[4 + i] = (uint8_t)(low | high << 4);
    }
  }
}

/* The nibble order of a file block is already that of the packed vectors: word j of the block
 * becomes lane r of vector j. */
static void q4_0_pack(const void *const rows[16], void *out) {
  uint8_t *o = out;
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r];
    for (int j = 0; j < 4; j++) {
      if (p)
        memcpy(o + 64 * j + 4 * r, p + 2 + 4 * j, 4);
      else
        memset(o + 64 * j + 4 * r, 0x88, 4);
    }
    if (p)
      memcpy(o + Q4_SCALES + 2 * r, p, 2);
    else
      memset(o + Q4_SCALES + 2 * r, 0, 2);
  }
}

static void q4_1_pack(const void *const rows[16], void *out) {
  static const uint8_t padding[Q41_BYTES];
  uint8_t *o = out;
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    for (int j = 0; j < 4; j++) memcpy(o + 64 * j + 4 * r, p + 4 + 4 * j, 4);
    memcpy(o + Q4_SCALES + 2 * r, p, 2);
    memcpy(o + Q4_MINIMA + 2 * r, p + 2, 2);
  }
}

static void q4_0_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  (void)sub;
  *out = (QuantInts){.bits = 4, .parts = 1, .zero = 8};
  unpack_plane(b, a, 4, 0, true, out->code);
  out->scale[0] = unpack_f16x16(b, a, Q4_SCALES);
}

static void q4_1_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  (void)sub;
  *out = (QuantInts){.bits = 4, .parts = 1};
  unpack_plane(b, a, 4, 0, true, out->code);
  out->scale[0] = unpack_f16x16(b, a, Q4_SCALES);
  out->min[0] = unpack_f16x16(b, a, Q4_MINIMA);
}

static KVal q4_0_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal code = unpack_plane_one(b, a, 4, 0, lane, k);
  KVal f = k_cvt(b, k_op2(b, KOP_sub, code, k_int(b, KT(i32, 1), 8)), K_f32);
  return k_op2(b, KOP_mul, unpack_f16_lane(b, a, Q4_SCALES, lane), f);
}

static KVal q4_1_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal f = k_cvt(b, unpack_plane_one(b, a, 4, 0, lane, k), K_f32);
  return k_fma(b, unpack_f16_lane(b, a, Q4_SCALES, lane), f,
               unpack_f16_lane(b, a, Q4_MINIMA, lane));
}

const QuantDef quant_q4_0 = {"q4_0",      2,           QK,        Q40_BYTES, QK,   288,
                             q4_0_decode, q4_0_encode, q4_0_pack, q4_0_ints, NULL, q4_0_one};
const QuantDef quant_q4_1 = {"q4_1",      3,           QK,        Q41_BYTES, QK,   320,
                             q4_1_decode, q4_1_encode, q4_1_pack, q4_1_ints, NULL, q4_1_one};
