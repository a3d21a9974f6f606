/* mxfp4, nvfp4: 4-bit floats (sign, two bits of exponent, one of mantissa) with a scale a few.
 *
 * The eight magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6 are kept doubled, as integers of a table.
 * File blocks (GGUF). mxfp4 (OCP Microscaling): a byte of exponent e for 32 elements, worth 2^(e -
 * 127), 16 bytes of nibbles laid out as in q4_0. nvfp4: four bytes of scale, each for 16 elements,
 * floats without sign of 4 bits of exponent (bias 7) and 3 of mantissa, then 8 bytes of nibbles for
 * each: low ones elements 0 .. 7. Scales are halved for the doubled table; 0x7f is worth 0.
 */
#include "ir/quant/fit.h"

#include <math.h>

enum { MX_BYTES = 17, NV_BYTES = 36, NV = 64, NV_PART = 16, NV_PARTS = NV / NV_PART };
enum { FP4_ZERO = 16, CODE_BYTES = 256, NV_SCALES = 2 * CODE_BYTES };

static const int8_t fp4_table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float float_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

/* The first code of least distance. */
static uint8_t fp4_nearest(float x, float scale) {
  float best = INFINITY;
  uint8_t code = 0;
  for (uint8_t i = 0; i < 16; i++) {
    float e = fabsf(scale * (float)fp4_table[i] - x);
    if (!(e < best)) continue;
    best = e;
    code = i;
  }
  return code;
}

static void fp4_ints(KBuilder *b, KAddr a, QuantInts *out) {
  KVal table = table_vector(b, fp4_table, FP4_ZERO);
  *out = (QuantInts){.bits = 5, .parts = 1, .zero = FP4_ZERO};
  unpack_plane(b, a, 4, 0, true, out->code);
  for (int j = 0; j < 8; j++) out->code[j] = k_op2(b, KOP_lookup, out->code[j], table);
}

static KVal fp4_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal code = table_one(b, fp4_table, FP4_ZERO, unpack_plane_one(b, a, 4, 0, lane, k));
  return k_cvt(b, k_op2(b, KOP_sub, code, k_int(b, KT(i32, 1), FP4_ZERO)), K_f32);
}

/* A byte of each lane, or of one, at byte `offset`, as i32 without sign. */
static KVal bytes_at(KBuilder *b, KAddr a, int64_t offset, KVal lane) {
  KAddr at = k_off(a, offset);
  KVal v = lane ? k_load(b, KT(i8, 1), k_at(at, lane, 1)) : k_load(b, KT(i8, 16), at);
  return k_cvtu(b, v, K_i32);
}

/* ---- mxfp4
 * ----------------------------------------------------------------------------------------
 */

/* Half of 2^(e - 127). */
static float mx_scale(uint8_t e) {
  return float_of(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

static KVal mx_scale_of(KBuilder *b, KVal e) {
  KType t = k_type(b->kernel, e);
  KVal small = k_op2(b, KOP_shl, k_int(b, t, 0x00200000), k_op2(b, KOP_and, e, k_int(b, t, 1)));
  KVal other = k_op2(b, KOP_shl, k_op2(b, KOP_sub, e, k_int(b, t, 1)), k_int(b, t, 23));
  KVal bits = k_select(b, k_op2(b, KOP_lt, e, k_int(b, t, 2)), small, other);
  return k_bits(b, bits, K_f32);
}

static void mxfp4_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += MX_BYTES) {
    float d = mx_scale(p[0]);
    for (size_t k = 0; k < QK; k++)
      x[at + k] = d * (float)fp4_table[p[1 + k % 16] >> (k < 16 ? 0 : 4) & 15];
  }
}

static void mxfp4_encode(const float *x, const float *weight, void *blocks, size_t n) {
  (void)weight;
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += MX_BYTES) {
    float largest = fabsf(block_extreme(x + at));
    int exponent = 0; /* largest = f * 2^exponent, f in 0.5 .. 1 */
    memset(p, 0, MX_BYTES);
    if (largest > 0 && isfinite(largest)) frexpf(largest, &exponent);
    if (largest > 0) p[0] = clamp_code((float)(exponent - 3 + 127), 254);
    float d = mx_scale(p[0]);
    for (size_t k = 0; k < QK; k++)
      p[1 + k % 16] |= (uint8_t)(fp4_nearest(x[at + k], d) << (k < 16 ? 0 : 4));
  }
}

static void mxfp4_pack(const void *const rows[16], void *out) {
  static const uint8_t padding[MX_BYTES] = {0};
  uint8_t *o = out;
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    for (int j = 0; j < 4; j++) memcpy(o + 64 * j + 4 * r, p + 1 + 4 * j, 4);
    o[CODE_BYTES + r] = p[0];
  }
}

static void mxfp4_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  (void)sub;
  fp4_ints(b, a, out);
  out->scale[0] = mx_scale_of(b, bytes_at(b, a, CODE_BYTES, 0));
}

static KVal mxfp4_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal d = mx_scale_of(b, bytes_at(b, a, CODE_BYTES, lane));
  return k_op2(b, KOP_mul, d, fp4_one(b, a, lane, k));
}

const QuantDef quant_mxfp4 = {.name = "mxfp4",
                              .ggml_type = 39,
                              .block = QK,
                              .block_bytes = MX_BYTES,
                              .packed_block = QK,
                              .packed_bytes = 16 * MX_BYTES,
                              .decode = mxfp4_decode,
                              .encode = mxfp4_encode,
                              .pack = mxfp4_pack,
                              .unpack_ints = mxfp4_ints,
                              .unpack_one = mxfp4_one};

/* ---- nvfp4
 * ----------------------------------------------------------------------------------------
 */

/* Half of the scale's value. */
static float nv_scale(uint8_t v) {
  if (v == 0x7f) return 0;
  if (!(v >> 3 & 15)) return ldexpf((float)(v & 7), -10);
  return float_of((uint32_t)(v & 0x7f) << 20) * 0x1p119f;
}

static KVal nv_scale_of(KBuilder *b, KVal v) {
  KType t = k_type(b->kernel, v), f = {K_f32, t.lanes};
  KVal low = k_cvt(b, k_op2(b, KOP_and, v, k_int(b, t, 7)), K_f32);
  low = k_op2(b, KOP_mul, low, k_f32(b, t.lanes, 0x1p-10));
  KVal magnitude = k_op2(b, KOP_and, v, k_int(b, t, 0x7f));
  KVal bits = k_op2(b, KOP_shl, magnitude, k_int(b, t, 20));
  bits = k_op2(b, KOP_add, bits, k_int(b, t, 119 << 23));
  KVal normal = k_op2(b, KOP_gt, magnitude, k_int(b, t, 7));
  KVal scale = k_select(b, normal, k_bits(b, bits, K_f32), low);
  return k_select(b, k_op2(b, KOP_eq, v, k_int(b, t, 0x7f)), k_f32(b, f.lanes, 0), scale);
}

static int nv_nibble_shift(size_t k) {
  return k % NV_PART < 8 ? 0 : 4;
}

static size_t nv_nibble_at(size_t k) {
  return NV_PARTS + k / NV_PART * 8 + k % 8;
}

static void nvfp4_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += NV, p += NV_BYTES) {
    for (size_t k = 0; k < NV; k++) {
      int code = p[nv_nibble_at(k)] >> nv_nibble_shift(k) & 15;
      x[at + k] = nv_scale(p[k / NV_PART]) * (float)fp4_table[code];
    }
  }
}

static float nv_error(const float *x, const float *weight, float scale) {
  float sum = 0;
  for (int k = 0; k < NV_PART; k++) {
    float e = scale * (float)fp4_table[fp4_nearest(x[k], scale)] - x[k];
    sum += e * e * weight[k];
  }
  return sum;
}

/* Scales near the one that makes the largest element 6: that of least error. */
static uint8_t nv_best_scale(const float *x, const float *weight) {
  float largest = 0, best = INFINITY, ones[NV_PART];
  const float *w = fit_weights(weight, NV_PART, ones);
  uint8_t first = 0, out = 0;
  for (int k = 0; k < NV_PART; k++) largest = fabsf(x[k]) > largest ? fabsf(x[k]) : largest;
  if (!(largest > 0)) return 0;
  while (first < 0x7e && 12 * nv_scale(first) < largest) first++;
  for (int v = first - 4; v <= first + 4; v++) {
    if (v < 0 || v > 0x7e) continue;
    float e = nv_error(x, w, nv_scale((uint8_t)v));
    if (!(e < best)) continue;
    best = e;
    out = (uint8_t)v;
  }
  return out;
}

static void nvfp4_encode(const float *x, const float *weight, void *blocks, size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += NV, p += NV_BYTES) {
    memset(p, 0, NV_BYTES);
    for (size_t i = 0; i < NV_PARTS; i++) {
      size_t first = at + i * NV_PART;
      p[i] = nv_best_scale(x + first, weight ? weight + first : NULL);
    }
    for (size_t k = 0; k < NV; k++)
      p[nv_nibble_at(k)] |=
          (uint8_t)(fp4_nearest(x[at + k], nv_scale(p[k / NV_PART])) << nv_nibble_shift(k));
  }
}

static void nvfp4_pack(const void *const rows[16], void *out) {
  static const uint8_t padding[NV_BYTES] = {0};
  uint8_t *o = out;
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    uint8_t code[NV];
    for (size_t k = 0; k < NV; k++) code[k] = p[nv_nibble_at(k)] >> nv_nibble_shift(k) & 15;
    for (int sub = 0; sub < 2; sub++) pack_plane(code + QK * sub, 0, 4, r, o + CODE_BYTES * sub);
    for (int i = 0; i < NV_PARTS; i++) o[NV_SCALES + 16 * i + r] = p[i];
  }
}

static void nvfp4_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  fp4_ints(b, k_at(a, sub, CODE_BYTES), out);
  out->parts = 2;
  for (int i = 0; i < 2; i++)
    out->scale[i] = nv_scale_of(b, bytes_at(b, k_at(a, sub, 32), NV_SCALES + 16 * i, 0));
}

static KVal nvfp4_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal part = k_op2(b, KOP_lshr, k, k_i64(b, 4)), sub = k_op2(b, KOP_lshr, k, k_i64(b, 5));
  KVal within = k_op2(b, KOP_and, k, k_i64(b, QK - 1));
  KVal d = nv_scale_of(b, bytes_at(b, k_at(a, part, 16), NV_SCALES, lane));
  return k_op2(b, KOP_mul, d, fp4_one(b, k_at(a, sub, CODE_BYTES), lane, within));
}

const QuantDef quant_nvfp4 = {.name = "nvfp4",
                              .ggml_type = 40,
                              .block = NV,
                              .block_bytes = NV_BYTES,
                              .packed_block = NV,
                              .packed_bytes = 16 * NV_BYTES,
                              .decode = nvfp4_decode,
                              .encode = nvfp4_encode,
                              .pack = nvfp4_pack,
                              .unpack_ints = nvfp4_ints,
                              .unpack_one = nvfp4_one,
                              .narrow = Q_mxfp4};
