/* Storage formats: block formulas, encoders, packing and the kernels that read the packed form.
 *
 * Three judges: the block formulas written once more here from the GGUF specification, bit by bit;
 * hashes of what the public gguf package makes of one pseudo-random stream (quant_golden.py); and
 * decode() itself, which the unpack_* kernels must equal exactly when run by kernel_eval.
 */
#include "ir/const_rows.h"
#include "ir/quant.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { QK = 32, QS = 256, COLS = 2 * QS, STREAM = 64 * QK };

static const Storage FORMATS[] = {
    Q_f32,    Q_f16,   Q_bf16,    Q_q4_0,  Q_q4_1,  Q_q5_0,  Q_q5_1,   Q_q8_0,   Q_q2_k,
    Q_q3_k,   Q_q4_k,  Q_q5_k,    Q_q6_k,  Q_tq1_0, Q_tq2_0, Q_iq4_nl, Q_iq4_xs, Q_iq2_xxs,
    Q_iq2_xs, Q_iq2_s, Q_iq3_xxs, Q_iq3_s, Q_iq1_s, Q_iq1_m, Q_mxfp4,  Q_nvfp4};
enum { BY_FORMULA = 17 }; /* the rest against hashes of what the public package decodes */

static float next_float(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return (float)((int32_t)(*state >> 8) - (1 << 23)) / (float)(1 << 23);
}

static uint32_t hash(const void *data, size_t n) {
  const uint8_t *p = data;
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 16777619u;
  return h;
}

static void fill(float *x, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++) x[i] = next_float(&seed);
}

/* ---- formulas ---- */

static int bit(const uint8_t *p, int i) {
  return p[i / 8] >> (i % 8) & 1;
}

static float half_at(const uint8_t *p) {
  return f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static int nibble(const uint8_t *qs, int k) {
  return k < 16 ? qs[k] & 15 : qs[k - 16] >> 4;
}

/* Two bits of element k where 32 bytes hold 128 elements, of which j, 32 + j .. share byte j. */
static int pair_of(const uint8_t *p, int k) {
  return p[k / 128 * 32 + k % 32] >> (2 * (k % 128 / 32)) & 3;
}

/* Four bits of element k where 32 bytes hold 64 elements, of which j and 32 + j share byte j. */
static int nibble_of(const uint8_t *p, int k) {
  return p[k / 64 * 32 + k % 32] >> (k % 64 < 32 ? 0 : 4) & 15;
}

/* Scale (which = 0) or minimum (1) of block i in the 12 bytes of q4_k and q5_k. */
static int six_bits(const uint8_t *p, int i, int which) {
  if (i < 4) return p[4 * which + i] & 63;
  return (p[4 + i] >> (4 * which) & 15) | (p[4 * which + i - 4] >> 6) << 4;
}

/* Scale i of the 12 bytes of q3_k: the low nibbles of 16 scales in 8 bytes, then their top pairs.
 */
static int q3_scale(const uint8_t *p, int i) {
  return ((p[i & 7] >> (i < 8 ? 0 : 4) & 15) | (p[8 + (i & 3)] >> (2 * (i >> 2)) & 3) << 4) - 32;
}

static int q6_code(const uint8_t *p, int k) {
  int low = p[k / 128 * 64 + k % 64] >> (k % 128 < 64 ? 0 : 4) & 15;
  return low | pair_of(p + 128, k) << 4;
}

static const int IQ4_VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

static int xs_scale(const uint8_t *p, int i) {
  return ((p[4 + i / 2] >> (4 * (i & 1)) & 15) | (p[2 + i / 4] >> (2 * (i & 3)) & 3) << 4) - 32;
}

/* Digit of element k of tq1_0, from its byte read as a fraction of 256 in base 3. */
static int trit_of(const uint8_t *p, int k) {
  int byte = k < 160 ? k % 32 : k < 240 ? 32 + (k - 160) % 16 : 48 + (k - 240) % 4;
  int digit = k < 160 ? k / 32 : k < 240 ? (k - 160) / 16 : (k - 240) / 4, rest = p[byte];
  for (int i = 0; i < digit; i++) rest = rest * 3 % 256;
  return rest * 3 / 256;
}

static float with_min(const uint8_t *halves, int scale, int min, int code) {
  return half_at(halves) * (float)scale * (float)code - half_at(halves + 2) * (float)min;
}

/* Element k of a block, from the specification. */
static float by_formula(Storage s, const uint8_t *p, int k) {
  uint32_t word;
  float f;
  switch (s) {
  case Q_f32: memcpy(&f, p, 4); return f;
  case Q_f16: return half_at(p);
  case Q_bf16:
    word = (uint32_t)(p[0] | p[1] << 8) << 16;
    memcpy(&f, &word, 4);
    return f;
  case Q_q4_0: return half_at(p) * (float)(nibble(p + 2, k) - 8);
  case Q_q4_1: return half_at(p) * (float)nibble(p + 4, k) + half_at(p + 2);
  case Q_q5_0: return half_at(p) * (float)(nibble(p + 6, k) + 16 * bit(p + 2, k) - 16);
  case Q_q5_1: return half_at(p) * (float)(nibble(p + 8, k) + 16 * bit(p + 4, k)) + half_at(p + 2);
  case Q_q8_0: return half_at(p) * (float)(int8_t)p[2 + k];
  case Q_q2_k: return with_min(p + 80, p[k / 16] & 15, p[k / 16] >> 4, pair_of(p + 16, k));
  case Q_q3_k:
    return half_at(p + 108) * (float)q3_scale(p + 96, k / 16) *
           (float)(pair_of(p + 32, k) - (p[k % 32] >> (k / 32) & 1 ? 0 : 4));
  case Q_q4_k:
    return with_min(p, six_bits(p + 4, k / 32, 0), six_bits(p + 4, k / 32, 1),
                    nibble_of(p + 16, k));
  case Q_q5_k:
    return with_min(p, six_bits(p + 4, k / 32, 0), six_bits(p + 4, k / 32, 1),
                    nibble_of(p + 48, k) | (p[16 + k % 32] >> (k / 32) & 1) << 4);
  case Q_q6_k:
    return half_at(p + 208) * (float)(int8_t)p[192 + k / 16] * (float)(q6_code(p, k) - 32);
  case Q_tq1_0: return half_at(p + 52) * (float)(trit_of(p, k) - 1);
  case Q_tq2_0: return half_at(p + 64) * (float)(pair_of(p, k) - 1);
  case Q_iq4_nl: return half_at(p) * (float)IQ4_VALUES[nibble(p + 2, k)];
  case Q_iq4_xs:
    return half_at(p) * (float)xs_scale(p, k / 32) *
           (float)IQ4_VALUES[nibble(p + 8 + k / 32 * 16, k % 32)];
  default: fail(); return 0;
  }
}

/* Byte of a block at which its f16 scale stands; a minimum stands behind it. */
static uint32_t scale_at(Storage s) {
  switch (s) {
  case Q_q2_k: return 80;
  case Q_q3_k: return 108;
  case Q_q6_k: return 208;
  case Q_tq1_0: return 52;
  case Q_tq2_0: return 64;
  default: return 0;
  }
}

static bool has_min(Storage s) {
  return s == Q_q4_1 || s == Q_q5_1 || s == Q_q2_k || s == Q_q4_k || s == Q_q5_k;
}

/* Random block bytes with finite scales. */
static void random_blocks(Storage s, uint8_t *p, size_t blocks, uint32_t seed) {
  const QuantDef *q = quant_def(s);
  for (size_t i = 0; i < blocks * q->block_bytes; i++)
    p[i] = (uint8_t)(int)(next_float(&seed) * 512 + 1024);
  for (size_t b = 0; b < blocks; b++) {
    uint8_t *block = p + b * q->block_bytes;
    if (q->block == 1) {
      float x = next_float(&seed);
      q->encode(&x, NULL, block, 1);
      continue;
    }
    uint16_t scale = f32_to_f16(next_float(&seed)), min = f32_to_f16(next_float(&seed));
    uint32_t at = scale_at(s);
    memcpy(block + at, &scale, 2);
    if (has_min(s)) memcpy(block + at + 2, &min, 2);
    if (s == Q_iq1_m) block[55] &= 0xbf; /* its f16 in pieces */
  }
}

static void decode_follows_the_formulas(void **state) {
  (void)state;
  static uint8_t raw[COLS * 4 + 1];
  float x[COLS];
  for (size_t f = 0; f < BY_FORMULA; f++) {
    const QuantDef *q = quant_def(FORMATS[f]);
    uint8_t *unaligned = raw + 1;
    random_blocks(FORMATS[f], unaligned, COLS / q->block, 77 + (uint32_t)f);
    q->decode(unaligned, x, COLS);
    for (int i = 0; i < COLS; i++) {
      const uint8_t *block = unaligned + (uint32_t)i / q->block * q->block_bytes;
      float want = by_formula(FORMATS[f], block, i % (int)q->block);
      assert_memory_equal(&x[i], &want, 4);
    }
  }
}

static void decoding_equals_the_public_one(void **state) {
  static const struct {
    Storage storage;
    uint32_t values;
  } GOLDEN[] = {
      {Q_iq2_xxs, 0x53aa3c98}, {Q_iq2_xs, 0x91d0c59d}, {Q_iq2_s, 0x3700848c},
      {Q_iq3_xxs, 0x69aef2fd}, {Q_iq3_s, 0xb9159618},  {Q_iq1_s, 0xe1fa4107},
      {Q_iq1_m, 0xea8f762e},   {Q_mxfp4, 0x262ed101},  {Q_nvfp4, 0xfa6dced3},
  };
  static uint8_t raw[STREAM * 2 + 1];
  static float x[STREAM];
  (void)state;
  for (size_t i = 0; i < COUNT(GOLDEN); i++) {
    const QuantDef *q = quant_def(GOLDEN[i].storage);
    random_blocks(GOLDEN[i].storage, raw + 1, STREAM / q->block, 777);
    q->decode(raw + 1, x, STREAM);
    assert_int_equal(hash(x, sizeof x), GOLDEN[i].values);
  }
  assert_int_equal(COUNT(GOLDEN), COUNT(FORMATS) - BY_FORMULA);
}

/* ---- encoders ---- */

static void encoders_equal_the_public_ones(void **state) {
  static const struct {
    Storage storage;
    uint32_t blocks, values;
  } GOLDEN[] = {
      {Q_f16, 0x1d38e7c6, 0x5f7bbe04},  {Q_bf16, 0x7e1454b4, 0x6decae24},
      {Q_q4_0, 0xda7b7129, 0x9f5f647b}, {Q_q4_1, 0x8632d577, 0x45370a76},
      {Q_q5_0, 0xd927253a, 0xb54491d3}, {Q_q5_1, 0x2a7afaaf, 0xb70da4ec},
      {Q_q8_0, 0x31b00821, 0x6ab3c8f2}, {Q_mxfp4, 0x190e12a5, 0x1001870e},
  };
  static float x[STREAM];
  static uint8_t blocks[STREAM * 4];
  (void)state;
  for (size_t i = 0; i < COUNT(GOLDEN); i++) {
    const QuantDef *q = quant_def(GOLDEN[i].storage);
    fill(x, STREAM, 2463534242u);
    q->encode(x, NULL, blocks, STREAM);
    assert_int_equal(hash(blocks, STREAM / q->block * q->block_bytes), GOLDEN[i].blocks);
    q->decode(blocks, x, STREAM);
    assert_int_equal(hash(x, sizeof x), GOLDEN[i].values);
  }
}

/* Half a step of the format for |x| <= 1, with what the rounding of scale and minimum to f16 adds
 * (2^-11 relative each). q4_0 and q5_0 clip the end opposite to the extreme by up to a whole step.
 */
static double error_bound(Storage s) {
  switch (s) {
  case Q_f32: return 0;
  case Q_f16: return ldexp(1, -12);
  case Q_bf16: return ldexp(1, -9);
  case Q_q4_0: return 1.0 / 8 + 0.001;
  case Q_q4_1: return 2.0 / 15 / 2 + 0.001;
  case Q_q5_0: return 1.0 / 16 + 0.001;
  case Q_q5_1: return 2.0 / 31 / 2 + 0.001;
  case Q_q2_k: return 2.0 / 3 / 2 + 0.2; /* the search trades single errors for their squares */
  case Q_q3_k: return 1.0 / 4 / 2 + 0.1;
  case Q_q4_k: return 2.0 / 15 / 2 + 0.05;
  case Q_q5_k: return 2.0 / 31 / 2 + 0.03;
  case Q_q6_k: return 1.0 / 32 / 2 + 0.01;
  case Q_tq1_0:
  case Q_tq2_0: return 0.5;
  case Q_iq4_nl:
  case Q_iq4_xs: return 23.0 / 127 / 2 + 0.06;
  case Q_iq3_xxs:
  case Q_iq3_s: return 0.7; /* of codebooks: single errors; rms is what their search looks at */
  case Q_iq2_xxs:
  case Q_iq2_xs:
  case Q_iq2_s: return 0.9;
  case Q_iq1_s:
  case Q_iq1_m: return 1;
  case Q_mxfp4:
  case Q_nvfp4: return 0.3;
  default: return 1.0 / 127 / 2 + 0.0005;
  }
}

/* What the searches reach, and a hundredth more. */
static double rms_bound(Storage s) {
  switch (s) {
  case Q_q2_k: return 0.2165;
  case Q_q3_k: return 0.1192;
  case Q_q4_k: return 0.0538;
  case Q_q5_k: return 0.0263;
  case Q_q6_k: return 0.0129;
  case Q_tq1_0:
  case Q_tq2_0: return 0.3335;
  case Q_iq4_nl: return 0.0627;
  case Q_iq4_xs: return 0.0631;
  case Q_iq2_xxs: return 0.327;
  case Q_iq2_xs: return 0.286;
  case Q_iq2_s: return 0.233;
  case Q_iq3_xxs: return 0.184;
  case Q_iq3_s: return 0.1265;
  case Q_iq1_s: return 0.386;
  case Q_iq1_m: return 0.369;
  case Q_nvfp4: return 0.0802;
  default: return 1;
  }
}

static double relative_rms(const float *x, const float *y, int n) {
  double error = 0, size = 0;
  for (int i = 0; i < n; i++) {
    error += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    size += (double)x[i] * x[i];
  }
  return sqrt(error / size);
}

/* Weights move error from where it counts to where it doesn't. */
static void searches_weigh_errors(void **state) {
  static float x[STREAM], y[STREAM], w[STREAM];
  static uint8_t blocks[STREAM * 4], alike[STREAM * 4];
  (void)state;
  for (size_t f = 0; f < COUNT(FORMATS); f++) {
    const QuantDef *q = quant_def(FORMATS[f]);
    if (q->block == 1 || FORMATS[f] == Q_q8_0 || FORMATS[f] == Q_mxfp4) continue;
    double error[2] = {0};
    fill(x, STREAM, 54321);
    for (int i = 0; i < STREAM; i++) w[i] = i % 3 == 0 ? 16 : 0.25f;
    for (int weighted = 0; weighted < 2; weighted++) {
      q->encode(x, weighted ? w : NULL, blocks, STREAM);
      q->decode(blocks, y, STREAM);
      for (int i = 0; i < STREAM; i++)
        error[weighted] += w[i] * ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    }
    bool one_scale = FORMATS[f] == Q_tq1_0 || FORMATS[f] == Q_tq2_0;
    assert_true(error[1] < error[0] * (one_scale ? 0.995 : 0.97));
    if (q->block != QS) continue;
    memset(w, 0, sizeof w); /* weights that say nothing */
    q->encode(x, w, blocks, STREAM);
    q->encode(x, NULL, alike, STREAM);
    assert_memory_equal(blocks, alike, STREAM / q->block * q->block_bytes);
  }
}

/* Of an importance as calibration finds it nearly all is on a few columns: there every part of a
 * super-block has the scale that suits them, whatever becomes of larger elements. */
static void few_columns_may_count_most(void **state) {
  static const struct {
    Storage storage;
    double left; /* of the error that there is without: what is reached, and a little more */
  } formats[] = {{Q_q2_k, 0.1},  {Q_q3_k, 0.18},   {Q_q4_k, 0.25},  {Q_q5_k, 0.17},
                 {Q_q6_k, 0.18}, {Q_iq4_xs, 0.22}, {Q_iq3_s, 0.075}};
  static float x[STREAM], y[STREAM], w[STREAM];
  static uint8_t blocks[STREAM * 4];
  (void)state;
  fill(x, STREAM, 97531);
  fill(w, STREAM, 86420);
  for (int i = 0; i < STREAM; i++) w[i] = powf(10, 4 * w[i] * w[i] * w[i] * w[i] * w[i]);
  for (size_t f = 0; f < COUNT(formats); f++) {
    const QuantDef *q = quant_def(formats[f].storage);
    double error[2] = {0};
    for (int weighted = 0; weighted < 2; weighted++) {
      q->encode(x, weighted ? w : NULL, blocks, STREAM);
      q->decode(blocks, y, STREAM);
      for (int i = 0; i < STREAM; i++)
        error[weighted] += w[i] * ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    }
    if (error[1] > formats[f].left * error[0])
      fail_msg("%s: %.4f of the error is left", q->name, error[1] / error[0]);
  }
}

static void encoding_is_near_and_idempotent(void **state) {
  static float x[STREAM], y[STREAM];
  static uint8_t once[STREAM * 4], twice[STREAM * 4];
  (void)state;
  for (size_t f = 0; f < COUNT(FORMATS); f++) {
    const QuantDef *q = quant_def(FORMATS[f]);
    fill(x, STREAM, 12345);
    q->encode(x, NULL, once, STREAM);
    q->decode(once, y, STREAM);
    for (int i = 0; i < STREAM; i++) assert_true(fabs(x[i] - y[i]) <= error_bound(FORMATS[f]));
    double rms = relative_rms(x, y, STREAM);
    if (rms > rms_bound(FORMATS[f])) fail_msg("%s: rms error %.4f", q->name, rms);
    if (q->block == QS || FORMATS[f] == Q_iq4_nl || FORMATS[f] == Q_nvfp4)
      continue; /* a search: many codings of one block are near each other */
    q->encode(y, NULL, twice, STREAM);
    q->decode(twice, x, STREAM);
    assert_memory_equal(x, y, sizeof x);
  }
}

static void odd_blocks_encode_to_something_defined(void **state) {
  (void)state;
  for (size_t f = 0; f < COUNT(FORMATS); f++) {
    const QuantDef *q = quant_def(FORMATS[f]);
    float x[QS] = {0}, y[QS];
    uint8_t blocks[QS * 4];
    q->encode(x, NULL, blocks, QS);
    q->decode(blocks, y, QS);
    for (int i = 0; i < QS; i++) assert_true(y[i] == 0);
    for (int i = 0; i < QS; i++) x[i] = -0.75f;
    q->encode(x, NULL, blocks, QS);
    q->decode(blocks, y, QS);
    for (int i = 0; i < QS; i++) assert_true(fabsf(y[i] + 0.75f) < 0.001f);
    x[3] = NAN;
    x[5] = INFINITY;
    q->encode(x, NULL, blocks, QS);
  }
}

/* ---- packing and the kernels on packed blocks ---- */

typedef struct Packed {
  uint8_t rows[16][COLS * 4 + 1];
  uint8_t bytes[16 * COLS * 4];
  float values[16][COLS];
  uint64_t size;
} Packed;

/* 16 rows of random blocks, of which the last five are padding. */
static void pack_random(Storage s, Packed *p) {
  const QuantDef *q = quant_def(s);
  memset(p, 0, sizeof *p);
  p->size = quant_packed_size(q, 11, COLS);
  for (int k = 0; k < COLS; k += (int)q->packed_block) {
    const void *at[16] = {NULL};
    for (int r = 0; r < 11; r++) {
      uint8_t *row = p->rows[r] + 1;
      if (k == 0) random_blocks(s, row, COLS / q->block, 1000 + (uint32_t)r);
      at[r] = row + (uint32_t)k / q->block * q->block_bytes;
      if (k == 0) q->decode(row, p->values[r], COLS);
    }
    q->pack(at, p->bytes + (uint32_t)k / q->packed_block * q->packed_bytes);
  }
}

static void run(Kernel *k, Packed *p, void *out, uint64_t bytes) {
  Diag *d = diag_new();
  KBuffer buffers[2] = {{p->bytes, p->size}, {out, bytes}};
  if (kernel_verify(k, d) != OK || kernel_eval(k, buffers, NULL, 0, -1, d) != OK)
    fail_msg("%s", diag_text(d));
  diag_free(d);
}

/* A kernel over the packed blocks; the address of a block is given to `body`. */
typedef void Body(KBuilder *b, const QuantDef *q, KAddr block, KVal out, KVal index);

static Kernel *kernel_over(Arena *a, const QuantDef *q, KScalar element, Body *body) {
  Kernel *k = kernel_new(a, "unpack", KC_map);
  KBuilder b = kbuilder(k);
  KVal w = k_buffer(&b, "w", K_i8), out = k_buffer(&b, "out", element);
  KVal index = k_par(&b, "block", k_i64(&b, COLS / q->packed_block));
  body(&b, q, k_at(k_addr(w), index, q->packed_bytes), out, index);
  k_par_end(&b);
  return k;
}

static void floats_body(KBuilder *b, const QuantDef *q, KAddr block, KVal out, KVal index) {
  KVal v[QK];
  KVal sub = k_for(b, "sub", k_i64(b, 0), k_i64(b, quant_subs(q)), 1, 0, NULL);
  quant_unpack_floats(q, b, block, sub, v);
  KAddr to = k_at(k_at(k_addr(out), index, q->packed_block * 16), sub, QK * 16);
  for (uint32_t i = 0; i < q->packed_block && i < QK; i++) k_store(b, v[i], k_off(to, i * 16));
  k_for_end(b, NULL);
}

static void one_body(KBuilder *b, const QuantDef *q, KAddr block, KVal out, KVal index) {
  KVal zero = k_i64(b, 0);
  KVal lane = k_for(b, "lane", zero, k_i64(b, 16), 1, 0, NULL);
  KVal k = k_for(b, "k", zero, k_i64(b, q->packed_block), 1, 0, NULL);
  KAddr to = k_at(k_at(k_at(k_addr(out), index, q->packed_block * 16), k, 16), lane, 1);
  k_store(b, q->unpack_one(b, block, lane, k), to);
  k_for_end(b, NULL);
  k_for_end(b, NULL);
}

enum { INTS_WORDS = 12 * 16 };

static void ints_body(KBuilder *b, const QuantDef *q, KAddr block, KVal out, KVal index) {
  QuantInts ints;
  int64_t subs = quant_subs(q);
  KVal sub = k_for(b, "sub", k_i64(b, 0), k_i64(b, subs), 1, 0, NULL);
  KAddr to = k_at(k_at(k_addr(out), index, subs * INTS_WORDS), sub, INTS_WORDS);
  q->unpack_ints(b, block, sub, &ints);
  for (int j = 0; j < 8; j++) k_store(b, ints.code[j], k_off(to, 16 * j));
  for (int p = 0; p < 2; p++) {
    int of = p < ints.parts ? p : 0;
    k_store(b, k_bits(b, ints.scale[of], K_i32), k_off(to, 16 * (8 + p)));
    if (ints.min[of]) k_store(b, k_bits(b, ints.min[of], K_i32), k_off(to, 16 * (10 + p)));
    assert_int_equal(ints.zero != 0, ints.min[of] == 0);
  }
  k_for_end(b, NULL);
}

static void kernels_give_what_decode_gives(void **state) {
  static Packed p;
  static float out[COLS * 16];
  Body *const bodies[] = {floats_body, one_body};
  (void)state;
  for (size_t f = 0; f < COUNT(FORMATS); f++) {
    const QuantDef *q = quant_def(FORMATS[f]);
    pack_random(FORMATS[f], &p);
    for (size_t i = 0; i < COUNT(bodies); i++) {
      Arena *a = arena_new();
      memset(out, 0x7f, sizeof out);
      run(kernel_over(a, q, K_f32, bodies[i]), &p, out, sizeof out);
      for (int k = 0; k < COLS; k++)
        for (int r = 0; r < 16; r++)
          assert_memory_equal(&out[k * 16 + r], &p.values[r][k], 4); /* padding: exact +0 */
      arena_free(a);
    }
  }
}

static void integers_give_what_decode_gives(void **state) {
  static Packed p;
  static const struct {
    Storage storage;
    int zero, top;
  } CASES[] = {
      {Q_q4_0, 8, 15},      {Q_q4_1, 0, 15},      {Q_q5_0, 16, 31},     {Q_q5_1, 0, 31},
      {Q_q8_0, 128, 255},   {Q_q2_k, 0, 3},       {Q_q3_k, 4, 7},       {Q_q4_k, 0, 15},
      {Q_q5_k, 0, 31},      {Q_q6_k, 32, 63},     {Q_tq1_0, 1, 2},      {Q_tq2_0, 1, 3},
      {Q_iq4_nl, 128, 241}, {Q_iq4_xs, 128, 241}, {Q_iq2_xxs, 64, 107}, {Q_iq2_xs, 64, 107},
      {Q_iq2_s, 64, 107},   {Q_iq3_xxs, 32, 63},  {Q_iq3_s, 16, 31},    {Q_iq1_s, 9, 18},
      {Q_iq1_m, 9, 18},     {Q_mxfp4, 16, 28},    {Q_nvfp4, 16, 28}};
  static int32_t out[COLS / QK * INTS_WORDS];
  (void)state;
  for (size_t c = 0; c < COUNT(CASES); c++) {
    Arena *a = arena_new();
    pack_random(CASES[c].storage, &p);
    memset(out, 0, sizeof out);
    run(kernel_over(a, quant_def(CASES[c].storage), K_i32, ints_body), &p, out, sizeof out);
    for (int k = 0; k < COLS; k++) {
      for (int r = 0; r < 16; r++) {
        const int32_t *block = out + k / QK * INTS_WORDS;
        int part = k % QK / 16;
        int code = block[16 * (k % QK / 4) + r] >> (8 * (k % 4)) & 255;
        float scale, min;
        memcpy(&scale, &block[16 * (8 + part) + r], 4);
        memcpy(&min, &block[16 * (10 + part) + r], 4);
        assert_true(code <= CASES[c].top);
        assert_true(p.values[r][k] == fmaf(scale, (float)(code - CASES[c].zero), min));
      }
    }
    arena_free(a);
  }
}

/* ---- sizes ---- */

static void sizes_and_numbers(void **state) {
  uint32_t block, bytes;
  (void)state;
  for (size_t f = 0; f < COUNT(FORMATS); f++) {
    const QuantDef *q = quant_def(FORMATS[f]);
    assert_true(quant_size(FORMATS[f], &block, &bytes));
    assert_int_equal(block, q->block);
    assert_int_equal(bytes, q->block_bytes);
    assert_int_equal(quant_from_ggml((uint32_t)q->ggml_type), FORMATS[f]);
    assert_string_equal(q->name, storage_name(FORMATS[f]));
  }
  assert_int_equal(quant_from_ggml(15), Q_q8_k);
  assert_true(quant_size(Q_q8_k, &block, &bytes) && block == 256 && bytes == 292);
  assert_null(quant_def(Q_q8_k));
  assert_int_equal(quant_from_ggml(999), Q_plain);
  assert_false(quant_size(Q_act_i16, &block, &bytes));
  assert_int_equal(quant_packed_size(quant_def(Q_q4_1), 17, 72), 2 * 3 * 320);
  assert_int_equal(quant_packed_size(quant_def(Q_f16), 16, 5), 5 * 32);
  assert_int_equal(quant_packed_size(quant_def(Q_q4_k), 17, 257), 2 * 2 * 16 * 144);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(decode_follows_the_formulas),
      cmocka_unit_test(decoding_equals_the_public_one),
      cmocka_unit_test(encoders_equal_the_public_ones),
      cmocka_unit_test(encoding_is_near_and_idempotent),
      cmocka_unit_test(searches_weigh_errors),
      cmocka_unit_test(few_columns_may_count_most),
      cmocka_unit_test(odd_blocks_encode_to_something_defined),
      cmocka_unit_test(kernels_give_what_decode_gives),
      cmocka_unit_test(integers_give_what_decode_gives),
      cmocka_unit_test(sizes_and_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
