/* Scaled dot-product attention with grouped heads, with a KV cache or without.
 *
 * y_s = sum_j softmax_j(cap(scale * q_s . k_j)) v_j over the keys j that query s may see; query
 * head h reads key head h / (heads / kv_heads). cap(t) = softcap * tanh(t / softcap) when softcap >
 * 0. With query s at position p (P + s over a cache) key j is hidden when causal and j > p, when
 * window > 0 and |p - j| >= window, or when the mask holds 0 there. A query that sees no key gives
 * zeros. Spans put sequences one behind the other: each row (q0, q1, k0, k1) lets queries q0..q1-1
 * see keys k0..k1-1 and no others; every query is in one span. kv_append writes keys and values at
 * positions P..P+S-1, where P is the module's symbol `P`. With act = i16 keys and values without a
 * cache are rounded as kv_append rounds them for a cache of i16.
 */
#include "ir/graph_impl.h"
#include "ir/op/common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool literal(const Graph *g, DimId dim, int64_t *out) {
  return dim_is_const(g->module->dims, dim, out);
}

/* [S, heads, D] with literal heads and D. */
static Status need_heads(const Graph *g, const Op *op, uint32_t i, int64_t *heads, int64_t *width,
                         Diag *d, const char *where) {
  TRY(need_float(g, op, i, 3, d, where));
  const Type *t = operand_type(g, op, i);
  if (t->rank != 3 || !literal(g, t->dim[1], heads) || !literal(g, t->dim[2], width))
    return op_error(d, where, op, "operand %u must be [S, heads, D]", i + 1);
  return OK;
}

static Status need_state(const Graph *g, const Op *op, uint32_t i, const StateDef **out, Diag *d,
                         const char *where) {
  *out = value_state(g, op->in[i], NULL);
  if (!*out || (*out)->kind != STATE_KV)
    return op_error(d, where, op, "operand %u must be a KV cache", i + 1);
  return OK;
}

/* ---- kv_append ---- */

INFER(kv_append) {
  const StateDef *state;
  TRY(need_state(g, op, 0, &state, d, where));
  for (uint32_t i = 1; i < 3; i++) {
    int64_t heads, width;
    TRY(need_heads(g, op, i, &heads, &width, d, where));
    if (heads != state->kv_heads || width != state->head_dim)
      return op_error(d, where, op, "%lld heads of %lld for a cache of %lld heads of %lld",
                      (long long)heads, (long long)width, (long long)state->kv_heads,
                      (long long)state->head_dim);
  }
  if (operand_type(g, op, 1)->dim[0] != operand_type(g, op, 2)->dim[0])
    return op_error(d, where, op, "keys and values of different lengths");
  out[0] = *operand_type(g, op, 0);
  *nout = 1;
  return OK;
}
VERIFY_NONE(kv_append)

/* The module's symbol P: positions already in the cache. */
static int64_t past(const RefCtx *c) {
  DimId p = dim_find(c->graph->module->dims, "P");
  return p ? c->dims[p] : 0;
}

/* A head's row as q8_0 gives it back: blocks of 32, d = f16(max|x| / 127), q = rint(x / d). */
static void round_q8_0(float *x, int64_t n) {
  for (int64_t at = 0; at < n; at += 32) {
    int64_t end = at + 32 < n ? at + 32 : n;
    float most = 0;
    for (int64_t i = at; i < end; i++) most = fmaxf(most, fabsf(x[i]));
    float d = round_float(fminf(most / 127, 65504), DT_f16), inverse = d > 0 ? 1 / d : 0;
    for (int64_t i = at; i < end; i++) x[i] = d * fminf(fmaxf(rintf(x[i] * inverse), -127), 127);
  }
}

/* A head's key as i16 gives it back: s = |x| / 32256 by the Euclidean norm, q = rint(x / s). */
static void round_i16(float *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
  double s = sqrt(sum) / 32256;
  for (int64_t i = 0; i < n; i++) x[i] = s > 0 ? (float)(s * rint(x[i] / s)) : 0;
}

/* And its values: codes below 2^13 times a power of two. */
static void round_values_i16(float *x, int64_t n) {
  float most = 0;
  for (int64_t i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
  int e;
  frexpf(most * (1 + 0x1p-13f), &e);
  for (int64_t i = 0; i < n; i++) x[i] = most > 0 ? ldexpf(rintf(ldexpf(x[i], 13 - e)), e - 13) : 0;
}

static void round_heads_i16(float *k, float *v, int64_t heads, int64_t width, int64_t v_width) {
  for (int64_t i = 0; i < heads; i++) {
    round_i16(k + i * width, width);
    round_values_i16(v + i * v_width, v_width);
  }
}

REF(kv_append) {
  const RefTensor *k = ref_value(c, op->in[1]), *v = ref_value(c, op->in[2]);
  uint32_t index;
  const StateDef *state = value_state(c->graph, op->in[0], &index);
  int64_t row = k->dim[1] * k->dim[2], at = past(c), end = at + k->dim[0];
  if (at < 0 || end > state->context)
    return op_error(c->diag, "eval", op, "positions %lld..%lld are beyond the context of %lld",
                    (long long)at, (long long)end - 1, (long long)state->context);
  RefState *cache = &c->states[index];
  bool codes = state->dtype == DT_i16;
  for (int64_t i = 0; i < k->elements; i++) {
    cache->k[at * row + i] = codes ? k->f[i] : round_float(k->f[i], state->dtype);
    cache->v[at * row + i] = codes ? v->f[i] : round_float(v->f[i], state->dtype);
  }
  if (codes)
    round_heads_i16(cache->k + at * row, cache->v + at * row, k->dim[0] * k->dim[1],
                    state->head_dim, state->head_dim);
  for (int64_t i = 0; state->storage == Q_q8_0 && i < k->elements; i += state->head_dim) {
    round_q8_0(cache->k + at * row + i, state->head_dim);
    round_q8_0(cache->v + at * row + i, state->head_dim);
  }
  ref_result(c, op->out[0]);
  return OK;
}

/* ---- attention ---- */

static Status verify_attention_attrs(const Op *op, Diag *d, const char *where) {
  const Attrs_attention *a = &op->attrs.attention;
  if (!(a->scale > 0) || !isfinite(a->scale))
    return op_error(d, where, op, "scale is %g (expected > 0)", a->scale);
  if (a->window < 0 || !(a->softcap >= 0) || !isfinite(a->softcap))
    return op_error(d, where, op, "window and softcap must be >= 0 (0 is none)");
  return OK;
}

static Status check_groups(const Op *op, int64_t heads, int64_t width, int64_t kv_heads,
                           int64_t kv_width, Diag *d, const char *where) {
  if (width == kv_width && kv_heads > 0 && heads % kv_heads == 0) return OK;
  return op_error(d, where, op, "%lld query heads of %lld over %lld key heads of %lld",
                  (long long)heads, (long long)width, (long long)kv_heads, (long long)kv_width);
}

INFER(attention_kv) {
  const StateDef *state;
  int64_t heads, width;
  Dims *dims = g->module->dims;
  TRY(need_heads(g, op, 0, &heads, &width, d, where));
  TRY(need_state(g, op, 1, &state, d, where));
  TRY(check_groups(op, heads, width, state->kv_heads, state->head_dim, d, where));
  if (op->nin > 2) {
    DimId p = dim_find(dims, "P"), s = operand_type(g, op, 0)->dim[0];
    DimId keys = p ? dim_try_op(dims, DIM_ADD, p, s) : s;
    if (!keys) return op_error(d, where, op, "P and the length are too large together");
    TRY(need_vector(g, op, 2, keys, d, where));
  }
  same_type(g, op, out, nout);
  return OK;
}
VERIFY(attention_kv) {
  (void)g;
  if (op->attrs.attention.act != ACT_f32)
    return op_error(d, where, op, "has an act: what a cache holds is in the cache's own format");
  return verify_attention_attrs(op, d, where);
}

INFER(attention) {
  int64_t heads, width, kv_heads, k_width, v_heads, v_width;
  TRY(need_heads(g, op, 0, &heads, &width, d, where));
  TRY(need_heads(g, op, 1, &kv_heads, &k_width, d, where));
  TRY(need_heads(g, op, 2, &v_heads, &v_width, d, where));
  TRY(check_groups(op, heads, width, kv_heads, k_width, d, where));
  DimId keys = operand_type(g, op, 1)->dim[0];
  if (v_heads != kv_heads || operand_type(g, op, 2)->dim[0] != keys)
    return op_error(d, where, op, "keys and values do not belong together");
  if (op->attrs.attention.causal && operand_type(g, op, 0)->dim[0] != keys)
    return op_error(d, where, op, "causal needs as many keys as queries");
  if (op->nin > 3) TRY(need_vector(g, op, 3, keys, d, where));
  if (op->nin > 4) {
    int64_t numbers;
    TRY(need_index(g, op, 4, 2, d, where));
    const Type *t = operand_type(g, op, 4);
    if (t->dtype != DT_i32 || t->rank != 2 || !literal(g, t->dim[1], &numbers) || numbers != 4)
      return op_error(d, where, op, "spans must be [W, 4] in i32");
  }
  same_type(g, op, out, nout);
  out[0].dim[2] = operand_type(g, op, 2)->dim[2];
  return OK;
}
bool attention_codes(const Graph *g, const Op *op) {
  int64_t width;
  for (uint32_t i = 0; i < 3; i++)
    if (!literal(g, operand_type(g, op, i)->dim[2], &width) || width > CODED_HEAD) return false;
  return true;
}

VERIFY(attention) {
  ActFormat act = op->attrs.attention.act;
  if (act != ACT_f32 && act != ACT_i16)
    return op_error(d, where, op, "act is of 8 bits (expected f32 or i16)");
  if (act == ACT_i16 && !attention_codes(g, op))
    return op_error(d, where, op, "act is i16 of heads of more than %d", CODED_HEAD);
  return verify_attention_attrs(op, d, where);
}

/* Keys [n, kv_heads, width], values [n, kv_heads, v_width]. */
typedef struct Keys {
  const float *k, *v, *mask;
  const int64_t *spans; /* NULL: one of all */
  int64_t nspans, n, kv_heads, width, v_width, past;
} Keys;

static bool visible(const Keys *keys, const Attrs_attention *a, int64_t query, int64_t key) {
  int64_t position = keys->past + query, distance = llabs(position - key);
  if (a->causal && key > position) return false;
  if (a->window > 0 && distance >= a->window) return false;
  if (keys->spans) {
    const int64_t *s = keys->spans, *end = s + 4 * keys->nspans;
    while (s < end && !(s[0] <= query && query < s[1])) s += 4;
    if (s == end || key < s[2] || key >= s[3]) return false;
  }
  return !keys->mask || keys->mask[key] != 0;
}

/* The weights of one query over all keys, into p; false when it sees none. */
static bool weigh(const Keys *keys, const Attrs_attention *a, const float *q, int64_t query,
                  int64_t kv_head, double *p) {
  double max = -INFINITY, sum = 0;
  for (int64_t j = 0; j < keys->n; j++) {
    p[j] = -INFINITY;
    if (!visible(keys, a, query, j)) continue;
    const float *k = keys->k + (j * keys->kv_heads + kv_head) * keys->width;
    double dot = 0;
    for (int64_t i = 0; i < keys->width; i++) dot += (double)q[i] * k[i];
    p[j] = dot * a->scale;
    if (a->softcap > 0) p[j] = a->softcap * tanh(p[j] / a->softcap);
    max = fmax(max, p[j]);
  }
  if (max == -INFINITY) return false;
  for (int64_t j = 0; j < keys->n; j++) sum += p[j] = exp(p[j] - max);
  for (int64_t j = 0; j < keys->n; j++) p[j] /= sum;
  return true;
}

static void attend(RefCtx *c, const Op *op, const RefTensor *q, const Keys *keys, RefTensor *out) {
  int64_t heads = q->dim[1], group = heads / keys->kv_heads;
  double *p = ARENA_ARRAY(c->arena, double, (size_t)keys->n + 1);
  for (int64_t row = 0; row < q->dim[0] * heads; row++) {
    int64_t query = row / heads, kv_head = row % heads / group;
    float *y = out->f + row * keys->v_width;
    bool any = weigh(keys, &op->attrs.attention, q->f + row * keys->width, query, kv_head, p);
    for (int64_t i = 0; i < keys->v_width; i++) {
      double sum = 0;
      for (int64_t j = 0; any && j < keys->n; j++)
        sum += p[j] * keys->v[(j * keys->kv_heads + kv_head) * keys->v_width + i];
      y[i] = (float)sum;
    }
  }
}

REF(attention_kv) {
  const RefTensor *q = ref_value(c, op->in[0]);
  uint32_t index;
  const StateDef *state = value_state(c->graph, op->in[1], &index);
  Keys keys = {.k = c->states[index].k, .v = c->states[index].v};
  keys.kv_heads = state->kv_heads;
  keys.width = keys.v_width = state->head_dim;
  keys.past = past(c);
  keys.n = keys.past + q->dim[0];
  if (keys.n > state->context)
    return op_error(c->diag, "eval", op, "%lld positions are beyond the context of %lld",
                    (long long)keys.n, (long long)state->context);
  if (op->nin > 2) keys.mask = ref_value(c, op->in[2])->f;
  attend(c, op, q, &keys, ref_result(c, op->out[0]));
  return OK;
}

REF(attention) {
  const RefTensor *q = ref_value(c, op->in[0]), *k = ref_value(c, op->in[1]);
  const RefTensor *v = ref_value(c, op->in[2]);
  Keys keys = {.k = k->f, .v = v->f, .mask = op->nin > 3 ? ref_value(c, op->in[3])->f : NULL};
  if (op->nin > 4) {
    keys.spans = ref_value(c, op->in[4])->i;
    keys.nspans = ref_value(c, op->in[4])->dim[0];
  }
  keys.n = k->dim[0];
  keys.kv_heads = k->dim[1];
  keys.width = k->dim[2];
  keys.v_width = v->dim[2];
  if (op->attrs.attention.act == ACT_i16) {
    float *codes = ARENA_ARRAY(c->arena, float, (size_t)(k->elements + v->elements) + 1);
    memcpy(codes, k->f, (size_t)k->elements * sizeof *codes);
    memcpy(codes + k->elements, v->f, (size_t)v->elements * sizeof *codes);
    round_heads_i16(codes, codes + k->elements, keys.n * keys.kv_heads, keys.width, keys.v_width);
    keys.k = codes;
    keys.v = codes + k->elements;
  }
  attend(c, op, q, &keys, ref_result(c, op->out[0]));
  return OK;
}
