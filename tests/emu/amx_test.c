/* The emulated AMX unit: what it computes, and what it refuses as hardware would. Instructions are
 * given as bytes; rax points at memory, rcx is a stride. */
#include "tests/emu/amx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static uint8_t memory[4096];

static bool inside(uint64_t at, int64_t stride, size_t n, size_t count) {
  return at <= sizeof memory && n <= sizeof memory - at &&
         (count == 0 || at + (count - 1) * (uint64_t)stride <= sizeof memory - n);
}

static bool get(void *user, uint64_t at, int64_t stride, uint8_t *to, size_t n, size_t count) {
  (void)user;
  for (size_t i = 0; inside(at, stride, n, count) && i < count; i++)
    memcpy(to + i * n, memory + at + i * (uint64_t)stride, n);
  return inside(at, stride, n, count);
}

static bool put(void *user, uint64_t at, int64_t stride, const uint8_t *from, size_t n,
                size_t count) {
  (void)user;
  for (size_t i = 0; inside(at, stride, n, count) && i < count; i++)
    memcpy(memory + at + i * (uint64_t)stride, from + i * n, n);
  return inside(at, stride, n, count);
}

typedef struct Code {
  uint8_t byte[9], n;
} Code;
/* ldtilecfg [rax]; tilerelease; tilezero tmm0; tile{loadd,loaddt1,stored} tmmN, [rax + rcx]. */
#define CONFIG ((Code){{0xc4, 0xe2, 0x78, 0x49, 0x00}, 5})
#define RELEASE ((Code){{0xc4, 0xe2, 0x78, 0x49, 0xc0}, 5})
#define ZERO0 ((Code){{0xc4, 0xe2, 0x7b, 0x49, 0xc0}, 5})
#define LOAD(n) ((Code){{0xc4, 0xe2, 0x7b, 0x4b, 0x04 | (n) << 3, 0x08}, 6})
#define LOAD1(n) ((Code){{0xc4, 0xe2, 0x79, 0x4b, 0x04 | (n) << 3, 0x08}, 6})
#define STORE(n) ((Code){{0xc4, 0xe2, 0x7a, 0x4b, 0x04 | (n) << 3, 0x08}, 6})
/* tdp tmmC, tmmA, tmmB; pp: 3 bssd, 2 bsud, 1 busd, 0 buud */
#define TDP(pp, c, a, b)                                                                           \
  ((Code){{0xc4, 0xe2, (0xf ^ (b)) << 3 | (pp), 0x5e, 0xc0 | (c) << 3 | (a)}, 5})

static AmxUnit unit;
static const char *why;

static AmxResult run(Code code, uint64_t rax, uint64_t rcx) {
  static const AmxMemory m = {get, put, NULL};
  AmxRegs regs = {.r = {rax, rcx}, .rip = 1000};
  why = "";
  AmxResult r = amx_execute(&unit, &regs, code.byte, code.n, &m, &why);
  assert_int_equal(regs.rip, r == AMX_DONE ? 1000 + code.n : 1000);
  return r;
}

static void refuses(Code code, const char *reason) {
  assert_int_equal(run(code, 0, 64), AMX_FAULT);
  if (!strstr(why, reason)) fail_msg("'%s' lacks '%s'", why, reason);
}

/* tmm0: c of 3 rows; tmm1: a of 3 rows of 2 words; tmm2: b of 2 rows; tmm3: a of 1 word. */
static void write_config(void) {
  static const uint8_t bytes[4] = {64, 8, 64, 4}, rows[4] = {3, 3, 2, 3};
  memset(memory, 0, sizeof memory);
  memory[0] = 1;
  for (int t = 0; t < 4; t++) memory[16 + 2 * t] = bytes[t], memory[48 + t] = rows[t];
}

static void start(void) {
  memset(&unit, 0, sizeof unit);
  unit.permitted = true;
  write_config();
  assert_int_equal(run(CONFIG, 0, 0), AMX_DONE);
}

static void test_products(void **state) {
  (void)state;
  for (int pp = 0; pp < 4; pp++) {
    start();
    for (int i = 0; i < 1024; i++) memory[1024 + i] = (uint8_t)(i * 37 + 130);
    assert_int_equal(run(LOAD(1), 1024, 100), AMX_DONE);
    assert_int_equal(run(pp % 2 ? LOAD1(2) : LOAD(2), 1500, 70), AMX_DONE);
    assert_int_equal(run(ZERO0, 0, 0), AMX_DONE);
    for (int twice = 0; twice < 2; twice++) assert_int_equal(run(TDP(pp, 0, 1, 2), 0, 0), AMX_DONE);
    assert_int_equal(run(STORE(0), 2048, 64), AMX_DONE);
    for (int i = 0; i < 3; i++)
      for (int lane = 0; lane < 16; lane++) {
        int32_t want = 0, got;
        for (int j = 0; j < 8; j++) {
          uint8_t a = memory[1024 + 100 * i + j],
                  b = memory[1500 + 70 * (j / 4) + 4 * lane + j % 4];
          want += 2 * (pp & 2 ? (int8_t)a : a) * (pp == 1 || pp == 3 ? (int8_t)b : b);
        }
        memcpy(&got, memory + 2048 + 64 * i + 4 * lane, 4);
        assert_int_equal(got, want);
      }
    assert_int_equal(unit.products, 2);
  }
}

static void test_refusals(void **state) {
  (void)state;
  start();
  refuses(TDP(2, 0, 0, 2), "its tiles must differ");
  refuses(TDP(2, 0, 3, 2), "sizes of tiles that don't go together");
  refuses(TDP(2, 0, 1, 7), "a tile is not configured");
  refuses(TDP(2, 0, 1, 9), "there are eight tiles");
  refuses(LOAD(5), "not configured");
  refuses((Code){{0xc4, 0xe2, 0x7b, 0x4b, 0x00}, 5}, "without a SIB byte");
  assert_int_equal(run(LOAD(0), 4000, 64), AMX_FAULT);
  assert_int_equal(run(STORE(0), 4000, 64), AMX_FAULT);
  assert_int_equal(run((Code){{0x0f, 0x0b}, 2}, 0, 0), AMX_OTHER);
  assert_int_equal(run((Code){{0xc4, 0xe2, 0xfb, 0x5e, 0xc1}, 5}, 0, 0), AMX_OTHER); /* W1 */
  assert_int_equal(run(RELEASE, 0, 0), AMX_DONE);
  refuses(TDP(2, 0, 1, 2), "a tile is not configured");
  unit.permitted = false;
  refuses(RELEASE, "nobody asked the system");
}

static void test_configurations(void **state) {
  (void)state;
  static const struct {
    int at, value;
    const char *reason;
  } wrong[] = {{0, 2, "palette"},         {1, 1, "start row"},    {15, 1, "reserved"},
               {16, 65, "too large"},     {17, 1, "too large"},   {48, 17, "too large"},
               {48, 0, "no rows"},        {16, 0, "of no bytes"}, {56, 1, "more than eight"},
               {32, 4, "more than eight"}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    start();
    memory[wrong[i].at] = (uint8_t)wrong[i].value;
    refuses(CONFIG, wrong[i].reason);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_products),
                                     cmocka_unit_test(test_refusals),
                                     cmocka_unit_test(test_configurations)};
  return cmocka_run_group_tests_name("unit.amx", tests, NULL, NULL);
}
