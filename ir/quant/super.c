/* Shared by the formats with super-blocks; see super.h.
 *
 * Exactness: d has 11 significant bits, a scale at most 7, a code at most 8 (with its zero taken
 * off), in the pairings that occur at most 24 together: d * scale * code is exact in f32 in any
 * order, and with minima one rounding is left, that of the difference, which fma does too.
 */
#include "ir/quant/grid_fit.h"

/* Bits of a code as dot products meet it. */
static int bits_of(const SuperFormat *f) {
  int bits = f->low + f->width[0] + f->width[1];
  if (!f->table) return bits;
  for (bits = 4; f->zero >> (bits - 1) > 1; bits++) {
  }
  return bits;
}

static int largest_code(const SuperFormat *f) {
  int most = (1 << (f->low + f->width[0] + f->width[1])) - 1, top = f->table ? 0 : most;
  for (int i = 0; f->table && i <= most; i++)
    if (f->table[i] + f->zero > top) top = f->table[i] + f->zero;
  return top;
}

static float factor_of(const SuperFormat *f) {
  return f->factor != 0 ? f->factor : 1;
}

void super_decode(const SuperFormat *f, const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QS, p += f->bytes) {
    Super s;
    f->read(p, &s);
    float d = f16_to_f32(s.d) * factor_of(f), dmin = f->minima ? f16_to_f32(s.dmin) : 0;
    int size = QS / f->parts;
    for (int i = 0; i < f->parts; i++) {
      float scale = f->parts > 1 ? d * (float)s.scale[i] : d;
      float min = f->minima ? dmin * (float)s.min[i] : 0;
      for (int k = i * size; k < (i + 1) * size; k++) {
        float value = scale * (float)(f->table ? f->table[s.code[k]] : s.code[k] - f->zero);
        x[at + (size_t)k] = f->minima ? value - min : value;
      }
    }
  }
}

void super_encode(const SuperFormat *f, const float *x, const float *weight, void *blocks,
                  size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QS, p += f->bytes) {
    Super s = {.d = 0};
    const float *w = weight ? weight + at : NULL;
    if (f->grid)
      fit_grid(f, x + at, w, &s);
    else
      f->fit(x + at, w, &s);
    f->write(&s, p);
  }
}

/* Codes and scales of zero weights. */
static void padding_block(const SuperFormat *f, uint8_t *p, Super *s) {
  *s = (Super){.d = 0};
  memset(s->code, f->padding, QS);
  if (f->grid)
    memset(p, 0, f->bytes);
  else
    f->write(s, p);
}

static uint32_t block_bytes(const SuperFormat *f) {
  return 64 * (uint32_t)(f->width[0] + f->width[1]);
}

static uint32_t head_bytes(const SuperFormat *f) {
  return f->scale_bytes + (f->minima ? 64 : 32);
}

/* A row's block with its fields spelt out; `padding` (QS bytes) is for a row of padding. Returns
 * the block. */
static const uint8_t *read_row(const SuperFormat *f, const void *row, uint8_t *padding, Super *s) {
  if (row)
    f->read(row, s);
  else
    padding_block(f, padding, s);
  return row ? row : padding;
}

/* Lane r of what stands before the planes. */
static void pack_head(const SuperFormat *f, const uint8_t *p, const Super *s, int r, uint8_t *out) {
  uint8_t *halves = out + f->scale_bytes;
  if (f->pack_scales) f->pack_scales(p, r, out);
  memcpy(halves + 2 * r, &s->d, 2);
  if (f->minima) memcpy(halves + 32 + 2 * r, &s->dmin, 2);
}

void super_pack(const SuperFormat *f, const void *const rows[16], void *out) {
  uint32_t per = block_bytes(f);
  uint8_t padding[QS], *planes = (uint8_t *)out + head_bytes(f);
  for (int r = 0; r < 16; r++) {
    Super s;
    const uint8_t *p = read_row(f, rows[r], padding, &s);
    for (uint32_t i = 0; i < QS_BLOCKS; i++) {
      const uint8_t *codes = s.code + QK * i;
      pack_plane(codes, f->low, f->width[0], r, planes + i * per);
      if (f->width[1])
        pack_plane(codes, f->low + f->width[0], f->width[1], r,
                   planes + i * per + 64 * f->width[0]);
    }
    pack_head(f, p, &s, r, out);
  }
}

/* ---- scales in kernels --------------------------------------------------------------------------
 */

static uint8_t lanes_of(const ScaleReader *r) {
  return r->lane ? 1 : 16;
}

static KVal load_at(const ScaleReader *r, KAddr a, KScalar s, int64_t size) {
  if (r->lane) a = k_at(a, r->lane, size);
  return k_load(r->b, (KType){(uint8_t)s, lanes_of(r)}, a);
}

KVal scale_load(const ScaleReader *r, KVal sub, int64_t stride, int64_t offset, int size) {
  KAddr a = k_off(r->at, offset);
  if (stride) a = k_at(a, sub, stride);
  KVal v = load_at(r, a, size == 4 ? K_i32 : size == 2 ? K_i16 : K_i8, size);
  return size == 4 ? v : k_cvtu(r->b, v, K_i32);
}

KVal scale_int(const ScaleReader *r, int64_t v) {
  return k_int(r->b, (KType){K_i32, lanes_of(r)}, v);
}

KVal scale_op(const ScaleReader *r, KOpCode op, KVal x, int64_t y) {
  return k_op2(r->b, op, x, scale_int(r, y));
}

static KVal widened(const ScaleReader *r, KVal scalar) {
  return r->lane ? scalar : k_splat(r->b, scalar);
}

KVal scale_shift(const ScaleReader *r, KVal x, KVal sub, int64_t mask, int64_t unit) {
  KBuilder *b = r->b;
  KVal n = k_op2(b, KOP_mul, k_op2(b, KOP_and, sub, k_i64(b, mask)), k_i64(b, unit));
  return k_op2(b, KOP_lshr, x, widened(r, k_cvt(b, n, K_i32)));
}

void unpack_odd_nibbles(const ScaleReader *r, KVal sub, KVal *scale, KVal *min) {
  (void)min;
  KVal nibble = scale_op(r, KOP_and, scale_shift(r, scale_load(r, sub, 0, 0, 4), sub, 7, 4), 15);
  scale[0] = scale_op(r, KOP_add, scale_op(r, KOP_shl, nibble, 1), 1);
}

KVal scale_choose(const ScaleReader *r, KVal sub, KVal x, KVal y) {
  KVal early = k_op2(r->b, KOP_lt, widened(r, k_cvt(r->b, sub, K_i32)), scale_int(r, 4));
  return k_select(r->b, early, x, y);
}

static KVal half_at(const ScaleReader *r, int64_t offset) {
  return k_cvt(r->b, load_at(r, k_off(r->at, offset), K_f16, 2), K_f32);
}

/* Fills parts, scale and min of `out`. */
static void read_scales(const SuperFormat *f, const ScaleReader *r, KVal sub, QuantInts *out) {
  KBuilder *b = r->b;
  KVal scale[2] = {0}, min[2] = {0};
  out->parts = f->parts == QS_PARTS ? 2 : 1;
  KVal d = half_at(r, f->scale_bytes);
  if (f->factor != 0) d = k_op2(b, KOP_mul, d, k_f32(b, lanes_of(r), (double)f->factor));
  KVal dmin = f->minima ? k_op1(b, KOP_neg, half_at(r, f->scale_bytes + 32)) : 0;
  if (f->unpack_scales) f->unpack_scales(r, sub, scale, min);
  for (int i = 0; i < out->parts; i++) {
    out->scale[i] = f->unpack_scales ? k_op2(b, KOP_mul, d, k_cvt(b, scale[i], K_f32)) : d;
    if (dmin) out->min[i] = k_op2(b, KOP_mul, dmin, k_cvt(b, min[i], K_f32));
  }
}

/* ---- unpacking ----------------------------------------------------------------------------------
 */

static void set_low(const SuperFormat *f, const ScaleReader *r, KVal sub, KVal *code) {
  KVal word = f->unpack_low(r, sub), zero = scale_int(r, 0);
  KVal set = scale_int(r, f->low_code * 0x01010101);
  for (int i = 0; i < 4; i++) {
    KVal here = k_op2(r->b, KOP_ne, scale_op(r, KOP_and, word, 1 << i), zero);
    KVal bits = k_select(r->b, here, set, zero);
    for (int j = 2 * i; j < 2 * i + 2; j++) code[j] = k_op2(r->b, KOP_or, code[j], bits);
  }
}

static KVal low_of_one(const SuperFormat *f, const ScaleReader *r, KVal sub, KVal k) {
  KBuilder *b = r->b;
  KVal group = k_cvt(b, k_op2(b, KOP_lshr, k, k_i64(b, 3)), K_i32);
  KVal bit = scale_op(r, KOP_and, k_op2(b, KOP_lshr, f->unpack_low(r, sub), group), 1);
  return scale_op(r, KOP_mul, bit, f->low_code);
}

void super_ints(const SuperFormat *f, KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  uint32_t per = block_bytes(f);
  KAddr codes = k_at(k_off(a, head_bytes(f)), sub, per);
  ScaleReader r = {b, a, 0};
  *out = (QuantInts){.bits = bits_of(f) < 4 ? 4 : bits_of(f), .zero = f->zero};
  if (f->unpack_scales) out->top = largest_code(f);
  unpack_plane(b, codes, f->width[0], f->low, true, out->code);
  if (f->width[1])
    unpack_plane(b, k_off(codes, 64 * f->width[0]), f->width[1], f->low + f->width[0], false,
                 out->code);
  if (f->unpack_low) set_low(f, &r, sub, out->code);
  KVal table = f->table ? table_vector(b, f->table, f->zero) : 0;
  for (int j = 0; table && j < 8; j++) out->code[j] = k_op2(b, KOP_lookup, out->code[j], table);
  read_scales(f, &r, sub, out);
}

/* The weight of a scalar code, element `within` of block `sub`. */
static KVal value_of_one(const SuperFormat *f, const ScaleReader *r, KVal sub, KVal within,
                         KVal code) {
  KBuilder *b = r->b;
  QuantInts ints = {0};
  read_scales(f, r, sub, &ints);
  KVal scale = ints.scale[0], min = ints.min[0];
  if (ints.parts == 2) {
    KVal first = k_op2(b, KOP_lt, within, k_i64(b, QK / 2));
    scale = k_select(b, first, scale, ints.scale[1]);
    if (min) min = k_select(b, first, min, ints.min[1]);
  }
  if (f->table) code = table_one(b, f->table, f->zero, code);
  if (f->zero) code = scale_op(r, KOP_sub, code, f->zero);
  KVal x = k_cvt(b, code, K_f32);
  return min ? k_fma(b, scale, x, min) : k_op2(b, KOP_mul, scale, x);
}

KVal super_one(const SuperFormat *f, KBuilder *b, KAddr a, KVal lane, KVal k) {
  uint32_t per = block_bytes(f);
  KVal sub = k_op2(b, KOP_lshr, k, k_i64(b, 5)), within = k_op2(b, KOP_and, k, k_i64(b, QK - 1));
  KAddr codes = k_at(k_off(a, head_bytes(f)), sub, per);
  ScaleReader r = {b, a, lane};
  KVal code = unpack_plane_one(b, codes, f->width[0], f->low, lane, within);
  if (f->width[1])
    code = k_op2(b, KOP_or, code,
                 unpack_plane_one(b, k_off(codes, 64 * f->width[0]), f->width[1],
                                  f->low + f->width[0], lane, within));
  if (f->unpack_low) code = k_op2(b, KOP_or, code, low_of_one(f, &r, sub, within));
  return value_of_one(f, &r, sub, within, code);
}

/* ---- split (QuantSplit): of formats without tables and minima ---------------------------------
 */

enum { UPPER = 4 }; /* bits */

static int lower_bits(const SuperFormat *f) {
  return f->width[0] + f->width[1] - UPPER;
}

/* Of block `sub`, in a packed block of upper bits, and in one of lower bits. */
static KAddr upper_at(const SuperFormat *f, KAddr a, KVal sub) {
  return k_at(k_off(a, head_bytes(f)), sub, 64 * UPPER);
}

static KAddr lower_at(const SuperFormat *f, KAddr a, KVal sub) {
  return k_at(a, sub, 64 * lower_bits(f));
}

void super_split(const SuperFormat *f, const void *const rows[16], void *upper, void *lower) {
  int low = lower_bits(f);
  uint8_t padding[QS], *planes = (uint8_t *)upper + head_bytes(f);
  for (int r = 0; r < 16; r++) {
    Super s;
    const uint8_t *p = read_row(f, rows[r], padding, &s);
    for (int i = 0; i < QS_BLOCKS; i++) {
      pack_plane(s.code + QK * i, low, UPPER, r, planes + i * 64 * UPPER);
      pack_plane(s.code + QK * i, 0, low, r, (uint8_t *)lower + i * 64 * low);
    }
    pack_head(f, p, &s, r, upper);
  }
}

void super_split_ints(const SuperFormat *f, KBuilder *b, KAddr upper, const KAddr *lower, KVal sub,
                      QuantInts *out) {
  int low = lower_bits(f);
  ScaleReader r = {b, upper, 0};
  *out = (QuantInts){.bits = lower ? bits_of(f) : UPPER, .zero = f->zero};
  if (lower)
    out->top = largest_code(f);
  else
    out->dropped = low;
  unpack_plane(b, upper_at(f, upper, sub), UPPER, lower ? low : 0, true, out->code);
  if (lower) unpack_plane(b, lower_at(f, *lower, sub), low, 0, false, out->code);
  read_scales(f, &r, sub, out);
}

KVal super_split_one(const SuperFormat *f, KBuilder *b, KAddr upper, KAddr lower, KVal lane,
                     KVal k) {
  KVal sub = k_op2(b, KOP_lshr, k, k_i64(b, 5)), within = k_op2(b, KOP_and, k, k_i64(b, QK - 1));
  int low = lower_bits(f);
  ScaleReader r = {b, upper, lane};
  KVal code = unpack_plane_one(b, upper_at(f, upper, sub), UPPER, low, lane, within);
  code = k_op2(b, KOP_or, code, unpack_plane_one(b, lower_at(f, lower, sub), low, 0, lane, within));
  return value_of_one(f, &r, sub, within, code);
}

double super_lost(const SuperFormat *f, const void *blocks, size_t n) {
  const uint8_t *p = blocks;
  int size = QS / f->parts;
  double sum = 0;
  for (size_t at = 0; at < n; at += QS, p += f->bytes) {
    Super s;
    f->read(p, &s);
    for (int i = 0; i < f->parts; i++) {
      double scale = (double)f16_to_f32(s.d) * (double)factor_of(f) * s.scale[i];
      sum += scale * scale * squares_below(s.code + i * size, size, lower_bits(f));
    }
  }
  return sum;
}
