/* iq2_xxs, iq2_xs, iq2_s: groups of eight weights as a point of a codebook, with signs.
 *
 * File blocks (GGUF), f16 d first. iq2_xxs: for every 32 elements four bytes of point numbers and a
 * word of four times 7 sign bits, the scale in its top 4 bits. iq2_xs: 32 words of 16 bits: number
 * (9 bits), signs (7); then for every 16 elements 4 bits of scale. iq2_s: 32 low bytes of numbers,
 * 32 bytes of signs, 8 bytes of the numbers' top pairs, scales as iq2_xs. Weight: d * (2 scale + 1)
 * / 8 * level, levels 8, 25, 43.
 *
 * Packed in 3 bits a weight (level and sign), which a kernel looks up in a table of 16, where the
 * files have 2 to 2.5: to find eight weights by their point takes a load a row, about 50 cycles for
 * 16 rows of 32 with a gather and three times that without; reading the third bit from memory takes
 * 13.
 */
#include "ir/quant/grid_fit.h"

enum { iq2_xxs_BYTES = 66, iq2_xs_BYTES = 74, iq2_s_BYTES = 82 };
enum { I2_CODES = 2, XXS_BLOCK = 8, XS_SCALES = 66, S_SIGNS = 34, S_HIGH = 66, S_SCALES = 74 };
enum { I2_ZERO = 64, I2_GROUPS = QS / 8 };

static const int8_t iq2_table[16] = {8, 25, 43, 0, -8, -25, -43, 0};

/* ---- scales of 4 bits: 2 scale + 1
 * ----------------------------------------------------------------------------------------
 */

static int8_t odd(unsigned scale) {
  return (int8_t)(2 * (scale & 15) + 1);
}

static void nibble_scales_get(const uint8_t *p, Super *s) {
  for (int i = 0; i < QS_PARTS; i++) s->scale[i] = odd(p[i / 2] >> (4 * (i % 2)));
}

static void nibble_scales_put(const Super *s, uint8_t *p) {
  for (int i = 0; i < QS_BLOCKS; i++)
    p[i] = (uint8_t)(s->scale[2 * i] >> 1 | s->scale[2 * i + 1] >> 1 << 4);
}

/* A byte of a lane for each block. */
static void nibble_scales_pack(const uint8_t *p, int r, uint8_t *out) {
  for (int i = 0; i < QS_BLOCKS; i++) out[16 * i + r] = p[i];
}

static void unpack_bytes(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  (void)min;
  KVal byte = scale_load(r, sub, 16, 0, 1);
  KVal high = scale_op(r, KOP_lshr, byte, 4);
  KVal low = scale_op(r, KOP_and, byte, 15);
  scale[0] = scale_op(r, KOP_add, scale_op(r, KOP_shl, low, 1), 1);
  scale[1] = scale_op(r, KOP_add, scale_op(r, KOP_shl, high, 1), 1);
}

/* ---- iq2_xxs
 * ----------------------------------------------------------------------------------------
 */

static const struct GridFit xxs_fit = {.grid = &grid_iq2_xxs, .top = 31, .even = true};

static void iq2_xxs_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    const uint8_t *block = p + I2_CODES + XXS_BLOCK * i;
    uint32_t word;
    memcpy(&word, block + 4, 4);
    s->scale[i] = odd(word >> 28);
    for (int g = 0; g < 4; g++)
      grid_codes(&grid_iq2_xxs, block[g], even_signs(word >> (7 * g) & 127),
                 s->code + QK * i + 8 * g);
  }
}

static void iq2_xxs_write(const Super *s, uint8_t *p) {
  memcpy(p, &s->d, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    uint8_t *block = p + I2_CODES + XXS_BLOCK * i;
    uint32_t word = (uint32_t)s->scale[i] >> 1 << 28;
    for (int g = 0; g < 4; g++) {
      unsigned signs;
      block[g] = (uint8_t)grid_index(&grid_iq2_xxs, s->code + QK * i + 8 * g, &signs);
      word |= (signs & 127) << (7 * g);
    }
    memcpy(block + 4, &word, 4);
  }
}

static void iq2_xxs_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  uint32_t word = 0;
  for (int i = 0; i < QS_BLOCKS; i++)
    word |= (uint32_t)(p[I2_CODES + XXS_BLOCK * i + 7] >> 4) << (4 * i);
  memcpy(out + 4 * r, &word, 4);
}

static const SuperFormat iq2_xxs_format = {.bytes = iq2_xxs_BYTES,
                                           .zero = I2_ZERO,
                                           .parts = QS_BLOCKS,
                                           .width = {2, 1},
                                           .factor = 1.0f / 8,
                                           .scale_bytes = 64,
                                           .table = iq2_table,
                                           .read = iq2_xxs_read,
                                           .write = iq2_xxs_write,
                                           .grid = &xxs_fit,
                                           .pack_scales = iq2_xxs_pack_scales,
                                           .unpack_scales = unpack_odd_nibbles};
SUPER_QUANT(iq2_xxs, 16, 16 * (4 + 2 + 96), Q_iq4_nl);

/* ---- iq2_xs
 * ----------------------------------------------------------------------------------------
 */

static const struct GridFit xs_fit = {.grid = &grid_iq2_xs, .top = 31, .even = true};

static void iq2_xs_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  nibble_scales_get(p + XS_SCALES, s);
  for (int g = 0; g < I2_GROUPS; g++) {
    uint16_t word;
    memcpy(&word, p + I2_CODES + 2 * g, 2);
    grid_codes(&grid_iq2_xs, word & 511, even_signs(word >> 9), s->code + 8 * g);
  }
}

static void iq2_xs_write(const Super *s, uint8_t *p) {
  memcpy(p, &s->d, 2);
  nibble_scales_put(s, p + XS_SCALES);
  for (int g = 0; g < I2_GROUPS; g++) {
    unsigned signs, index = (unsigned)grid_index(&grid_iq2_xs, s->code + 8 * g, &signs);
    uint16_t word = (uint16_t)(index | (signs & 127) << 9);
    memcpy(p + I2_CODES + 2 * g, &word, 2);
  }
}

static void iq2_xs_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  nibble_scales_pack(p + XS_SCALES, r, out);
}

static const SuperFormat iq2_xs_format = {.bytes = iq2_xs_BYTES,
                                          .zero = I2_ZERO,
                                          .parts = QS_PARTS,
                                          .width = {2, 1},
                                          .factor = 1.0f / 8,
                                          .scale_bytes = 128,
                                          .table = iq2_table,
                                          .read = iq2_xs_read,
                                          .write = iq2_xs_write,
                                          .grid = &xs_fit,
                                          .pack_scales = iq2_xs_pack_scales,
                                          .unpack_scales = unpack_bytes};
SUPER_QUANT(iq2_xs, 17, 16 * (8 + 2 + 96), Q_iq4_nl);

/* ---- iq2_s
 * ----------------------------------------------------------------------------------------
 */

static const struct GridFit s_fit = {.grid = &grid_iq2_s, .top = 31};

static void iq2_s_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  nibble_scales_get(p + S_SCALES, s);
  for (int g = 0; g < I2_GROUPS; g++) {
    int index = p[I2_CODES + g] | (p[S_HIGH + g / 4] >> (2 * (g % 4)) & 3) << 8;
    grid_codes(&grid_iq2_s, index, p[S_SIGNS + g], s->code + 8 * g);
  }
}

static void iq2_s_write(const Super *s, uint8_t *p) {
  memset(p, 0, iq2_s_BYTES);
  memcpy(p, &s->d, 2);
  nibble_scales_put(s, p + S_SCALES);
  for (int g = 0; g < I2_GROUPS; g++) {
    unsigned signs, index = (unsigned)grid_index(&grid_iq2_s, s->code + 8 * g, &signs);
    p[I2_CODES + g] = (uint8_t)index;
    p[S_SIGNS + g] = (uint8_t)signs;
    p[S_HIGH + g / 4] |= (uint8_t)(index >> 8 << (2 * (g % 4)));
  }
}

static void iq2_s_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  nibble_scales_pack(p + S_SCALES, r, out);
}

static const SuperFormat iq2_s_format = {.bytes = iq2_s_BYTES,
                                         .zero = I2_ZERO,
                                         .parts = QS_PARTS,
                                         .width = {2, 1},
                                         .factor = 1.0f / 8,
                                         .scale_bytes = 128,
                                         .table = iq2_table,
                                         .read = iq2_s_read,
                                         .write = iq2_s_write,
                                         .grid = &s_fit,
                                         .pack_scales = iq2_s_pack_scales,
                                         .unpack_scales = unpack_bytes};
SUPER_QUANT(iq2_s, 22, 16 * (8 + 2 + 96), Q_iq4_nl);
