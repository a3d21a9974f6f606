/* The sampler; see sampler.h for order and meaning.
 *
 * Candidates are kept as a binary max-heap (ties: the lower id first), so only as many tokens are
 * ever sorted as top-k and top-p look at. Sums are doubles in a fixed order: by id for the total,
 * by rank for what is kept.
 */
#include "runtime/core/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Candidate {
  float logit;
  uint32_t id;
} Candidate;

struct Sampler {
  SamplerOptions o;
  int64_t vocab;
  uint64_t random[4];
  uint8_t *seen;       /* by id */
  uint32_t *seen_list; /* ids in `seen` */
  int64_t nseen;
  Candidate *heap;
};

static uint64_t splitmix64(uint64_t *x) {
  uint64_t z = (*x += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int k) {
  return x << k | x >> (64 - k);
}

/* xoshiro256++ of Blackman and Vigna. */
static uint64_t next_random(uint64_t s[4]) {
  uint64_t r = rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return r;
}

static double uniform(Sampler *s) { /* [0, 1) */
  return (double)(next_random(s->random) >> 11) * 0x1p-53;
}

Sampler *sampler_new(int64_t vocab, const SamplerOptions *o) {
  Sampler *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->o = *o;
  s->vocab = vocab;
  uint64_t seed = o->seed;
  for (int i = 0; i < 4; i++) s->random[i] = splitmix64(&seed);
  size_t n = (size_t)vocab;
  s->seen = calloc(n + 1, 1);
  s->seen_list = calloc(n + 1, sizeof *s->seen_list);
  s->heap = calloc(n + 1, sizeof *s->heap);
  if (!s->seen || !s->seen_list || !s->heap) {
    sampler_free(s);
    return NULL;
  }
  return s;
}

void sampler_free(Sampler *s) {
  if (!s) return;
  free(s->seen);
  free(s->seen_list);
  free(s->heap);
  free(s);
}

bool sampler_is_greedy(const Sampler *s) {
  return s->o.temperature <= 0 && s->o.repeat_penalty == 1;
}

void sampler_see(Sampler *s, uint32_t id) {
  if (id >= (uint64_t)s->vocab || s->seen[id]) return;
  s->seen[id] = 1;
  s->seen_list[s->nseen++] = id;
}

void sampler_forget(Sampler *s) {
  memset(s->seen, 0, (size_t)s->vocab);
  s->nseen = 0;
}

static void penalise(Sampler *s, float *logits) {
  float p = (float)s->o.repeat_penalty;
  if (p == 1) return;
  for (int64_t i = 0; i < s->nseen; i++) {
    float *l = &logits[s->seen_list[i]];
    *l = *l < 0 ? *l * p : *l / p;
  }
}

static uint32_t largest(const Sampler *s, const float *logits) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < s->vocab; i++)
    if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i]))) best = i;
  return best;
}

static bool before(Candidate a, Candidate b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

static void sift_down(Candidate *h, int64_t n, int64_t i) {
  Candidate c = h[i];
  for (int64_t k; (k = 2 * i + 1) < n; i = k) {
    if (k + 1 < n && before(h[k + 1], h[k])) k++;
    if (!before(h[k], c)) break;
    h[i] = h[k];
  }
  h[i] = c;
}

/* Takes the best of heap h[0..n) and puts it at h[n-1]: taken ones stand at the end, best last. */
static void pop(Candidate *h, int64_t n) {
  Candidate best = h[0];
  h[0] = h[n - 1];
  sift_down(h, n - 1, 0);
  h[n - 1] = best;
}

/* Weight of a logit beside the best one. */
static double weight(float logit, float best) {
  return (double)expf(logit - best);
}

/* Of all logits, added in the order of ids. */
static double total_weight(const Sampler *s, const float *logits, float best) {
  double sum = 0;
  for (int64_t i = 0; i < s->vocab; i++)
    if (!isnan(logits[i])) sum += weight(logits[i], best);
  return sum;
}

/* top-k and top-p: pops what may be chosen to the end of the heap; returns how many. */
static int64_t keep_best(Sampler *s, const float *logits, float best) {
  int64_t n = 0;
  for (int64_t i = 0; i < s->vocab; i++)
    if (!isnan(logits[i])) s->heap[n++] = (Candidate){logits[i], (uint32_t)i};
  for (int64_t i = n / 2; i-- > 0;) sift_down(s->heap, n, i);
  int64_t most = s->o.top_k > 0 && s->o.top_k < n ? s->o.top_k : n, kept = 0;
  double total = 0, sum = 0;
  if (s->o.top_k > 0) { /* top-p then counts only what top-k left */
    for (; kept < most; kept++) {
      pop(s->heap, n - kept);
      total += weight(s->heap[n - kept - 1].logit, best);
    }
    kept = 0;
  } else {
    total = total_weight(s, logits, best);
  }
  while (kept < most && (kept == 0 || sum < s->o.top_p * total)) {
    if (s->o.top_k <= 0) pop(s->heap, n - kept);
    sum += weight(s->heap[n - kept - 1].logit, best);
    kept++;
  }
  memmove(s->heap, s->heap + (n - kept), (size_t)kept * sizeof *s->heap);
  return kept;
}

/* Draws from heap[0..n), leaving out what min-p forbids. Logits become weights on the way, so that
 * each is taken to the power once. */
static uint32_t draw(Sampler *s, int64_t n, float best) {
  double least = s->o.min_p > 0 ? s->o.min_p : 0, total = 0;
  for (int64_t i = n; i-- > 0;) {
    double w = weight(s->heap[i].logit, best);
    if (w < least) w = 0;
    s->heap[i].logit = (float)w;
    total += w;
  }
  double u = uniform(s) * total;
  uint32_t id = s->heap[n - 1].id;
  for (int64_t i = n; i-- > 0;) {
    if (s->heap[i].logit == 0) continue;
    id = s->heap[i].id;
    u -= (double)s->heap[i].logit;
    if (u < 0) break;
  }
  return id;
}

uint32_t sampler_pick(Sampler *s, float *logits) {
  penalise(s, logits);
  uint32_t top = largest(s, logits);
  if (s->o.temperature <= 0 || !isfinite(logits[top])) return top;
  float t = (float)s->o.temperature;
  for (int64_t i = 0; i < s->vocab; i++) logits[i] /= t;
  float best = logits[top];
  if (!isfinite(best)) return top; /* a temperature so low that it overflows */
  if (s->o.top_k > 0 || s->o.top_p < 1) return draw(s, keep_best(s, logits, best), best);
  int64_t n = 0;
  for (int64_t i = s->vocab; i-- > 0;)
    if (!isnan(logits[i])) s->heap[n++] = (Candidate){logits[i], (uint32_t)i};
  return draw(s, n, best);
}
