/* Formats with super-blocks of 256: eight blocks of 32, their scales held in few bits and
 * multiplied by one f16 (ggml's k-quants, the ternary formats, the iq formats but iq4_nl).
 *
 * A format says how its file block is read and written (`Super` is the block with every field
 * spelt out), of which planes its codes are packed, and how a kernel reads its scales; decoding,
 * packing and unpacking are shared. Packed block of 16 rows: the scales (format's own order), 16
 * f16 d, 16 f16 dmin where there are minima; then the planes of block 0, of block 1, .. That is the
 * order of reading, which prefetching likes. It takes as many bytes as the file's blocks; of
 * codebooks more, since a point's number can't be looked up at the speed of memory (iq2.c).
 */
#ifndef INGOT_IR_QUANT_SUPER_H
#define INGOT_IR_QUANT_SUPER_H

#include "ir/quant/common.h"

enum { QS = 256, QS_BLOCKS = QS / QK, QS_PARTS = 16 };

/* Weight k = d * factor * scale[part] * (code[k] - zero) - dmin * min[part]; part = k * parts /
 * 256; with a table, table[code[k]] in place of the difference. */
typedef struct Super {
  uint8_t code[QS];
  int8_t scale[QS_PARTS];
  uint8_t min[QS_PARTS];
  uint16_t d, dmin; /* f16 */
} Super;

/* Where a kernel reads scales: 16 rows at once, or those of one lane. */
typedef struct ScaleReader {
  KBuilder *b;
  KAddr at;  /* of the scales in a packed block */
  KVal lane; /* 0: all */
} ScaleReader;

typedef struct SuperFormat {
  uint32_t bytes;       /* of a file block */
  int zero, parts;      /* parts: 1 (only d), 8 or 16 scales a super-block */
  int padding;          /* code of rows of padding: worth 0, or more than 0 when no code is */
  int width[2];         /* planes of the codes, lowest bits first */
  int low, low_code;    /* bits below the planes, and which of them unpack_low sets */
  float factor;         /* a power of two; 0: 1 */
  uint32_t scale_bytes; /* of 16 rows, before d */
  bool minima;
  const int8_t *table; /* values of 4-bit codes, of -zero .. zero - 1; NULL: codes themselves */
  void (*read)(const uint8_t *p, Super *s);
  void (*write)(const Super *s, uint8_t *p);
  /* Of a codebook (grid_fit.h), which has no `fit`, and whose padding is a block of zero bytes, not
   * what `write` makes of it; else NULL. */
  const struct GridFit *grid;
  /* The encoder; `weight` (NULL: all alike) says how much each element's squared error counts. */
  void (*fit)(const float *x, const float *weight, Super *s);
  /* Lane r of the packed scales, from a file block. */
  void (*pack_scales)(const uint8_t *p, int r, uint8_t *out);
  /* Scales (and minima) of block `sub` as i32, one for each part of it. */
  void (*unpack_scales)(const ScaleReader *r, KVal sub, KVal *scale, KVal *min);
  /* i32 whose bit i is set when the codes of elements 8 i .. 8 i + 7 of block `sub` have low_code.
   */
  KVal (*unpack_low)(const ScaleReader *r, KVal sub);
} SuperFormat;

void super_decode(const SuperFormat *f, const void *blocks, float *x, size_t n);
void super_encode(const SuperFormat *f, const float *x, const float *weight, void *blocks,
                  size_t n);
void super_pack(const SuperFormat *f, const void *const rows[16], void *out);
void super_ints(const SuperFormat *f, KBuilder *b, KAddr a, KVal sub, QuantInts *out);
KVal super_one(const SuperFormat *f, KBuilder *b, KAddr a, KVal lane, KVal k);

/* The functions of a QuantSplit, for formats of scales alone: no minima, table, or bits in scales.
 */
void super_split(const SuperFormat *f, const void *const rows[16], void *upper, void *lower);
void super_split_ints(const SuperFormat *f, KBuilder *b, KAddr upper, const KAddr *lower, KVal sub,
                      QuantInts *out);
KVal super_split_one(const SuperFormat *f, KBuilder *b, KAddr upper, KAddr lower, KVal lane,
                     KVal k);
double super_lost(const SuperFormat *f, const void *blocks, size_t n);

/* For unpack_scales: `size` bytes of each lane at `offset` of the scales, as i32 (1 and 2 bytes
 * without sign); literals and shifts by a run-time count of the reader's lanes. */
KVal scale_load(const ScaleReader *r, KVal sub, int64_t stride, int64_t offset, int size);
KVal scale_int(const ScaleReader *r, int64_t v);
KVal scale_op(const ScaleReader *r, KOpCode op, KVal x, int64_t y);
/* x >> (unit * (sub & mask)) */
KVal scale_shift(const ScaleReader *r, KVal x, KVal sub, int64_t mask, int64_t unit);
/* unpack_scales of eight 4-bit numbers n in a word a lane: scales 2 n + 1. */
void unpack_odd_nibbles(const ScaleReader *r, KVal sub, KVal *scale, KVal *min);
/* sub < 4 ? x : y */
KVal scale_choose(const ScaleReader *r, KVal sub, KVal x, KVal y);

/* quant_NAME, with functions that pass NAME_format on. */
#define SUPER_QUANT(NAME, GGML, PACKED, NARROW) SUPER_QUANT_SPLIT(NAME, GGML, PACKED, NARROW, NULL)
#define SUPER_QUANT_SPLIT(NAME, GGML, PACKED, NARROW, SPLIT)                                       \
  static void NAME##_decode(const void *blocks, float *x, size_t n) {                              \
    super_decode(&NAME##_format, blocks, x, n);                                                    \
  }                                                                                                \
  static void NAME##_encode(const float *x, const float *weight, void *blocks, size_t n) {         \
    super_encode(&NAME##_format, x, weight, blocks, n);                                            \
  }                                                                                                \
  static void NAME##_pack(const void *const rows[16], void *out) {                                 \
    super_pack(&NAME##_format, rows, out);                                                         \
  }                                                                                                \
  static void NAME##_ints(KBuilder *b, KAddr a, KVal sub, QuantInts *out) {                        \
    super_ints(&NAME##_format, b, a, sub, out);                                                    \
  }                                                                                                \
  static KVal NAME##_one(KBuilder *b, KAddr a, KVal lane, KVal k) {                                \
    return super_one(&NAME##_format, b, a, lane, k);                                               \
  }                                                                                                \
  const QuantDef quant_##NAME = {.name = #NAME,                                                    \
                                 .ggml_type = GGML,                                                \
                                 .block = QS,                                                      \
                                 .block_bytes = NAME##_BYTES,                                      \
                                 .packed_block = QS,                                               \
                                 .packed_bytes = PACKED,                                           \
                                 .decode = NAME##_decode,                                          \
                                 .encode = NAME##_encode,                                          \
                                 .pack = NAME##_pack,                                              \
                                 .unpack_ints = NAME##_ints,                                       \
                                 .unpack_one = NAME##_one,                                         \
                                 .narrow = NARROW,                                                 \
                                 .split = SPLIT}

#endif
