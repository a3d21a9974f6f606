/* The Kernel IR evaluator: what each operation means, and what it refuses.
 *
 * A row of `cases` is one operation on literals with its result, written as text; scalar and
 * 16-lane forms of it are both run. The rest checks memory (bounds, masks, undefined locals), loops
 * and whole programs.
 */
#include "ir/kernel_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static Kernel *parse(Arena *a, const char *text) {
  Diag *d = diag_new();
  Kernel **k;
  uint32_t n;
  if (kernels_parse(a, text, "test", d, &k, &n) != OK || kernel_verify(k[0], d) != OK)
    fail_msg("%s\n%s", text, diag_text(d));
  diag_free(d);
  return k[0];
}

/* ---- operations ----------------------------------------------------------------------------- */

/* `op` over operands of type `in` at byte 0, 64 and 128 of the buffer, giving `out`. */
typedef struct Case {
  const char *op, *in, *args, *out;
  const char *want;
} Case;

static const Case cases[] = {
    {"add", "f32", "16777216, 1", "f32", "16777216"}, /* one rounding, to even */
    {"add", "f32", "1, 5.9604645e-08", "f32", "1"},
    {"add", "i8", "127, 1", "i8", "-128"},
    {"add", "i16", "32767, 2", "i16", "-32767"},
    {"add", "i32", "2147483647, 1", "i32", "-2147483648"},
    {"add", "i64", "9223372036854775807, 1", "i64", "-9223372036854775808"},
    {"sub", "f32", "inf, inf", "f32", "nan"},
    {"sub", "i8", "-128, 1", "i8", "127"},
    {"mul", "f32", "3e38, 10", "f32", "inf"},
    {"mul", "f32", "1e-30, 1e-30", "f32", "0"},
    {"mul", "i16", "300, 300", "i16", "24464"},
    {"mul", "i32", "65536, 65537", "i32", "65536"},
    {"div", "f32", "1, 3", "f32", "0.33333334"},
    {"div", "f32", "-1, 0", "f32", "-inf"},
    {"div", "i32", "-7, 2", "i32", "-3"},
    {"div", "i64", "7, 2", "i64", "3"},
    {"rem", "i32", "7, 4", "i32", "3"},
    {"rem", "i64", "9, 9", "i64", "0"},
    /* 1 + 2^-24 squared less 1 + 2^-23: what two roundings lose */
    {"fma", "f32", "1.0000001, 1.0000001, -1.0000002", "f32", "1.4210855e-14"},
    {"fma", "f32", "3e38, 2, -inf", "f32", "-inf"},
    {"min", "f32", "1, 2", "f32", "1"},
    {"min", "f32", "nan, 2", "f32", "2"}, /* a < b ? a : b */
    {"min", "f32", "2, nan", "f32", "nan"},
    {"min", "f32", "-0, 0", "f32", "0"},
    {"max", "f32", "nan, 2", "f32", "2"},
    {"max", "f32", "2, nan", "f32", "nan"},
    {"max", "i8", "-128, 127", "i8", "127"},
    {"min", "i64", "-1, 1", "i64", "-1"},
    {"neg", "f32", "0", "f32", "-0"},
    {"neg", "i8", "-128", "i8", "-128"},
    {"abs", "f32", "-0", "f32", "0"},
    {"abs", "i32", "-2147483648", "i32", "-2147483648"},
    {"abs", "i64", "-5", "i64", "5"},
    {"sqrt", "f32", "2", "f32", "1.4142135"},
    {"sqrt", "f32", "-1", "f32", "nan"},
    {"floor", "f32", "-0.5", "f32", "-1"},
    {"floor", "f32", "8388609", "f32", "8388609"},
    {"rint", "f32", "2.5", "f32", "2"},
    {"rint", "f32", "3.5", "f32", "4"},
    {"rint", "f32", "-0.5", "f32", "-0"},
    {"and", "i8", "-2, 7", "i8", "6"},
    {"or", "i16", "1, -256", "i16", "-255"},
    {"xor", "i64", "-1, 1", "i64", "-2"},
    {"shl", "i8", "65, 1", "i8", "-126"},
    {"shl", "i64", "1, 63", "i64", "-9223372036854775808"},
    {"lshr", "i8", "-1, 4", "i8", "15"},
    {"lshr", "i32", "-1, 31", "i32", "1"},
    {"lshr", "i64", "-1, 60", "i64", "15"},
    {"ashr", "i16", "-256, 4", "i16", "-16"},
    {"ashr", "i32", "-1, 31", "i32", "-1"},
    {"eq", "f32", "nan, nan", "i1", "0"},
    {"ne", "f32", "nan, nan", "i1", "1"},
    {"eq", "f32", "-0, 0", "i1", "1"},
    {"lt", "f32", "nan, 1", "i1", "0"},
    {"ge", "f32", "nan, 1", "i1", "0"},
    {"lt", "i8", "-1, 0", "i1", "1"},
    {"le", "i64", "3, 3", "i1", "1"},
    {"gt", "i32", "3, 3", "i1", "0"},
    {"exp", "f32", "1", "f32", "2.7182817"},
    {"log", "f32", "0", "f32", "-inf"},
    {"tanh", "f32", "100", "f32", "1"},
    {"erf", "f32", "0.5", "f32", "0.5204999"},
    {"gelu", "f32", "-1", "f32", "-0.15865526"},
    {"sin", "f32", "1", "f32", "0.84147096"},
    {"cos", "f32", "0", "f32", "1"},
    {"cvt", "f32", "-2.9", "i32", "-2"},
    {"cvt", "f32", "2147483520", "i32", "2147483520"},
    {"cvt", "f32", "1e12", "i64", "999999995904"},
    {"cvt", "i32", "16777217", "f32", "16777216"},
    {"cvt", "i8", "-128", "i64", "-128"},
    {"cvt", "i64", "4294967295", "i32", "-1"},
    {"cvt", "i32", "511", "i8", "-1"},
    {"cvt", "f32", "65520", "f16", "inf"},
    {"cvt", "f32", "2049", "f16", "2048"},
    {"cvt", "f32", "1.00390625", "bf16", "1"},
    {"cvt", "f16", "0.333251953125", "f32", "0.33325195"},
    {"cvt", "bf16", "-1.5", "f32", "-1.5"},
    {"cvtu", "i8", "-1", "i32", "255"},
    {"cvtu", "i8", "-128", "f32", "128"},
    {"cvtu", "i32", "-1", "i64", "4294967295"},
    {"cvtu", "i16", "-1", "i8", "-1"},
    {"cvtu", "i64", "-1", "f32", "18446744073709551615"},
    {"bits", "f32", "-1", "i32", "-1082130432"},
    {"bits", "i32", "2139095040", "f32", "inf"},
    {"bits", "i16", "-17408", "f16", "-1"},    /* 0xbc00 */
    {"bits", "f16", "1", "bf16", "0.0078125"}, /* 0x3c00 */
};

static bool converts(const char *op) {
  return !strncmp(op, "cvt", 3) || !strcmp(op, "bits");
}

/* Text of a kernel that stores 1 when the operation gave the wanted bits in every lane. A NaN
 * wanted is a value that differs from itself. */
static void case_text(const Case *c, bool vector, Buf *out) {
  const char *v = vector ? "v16" : "";
  bool wants_nan = !strcmp(c->want, "nan");
  bool is_float = strchr(c->out, 'f') != NULL;
  const char *as = !is_float ? c->out : !strcmp(c->out, "f32") ? "i32" : "i16";
  buf_puts(out, "kernel @c(%r: ptr<i32>) class map {\n");
  char args[128], *rest = args;
  snprintf(args, sizeof args, "%s", c->args);
  int n = 0;
  for (char *arg; (arg = strsep(&rest, ",")); n++)
    buf_printf(out, "%%a%d = const %s%s %s\n", n, v, c->in, arg + (*arg == ' '));
  buf_printf(out, "%%w = const %s%s %s\n", v, c->out, c->want);
  buf_printf(out, "par %%i in 0..1 {\n%%y = %s ", c->op);
  for (int i = 0; i < n; i++) buf_printf(out, "%s%%a%d", i ? ", " : "", i);
  if (converts(c->op)) buf_printf(out, " : %s%s", v, c->out);
  if (wants_nan)
    buf_puts(out, "\n%ok = ne %y, %y\n");
  else if (is_float)
    buf_printf(out, "\n%%yb = bits %%y : %s%s\n%%wb = bits %%w : %s%s\n%%ok = eq %%yb, %%wb\n", v,
               as, v, as);
  else
    buf_puts(out, "\n%ok = eq %y, %w\n");
  buf_printf(out, "%%n = cvtu %%ok : %si32\n", v);
  if (vector) buf_puts(out, "%m = reduce_min %n\nstore %m, %r[0]\n");
  if (!vector) buf_puts(out, "store %n, %r[0]\n");
  buf_puts(out, "}\n}\n");
}

static void test_operations(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(cases); i++) {
    for (int vector = 0; vector < 2; vector++) {
      Arena *a = arena_new();
      Diag *d = diag_new();
      Buf text = {0};
      int32_t held = -1;
      case_text(&cases[i], vector, &text);
      Kernel *k = parse(a, text.data);
      if (kernel_eval(k, &(KBuffer){&held, 4}, NULL, 0, -1, d) != OK) fail_msg("%s", diag_text(d));
      if (held != 1)
        fail_msg("%s %s %s is not %s", cases[i].op, cases[i].in, cases[i].args, cases[i].want);
      buf_free(&text);
      diag_free(d);
      arena_free(a);
    }
  }
}

#define KERNEL(params, body) "kernel @k(" params ") class map {\n" body "}\n"

static Status run(const char *text, const KBuffer *buffers, const int64_t *scalars, Diag *d) {
  Arena *a = arena_new();
  Status s = kernel_eval(parse(a, text), buffers, scalars, 0, -1, d);
  arena_free(a);
  return s;
}

static void run_ok(const char *text, const KBuffer *buffers, const int64_t *scalars) {
  Diag *d = diag_new();
  if (run(text, buffers, scalars, d) != OK) fail_msg("%s", diag_text(d));
  diag_free(d);
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static void test_reductions(void **state) {
  (void)state;
  float x[16], y[3];
  for (int i = 0; i < 16; i++) x[i] = i == 3 ? 1e8f : i == 11 ? -1e8f : 0.125f * (float)(i + 1);
  run_ok(KERNEL("%x: ptr<f32>, %y: ptr<f32>",
                "par %i in 0..1 {\n%v = load v16f32 %x[0]\n%a = reduce_add %v\n"
                "%b = reduce_max %v\n%c = reduce_min %v\nstore %a, %y[0]\nstore %b, %y[1]\n"
                "store %c, %y[2]\n}\n"),
         (KBuffer[]){{x, sizeof x}, {y, sizeof y}}, NULL);
  float t[16];
  memcpy(t, x, sizeof t);
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) t[i] = t[i] + t[i + half];
  assert_true(y[0] == t[0]);
  float ascending = 0;
  for (int i = 0; i < 16; i++) ascending += x[i];
  assert_true(y[0] != ascending); /* the order shows */
  assert_true(y[1] == 1e8f);
  assert_true(y[2] == -1e8f);

  int8_t n[16], sum;
  for (int i = 0; i < 16; i++) n[i] = 100;
  run_ok(
      KERNEL("%x: ptr<i8>, %y: ptr<i8>",
             "par %i in 0..1 {\n%v = load v16i8 %x[0]\n%a = reduce_add %v\nstore %a, %y[0]\n}\n"),
      (KBuffer[]){{n, sizeof n}, {&sum, 1}}, NULL);
  assert_int_equal(sum, (int8_t)1600);
}

static void test_lookup(void **state) {
  (void)state;
  uint8_t codes[64], table[64], y[64];
  for (int i = 0; i < 64; i++) {
    codes[i] = (uint8_t)(i * 7 & 15);
    table[i] = (uint8_t)(i * 37 + 200);
  }
  const char *text = KERNEL("%c: ptr<i8>, %t: ptr<i8>, %y: ptr<i8>",
                            "par %i in 0..1 {\n%p = load v16i32 %c[0]\n%q = load v16i32 %t[0]\n"
                            "%d = lookup %p, %q\nstore %d, %y[0]\n}\n");
  const KBuffer buffers[] = {{codes, 64}, {table, 64}, {y, 64}};
  run_ok(text, buffers, NULL);
  for (int i = 0; i < 64; i++) assert_int_equal(y[i], table[i / 16 * 16 + codes[i]]);
  codes[63] = 16;
  Diag *d = diag_new();
  assert_int_equal(run(text, buffers, NULL, d), FAIL);
  assert_non_null(strstr(diag_text(d), "a code has more than 4 bits"));
  diag_free(d);
}

static void test_zip(void **state) {
  (void)state;
  int64_t a[16], b[16], y[32];
  for (int i = 0; i < 16; i++) {
    a[i] = i;
    b[i] = 100 + i;
  }
  run_ok(KERNEL("%a: ptr<i64>, %b: ptr<i64>, %y: ptr<i64>",
                "par %i in 0..1 {\n%p = load v16i64 %a[0]\n%q = load v16i64 %b[0]\n"
                "%l = zip_low %p, %q\n%h = zip_high %p, %q\n"
                "store %l, %y[0]\nstore %h, %y[16]\n}\n"),
         (KBuffer[]){{a, sizeof a}, {b, sizeof b}, {y, sizeof y}}, NULL);
  for (int i = 0; i < 32; i++) assert_int_equal(y[i], i / 2 + i % 2 * 100);
}

static void test_dot4(void **state) {
  (void)state;
  uint8_t u[64];
  int8_t s[64];
  int32_t acc[16], y[16];
  for (int i = 0; i < 64; i++) {
    u[i] = i < 4 ? 255 : (uint8_t)(i * 37);
    s[i] = i < 4 ? -128 : (int8_t)(i * 91);
  }
  for (int i = 0; i < 16; i++) acc[i] = i == 5 ? INT32_MAX : -i;
  const char *text =
      KERNEL("%u: ptr<i8>, %s: ptr<i8>, %a: ptr<i32>, %y: ptr<i32>",
             "par %i in 0..1 {\n%p = load v16i32 %u[0]\n%q = load v16i32 %s[0]\n"
             "%c = load v16i32 %a[0]\n%d = dot4 %p, %q, %c bits=8\nstore %d, %y[0]\n}\n");
  const KBuffer buffers[] = {{u, 64}, {s, 64}, {acc, 64}, {y, 64}};
  run_ok(text, buffers, NULL);
  for (int i = 0; i < 16; i++) {
    int64_t sum = acc[i];
    for (int j = 0; j < 4; j++) sum += u[4 * i + j] * s[4 * i + j];
    assert_int_equal(y[i], (int32_t)sum);
  }
  assert_int_equal(y[0], 4 * 255 * -128);
  /* a code wider than promised is a mistake of the lowering */
  char narrow[512];
  snprintf(narrow, sizeof narrow, "%s", text);
  *strstr(narrow, "=8") = '=';
  strstr(narrow, "bits=")[5] = '7';
  Diag *d = diag_new();
  assert_int_equal(run(narrow, buffers, NULL, d), FAIL);
  assert_non_null(strstr(diag_text(d), "a code has more than 7 bits"));
  diag_free(d);
}

/* Words with signs; a sum beyond 32 bits wraps. */
static void test_dot2(void **state) {
  (void)state;
  int16_t u[32], v[32];
  int32_t acc[16], y[16];
  for (int i = 0; i < 32; i++) {
    u[i] = i < 2 ? INT16_MIN : (int16_t)(i * 2741);
    v[i] = i < 2 ? INT16_MIN : (int16_t)(i * -9173);
  }
  for (int i = 0; i < 16; i++) acc[i] = i == 5 ? INT32_MAX : -i;
  const KBuffer buffers[] = {{u, 64}, {v, 64}, {acc, 64}, {y, 64}};
  run_ok(KERNEL("%u: ptr<i8>, %v: ptr<i8>, %a: ptr<i32>, %y: ptr<i32>",
                "par %i in 0..1 {\n%p = load v16i32 %u[0]\n%q = load v16i32 %v[0]\n"
                "%c = load v16i32 %a[0]\n%d = dot2 %p, %q, %c\nstore %d, %y[0]\n}\n"),
         buffers, NULL);
  for (int i = 0; i < 16; i++) {
    int64_t sum = (int64_t)acc[i] + u[2 * i] * v[2 * i] + (int64_t)u[2 * i + 1] * v[2 * i + 1];
    assert_int_equal(y[i], (int32_t)(uint32_t)sum);
  }
  assert_int_equal(y[0], INT32_MIN);
}

static void assert_stops(const char *text, const KBuffer *buffers, const char *message) {
  Diag *d = diag_new();
  int64_t n = 4;
  if (run(text, buffers, &n, d) == OK) fail_msg("ran: %s", text);
  if (!strstr(diag_text(d), message)) fail_msg("%s lacks: %s", diag_text(d), message);
  diag_free(d);
}

/* c (m rows of n vectors) is the product of strided rows of a and vectors of b, in exact integers
 * that wrap; `add` goes on from what is there. */
static void test_mma(void **state) {
  (void)state;
  enum { M = 3, N = 2, K = 5, ROW = 23, GROUP = 331 };
  int8_t a[ROW * M + 4 * K];
  uint8_t b[GROUP * N + 64 * K];
  int32_t y[M * N * 16];
  for (size_t i = 0; i < sizeof a; i++) a[i] = (int8_t)(i < 4 ? -128 : 91 * (int)i);
  for (size_t i = 0; i < sizeof b; i++) b[i] = (uint8_t)(i < 64 ? 255 : 37 * i);
  const KBuffer buffers[] = {{a, sizeof a}, {b, sizeof b}, {y, sizeof y}};
  run_ok(KERNEL("%a: ptr<i8>, %b: ptr<i8>, %y: ptr<i32>",
                "local %c: ptr<i32>[112]\npar %i in 0..1 {\n"
                "mma %c[16], %a[0], %b[0] m=3 n=2 k=5 row=23 group=331\n"
                "mma %c[16], %a[4], %b[64] m=3 n=2 k=4 row=23 group=331 add\n"
                "for %r in 0..6 {\n%v = load v16i32 %c[%r*16 + 16]\nstore %v, %y[%r*16]\n}\n}\n"),
         buffers, NULL);
  for (int i = 0; i < M; i++)
    for (int g = 0; g < N; g++)
      for (int lane = 0; lane < 16; lane++) {
        int32_t want = 0;
        for (int j = 0; j < 4 * K; j++)
          want += (j < 4 ? 1 : 2) * a[i * ROW + j] * b[g * GROUP + j / 4 * 64 + 4 * lane + j % 4];
        assert_int_equal(y[(i * N + g) * 16 + lane], want);
      }
#define ON_AB(mma)                                                                                 \
  KERNEL("%a: ptr<i8>, %b: ptr<i8>, %y: ptr<i32>; %S",                                             \
         "local %c: ptr<i32>[96]\nlocal %d: ptr<i8>[96]\npar %i in 0..1 {\n" mma "}\n")
  assert_stops(ON_AB("mma %c[0], %a[0], %b[0] m=4 n=1 k=6 row=23 group=0\n"), buffers,
               "%a at byte 69 is outside its 89 bytes");
  assert_stops(ON_AB("mma %c[0], %a[0], %b[%S*100] m=3 n=2 k=5 row=23 group=331\n"), buffers,
               "%b at byte 731 is outside its 982 bytes");
  assert_stops(ON_AB("mma %c[16], %a[0], %b[0] m=3 n=2 k=5 row=23 group=331\n"), buffers,
               "%c at byte 384 is outside its 384 bytes");
  assert_stops(ON_AB("mma %c[0], %a[0], %b[0] m=3 n=2 k=5 row=23 group=331 add\n"), buffers,
               "local %c is not defined at byte 0");
  assert_stops(ON_AB("mma %c[0], %d[0], %b[0] m=3 n=2 k=5 row=23 group=331\n"), buffers,
               "local %d is not defined at byte 0");
}

static void test_lanes(void **state) {
  (void)state;
  int32_t y[48];
  run_ok(KERNEL("%y: ptr<i32>",
                "par %i in 0..1 {\n%v = iota\n%e = extract %v, 13\n%s = splat %e : v16i32\n"
                "%m = lt %v, 4\n%w = select %m, %s, %v\nstore %v, %y[0]\nstore %s, %y[16]\n"
                "store %w, %y[32]\n}\n"),
         &(KBuffer){y, sizeof y}, NULL);
  for (int i = 0; i < 16; i++) {
    assert_int_equal(y[i], i);
    assert_int_equal(y[16 + i], 13);
    assert_int_equal(y[32 + i], i < 4 ? 13 : i);
  }
}

/* ---- memory --------------------------------------------------------------------------------- */

static void test_bounds(void **state) {
  (void)state;
  float x[20] = {0};
  const KBuffer b = {x, sizeof x};
#define ON_X(body) KERNEL("%x: ptr<f32>; %S", "par %i in 0..%S {\n" body "}\n")
  assert_stops(ON_X("%v = load f32 %x[%i + 17]\n"), &b, "%x at byte 80 is outside its 80 bytes");
  assert_stops(ON_X("%v = load f32 %x[%i + -1]\n"), &b, "%x at byte -4 is outside");
  assert_stops(ON_X("%v = load v16f32 %x[%i + 2]\n"), &b, "at byte 80 is outside");
  assert_stops(ON_X("%v = load v16f32 %x[0] lane=2\n"), &b, "at byte 80 is outside");
  assert_stops(ON_X("store f32 1, %x[%i*10]\n"), &b, "at byte 80 is outside");
  assert_stops(ON_X("store v16i64 1, %x[0]\n"), &b, "at byte 80 is outside");
  assert_stops(ON_X("%v = load f32 %x[%i*4611686018427387904 + 4611686018427387904]\n"),
               &(KBuffer){x, 0}, "its address overflows");
  assert_stops(ON_X("%v = load f32 %x[0]\n"), &(KBuffer){x, 0}, "is outside its 0 bytes");
  assert_stops(ON_X("%k = add %i, -9223372036854775807\n%v = load f32 %x[%k*4]\n"), &b,
               "its address overflows");
  assert_stops(ON_X("%d = sub %i, 2\n%v = div %S, %d\n"), &b, "divisor -2 (expected > 0)");
  assert_stops(ON_X("%d = sub %i, 2\n%v = rem %d, %S\n"), &b, "dividend -2 (expected >= 0)");
  assert_stops(ON_X("%d = add %i, 61\n%v = shl %S, %d\n"), &b, "shift by 64 (expected 0..63)");
}

static void test_masks(void **state) {
  (void)state;
  float x[21], y[16];
  for (int i = 0; i < 21; i++) x[i] = (float)i;
  for (int i = 0; i < 16; i++) y[i] = -1;
  /* inactive lanes neither read nor write: the last ones are outside both buffers */
  run_ok(KERNEL("%x: ptr<f32>, %y: ptr<f32>",
                "par %i in 0..1 {\n%n = iota\n%m = lt %n, 11\n%v = load v16f32 %x[0] lane=2 if %m\n"
                "store %v, %y[0]\n%k = lt %n, 5\nstore v16f32 7, %x[16] if %k\n}\n"),
         (KBuffer[]){{x, sizeof x}, {y, sizeof y}}, NULL);
  for (int i = 0; i < 16; i++) assert_true(y[i] == (i < 11 ? (float)(2 * i) : 0.0f));
  for (int i = 0; i < 21; i++) assert_true(x[i] == (i < 16 ? (float)i : 7.0f));
}

static void test_types_in_memory(void **state) {
  (void)state;
  uint8_t bytes[64];
  int64_t wide[16];
  float y[16];
  for (int i = 0; i < 64; i++) bytes[i] = (uint8_t)(i * 5 + 200);
  /* offsets count elements of the declared type, lanes those of the accessed one */
  run_ok(KERNEL("%b: ptr<i8>, %w: ptr<i64>, %y: ptr<f32>",
                "par %i in 0..1 {\n%h = load v16f16 %b[3]\n%f = cvt %h : v16f32\nstore %f, %y[0]\n"
                "%s = load v16i16 %b[1] lane=2\n%l = cvt %s : v16i64\nstore %l, %w[0]\n}\n"),
         (KBuffer[]){{bytes, 64}, {wide, sizeof wide}, {y, sizeof y}}, NULL);
  for (int i = 0; i < 16; i++) {
    uint16_t h;
    int16_t s;
    memcpy(&h, bytes + 3 + 2 * i, 2);
    memcpy(&s, bytes + 1 + 4 * i, 2);
    float want = f16_to_f32(h);
    assert_memory_equal(&y[i], &want, 4);
    assert_int_equal(wide[i], s);
  }
}

static void test_locals(void **state) {
  (void)state;
  float x[16] = {0};
  const KBuffer b = {x, sizeof x};
#define WITH_LOCAL(before, body)                                                                   \
  KERNEL("%x: ptr<f32>; %S", "local %t: ptr<f32>[20]\n" before "par %i in 0..%S {\n" body "}\n")
  assert_stops(WITH_LOCAL("", "%v = load f32 %t[0]\n"), &b, "local %t is not defined at byte 0");
  assert_stops(WITH_LOCAL("", "store v16f32 0, %t[0]\n%v = load v16f32 %t[4]\n"), &b,
               "local %t is not defined at byte 64");
  assert_stops(WITH_LOCAL("", "store f32 0, %t[%S*5]\n"), &b, "%t at byte 80 is outside");
  /* iterations are independent: what one wrote is gone for the next */
  assert_stops(WITH_LOCAL("", "%c = eq %i, 0\nif %c {\nstore f32 1, %t[3]\n}\n"
                              "%v = load f32 %t[3]\n"),
               &b, "local %t is not defined at byte 12");
  assert_stops(
      WITH_LOCAL("store f32 1, %t[3]\n", "%v = load f32 %t[3]\n%w = add %v, 1\nstore %w, %t[3]\n"),
      &b, "local %t is not defined at byte 12");
  int64_t n = 4;
  run_ok(WITH_LOCAL("store f32 5, %t[3]\n", "%v = load f32 %t[3]\nstore %v, %x[%i]\n"), &b, &n);
  assert_true(x[3] == 5.0f);
}

/* ---- loops ---------------------------------------------------------------------------------- */

static void test_loops(void **state) {
  (void)state;
  int64_t y[6], n = 10;
  run_ok(KERNEL("%y: ptr<i64>; %S",
                "par %p in 0..1 {\n"
                /* carries swapped each turn: both next values are taken before either is set */
                "%a, %b = for %i in 0..5 carry %u = i64 1, %v = i64 2 {\nyield %v, %u\n}\n"
                "store %a, %y[0]\nstore %b, %y[1]\n"
                "%s = for %i in 3..%S step 4 carry %t = i64 0 {\n%w = add %t, %i\nyield %w\n}\n"
                "store %s, %y[2]\n"
                "%e = for %i in 5..5 carry %t = i64 9 {\nyield i64 0\n}\nstore %e, %y[3]\n"
                "%f = for %i in 0..3 carry %t = i64 0 {\n"
                "%g = for %j in 0..%i carry %k = %t {\n%l = add %k, 1\nyield %l\n}\nyield %g\n}\n"
                "store %f, %y[4]\n"
                "%c = gt %S, 9\n%q = if %c {\nyield %S\n} else {\nyield i64 0\n}\nstore %q, %y[5]\n"
                "}\n"),
         &(KBuffer){y, sizeof y}, &n);
  assert_int_equal(y[0], 2);
  assert_int_equal(y[1], 1);
  assert_int_equal(y[2], 3 + 7);
  assert_int_equal(y[3], 9);
  assert_int_equal(y[4], 3);
  assert_int_equal(y[5], 10);
}

static void test_part_of_par(void **state) {
  (void)state;
  Arena *a = arena_new();
  Diag *d = diag_new();
  int64_t y[8] = {0}, n = 8;
  Kernel *k = parse(a, KERNEL("%y: ptr<i64>; %S", "par %i in 0..%S {\nstore %i, %y[%i]\n}\n"));
  assert_int_equal(kernel_eval(k, &(KBuffer){y, sizeof y}, &n, 3, 5, d), OK);
  for (int i = 0; i < 8; i++) assert_int_equal(y[i], i == 3 || i == 4 ? i : 0);
  assert_int_equal(kernel_eval(k, &(KBuffer){y, sizeof y}, &n, 7, 100, d), OK);
  assert_int_equal(y[7], 7); /* never beyond the extent */
  diag_free(d);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_operations),
      cmocka_unit_test(test_reductions),
      cmocka_unit_test(test_dot4),
      cmocka_unit_test(test_dot2),
      cmocka_unit_test(test_mma),
      cmocka_unit_test(test_lookup),
      cmocka_unit_test(test_zip),
      cmocka_unit_test(test_lanes),
      cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_masks),
      cmocka_unit_test(test_types_in_memory),
      cmocka_unit_test(test_locals),
      cmocka_unit_test(test_loops),
      cmocka_unit_test(test_part_of_par),

  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
