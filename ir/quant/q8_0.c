/* q8_0: 32 signed bytes with an f16 scale.
 *
 * File block (GGUF): f16 d, 32 x i8; value d * q. Encoding: d = max|x| / 127, nearest, halves away
 * from zero. Packed codes are unsigned (q + 128, zero 128), because dot4 takes unsigned codes.
 */
#include "ir/quant/common.h"

#include <math.h>

enum { Q80_BYTES = 34, Q8_SCALES = 512 };

static void q8_0_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q80_BYTES) {
    float d = load_f16(p);
    for (int k = 0; k < QK; k++) x[at + k] = d * (float)(int8_t)p[2 + k];
  }
}

static void q8_0_encode(const float *x, const float *weight, void *blocks, size_t n) {
  (void)weight;
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += Q80_BYTES) {
    float d = fabsf(block_extreme(x + at)) / 127.0f;
    float inverse = d != 0 ? 1.0f / d : 0.0f;
    store_f16(p, d);
    for (int k = 0; k < QK; k++) {
      float magnitude = roundf(fabsf(x[at + k]) * inverse);
      int q = clamp_code(magnitude, 127);
      p[2 + k] = (uint8_t)(x[at + k] < 0 ? -q : q);
    }
  }
}

static void q8_0_pack(const void *const rows[16], void *out) {
  static const uint8_t padding[Q80_BYTES];
  uint8_t *o = out;
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    for (int k = 0; k < QK; k++) o[64 * (k / 4) + 4 * r + k % 4] = p[2 + k] ^ 0x80;
    memcpy(o + Q8_SCALES + 2 * r, p, 2);
  }
}

static void q8_0_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  (void)sub;
  *out = (QuantInts){.bits = 8, .parts = 1, .zero = 128};
  for (int j = 0; j < 8; j++) out->code[j] = k_load(b, KT(i32, 16), k_off(a, 64 * j));
  out->scale[0] = unpack_f16x16(b, a, Q8_SCALES);
}

static KVal q8_0_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal vector = k_op2(b, KOP_lshr, k, k_i64(b, 2));
  KVal byte = k_op2(b, KOP_and, k, k_i64(b, 3));
  KVal at = k_op2(b, KOP_add, k_op2(b, KOP_mul, vector, k_i64(b, 64)),
                  k_op2(b, KOP_add, k_op2(b, KOP_mul, lane, k_i64(b, 4)), byte));
  KVal code = k_cvtu(b, k_load(b, KT(i8, 1), k_at(a, at, 1)), K_i32);
  KVal f = k_cvt(b, k_op2(b, KOP_sub, code, k_int(b, KT(i32, 1), 128)), K_f32);
  return k_op2(b, KOP_mul, unpack_f16_lane(b, a, Q8_SCALES, lane), f);
}

/* ---- split: five bits and the scales behind them, three bits apart --------------------------- */

enum { LOW = 3, UPPER_SCALES = 320, UPPER_BYTES = UPPER_SCALES + 32, LOWER_BYTES = 192 };

/* The planes of a split code: `upper` has two, the others are in `lower`. */
static const struct {
  int width, bit;
  bool upper;
  int offset;
} planes[] = {{4, 4, true, 0}, {1, 3, true, 256}, {2, 1, false, 0}, {1, 0, false, 128}};

static void q8_0_split(const void *const rows[16], void *upper, void *lower) {
  static const uint8_t padding[Q80_BYTES];
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    uint8_t codes[QK];
    for (int k = 0; k < QK; k++) codes[k] = p[2 + k] ^ 0x80;
    for (size_t i = 0; i < COUNT(planes); i++)
      pack_plane(codes, planes[i].bit, planes[i].width, r,
                 (uint8_t *)(planes[i].upper ? upper : lower) + planes[i].offset);
    memcpy((uint8_t *)upper + UPPER_SCALES + 2 * r, p, 2);
  }
}

static void q8_0_split_ints(KBuilder *b, KAddr upper, const KAddr *lower, KVal sub,
                            QuantInts *out) {
  (void)sub;
  int shift = lower ? 0 : LOW;
  *out = (QuantInts){.bits = 8 - shift, .parts = 1, .zero = 128, .dropped = shift};
  for (size_t i = 0; i < COUNT(planes); i++)
    if (planes[i].upper || lower)
      unpack_plane(b, k_off(planes[i].upper ? upper : *lower, planes[i].offset), planes[i].width,
                   planes[i].bit - shift, i == 0, out->code);
  out->scale[0] = unpack_f16x16(b, upper, UPPER_SCALES);
}

static KVal q8_0_split_one(KBuilder *b, KAddr upper, KAddr lower, KVal lane, KVal k) {
  KVal code = 0;
  for (size_t i = 0; i < COUNT(planes); i++) {
    KAddr at = k_off(planes[i].upper ? upper : lower, planes[i].offset);
    KVal bits = unpack_plane_one(b, at, planes[i].width, planes[i].bit, lane, k);
    code = code ? k_op2(b, KOP_or, code, bits) : bits;
  }
  KVal f = k_cvt(b, k_op2(b, KOP_sub, code, k_int(b, KT(i32, 1), 128)), K_f32);
  return k_op2(b, KOP_mul, unpack_f16_lane(b, upper, UPPER_SCALES, lane), f);
}

static double q8_0_lost(const void *blocks, size_t n) {
  const uint8_t *p = blocks;
  double sum = 0;
  for (size_t at = 0; at < n; at += QK, p += Q80_BYTES) {
    uint8_t codes[QK];
    for (int k = 0; k < QK; k++) codes[k] = p[2 + k] ^ 0x80;
    double d = load_f16(p);
    sum += d * d * squares_below(codes, QK, LOW);
  }
  return sum;
}

static const QuantSplit q8_0_halves = {UPPER_BYTES,     LOWER_BYTES,    q8_0_split,
                                       q8_0_split_ints, q8_0_split_one, q8_0_lost};

const QuantDef quant_q8_0 = {"q8_0", 8,           QK,          Q80_BYTES, QK,
                             544,    q8_0_decode, q8_0_encode, q8_0_pack, q8_0_ints,
                             NULL,   q8_0_one,    Q_plain,     true,      &q8_0_halves};
