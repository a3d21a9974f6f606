/* Barriers: which launches must wait for all threads.
 *
 * Threads run the launches of an entry in order, each its share of every launch, and meet only at
 * barriers. Launch i needs one when it conflicts with a launch since the last barrier: same bytes,
 * and at least one of the two writes. Two launches that don't conflict run side by side.
 */
#include "passes/lower/launch.h"

/* The bytes of an access in its space; scratch by the planned offset of its block. */
static void bytes_of(const LaunchList *l, const Access *a, uint64_t *lo, uint64_t *hi) {
  *lo = a->bind.offset;
  if (a->bind.space == KS_arena) *lo += l->block[a->bind.index].offset;
  *hi = *lo + a->bytes;
}

static bool same_space(const Access *a, const Access *b) {
  if (a->bind.space != b->bind.space) return false;
  bool whole = a->bind.space == KS_arena || a->bind.space == KS_weight;
  return whole || a->bind.index == b->bind.index;
}

static bool conflict(const LaunchList *l, uint32_t i, uint32_t j) {
  const LaunchUse *x = &l->use[i], *y = &l->use[j];
  for (uint32_t p = 0; p < x->n; p++) {
    for (uint32_t q = 0; q < y->n; q++) {
      const Access *a = &x->access[p], *b = &y->access[q];
      if (!(a->write || b->write) || !same_space(a, b)) continue;
      uint64_t alo, ahi, blo, bhi;
      bytes_of(l, a, &alo, &ahi);
      bytes_of(l, b, &blo, &bhi);
      if (alo < bhi && blo < ahi) return true;
    }
  }
  return false;
}

static bool conflicts_since(const LaunchList *l, uint32_t since, uint32_t i) {
  for (uint32_t j = since; j < i; j++)
    if (conflict(l, j, i)) return true;
  return false;
}

void plan_barriers(const LaunchList *l, bool *barrier) {
  uint32_t since = 0;
  for (uint32_t i = 0; i < l->nuses; i++) {
    barrier[i] = conflicts_since(l, since, i);
    if (barrier[i]) since = i;
  }
}

bool barriers_missing(const LaunchList *l, const bool *barrier, uint32_t *launch) {
  uint32_t since = 0;
  for (uint32_t i = 0; i < l->nuses; i++) {
    if (barrier[i])
      since = i;
    else if (conflicts_since(l, since, i)) {
      *launch = i;
      return true;
    }
  }
  return false;
}
