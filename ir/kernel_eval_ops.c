/* Arithmetic of the Kernel IR evaluator: one handler for each op and lane representation.
 *
 * These are the definitions that every backend is held to. Floats are IEEE f32 with one rounding an
 * operation (the build has -ffp-contract=off); integers wrap through unsigned arithmetic. exp, log,
 * tanh, erf, gelu, sin and cos, which no backend sees, are the C library's in double, rounded once.
 * Convention: `narrow` brings i8 and i16 results back to their width after 32-bit arithmetic.
 */
#include "ir/kernel_eval.h"

#include <math.h>
#include <string.h>

/* fma, floor and rint are library calls on the baseline machine: a second copy for newer ones. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define CLONED __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define CLONED
#endif

#define EACH(...)                                                                                  \
  do {                                                                                             \
    if (s->lanes == 1) {                                                                           \
      enum { n = 0 };                                                                              \
      __VA_ARGS__;                                                                                 \
    } else {                                                                                       \
      for (int n = 0; n < 16; n++) __VA_ARGS__;                                                    \
    }                                                                                              \
  } while (0)
/* A handler whose lanes are `out` = expr of x, y, z. */
#define HANDLER(name, out_field, in_field, T, expr)                                                \
  static bool name(KEval *e, const KStep *s) {                                                     \
    (void)e;                                                                                       \
    const KReg *a = s->a, *b = s->b ? s->b : a, *c = s->c ? s->c : a;                              \
    KReg *r = s->out;                                                                              \
    EACH({                                                                                         \
      T x = (T)a->in_field[n], y = (T)b->in_field[n], z = (T)c->in_field[n];                       \
      (void)y, (void)z;                                                                            \
      r->out_field[n] = expr;                                                                      \
    });                                                                                            \
    return true;                                                                                   \
  }
#define FLOATS(name, expr) HANDLER(name##_f, f, f, float, expr)
#define INTS(name, expr)                                                                           \
  HANDLER(name##_i, i, i, int32_t, expr)                                                           \
  HANDLER(name##_l, l, l, int64_t, expr)
/* Arithmetic that may leave the width: computed unsigned, then narrowed. */
#define WRAPS(name, expr)                                                                          \
  HANDLER(name##_wide, i, i, uint32_t, (int32_t)(expr))                                            \
  static bool name##_i(KEval *e, const KStep *s) {                                                 \
    return name##_wide(e, s) && narrow(s);                                                         \
  }                                                                                                \
  HANDLER(name##_l, l, l, uint64_t, (int64_t)(expr))
#define COMPARES(name, op)                                                                         \
  HANDLER(name##_f, i, f, float, x op y)                                                           \
  HANDLER(name##_i, i, i, int32_t, x op y)                                                         \
  HANDLER(name##_l, i, l, int64_t, x op y)

static int32_t narrow_lane(int32_t x, int bits) {
  return bits == 8 ? (int8_t)x : bits == 16 ? (int16_t)x : x;
}

static bool narrow(const KStep *s) {
  if (s->bits < 32) EACH(s->out->i[n] = narrow_lane(s->out->i[n], s->bits));
  return true;
}

/* x times the normal distribution's function, which is 0 in a double below -39. */
static double exact_gelu(double x) {
  return x < -40 ? 0 : x * erfc(x * -M_SQRT1_2) / 2;
}

FLOATS(add, x + y)
FLOATS(sub, x - y)
FLOATS(mul, (x * y))
FLOATS(div, x / y)
FLOATS(min, x < y ? x : y)
FLOATS(max, x > y ? x : y)
FLOATS(neg, -x)
FLOATS(abs, fabsf(x))
FLOATS(sqrt, sqrtf(x))
CLONED FLOATS(fma, fmaf(x, y, z)) CLONED FLOATS(floor, floorf(x)) CLONED FLOATS(rint, rintf(x))
    FLOATS(exp, (float)exp((double)x)) FLOATS(log, (float)log((double)x))
        FLOATS(tanh, (float)tanh((double)x)) FLOATS(erf, (float)erf((double)x))
            FLOATS(gelu, (float)exact_gelu((double)x)) FLOATS(sin, (float)sin((double)x))
                FLOATS(cos, (float)cos((double)x)) WRAPS(add, x + y) WRAPS(sub, x - y)
                    WRAPS(mul, (x * y)) WRAPS(neg, 0 - x) INTS(min, x < y ? x : y)
                        INTS(max, x > y ? x : y) INTS(and, (x & y)) INTS(or, x | y) INTS(xor, x ^ y)
                            COMPARES(eq, ==) COMPARES(ne, !=) COMPARES(lt, <) COMPARES(le, <=)
                                COMPARES(gt, >) COMPARES(ge, >=)

    /* |INT_MIN| wraps to itself. */
    WRAPS(abs, x >> (sizeof x * 8 - 1) ? 0 - x : x)

    /* ---- ops with conditions on their operands
       ------------------------------------------------------ */

    static bool check_division(KEval *e, const KStep *s, bool wide) {
  bool rem = s->inst->op == KOP_rem;
  EACH({
    int64_t x = wide ? s->a->l[n] : s->a->i[n];
    int64_t y = wide ? s->b->l[n] : s->b->i[n];
    if (y <= 0) return keval_error(e, s, "divisor %lld (expected > 0)", (long long)y);
    if (rem && x < 0) return keval_error(e, s, "dividend %lld (expected >= 0)", (long long)x);
  });
  return true;
}

INTS(quotient, x / y)
INTS(remainder, x % y)

static bool div_i(KEval *e, const KStep *s) {
  return check_division(e, s, false) && quotient_i(e, s);
}
static bool div_l(KEval *e, const KStep *s) {
  return check_division(e, s, true) && quotient_l(e, s);
}
static bool rem_i(KEval *e, const KStep *s) {
  return check_division(e, s, false) && remainder_i(e, s);
}
static bool rem_l(KEval *e, const KStep *s) {
  return check_division(e, s, true) && remainder_l(e, s);
}

static bool shift(KEval *e, const KStep *s) {
  KOpCode op = s->inst->op;
  bool wide = s->bits == 64;
  uint64_t mask = wide ? UINT64_MAX : (UINT64_C(1) << s->bits) - 1;
  EACH({
    int64_t x = wide ? s->a->l[n] : s->a->i[n];
    int64_t by = wide ? s->b->l[n] : s->b->i[n];
    if (by < 0 || by >= s->bits)
      return keval_error(e, s, "shift by %lld (expected 0..%d)", (long long)by, s->bits - 1);
    int64_t y = op == KOP_ashr   ? x >> by
                : op == KOP_lshr ? (int64_t)(((uint64_t)x & mask) >> by)
                                 : (int64_t)((uint64_t)x << by);
    if (wide)
      s->out->l[n] = y;
    else
      s->out->i[n] = narrow_lane((int32_t)y, s->bits);
  });
  return true;
}

/* ---- select, dot, reductions, lanes --------------------------------------------------------- */

static bool select_4(KEval *e, const KStep *s) { /* lanes of 4 bytes: f32 and narrow integers */
  (void)e;
  EACH(s->out->i[n] = s->a->i[n] ? s->b->i[n] : s->c->i[n]);
  return true;
}

static bool select_8(KEval *e, const KStep *s) {
  (void)e;
  EACH(s->out->l[n] = s->a->i[n] ? s->b->l[n] : s->c->l[n]);
  return true;
}

static bool dot4(KEval *e, const KStep *s) {
  uint32_t beyond = 0x01010101u * (0xffu & ~((1u << s->inst->imm.i) - 1)), stray = 0;
  for (int n = 0; n < 16; n++) stray |= (uint32_t)s->a->i[n] & beyond;
  if (stray) return keval_error(e, s, "a code has more than %d bits", (int)s->inst->imm.i);
  for (int n = 0; n < 16; n++) {
    uint32_t u = (uint32_t)s->a->i[n], v = (uint32_t)s->b->i[n];
    int32_t dot = (int32_t)(u & 255) * (int8_t)v + (int32_t)(u >> 8 & 255) * (int8_t)(v >> 8) +
                  (int32_t)(u >> 16 & 255) * (int8_t)(v >> 16) +
                  (int32_t)(u >> 24) * (int8_t)(v >> 24);
    s->out->i[n] = (int32_t)((uint32_t)s->c->i[n] + (uint32_t)dot);
  }
  return true;
}

static bool dot2(KEval *e, const KStep *s) {
  (void)e;
  for (int n = 0; n < 16; n++) {
    uint32_t u = (uint32_t)s->a->i[n], v = (uint32_t)s->b->i[n];
    int32_t low = (int16_t)u * (int16_t)v, high = (int16_t)(u >> 16) * (int16_t)(v >> 16);
    s->out->i[n] = (int32_t)((uint32_t)s->c->i[n] + (uint32_t)low + (uint32_t)high);
  }
  return true;
}

static bool lookup(KEval *e, const KStep *s) {
  for (int n = 0; n < 16; n++) {
    uint32_t codes = (uint32_t)s->a->i[n], y = 0;
    if (codes & 0xf0f0f0f0u) return keval_error(e, s, "a code has more than 4 bits");
    for (int byte = 0; byte < 4; byte++) {
      uint32_t code = codes >> (8 * byte) & 15;
      uint32_t word = (uint32_t)s->b->i[n / 4 * 4 + (int)(code / 4)];
      y |= (word >> (8 * (code % 4)) & 255) << (8 * byte);
    }
    s->out->i[n] = (int32_t)y;
  }
  return true;
}

/* Lanes i and i + 8, then i + 4, i + 2, i + 1: the one order of every reduction. */
#define REDUCE(name, field, T, expr)                                                               \
  static bool name(KEval *e, const KStep *s) {                                                     \
    (void)e;                                                                                       \
    T t[16];                                                                                       \
    for (int n = 0; n < 16; n++) t[n] = (T)s->a->field[n];                                         \
    for (int half = 8; half; half /= 2) {                                                          \
      for (int n = 0; n < half; n++) {                                                             \
        T x = t[n], y = t[n + half];                                                               \
        t[n] = (T)(expr);                                                                          \
      }                                                                                            \
    }                                                                                              \
    s->out->field[0] = t[0];                                                                       \
    return true;                                                                                   \
  }
REDUCE(reduce_add_f, f, float, x + y)
REDUCE(reduce_max_f, f, float, x > y ? x : y)
REDUCE(reduce_min_f, f, float, x < y ? x : y)
REDUCE(reduce_add_wide, i, uint32_t, x + y)
REDUCE(reduce_max_i, i, int32_t, x > y ? x : y)
REDUCE(reduce_min_i, i, int32_t, x < y ? x : y)
REDUCE(reduce_add_l, l, uint64_t, x + y)
REDUCE(reduce_max_l, l, int64_t, x > y ? x : y)
REDUCE(reduce_min_l, l, int64_t, x < y ? x : y)

static bool reduce_add_i(KEval *e, const KStep *s) {
  reduce_add_wide(e, s);
  s->out->i[0] = narrow_lane(s->out->i[0], s->bits);
  return true;
}

static bool iota(KEval *e, const KStep *s) {
  (void)e;
  for (int n = 0; n < 16; n++) s->out->i[n] = n;
  return true;
}

static bool splat(KEval *e, const KStep *s) {
  (void)e;
  for (int n = 0; n < 16; n++) {
    if (s->bits == 64)
      s->out->l[n] = s->a->l[0];
    else
      s->out->i[n] = s->a->i[0];
  }
  return true;
}

static bool extract(KEval *e, const KStep *s) {
  (void)e;
  if (s->bits == 64)
    s->out->l[0] = s->a->l[s->inst->imm.i];
  else
    s->out->i[0] = s->a->i[s->inst->imm.i];
  return true;
}

static bool zip(KEval *e, const KStep *s) {
  (void)e;
  int first = s->inst->op == KOP_zip_high ? 8 : 0;
  for (int n = 0; n < 16; n++) {
    const KReg *from = n % 2 ? s->b : s->a;
    if (s->bits == 64)
      s->out->l[n] = from->l[first + n / 2];
    else
      s->out->i[n] = from->i[first + n / 2];
  }
  return true;
}

static bool bits(KEval *e, const KStep *s) {
  (void)e;
  *s->out = *s->a;
  return true;
}

/* ---- conversions ---------------------------------------------------------------------------- */

/* A float beyond the integer's range gives the smallest integer; kernels must not depend on it. */
static int64_t float_to_int(float x, int width) {
  float limit = width == 64 ? 0x1p63f : 0x1p31f;
  if (x > -limit && x < limit) return (int64_t)x;
  return width == 64 ? INT64_MIN : INT32_MIN;
}

/* One lane from any representation to any other. */
static void convert_lane(const KStep *s, KScalar from, KScalar to, int n) {
  bool wide = from == K_i64;
  int width = kscalar_bits(from);
  if (from == K_f32) {
    float x = s->a->f[n];
    if (to == K_f16)
      s->out->i[n] = (int16_t)f32_to_f16(x);
    else if (to == K_bf16)
      s->out->i[n] = (int16_t)f32_to_bf16(x);
    else if (to == K_i64)
      s->out->l[n] = float_to_int(x, 64);
    else
      s->out->i[n] = (int32_t)float_to_int(x, 32);
    return;
  }
  int64_t x = wide ? s->a->l[n] : s->a->i[n];
  if (from == K_f16)
    s->out->f[n] = f16_to_f32((uint16_t)x);
  else if (from == K_bf16)
    s->out->f[n] = bf16_to_f32((uint16_t)x);
  else if (s->inst->op == KOP_cvtu) {
    uint64_t u = wide ? (uint64_t)x : (uint64_t)x & ((UINT64_C(1) << width) - 1);
    if (to == K_f32)
      s->out->f[n] = (float)u;
    else if (to == K_i64)
      s->out->l[n] = (int64_t)u;
    else
      s->out->i[n] = narrow_lane((int32_t)u, kscalar_bits(to));
  } else if (to == K_f32)
    s->out->f[n] = (float)x;
  else if (to == K_i64)
    s->out->l[n] = x;
  else
    s->out->i[n] = narrow_lane((int32_t)x, kscalar_bits(to));
}

static bool convert(KEval *e, const KStep *s) {
  (void)e;
  KScalar from = (KScalar)s->from, to = (KScalar)s->inst->type.scalar;
  EACH(convert_lane(s, from, to, n));
  return true;
}

/* The conversions that contractions are made of, without convert_lane's choices. */
HANDLER(i32_to_f32, f, i, int32_t, (float)x)
HANDLER(i8_to_i32, i, i, int32_t, x)
HANDLER(u8_to_i32, i, i, int32_t, x & 255)

static KRun *convert_op(KOpCode op, KScalar from, KScalar to) {
  if (op == KOP_cvt && from == K_i32 && to == K_f32) return i32_to_f32;
  if (from == K_i8 && to == K_i32) return op == KOP_cvt ? i8_to_i32 : u8_to_i32;
  return convert;
}

/* ---- choice --------------------------------------------------------------------------------- */

#define ALL(name) {name##_f, name##_i, name##_l}
#define FLOAT(name) {name##_f, NULL, NULL}
#define INT(name) {NULL, name##_i, name##_l}
#define ONE(name) {name, name, name}
static const struct {
  KRun *f, *i, *l;
} handlers[KOP_COUNT] = {
    [KOP_iota] = ONE(iota),
    [KOP_splat] = ONE(splat),
    [KOP_extract] = ONE(extract),
    [KOP_add] = ALL(add),
    [KOP_sub] = ALL(sub),
    [KOP_mul] = ALL(mul),
    [KOP_div] = ALL(div),
    [KOP_rem] = INT(rem),
    [KOP_fma] = FLOAT(fma),
    [KOP_min] = ALL(min),
    [KOP_max] = ALL(max),
    [KOP_neg] = ALL(neg),
    [KOP_abs] = ALL(abs),
    [KOP_sqrt] = FLOAT(sqrt),
    [KOP_floor] = FLOAT(floor),
    [KOP_rint] = FLOAT(rint),
    [KOP_and] = INT(and),
    [KOP_or] = INT(or),
    [KOP_xor] = INT(xor),
    [KOP_shl] = ONE(shift),
    [KOP_lshr] = ONE(shift),
    [KOP_ashr] = ONE(shift),
    [KOP_eq] = ALL(eq),
    [KOP_ne] = ALL(ne),
    [KOP_lt] = ALL(lt),
    [KOP_le] = ALL(le),
    [KOP_gt] = ALL(gt),
    [KOP_ge] = ALL(ge),
    [KOP_select] = {select_4, select_4, select_8},
    [KOP_cvt] = ONE(convert),
    [KOP_cvtu] = ONE(convert),
    [KOP_bits] = ONE(bits),
    [KOP_dot4] = ONE(dot4),
    [KOP_dot2] = ONE(dot2),
    [KOP_lookup] = ONE(lookup),
    [KOP_zip_low] = ONE(zip),
    [KOP_zip_high] = ONE(zip),
    [KOP_reduce_add] = ALL(reduce_add),
    [KOP_reduce_max] = ALL(reduce_max),
    [KOP_reduce_min] = ALL(reduce_min),
    [KOP_exp] = FLOAT(exp),
    [KOP_log] = FLOAT(log),
    [KOP_tanh] = FLOAT(tanh),
    [KOP_erf] = FLOAT(erf),
    [KOP_gelu] = FLOAT(gelu),
    [KOP_sin] = FLOAT(sin),
    [KOP_cos] = FLOAT(cos),
};

KRun *keval_op(const Kernel *k, const KInst *in) {
  KType t = in->narg ? k_type(k, in->arg[in->op == KOP_select ? 1 : 0]) : in->type;
  if (in->op == KOP_cvt || in->op == KOP_cvtu)
    return convert_op(in->op, (KScalar)t.scalar, (KScalar)in->type.scalar);
  if (t.scalar == K_f32) return handlers[in->op].f;
  return t.scalar == K_i64 ? handlers[in->op].l : handlers[in->op].i;
}
