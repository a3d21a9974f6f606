/* q3_k, q6_k: super-blocks of 256 with a signed scale for every 16 elements.
 *
 * File blocks (GGUF). q6_k: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales,
 * f16 d; of half h (128 elements), element 32 j + i has its nibble in byte 64 h + 32 (j % 2) + i
 * (low when j < 2) and its pair in bits 2 j of byte 32 h + i. q3_k: 32 bytes of which bit j of byte
 * i is bit 2 of element 32 j + i, 64 bytes of low pairs as in q2_k, 12 bytes of 6-bit scales plus
 * 32, f16 d. Weight: d * scale * (code - zero), zero 32 and 4.
 *
 * The 12 bytes: scale i has its low nibble in byte i % 8 (low when i < 8) and its top pair in bits
 * 2 (i / 4) of byte 8 + i % 4. Packed, they are three words a lane: low nibbles of the scales of
 * the blocks' first parts, of the second parts, and top pairs (first parts in bits 2 i, second in
 * 16 + 2 i).
 */
#include "ir/quant/fit.h"

enum { q3_k_BYTES = 110, q6_k_BYTES = 210 };
enum { K6_HIGH = 128, K6_SCALES = 192, K6_D = 208 };
enum { K3_CODES = 32, K3_SCALES = 96, K3_D = 108, K3_BIAS = 32 };

/* ---- q6_k
 * ----------------------------------------------------------------------------------------
 */

/* Byte and shift of element k's low nibble and high pair. */
typedef struct Place6 {
  int low, low_shift, high, high_shift;
} Place6;

static Place6 place6(int k) {
  int half = k / 128, j = k / 32 % 4, i = k % 32;
  return (Place6){64 * half + 32 * (j % 2) + i, j / 2 * 4, K6_HIGH + 32 * half + i, 2 * j};
}

static void q6_k_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p + K6_D, 2);
  memcpy(s->scale, p + K6_SCALES, QS_PARTS);
  for (int k = 0; k < QS; k++) {
    Place6 at = place6(k);
    s->code[k] =
        (uint8_t)((p[at.low] >> at.low_shift & 15) | (p[at.high] >> at.high_shift & 3) << 4);
  }
}

static void q6_k_write(const Super *s, uint8_t *p) {
  memset(p, 0, q6_k_BYTES);
  memcpy(p + K6_D, &s->d, 2);
  memcpy(p + K6_SCALES, s->scale, QS_PARTS);
  for (int k = 0; k < QS; k++) {
    Place6 at = place6(k);
    p[at.low] |= (uint8_t)((s->code[k] & 15) << at.low_shift);
    p[at.high] |= (uint8_t)(s->code[k] >> 4 << at.high_shift);
  }
}

static void q6_k_fit(const float *x, const float *weight, Super *s) {
  fit_symmetric(x, weight, QS_PARTS, 128, 32, s);
}

static void q6_k_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  for (int i = 0; i < QS_BLOCKS; i++) memcpy(out + 32 * i + 2 * r, p + K6_SCALES + 2 * i, 2);
}

static void q6_k_unpack_scales(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  (void)min;
  KVal word = scale_load(r, sub, 32, 0, 2);
  scale[0] = scale_op(r, KOP_ashr, scale_op(r, KOP_shl, word, 24), 24);
  scale[1] = scale_op(r, KOP_ashr, scale_op(r, KOP_shl, word, 16), 24);
}

static const SuperFormat q6_k_format = {.bytes = q6_k_BYTES,
                                        .zero = 32,
                                        .padding = 32,
                                        .parts = QS_PARTS,
                                        .width = {4, 2},
                                        .scale_bytes = 256,
                                        .read = q6_k_read,
                                        .write = q6_k_write,
                                        .fit = q6_k_fit,
                                        .pack_scales = q6_k_pack_scales,
                                        .unpack_scales = q6_k_unpack_scales};

static void q6_k_split(const void *const rows[16], void *upper, void *lower) {
  super_split(&q6_k_format, rows, upper, lower);
}

static void q6_k_split_ints(KBuilder *b, KAddr upper, const KAddr *lower, KVal sub,
                            QuantInts *out) {
  super_split_ints(&q6_k_format, b, upper, lower, sub, out);
}

static KVal q6_k_split_one(KBuilder *b, KAddr upper, KAddr lower, KVal lane, KVal k) {
  return super_split_one(&q6_k_format, b, upper, lower, lane, k);
}

static double q6_k_lost(const void *blocks, size_t n) {
  return super_lost(&q6_k_format, blocks, n);
}

enum { Q6_LOW = 2, Q6_LOWER = QS_BLOCKS * 64 * Q6_LOW };
static const QuantSplit q6_k_halves = {
    16 * q6_k_BYTES - Q6_LOWER, Q6_LOWER, q6_k_split, q6_k_split_ints, q6_k_split_one, q6_k_lost};
SUPER_QUANT_SPLIT(q6_k, 14, 16 * q6_k_BYTES, Q_q8_0, &q6_k_halves);

/* ---- q3_k
 * ----------------------------------------------------------------------------------------
 */

/* With the bias. */
static unsigned q3_scale(const uint8_t *w, int i) {
  unsigned low = w[i % 8] >> (i / 8 * 4) & 15u;
  return low | (w[8 + i % 4] >> (2 * (i / 4)) & 3u) << 4;
}

static void q3_k_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p + K3_D, 2);
  for (int i = 0; i < QS_PARTS; i++)
    s->scale[i] = (int8_t)((int)q3_scale(p + K3_SCALES, i) - K3_BIAS);
  for (int k = 0; k < QS; k++) {
    int low = p[K3_CODES + k / 128 * 32 + k % 32] >> (2 * (k / 32 % 4)) & 3;
    s->code[k] = (uint8_t)(low | (p[k % 32] >> (k / 32) & 1) << 2);
  }
}

static void q3_k_write(const Super *s, uint8_t *p) {
  uint8_t *w = p + K3_SCALES;
  memset(p, 0, q3_k_BYTES);
  memcpy(p + K3_D, &s->d, 2);
  for (int i = 0; i < QS_PARTS; i++) {
    unsigned v = (unsigned)(s->scale[i] + K3_BIAS);
    w[i % 8] |= (uint8_t)((v & 15) << (i / 8 * 4));
    w[8 + i % 4] |= (uint8_t)(v >> 4 << (2 * (i / 4)));
  }
  for (int k = 0; k < QS; k++) {
    p[K3_CODES + k / 128 * 32 + k % 32] |= (uint8_t)((s->code[k] & 3) << (2 * (k / 32 % 4)));
    p[k % 32] |= (uint8_t)(s->code[k] >> 2 << (k / 32));
  }
}

static void q3_k_fit(const float *x, const float *weight, Super *s) {
  fit_symmetric(x, weight, QS_PARTS, K3_BIAS, 4, s);
}

static void q3_k_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  uint32_t word[3] = {0};
  for (int i = 0; i < QS_PARTS; i++) {
    uint32_t v = q3_scale(p + K3_SCALES, i);
    int sub = i / 2, part = i % 2;
    word[part] |= (v & 15) << (4 * sub);
    word[2] |= v >> 4 << (16 * part + 2 * sub);
  }
  for (int i = 0; i < 3; i++) memcpy(out + 64 * i + 4 * r, &word[i], 4);
}

static void q3_k_unpack_scales(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  (void)min;
  KVal pairs = scale_shift(r, scale_load(r, sub, 0, 128, 4), sub, 7, 2);
  for (int i = 0; i < 2; i++) {
    KVal low = scale_shift(r, scale_load(r, sub, 0, 64 * i, 4), sub, 7, 4);
    KVal top = i ? scale_op(r, KOP_lshr, pairs, 12) : scale_op(r, KOP_shl, pairs, 4);
    KVal v = k_op2(r->b, KOP_or, scale_op(r, KOP_and, low, 15), scale_op(r, KOP_and, top, 48));
    scale[i] = scale_op(r, KOP_sub, v, K3_BIAS);
  }
}

static const SuperFormat q3_k_format = {.bytes = q3_k_BYTES,
                                        .zero = 4,
                                        .padding = 4,
                                        .parts = QS_PARTS,
                                        .width = {2, 1},
                                        .scale_bytes = 192,
                                        .read = q3_k_read,
                                        .write = q3_k_write,
                                        .fit = q3_k_fit,
                                        .pack_scales = q3_k_pack_scales,
                                        .unpack_scales = q3_k_unpack_scales};
SUPER_QUANT(q3_k, 11, 16 * q3_k_BYTES, Q_iq4_nl);
