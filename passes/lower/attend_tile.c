/* Class attend: the online softmax of one tile of queries (Milakov and Gimelshein 2018).
 *
 *   for chunks of keys, at absolute positions, ascending:
 *     s = q . k for blocks of 64, hidden keys far below all others    // in powers of two
 *     m = max s;  p = 2^(s - m), 0 where hidden
 *     l += (p0 + p1) + (p2 + p3) for the four vectors of each block;  o = fma(p[j], v[j], o)
 *     M' = max(M, m);  L = L * 2^(M - M') + l * 2^(m - M');  O in the same way
 *
 * A chunk that is wholly hidden from a row has weights of 1, which the first visible key erases
 * exactly (2^(M - M') = 0); a row that never sees a key is known by its maximum. Odd: the result is
 * an fma with +0, so that no zero keeps the sign of what was erased.
 */
#include "passes/lower/attend.h"
#include "passes/math/math.h"

static const double HIDDEN = -1e30; /* below every score */

Softmax attend_begin(Attend *a) {
  KBuilder *b = &a->d.b;
  Softmax x;
  KVal zero = k_f32(b, 16, 0);
  for (int64_t i = 0; i < a->tile * attend_row(a); i += 16)
    k_store(b, zero, k_off(k_addr(a->sums), i));
  for (uint32_t i = 0; i < a->tile; i++) {
    x.m[i] = k_f32(b, 16, HIDDEN);
    x.l[i] = zero;
  }
  return x;
}

/* ---- which keys are seen ------------------------------------------------------------------- */

KVal attend_block(Attend *a, KVal key, int64_t size) {
  KBuilder *b = &a->d.b;
  KVal distance = k_op2(b, KOP_sub, key, a->begin);
  return k_op2(b, KOP_add, a->begin, k_op2(b, KOP_and, distance, k_i64(b, -size)));
}

KeyRange attend_key_range(Attend *a) {
  KBuilder *b = &a->d.b;
  KVal first = k_op2(b, KOP_add, a->past, a->token[0]);
  KVal last = k_op2(b, KOP_add, a->past, a->token[a->tile - 1]);
  KeyRange r = {.lo = a->begin, .hi = a->end, .all_lo = a->begin, .all_hi = a->end};
  int64_t window = a->attrs->window;
  if (a->attrs->causal) {
    r.hi = k_add64(b, last, 1);
    r.all_hi = k_add64(b, first, 1);
  } else if (window > 0) {
    r.hi = k_op2(b, KOP_min, a->end, k_add64(b, last, window));
    r.all_hi = k_op2(b, KOP_min, a->end, k_add64(b, first, window));
  }
  if (window > 0) {
    KVal from = k_op2(b, KOP_max, k_add64(b, first, 1 - window), a->begin);
    r.lo = attend_block(a, from, KEY_BLOCK);
    r.all_lo = k_add64(b, last, 1 - window);
  }
  return r;
}

static KVal both(KBuilder *b, KVal x, KVal y) {
  return x ? k_op2(b, KOP_and, x, y) : y;
}

/* Which of the keys first .. first+15 row i may see. */
static KVal visible(Attend *a, uint32_t i, KVal first, KVal masked) {
  KBuilder *b = &a->d.b;
  KVal key = k_op2(b, KOP_add, k_splat(b, k_cvt(b, first, K_i32)), k_iota(b));
  KVal end = k_splat(b, k_cvt(b, a->end, K_i32)), see = masked;
  KVal window = k_int(b, KT(i32, 16), a->attrs->window);
  if (a->attrs->causal) see = both(b, see, k_op2(b, KOP_le, key, a->position[i]));
  if (!a->attrs->causal || a->spanned) see = both(b, see, k_op2(b, KOP_lt, key, end));
  if (a->attrs->window > 0) {
    see = both(b, see, k_op2(b, KOP_gt, key, k_op2(b, KOP_sub, a->position[i], window)));
    if (!a->attrs->causal)
      see = both(b, see, k_op2(b, KOP_lt, key, k_op2(b, KOP_add, a->position[i], window)));
  }
  return see;
}

/* The mask of keys first .. first+15, 0 when there is no mask operand. */
static KVal load_mask(Attend *a, KVal first) {
  KBuilder *b = &a->d.b;
  if (!a->masked) return 0;
  KVal left = k_cvt(b, k_op2(b, KOP_sub, a->keys, first), K_i32);
  KVal there = k_op2(b, KOP_lt, k_iota(b), k_splat(b, left));
  KType t = {(uint8_t)kscalar_of(a->mask.dtype), 16};
  KVal m = k_cvt(b, k_load_mask(b, t, k_at(k_addr(a->mb), first, 1), there), K_f32);
  return k_op2(b, KOP_ne, m, k_f32(b, 16, 0));
}

static void hide_some(Attend *a, KVal key, uint32_t n, const KVal *s, KVal *out) {
  KBuilder *b = &a->d.b;
  for (uint32_t v = 0; v < n; v++) {
    KVal first = k_add64(b, key, 16 * v), masked = load_mask(a, first);
    for (uint32_t i = 0; i < a->tile; i++)
      out[i * n + v] =
          k_select(b, visible(a, i, first, masked), s[i * n + v], k_f32(b, 16, HIDDEN));
  }
}

/* Hides what a row may not see of `n` vectors of keys from `key` on; what lies in the middle is
 * seen whole. */
static void hide(Attend *a, const KeyRange *r, KVal key, uint32_t n, KVal *s) {
  KBuilder *b = &a->d.b;
  KVal hidden[MAX_TILE * KEY_VECTORS];
  if (a->masked) {
    hide_some(a, key, n, s, s);
    return;
  }
  KVal edge = k_op2(b, KOP_gt, k_add64(b, key, 16 * n), r->all_hi);
  if (a->attrs->window > 0) edge = k_op2(b, KOP_or, edge, k_op2(b, KOP_lt, key, r->all_lo));
  k_if(b, edge);
  hide_some(a, key, n, s, hidden);
  k_else(b, a->tile * n, hidden);
  k_if_end(b, a->tile * n, s, s);
}

/* ---- one chunk of keys --------------------------------------------------------------------- */

static void cap(Attend *a, uint32_t n, KVal *s) {
  KBuilder *b = &a->d.b;
  if (!(a->attrs->softcap > 0)) return;
  for (uint32_t i = 0; i < n; i++) /* queries came times scale / softcap */
    s[i] = k_op2(b, KOP_mul, k_op1(b, KOP_tanh, s[i]),
                 k_f32(b, 16, a->attrs->softcap * 1.4426950408889634));
}

/* Where the weights of row i and the keys from `key` (counted within the chunk) on stand. */
static KAddr weight_at(const Attend *a, uint32_t i, KVal key) {
  return k_off(k_at(k_addr(a->p), key, 1), i * a->chunk);
}

/* Scores of n vectors of keys from `key` on into the local, from its key `at` on; top[i] becomes
 * the largest of row i so far, by lanes. */
static void score_keys(Attend *a, const KeyRange *r, KVal key, KVal at, uint32_t n, KVal *top) {
  KBuilder *b = &a->d.b;
  KVal s[MAX_TILE * KEY_VECTORS];
  attend_scores(a, key, n, s);
  cap(a, a->tile * n, s);
  if (a->cache.i16) attend_i16_raise(a, key, n, s);
  hide(a, r, key, n, s);
  for (uint32_t i = 0; i < a->tile; i++)
    for (uint32_t v = 0; v < n; v++) {
      k_store(b, s[i * n + v], k_off(weight_at(a, i, at), 16 * v));
      top[i] = k_op2(b, KOP_max, top[i], s[i * n + v]);
    }
}

/* The same of a block, as many vectors at once as registers hold; the rest of them by one. */
static void score_block(Attend *a, const KeyRange *r, KVal lo, KVal block, KVal *top) {
  KBuilder *b = &a->d.b;
  int64_t step = 16 * a->vectors, whole = KEY_BLOCK / step * step;
  KVal from = k_op2(b, KOP_sub, block, lo), zero = k_i64(b, 0);
  KVal at = whole > step ? k_for(b, "kv", zero, k_i64(b, whole), step, a->tile, top) : zero;
  score_keys(a, r, k_op2(b, KOP_add, block, at), k_op2(b, KOP_add, from, at), a->vectors, top);
  if (whole > step) k_for_end(b, top);
  if (whole < KEY_BLOCK)
    score_keys(a, r, k_add64(b, block, whole), k_add64(b, from, whole),
               (uint32_t)(KEY_BLOCK - whole) / 16, top);
}

/* Weights of row i in place of the scores of 64 keys; gives l with their sum. share: i16, see
 * attend_i16_share. */
static KVal weigh(Attend *a, uint32_t i, KVal at, KVal m, const KVal *share, KVal l) {
  KBuilder *b = &a->d.b;
  KVal p[KEY_VECTORS], sum[2];
  for (int v = 0; v < KEY_VECTORS; v++) {
    KAddr x = k_off(weight_at(a, i, at), 16 * v);
    KVal d = k_op2(b, KOP_sub, k_load(b, KT(f32, 16), x), m);
    p[v] = a->cache.i16 ? math_exp2_decay_short(b, d) : math_exp2_decay(b, d);
    if (!a->cache.i16) k_store(b, p[v], x);
  }
  if (a->cache.i16) attend_i16_keep(a, i, at, p);
  for (int v = 0; v < 2; v++)
    sum[v] = a->cache.i16 ? k_fma(b, p[2 * v + 1], share[2 * v + 1],
                                  k_op2(b, KOP_mul, p[2 * v], share[2 * v]))
                          : k_op2(b, KOP_add, p[2 * v], p[2 * v + 1]);
  return k_op2(b, KOP_add, l, k_op2(b, KOP_add, sum[0], sum[1]));
}

Softmax attend_chunk(Attend *a, const KeyRange *r, KVal lo, KVal hi) {
  KBuilder *b = &a->d.b;
  Softmax x;
  for (uint32_t i = 0; i < a->tile; i++) {
    x.m[i] = k_f32(b, 16, HIDDEN);
    x.l[i] = k_f32(b, 16, 0);
  }
  KVal block = k_for(b, "kb", lo, hi, KEY_BLOCK, a->tile, x.m);
  score_block(a, r, lo, block, x.m);
  k_for_end(b, x.m);
  for (uint32_t i = 0; i < a->tile; i++) {
    KVal m = k_op1(b, KOP_reduce_max, x.m[i]);
    if (a->cache.i16) m = attend_i16_maximum(a, m);
    x.m[i] = k_splat(b, m);
  }
  KVal count = k_op2(b, KOP_sub, hi, lo);
  KVal at = k_for(b, "at", k_i64(b, 0), count, KEY_BLOCK, a->tile, x.l);
  KVal share[KEY_VECTORS] = {0}, first = k_op2(b, KOP_add, lo, at);
  for (int v = 0; a->cache.i16 && v < KEY_VECTORS; v++)
    share[v] = attend_i16_share(a, k_add64(b, first, 16 * v));
  for (uint32_t i = 0; i < a->tile; i++) x.l[i] = weigh(a, i, at, x.m[i], share, x.l[i]);
  k_for_end(b, x.l);
  return x;
}

/* ---- joining and ending -------------------------------------------------------------------- */

void attend_join(Attend *a, uint32_t i, Softmax *all, const Softmax *chunk, Shares *shares) {
  KBuilder *b = &a->d.b;
  KVal next = k_op2(b, KOP_max, all->m[i], chunk->m[i]);
  shares->old[i] = math_exp2_decay(b, k_op2(b, KOP_sub, all->m[i], next));
  shares->more[i] = math_exp2_decay(b, k_op2(b, KOP_sub, chunk->m[i], next));
  KVal l = k_op2(b, KOP_mul, chunk->l[i], shares->more[i]);
  all->l[i] = k_fma(b, all->l[i], shares->old[i], l);
  all->m[i] = next;
}

/* Nothing is before the first chunk: its shares are 0 and 1, which takes no powers. */
void attend_join_tile(Attend *a, KVal only, Softmax *all, const Softmax *chunk, Shares *shares) {
  KBuilder *b = &a->d.b;
  KVal first[4 * MAX_TILE], next[4 * MAX_TILE], got[4 * MAX_TILE];
  uint32_t n = a->tile;
  for (uint32_t i = 0; i < n; i++) {
    first[i] = k_f32(b, 16, 0);
    first[n + i] = k_f32(b, 16, 1);
    first[2 * n + i] = chunk->m[i];
    first[3 * n + i] = chunk->l[i];
  }
  k_if(b, only);
  k_else(b, 4 * n, first);
  for (uint32_t i = 0; i < n; i++) {
    attend_join(a, i, all, chunk, shares);
    next[i] = shares->old[i];
    next[n + i] = shares->more[i];
    next[2 * n + i] = all->m[i];
    next[3 * n + i] = all->l[i];
  }
  k_if_end(b, 4 * n, next, got);
  for (uint32_t i = 0; i < n; i++) {
    shares->old[i] = got[i];
    shares->more[i] = got[n + i];
    all->m[i] = got[2 * n + i];
    all->l[i] = got[3 * n + i];
  }
}

void attend_sum(Attend *a, uint32_t i, KAddr at, KVal o, const Shares *shares) {
  KBuilder *b = &a->d.b;
  if (shares->old[i]) {
    KVal more = k_op2(b, KOP_mul, o, shares->more[i]);
    o = k_fma(b, k_load(b, KT(f32, 16), at), shares->old[i], more);
  }
  k_store(b, o, at);
}

void attend_store(Attend *a, uint32_t i, const Softmax *all) {
  KBuilder *b = &a->d.b;
  KVal sum = k_op1(b, KOP_reduce_add, all->l[i]), zero = k_f32(b, 16, 0);
  KVal inverse = k_splat(b, k_op2(b, KOP_div, k_f32(b, 1, 1), sum));
  KVal none = k_op2(b, KOP_le, all->m[i], k_f32(b, 16, HIDDEN / 2));
  KScalar s = kscalar_of(a->y.dtype);
  KAddr row = k_at(k_at(k_addr(a->yb), a->token[i], attend_stride(a, &a->y, 0)), a->head[i],
                   attend_stride(a, &a->y, 1));
  for (int64_t v = 0; 16 * v < a->vdim; v++) {
    KVal o = k_load(b, KT(f32, 16), k_off(k_addr(a->sums), i * attend_row(a) + 16 * v));
    KVal y = k_cvt(b, k_select(b, none, zero, k_fma(b, o, inverse, zero)), s);
    int64_t left = a->vdim - 16 * v;
    KVal there = k_op2(b, KOP_lt, k_iota(b), k_int(b, KT(i32, 16), left));
    if (left >= 16)
      k_store(b, y, k_off(row, 16 * v));
    else
      k_store_mask(b, y, k_off(row, 16 * v), there);
  }
}
