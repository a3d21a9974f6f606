/* iq1_s, iq1_m: groups of eight weights as a point of a ternary codebook, all shifted by an eighth.
 *
 * File blocks (GGUF). iq1_s: f16 d, 32 low bytes of point numbers, 8 words of 16 bits for 32
 * elements each: the numbers' top 3 bits four times, 3 bits of scale, the sign of the shift. iq1_m:
 * the 32 low bytes, 16 bytes of nibbles (a number's top 3 bits, the sign of its shift), 4 words of
 * 16 bits: 3 bits of scale for every 16 elements four times, and in the top nibbles, lowest first,
 * the f16 d. Weight: d * (2 scale + 1) * (digit - 1 +- 1/8), - where the sign's bit is set.
 *
 * As a code, 8 * digit + 2 * (shift is up), of which 9 are subtracted: eighths of d. Packed in two
 * bits a weight, and the shifts' bits with the scales. Why not the number itself, iq2.c says; nor
 * do digits of base 3 come apart at the speed of memory (tq.c).
 */
#include "ir/quant/grid_fit.h"

enum { iq1_s_BYTES = 50, iq1_m_BYTES = 56 };
enum { S_CODES = 2, S_WORDS = 34, M_HIGH = 32, M_SCALES = 48 };
enum { I1_ZERO = 9, I1_UP = 2, I1_PADDING = 16, I1_GROUPS = QS / 8, NUMBER_TOP = 7 };

/* Codes of a group; `down`: the shift's sign bit. */
static void group_get(int index, unsigned down, uint8_t *code) {
  for (int i = 0; i < 8; i++)
    code[i] = (uint8_t)(grid_digit(&grid_iq1, grid_iq1.point[index], i) << 3 | (down ? 0 : I1_UP));
}

static unsigned group_put(const uint8_t *code, unsigned *down) {
  uint8_t digit[8];
  unsigned none;
  for (int i = 0; i < 8; i++) digit[i] = code[i] >> 3;
  *down = code[0] & I1_UP ? 0 : 1;
  return (unsigned)grid_index(&grid_iq1, digit, &none);
}

static uint16_t word_at(const uint8_t *p) {
  uint16_t w;
  memcpy(&w, p, 2);
  return w;
}

/* ---- iq1_s
 * ----------------------------------------------------------------------------------------
 */

static const struct GridFit iq1_s_grid = {.grid = &grid_iq1, .top = 15, .shift = QK};

static void iq1_s_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    unsigned word = word_at(p + S_WORDS + 2 * i);
    s->scale[i] = (int8_t)(2 * (word >> 12 & 7) + 1);
    for (int g = 0; g < 4; g++) {
      int index = p[S_CODES + 4 * i + g] | (int)(word >> (3 * g) & NUMBER_TOP) << 8;
      group_get(index, word >> 15, s->code + QK * i + 8 * g);
    }
  }
}

static void iq1_s_write(const Super *s, uint8_t *p) {
  memcpy(p, &s->d, 2);
  for (int i = 0; i < QS_BLOCKS; i++) {
    unsigned word = (unsigned)s->scale[i] >> 1 << 12, down = 0;
    for (int g = 0; g < 4; g++) {
      unsigned index = group_put(s->code + QK * i + 8 * g, &down);
      p[S_CODES + 4 * i + g] = (uint8_t)index;
      word |= index >> 8 << (3 * g);
    }
    uint16_t w = (uint16_t)(word | down << 15);
    memcpy(p + S_WORDS + 2 * i, &w, 2);
  }
}

/* Nibbles: scale, and in the top bit the shift's sign. */
static void iq1_s_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  uint32_t word = 0;
  for (int i = 0; i < QS_BLOCKS; i++)
    word |= (uint32_t)(word_at(p + S_WORDS + 2 * i) >> 12) << (4 * i);
  memcpy(out + 4 * r, &word, 4);
}

static KVal iq1_s_nibble(const ScaleReader *r, KVal sub) {
  return scale_shift(r, scale_load(r, sub, 0, 0, 4), sub, 7, 4);
}

static void iq1_s_unpack_scales(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  (void)min;
  KVal low = scale_op(r, KOP_and, iq1_s_nibble(r, sub), 7);
  scale[0] = scale_op(r, KOP_add, scale_op(r, KOP_shl, low, 1), 1);
}

/* All ones where the sign's bit isn't set. */
static KVal iq1_s_unpack_low(const ScaleReader *r, KVal sub) {
  KVal down = scale_op(r, KOP_and, scale_op(r, KOP_lshr, iq1_s_nibble(r, sub), 3), 1);
  return scale_op(r, KOP_sub, down, 1);
}

static const SuperFormat iq1_s_format = {.bytes = iq1_s_BYTES,
                                         .zero = I1_ZERO,
                                         .parts = QS_BLOCKS,
                                         .padding = I1_PADDING,
                                         .width = {2},
                                         .low = 3,
                                         .low_code = I1_UP,
                                         .factor = 1.0f / 8,
                                         .scale_bytes = 64,
                                         .read = iq1_s_read,
                                         .write = iq1_s_write,
                                         .grid = &iq1_s_grid,
                                         .pack_scales = iq1_s_pack_scales,
                                         .unpack_scales = iq1_s_unpack_scales,
                                         .unpack_low = iq1_s_unpack_low};
SUPER_QUANT(iq1_s, 19, 16 * (4 + 2 + 64), Q_iq4_nl);

/* ---- iq1_m
 * ----------------------------------------------------------------------------------------
 */

static const struct GridFit iq1_m_grid = {.grid = &grid_iq1, .top = 15, .shift = 8};

static unsigned iq1_m_scale(const uint8_t *p, int i) {
  return word_at(p + M_SCALES + i / 4 * 2) >> (3 * (i % 4)) & 7u;
}

static void iq1_m_read(const uint8_t *p, Super *s) {
  s->d = 0;
  for (int i = 0; i < 4; i++) s->d |= (uint16_t)(word_at(p + M_SCALES + 2 * i) >> 12 << (4 * i));
  for (int i = 0; i < QS_PARTS; i++) s->scale[i] = (int8_t)(2 * iq1_m_scale(p, i) + 1);
  for (int g = 0; g < I1_GROUPS; g++) {
    unsigned high = p[M_HIGH + g / 2] >> (4 * (g % 2)) & 15u;
    group_get(p[g] | (int)(high & NUMBER_TOP) << 8, high >> 3, s->code + 8 * g);
  }
}

static void iq1_m_write(const Super *s, uint8_t *p) {
  memset(p, 0, iq1_m_BYTES);
  for (int g = 0; g < I1_GROUPS; g++) {
    unsigned down, index = group_put(s->code + 8 * g, &down);
    p[g] = (uint8_t)index;
    p[M_HIGH + g / 2] |= (uint8_t)((index >> 8 | down << 3) << (4 * (g % 2)));
  }
  for (int i = 0; i < 4; i++) {
    unsigned word = (s->d >> (4 * i) & 15u) << 12;
    for (int j = 0; j < 4; j++) word |= (unsigned)s->scale[4 * i + j] >> 1 << (3 * j);
    uint16_t w = (uint16_t)word;
    memcpy(p + M_SCALES + 2 * i, &w, 2);
  }
}

/* Three words a lane: scales of the blocks' first parts, 3 bits each, of the second parts, signs of
 * the shifts. */
static void iq1_m_pack_scales(const uint8_t *p, int r, uint8_t *out) {
  uint32_t word[3] = {0};
  for (int i = 0; i < QS_PARTS; i++) word[i % 2] |= iq1_m_scale(p, i) << (3 * (i / 2));
  for (int g = 0; g < I1_GROUPS; g++)
    word[2] |= (uint32_t)(p[M_HIGH + g / 2] >> (4 * (g % 2) + 3) & 1) << g;
  for (int i = 0; i < 3; i++) memcpy(out + 64 * i + 4 * r, &word[i], 4);
}

static void iq1_m_unpack_scales(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  (void)min;
  for (int i = 0; i < 2; i++) {
    KVal low = scale_shift(r, scale_load(r, sub, 0, 64 * i, 4), sub, 7, 3);
    low = scale_op(r, KOP_and, low, 7);
    scale[i] = scale_op(r, KOP_add, scale_op(r, KOP_shl, low, 1), 1);
  }
}

static KVal iq1_m_unpack_low(const ScaleReader *r, KVal sub) {
  return scale_op(r, KOP_xor, scale_shift(r, scale_load(r, sub, 0, 128, 4), sub, 7, 4), 15);
}

static const SuperFormat iq1_m_format = {.bytes = iq1_m_BYTES,
                                         .zero = I1_ZERO,
                                         .parts = QS_PARTS,
                                         .padding = I1_PADDING,
                                         .width = {2},
                                         .low = 3,
                                         .low_code = I1_UP,
                                         .factor = 1.0f / 8,
                                         .scale_bytes = 192,
                                         .read = iq1_m_read,
                                         .write = iq1_m_write,
                                         .grid = &iq1_m_grid,
                                         .pack_scales = iq1_m_pack_scales,
                                         .unpack_scales = iq1_m_unpack_scales,
                                         .unpack_low = iq1_m_unpack_low};
SUPER_QUANT(iq1_m, 29, 16 * (12 + 2 + 64), Q_iq4_nl);
