/* What x86-64-v2 makes of other instructions (emit_soft.c, emit_grid.c), against the C library and
 * the reference conversions, on every ISA level of this machine.
 *
 * fma meets sums half way between two floats with a rest far below a double's digits, the same
 * among subnormals, cancellation, and the end of the range; conversions meet every f16, every point
 * half way between two, and its neighbours. NaNs of a conversion must be equal on all levels too.
 */
#include "tests/unit/cpu_machine.h"

#include <math.h>

enum { ROWS = 64, N = ROWS * 16, ROUNDS = 400 };

static const char kernels_text[] =
    "kernel @fma(%a: ptr<f32>, %b: ptr<f32>, %c: ptr<f32>, %out: ptr<f32>; %n) class map {\n"
    "  par %i in 0..%n {\n"
    "    %x = load v16f32 %a[%i*16]\n"
    "    %y = load v16f32 %b[%i*16]\n"
    "    %z = load v16f32 %c[%i*16]\n"
    "    %r = fma %x, %y, %z\n"
    "    store %r, %out[%i*16]\n"
    "  }\n}\n"
    "kernel @scalar(%a: ptr<f32>, %b: ptr<f32>, %c: ptr<f32>, %out: ptr<f32>; %n) class map {\n"
    "  par %i in 0..%n {\n"
    "    for %j in 0..16 {\n"
    "      %x = load f32 %a[%i*16 + %j]\n"
    "      %y = load f32 %b[%i*16 + %j]\n"
    "      %z = load f32 %c[%i*16 + %j]\n"
    "      %r = fma %x, %y, %z\n"
    "      store %r, %out[%i*16 + %j]\n"
    "    }\n"
    "  }\n}\n"
    /* multiples of 2^-24, as long as they are small */
    "kernel @grid(%a: ptr<f16>, %b: ptr<i32>, %c: ptr<f32>, %out: ptr<f32>; %n) class map {\n"
    "  local %sums: ptr<f32>[64]\n"
    "  %zero = const v16f32 0\n"
    "  par %i in 0..%n {\n"
    "    store %zero, %sums[16]\n"
    "    for %k in 0..2 {\n"
    "      %z = load v16f32 %sums[16]\n"
    "      %s = for %j in 0..2 carry %acc = %z {\n"
    "        %h = load v16f16 %a[%i*16 + %k*16 + %j*16]\n"
    "        %x = cvt %h : v16f32\n"
    "        %d = load v16i32 %b[%i*16 + %k*16 + %j*16]\n"
    "        %y = cvt %d : v16f32\n"
    "        %r = fma %x, %y, %acc\n"
    "        yield %r\n"
    "      }\n"
    "      store %s, %sums[16]\n"
    "    }\n"
    "    %t = load v16f32 %sums[16]\n"
    "    store %t, %out[%i*16]\n"
    "  }\n}\n"
    /* codes and floats side by side in a local; the sum's start is no multiple of anything */
    "kernel @shared(%a: ptr<f16>, %b: ptr<i32>, %c: ptr<i32>, %out: ptr<f32>; %n) class map {\n"
    "  local %t: ptr<i8>[512]\n"
    "  %zero = const v16f32 0\n"
    "  par %i in 0..%n {\n"
    "    %w = load v16i32 %c[%i*16]\n"
    "    for %j in 0..2 {\n"
    "      store %zero, %t[%j*256]\n"
    "      store %zero, %t[%j*256 + 64]\n"
    "      store %w, %t[%j*256 + 100]\n"
    "    }\n"
    "    %h = load v16f16 %a[%i*16]\n"
    "    %x = cvt %h : v16f32\n"
    "    %d = load v16i32 %b[%i*16]\n"
    "    %y = cvt %d : v16f32\n"
    "    %z = load v16f32 %t[356]\n"
    "    %r = fma %x, %y, %z\n"
    "    store %r, %out[%i*16]\n"
    "  }\n}\n"
    "kernel @widen(%a: ptr<f16>, %out: ptr<f32>; %n) class map {\n"
    "  par %i in 0..%n {\n"
    "    %h = load v16f16 %a[%i*16]\n"
    "    %x = cvt %h : v16f32\n"
    "    store %x, %out[%i*16]\n"
    "  }\n}\n"
    "kernel @narrow(%a: ptr<f32>, %out: ptr<f16>; %n) class map {\n"
    "  par %i in 0..%n {\n"
    "    %x = load v16f32 %a[%i*16]\n"
    "    %h = cvt %x : v16f16\n"
    "    store %h, %out[%i*16]\n"
    "  }\n}\n";
enum { K_FMA, K_SCALAR, K_GRID, K_SHARED, K_WIDEN, K_NARROW };

typedef struct Setup {
  Arena *arena;
  Module *module;
  KProgram *program;
  Machine machine;
  Levels levels;
} Setup;

static Setup setup_kernels(void) {
  Setup s = {.arena = arena_new(), .module = module_new("floats")};
  s.program = program_of(s.arena, s.module, kernels_text);
  s.machine = machine_open(s.arena, s.program, "soft");
  s.levels = levels_of(s.program);
  return s;
}

static void close_kernels(Setup *s) {
  machine_close(&s->machine);
  module_free(s->module);
  arena_free(s->arena);
}

typedef uint8_t Data[CALL_BUFFERS][CALL_BYTES];

static void call(const Setup *s, uint32_t level, uint32_t kernel, Data data) {
  CallHead h = {level, kernel, s->program->kernels[kernel]->nbuffers, 0, 0, ROWS, {ROWS, 0}};
  machine_call(&s->machine, h, data);
}

/* ---- operands ----------------------------------------------------------------------------------
 */

static uint64_t random_state = 88172645463325252u;
static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static float of_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static uint32_t bits_of(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return bits;
}

/* An odd number of exactly so many bits. */
static double odd(unsigned bits) {
  uint64_t top = UINT64_C(1) << (bits - 1);
  return (double)(top | (next_random() & (top - 1)) | 1);
}

static float signed_power(int low, int high) {
  float f = ldexpf(1, low + (int)(next_random() % (uint64_t)(high - low + 1)));
  return next_random() & 1 ? -f : f;
}

typedef struct Three {
  float a, b, c;
} Three;

static Three half_way(void) { /* a product of 25 bits and almost nothing */
  int e = (int)(next_random() % 60) - 30;
  Three t = {(float)odd(13), (float)ldexp(odd(12), e), signed_power(-149, e - 30)};
  if (next_random() % 8 == 0) t.c = 0;
  return t;
}

static Three half_way_among_subnormals(void) {
  double rest = ldexp(1, -10 - (int)(next_random() % 13));
  Three t = {(float)ldexp(1 + rest, -70), (float)ldexp(1 - rest, -80),
             (float)ldexp((double)(next_random() % (1 << 23)), -149)};
  if (next_random() & 1) t.c = -t.c;
  return t;
}

static Three cancelling(void) {
  Three t = {of_bits((uint32_t)next_random() & 0xc7ffffff),
             of_bits((uint32_t)next_random() & 0xc7ffffff), 0};
  t.c = -(t.a * t.b);
  if (next_random() & 1) t.c = of_bits(bits_of(t.c) + 1);
  return t;
}

static Three at_the_end(void) {
  static const float c[] = {0x1.fffffep127f, 0x1.fffffcp127f, 0x1p127f, INFINITY};
  Three t = {signed_power(50, 52), signed_power(49, 53), c[next_random() % COUNT(c)]};
  t.a *= 1 - (float)(next_random() % 3) * 0x1p-24f;
  return t;
}

static Three any_three(uint64_t i) {
  static const float edges[] = {0,          -0.0f,    1,         -1,  0x1p-149f,
                                -0x1p-126f, INFINITY, -INFINITY, NAN, 0x1.8p23f};
  switch (i % 7) {
  case 0: return half_way();
  case 1: return half_way_among_subnormals();
  case 2: return cancelling();
  case 3: return at_the_end();
  case 4:
    return (Three){edges[next_random() % COUNT(edges)], edges[next_random() % COUNT(edges)],
                   edges[next_random() % COUNT(edges)]};
  case 5: /* near each other */
    return (Three){of_bits(0x3f000000 | (uint32_t)(next_random() & 0x81ffffff)),
                   of_bits(0x3f000000 | (uint32_t)(next_random() & 0x81ffffff)),
                   of_bits(0x33000000 | (uint32_t)(next_random() & 0x8fffffff))};
  default:
    return (Three){of_bits((uint32_t)next_random()), of_bits((uint32_t)next_random()),
                   of_bits((uint32_t)next_random())};
  }
}

static void expect_float(const char *what, const char *level, float got, float want, Three t) {
  if (bits_of(got) != bits_of(want) && !(isnan(got) && isnan(want)))
    fail_msg("%s at %s: %a * %a + %a is %a, expected %a", what, level, (double)t.a, (double)t.b,
             (double)t.c, (double)got, (double)want);
}

/* ---- fma ----------------------------------------------------------------------------------------
 */

static void test_fma(void **state) {
  (void)state;
  Setup s = setup_kernels();
  static Data data;
  static Three operands[N];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < N; i++) operands[i] = any_three((uint64_t)(i / 16 + round));
    for (uint32_t l = 0; l < s.levels.n; l++)
      for (uint32_t k = K_FMA; k <= K_SCALAR; k++) {
        for (int i = 0; i < N; i++) {
          memcpy(data[0] + 4 * i, &operands[i].a, 4);
          memcpy(data[1] + 4 * i, &operands[i].b, 4);
          memcpy(data[2] + 4 * i, &operands[i].c, 4);
        }
        call(&s, l, k, data);
        for (int i = 0; i < N; i++) {
          Three t = operands[i];
          float got;
          memcpy(&got, data[3] + 4 * i, 4);
          expect_float("fma", s.levels.target[l]->name, got, fmaf(t.a, t.b, t.c), t);
        }
      }
  }
  close_kernels(&s);
}

/* By rows of 16: scales and sums as quantised weights have them; the smallest multiple, and a
 * product of 25 bits, half way between two floats, of a size about the grid's limit of 2^29; any.
 */
static void scale_and_sum(int i, int round, uint16_t *scale, int32_t *sum) {
  uint64_t r = next_random();
  int row = i / 16, shift = (row / 2 + round) % 21;
  if (round % 3 == 0) {
    *scale = (uint16_t)((r & 0x8fff) | 0x2000);
    *sum = (int32_t)((int64_t)(r >> 32) - INT64_C(0x80000000)) >> 8;
  } else if (round % 3 == 1) {
    double code = ldexp(odd(11), shift < 4 ? shift : 4), digits = odd(14);
    *scale = row % 2 ? f32_to_f16((float)code) : r & 1 ? 0x8001 : 1;
    *sum = row % 2 ? (int32_t)ldexp(digits, shift < 4 ? 0 : shift - 4) : 1;
  } else {
    *scale = (uint16_t)r;
    *sum = (int32_t)(r >> 32);
  }
}

static void test_grid(void **state) {
  (void)state;
  Setup s = setup_kernels();
  static Data data;
  static uint16_t scale[N + 32];
  static int32_t sum[N + 32];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < N + 32; i++) scale_and_sum(i, round, &scale[i], &sum[i]);
    for (uint32_t l = 0; l < s.levels.n; l++) {
      memcpy(data[0], scale, sizeof scale);
      memcpy(data[1], sum, sizeof sum);
      call(&s, l, K_GRID, data);
      for (int i = 0; i < N; i++) {
        float want = 0, got;
        for (int k = 0; k < 2; k++)
          for (int j = 0; j < 2; j++) {
            int at = i + 16 * (k + j);
            want = fmaf(f16_to_f32(scale[at]), (float)sum[at], want);
          }
        memcpy(&got, data[3] + 4 * i, 4);
        Three t = {f16_to_f32(scale[i]), (float)sum[i], 0};
        expect_float("a chain of fma", s.levels.target[l]->name, got, want, t);
      }
    }
  }
  close_kernels(&s);
}

/* Floats that were stored as integers have no grid, though zeros lie in the same local array. */
static void test_shared_local(void **state) {
  (void)state;
  Setup s = setup_kernels();
  static Data data;
  static uint16_t scale[N];
  static int32_t sum[N];
  static float start[N];
  for (int i = 0; i < N; i++) {
    scale[i] = f32_to_f16((float)odd(11));
    sum[i] = (int32_t)odd(14);
    start[i] = signed_power(-149, -60);
  }
  for (uint32_t l = 0; l < s.levels.n; l++) {
    memcpy(data[0], scale, sizeof scale);
    memcpy(data[1], sum, sizeof sum);
    memcpy(data[2], start, sizeof start);
    call(&s, l, K_SHARED, data);
    for (int i = 0; i < N; i++) {
      Three t = {f16_to_f32(scale[i]), (float)sum[i], start[i]};
      float got;
      memcpy(&got, data[3] + 4 * i, 4);
      expect_float("fma", s.levels.target[l]->name, got, fmaf(t.a, t.b, t.c), t);
    }
  }
  close_kernels(&s);
}

/* ---- f16 ----------------------------------------------------------------------------------------
 */

static void test_every_half(void **state) {
  (void)state;
  Setup s = setup_kernels();
  static Data data;
  static uint32_t first[N];
  for (uint32_t base = 0; base < 65536; base += N)
    for (uint32_t l = 0; l < s.levels.n; l++) {
      for (uint32_t i = 0; i < N; i++) {
        uint16_t h = (uint16_t)(base + i);
        memcpy(data[0] + 2 * i, &h, 2);
      }
      call(&s, l, K_WIDEN, data);
      for (uint32_t i = 0; i < N; i++) {
        uint32_t got;
        memcpy(&got, data[1] + 4 * i, 4);
        float want = f16_to_f32((uint16_t)(base + i));
        if (l == 0) first[i] = got;
        if (got != first[i] || (isnan(want) ? !isnan(of_bits(got)) : got != bits_of(want)))
          fail_msg("f16 %04x at %s is %08x, expected %08x", base + i, s.levels.target[l]->name, got,
                   bits_of(want));
      }
    }
  close_kernels(&s);
}

/* The points half way from a half to the next, and both sides of them; else any float. */
static float near_half(uint32_t i) {
  if (i % 4 == 3) return of_bits((uint32_t)next_random());
  uint16_t h = (uint16_t)(i / 4);
  float low = f16_to_f32(h), high = f16_to_f32((uint16_t)(h + 1));
  if ((h & 0x7fff) == 0x7bff) high = copysignf(65536, low);
  if (isnan(low) || isnan(high) || isinf(low)) return of_bits((uint32_t)h << 13 | 0x7f800001);
  float middle = low / 2 + high / 2;
  return of_bits(bits_of(middle) + i % 4 - 1);
}

static void test_to_half(void **state) {
  (void)state;
  Setup s = setup_kernels();
  static Data data;
  static float value[N];
  static uint16_t first[N];
  for (uint32_t base = 0; base < 4 * 65536; base += N) {
    for (uint32_t i = 0; i < N; i++) value[i] = near_half(base + i);
    for (uint32_t l = 0; l < s.levels.n; l++) {
      memcpy(data[0], value, sizeof value);
      call(&s, l, K_NARROW, data);
      for (uint32_t i = 0; i < N; i++) {
        uint16_t got;
        memcpy(&got, data[1] + 2 * i, 2);
        if (l == 0) first[i] = got;
        if (got != first[i] ||
            (isnan(value[i]) ? !isnan(f16_to_f32(got)) : got != f32_to_f16(value[i])))
          fail_msg("%a at %s is f16 %04x, expected %04x", (double)value[i],
                   s.levels.target[l]->name, got, f32_to_f16(value[i]));
      }
    }
  }
  close_kernels(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fma),          cmocka_unit_test(test_grid),
      cmocka_unit_test(test_shared_local), cmocka_unit_test(test_every_half),
      cmocka_unit_test(test_to_half),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
