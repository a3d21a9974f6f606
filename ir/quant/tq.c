/* tq1_0, tq2_0: ternary weights, d * (code - 1) with codes 0 .. 2 and one f16 d for 256.
 *
 * File blocks (GGUF). tq2_0: 64 bytes (byte 32 h + i holds elements 128 h + 32 j + i in bits 2 j),
 * f16 d. tq1_0: 48 + 4 bytes of base-3 numbers, f16 d: a byte is ceil(256 n / 243) where n has five
 * digits, the first one highest; digit j of byte i is element 32 j + i (first 32 bytes), 160 + 16 j
 * + i (next 16), and 240 + 4 j + i (last four, digits 0..3, the fifth 0). Digit j of a byte is the
 * upper byte of 3 * (byte * 3^j mod 256). Both are packed in two bits a weight: taking digits out
 * in the loop would cost more than the fifth of the bytes that it saves.
 */
#include "ir/quant/fit.h"

enum { tq1_0_BYTES = 54, tq2_0_BYTES = 66, TQ1_D = 52, TQ2_D = 64 };

static void tq2_0_read(const uint8_t *p, Super *s) {
  memcpy(&s->d, p + TQ2_D, 2);
  for (int k = 0; k < QS; k++) s->code[k] = p[k / 128 * 32 + k % 32] >> (2 * (k / 32 % 4)) & 3;
}

static void tq2_0_write(const Super *s, uint8_t *p) {
  memset(p, 0, TQ2_D);
  memcpy(p + TQ2_D, &s->d, 2);
  for (int k = 0; k < QS; k++)
    p[k / 128 * 32 + k % 32] |= (uint8_t)(s->code[k] << (2 * (k / 32 % 4)));
}

/* First byte, bytes and digits of the three stretches. */
static const struct {
  int byte, bytes, digits, element;
} stretches[] = {{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}};

static void tq1_0_read(const uint8_t *p, Super *s) {
  static const uint8_t power[5] = {1, 3, 9, 27, 81};
  memcpy(&s->d, p + TQ1_D, 2);
  for (size_t t = 0; t < COUNT(stretches); t++) {
    int n = stretches[t].bytes;
    for (int j = 0; j < stretches[t].digits; j++) {
      for (int i = 0; i < n; i++) {
        uint8_t rest = (uint8_t)(p[stretches[t].byte + i] * power[j]);
        s->code[stretches[t].element + n * j + i] = (uint8_t)(rest * 3 >> 8);
      }
    }
  }
}

static void tq1_0_write(const Super *s, uint8_t *p) {
  memcpy(p + TQ1_D, &s->d, 2);
  for (size_t t = 0; t < COUNT(stretches); t++) {
    int n = stretches[t].bytes;
    for (int i = 0; i < n; i++) {
      int number = 0;
      for (int j = 0; j < 5; j++)
        number =
            3 * number + (j < stretches[t].digits ? s->code[stretches[t].element + n * j + i] : 0);
      p[stretches[t].byte + i] = (uint8_t)((number * 256 + 242) / 243);
    }
  }
}

static const SuperFormat tq2_0_format = {.bytes = tq2_0_BYTES,
                                         .zero = 1,
                                         .padding = 1,
                                         .parts = 1,
                                         .width = {2},
                                         .read = tq2_0_read,
                                         .write = tq2_0_write,
                                         .fit = fit_ternary};
SUPER_QUANT(tq2_0, 35, 16 * tq2_0_BYTES, Q_plain);

static const SuperFormat tq1_0_format = {.bytes = tq1_0_BYTES,
                                         .zero = 1,
                                         .padding = 1,
                                         .parts = 1,
                                         .width = {2},
                                         .read = tq1_0_read,
                                         .write = tq1_0_write,
                                         .fit = fit_ternary};
SUPER_QUANT(tq1_0, 34, 16 * tq2_0_BYTES, Q_plain);
