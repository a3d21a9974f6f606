/* Points and scales of codebooks by least squares.
 *
 * Weights with signs are taken without them (where their number must be even, the one whose sign
 * costs least keeps it wrong), and groups of eight or four look for the point of least error at a
 * scale: error is a sum over coordinates, so the sums of both halves of a point are made first, and
 * of the points, which are sorted by their upper halves, only runs are met whose upper sum and the
 * least lower one are below the best so far.
 *
 * A part's scale: many candidates are tried with levels but no codebook, the best few with it; each
 * gives the scale that suits its points best. Then d spreads the scales over odd integers, each
 * part takes the best near its own with d as it is rounded, and d is solved for once more.
 */
#include "ir/quant/grid_fit.h"

#include <math.h>

enum { CANDIDATES = 20, SPREAD = 18, TRIED = 3, LARGEST_PART = QK, DIMS = 8, HALF_SUMS = 256 };

static const int8_t levels_up[4] = {-7, 1, 9}, levels_down[4] = {-9, -1, 7};

/* A part as the search sees it: magnitudes, of which some may be below 0, and signs. */
typedef struct Part {
  float a[LARGEST_PART], w[LARGEST_PART];
  uint8_t negative[LARGEST_PART];
  int n;
} Part;

static int digits_of(const GridFit *f) {
  return f->grid->bits == 2 ? 3 : 8;
}

/* ---- one group
 * ----------------------------------------------------------------------------------------
 */

typedef struct Costs {
  float of[DIMS][8]; /* coordinate, digit */
  float least;       /* without the codebook */
} Costs;

static void set_costs(const GridFit *f, const int8_t *level, const float *a, const float *w,
                      float scale, Costs *c) {
  int digits = digits_of(f);
  c->least = 0;
  for (int i = 0; i < f->grid->dims; i++) {
    float least = INFINITY;
    for (int j = 0; j < digits; j++) {
      float e = a[i] - scale * (float)level[j];
      c->of[i][j] = w[i] * e * e;
      least = c->of[i][j] < least ? c->of[i][j] : least;
    }
    c->least += least;
  }
}

/* Sums over the coordinates first .. first + dims / 2 of a point's lower or upper half. */
static void half_sums(const GridFit *f, const Costs *c, int first, float *sum) {
  int digits = digits_of(f), n = f->grid->dims / 2, bits = f->grid->bits;
  if (n == 2) {
    for (int j = 0; j < digits; j++)
      for (int i = 0; i < digits; i++) sum[i | j << bits] = c->of[first][i] + c->of[first + 1][j];
    return;
  }
  float pair[2][16] = {{0}};
  for (int h = 0; h < 2; h++)
    for (int j = 0; j < 3; j++)
      for (int i = 0; i < 3; i++)
        pair[h][i | j << 2] = c->of[first + 2 * h][i] + c->of[first + 2 * h + 1][j];
  for (int j = 0; j < 11; j++)
    for (int i = 0; i < 11; i++) sum[i | j << 4] = pair[0][i] + pair[1][j];
}

typedef struct Best {
  float error;
  int index;
} Best;

static void meet_run(const Grid *g, int run, const float *lower, float upper, Best *best) {
  unsigned mask = (1u << (g->bits * g->dims / 2)) - 1;
  for (int i = g->run[run]; i < g->run[run + 1]; i++) {
    float e = upper + lower[g->point[i] & mask];
    if (!(e < best->error)) continue;
    best->error = e;
    best->index = i;
  }
}

/* The point of least cost. */
static Best nearest_point(const GridFit *f, const Costs *c) {
  const Grid *g = f->grid;
  float lower[HALF_SUMS] = {0}, upper[HALF_SUMS] = {0}, least = 0;
  int shift = g->bits * g->dims / 2, first = 0;
  half_sums(f, c, 0, lower);
  half_sums(f, c, g->dims / 2, upper);
  for (int i = 0; i < g->dims / 2; i++) {
    float m = c->of[i][0];
    for (int j = 1; j < digits_of(f); j++) m = c->of[i][j] < m ? c->of[i][j] : m;
    least += m;
  }
  float most = INFINITY;
  for (int r = 0; r < g->runs; r++) {
    float u = upper[g->point[g->run[r]] >> shift];
    if (!(u < most)) continue;
    most = u;
    first = r;
  }
  Best best = {INFINITY, 0};
  meet_run(g, first, lower, upper[g->point[g->run[first]] >> shift], &best);
  for (int r = 0; r < g->runs; r++) {
    float u = upper[g->point[g->run[r]] >> shift];
    if (r != first && u + least < best.error) meet_run(g, r, lower, u, &best);
  }
  return best;
}

/* ---- one part
 * ------------------------------------------------------------------------------------
 */

static void make_part(const GridFit *f, const float *x, const float *w, Part *p) {
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

static void add_point(const GridFit *f, const int8_t *level, const Part *p, int at, int index,
                      Coding *out) {
  for (int i = 0; i < f->grid->dims; i++) {
    double q = level[grid_digit(f->grid, f->grid->point[index], i)], w = p->w[at + i];
    out->xq += w * q * (double)p->a[at + i];
    out->qq += w * q * q;
  }
}

/* Codes of n elements from `at` on with one list of levels. */
static float code_stretch(const GridFit *f, const int8_t *level, const Part *p, int at, int n,
                          float scale, int *index) {
  float error = 0;
  for (int i = 0; i < n; i += f->grid->dims) {
    Costs c;
    set_costs(f, level, p->a + at + i, p->w + at + i, scale, &c);
    Best b = nearest_point(f, &c);
    index[i / f->grid->dims] = b.index;
    error += b.error;
  }
  return error;
}

static void put_codes(const GridFit *f, const Part *p, int at, int index, bool up, uint8_t *code) {
  unsigned point = f->grid->point[index];
  for (int i = 0; i < f->grid->dims; i++) {
    int digit = grid_digit(f->grid, point, i);
    code[i] = (uint8_t)(f->shift ? digit << 3 | (up ? 2 : 0)
                                 : digit | p->negative[at + i] << f->grid->bits);
  }
}

/* Codes a part; `code` may be NULL. */
static Coding code_part(const GridFit *f, const Part *p, float scale, uint8_t *code) {
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

static float level_value(const int8_t *level, int digits, float v) {
  float value = (float)level[0];
  for (int j = 1; j < digits; j++)
    if (v > 0.5f * (float)(level[j - 1] + level[j])) value = (float)level[j];
  return value;
}

/* Least error over all scales with the levels, free of the codebook, nearest at `scale`. */
static float free_error(const GridFit *f, const Part *p, float scale) {
  double xq = 0, qq = 0, xx = 0, inverse = 1 / scale;
  int digits = digits_of(f), step = f->shift ? f->shift : p->n;
  for (int at = 0; at < p->n; at += step) {
    double sum[2][3] = {{0}};
    for (int way = 0; way < (f->shift ? 2 : 1); way++) {
      const int8_t *level = !f->shift ? f->level : way ? levels_down : levels_up;
      for (int i = at; i < at + step; i++) {
        double w = p->w[i], q = level_value(level, digits, (float)(p->a[i] * inverse));
        double e = p->a[i] - (double)scale * q;
        sum[way][0] += w * q * (double)p->a[i];
        sum[way][1] += w * q * q;
        sum[way][2] += w * e * e;
      }
    }
    int way = f->shift && sum[1][2] < sum[0][2];
    xq += sum[way][0];
    qq += sum[way][1];
  }
  for (int i = 0; i < p->n; i++) xx += (double)p->w[i] * p->a[i] * p->a[i];
  return (float)(qq > 0 && xq > 0 ? xx - xq * xq / qq : xx);
}

/* The scale that suits a part best, of a few that do without the codebook. */
static float part_scale(const GridFit *f, const Part *p) {
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
    scale[i] = largest / top * (0.32f + 0.05f * (float)i);
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
  const GridFit *f;
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
    Coding best = {.error = INFINITY};
    for (int l = near - 1; l <= near + 1; l++) {
      int scale = 2 * (l < 0 ? 0 : l > top ? top : l) + 1;
      if ((l < 0 || l > top) && l != near) continue;
      uint8_t code[LARGEST_PART];
      Coding c = code_part(z->f, &z->part[i], d * (float)scale, code);
      if (!(c.error < best.error) && best.error < INFINITY) continue;
      best = c;
      s->scale[i] = (int8_t)scale;
      memcpy(s->code + i * n, code, (size_t)n);
    }
    error += best.error;
    xq += best.xq * s->scale[i];
    qq += best.qq * s->scale[i] * s->scale[i];
  }
  *solved = qq > 0 ? xq / qq / (double)z->f->factor : 0;
  return error;
}

void fit_grid(const GridFit *f, const float *x, const float *weight, Super *s) {
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
