/* Scales of super-blocks by least squares.
 *
 * For every part: code x with a handful of scales around the one that spans its range, solve for
 * the scale (and minimum) that suit those codes best, keep the pair of least squared error, refine
 * it by coding again (Lloyd's alternation). Then d (and dmin) spread the parts' scales over their
 * integers; each part looks at the integers next to its own for the least error with d as it is
 * rounded to f16; last d and dmin are solved for once more with all codes fixed, and kept if that
 * pays. Errors count as the elements' weights say. No step depends on anything but the block, so
 * encodings are the same on every machine. Sums are of eight strands, added at the end, which
 * compilers turn into vectors.
 */
#include "ir/quant/fit.h"

#include <math.h>

enum { STRANDS = FIT_STRANDS, TRIES = 5, SPREADS = 9, PASSES = 1, LARGEST_PART = QK };

/* Weighted sums of values q and elements x. */
typedef struct Sums {
  float q, qq, xq;
} Sums;

/* Elements with their weights. */
typedef struct Row {
  const float *x, *w;
} Row;

static Row row_at(Row r, int i) {
  return (Row){r.x + i, r.w + i};
}

const float *fit_weights(const float *weight, int n, float *ones) {
  for (int i = 0; weight && i < n; i++)
    if (weight[i] > 0) return weight;
  for (int i = 0; i < n; i++) ones[i] = 1;
  return ones;
}

static Row row_of(const float *x, const float *weight, int n, float *ones) {
  return (Row){x, fit_weights(weight, n, ones)};
}

/* What codes there are: 0 .. top, worth code - zero each; or 0 .. 15, worth table[code]. */
typedef struct Coder {
  float top, zero;
  const int8_t *table;
} Coder;

/* The code nearest to v, 0 .. top; 0 for NaN. */
static inline float nearest(float v, float top) {
  v += 0.5f;
  v = v > 0 ? v : 0;
  v = v < top ? v : top;
  return (float)(int)v;
}

/* The middle between entries i and i + 1 of a table. */
static inline float middle(const int8_t *table, int i) {
  return 0.5f * (float)(table[i] + table[i + 1]);
}

uint8_t table_nearest(const int8_t *table, float v) {
  int code = 0;
  for (int i = 0; i < 15; i++) code += v > middle(table, i);
  return (uint8_t)code;
}

/* Replaces each of eight scaled elements by the value nearest to it. */
static inline void code_strands(const Coder *c, Strands *v) {
  Strands zeros = {0}, top = zeros + c->top;
  if (c->table) {
    Strands value = zeros + (float)c->table[0];
    for (int i = 0; i < 15; i++) {
      Strands step = zeros + (float)(c->table[i + 1] - c->table[i]);
      value += STRANDS_WHERE(*v > middle(c->table, i), step);
    }
    *v = value;
    return;
  }
  Strands u = *v + c->zero + 0.5f;
  u = STRANDS_WHERE(u > 0, u);
  u = STRANDS_WHERE(u < top, u) + STRANDS_WHERE(u >= top, top);
  *v = __builtin_convertvector(__builtin_convertvector(u, StrandMasks), Strands) - c->zero;
}

/* Sums over the values q nearest to (x - lo) * inverse. */
FIT_CLONES static Sums code_sums(const Coder *c, Row r, int n, float lo, float inverse) {
  Strands q = {0}, qq = {0}, xq = {0};
  for (int i = 0; i < n; i += STRANDS) {
    Strands x = STRANDS_AT(r.x + i), v = (x - lo) * inverse;
    code_strands(c, &v);
    Strands wv = STRANDS_AT(r.w + i) * v;
    q += wv;
    qq += wv * v;
    xq += wv * x;
  }
  return (Sums){STRANDS_SUM(q), STRANDS_SUM(qq), STRANDS_SUM(xq)};
}

static float inverse_of(float scale) {
  return scale != 0 ? 1.0f / scale : 0;
}

/* Squared error of x against scale * value + min with the best codes. */
FIT_CLONES static float part_error(const Coder *c, Row r, int n, float scale, float min) {
  Strands error = {0};
  float inverse = inverse_of(scale);
  for (int i = 0; i < n; i += STRANDS) {
    Strands x = STRANDS_AT(r.x + i), v = (x - min) * inverse;
    code_strands(c, &v);
    Strands e = scale * v + min - x;
    error += STRANDS_AT(r.w + i) * e * e;
  }
  return STRANDS_SUM(error);
}

static void part_codes(const Coder *c, const float *x, int n, float scale, float min,
                       uint8_t *code) {
  float inverse = inverse_of(scale);
  for (int k = 0; k < n; k++) {
    float v = (x[k] - min) * inverse;
    code[k] = c->table ? table_nearest(c->table, v) : (uint8_t)nearest(v + c->zero, c->top);
  }
}

static int nearest_int(float v, int lo, int hi) {
  if (!(v > (float)lo)) return lo;
  return v >= (float)hi ? hi : (int)floorf(v + 0.5f);
}

/* ---- one part
 * ------------------------------------------------------------------------------------
 */

typedef struct Part {
  float scale, min, error;
  float qq; /* how much the error grows with the square of the scale's; symmetric parts only */
} Part;

/* The better of `best` and scale, min for the codes that gave `s`; min stays at most 0. n, x, xx:
 * sums of weights, elements, squares. */
static void solve_affine(const Sums *s, float n, float x, float xx, Part *best) {
  float det = n * s->qq - s->q * s->q;
  float scale = 0, min = x / n;
  if (det > 0) {
    scale = (n * s->xq - x * s->q) / det;
    min = (s->qq * x - s->q * s->xq) / det;
  }
  if (min > 0) {
    min = 0;
    scale = s->qq > 0 ? s->xq / s->qq : 0;
  }
  float error = xx - 2 * (scale * s->xq + min * x) + scale * scale * s->qq +
                2 * scale * min * s->q + n * min * min;
  if (scale >= 0 && error < best->error) *best = (Part){scale, min, error};
}

static Part affine_part(const Coder *c, Row r, int n) {
  const float *x = r.x;
  float lo = 0, hi = x[0], all = 0, sum = 0, squares = 0;
  for (int i = 0; i < n; i++) {
    lo = x[i] < lo ? x[i] : lo;
    hi = x[i] > hi ? x[i] : hi;
    all += r.w[i];
    sum += r.w[i] * x[i];
    squares += r.w[i] * x[i] * x[i];
  }
  Part best = {0, 0, INFINITY};
  if (!(hi > lo)) return (Part){0, lo, 0}; /* all equal, at most 0 */
  for (int t = -TRIES; t <= TRIES; t++) {
    float reach = c->top + (float)t * (c->top > 3 ? 0.2f : 0.12f);
    Sums s = code_sums(c, r, n, lo, reach / (hi - lo));
    solve_affine(&s, all, sum, squares, &best);
  }
  for (int i = 0; i < PASSES && best.scale > 0; i++) {
    Sums s = code_sums(c, r, n, best.min, 1 / best.scale);
    solve_affine(&s, all, sum, squares, &best);
  }
  return best;
}

static void solve_symmetric(const Sums *s, float xx, Part *best) {
  if (!(s->qq > 0)) return;
  float scale = s->xq / s->qq, error = xx - scale * s->xq;
  if (error < best->error) *best = (Part){scale, 0, error, s->qq};
}

/* Scales at which the element that counts most is worth a code: under an importance that is not the
 * extreme, which may then be cut off. */
static void hit_heaviest(const Coder *c, Row r, int n, float squares, Part *best) {
  int at = 0;
  for (int i = 1; i < n; i++)
    if (r.w[i] * r.x[i] * r.x[i] > r.w[at] * r.x[at] * r.x[at]) at = i;
  for (float code = -c->zero; code < c->zero && r.x[at] != 0; code++) {
    Sums s = code_sums(c, r, n, 0, code / r.x[at]);
    solve_symmetric(&s, squares, best);
  }
}

/* Scales that put the extreme near the lowest value and, of coarse or uneven codes, the highest. */
static Part symmetric_part(const Coder *c, Row r, int n) {
  const float *x = r.x;
  float extreme = 0, squares = 0;
  float low = c->table ? (float)c->table[0] : -c->zero;
  float high = c->table ? (float)c->table[15] : c->top - c->zero;
  float step = c->table ? 1.8f : c->zero > 4 ? 0.2f : 0.14f;
  for (int i = 0; i < n; i++) {
    if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    squares += r.w[i] * x[i] * x[i];
  }
  Part best = {0, 0, INFINITY};
  if (!(fabsf(extreme) > 0)) return best;
  for (int t = -TRIES; t <= TRIES; t++) {
    Sums s = code_sums(c, r, n, 0, (low - (float)t * step) / extreme);
    solve_symmetric(&s, squares, &best);
    if (!c->table && c->zero > 4) continue;
    s = code_sums(c, r, n, 0, (high + (float)t * step) / extreme);
    solve_symmetric(&s, squares, &best);
  }
  if (!c->table && c->zero <= 4) hit_heaviest(c, r, n, squares, &best);
  for (int i = 0; i < PASSES && best.scale != 0; i++) {
    Sums s = code_sums(c, r, n, 0, 1 / best.scale);
    solve_symmetric(&s, squares, &best);
  }
  return best;
}

float fit_table_scale(const float *x, const float *weight, int n, const int8_t *table) {
  float ones[QS];
  return symmetric_part(&(Coder){.table = table}, row_of(x, weight, n, ones), n).scale;
}

float fit_block_scale(const float *x, const float *weight, int zero) {
  float ones[QK];
  Coder c = {(float)(2 * zero - 1), (float)zero, NULL};
  return symmetric_part(&c, row_of(x, weight, QK, ones), QK).scale;
}

/* From the largest element down, so that the minimum is at most 0, as affine_part has it. */
void fit_block_affine(const float *x, const float *weight, int code_top, float *scale, float *min) {
  float ones[QK], below[QK], lo, hi;
  Coder c = {.top = (float)code_top};
  block_range(x, &lo, &hi);
  for (int k = 0; k < QK; k++) below[k] = x[k] - hi;
  Part p = affine_part(&c, row_of(below, weight, QK, ones), QK);
  *scale = p.scale;
  *min = p.min + hi;
}

/* ---- a super-block
 * -------------------------------------------------------------------------------
 */

typedef struct Fit {
  Row r;
  int parts, n; /* elements of a part */
  int lo, hi;   /* of a scale */
  int min_top;  /* of a minimum: 0 for none */
  Coder coder;
  Part part[QS_PARTS];
} Fit;

static float d_of(const Super *s) {
  return f16_to_f32(s->d);
}

/* Integers of part i next to those that its own fit asks for, by error with the rounded d, dmin. */
static float choose_integers(const Fit *f, int i, Super *s) {
  float d = d_of(s), dmin = f->min_top ? f16_to_f32(s->dmin) : 0, best = INFINITY;
  Row r = row_at(f->r, i * f->n);
  int scale = nearest_int(d != 0 ? f->part[i].scale / d : 0, f->lo, f->hi);
  int min = nearest_int(dmin != 0 ? -f->part[i].min / dmin : 0, 0, f->min_top);
  s->scale[i] = (int8_t)scale;
  s->min[i] = (uint8_t)min;
  for (int a = scale - 1; a <= scale + 1; a++) {
    for (int b = min - 1; b <= min + 1; b++) {
      if (a < f->lo || a > f->hi || b < 0 || b > f->min_top) continue;
      float error = part_error(&f->coder, r, f->n, d * (float)a, -dmin * (float)b);
      if (!(error < best)) continue;
      best = error;
      s->scale[i] = (int8_t)a;
      s->min[i] = (uint8_t)b;
    }
  }
  return best;
}

/* Codes for the scales in `s`; the error. */
static double fill_codes(const Fit *f, Super *s) {
  float d = d_of(s), dmin = f->min_top ? f16_to_f32(s->dmin) : 0;
  double error = 0;
  for (int i = 0; i < f->parts; i++) {
    Row r = row_at(f->r, i * f->n);
    float scale = d * (float)s->scale[i], min = -dmin * (float)s->min[i];
    error += part_error(&f->coder, r, f->n, scale, min);
    part_codes(&f->coder, r.x, f->n, scale, min, s->code + i * f->n);
  }
  return error;
}

/* d and dmin of least error for the codes, scales and minima as they are. */
static void solve_halves(const Fit *f, Super *s) {
  double uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;
  for (int i = 0; i < f->parts; i++) {
    double all = 0, q = 0, qq = 0, xq = 0, x = 0, scale = s->scale[i], min = s->min[i];
    for (int k = i * f->n; k < (i + 1) * f->n; k++) {
      int c = s->code[k];
      double code = f->coder.table ? f->coder.table[c] : c - (int)f->coder.zero, w = f->r.w[k];
      double value = f->r.x[k];
      all += w;
      q += w * code;
      qq += w * code * code;
      xq += w * value * code;
      x += w * value;
    }
    uu += scale * scale * qq;
    uv -= scale * min * q;
    vv += min * min * all;
    xu += scale * xq;
    xv -= min * x;
  }
  double det = uu * vv - uv * uv;
  if (f->min_top && det > 1e-9 * uu * vv && det > 0) {
    s->d = f32_to_f16((float)((xu * vv - xv * uv) / det));
    s->dmin = f32_to_f16((float)((xv * uu - xu * uv) / det));
  } else if (uu > 0 && !(vv > 0)) {
    s->d = f32_to_f16((float)(xu / uu));
  }
}

static void finish(const Fit *f, Super *s) {
  for (int i = 0; i < f->parts; i++) choose_integers(f, i, s);
  double error = fill_codes(f, s);
  for (int pass = 0; pass < PASSES; pass++) {
    Super other = *s;
    solve_halves(f, &other);
    for (int i = 0; i < f->parts; i++) choose_integers(f, i, &other);
    double now = fill_codes(f, &other);
    if (!(now < error)) return;
    error = now;
    *s = other;
  }
}

void fit_affine(const float *x, const float *weight, int parts, int scale_top, int code_top,
                Super *s) {
  float ones[QS];
  Fit f = {.r = row_of(x, weight, QS, ones),
           .parts = parts,
           .n = QS / parts,
           .hi = scale_top,
           .min_top = scale_top};
  float scale = 0, min = 0;
  f.coder.top = (float)code_top;
  for (int i = 0; i < parts; i++) {
    f.part[i] = affine_part(&f.coder, row_at(f.r, i * f.n), f.n);
    if (f.part[i].scale > scale) scale = f.part[i].scale;
    if (-f.part[i].min > min) min = -f.part[i].min;
  }
  s->d = f32_to_f16(scale / (float)scale_top);
  s->dmin = f32_to_f16(min / (float)scale_top);
  finish(&f, s);
}

/* The d whose multiples suit the parts' scales best, the one that counts most above all. */
static float spread_scales(const Fit *f, float extreme) {
  float best = INFINITY, d = extreme / (float)f->lo;
  for (int t = -SPREADS; t <= SPREADS; t++) {
    float error = 0, try = extreme / ((float)f->lo + 0.1f * (float)t);
    for (int i = 0; i < f->parts; i++) {
      float scale = f->part[i].scale;
      float e = scale - try * (float)nearest_int(scale / try, f->lo, f->hi);
      error += f->part[i].qq * e * e;
    }
    if (!(error < best)) continue;
    best = error;
    d = try;
  }
  return d;
}

static void fit_scaled(const Coder *c, const float *x, const float *weight, int parts,
                       int scale_top, Super *s) {
  float ones[QS];
  Fit f = {.r = row_of(x, weight, QS, ones),
           .parts = parts,
           .n = QS / parts,
           .lo = -scale_top,
           .hi = scale_top - 1};
  float extreme = 0;
  f.coder = *c;
  for (int i = 0; i < parts; i++) {
    f.part[i] = symmetric_part(c, row_at(f.r, i * f.n), f.n);
    if (fabsf(f.part[i].scale) > fabsf(extreme)) extreme = f.part[i].scale;
  }
  s->d = f32_to_f16(extreme != 0 ? spread_scales(&f, extreme) : 0);
  finish(&f, s);
}

void fit_symmetric(const float *x, const float *weight, int parts, int scale_top, int zero,
                   Super *s) {
  fit_scaled(&(Coder){(float)(2 * zero - 1), (float)zero, NULL}, x, weight, parts, scale_top, s);
}

void fit_table(const float *x, const float *weight, int scale_top, const int8_t *table, Super *s) {
  fit_scaled(&(Coder){.table = table}, x, weight, QS_BLOCKS, scale_top, s);
}

void fit_ternary(const float *x, const float *weight, Super *s) {
  float ones[QS];
  Coder c = {2, 1, NULL};
  s->d = f32_to_f16(symmetric_part(&c, row_of(x, weight, QS, ones), QS).scale);
  part_codes(&c, x, QS, d_of(s), 0, s->code);
}
