/* Storage formats of weights: one row in ir/quants.def and one file ir/quant/<name>.c each.
 *
 * A format knows its block as it stands in files (decode, encode), how 16 rows are interleaved for
 * streaming (pack), and how a kernel reads the packed form (unpack_*). Nothing else may switch on a
 * format.
 *
 * The packed ("rows16") layout: rows in groups of 16, a group's blocks along K one after the other.
 * Lane r of a 16-lane vector is row r of the group. Float formats: block of one k: 16 elements.
 * Integer formats, a block of 32 along K: codes first, then 16 f16 scales, then 16 f16 minima where
 * the format has them:
 *   8-bit codes: 8 vectors of 64 bytes; byte b of lane r in vector j is the code of k = 4j + b.
 *   4-bit codes: 4 vectors; the low nibbles of vector j are k = 4j + b, the high ones
 *                k = 16 + 4j + b.
 *   5-bit codes: as 4-bit, then one vector of 32-bit words: bit (8b + j) of lane r is bit 4 of the
 *                code of k = 4j + b, j = 0..7.
 * Codes are unsigned; the weight is scale * (code - zero) + min. Formats with blocks of 256 have
 * packed blocks of 256: the scales of all, then eight such sets of codes (ir/quant/super.h).
 */
#ifndef INGOT_IR_QUANT_H
#define INGOT_IR_QUANT_H

#include "ir/kernel.h"

/* What a kernel gets of one block of 32: everything a two-plane or one-plane integer dot needs. */
typedef struct QuantInts {
  KVal code[8];  /* v16i32: byte b of lane r is the unsigned code of row r at k = 4j + b */
  int bits;      /* bits of a code that may be set, for dot4 */
  int top;       /* the largest code, where a packed block has scales of its blocks; else 0 */
  int zero;      /* subtracted from every code (0 when `min` is there) */
  int dropped;   /* low bits that the codes lack (QuantSplit); zero counts in whole codes */
  int parts;     /* equal parts of the block with a scale each: 1, or 2 (k 0..15 and 16..31) */
  KVal scale[2]; /* v16f32 */
  KVal min[2];   /* v16f32, or 0 when the format has none */
} QuantInts;

/* A packed block in two: scales and the upper bits of every code, and apart from them the lower
 * bits. Who wants to know only about how large a product is reads half the bytes
 * (passes/lower/linear_argmax.c). Packed sizes are of 16 rows, as in QuantDef. */
typedef struct QuantSplit {
  uint32_t upper_bytes, lower_bytes;
  /* As QuantDef.pack. */
  void (*pack)(const void *const rows[16], void *upper, void *lower);
  /* As QuantDef.unpack_ints; lower NULL: codes without their low bits, shifted down. */
  void (*unpack_ints)(KBuilder *b, KAddr upper, const KAddr *lower, KVal sub, QuantInts *out);
  KVal (*unpack_one)(KBuilder *b, KAddr upper, KAddr lower, KVal lane, KVal k);
  /* Of n elements of a row in file blocks, the sum of squares of the weights less what the upper
   * bits say of them, the lower ones being taken for the middle of their range. */
  double (*lost)(const void *blocks, size_t n);
} QuantSplit;

typedef struct QuantDef {
  const char *name;
  int ggml_type;
  uint32_t block, block_bytes; /* as stored in files */
  uint32_t packed_block;       /* elements along K of one packed block: 1, 32, 64 or 256 */
  uint32_t packed_bytes;       /* bytes of one packed block of 16 rows */
  /* n elements, a multiple of `block`; x may be unaligned bytes of a mapped file. */
  void (*decode)(const void *blocks, float *x, size_t n);
  /* `weight` says how much the squared error of each of the n elements counts; NULL: all alike.
   * The formats of ggml's first days have scales by the largest element without weights, and by a
   * search with them; floats and q8_0 and mxfp4 take no notice. */
  void (*encode)(const float *x, const float *weight, void *blocks, size_t n);
  /* One packed block: rows[r] points at the file blocks that cover it (NULL: a row of padding,
   * which must come out as exact zeros). */
  void (*pack)(const void *const rows[16], void *out);
  /* Kernel level. `a` is the address (u8 buffer) of a packed block; `sub` (scalar i64) is which of
   * its blocks of 32 is wanted: 0 where there is one. What does not depend on `sub` may be emitted
   * all the same: a backend hoists it out of the loop over `sub`. */
  void (*unpack_ints)(KBuilder *b, KAddr a, KVal sub, QuantInts *out); /* of integers, else NULL */
  void (*unpack_floats)(KBuilder *b, KAddr a, KVal sub, KVal *out);    /* of floats, else NULL */
  /* Element k (scalar i64, within the packed block) of row `lane` (scalar i64), as f32 scalar. */
  KVal (*unpack_one)(KBuilder *b, KAddr a, KVal lane, KVal k);
  /* What to write instead where rows don't fill whole blocks; Q_plain: pad them. */
  Storage narrow;
  /* A packed block is its codes as QuantInts has them and then 16 f16 scales, nothing else. */
  bool direct;
  const QuantSplit *split; /* NULL: packed in one piece only */
} QuantDef;

enum { QUANT_FOLD = 256 };
enum { QUANT_LARGEST_BLOCK = 256 }; /* elements of a file block of any computed format, at most */

/* What unpack_ints gives of a format of integers, its values left out: k_* ids are of no kernel. */
QuantInts quant_form(const QuantDef *q);
/* Whether rows may be folded to int8 (doc/ir.md, section 1): formats with super-blocks, whose own
 * rounding is far coarser, so that their many scales and minima need not be applied one by one. */
bool quant_folds(const QuantDef *q);
/* NULL for formats known by name only. */
const QuantDef *quant_def(Storage s);
/* Name, block elements and bytes of any row, computed or only named; false for others. */
bool quant_size(Storage s, uint32_t *block, uint32_t *block_bytes);
Storage quant_from_ggml(uint32_t ggml_type); /* Q_plain when unknown */
/* min(packed_block, 32) values, v16f32, of any format. */
void quant_unpack_floats(const QuantDef *q, KBuilder *b, KAddr a, KVal sub, KVal *out);
/* Bytes of a packed matrix of rows x cols (padded to 16 rows and whole blocks). */
uint64_t quant_packed_size(const QuantDef *q, int64_t rows, int64_t cols);
/* The same of one half of a split matrix, whose packed blocks take `block_bytes`. */
uint64_t quant_half_size(const QuantDef *q, uint32_t block_bytes, int64_t rows, int64_t cols);
/* Blocks of 32 in a packed block: 1, 2 or 8. */
static inline int64_t quant_subs(const QuantDef *q) {
  return q->packed_block > 32 ? q->packed_block / 32 : 1;
}

#endif
