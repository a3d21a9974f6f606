/* Finds races in what the evaluator runs one after another but a program runs at once.
 *
 * Between two barriers every iteration of every par loop may run on another thread, and so may the
 * part of a kernel before its par. Each is a task with a number that only grows. For each byte of
 * watched memory the last task that wrote it and, since the barrier, the first that read it are
 * kept: as numbers grow, that is enough to find every pair of tasks that touch a byte which one of
 * them writes. Convention: a number below `floor` is from before the last barrier.
 */
#include "ir/kernel_eval.h"

typedef struct Region {
  const uint8_t *data;
  uint64_t size;
  int32_t *writer, *reader;
} Region;

struct KWatch {
  Region *region;
  uint32_t n;
  int32_t now, floor;
};

KWatch *kwatch_new(Arena *arena, const KBuffer *regions, uint32_t n) {
  KWatch *w = ARENA_NEW(arena, KWatch);
  w->region = ARENA_ARRAY(arena, Region, n);
  w->n = n;
  w->now = w->floor = 1;
  for (uint32_t i = 0; i < n; i++) {
    w->region[i] = (Region){.data = regions[i].data, .size = regions[i].size};
    w->region[i].writer = ARENA_ARRAY(arena, int32_t, regions[i].size);
    w->region[i].reader = ARENA_ARRAY(arena, int32_t, regions[i].size);
  }
  return w;
}

void kwatch_next(KWatch *w) {
  BUG_IF(w->now == INT32_MAX, "more tasks than a watch can number");
  w->now++;
}

void kwatch_barrier(KWatch *w) {
  kwatch_next(w);
  w->floor = w->now;
}

static bool touched_by_other(const int32_t *task, uint64_t n, int32_t floor, int32_t now) {
  int32_t other = 0;
  for (uint64_t i = 0; i < n; i++) other |= (task[i] >= floor) & (task[i] != now);
  return other;
}

const char *kwatch_touch(KWatch *w, const uint8_t *p, uint64_t bytes, bool store) {
  const Region *r = w->region, *end = r + w->n;
  while (r < end && (p < r->data || (uint64_t)(p - r->data) >= r->size)) r++;
  if (r == end) return store ? "is written, but belongs to nobody who may" : NULL;
  int32_t *writer = r->writer + (p - r->data), *reader = r->reader + (p - r->data);
  int32_t floor = w->floor, now = w->now;
  if (touched_by_other(writer, bytes, floor, now))
    return store ? "is written twice without a barrier between"
                 : "is read while another iteration or launch writes it";
  if (!store) {
    for (uint64_t i = 0; i < bytes; i++) reader[i] = reader[i] < floor ? now : reader[i];
    return NULL;
  }
  if (touched_by_other(reader, bytes, floor, now))
    return "is written while another iteration or launch reads it";
  for (uint64_t i = 0; i < bytes; i++) writer[i] = now;
  return NULL;
}
