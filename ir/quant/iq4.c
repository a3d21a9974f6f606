/* iq4_nl, iq4_xs: 4-bit codes of a table of 16 uneven steps, closer together near zero.
 *
 * File blocks (GGUF). iq4_nl: f16 d, 16 bytes of nibbles as in q4_0; weight d * table[code].
 * iq4_xs: f16 d, u16 of which bits 2 i are the top pair of scale i, 4 bytes of low nibbles of the
 * eight scales plus 32, 128 bytes: 16 for each block of 32, laid out as in q4_0; weight d * scale *
 * table[code]. A kernel looks codes up in the vector of the table, shifted by 128 to be without
 * sign.
 */
#include "ir/quant/fit.h"

enum { IQ4_NL_BYTES = 18, iq4_xs_BYTES = 136, IQ4_SCALES = 256 };
enum { IQ4_ZERO = 128 };
enum { XS_HIGH = 2, XS_LOW = 4, XS_CODES = 8, XS_BIAS = 32 };

static const int8_t iq4_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
/* The value nearest to zero isn't zero: padding has it, times a scale of zero. */
enum { IQ4_PADDING = 8 };

static void nibbles_get(const uint8_t *p, uint8_t *code) {
  for (int i = 0; i < QK / 2; i++) {
    code[i] = p[i] & 15;
    code[16 + i] = p[i] >> 4;
  }
}

static void nibbles_put(const uint8_t *code, uint8_t *p) {
  for (int i = 0; i < QK / 2; i++) p[i] = (uint8_t)(code[i] | code[16 + i] << 4);
}

/* ---- iq4_nl
 * --------------------------------------------------------------------------------------
 */

static void iq4_nl_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += IQ4_NL_BYTES) {
    uint8_t code[QK];
    float d = load_f16(p);
    nibbles_get(p + 2, code);
    for (int k = 0; k < QK; k++) x[at + (size_t)k] = d * (float)iq4_table[code[k]];
  }
}

static void iq4_nl_encode(const float *x, const float *weight, void *blocks, size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QK, p += IQ4_NL_BYTES) {
    uint8_t code[QK];
    store_f16(p, fit_table_scale(x + at, weight ? weight + at : NULL, QK, iq4_table));
    float d = load_f16(p), inverse = d != 0 ? 1 / d : 0;
    for (int k = 0; k < QK; k++) code[k] = table_nearest(iq4_table, x[at + (size_t)k] * inverse);
    nibbles_put(code, p + 2);
  }
}

static void iq4_nl_pack(const void *const rows[16], void *out) {
  static const uint8_t padding[IQ4_NL_BYTES] = {0,    0,    0x88, 0x88, 0x88, 0x88,
                                                0x88, 0x88, 0x88, 0x88, 0x88, 0x88,
                                                0x88, 0x88, 0x88, 0x88, 0x88, 0x88};
  uint8_t *o = out;
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    for (int j = 0; j < 4; j++) memcpy(o + 64 * j + 4 * r, p + 2 + 4 * j, 4);
    memcpy(o + IQ4_SCALES + 2 * r, p, 2);
  }
}

static void iq4_nl_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  (void)sub;
  *out = (QuantInts){.bits = 8, .parts = 1, .zero = IQ4_ZERO};
  KVal table = table_vector(b, iq4_table, IQ4_ZERO);
  unpack_plane(b, a, 4, 0, true, out->code);
  for (int j = 0; j < 8; j++) out->code[j] = k_op2(b, KOP_lookup, out->code[j], table);
  out->scale[0] = unpack_f16x16(b, a, IQ4_SCALES);
}

static KVal iq4_nl_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  KVal code = table_one(b, iq4_table, IQ4_ZERO, unpack_plane_one(b, a, 4, 0, lane, k));
  KVal f = k_cvt(b, k_op2(b, KOP_sub, code, k_int(b, KT(i32, 1), IQ4_ZERO)), K_f32);
  return k_op2(b, KOP_mul, unpack_f16_lane(b, a, IQ4_SCALES, lane), f);
}

const QuantDef quant_iq4_nl = {.name = "iq4_nl",
                               .ggml_type = 20,
                               .block = QK,
                               .block_bytes = IQ4_NL_BYTES,
                               .packed_block = QK,
                               .packed_bytes = 16 * IQ4_NL_BYTES,
                               .decode = iq4_nl_decode,
                               .encode = iq4_nl_encode,
                               .pack = iq4_nl_pack,
                               .unpack_ints = iq4_nl_ints,
                               .unpack_one = iq4_nl_one};

/* ---- iq4_xs
 * --------------------------------------------------------------------------------------
 */

static void iq4_xs_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    int low = p[XS_LOW + i / 2] >> (4 * (i % 2)) & 15,
        top = p[XS_HIGH + i / 4] >> (2 * (i % 4)) & 3;
    s->scale[i] = (int8_t)((low | top << 4) - XS_BIAS);
    nibbles_get(p + XS_CODES + 16 * i, s->code + QK * i);
  }
}

static void iq4_xs_write(const Super *s, uint8_t *p) {
  memset(p, 0, XS_CODES);
  memcpy(p, &s->d, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    int v = s->scale[i] + XS_BIAS;
    p[XS_LOW + i / 2] |= (uint8_t)((v & 15) << (4 * (i % 2)));
    p[XS_HIGH + i / 4] |= (uint8_t)(v >> 4 << (2 * (i % 4)));
    nibbles_put(s->code + QK * i, p + XS_CODES + 16 * i);
  }
}

static void iq4_xs_fit(const float *x, const float *weight, Super *s) {
  fit_table(x, weight, XS_BIAS, iq4_table, s);
}

static void iq4_xs_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  memcpy(out + 4 * r, p + XS_LOW, 4);
  memcpy(out + 64 + 2 * r, p + XS_HIGH, 2);
}

static void iq4_xs_unpack_scales(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  (void)min;
  KVal low = scale_shift(r, scale_load(r, sub, 0, 0, 4), sub, 7, 4);
  KVal top = scale_op(r, KOP_and, scale_shift(r, scale_load(r, sub, 0, 64, 2), sub, 7, 2), 3);
  KVal v = k_op2(r->b, KOP_or, scale_op(r, KOP_and, low, 15), scale_op(r, KOP_shl, top, 4));
  scale[0] = scale_op(r, KOP_sub, v, XS_BIAS);
}

static const SuperFormat iq4_xs_format = {.bytes = iq4_xs_BYTES,
                                          .zero = IQ4_ZERO,
                                          .padding = IQ4_PADDING,
                                          .parts = QS_BLOCKS,
                                          .width = {4},
                                          .scale_bytes = 96,
                                          .table = iq4_table,
                                          .read = iq4_xs_read,
                                          .write = iq4_xs_write,
                                          .fit = iq4_xs_fit,
                                          .pack_scales = iq4_xs_pack_scales,
                                          .unpack_scales = iq4_xs_unpack_scales};
SUPER_QUANT(iq4_xs, 23, 16 * iq4_xs_BYTES, Q_iq4_nl);
