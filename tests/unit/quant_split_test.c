/* Split formats: upper and lower halves of packed blocks say what the blocks in one piece say. */
#include "ir/quant.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { COLS = 512, QK = 32, ROWS = 11 /* of 16, the others are padding */ };

static const Storage SPLIT[] = {Q_q8_0, Q_q6_k};

typedef struct Packed {
  uint8_t rows[ROWS][COLS * 2 + 1]; /* blocks of random bytes at odd addresses, with sane scales */
  uint8_t whole[16 * COLS * 2], upper[16 * COLS * 2], lower[16 * COLS * 2];
  float values[16][COLS];
} Packed;

static void pack_random(const QuantDef *q, Packed *p) {
  uint32_t seed = 5, d_at = q->block == QK ? 0 : q->block_bytes - 2;
  memset(p, 0, sizeof *p);
  for (int r = 0; r < ROWS; r++) {
    uint8_t *row = p->rows[r] + 1;
    for (uint32_t i = 0; i < COLS / q->block * q->block_bytes; i++)
      row[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    for (uint32_t i = 0; i < COLS / q->block; i++) {
      uint16_t d = f32_to_f16(0.01f + 0.001f * (float)(r + (int)i));
      memcpy(row + i * q->block_bytes + d_at, &d, 2);
    }
    q->decode(row, p->values[r], COLS);
  }
  for (uint32_t i = 0; i < COLS / q->packed_block; i++) {
    const void *at[16] = {NULL};
    for (int r = 0; r < ROWS; r++)
      at[r] = p->rows[r] + 1 + i * (q->packed_block / q->block) * q->block_bytes;
    q->pack(at, p->whole + i * q->packed_bytes);
    q->split->pack(at, p->upper + i * q->split->upper_bytes, p->lower + i * q->split->lower_bytes);
  }
}

enum { CODES = 8 * 16 };

/* Codes of every block by unpack_ints from one piece, from both halves, from the upper half, and
 * elements from both halves. */
static void split_body(KBuilder *b, const QuantDef *q, KVal whole, KVal upper, KVal lower, KVal out,
                       KVal ones) {
  const QuantSplit *s = q->split;
  KVal index = k_par(b, "block", k_i64(b, COLS / q->packed_block));
  KAddr at = k_at(k_addr(whole), index, q->packed_bytes);
  KAddr up = k_at(k_addr(upper), index, s->upper_bytes);
  KAddr low = k_at(k_addr(lower), index, s->lower_bytes);
  KVal sub = k_for(b, "sub", k_i64(b, 0), k_i64(b, quant_subs(q)), 1, 0, NULL);
  KAddr to = k_at(k_at(k_addr(out), index, quant_subs(q) * 3 * CODES), sub, 3 * CODES);
  QuantInts ints[3];
  q->unpack_ints(b, at, sub, &ints[0]);
  s->unpack_ints(b, up, &low, sub, &ints[1]);
  s->unpack_ints(b, up, NULL, sub, &ints[2]);
  for (int i = 0; i < 3 * CODES / 16; i++) k_store(b, ints[i / 8].code[i % 8], k_off(to, 16 * i));
  assert_int_equal(ints[1].dropped, 0);
  assert_int_equal(ints[0].bits, ints[2].bits + ints[2].dropped);
  k_for_end(b, NULL);
  KVal lane = k_for(b, "lane", k_i64(b, 0), k_i64(b, 16), 1, 0, NULL);
  KVal k = k_for(b, "k", k_i64(b, 0), k_i64(b, q->packed_block), 1, 0, NULL);
  KVal x = s->unpack_one(b, up, low, lane, k);
  k_store(b, x, k_at(k_at(k_at(k_addr(ones), index, q->packed_block * 16), k, 16), lane, 1));
  k_for_end(b, NULL);
  k_for_end(b, NULL);
  k_par_end(b);
}

typedef int32_t SplitCodes[COLS / QK][3][8][16];

/* The squares of scale * (lower bits less their middle) of a row, a scale being that of an element
 * beside (of 16) whose code is not the one worth 0. */
static double lost_by_hand(const Packed *p, SplitCodes codes, int row, int zero, int dropped) {
  double sum = 0, middle = ((1 << dropped) - 1) / 2.0;
  for (int part = 0; part < COLS; part += 16) {
    double scale = 0, squares = 0;
    for (int k = part; k < part + 16; k++) {
      int code = codes[k / QK][0][k % QK / 4][row] >> (8 * (k % 4)) & 255;
      double off = (code & ((1 << dropped) - 1)) - middle;
      if (code != zero) scale = (double)p->values[row][k] / (code - zero);
      squares += off * off;
    }
    sum += scale * scale * squares;
  }
  return sum;
}

static void run_split(const QuantDef *q, Packed *p, SplitCodes codes, float ones[COLS][16]) {
  Arena *a = arena_new();
  Diag *d = diag_new();
  Kernel *k = kernel_new(a, "split", KC_map);
  KBuilder b = kbuilder(k);
  KVal w[5];
  for (int i = 0; i < 5; i++) w[i] = k_buffer(&b, "b", i < 3 ? K_i8 : i == 3 ? K_i32 : K_f32);
  split_body(&b, q, w[0], w[1], w[2], w[3], w[4]);
  KBuffer buffers[] = {{p->whole, sizeof p->whole},
                       {p->upper, sizeof p->upper},
                       {p->lower, sizeof p->lower},
                       {codes, sizeof(SplitCodes)},
                       {ones, sizeof(float[COLS][16])}};
  if (kernel_verify(k, d) != OK || kernel_eval(k, buffers, NULL, 0, -1, d) != OK)
    fail_msg("%s", diag_text(d));
  arena_free(a);
  diag_free(d);
}

static void halves_are_the_whole(void **state) {
  static Packed p;
  static SplitCodes codes;
  static float ones[COLS][16];
  (void)state;
  for (size_t f = 0; f < COUNT(SPLIT); f++) {
    const QuantDef *q = quant_def(SPLIT[f]);
    int dropped = SPLIT[f] == Q_q8_0 ? 3 : 2;
    assert_int_equal(q->split->upper_bytes + q->split->lower_bytes, q->packed_bytes);
    pack_random(q, &p);
    run_split(q, &p, codes, ones);
    for (int i = 0; i < COLS / QK; i++) {
      assert_memory_equal(codes[i][0], codes[i][1], sizeof codes[i][0]);
      for (int j = 0; j < CODES; j++) {
        uint32_t whole = (uint32_t)codes[i][0][j / 16][j % 16], all = 0xffu >> dropped;
        assert_int_equal(codes[i][2][j / 16][j % 16], whole >> dropped & all * 0x01010101u);
      }
    }
    for (int r = 0; r < 16; r++)
      for (int c = 0; c < COLS; c++) assert_memory_equal(&ones[c][r], &p.values[r][c], 4);
    for (int r = 0; r < ROWS; r++) {
      double want = lost_by_hand(&p, codes, r, quant_form(q).zero, dropped);
      assert_true(fabs(q->split->lost(p.rows[r] + 1, COLS) - want) <= 1e-6 * want);
    }
  }
  for (size_t f = 0; f < Q_COUNT; f++) { /* and no format more */
    const QuantDef *q = quant_def((Storage)f);
    assert_int_equal(q && q->split, f == Q_q8_0 || f == Q_q6_k);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(halves_are_the_whole)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
