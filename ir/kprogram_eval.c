/* Evaluator of whole programs: the launches of an entry one after another, with an eye on races.
 *
 * The arena begins as NaN, so that a read of what nobody wrote shows in the results. Arena, states
 * and outputs are watched (kernel_watch.c): what the program would run at once, iterations of a
 * launch and launches without a barrier between, must not touch a byte that one of them writes.
 * Convention: a region too large to watch cheaply is left alone.
 */
#include "ir/kernel_eval.h"

#include <string.h>

enum { WATCHED_BYTES = 16 << 20 };

typedef struct Run {
  const KProgram *p;
  const KEntry *entry;
  uint8_t *arena_memory;
  const uint8_t *weights;
  uint8_t *const *states;
  const KBuffer *in, *out;
  KWatch *watch;
} Run;

/* The memory a launch's buffer is bound to, from its offset to the end of its space. */
static KBuffer resolve(const Run *r, const KBind *bind) {
  KBuffer b = {0};
  switch (bind->space) {
  case KS_arena: b = (KBuffer){r->arena_memory, r->entry->arena_bytes}; break;
  case KS_weight: b = (KBuffer){(void *)(uintptr_t)r->weights, r->p->weight_bytes}; break;
  case KS_state: b = (KBuffer){r->states[bind->index], r->p->states[bind->index].bytes}; break;
  case KS_input: b = r->in[bind->index]; break;
  case KS_output: b = r->out[bind->index]; break;
  }
  uint64_t skip = bind->offset < b.size ? bind->offset : b.size;
  return (KBuffer){(uint8_t *)b.data + skip, b.size - skip};
}

static Status run_launch(const Run *r, const KLaunch *l, KEval *e, const int64_t *dims, Arena *a,
                         Diag *d) {
  const Kernel *k = r->p->kernels[l->kernel];
  KBuffer *buffers = ARENA_ARRAY(a, KBuffer, k->nbuffers);
  int64_t *scalars = ARENA_ARRAY(a, int64_t, k->nscalars);
  for (uint32_t i = 0; i < k->nbuffers; i++) buffers[i] = resolve(r, &l->bind[i]);
  for (uint32_t i = 0; i < k->nscalars; i++) scalars[i] = dims[l->scalar[i]];
  if (keval_run(e, buffers, scalars, 0, dims[l->extent], r->watch, d) == OK) return OK;
  return diag_error(d, l->label ? l->label : r->entry->name, "launch of @%s failed", k->name);
}

/* Everything that launches may write; NULL when it is too much. */
static KWatch *watch_new(Arena *a, const Run *r) {
  const KEntry *en = r->entry;
  KBuffer *regions = ARENA_ARRAY(a, KBuffer, 1 + r->p->nstates + en->noutputs);
  uint32_t n = 0;
  uint64_t bytes = 0;
  regions[n++] = (KBuffer){r->arena_memory, en->arena_bytes};
  for (uint32_t i = 0; i < r->p->nstates; i++)
    regions[n++] = (KBuffer){r->states[i], r->p->states[i].bytes};
  for (uint32_t i = 0; i < en->noutputs; i++) regions[n++] = r->out[i];
  for (uint32_t i = 0; i < n; i++) bytes += regions[i].size;
  return bytes <= WATCHED_BYTES ? kwatch_new(a, regions, n) : NULL;
}

Status kprogram_eval(const KProgram *p, uint32_t entry, const int64_t *dims, const uint8_t *weights,
                     uint8_t *const *states, const KBuffer *in, const KBuffer *out, Diag *d) {
  Arena *a = arena_new();
  const KEntry *en = &p->entries[entry];
  Run r = {p, en, arena_alloc(a, en->arena_bytes + 64), weights, states, in, out, NULL};
  memset(r.arena_memory, 0xff, en->arena_bytes); /* as f32: NaN, so that stale reads show */
  r.watch = watch_new(a, &r);
  KEval **decoded = ARENA_ARRAY(a, KEval *, p->nkernels);
  Status s = OK;
  for (uint32_t i = 0; i < en->nlaunches && s == OK; i++) {
    const KLaunch *l = &en->launches[i];
    if (!decoded[l->kernel]) decoded[l->kernel] = keval_decode(a, p->kernels[l->kernel]);
    if (l->barrier && r.watch) kwatch_barrier(r.watch);
    s = run_launch(&r, l, decoded[l->kernel], dims, a, d);
  }
  arena_free(a);
  return s;
}
