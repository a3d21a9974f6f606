/* q5_0 and q5_1: 32 codes of 5 bits with an f16 scale, and an f16 minimum in q5_1.
 *
 * File block (GGUF): f16 d (, f16 m), 4 bytes whose bit k is bit 4 of the code of element k, then
 * the low four bits as in q4. q5_0: d * (code - 16); q5_1: d * code + m. In the packed block the
 * fifth bits are regrouped so that one shift and one mask give those of a whole code vector.
 */
#include "ir/quant/fit.h"

enum { Q50_BYTES = 22, Q51_BYTES = 24, Q5_HIGH = 256, Q5_SCALES = 320, Q5_MINIMA = 352 };

static uint32_t load_u32(const void *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

/* `high` and `low` are the two code fields of a block; codes[k] of 0..31. */
static void codes_get(const uint8_t *high, const uint8_t *low, uint8_t *codes) {
  uint32_t h = load_u32(high);
  for (int i = 0; i < 16; i++) {
    codes[i] = (uint8_t)((low[i] & 15) | ((h >> i) & 1) << 4);
    codes[16 + i] = (uint8_t)((low[i] >> 4) | ((h >> (16 + i)) & 1) << 4);
  }
}

static void codes_put(const uint8_t *codes, uint8_t *high, uint8_t *low) {
  uint32_t h = 0;
  for (int k = 0; k < QK; k++) h |= (uint32_t)(codes[k] >> 4) << k;
  memcpy(high, &h, 4);
  for (int i = 0; i < 16; i++) low[i] = (uint8_t)((codes[i] & 15) | (codes[16 + i] & 15) << 4);
}

static void q5_0_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q50_BYTES) {
    uint8_t codes[QK];
    float d = load_f16(p);
    codes_get(p + 2, p + 6, codes);
    for (int k = 0; k < QK; k++) x[at + k] = d * (float)(codes[k] - 16);
  }
}

static void q5_1_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q51_BYTES) {
    uint8_t codes[QK];
    float d = load_f16(p), m = load_f16(p + 2);
    codes_get(p + 4, p + 8, codes);
    for (int k = 0; k < QK; k++) x[at + k] = d * (float)codes[k] + m;
  }
}

static void q5_0_encode(const float *x, const float *weight, void *blocks, size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q50_BYTES) {
    uint8_t codes[QK];
    float d = block_extreme(x + at) / -16.0f;
    if (weight) d = fit_block_scale(x + at, weight + at, 16);
    float inverse = d != 0 ? 1.0f / d : 0.0f;
    store_f16(p, d);
    for (int k = 0; k < QK; k++) codes[k] = clamp_code(x[at + k] * inverse + 16.5f, 31);
    codes_put(codes, p + 2, p + 6);
  }
}

static void q5_1_encode(const float *x, const float *weight, void *blocks, size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q51_BYTES) {
    uint8_t codes[QK];
    float lo, hi;
    block_range(x + at, &lo, &hi);
    float d = (hi - lo) / 31.0f;
    if (weight) fit_block_affine(x + at, weight + at, 31, &d, &lo);
    float inverse = d != 0 ? 1.0f / d : 0.0f;
    store_f16(p, d);
    store_f16(p + 2, lo);
    for (int k = 0; k < QK; k++) codes[k] = clamp_code((x[at + k] - lo) * inverse + 0.5f, 31);
    codes_put(codes, p + 4, p + 8);
  }
}

/* Row r of the packed codes: low nibbles as they stand, fifth bits as a plane. */
static void pack_codes(const uint8_t *high, const uint8_t *low, int r, uint8_t *out) {
  uint8_t codes[QK];
  codes_get(high, low, codes);
  for (int j = 0; j < 4; j++) memcpy(out + 64 * j + 4 * r, low + 4 * j, 4);
  pack_plane(codes, 4, 1, r, out + Q5_HIGH);
}

static void q5_0_pack(const void *const rows[16], void *out) {
  /* Padding: scale 0 and every code 16, the zero point. */
  static const uint8_t padding[Q50_BYTES] = {0, 0, 255, 255, 255, 255};
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    pack_codes(p + 2, p + 6, r, out);
    memcpy((uint8_t *)out + Q5_SCALES + 2 * r, p, 2);
  }
}

static void q5_1_pack(const void *const rows[16], void *out) {
  static const uint8_t padding[Q51_BYTES];
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    pack_codes(p + 4, p + 8, r, out);
    memcpy((uint8_t *)out + Q5_SCALES + 2 * r, p, 2);
    memcpy((uint8_t *)out + Q5_MINIMA + 2 * r, p + 2, 2);
  }
}

static void unpack_codes(KBuilder *b, KAddr a, KVal *code) {
  unpack_plane(b, a, 4, 0, true, code);
  unpack_plane(b, k_off(a, Q5_HIGH), 1, 4, false, code);
}

static void q5_0_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  (void)sub;
  *out = (QuantInts){.bits = 5, .parts = 1, .zero = 16};
  unpack_codes(b, a, out->code);
  out->scale[0] = unpack_f16x16(b, a, Q5_SCALES);
}

static void q5_1_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  (void)sub;
  *out = (QuantInts){.bits = 5, .parts = 1};
  unpack_codes(b, a, out->code);
  out->scale[0] = unpack_f16x16(b, a, Q5_SCALES);
  out->min[0] = unpack_f16x16(b, a, Q5_MINIMA);
}

static KVal code_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal low = unpack_plane_one(b, a, 4, 0, lane, k);
  return k_op2(b, KOP_or, low, unpack_plane_one(b, k_off(a, Q5_HIGH), 1, 4, lane, k));
}

static KVal q5_0_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal code = code_one(b, a, lane, k);
  KVal f = k_cvt(b, k_op2(b, KOP_sub, code, k_int(b, KT(i32, 1), 16)), K_f32);
  return k_op2(b, KOP_mul, unpack_f16_lane(b, a, Q5_SCALES, lane), f);
}

static KVal q5_1_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal f = k_cvt(b, code_one(b, a, lane, k), K_f32);
  return k_fma(b, unpack_f16_lane(b, a, Q5_SCALES, lane), f,
               unpack_f16_lane(b, a, Q5_MINIMA, lane));
}

const QuantDef quant_q5_0 = {"q5_0",      6,           QK,        Q50_BYTES, QK,   352,
                             q5_0_decode, q5_0_encode, q5_0_pack, q5_0_ints, NULL, q5_0_one};
const QuantDef quant_q5_1 = {"q5_1",      7,           QK,        Q51_BYTES, QK,   384,
                             q5_1_decode, q5_1_encode, q5_1_pack, q5_1_ints, NULL, q5_1_one};
