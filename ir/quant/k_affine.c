/* q2_k, q4_k, q5_k: super-blocks of 256 with scales and minima of few bits.
 *
 * File blocks (GGUF). q4_k: f16 d, f16 dmin, 12 bytes of eight 6-bit scales and minima, 128 bytes:
 * chunk c of 32 bytes holds elements 64 c + i in its low nibbles and 64 c + 32 + i in its high
 * ones. q5_k: the same with 32 bytes before the nibbles, bit j of byte i being bit 4 of element 32
 * j + i. q2_k: 16 bytes of 4-bit scale and minimum for every 16 elements, 64 bytes (byte 32 h + i
 * holds elements 128 h + 32 j + i in bits 2 j), f16 d, f16 dmin. Weight: d * scale * code - dmin *
 * min.
 *
 * The 12 bytes, as three words of little-endian bytes: bits 0..5 of byte i of word 0 are scale i,
 * those of word 1 minimum i (i < 4); for i >= 4 the low four bits are those of byte i - 4 of word 2
 * (scale in the low nibble, minimum in the high one), the top two bits 6 and 7 of words 0 and 1.
 */
#include "ir/quant/fit.h"

enum { q2_k_BYTES = 84, q4_k_BYTES = 144, q5_k_BYTES = 176 };
enum { K_SCALES = 4, K4_CODES = 16, K5_HIGH = 16, K5_CODES = 48, K2_CODES = 16, K2_D = 80 };

static void scales_get(const uint8_t *w, Super *s) {
  for (int i = 0; i < 4; i++) {
    s->scale[i] = (int8_t)(w[i] & 63);
    s->min[i] = w[4 + i] & 63;
    s->scale[4 + i] = (int8_t)((w[8 + i] & 15) | w[i] >> 6 << 4);
    s->min[4 + i] = (uint8_t)(w[8 + i] >> 4 | w[4 + i] >> 6 << 4);
  }
}

static void scales_put(const Super *s, uint8_t *w) {
  for (int i = 0; i < 4; i++) {
    w[i] = (uint8_t)(s->scale[i] | s->scale[4 + i] >> 4 << 6);
    w[4 + i] = (uint8_t)(s->min[i] | s->min[4 + i] >> 4 << 6);
    w[8 + i] = (uint8_t)((s->scale[4 + i] & 15) | (s->min[4 + i] & 15) << 4);
  }
}

/* Element 32 * (2c + half) + i of the nibbles. */
static void nibbles_get(const uint8_t *p, uint8_t *code) {
  for (int k = 0; k < QS; k++) {
    uint8_t byte = p[k / 64 * 32 + k % 32];
    code[k] = k % 64 < 32 ? byte & 15 : byte >> 4;
  }
}

static void nibbles_put(const uint8_t *code, uint8_t *p) {
  for (int i = 0; i < QS / 2; i++) {
    const uint8_t *at = code + i / 32 * 64 + i % 32;
    p[i] = (uint8_t)((at[0] & 15) | (at[32] & 15) << 4);
  }
}

static void halves_get(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  memcpy(&s->dmin, p + 2, 2);
}

static void halves_put(const Super *s, uint8_t *p) {
  memcpy(p, &s->d, 2);
  memcpy(p + 2, &s->dmin, 2);
}

/* ---- six-bit scales in kernels
 * -------------------------------------------------------------------
 */

static void k_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  for (int i = 0; i < 3; i++) memcpy(out + 64 * i + 4 * r, p + K_SCALES + 4 * i, 4);
}

/* Bytes 4.. of scales or minima: their low bits from word 2, their top bits from `word`. */
static KVal late_bytes(const ScaleReader *r, KVal low, KVal word) {
  KVal top = scale_op(r, KOP_and, scale_op(r, KOP_lshr, word, 2), 0x30303030);
  return k_op2(r->b, KOP_or, scale_op(r, KOP_and, low, 0x0f0f0f0f), top);
}

static void k_unpack_scales(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  KVal w[3];
  for (int i = 0; i < 3; i++) w[i] = scale_load(r, sub, 0, 64 * i, 4);
  for (int i = 0; i < 2; i++) {
    KVal early = scale_op(r, KOP_and, w[i], 0x3f3f3f3f);
    KVal late = late_bytes(r, i ? scale_op(r, KOP_lshr, w[2], 4) : w[2], w[i]);
    KVal four = scale_choose(r, sub, early, late);
    *(i ? min : scale) = scale_op(r, KOP_and, scale_shift(r, four, sub, 3, 8), 255);
  }
}

/* ---- q4_k
 * ----------------------------------------------------------------------------------------
 */

static void q4_k_read(const uint8_t *p, Super *s) {
  halves_get(p, s);
  scales_get(p + K_SCALES, s);
  nibbles_get(p + K4_CODES, s->code);
}

static void q4_k_write(const Super *s, uint8_t *p) {
  halves_put(s, p);
  scales_put(s, p + K_SCALES);
  nibbles_put(s->code, p + K4_CODES);
}

static void q4_k_fit(const float *x, const float *weight, Super *s) {
  fit_affine(x, weight, QS_BLOCKS, 63, 15, s);
}

static const SuperFormat q4_k_format = {.bytes = q4_k_BYTES,
                                        .parts = QS_BLOCKS,
                                        .width = {4},
                                        .scale_bytes = 192,
                                        .minima = true,
                                        .read = q4_k_read,
                                        .write = q4_k_write,
                                        .fit = q4_k_fit,
                                        .pack_scales = k_pack_scales,
                                        .unpack_scales = k_unpack_scales};
SUPER_QUANT(q4_k, 12, 16 * q4_k_BYTES, Q_q5_0);

/* ---- q5_k
 * ----------------------------------------------------------------------------------------
 */

static void q5_k_read(const uint8_t *p, Super *s) {
  halves_get(p, s);
  scales_get(p + K_SCALES, s);
  nibbles_get(p + K5_CODES, s->code);
  for (int k = 0; k < QS; k++) s->code[k] |= (uint8_t)((p[K5_HIGH + k % 32] >> (k / 32) & 1) << 4);
}

static void q5_k_write(const Super *s, uint8_t *p) {
  halves_put(s, p);
  scales_put(s, p + K_SCALES);
  nibbles_put(s->code, p + K5_CODES);
  memset(p + K5_HIGH, 0, 32);
  for (int k = 0; k < QS; k++) p[K5_HIGH + k % 32] |= (uint8_t)(s->code[k] >> 4 << (k / 32));
}

static void q5_k_fit(const float *x, const float *weight, Super *s) {
  fit_affine(x, weight, QS_BLOCKS, 63, 31, s);
}

static const SuperFormat q5_k_format = {.bytes = q5_k_BYTES,
                                        .parts = QS_BLOCKS,
                                        .width = {4, 1},
                                        .scale_bytes = 192,
                                        .minima = true,
                                        .read = q5_k_read,
                                        .write = q5_k_write,
                                        .fit = q5_k_fit,
                                        .pack_scales = k_pack_scales,
                                        .unpack_scales = k_unpack_scales};
SUPER_QUANT(q5_k, 13, 16 * q5_k_BYTES, Q_q5_1);

/* ---- q2_k
 * ----------------------------------------------------------------------------------------
 */

static void q2_k_read(const uint8_t *p, Super *s) {
  halves_get(p + K2_D, s);
  for (int i = 0; i < QS_PARTS; i++) {
    s->scale[i] = (int8_t)(p[i] & 15);
    s->min[i] = p[i] >> 4;
  }
  for (int k = 0; k < QS; k++)
    s->code[k] = p[K2_CODES + k / 128 * 32 + k % 32] >> (2 * (k / 32 % 4)) & 3;
}

static void q2_k_write(const Super *s, uint8_t *p) {
  memset(p, 0, q2_k_BYTES);
  halves_put(s, p + K2_D);
  for (int i = 0; i < QS_PARTS; i++) p[i] = (uint8_t)(s->scale[i] | s->min[i] << 4);
  for (int k = 0; k < QS; k++)
    p[K2_CODES + k / 128 * 32 + k % 32] |= (uint8_t)(s->code[k] << (2 * (k / 32 % 4)));
}

static void q2_k_fit(const float *x, const float *weight, Super *s) {
  fit_affine(x, weight, QS_PARTS, 15, 3, s);
}

/* The two bytes of a block are one 16-bit lane. */
static void q2_k_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  for (int i = 0; i < QS_BLOCKS; i++) memcpy(out + 32 * i + 2 * r, p + 2 * i, 2);
}

static void q2_k_unpack_scales(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  KVal word = scale_load(r, sub, 32, 0, 2);
  scale[0] = scale_op(r, KOP_and, word, 15);
  min[0] = scale_op(r, KOP_and, scale_op(r, KOP_lshr, word, 4), 15);
  scale[1] = scale_op(r, KOP_and, scale_op(r, KOP_lshr, word, 8), 15);
  min[1] = scale_op(r, KOP_lshr, word, 12);
}

static const SuperFormat q2_k_format = {.bytes = q2_k_BYTES,
                                        .parts = QS_PARTS,
                                        .width = {2},
                                        .scale_bytes = 256,
                                        .minima = true,
                                        .read = q2_k_read,
                                        .write = q2_k_write,
                                        .fit = q2_k_fit,
                                        .pack_scales = q2_k_pack_scales,
                                        .unpack_scales = q2_k_unpack_scales};
SUPER_QUANT(q2_k, 10, 16 * q2_k_BYTES, Q_iq4_nl);
