/* States: how a KV cache lies in memory (lower.h, CacheLayout), and where it is. */
#include "passes/lower/lower.h"
#include "passes/math/math.h"

static CacheLayout q8_layout(const StateDef *s) {
  CacheLayout c = {.type = K_i8, .q8 = true};
  c.context = (int64_t)align_up((uint64_t)s->context, KEY_BLOCK);
  c.dim = c.padded = c.key_step = (int64_t)align_up((uint64_t)s->head_dim, 32);
  c.key_head = c.value_head = c.context * c.dim;
  c.scale_head = c.context * (c.dim / 32) * 2;
  c.values = s->kv_heads * c.key_head;
  c.key_scales = 2 * c.values;
  c.value_scales = c.key_scales + s->kv_heads * c.scale_head;
  uint64_t bytes = (uint64_t)(c.value_scales + s->kv_heads * c.scale_head);
  BUG_IF(!size_mul(bytes, (uint64_t)s->slots, &c.bytes), "state %s overflows", s->name);
  return c;
}

CacheLayout cache_layout(const StateDef *s) {
  if (s->storage == Q_q8_0) return q8_layout(s);
  CacheLayout c = {.i16 = s->dtype == DT_i16, .dim = s->head_dim};
  c.type = kscalar_of(s->dtype);
  if (c.i16) c.dim = (int64_t)align_up((uint64_t)c.dim, 2);
  c.key_step = c.i16 ? c.dim + 4 : c.dim;
  c.context = (int64_t)align_up((uint64_t)s->context, KEY_BLOCK);
  c.padded = (int64_t)align_up((uint64_t)s->head_dim, 16);
  c.key_head = c.context * c.key_step;
  c.value_head = c.context * c.padded;
  c.values = s->kv_heads * c.key_head;
  uint64_t elements = (uint64_t)(c.values + s->kv_heads * c.value_head);
  BUG_IF(!size_mul(elements, (uint64_t)s->slots * kscalar_size(c.type), &c.bytes),
         "state %s overflows", s->name);
  return c;
}

/* The state that a value stands for: itself, or what kv_append was given. */
Place place_state(Lower *l, ValueId v, const StateDef **def) {
  const Value *x = graph_value(l->g, v);
  while (x->kind == V_OP) x = graph_value(l->g, graph_get(l->g, x->def)->in[0]);
  *def = &l->m->states[x->index];
  return (Place){.bind = {.space = KS_state, .index = x->index},
                 .dtype = (*def)->dtype,
                 .bytes = cache_layout(*def).bytes};
}

/* ---- codes of 16 bits ---------------------------------------------------------------------- */

typedef struct Codes {
  KBuilder *b;
  KAddr to;
  RowFn *x;
  void *user;
  KVal inverse;
} Codes;

static void square_body(void *user, KVal col, KVal mask, KVal *carry) {
  Codes *c = user;
  KVal x = c->x(c->user, col, mask);
  if (mask) x = k_select(c->b, mask, x, k_f32(c->b, 16, 0));
  carry[0] = k_fma(c->b, x, x, carry[0]);
}

static void code_body(void *user, KVal col, KVal mask, KVal *carry) {
  (void)carry;
  Codes *c = user;
  KVal x = c->x(c->user, col, mask);
  if (mask) x = k_select(c->b, mask, x, k_f32(c->b, 16, 0));
  KVal q = k_op1(c->b, KOP_rint, k_op2(c->b, KOP_mul, x, c->inverse));
  k_store(c->b, k_cvt(c->b, k_cvt(c->b, q, K_i32), K_i16), k_at(c->to, col, 1));
}

/* Squares of what is below 2^-50 may vanish or lose bits: that is 0. */
KVal cache_codes(Draft *d, KAddr to, int64_t k, RowFn *x, void *user) {
  KBuilder *b = &d->b;
  Codes c = {.b = b, .to = to, .x = x, .user = user};
  KVal sum = k_f32(b, 16, 0), none = k_f32(b, 1, 0);
  draft_span(d, k_i64(b, 0), k_i64(b, k), 1, &sum, square_body, &c);
  KVal norm = k_op1(b, KOP_sqrt, k_op1(b, KOP_reduce_add, sum));
  KVal some = k_op2(b, KOP_gt, norm, k_f32(b, 1, 0x1p-50));
  KVal inverse = k_op2(b, KOP_div, k_f32(b, 1, 32256), norm);
  c.inverse = k_splat(b, k_select(b, some, inverse, none));
  draft_span(d, k_i64(b, 0), k_i64(b, k), 0, NULL, code_body, &c);
  return k_select(b, some, k_op2(b, KOP_mul, norm, k_f32(b, 1, 1.0 / 32256)), none);
}

KVal cache_exponent(KBuilder *b, KVal e) {
  e = k_op2(b, KOP_max, e, math_i32(b, e, -CACHE_EXPONENT));
  return k_op2(b, KOP_min, e, math_i32(b, e, CACHE_EXPONENT));
}

KVal cache_power(KBuilder *b, KVal e) {
  KVal biased = k_op2(b, KOP_sub, math_i32(b, e, 127), e);
  return k_bits(b, k_op2(b, KOP_shl, biased, math_i32(b, e, 23)), K_f32);
}

/* What would be rounded to 2^13 has an exponent more. */
KVal cache_value_exponent(KBuilder *b, KVal most) {
  KVal e = k_op2(b, KOP_add, k_bits(b, most, K_i32), k_int(b, KT(i32, 1), 1024));
  e = k_op2(b, KOP_lshr, e, k_int(b, KT(i32, 1), 23));
  return cache_exponent(b, k_op2(b, KOP_sub, e, k_int(b, KT(i32, 1), 127 + 12)));
}

void cache_scatter(KBuilder *b, int64_t dim, int64_t each, KAddr codes, KAddr to, int64_t lane) {
  for (int64_t d = 0; d < dim; d += 16 * each) {
    KAddr from = k_off(codes, d), at = k_lane(k_off(to, lane * d), lane);
    if (dim - d >= 16 * each) {
      k_store(b, k_load(b, KT(i32, 16), from), at);
      continue;
    }
    KVal there = k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), (dim - d) / each));
    k_store_mask(b, k_load_mask(b, KT(i32, 16), from, there), at, there);
  }
}

DimId past_dim(Lower *l) {
  return dim_find(l->m->dims, "P");
}
