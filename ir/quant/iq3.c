/* iq3_xxs, iq3_s: groups of four weights as a point of a codebook, with signs.
 *
 * File blocks (GGUF), f16 d and 64 bytes of point numbers first. iq3_xxs: then for every 32
 * elements a word of four times 7 sign bits, the scale in its top 4 bits; weight d * (2 scale + 1)
 * / 4 * level, levels 4, 12, .. 52, 62. iq3_s: then 8 bytes of which bit i of byte j is bit 8 of
 * number 8 j + i, 32 bytes of signs, 4 bits of scale for every 32 elements; weight d * (2 scale +
 * 1) * level, levels 1, 3, .. 15. Packed in 4 bits a weight (level and sign), looked up in a table
 * of 16; why, iq2.c says.
 */
#include "ir/quant/grid_fit.h"

enum { iq3_xxs_BYTES = 98, iq3_s_BYTES = 110 };
enum { I3_CODES = 2, XXS_WORDS = 66, S_HIGH = 66, S_SIGNS = 74, S_SCALES = 106 };
enum { I3_GROUPS = QS / 4 };

/* Half the levels, for codes of 6 bits. */
static const int8_t xxs_table[16] = {2,  6,  10,  14,  18,  22,  26,  31,
                                     -2, -6, -10, -14, -18, -22, -26, -31};
static const int8_t s_table[16] = {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15};

/* ---- iq3_xxs
 * ----------------------------------------------------------------------------------------
 */

static const struct GridFit xxs_fit = {.grid = &grid_iq3_xxs, .top = 31, .even = true};

static void iq3_xxs_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    uint32_t word;
    memcpy(&word, p + XXS_WORDS + 4 * i, 4);
    s->scale[i] = (int8_t)(2 * (word >> 28) + 1);
    for (int g = 0; g < 8; g++) {
      unsigned signs = even_signs(word >> (7 * (g / 2)) & 127) >> (4 * (g % 2));
      grid_codes(&grid_iq3_xxs, p[I3_CODES + 8 * i + g], signs, s->code + QK * i + 4 * g);
    }
  }
}

static void iq3_xxs_write(const Super *s, uint8_t *p) {
  memcpy(p, &s->d, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    uint32_t word = (uint32_t)s->scale[i] >> 1 << 28;
    for (int g = 0; g < 8; g++) {
      unsigned signs;
      p[I3_CODES + 8 * i + g] =
          (uint8_t)grid_index(&grid_iq3_xxs, s->code + QK * i + 4 * g, &signs);
      word |= (signs << (4 * (g % 2)) & 127) << (7 * (g / 2));
    }
    memcpy(p + XXS_WORDS + 4 * i, &word, 4);
  }
}

static void iq3_xxs_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  uint32_t word = 0;
  for (int i = 0; i < QS_BLOCKS; i++) word |= (uint32_t)(p[XXS_WORDS + 4 * i + 3] >> 4) << (4 * i);
  memcpy(out + 4 * r, &word, 4);
}

static const SuperFormat iq3_xxs_format = {.bytes = iq3_xxs_BYTES,
                                           .zero = 32,
                                           .parts = QS_BLOCKS,
                                           .width = {4},
                                           .factor = 0.5f,
                                           .scale_bytes = 64,
                                           .table = xxs_table,
                                           .read = iq3_xxs_read,
                                           .write = iq3_xxs_write,
                                           .grid = &xxs_fit,
                                           .pack_scales = iq3_xxs_pack_scales,
                                           .unpack_scales = unpack_odd_nibbles};
SUPER_QUANT(iq3_xxs, 18, 16 * (4 + 2 + 128), Q_iq4_nl);

/* ---- iq3_s
 * ----------------------------------------------------------------------------------------
 */

static const struct GridFit s_fit = {.grid = &grid_iq3_s, .top = 31};

static void iq3_s_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  for (int i = 0; i < QS_BLOCKS; i++)
    s->scale[i] = (int8_t)(2 * (p[S_SCALES + i / 2] >> (4 * (i % 2)) & 15) + 1);
  for (int g = 0; g < I3_GROUPS; g++) {
    int index = p[I3_CODES + g] | (p[S_HIGH + g / 8] >> (g % 8) & 1) << 8;
    grid_codes(&grid_iq3_s, index, p[S_SIGNS + g / 2] >> (4 * (g % 2)), s->code + 4 * g);
  }
}

static void iq3_s_write(const Super *s, uint8_t *p) {
  memset(p, 0, iq3_s_BYTES);
  memcpy(p, &s->d, 2);
  for (int i = 0; i < QS_BLOCKS; i++)
    p[S_SCALES + i / 2] |= (uint8_t)(s->scale[i] >> 1 << (4 * (i % 2)));
  for (int g = 0; g < I3_GROUPS; g++) {
    unsigned signs, index = (unsigned)grid_index(&grid_iq3_s, s->code + 4 * g, &signs);
    p[I3_CODES + g] = (uint8_t)index;
    p[S_HIGH + g / 8] |= (uint8_t)(index >> 8 << (g % 8));
    p[S_SIGNS + g / 2] |= (uint8_t)(signs << (4 * (g % 2)));
  }
}

static void iq3_s_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  memcpy(out + 4 * r, p + S_SCALES, 4);
}

static const SuperFormat iq3_s_format = {.bytes = iq3_s_BYTES,
                                         .zero = 16,
                                         .parts = QS_BLOCKS,
                                         .width = {4},
                                         .scale_bytes = 64,
                                         .table = s_table,
                                         .read = iq3_s_read,
                                         .write = iq3_s_write,
                                         .grid = &s_fit,
                                         .pack_scales = iq3_s_pack_scales,
                                         .unpack_scales = unpack_odd_nibbles};
SUPER_QUANT(iq3_s, 21, 16 * (4 + 2 + 128), Q_iq4_nl);
