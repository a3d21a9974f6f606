/* f32, f16, bf16: a block is one element; a packed block is that of 16 rows, side by side.
 *
 * Rounding to f16 and bf16 is to nearest even (ir/base.h).
 */
#include "ir/quant/common.h"

static void f32_decode(const void *blocks, float *x, size_t n) {
  memcpy(x, blocks, n * 4);
}

static void f32_encode(const float *x, const float *weight, void *blocks, size_t n) {
  (void)weight;
  memcpy(blocks, x, n * 4);
}

static void f16_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t i = 0; i < n; i++) x[i] = load_f16(p + 2 * i);
}

static void f16_encode(const float *x, const float *weight, void *blocks, size_t n) {
  (void)weight;
  uint8_t *p = blocks;
  for (size_t i = 0; i < n; i++) store_f16(p + 2 * i, x[i]);
}

static void bf16_decode(const void *blocks, float *x, size_t n) {
  const uint8_t *p = blocks;
  for (size_t i = 0; i < n; i++) {
    uint16_t h;
    memcpy(&h, p + 2 * i, 2);
    x[i] = bf16_to_f32(h);
  }
}

static void bf16_encode(const float *x, const float *weight, void *blocks, size_t n) {
  (void)weight;
  uint8_t *p = blocks;
  for (size_t i = 0; i < n; i++) {
    uint16_t h = f32_to_bf16(x[i]);
    memcpy(p + 2 * i, &h, 2);
  }
}

static void pack4(const void *const rows[16], void *out) {
  for (int r = 0; r < 16; r++) {
    uint32_t v = 0;
    if (rows[r]) memcpy(&v, rows[r], 4);
    memcpy((uint8_t *)out + 4 * r, &v, 4);
  }
}

static void pack2(const void *const rows[16], void *out) {
  for (int r = 0; r < 16; r++) {
    uint16_t v = 0;
    if (rows[r]) memcpy(&v, rows[r], 2);
    memcpy((uint8_t *)out + 2 * r, &v, 2);
  }
}

static void f32_unpack(KBuilder *b, KAddr a, KVal sub, KVal *out) {
  (void)sub;
  out[0] = k_load(b, KT(f32, 16), a);
}

static void f16_unpack(KBuilder *b, KAddr a, KVal sub, KVal *out) {
  (void)sub;
  out[0] = unpack_f16x16(b, a, 0);
}

static void bf16_unpack(KBuilder *b, KAddr a, KVal sub, KVal *out) {
  (void)sub;
  out[0] = k_cvt(b, k_load(b, KT(bf16, 16), a), K_f32);
}

/* A packed block holds one k, so the element index is always 0. */
static KVal f32_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  (void)k;
  return k_load(b, KT(f32, 1), k_at(a, lane, 4));
}

static KVal f16_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  (void)k;
  return unpack_f16_lane(b, a, 0, lane);
}

static KVal bf16_one(KBuilder *b, KAddr a, KVal lane, KVal k) {
  (void)k;
  return k_cvt(b, k_load(b, KT(bf16, 1), k_at(a, lane, 2)), K_f32);
}

const QuantDef quant_f32 = {"f32",      0,          1,     4,    1,          64,
                            f32_decode, f32_encode, pack4, NULL, f32_unpack, f32_one};
const QuantDef quant_f16 = {"f16",      1,          1,     2,    1,          32,
                            f16_decode, f16_encode, pack2, NULL, f16_unpack, f16_one};
const QuantDef quant_bf16 = {"bf16",      30,          1,     2,    1,           32,
                             bf16_decode, bf16_encode, pack2, NULL, bf16_unpack, bf16_one};
