/* The memory plan: one arena an entry, scratch blocks laid out by lifetime.
 *
 * A block is alive from the launch that first touches it to the one that last does, both included,
 * so that a launch's results never share bytes with its operands. First fit: each takes the lowest
 * offset free of all placed blocks whose lives meet its own; the largest go first where that takes
 * less than going by first use. Sizes are those at the symbols' maximum, so one plan serves every
 * length.
 */
#include "passes/lower/launch.h"

enum { BLOCK_ALIGN = 64 };

static bool lives_meet(const Block *a, const Block *b) {
  return a->first <= b->last && b->first <= a->last;
}

static bool bytes_meet(const Block *a, const Block *b) {
  return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static void find_lives(LaunchList *l) {
  for (uint32_t i = 0; i < l->nblocks; i++) l->block[i].first = l->block[i].last = UINT32_MAX;
  for (uint32_t i = 0; i < l->nuses; i++) {
    for (uint32_t j = 0; j < l->use[i].n; j++) {
      const KBind *bind = &l->use[i].access[j].bind;
      if (bind->space != KS_arena) continue;
      Block *b = &l->block[bind->index];
      if (b->first == UINT32_MAX) b->first = i;
      b->last = i;
    }
  }
}

/* The lowest offset for `b` that no placed block alive with it overlaps. */
static uint64_t first_fit(const LaunchList *l, const bool *placed, const Block *b) {
  Block at = *b;
  at.offset = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (uint32_t i = 0; i < l->nblocks; i++) {
      const Block *o = &l->block[i];
      if (placed[i] && lives_meet(o, &at) && bytes_meet(o, &at)) {
        at.offset = align_up(o->offset + o->bytes, BLOCK_ALIGN);
        moved = true;
      }
    }
  }
  return at.offset;
}

/* Places the blocks in this order, NULL: as they are numbered; what it takes. */
static uint64_t place_all(LaunchList *l, const uint32_t *order) {
  uint64_t total = 0;
  bool *placed = mem_alloc(l->nblocks + 1);
  for (uint32_t i = 0; i < l->nblocks; i++) {
    uint32_t at = order ? order[i] : i;
    Block *b = &l->block[at];
    if (b->first == UINT32_MAX) continue;
    b->offset = first_fit(l, placed, b);
    placed[at] = true;
    if (b->offset + b->bytes > total) total = b->offset + b->bytes;
  }
  mem_free(placed);
  return align_up(total, BLOCK_ALIGN);
}

/* Largest first; blocks of one size keep their order. A deep model has hundreds. */
static void by_size(const LaunchList *l, uint32_t *order) {
  for (uint32_t i = 0; i < l->nblocks; i++) {
    uint32_t at = i;
    for (; at > 0 && l->block[order[at - 1]].bytes < l->block[i].bytes; at--)
      order[at] = order[at - 1];
    order[at] = i;
  }
}

uint64_t plan_memory(LaunchList *l) {
  uint32_t *order = mem_alloc((l->nblocks + 1) * sizeof *order);
  find_lives(l);
  /* Blocks are numbered as they are made, which is the order of first use up to views. */
  uint64_t by_use = place_all(l, NULL);
  by_size(l, order);
  uint64_t total = place_all(l, order);
  if (total >= by_use) total = place_all(l, NULL);
  mem_free(order);
  return total;
}

bool plan_memory_overlap(const LaunchList *l, uint32_t *a, uint32_t *b) {
  for (uint32_t i = 0; i < l->nblocks; i++) {
    for (uint32_t j = i + 1; j < l->nblocks; j++) {
      const Block *x = &l->block[i], *y = &l->block[j];
      if (x->first == UINT32_MAX || y->first == UINT32_MAX) continue;
      if (lives_meet(x, y) && bytes_meet(x, y)) {
        *a = i;
        *b = j;
        return true;
      }
    }
  }
  return false;
}
