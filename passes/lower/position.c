/* Positions: rope_freqs, rope_table, rope and kv_append; class map.
 *
 * rope_freqs: what depends on the model alone is computed here in double, once, and enters as
 * literals: dynamic:  freq_i = base^(-2i/dim) * exp(-2i/(dim-2) * log(stretch)), stretch from
 * seq_len; longrope: freq_i = 1 / (list_i * base^(2i/dim)), list chosen by seq_len. kv_append
 * writes keys transposed in blocks of 16 positions (lower.h, CacheLayout), so that attention loads
 * 16 keys of one dimension as one vector: a scatter here, once, for a load there, many times. For
 * an i16 or q8_0 cache a head's row goes through a local, where it is quantised.
 */
#include "passes/lower/lower.h"

#include <math.h>

/* ---- rope_freqs ---------------------------------------------------------------------------- */

/* Vector of stretch factors for the frequencies first .. first+15 of a dynamic rope. */
static KVal stretched(KBuilder *b, const Attrs_rope_freqs *a, KVal log_stretch, int first) {
  KVal i = k_op2(b, KOP_add, k_iota(b), k_int(b, KT(i32, 16), first));
  KVal e = k_op2(b, KOP_mul, k_cvt(b, i, K_f32), k_f32(b, 16, -2.0 / (double)(a->dim - 2)));
  return k_op1(b, KOP_exp, k_op2(b, KOP_mul, e, log_stretch));
}

static KVal log_of_stretch(KBuilder *b, const Attrs_rope_freqs *a, KVal len) {
  KVal n = k_op2(b, KOP_max, len, k_i64(b, a->original));
  KVal s = k_op2(b, KOP_mul, k_f32(b, 1, a->factor), k_cvt(b, n, K_f32));
  s = k_op2(b, KOP_div, s, k_f32(b, 1, (double)a->original));
  s = k_op2(b, KOP_sub, s, k_f32(b, 1, a->factor - 1));
  return k_op1(b, KOP_log, k_splat(b, s));
}

static void store_dynamic(KBuilder *b, const Attrs_rope_freqs *a, KVal len, KVal out) {
  int64_t half = a->dim / 2;
  KVal local = k_local(b, "stretch", K_f32, (int64_t)align_up((uint64_t)half, 16));
  KVal log_stretch = log_of_stretch(b, a, len);
  for (int i = 0; i < half; i += 16)
    k_store(b, stretched(b, a, log_stretch, i), k_off(k_addr(local), i));
  for (int i = 0; i < half; i++) {
    double f = pow(a->base, -2.0 * i / (double)a->dim);
    KVal x = k_load(b, KT(f32, 1), k_off(k_addr(local), i));
    k_store(b, k_op2(b, KOP_mul, x, k_f32(b, 1, f)), k_off(k_addr(out), i));
  }
}

static void store_longrope(KBuilder *b, const Attrs_rope_freqs *a, KVal len, KVal list, KVal out) {
  KVal is_long = k_op2(b, KOP_gt, len, k_i64(b, a->original));
  KVal from = k_select(b, is_long, k_i64(b, a->dim / 2), k_i64(b, 0));
  for (int i = 0; i < a->dim / 2; i++) {
    KVal power = k_f32(b, 1, pow(a->base, 2.0 * i / (double)a->dim));
    KVal x = k_load(b, KT(f32, 1), k_off(k_at(k_addr(list), from, 1), i));
    x = k_op2(b, KOP_div, k_f32(b, 1, 1), k_op2(b, KOP_mul, x, power));
    k_store(b, x, k_off(k_addr(out), i));
  }
}

static void lower_freqs(Lower *l, const Op *op) {
  const Attrs_rope_freqs *a = &op->attrs.rope_freqs;
  Place len = place_of(l, op->in[0]), out = place_result(l, op->out[0]);
  Place list = {0};
  int64_t stride;
  if (op->nin > 1) list = place_as_rows(l, op->in[1], &stride);
  Draft d;
  draft_begin(&d, l, KC_map, "rope_freqs");
  KBuilder *b = &d.b;
  KScalar s = kscalar_of(len.dtype);
  KVal from = draft_buffer(&d, &len, s, false), to = draft_buffer(&d, &out, K_f32, true);
  KVal lists = op->nin > 1 ? draft_buffer(&d, &list, K_f32, false) : 0;
  k_par(b, "p", k_i64(b, 1));
  KVal n = k_cvt(b, k_load(b, (KType){s, 1}, k_addr(from)), K_i64);
  if (a->kind == ROPEFREQ_dynamic)
    store_dynamic(b, a, n, to);
  else
    store_longrope(b, a, n, lists, to);
  k_par_end(b);
  draft_end(&d);
}

/* ---- rope_table ---------------------------------------------------------------------------- */

typedef struct TableBody {
  Draft *d;
  const Type *shape;
  Place freqs, cosine, sine;
  KVal pos, row; /* pos: f32 splat */
  double scale;
} TableBody;

static void table_body(void *user, KVal col, KVal mask, KVal *carry) {
  (void)carry;
  TableBody *t = user;
  KBuilder *b = &t->d->b;
  Point pt = point_at(t->shape, t->row, col, mask);
  KVal angle = k_op2(b, KOP_mul, t->pos, point_load(t->d, &pt, &t->freqs));
  KVal c = k_op1(b, KOP_cos, angle), s = k_op1(b, KOP_sin, angle);
  if (t->scale != 1) {
    c = k_op2(b, KOP_mul, c, k_f32(b, 16, t->scale));
    s = k_op2(b, KOP_mul, s, k_f32(b, 16, t->scale));
  }
  point_store(t->d, &pt, &t->cosine, c);
  point_store(t->d, &pt, &t->sine, s);
}

static void lower_table(Lower *l, const Op *op) {
  const Type *shape = &graph_value(l->g, op->out[0])->type;
  Place pos = place_as_strided(l, op->in[0]);
  TableBody t = {.shape = shape, .freqs = place_of(l, op->in[1])};
  t.cosine = place_result(l, op->out[0]);
  t.sine = place_result(l, op->out[1]);
  t.scale = op->attrs.rope_table.scale;
  Draft d;
  draft_begin(&d, l, KC_map, "rope_table");
  KBuilder *b = &d.b;
  t.d = &d;
  d.extent = shape->dim[0];
  d.flops = dim_mul(l, shape->dim[0], shape->dim[1]);
  KScalar s = kscalar_of(pos.dtype);
  KAddr at = k_addr(draft_buffer(&d, &pos, s, false));
  if (pos.shift) at = k_at(at, draft_dim(&d, pos.shift), 1);
  t.row = k_par(b, "s", draft_dim(&d, d.extent));
  KVal p = k_load(b, (KType){s, 1}, k_at(at, t.row, dim_literal(l, pos.stride[0])));
  t.pos = k_splat(b, k_cvt(b, p, K_f32));
  draft_span(&d, k_i64(b, 0), draft_dim(&d, shape->dim[1]), 0, NULL, table_body, &t);
  k_par_end(b);
  draft_end(&d);
}

/* ---- rope ---------------------------------------------------------------------------------- */

/* One head of one token: x rotated (or copied) to y. Elements of y are `step` apart: 1 in a tensor,
 * 16 among the transposed keys of a cache. */
typedef struct RopeBody {
  Draft *d;
  KAddr x, y, cosine, sine;
  KScalar xs, ys;
  int64_t second, lane; /* distance of the second half; of neighbours within a half */
  int64_t step;
} RopeBody;

static KVal lanes_at(KBuilder *b, KAddr a, KScalar s, KVal mask) {
  KType t = {(uint8_t)s, 16};
  return k_cvt(b, mask ? k_load_mask(b, t, a, mask) : k_load(b, t, a), K_f32);
}

static void store_lanes(KBuilder *b, KVal x, KScalar s, KAddr a, KVal mask) {
  x = k_cvt(b, x, s);
  if (mask)
    k_store_mask(b, x, a, mask);
  else
    k_store(b, x, a);
}

static void rope_body(void *user, KVal col, KVal mask, KVal *carry) {
  (void)carry;
  RopeBody *r = user;
  KBuilder *b = &r->d->b;
  KVal c = lanes_at(b, k_at(r->cosine, col, 1), K_f32, mask);
  KVal s = lanes_at(b, k_at(r->sine, col, 1), K_f32, mask);
  KAddr x = k_lane(k_at(r->x, col, r->lane), r->lane);
  KAddr y = k_lane(k_at(r->y, col, r->lane * r->step), r->lane * r->step);
  KVal x0 = lanes_at(b, x, r->xs, mask), x1 = lanes_at(b, k_off(x, r->second), r->xs, mask);
  KVal y0 = k_fma(b, x0, c, k_op1(b, KOP_neg, k_op2(b, KOP_mul, x1, s)));
  KVal y1 = k_fma(b, x1, c, k_op2(b, KOP_mul, x0, s));
  store_lanes(b, y0, r->ys, y, mask);
  store_lanes(b, y1, r->ys, k_off(y, r->second * r->step), mask);
}

static void copy_body(void *user, KVal col, KVal mask, KVal *carry) {
  (void)carry;
  RopeBody *r = user;
  KBuilder *b = &r->d->b;
  KAddr y = k_lane(k_at(r->y, col, r->step), r->step);
  store_lanes(b, lanes_at(b, k_at(r->x, col, 1), r->xs, mask), r->ys, y, mask);
}

/* Address of head `h` of token `t` in a [S, heads, D] place with literal strides. */
static KAddr head_addr(Draft *d, const Place *p, KVal t, KVal h, bool write) {
  KAddr a = k_addr(draft_buffer(d, p, kscalar_of(p->dtype), write));
  if (p->shift) a = k_at(a, draft_dim(d, p->shift), 1);
  return k_at(k_at(a, t, dim_literal(d->l, p->stride[0])), h, dim_literal(d->l, p->stride[1]));
}

static KAddr table_row(Draft *d, const Place *p, KVal t, int64_t stride) {
  KAddr a = k_at(k_addr(draft_buffer(d, p, K_f32, false)), t, stride);
  return p->shift ? k_at(a, draft_dim(d, p->shift), 1) : a;
}

/* What a rope op reads, found before its kernel is begun. */
typedef struct RopeIn {
  Place x, cosine, sine;
  int64_t cs, ss, half, width;
  bool pairs;
} RopeIn;

static RopeIn rope_in(Lower *l, const Op *op) {
  RopeIn in = {.x = place_as_strided(l, op->in[0]), .pairs = op->attrs.rope.mode == ROPE_pairs};
  in.cosine = place_as_rows(l, op->in[1], &in.cs);
  in.sine = place_as_rows(l, op->in[2], &in.ss);
  in.half = dim_literal(l, in.cosine.dim[1]);
  in.width = dim_literal(l, in.x.dim[2]);
  return in;
}

/* Rotates head h of token t into r->y; r->d, y, ys and step are set. */
static void rope_head(RopeBody *r, const RopeIn *in, KVal t, KVal h) {
  KBuilder *b = &r->d->b;
  r->xs = kscalar_of(in->x.dtype);
  r->x = head_addr(r->d, &in->x, t, h, false);
  r->cosine = table_row(r->d, &in->cosine, t, in->cs);
  r->sine = table_row(r->d, &in->sine, t, in->ss);
  r->lane = in->pairs ? 2 : 1;
  r->second = in->pairs ? 1 : in->half;
  draft_span(r->d, k_i64(b, 0), k_i64(b, in->half), 0, NULL, rope_body, r);
  if (2 * in->half < in->width)
    draft_span(r->d, k_i64(b, 2 * in->half), k_i64(b, in->width), 0, NULL, copy_body, r);
}

static void lower_rope(Lower *l, const Op *op) {
  const Type *shape = &graph_value(l->g, op->out[0])->type;
  RopeIn in = rope_in(l, op);
  Place y = place_result(l, op->out[0]);
  Draft d;
  draft_begin(&d, l, KC_map, "rope");
  KBuilder *b = &d.b;
  d.extent = rows_of(l, shape);
  d.flops = dim_mul(l, d.extent, dim_const(l->m->dims, 3 * in.width));
  KVal heads = draft_dim(&d, shape->dim[1]);
  KVal p = k_par(b, "p", draft_dim(&d, d.extent));
  KVal t = k_op2(b, KOP_div, p, heads), h = k_op2(b, KOP_rem, p, heads);
  RopeBody r = {.d = &d, .ys = kscalar_of(y.dtype), .step = 1};
  r.y = head_addr(&d, &y, t, h, true);
  rope_head(&r, &in, t, h);
  k_par_end(b);
  draft_end(&d);
}

/* ---- kv_append ----------------------------------------------------------------------------- */

/* The rope in this cluster that gives the keys, or NULL. */
static const Op *own_rope(const Lower *l, const Op *append) {
  if (!in_cluster(l, append->in[1])) return NULL;
  return graph_get(l->g, graph_value(l->g, append->in[1])->def);
}

/* One launch of kv_append; t, h and at: token, head and position of the par iteration. */
typedef struct Append {
  Draft d;
  const Op *rope;
  RopeIn in;
  Place cache, k, v;
  CacheLayout c;
  int64_t width; /* of a head */
  KVal buffer, t, h, at;
} Append;

/* A head's row of keys (rotated) or values to `y`, elements `step` apart. */
static void append_row(Append *a, bool values, KAddr y, KScalar type, int64_t step) {
  KBuilder *b = &a->d.b;
  const Place *from = values ? &a->v : &a->k;
  RopeBody r = {.d = &a->d, .y = y, .ys = type, .step = step};
  if (a->rope && !values) {
    rope_head(&r, &a->in, a->t, a->h);
    return;
  }
  r.xs = kscalar_of(from->dtype);
  r.x = head_addr(&a->d, from, a->t, a->h, false);
  draft_span(&a->d, k_i64(b, 0), k_i64(b, a->width), 0, NULL, copy_body, &r);
}

static void append_floats(Append *a) {
  KBuilder *b = &a->d.b;
  const CacheLayout *c = &a->c;
  KVal block = k_op2(b, KOP_lshr, a->at, k_i64(b, 4)),
       lane = k_op2(b, KOP_and, a->at, k_i64(b, 15));
  KAddr key = k_at(k_at(k_addr(a->buffer), a->h, c->key_head), block, 16 * c->dim);
  append_row(a, false, k_at(key, lane, 1), c->type, 16);
  KAddr value = k_at(k_off(k_addr(a->buffer), c->values), a->h, c->value_head);
  append_row(a, true, k_at(value, a->at, c->padded), c->type, 1);
}

/* The 32 floats at `x` to codes at `to`, `zero` added to each; gives their scale, an f16. */
static KVal q8_block(KBuilder *b, KAddr x, KAddr to, int64_t zero) {
  KVal v[2] = {k_load(b, KT(f32, 16), x), k_load(b, KT(f32, 16), k_off(x, 16))};
  KVal most = k_op2(b, KOP_max, k_op1(b, KOP_abs, v[0]), k_op1(b, KOP_abs, v[1]));
  KVal d = k_op2(b, KOP_div, k_op1(b, KOP_reduce_max, most), k_f32(b, 1, 127));
  KVal half = k_cvt(b, k_op2(b, KOP_min, d, k_f32(b, 1, 65504)), K_f16), none = k_f32(b, 1, 0);
  d = k_cvt(b, half, K_f32);
  KVal inverse = k_op2(b, KOP_div, k_f32(b, 1, 1), d);
  inverse = k_splat(b, k_select(b, k_op2(b, KOP_gt, d, none), inverse, none));
  for (int i = 0; i < 2; i++) {
    KVal q = k_op1(b, KOP_rint, k_op2(b, KOP_mul, v[i], inverse));
    q = k_op2(b, KOP_min, k_op2(b, KOP_max, q, k_f32(b, 16, -127)), k_f32(b, 16, 127));
    KVal code = k_op2(b, KOP_add, k_cvt(b, q, K_i32), k_int(b, KT(i32, 16), zero));
    k_store(b, k_cvt(b, code, K_i8), k_off(to, 16 * i));
  }
  return half;
}

static void append_q8(Append *a, KVal row, KVal codes) {
  KBuilder *b = &a->d.b;
  const CacheLayout *c = &a->c;
  KVal block = k_op2(b, KOP_lshr, a->at, k_i64(b, 4)),
       lane = k_op2(b, KOP_and, a->at, k_i64(b, 15));
  for (int values = 0; values < 2; values++) {
    for (int64_t d = a->width / 16 * 16; d < c->dim; d += 16)
      k_store(b, k_f32(b, 16, 0), k_off(k_addr(row), d));
    append_row(a, values, k_addr(row), K_f32, 1);
    KAddr scale = k_off(k_addr(a->buffer), values ? c->value_scales : c->key_scales);
    scale = k_at(k_at(k_at(scale, a->h, c->scale_head), block, c->dim), lane, 2);
    KAddr to = k_at(k_off(k_addr(a->buffer), c->values), a->h, c->value_head);
    to = values ? k_at(to, a->at, c->dim) : k_addr(codes);
    for (int64_t d = 0; d < c->dim; d += 32) {
      KVal half = q8_block(b, k_off(k_addr(row), d), k_off(to, d), values ? 0 : 128);
      k_store(b, half, k_off(scale, d));
    }
    KAddr key = k_at(k_at(k_addr(a->buffer), a->h, c->key_head), block, 16 * c->dim);
    if (!values) cache_scatter(b, c->dim, 4, k_addr(codes), k_at(key, lane, 4), 16);
  }
}

typedef struct RowOf {
  KBuilder *b;
  KVal row;
} RowOf;

static KVal row_vector(void *user, KVal col, KVal mask) {
  const RowOf *r = user;
  return lanes_at(r->b, k_at(k_addr(r->row), col, 1), K_f32, mask);
}

/* The row's values to every second element from `to` on: rint(x * 2^-e), below 2^13; gives e. */
static KVal value_codes(Append *a, KVal row, KAddr to) {
  KBuilder *b = &a->d.b;
  KVal most = k_f32(b, 16, 0);
  for (int64_t d = 0; d < a->c.padded; d += 16) {
    KVal x = k_op1(b, KOP_abs, k_load(b, KT(f32, 16), k_off(k_addr(row), d)));
    most = k_op2(b, KOP_max, most, x);
  }
  KVal e = cache_value_exponent(b, k_op1(b, KOP_reduce_max, most));
  KVal power = k_splat(b, cache_power(b, e));
  for (int64_t d = 0; d < a->c.padded; d += 16) {
    KVal x = k_load(b, KT(f32, 16), k_off(k_addr(row), d));
    KVal q = k_cvt(b, k_op1(b, KOP_rint, k_op2(b, KOP_mul, x, power)), K_i32);
    k_store(b, k_cvt(b, q, K_i16), k_lane(k_off(to, 2 * d), 2));
  }
  return k_cvt(b, e, K_f32);
}

static void append_i16(Append *a, KVal row, KVal codes) {
  KBuilder *b = &a->d.b;
  const CacheLayout *c = &a->c;
  append_row(a, false, k_addr(row), K_f32, 1);
  RowOf r = {b, row};
  KVal scale = cache_codes(&a->d, k_addr(codes), a->width, row_vector, &r);
  KVal block = k_op2(b, KOP_lshr, a->at, k_i64(b, 4));
  KAddr key = k_at(k_at(k_addr(a->buffer), a->h, c->key_head), block, 16 * c->key_step);
  key = k_at(key, k_op2(b, KOP_and, a->at, k_i64(b, 15)), 2);
  cache_scatter(b, c->dim, 2, k_addr(codes), key, 16);
  k_store(b, scale, k_off(key, 16 * c->dim));
  for (int64_t d = a->width / 16 * 16; d < c->padded; d += 16)
    k_store(b, k_f32(b, 16, 0), k_off(k_addr(row), d));
  append_row(a, true, k_addr(row), K_f32, 1);
  KAddr value = k_at(k_off(k_addr(a->buffer), c->values), a->h, c->value_head);
  value = k_at(value, k_op2(b, KOP_lshr, a->at, k_i64(b, 5)), 32 * c->padded);
  value = k_at(value, k_op2(b, KOP_and, a->at, k_i64(b, 15)), 2 * c->padded);
  value = k_at(value, k_op2(b, KOP_and, block, k_i64(b, 1)), 1);
  k_store(b, value_codes(a, row, value), k_off(key, 16 * (c->dim + 2)));
}

static void lower_append(Lower *l, const Op *op) {
  const StateDef *def;
  Append a = {.rope = own_rope(l, op)};
  a.cache = place_state(l, op->in[0], &def);
  a.v = place_as_strided(l, op->in[2]);
  a.c = cache_layout(def);
  a.width = def->head_dim;
  if (a.rope)
    a.in = rope_in(l, a.rope);
  else
    a.k = place_as_strided(l, op->in[1]);
  place_set(l, op->out[0], &a.cache);
  Draft *d = &a.d;
  draft_begin(d, l, KC_map, a.rope ? "rope_append" : "kv_append");
  KBuilder *b = &d->b;
  d->extent = dim_mul(l, a.v.dim[0], a.v.dim[1]);
  d->flops = dim_mul(l, d->extent, dim_const(l->m->dims, 2 * a.width));
  draft_traffic(d, dim_mul(l, d->extent, dim_const(l->m->dims, cache_key_bytes(&a.c))));
  KVal heads = k_i64(b, def->kv_heads);
  a.buffer = draft_buffer(d, &a.cache, a.c.type, true);
  KVal past = past_dim(l) ? draft_dim(d, past_dim(l)) : k_i64(b, 0);
  KVal row = 0, codes = 0;
  if (a.c.q8 || a.c.i16) {
    int64_t room = (a.c.dim + 15) / 16 * 16;
    row = k_local(b, "row", K_f32, room);
    codes = k_local(b, "codes", a.c.q8 ? K_i8 : K_i16, room);
  }
  KVal p = k_par(b, "p", draft_dim(d, d->extent));
  a.t = k_op2(b, KOP_div, p, heads);
  a.h = k_op2(b, KOP_rem, p, heads);
  a.at = k_op2(b, KOP_add, past, a.t);
  if (a.c.q8)
    append_q8(&a, row, codes);
  else if (a.c.i16)
    append_i16(&a, row, codes);
  else
    append_floats(&a);
  k_par_end(b);
  draft_end(d);
}

Status lower_position(Lower *l, const Op *op) {
  switch (op->code) {
  case OP_rope_freqs: lower_freqs(l, op); return OK;
  case OP_rope_table: lower_table(l, op); return OK;
  case OP_rope: lower_rope(l, op); return OK;
  case OP_kv_append: lower_append(l, op); return OK;
  default: return lower_error(l, op, "isn't an op of positions");
  }
}
