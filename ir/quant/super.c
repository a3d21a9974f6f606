/* Shared by the formats with super-blocks; see super.h.
 *
 * Exactness: d has 11 significant bits, a scale at most 7, a code at most 8 (with its zero taken
 * off), in the pairings that occur at most 24 together: d * scale * code is exact in f32 in any
 * order, and with minima one rounding is left, that of the difference, which fma does too.
 */
#include "ir/quant/super.h"

static int bits_of(const SuperFormat *f) {
  return f->table ? 8 : f->width[0] + f->width[1];
}

static int zero_of(const SuperFormat *f) {
  return f->table ? 128 : f->zero;
}

void super_decode(const SuperFormat *f, const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QS, p += f->bytes) {
    Super s;
    f->read(p, &s);
    float d = f16_to_f32(s.d), dmin = f->minima ? f16_to_f32(s.dmin) : 0;
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

void super_encode(const SuperFormat *f, const float *x, void *blocks, size_t n) {
  uint8_t *p = blocks;
  for (size_t at = 0; at < n; at += QS, p += f->bytes) {
    Super s = {.d = 0};
    f->fit(x + at, &s);
    f->write(&s, p);
  }
}

/* Code and scale of zero weights. */
static void padding_block(const SuperFormat *f, uint8_t *p) {
  Super s = {.d = 0};
  memset(s.code, f->zero, QS);
  f->write(&s, p);
}

static uint32_t block_bytes(const SuperFormat *f) {
  return 64 * (uint32_t)(f->width[0] + f->width[1]);
}

static uint32_t head_bytes(const SuperFormat *f) {
  return f->scale_bytes + (f->minima ? 64 : 32);
}

void super_pack(const SuperFormat *f, const void *const rows[16], void *out) {
  uint32_t per = block_bytes(f);
  uint8_t padding[QS], *scales = out, *halves = scales + f->scale_bytes;
  uint8_t *planes = scales + head_bytes(f);
  padding_block(f, padding);
  for (int r = 0; r < 16; r++) {
    const uint8_t *p = rows[r] ? rows[r] : padding;
    Super s;
    f->read(p, &s);
    for (uint32_t i = 0; i < QS_BLOCKS; i++) {
      const uint8_t *codes = s.code + QK * i;
      pack_plane(codes, 0, f->width[0], r, planes + i * per);
      if (f->width[1])
        pack_plane(codes, f->width[0], f->width[1], r, planes + i * per + 64 * f->width[0]);
    }
    if (f->pack_scales) f->pack_scales(p, r, scales);
    memcpy(halves + 2 * r, &s.d, 2);
    if (f->minima) memcpy(halves + 32 + 2 * r, &s.dmin, 2);
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
  KVal dmin = f->minima ? k_op1(b, KOP_neg, half_at(r, f->scale_bytes + 32)) : 0;
  if (f->unpack_scales) f->unpack_scales(r, sub, scale, min);
  for (int i = 0; i < out->parts; i++) {
    out->scale[i] = f->unpack_scales ? k_op2(b, KOP_mul, d, k_cvt(b, scale[i], K_f32)) : d;
    if (dmin) out->min[i] = k_op2(b, KOP_mul, dmin, k_cvt(b, min[i], K_f32));
  }
}

/* ---- unpacking ----------------------------------------------------------------------------------
 */

void super_ints(const SuperFormat *f, KBuilder *b, KAddr a, KVal sub, QuantInts *out) {
  uint32_t per = block_bytes(f);
  KAddr codes = k_at(k_off(a, head_bytes(f)), sub, per);
  ScaleReader r = {b, a, 0};
  *out = (QuantInts){.bits = bits_of(f) < 4 ? 4 : bits_of(f), .zero = zero_of(f)};
  unpack_plane(b, codes, f->width[0], 0, true, out->code);
  if (f->width[1])
    unpack_plane(b, k_off(codes, 64 * f->width[0]), f->width[1], f->width[0], false, out->code);
  KVal table = f->table ? table_vector(b, f->table) : 0;
  for (int j = 0; table && j < 8; j++) out->code[j] = k_op2(b, KOP_lookup, out->code[j], table);
  read_scales(f, &r, sub, out);
}

void super_floats(const SuperFormat *f, KBuilder *b, KAddr a, KVal sub, KVal *out) {
  QuantInts ints;
  super_ints(f, b, a, sub, &ints);
  floats_of_ints(b, &ints, out);
}

KVal super_one(const SuperFormat *f, KBuilder *b, KAddr a, KVal lane, KVal k) {
  uint32_t per = block_bytes(f);
  KVal sub = k_op2(b, KOP_lshr, k, k_i64(b, 5)), within = k_op2(b, KOP_and, k, k_i64(b, QK - 1));
  KAddr codes = k_at(k_off(a, head_bytes(f)), sub, per);
  ScaleReader r = {b, a, lane};
  QuantInts ints = {0};
  read_scales(f, &r, sub, &ints);
  KVal scale = ints.scale[0], min = ints.min[0];
  if (ints.parts == 2) {
    KVal first = k_op2(b, KOP_lt, within, k_i64(b, QK / 2));
    scale = k_select(b, first, scale, ints.scale[1]);
    if (min) min = k_select(b, first, min, ints.min[1]);
  }
  KVal code = unpack_plane_one(b, codes, f->width[0], 0, lane, within);
  if (f->width[1])
    code = k_op2(b, KOP_or, code,
                 unpack_plane_one(b, k_off(codes, 64 * f->width[0]), f->width[1], f->width[0], lane,
                                  within));
  if (f->table) code = table_one(b, f->table, code);
  if (zero_of(f)) code = scale_op(&r, KOP_sub, code, zero_of(f));
  KVal x = k_cvt(b, code, K_f32);
  return min ? k_fma(b, scale, x, min) : k_op2(b, KOP_mul, scale, x);
}
