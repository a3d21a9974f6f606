/* Points and scales of codebooks by least squares.
 *
 * Weights with signs are taken without them (where their number must be even, the one whose sign
 * costs least keeps it wrong), and groups of eight or four look for the point of least error at a
 * scale: error is a sum over coordinates, so the sums of both halves of a point are made first, and
 * of the points, which are sorted by their upper halves, only those are met whose upper sum and the
 * least lower one together are below the best so far.
 *
 * A part's scale: many candidates are tried with levels but no codebook, the best few with it; each
 * gives the scale that suits its points best. Then d spreads the scales over odd integers, each
 * part takes the nearest to its own, and d is solved for once more.
 */
#include "ir/quant/grid_fit.h"

#include <math.h>

enum {
  CANDIDATES = 16,
  SPREAD = 14,
  TRIED = 2,
  STRANDS = FIT_STRANDS,
  LARGEST_PART = QK,
  DIMS = 8,
  HALVES = 176
};

static const int8_t levels_up[4] = {-7, 1, 9}, levels_down[4] = {-9, -1, 7};

/* A format as the search sees it. */
typedef struct Rule {
  const Grid *grid;
  const int8_t *level; /* what digits are worth, ascending; with `shift`, levels_up or _down */
  int parts, top, shift;
  float factor;
  bool even;
} Rule;

/* A part as the search sees it: magnitudes, of which some may be below 0, and signs. */
typedef struct Part {
  float a[LARGEST_PART], w[LARGEST_PART];
  uint8_t negative[LARGEST_PART];
  int n;
} Part;

static int digits_of(const Rule *f) {
  return f->grid->bits == 2 ? 3 : 8;
}

/* ---- one group
 * ----------------------------------------------------------------------------------------
 */

typedef struct Costs {
  Strands of[DIMS]; /* coordinate, digit; infinite where there is no such digit */
} Costs;

static inline void set_costs(const Rule *f, const int8_t *level, const float *a, const float *w,
                             float scale, Costs *c) {
  int digits = digits_of(f);
  Strands levels = {0}, missing = {0};
  for (int j = 0; j < DIMS; j++) {
    levels[j] = j < digits ? scale * (float)level[j] : 0;
    missing[j] = j < digits ? 0 : INFINITY;
  }
  for (int i = 0; i < f->grid->dims; i++) {
    Strands e = a[i] - levels;
    c->of[i] = w[i] * e * e + missing;
  }
}

/* Sums over the coordinates first .. first + dims / 2 of a point's lower or upper half. */
static inline void half_sums(const Grid *g, const Costs *c, int first, Strands *sum) {
  if (g->dims == 4) {
    for (int j = 0; j < 8; j++) sum[j] = c->of[first] + c->of[first + 1][j];
    return;
  }
  float pair[2][16];
  for (int i = 0; i < 16; i++) {
    pair[0][i] = c->of[first][i & 3] + c->of[first + 1][i >> 2];
    pair[1][i] = c->of[first + 2][i & 3] + c->of[first + 3][i >> 2];
  }
  for (int j = 0; j < 11; j++) {
    sum[2 * j] = STRANDS_AT(pair[0]) + pair[1][j];
    sum[2 * j + 1] = STRANDS_AT(pair[0] + 8) + pair[1][j];
  }
}

typedef struct Best {
  float error;
  int index;
} Best;

static inline void meet_run(const Grid *g, int half, const float *lower, float upper, Best *best) {
  unsigned mask = (1u << (g->bits * g->dims / 2)) - 1;
  for (int i = g->run[half]; i < g->run[half + 1]; i++) {
    float e = upper + lower[g->point[i] & mask];
    if (!(e < best->error)) continue;
    best->error = e;
    best->index = i;
  }
}

static inline bool any(const StrandMasks *m) {
  uint64_t word[FIT_STRANDS / 2];
  memcpy(word, m, sizeof word);
  return (word[0] | word[1] | word[2] | word[3]) != 0;
}

static inline float least_of(const Strands *v, int n) {
  Strands m = v[0];
  for (int i = 1; i < n; i++) m = STRANDS_WHERE(v[i] < m, v[i]) + STRANDS_WHERE(v[i] >= m, m);
  float out = m[0];
  for (int j = 1; j < STRANDS; j++) out = m[j] < out ? m[j] : out;
  return out;
}

/* The point of least cost. Upper halves that no point has cost nothing to meet. */
FIT_CLONES static Best nearest_point(const Grid *g, const Rule *f, const int8_t *level,
                                     const float *a, const float *w, float scale) {
  Strands low[HALVES / STRANDS], high[HALVES / STRANDS];
  float lower[HALVES], upper[HALVES];
  Costs c;
  int n = g->halves / STRANDS;
  set_costs(f, level, a, w, scale, &c);
  half_sums(g, &c, 0, low);
  half_sums(g, &c, g->dims / 2, high);
  memcpy(lower, low, sizeof(float) * (size_t)g->halves);
  memcpy(upper, high, sizeof(float) * (size_t)g->halves);
  float least = least_of(low, n), most = least_of(high, n);
  Best best = {INFINITY, 0};
  for (int i = 0; i < g->halves; i++) /* the first to meet: as near as can be */
    if (upper[i] == most) meet_run(g, i, lower, upper[i], &best);
  for (int i = 0; i < n; i++) {
    StrandMasks near = high[i] + least < best.error;
    if (!any(&near)) continue;
    for (int j = STRANDS * i; j < STRANDS * (i + 1); j++)
      if (upper[j] + least < best.error) meet_run(g, j, lower, upper[j], &best);
  }
  return best;
}

/* ---- one part
 * ------------------------------------------------------------------------------------
 */

static void make_part(const Rule *f, const float *x, const float *w, Part *p) {
  p->n = QS / f->parts;
  for (int i = 0; i < p->n; i++) {
    p->w[i] = w[i];
    p->negative[i] = !f->shift && x[i] < 0;
    p->a[i] = p->negative[i] ? -x[i] : x[i];
  }
  for (int g = 0; f->even && g < p->n; g += 8) {
    int cheap = g, odd = 0;
    for (int i = g; i < g + 8; i++) {
      odd ^= p->negative[i];
      if (w[i] * x[i] * x[i] < w[cheap] * x[cheap] * x[cheap]) cheap = i;
    }
    if (!odd) continue;
    p->negative[cheap] ^= 1;
    p->a[cheap] = -p->a[cheap];
  }
}

/* What a coding at a scale gives. */
typedef struct Coding {
  double error, xq, qq; /* weighted; x times value, value squared */
} Coding;

static void add_point(const Rule *f, const int8_t *level, const Part *p, int at, int index,
                      Coding *out) {
  for (int i = 0; i < f->grid->dims; i++) {
    double q = level[grid_digit(f->grid, f->grid->point[index], i)], w = p->w[at + i];
    out->xq += w * q * (double)p->a[at + i];
    out->qq += w * q * q;
  }
}

/* Codes of n elements from `at` on with one list of levels. */
static float code_stretch(const Rule *f, const int8_t *level, const Part *p, int at, int n,
                          float scale, int *index) {
  float error = 0;
  for (int i = 0; i < n; i += f->grid->dims) {
    Best b = nearest_point(f->grid, f, level, p->a + at + i, p->w + at + i, scale);
    index[i / f->grid->dims] = b.index;
    error += b.error;
  }
  return error;
}

static void put_codes(const Rule *f, const Part *p, int at, int index, bool up, uint8_t *code) {
  unsigned point = f->grid->point[index];
  for (int i = 0; i < f->grid->dims; i++) {
    int digit = grid_digit(f->grid, point, i);
    code[i] = (uint8_t)(f->shift ? digit << 3 | (up ? 2 : 0)
                                 : digit | p->negative[at + i] << f->grid->bits);
  }
}

/* Codes a part; `code` may be NULL. */
static Coding code_part(const Rule *f, const Part *p, float scale, uint8_t *code) {
  Coding out = {0};
  int step = f->shift ? f->shift : p->n, dims = f->grid->dims;
  if (step > p->n) step = p->n;
  for (int at = 0; at < p->n; at += step) {
    int index[2][LARGEST_PART / 4];
    bool down = false;
    const int8_t *level = f->shift ? levels_up : f->level;
    float error = code_stretch(f, level, p, at, step, scale, index[0]);
    if (f->shift) {
      float other = code_stretch(f, levels_down, p, at, step, scale, index[1]);
      down = other < error;
      if (down) {
        error = other;
        level = levels_down;
      }
    }
    out.error += error;
    for (int i = 0; i < step; i += dims) {
      add_point(f, level, p, at + i, index[down][i / dims], &out);
      if (code) put_codes(f, p, at + i, index[down][i / dims], !down, code + at + i);
    }
  }
  return out;
}

/* Sums over n elements (a multiple of 8) and their levels nearest at a scale: w q a, w q q, w e e.
 */
FIT_CLONES static void level_sums(const int8_t *level, int digits, const Part *p, int at, int n,
                                  float scale, float *out) {
  Strands zeros = {0}, aq = zeros, qq = zeros, ee = zeros;
  float inverse = 1 / scale;
  for (int i = at; i < at + n; i += STRANDS) {
    Strands a = STRANDS_AT(p->a + i), w = STRANDS_AT(p->w + i), v = a * inverse;
    Strands q = zeros + (float)level[0];
    for (int k = 1; k < digits; k++) {
      Strands step = zeros + (float)(level[k] - level[k - 1]);
      q += STRANDS_WHERE(v > 0.5f * (float)(level[k - 1] + level[k]), step);
    }
    Strands e = a - scale * q;
    aq += w * q * a;
    qq += w * q * q;
    ee += w * e * e;
  }
  out[0] = STRANDS_SUM(aq);
  out[1] = STRANDS_SUM(qq);
  out[2] = STRANDS_SUM(ee);
}

/* Least error over all scales with the levels, free of the codebook, nearest at `scale`; less the
 * sum of squares. */
static float free_error(const Rule *f, const Part *p, float scale) {
  float xq = 0, qq = 0;
  int digits = digits_of(f), step = f->shift && f->shift < p->n ? f->shift : p->n;
  for (int at = 0; at < p->n; at += step) {
    float sum[2][3];
    level_sums(f->shift ? levels_up : f->level, digits, p, at, step, scale, sum[0]);
    if (f->shift) level_sums(levels_down, digits, p, at, step, scale, sum[1]);
    int way = f->shift && sum[1][2] < sum[0][2];
    xq += sum[way][0];
    qq += sum[way][1];
  }
  return qq > 0 && xq > 0 ? -xq * xq / qq : 0;
}

/* The scale that suits a part best, of a few that do without the codebook. */
static float part_scale(const Rule *f, const Part *p) {
  float largest = 0, smallest = INFINITY, top = f->shift ? 9 : f->level[digits_of(f) - 1],
        squares = 0;
  for (int i = 0; i < p->n; i++) {
    float a = fabsf(p->a[i]);
    largest = a > largest ? a : largest;
    smallest = a < smallest ? a : smallest;
    squares += p->w[i] * a * a;
  }
  if (!(largest > 0) || !isfinite(largest)) return 0;
  float scale[CANDIDATES], error[CANDIDATES];
  for (int i = 0; i < CANDIDATES; i++) {
    scale[i] = largest / top * (0.35f + 0.06f * (float)i);
    int level = i - SPREAD; /* elements that are all the same have their points at low levels */
    if (level >= 0) scale[i] = largest / (float)(f->shift ? 7 + 2 * level : f->level[level]);
    error[i] = level >= 0 && smallest > 0.7f * largest ? -INFINITY : free_error(f, p, scale[i]);
  }
  double best = INFINITY;
  float out = 0;
  for (int t = 0; t < TRIED; t++) {
    int least = 0;
    for (int i = 1; i < CANDIDATES; i++)
      if (error[i] < error[least]) least = i;
    error[least] = INFINITY;
    Coding c = code_part(f, p, scale[least], NULL);
    double e = c.qq > 0 && c.xq > 0 ? (double)squares - c.xq * c.xq / c.qq : INFINITY;
    if (!(e < best)) continue;
    best = e;
    out = (float)(c.xq / c.qq);
  }
  return out;
}

/* ---- a super-block
 * -------------------------------------------------------------------------------
 */

typedef struct Search {
  const Rule *f;
  Part part[QS_PARTS];
  float scale[QS_PARTS]; /* that each part asks for */
} Search;

/* Integers and codes for the d in `s`; the error and the d of least error for them. */
static double code_all(const Search *z, Super *s, double *solved) {
  double error = 0, xq = 0, qq = 0;
  float d = f16_to_f32(s->d) * z->f->factor;
  int n = QS / z->f->parts;
  for (int i = 0; i < z->f->parts; i++) {
    int near = d > 0 ? (int)lrintf((z->scale[i] / d - 1) / 2) : 0, top = z->f->top / 2;
    s->scale[i] = (int8_t)(2 * (near < 0 ? 0 : near > top ? top : near) + 1);
    Coding c = code_part(z->f, &z->part[i], d * (float)s->scale[i], s->code + i * n);
    error += c.error;
    xq += c.xq * s->scale[i];
    qq += c.qq * s->scale[i] * s->scale[i];
  }
  *solved = qq > 0 ? xq / qq / (double)z->f->factor : 0;
  return error;
}

void fit_grid(const SuperFormat *format, const float *x, const float *weight, Super *s) {
  const struct GridFit *g = format->grid;
  const Rule rule = {.grid = g->grid,
                     .level = format->table,
                     .parts = format->parts,
                     .top = g->top,
                     .shift = g->shift,
                     .factor = format->factor ? format->factor : 1,
                     .even = g->even},
             *f = &rule;
  Search z = {.f = f};
  float ones[QS], largest = 0;
  const float *w = fit_weights(weight, QS, ones);
  int n = QS / f->parts;
  for (int i = 0; i < f->parts; i++) {
    make_part(f, x + i * n, w + i * n, &z.part[i]);
    z.scale[i] = part_scale(f, &z.part[i]);
    if (z.scale[i] > largest) largest = z.scale[i];
  }
  double solved;
  s->d = f32_to_f16(largest / f->factor / (float)f->top);
  double error = code_all(&z, s, &solved);
  Super other = *s;
  other.d = f32_to_f16((float)solved);
  if (!(solved > 0) || other.d == s->d) return;
  if (code_all(&z, &other, &solved) < error) *s = other;
}
