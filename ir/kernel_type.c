/* Type rules of Kernel IR: names and sizes of scalars, what each op takes and gives.
 *
 * One function judges one instruction; the builder calls it to stop our own mistakes where they are
 * made, the verifier calls it again on whatever it is handed. Convention: a rule is returned as the
 * sentence that it breaks, NULL when all is well.
 */
#include "ir/kernel_impl.h"

#include <string.h>

static const struct {
  const char *name;
  uint8_t bytes, bits;
} scalars[K_SCALARS] = {
    [K_void] = {"void", 0, 0}, [K_i1] = {"i1", 1, 1},      [K_i8] = {"i8", 1, 8},
    [K_i16] = {"i16", 2, 16},  [K_i32] = {"i32", 4, 32},   [K_i64] = {"i64", 8, 64},
    [K_f16] = {"f16", 2, 16},  [K_bf16] = {"bf16", 2, 16}, [K_f32] = {"f32", 4, 32},
};

static const struct {
  const char *name;
  uint8_t nargs;
  char kind;
} kops[KOP_COUNT] = {
#define KOP(name, nargs, kind) {#name, nargs, #kind[0]},
#include "ir/kops.def"
#undef KOP
};

const char *kscalar_name(KScalar s) {
  return scalars[s].name;
}

bool kscalar_parse(const char *name, size_t n, KScalar *out) {
  for (int s = K_i1; s < K_SCALARS; s++) {
    if (strlen(scalars[s].name) == n && !memcmp(scalars[s].name, name, n)) {
      *out = (KScalar)s;
      return true;
    }
  }
  return false;
}

size_t kscalar_size(KScalar s) {
  return scalars[s].bytes;
}

int kscalar_bits(KScalar s) {
  return scalars[s].bits;
}

bool kscalar_is_float(KScalar s) {
  return s == K_f16 || s == K_bf16 || s == K_f32;
}

const char *kop_name(KOpCode op) {
  return kops[op].name;
}

char kop_kind(KOpCode op) {
  return kops[op].kind;
}

uint32_t kop_args(KOpCode op) {
  return kops[op].nargs;
}

const char *kclass_name(KClass c) {
  static const char *const names[] = {"map", "row", "contract", "attend", "scan", "sort"};
  return names[c];
}

int64_t kint_wrap(KScalar s, int64_t v) {
  switch (s) {
  case K_i1: return v & 1;
  case K_i8: return (int8_t)v;
  case K_i16: return (int16_t)v;
  case K_i32: return (int32_t)v;
  default: return v;
  }
}

const char *ktype_print(KType t, char out[8]) {
  const char *name = scalars[t.scalar].name;
  size_t n = strlen(name), at = 0;
  if (t.lanes == 16) memcpy(out, "v16", at = 3);
  memcpy(out + at, name, n + 1);
  return out;
}

static bool is_compare(KOpCode op) {
  return op >= KOP_eq && op <= KOP_ge;
}

static bool is_reduce(KOpCode op) {
  return op == KOP_reduce_add || op == KOP_reduce_max || op == KOP_reduce_min;
}

KType kinst_infer(const Kernel *k, KOpCode op, const KVal *arg) {
  KType t = k_type(k, arg[op == KOP_select ? 1 : 0]);
  if (is_compare(op)) return (KType){K_i1, t.lanes};
  if (is_reduce(op)) return (KType){t.scalar, 1};
  if (op == KOP_dot4 || op == KOP_dot2) return KT(i32, 16);
  return t;
}

/* Ops whose operands and result are of one type: what that type must be. */
static const char *same_type_rule(KOpCode op, KType t) {
  bool f32 = t.scalar == K_f32;
  bool integer = !kscalar_is_float(t.scalar);
  switch (op) {
  case KOP_fma:
  case KOP_sqrt:
  case KOP_floor:
  case KOP_rint:
  case KOP_exp:
  case KOP_log:
  case KOP_tanh:
  case KOP_erf:
  case KOP_gelu:
  case KOP_sin:
  case KOP_cos: return f32 ? NULL : "takes f32";
  case KOP_and:
  case KOP_or:
  case KOP_xor: return integer ? NULL : "takes integers or i1";
  case KOP_lookup: return ktype_equal(t, KT(i32, 16)) ? NULL : "takes v16i32";
  case KOP_rem:
  case KOP_shl:
  case KOP_lshr:
  case KOP_ashr: return integer && t.scalar != K_i1 ? NULL : "takes integers";
  default: break;
  }
  return f32 || (integer && t.scalar != K_i1) ? NULL : "takes f32 or integers";
}

static const char *arith_rule(const Kernel *k, const KInst *in) {
  KType a = k_type(k, in->arg[0]);
  KType b = in->narg > 1 ? k_type(k, in->arg[1]) : a;
  if (in->op == KOP_select) {
    if (a.scalar != K_i1) return "its first operand must be i1";
    if (a.lanes != b.lanes) return "mask and values differ in lanes";
    if (!ktype_equal(b, k_type(k, in->arg[2]))) return "its two values differ in type";
    return ktype_equal(in->type, b) ? NULL : "its result differs in type from its values";
  }
  if (in->op == KOP_dot4 || in->op == KOP_dot2) {
    for (int i = 0; i < 3; i++)
      if (!ktype_equal(k_type(k, in->arg[i]), KT(i32, 16))) return "takes v16i32";
    if (in->op == KOP_dot4 && (in->imm.i < 4 || in->imm.i > 8)) return "bits must be 4..8";
    return ktype_equal(in->type, KT(i32, 16)) ? NULL : "gives v16i32";
  }
  for (uint32_t i = 1; i < in->narg; i++)
    if (!ktype_equal(a, k_type(k, in->arg[i]))) return "its operands differ in type";
  if (!ktype_equal(in->type, kinst_infer(k, in->op, in->arg))) return "its result type is wrong";
  bool zip = in->op == KOP_zip_low || in->op == KOP_zip_high;
  if ((is_reduce(in->op) || zip) && a.lanes != 16) return "takes 16 lanes";
  if ((in->op == KOP_eq || in->op == KOP_ne) && a.scalar == K_i1) return NULL;
  return same_type_rule(in->op, a);
}

/* cvt, cvtu, bits: keep the lanes, change the scalar. */
static const char *convert_rule(const Kernel *k, const KInst *in) {
  KType from = k_type(k, in->arg[0]), to = in->type;
  if (from.lanes != to.lanes) return "must keep the lanes";
  if (in->op == KOP_bits) {
    if (from.scalar == K_i1 || to.scalar == K_i1) return "i1 has no bits of its own";
    bool equal = kscalar_size(from.scalar) == kscalar_size(to.scalar);
    return equal ? NULL : "the two types differ in size";
  }
  bool float_in = kscalar_is_float(from.scalar), float_out = kscalar_is_float(to.scalar);
  if (float_in && in->op == KOP_cvtu) return "reads an integer";
  if (float_in && float_out && from.scalar != K_f32 && to.scalar != K_f32)
    return "half formats convert by way of f32";
  if (float_in != float_out && (float_in ? from.scalar : to.scalar) != K_f32)
    return "integers convert to and from f32 only";
  if (float_in && !float_out && to.scalar != K_i32 && to.scalar != K_i64)
    return "floats convert to i32 or i64";
  if (to.scalar == K_i1) return "compare with 0 to get i1";
  if (from.scalar == K_i1 && in->op == KOP_cvt) return "reads i1 by cvtu (0 or 1)";
  return NULL;
}

static const char *address_rule(const Kernel *k, const KAddr *a) {
  KValueKind kind = k->values[a->base].kind;
  if (kind != KV_BUFFER && kind != KV_LOCAL) return "its address is neither buffer nor local";
  for (uint32_t i = 0; i < a->nterm; i++)
    if (!ktype_equal(k_type(k, a->term[i].index), KT(i64, 1))) return "an index must be i64";
  return NULL;
}

static const char *mma_rule(const Kernel *k, const KInst *in) {
  const KMma *s = in->mma;
  const KValue *c = &k->values[in->addr[0].base];
  if (c->kind != KV_LOCAL || c->type.scalar != K_i32) return "its result is a local of i32";
  for (int i = 1; i < 3; i++) {
    if (k_type(k, in->addr[i].base).scalar != K_i8) return "it multiplies bytes";
    if (in->addr[i].base == in->addr[0].base) return "its result is an operand too";
  }
  for (int i = 0; i < 3; i++)
    if (in->addr[i].lane != 1) return "its lanes stand beside each other";
  if (s->m < 1 || s->m > KMMA_M) return "m must be 1..64";
  if (s->n < 1 || s->n > KMMA_N) return "n must be 1..4";
  if (s->k < 1 || s->k > KMMA_K) return "k must be 1..65536";
  if (s->row < 0 || s->row > INT32_MAX || s->group < 0 || s->group > INT32_MAX)
    return "row and group are distances in bytes below 2^31";
  return NULL;
}

static const char *memory_rule(const Kernel *k, const KInst *in) {
  const KAddr *a = in->addr;
  for (uint32_t i = 0; i < kop_addrs(in->op); i++) {
    const char *why = address_rule(k, &a[i]);
    if (why) return why;
  }
  if (in->op == KOP_mma) return mma_rule(k, in);
  if (in->op == KOP_prefetch) return NULL;
  KType t = in->op == KOP_load ? in->type : k_type(k, in->arg[0]);
  if (t.scalar == K_void || t.scalar == K_i1) return "i1 isn't kept in memory";
  if (a->lane < 1) return "lanes must be apart by 1 or more";
  if (a->lane != 1 && t.lanes == 1) return "a scalar has no lanes to be apart";
  uint32_t mask = in->op == KOP_load ? 0 : 1;
  if (in->narg > mask && (t.lanes != 16 || !ktype_equal(k_type(k, in->arg[mask]), KT(i1, 16))))
    return "a mask is v16i1 over a 16-lane access";
  return NULL;
}

static const char *structural_rule(const Kernel *k, const KInst *in) {
  switch (in->op) {
  case KOP_const: return in->type.scalar == K_void ? "a literal has a type" : NULL;
  case KOP_iota: return ktype_equal(in->type, KT(i32, 16)) ? NULL : "gives v16i32";
  case KOP_splat:
    if (k_type(k, in->arg[0]).lanes != 1 || in->type.lanes != 16) return "goes from 1 lane to 16";
    return in->type.scalar == k_type(k, in->arg[0]).scalar ? NULL : "keeps the scalar type";
  default:
    if (k_type(k, in->arg[0]).lanes != 16 || in->type.lanes != 1) return "goes from 16 lanes to 1";
    if (in->imm.i < 0 || in->imm.i > 15) return "there are lanes 0..15";
    return in->type.scalar == k_type(k, in->arg[0]).scalar ? NULL : "keeps the scalar type";
  }
}

static const char *loop_rule(const Kernel *k, const KInst *in) {
  if (in->op == KOP_if)
    return ktype_equal(k_type(k, in->arg[0]), KT(i1, 1)) ? NULL : "its condition must be i1";
  for (uint32_t i = 0; i < in->narg; i++)
    if (!ktype_equal(k_type(k, in->arg[i]), KT(i64, 1))) return "its bounds must be i64";
  return in->op == KOP_for && in->imm.i < 1 ? "its step must be positive" : NULL;
}

const char *kinst_ill_typed(const Kernel *k, const KInst *in) {
  uint32_t want = kop_args(in->op);
  bool maskable = in->op == KOP_load || in->op == KOP_store;
  if (in->narg != want && !(maskable && in->narg == want + 1)) return "wrong number of operands";
  for (uint32_t i = 0; i < in->narg; i++) {
    KValueKind kind = k->values[in->arg[i]].kind;
    if (kind == KV_BUFFER || kind == KV_LOCAL) return "memory isn't an operand; load from it";
  }
  switch (kop_kind(in->op)) {
  case 'S': return structural_rule(k, in);
  case 'M': return memory_rule(k, in);
  case 'C': return loop_rule(k, in);
  default: break;
  }
  if (in->op == KOP_cvt || in->op == KOP_cvtu || in->op == KOP_bits) return convert_rule(k, in);
  return arith_rule(k, in);
}
