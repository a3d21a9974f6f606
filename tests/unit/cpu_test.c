/* The cpu backend against the evaluator of Kernel IR, bit for bit, on every ISA level of this
 * machine (cpu_test) or of an emulated one (cpu_arm_test).
 *
 * Kernels are written as text: one for every operation, type and width from a table, and by hand
 * for memory and control. They are compiled to an object and called through `ingot_model`
 * (cpu_machine.h), so that the tables are tested along.
 */
#include "tests/unit/cpu_machine.h"

#include <math.h>

enum { ROWS = 64, LANES = 16, COUNT_OF = ROWS * LANES, BUFFERS = CALL_BUFFERS };
enum { BYTES = COUNT_OF * 8 };
_Static_assert((int)BYTES == CALL_BYTES, "buffers of the other machine are as large");

/* ---- data --------------------------------------------------------------------------------------
 */

static uint64_t random_state;
static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

typedef enum DataKind {
  ANY,
  SMALL_FLOAT,
  SHIFT,
  DIVISOR,
  DIVIDEND,
  CODE4,
  CODE5,
  CODE6,
  CODE7,
  CODE8
} DataKind;

static float edge_float(uint64_t r) {
  static const float edges[] = {
      0.0f,     -0.0f,     1.0f,     -1.0f,       0.5f,         -0.5f,    1.5f,
      2.5f,     -2.5f,     1e-45f,   -1e-45f,     1e-38f,       3e38f,    -3e38f,
      INFINITY, -INFINITY, NAN,      16777216.0f, 8388607.5f,   65504.0f, 65520.0f,
      6e-8f,    3e-8f,     0x1p-14f, 1.00390625f, 1.001953125f, 127.0f,   -128.0f};
  if (r % 3 == 0) return edges[(r >> 8) % COUNT(edges)];
  if (r % 3 == 1) return (float)((double)(int64_t)(r >> 8 << 8) * 0x1p-58);
  uint32_t bits = (uint32_t)(r >> 16);
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static uint64_t edge_int(uint64_t r, unsigned bits) {
  static const uint64_t edges[] = {0,
                                   1,
                                   2,
                                   UINT64_MAX,
                                   0x7f,
                                   0x80,
                                   0x7fff,
                                   0x8000,
                                   0x7fffffff,
                                   0x80000000,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   0xff,
                                   0xffff,
                                   0xffffffff};
  if (r % 3 == 0) return edges[(r >> 8) % COUNT(edges)];
  if (r % 3 == 1) return UINT64_C(1) << (bits - 1 - (r >> 8) % 2);
  return r >> 3;
}

static uint64_t make_value(KScalar s, DataKind kind) {
  uint64_t r = next_random(), v = 0;
  unsigned bits = 8 * (unsigned)kscalar_size(s);
  float f = edge_float(r);
  if (kind == SMALL_FLOAT)
    f = (float)((double)(int64_t)(r & 0xffffffffff) * 0x1p-9 - 0x1p30) * (r >> 62 ? 0.99f : 1e-6f);
  switch (kind) {
  case SHIFT: return r % bits;
  case DIVISOR: v = edge_int(r, bits) & (UINT64_MAX >> (65 - bits)); return v ? v : 1;
  case DIVIDEND: return edge_int(r, bits) & (UINT64_MAX >> (65 - bits));
  case CODE4:
  case CODE5:
  case CODE6:
  case CODE7:
  case CODE8: return r & UINT64_C(0x01010101) * ((1u << (4 + kind - CODE4)) - 1);
  default: break;
  }
  if (s == K_f32)
    memcpy(&v, &f, 4);
  else if (s == K_f16)
    v = r % 4 ? f32_to_f16(f) : r & 0xffff;
  else if (s == K_bf16)
    v = r % 4 ? f32_to_bf16(f) : r & 0xffff;
  else
    v = edge_int(r, bits);
  return v;
}

static void fill(uint8_t *data, KScalar s, DataKind kind) {
  size_t size = kscalar_size(s);
  for (size_t i = 0; i + size <= BYTES; i += size) {
    uint64_t v = make_value(s, kind);
    memcpy(data + i, &v, size);
  }
}

/* ---- running a kernel both ways
 * ------------------------------------------------------------------ */

static bool both_nan(KScalar s, const uint8_t *x, const uint8_t *y) {
  uint16_t hx, hy;
  float fx, fy;
  memcpy(&hx, x, 2);
  memcpy(&hy, y, 2);
  if (s == K_f16) return isnan(f16_to_f32(hx)) && isnan(f16_to_f32(hy));
  if (s == K_bf16) return isnan(bf16_to_f32(hx)) && isnan(bf16_to_f32(hy));
  if (s != K_f32) return false;
  memcpy(&fx, x, 4);
  memcpy(&fy, y, 4);
  return isnan(fx) && isnan(fy);
}

static void compare(const Kernel *k, const char *level, uint32_t buffer, const uint8_t *got,
                    const uint8_t *want) {
  KScalar s = (KScalar)k->values[k->buffers[buffer]].type.scalar;
  size_t size = kscalar_size(s);
  for (size_t i = 0; i + size <= BYTES; i += size)
    if (memcmp(got + i, want + i, size) && !both_nan(s, got + i, want + i))
      fail_msg("%s at %s: element %zu of buffer %u is %02x%02x%02x%02x, expected %02x%02x%02x%02x",
               k->name, level, i / size, buffer, got[i + size - 1],
               size > 1 ? got[i + size - 2] : 0, size > 2 ? got[i + 1] : 0, got[i],
               want[i + size - 1], size > 1 ? want[i + size - 2] : 0, size > 2 ? want[i + 1] : 0,
               want[i]);
}

/* Rows lo..hi of the par loop, on equal data. */
static void check_kernel(const Kernel *k, const Machine *m, CallHead call, const char *level,
                         const DataKind *kinds) {
  static uint8_t want[BUFFERS][BYTES], got[BUFFERS][BYTES];
  KBuffer buffers[BUFFERS];
  Diag *d = diag_new();
  random_state = 88172645463325252u;
  for (uint32_t i = 0; i < k->nbuffers; i++) {
    fill(want[i], (KScalar)k->values[k->buffers[i]].type.scalar, kinds[i]);
    memcpy(got[i], want[i], BYTES);
    buffers[i] = (KBuffer){want[i], BYTES};
  }
  if (kernel_eval(k, buffers, call.scalars, call.lo, call.hi, d) != OK)
    fail_msg("%s", diag_text(d));
  machine_call(m, call, got);
  for (uint32_t i = 0; i < k->nbuffers; i++) compare(k, level, i, got[i], want[i]);
  diag_free(d);
}

typedef DataKind KernelData[BUFFERS];

static void check_all(const char *text, const KernelData *data, const char *name) {
  Arena *a = arena_new();
  Module *m = module_new("test");
  KProgram *p = program_of(a, m, text);
  Machine machine = machine_open(a, p, name);
  Levels levels = levels_of(p);
  static const KernelData any;
  static const int64_t rows[][2] = {{0, ROWS}, {7, 20}, {9, 9}};
  for (uint32_t l = 0; l < levels.n; l++)
    for (uint32_t i = 0; i < p->nkernels; i++)
      for (size_t r = 0; r < COUNT(rows); r++) {
        CallHead call = {l, i, p->kernels[i]->nbuffers, 0, rows[r][0], rows[r][1], {ROWS, 5}};
        const DataKind *kinds = data ? data[i] : any;
        check_kernel(p->kernels[i], &machine, call, levels.target[l]->name, kinds);
      }
  machine_close(&machine);
  module_free(m);
  arena_free(a);
}

/* ---- every operation
 * ----------------------------------------------------------------------------- */

typedef struct OpTests {
  Buf text;
  KernelData data[1024];
  uint32_t n;
} OpTests;

/* One kernel: out[i] = op of args of type `from`. `tail` follows the operands; one that ends in ":"
 * is completed by the result's type. `result` is the buffer's element; i1 is widened. */
static void add_test(OpTests *t, int lanes, const char *op, int nargs, const char *from,
                     const char *tail, const char *result, const DataKind data[3]) {
  static const char names[] = "abc";
  const char *v = lanes == 16 ? "v16" : "";
  bool compares = !strcmp(result, "i1");
  bool reduces = !strncmp(op, "reduce", 6);
  buf_printf(&t->text, "kernel @%s.%s%s.%u(", op, v, from, t->n);
  for (int i = 0; i < nargs; i++) buf_printf(&t->text, "%%%c: ptr<%s>, ", names[i], from);
  buf_printf(&t->text, "%%out: ptr<%s>; %%n) class map {\n  par %%i in 0..%%n {\n",
             compares ? "i32" : result);
  for (int i = 0; i < nargs; i++)
    buf_printf(&t->text, "    %%x%d = load %s%s %%%c[%%i*%d]\n", i, v, from, names[i], lanes);
  buf_printf(&t->text, "    %%r = %s", op);
  for (int i = 0; i < nargs; i++) buf_printf(&t->text, "%s%%x%d", i ? ", " : " ", i);
  if (strchr(tail, ':'))
    buf_printf(&t->text, "%s %s%s\n", tail, v, result);
  else
    buf_printf(&t->text, "%s\n", tail);
  if (compares) buf_printf(&t->text, "    %%w = cvtu %%r : %si32\n", v);
  buf_printf(&t->text, "    store %%%s, %%out[%%i*%d]\n  }\n}\n", compares ? "w" : "r",
             reduces ? 1 : lanes);
  assert_true(t->n < COUNT(t->data));
  for (int i = 0; i < nargs; i++) t->data[t->n][i] = data ? data[i] : ANY;
  t->n++;
}

static void add_both(OpTests *t, const char *op, int nargs, const char *from, const char *tail,
                     const char *result, const DataKind data[3]) {
  add_test(t, 16, op, nargs, from, tail, result, data);
  add_test(t, 1, op, nargs, from, tail, result, data);
}

static const char *const integers[] = {"i8", "i16", "i32", "i64"};

static void test_floats(void **state) {
  (void)state;
  OpTests *t = calloc(1, sizeof *t);
  static const char *const one[] = {"neg", "abs", "sqrt", "floor", "rint"};
  static const char *const two[] = {"add", "sub", "mul", "div", "min", "max"};
  static const char *const comparisons[] = {"eq", "ne", "lt", "le", "gt", "ge"};
  for (size_t i = 0; i < COUNT(one); i++) add_both(t, one[i], 1, "f32", "", "f32", NULL);
  for (size_t i = 0; i < COUNT(two); i++) add_both(t, two[i], 2, "f32", "", "f32", NULL);
  for (size_t i = 0; i < COUNT(comparisons); i++)
    add_both(t, comparisons[i], 2, "f32", "", "i1", NULL);
  add_both(t, "fma", 3, "f32", "", "f32", NULL);
  add_test(t, 16, "reduce_add", 1, "f32", "", "f32", NULL);
  add_test(t, 16, "reduce_max", 1, "f32", "", "f32", NULL);
  add_test(t, 16, "reduce_min", 1, "f32", "", "f32", NULL);
  check_all(t->text.data, t->data, "floats");
  buf_free(&t->text);
  free(t);
}

static void test_integers(void **state) {
  (void)state;
  OpTests *t = calloc(1, sizeof *t);
  static const char *const one[] = {"neg", "abs"};
  static const char *const two[] = {"add", "sub", "mul", "min", "max", "and", "or", "xor"};
  static const char *const shifts[] = {"shl", "lshr", "ashr"};
  static const char *const comparisons[] = {"eq", "ne", "lt", "le", "gt", "ge"};
  static const DataKind by[3] = {ANY, SHIFT}, quotient[3] = {ANY, DIVISOR},
                        rest[3] = {DIVIDEND, DIVISOR};
  for (size_t k = 0; k < COUNT(integers); k++) {
    const char *s = integers[k];
    for (size_t i = 0; i < COUNT(one); i++) add_both(t, one[i], 1, s, "", s, NULL);
    for (size_t i = 0; i < COUNT(two); i++) add_both(t, two[i], 2, s, "", s, NULL);
    for (size_t i = 0; i < COUNT(shifts); i++) add_both(t, shifts[i], 2, s, "", s, by);
    for (size_t i = 0; i < COUNT(comparisons); i++)
      add_both(t, comparisons[i], 2, s, "", "i1", NULL);
    add_both(t, "div", 2, s, "", s, quotient);
    add_both(t, "rem", 2, s, "", s, rest);
    add_test(t, 16, "reduce_add", 1, s, "", s, NULL);
    add_test(t, 16, "reduce_max", 1, s, "", s, NULL);
    add_test(t, 16, "reduce_min", 1, s, "", s, NULL);
  }
  check_all(t->text.data, t->data, "integers");
  buf_free(&t->text);
  free(t);
}

static void test_conversions(void **state) {
  (void)state;
  OpTests *t = calloc(1, sizeof *t);
  static const DataKind small[3] = {SMALL_FLOAT};
  static const struct {
    const char *op, *from, *to;
  } floats[] = {{"cvt", "f32", "f16"},  {"cvt", "f32", "bf16"}, {"cvt", "f16", "f32"},
                {"cvt", "bf16", "f32"}, {"bits", "f32", "i32"}, {"bits", "i32", "f32"},
                {"bits", "f16", "i16"}, {"bits", "i16", "f16"}, {"bits", "bf16", "i16"},
                {"bits", "i16", "bf16"}};
  for (size_t i = 0; i < COUNT(floats); i++) {
    add_both(t, floats[i].op, 1, floats[i].from, " :", floats[i].to, NULL);
  }
  add_both(t, "cvt", 1, "f32", " :", "i32", small);
  add_both(t, "cvt", 1, "f32", " :", "i64", small);
  for (size_t i = 0; i < COUNT(integers); i++) {
    add_both(t, "cvt", 1, integers[i], " :", "f32", NULL);
    add_both(t, "cvtu", 1, integers[i], " :", "f32", NULL);
    for (size_t j = 0; j < COUNT(integers); j++) {
      if (i == j) continue;
      add_both(t, "cvt", 1, integers[i], " :", integers[j], NULL);
      if (j > i) add_both(t, "cvtu", 1, integers[i], " :", integers[j], NULL);
    }
  }
  check_all(t->text.data, t->data, "conversions");
  buf_free(&t->text);
  free(t);
}

static void test_dot4(void **state) {
  (void)state;
  OpTests *t = calloc(1, sizeof *t);
  char tail[32];
  for (int bits = 4; bits <= 8; bits++) {
    DataKind data[3] = {(DataKind)(CODE4 + bits - 4), ANY, ANY};
    snprintf(tail, sizeof tail, " bits=%d", bits);
    add_test(t, 16, "dot4", 3, "i32", tail, "i32", data);
  }
  add_test(t, 16, "dot2", 3, "i32", "", "i32", (DataKind[]){ANY, ANY, ANY});
  add_test(t, 16, "lookup", 2, "i32", "", "i32", (DataKind[]){CODE4, ANY, ANY});
  add_test(t, 16, "zip_low", 2, "i32", "", "i32", (DataKind[]){ANY, ANY, ANY});
  add_test(t, 16, "zip_high", 2, "i32", "", "i32", (DataKind[]){ANY, ANY, ANY});
  add_test(t, 16, "zip_low", 2, "f32", "", "f32", (DataKind[]){ANY, ANY, ANY});
  add_test(t, 16, "zip_high", 2, "i8", "", "i8", (DataKind[]){ANY, ANY, ANY});
  for (int bits = 4; bits <= 8; bits++) { /* chains, longer than 16-bit words can hold */
    buf_printf(&t->text,
               "kernel @chain%d(%%u: ptr<i32>, %%s: ptr<i32>, %%out: ptr<i32>; %%n) class map {\n"
               "  par %%i in 0..%%n {\n"
               "    %%a0 = load v16i32 %%out[%%i*16]\n"
               "    %%y = load v16i32 %%s[%%i*16]\n",
               bits);
    for (int i = 0; i < 11; i++)
      buf_printf(&t->text,
                 "    %%x%d = load v16i32 %%u[%%i*15 + %d]\n"
                 "    %%a%d = dot4 %%x%d, %%y, %%a%d bits=%d\n",
                 i, i, i + 1, i, i, bits);
    buf_puts(&t->text, "    %z = add %a11, %a5\n    store %z, %out[%i*16]\n  }\n}\n");
    t->data[t->n++][0] = (DataKind)(CODE4 + bits - 4);
  }
  check_all(t->text.data, t->data, "dots");
  buf_free(&t->text);
  free(t);
}

/* The sizes at which tiles are cut in every way there is: whole, part of one, several, in k too.
 * Each kernel makes two products, one on top of the other, and sums the result up by position. */
static void test_mma(void **state) {
  (void)state;
  static const struct {
    int m, n, k, m2, k2;
  } sizes[] = {{1, 1, 1, 1, 1},    {16, 1, 8, 16, 8},  {16, 1, 16, 16, 16}, {16, 2, 16, 16, 16},
               {32, 1, 8, 32, 8},  {64, 1, 8, 64, 8},  {32, 2, 32, 32, 16}, {64, 4, 16, 16, 16},
               {48, 2, 40, 48, 8}, {33, 3, 21, 33, 5}, {17, 1, 17, 9, 33},  {5, 2, 40, 5, 40},
               {16, 4, 8, 16, 8},  {64, 3, 39, 61, 37}};
  Buf text = {0};
  amx_emulate_here(); /* here, since cmocka has a handler of its own for each test */
  for (size_t i = 0; i < COUNT(sizes); i++)
    buf_printf(
        &text,
        "kernel @mma%zu(%%a: ptr<i8>, %%b: ptr<i8>, %%out: ptr<i32>; %%n, %%s) class map {\n"
        "  local %%c: ptr<i32>[4096]\n"
        "  par %%i in 0..%%n {\n"
        "    mma %%c[0], %%a[%%i*3 + 5], %%b[%%i*5 + %%s] m=%d n=%d k=%d row=90 group=1031\n"
        "    for %%j in 0..2 {\n"
        "      mma %%c[0], %%a[%%i + %%j*11], %%b[%%j*64] m=%d n=%d k=%d row=64 group=960 add\n"
        "    }\n"
        "    %%r = for %%j in 0..%d carry %%x = v16i32 0 {\n"
        "      %%v = load v16i32 %%c[%%j*16]\n"
        "      %%y = mul %%x, 40503\n"
        "      %%z = add %%y, %%v\n"
        "      yield %%z\n"
        "    }\n"
        "    store %%r, %%out[%%i*16]\n"
        "  }\n}\n",
        i, sizes[i].m, sizes[i].n, sizes[i].k, sizes[i].m2, sizes[i].n, sizes[i].k2,
        sizes[i].m * sizes[i].n);
  /* the same b twice; then another; then the same place with something else in it */
  buf_puts(&text, "kernel @mma_b(%a: ptr<i8>, %b: ptr<i8>, %out: ptr<i32>; %n) class map {\n"
                  "  local %c: ptr<i32>[1024]\n"
                  "  local %p: ptr<i8>[1024]\n"
                  "  par %i in 0..%n {\n"
                  "    for %j in 0..8 {\n"
                  "      %v = load v16i32 %b[%j*64 + %i]\n"
                  "      store %v, %p[%j*64]\n"
                  "      store %v, %p[%j*64 + 512]\n"
                  "    }\n"
                  "    mma %c[0], %a[0], %p[0] m=16 n=1 k=8 row=64 group=0\n"
                  "    mma %c[256], %a[32], %p[0] m=16 n=1 k=8 row=64 group=0\n"
                  "    mma %c[512], %a[32], %p[64] m=16 n=1 k=8 row=64 group=0\n"
                  "    store i32 7, %p[100]\n"
                  "    mma %c[512], %a[7], %p[64] m=16 n=1 k=8 row=64 group=0 add\n"
                  "    for %j in 0..2 unroll {\n"
                  "      mma %c[768], %a[0], %p[%j*64] m=16 n=1 k=8 row=64 group=0\n"
                  "    }\n"
                  "    %r = for %j in 0..64 carry %x = v16i32 0 {\n"
                  "      %v = load v16i32 %c[%j*16]\n"
                  "      %y = mul %x, 40503\n"
                  "      %z = add %y, %v\n"
                  "      yield %z\n"
                  "    }\n"
                  "    store %r, %out[%i*16]\n"
                  "  }\n}\n");
  check_all(text.data, NULL, "tiles");
  buf_free(&text);
}

/* ---- memory and control
 * -------------------------------------------------------------------------- */

static void test_memory(void **state) {
  (void)state;
  static const char *const types[] = {"i8", "i16", "i32", "i64", "f16", "bf16", "f32"};
  Buf text = {0};
  for (size_t i = 0; i < COUNT(types); i++) {
    const char *s = types[i];
    buf_printf(&text,
               "kernel @masked.%s(%%a: ptr<%s>, %%m: ptr<i32>, %%out: ptr<%s>; %%n) class map {\n"
               "  par %%i in 0..%%n {\n"
               "    %%w = load v16i32 %%m[%%i*16]\n"
               "    %%t = lt %%w, 0\n"
               "    %%x = load v16%s %%a[%%i*16] if %%t\n"
               "    store %%x, %%out[%%i*16]\n"
               "    %%y = load v16%s %%a[%%i*15 + 3]\n"
               "    %%u = gt %%w, 1\n"
               "    store %%y, %%out[%%i*16] if %%u\n"
               "  }\n}\n",
               s, s, s, s, s);
    for (int lane = 2; lane <= 7; lane += 5)
      buf_printf(
          &text,
          "kernel @strided%d.%s(%%a: ptr<%s>, %%m: ptr<i32>, %%out: ptr<%s>; %%n) class map {\n"
          "  par %%i in 0..%%n {\n"
          "    %%w = load v16i32 %%m[%%i*16]\n"
          "    %%t = lt %%w, 0\n"
          "    %%x = load v16%s %%a[%%i*5 + 11] lane=%d\n"
          "    %%y = load v16%s %%a[%%i] lane=%d if %%t\n"
          "    %%z = select %%t, %%y, %%x\n"
          "    store %%z, %%out[%%i] lane=%d\n"
          "    store %%x, %%out[%%i*3 + 1] lane=%d if %%t\n"
          "  }\n}\n",
          lane, s, s, s, s, lane, s, lane, lane, lane);
  }
  buf_puts(&text, "kernel @mixed(%a: ptr<i8>, %out: ptr<f32>; %n) class map {\n"
                  "  local %t: ptr<f32>[64]\n"
                  "  local %u: ptr<i8>[32]\n"
                  "  par %i in 0..%n {\n"
                  "    %w = load v16f16 %a[%i*32 + 1]\n"
                  "    %x = cvt %w : v16f32\n"
                  "    for %j in 0..4 {\n"
                  "      store %x, %t[%j*16]\n"
                  "    }\n"
                  "    prefetch %a[%i*32 + 100000]\n"
                  "    %y = load v16f32 %t[3] lane=4\n"
                  "    store %y, %out[%i*16]\n"
                  "    %one = load i8 %a[%i]\n"
                  "    store %one, %u[5]\n"
                  "    %two = load i8 %u[5]\n"
                  "    %f = cvtu %two : f32\n"
                  "    store %f, %out[%i*16 + 7]\n"
                  "  }\n}\n");
  check_all(text.data, NULL, "memory");
  buf_free(&text);
}

static const char control_text[] =
    "kernel @loops(%a: ptr<i32>, %out: ptr<i32>; %n, %m) class map {\n"
    "  %zero = const v16i32 0\n"
    "  par %i in 0..%n {\n"
    "    %s, %p = for %j in 0..%m step 2 carry %x = %zero, %y = %zero {\n"
    "      %v = load v16i32 %a[%i*16 + %j]\n"
    "      %k = for %l in %j..%m carry %z = %v {\n"
    "        %q = add %z, %x\n"
    "        yield %q\n"
    "      }\n"
    "      yield %y, %k\n" /* carries swap */
    "    }\n"
    "    %r = sub %s, %p\n"
    "    store %r, %out[%i*16]\n"
    "  }\n"
    "}\n"
    "kernel @unrolled(%a: ptr<i32>, %out: ptr<i32>; %n) class map {\n"
    "  %zero = const v16i32 0\n"
    "  par %i in 0..%n {\n"
    "    %s, %p = for %j in 1..8 step 3 carry %x = %zero, %y = %zero unroll {\n"
    "      %v = load v16i32 %a[%i*16 + %j]\n"
    "      %k = for %l in 0..2 carry %z = %v unroll {\n"
    "        %d = load v16i32 %a[%i*16 + %j*2 + %l*3]\n"
    "        %q = add %z, %d\n"
    "        yield %q\n"
    "      }\n"
    "      %w = sub %k, %x\n"
    "      yield %y, %w\n"
    "    }\n"
    "    %r = xor %s, %p\n"
    "    store %r, %out[%i*16]\n"
    "    %e = for %j in 5..5 carry %x = %r unroll {\n"
    "      yield %zero\n"
    "    }\n"
    "    store %e, %out[%i*16]\n"
    "  }\n"
    "}\n"
    "kernel @branches(%a: ptr<i32>, %out: ptr<i32>; %n, %m) class map {\n"
    "  par %i in 0..%n {\n"
    "    %v = load i32 %a[%i]\n"
    "    %c = lt %v, 0\n"
    "    %r = if %c {\n"
    "      %b = gt %i, %m\n"
    "      %t = if %b {\n"
    "        %x = add %v, 1\n"
    "        yield %x\n"
    "      } else {\n"
    "        yield %v\n"
    "      }\n"
    "      yield %t\n"
    "    } else {\n"
    "      %x = sub %v, 1\n"
    "      store %x, %out[%i*2 + 1]\n"
    "      yield %x\n"
    "    }\n"
    "    store %r, %out[%i*2]\n"
    "  }\n"
    "}\n"
    "kernel @lanes(%a: ptr<i32>, %out: ptr<i32>; %n) class map {\n"
    "  par %i in 0..%n {\n"
    "    %v = load v16i32 %a[%i*16]\n"
    "    %l = iota\n"
    "    %x = extract %v, 9\n"
    "    %s = splat %x : v16i32\n"
    "    %m = lt %l, %s\n"
    "    %o = ge %v, %l\n"
    "    %b = xor %m, %o\n"
    "    %r = select %b, %s, %v\n"
    "    store %r, %out[%i*16]\n"
    "  }\n"
    "}\n";

static void test_control(void **state) {
  (void)state;
  check_all(control_text, NULL, "control");
}

/* No call leaves the object but for those that the runtime has. */
static void test_no_library_calls(void **state) {
  (void)state;
  Arena *a = arena_new();
  static const char *const objects[] = {"floats", "integers", "conversions",
                                        "dots",   "memory",   "control"};
  for (size_t i = 0; i < COUNT(objects); i++)
    assert_int_equal(run("test -s %s", in_folder(a, objects[i])), 0);
  for (size_t i = 0; i < COUNT(objects); i++)
    assert_int_equal(run("readelf -sW %s | awk '$7 == \"UND\" && NF > 7 {print $8}' | "
                         "grep -Ev '^(memcpy|memset|memmove)$'",
                         in_folder(a, objects[i])),
                     1);
  arena_free(a);
}

static void test_levels(void **state) {
  (void)state;
  size_t n;
  const CpuTarget *all = cpu_targets(&n);
  for (size_t i = 0; i < n; i++) {
    assert_ptr_equal(cpu_target(all[i].name), &all[i]);
    assert_string_equal(all[i].lower.name, all[i].name);
    if (i) assert_true(all[i].isa > all[i - 1].isa);
  }
  assert_null(cpu_target("x86-64-v9"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_floats),      cmocka_unit_test(test_integers),
      cmocka_unit_test(test_conversions), cmocka_unit_test(test_dot4),
      cmocka_unit_test(test_mma),         cmocka_unit_test(test_memory),
      cmocka_unit_test(test_control),     cmocka_unit_test(test_no_library_calls),
      cmocka_unit_test(test_levels),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
