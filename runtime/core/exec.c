/* Execution of a compiled model; see exec.h.
 *
 * Memory is mapped anonymously and lazily zero: one arena (the largest any entry needs), one region
 * for inputs and outputs (entries share it), one for each state. A bound launch fits one cache
 * line. A launch is a lap of the thread pool, cut into one range a worker: extent * i / n to
 * extent * (i + 1) / n. Bits never depend on the cuts (doc/ir.md, order of additions).
 */
#include "runtime/core/exec.h"

#include "runtime/core/cpu.h"
#include "runtime/core/dtype.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_SCALARS = 32, IO_ALIGN = 64, PAGE = 65536 }; /* PAGE: a multiple of every page size */

typedef struct Bound {
  IngotKernelFn *fn;
  void *const *buffers;
  const uint32_t *scalars;
  uint32_t nscalars, extent;
  bool barrier;
} Bound;

/* Where iterations of a launch read weights: see IngotLaunch. */
typedef struct Streams {
  const uint8_t *from;
  uint64_t step, apart, bytes; /* bytes: of all iterations */
  uint32_t count;
  uint32_t next; /* the first launch from this one on that has streams; the count: none has */
} Streams;

typedef struct BoundEntry {
  const Exec *exec;
  Bound *launch;
  Streams *streams; /* of every launch */
  uint64_t *io;     /* offsets in the region: inputs, then outputs */
} BoundEntry;

struct Exec {
  const IngotModel *m;
  const IngotLevel *level;
  ThreadPool *pool;
  int64_t *dim; /* value of each dim; symbols as set, the rest as of the last update */
  BoundEntry *entry;
  void **buffers;
  uint8_t *arena, *io;
  uint64_t arena_bytes, io_bytes;
  uint8_t **state;
  ExecTrace *trace; /* NULL: off */
};

/* ---- dimensions ------------------------------------------------------------------------------ */

static int64_t dim_value(const IngotDim *d, const int64_t *v) {
  int64_t a = v[d->a], b = v[d->b];
  switch (d->kind) {
  case INGOT_DIM_CONST: return d->value;
  case INGOT_DIM_ADD: return a + b;
  case INGOT_DIM_SUB: return a - b;
  case INGOT_DIM_MUL: return a * b;
  case INGOT_DIM_DIV: return b > 0 ? a / b : 0;
  case INGOT_DIM_CEILDIV: return b > 0 ? (a + b - 1) / b : 0;
  default: return 0;
  }
}

static void update_dims(const IngotModel *m, int64_t *v) {
  for (uint32_t i = 1; i < m->ndims; i++)
    if (m->dims[i].kind != INGOT_DIM_SYMBOL) v[i] = dim_value(&m->dims[i], v);
}

static void symbols_to(const IngotModel *m, int64_t *v, bool largest) {
  for (uint32_t i = 1; i < m->ndims; i++)
    if (m->dims[i].kind == INGOT_DIM_SYMBOL) v[i] = largest ? m->dims[i].hi : m->dims[i].lo;
  update_dims(m, v);
}

int exec_symbol(const Exec *x, const char *name) {
  for (uint32_t i = 1; i < x->m->ndims; i++) {
    const IngotDim *d = &x->m->dims[i];
    if (d->kind == INGOT_DIM_SYMBOL && d->name && strcmp(d->name, name) == 0) return (int)i;
  }
  return -1;
}

int exec_set(Exec *x, int symbol, int64_t value, Err *e) {
  const IngotDim *d = &x->m->dims[symbol];
  if (value < d->lo || value > d->hi)
    return err_set(e, d->name, "%lld is out of range (expected %lld to %lld)", (long long)value,
                   (long long)d->lo, (long long)d->hi);
  x->dim[symbol] = value;
  return 0;
}

int64_t exec_symbol_limit(const Exec *x, int symbol) {
  return x->m->dims[symbol].hi;
}

int64_t exec_dim(const Exec *x, uint32_t dim) {
  const IngotDim *d = &x->m->dims[dim];
  if (d->kind == INGOT_DIM_SYMBOL) return x->dim[dim];
  if (d->kind == INGOT_DIM_CONST) return d->value;
  int64_t a = exec_dim(x, d->a), b = exec_dim(x, d->b);
  IngotDim flat = *d;
  flat.a = 0;
  flat.b = 1;
  return dim_value(&flat, (int64_t[]){a, b});
}

static int64_t elements(const int64_t *v, const IngotTensor *t) {
  int64_t n = 1;
  for (uint32_t i = 0; i < t->rank; i++) n *= v[t->dim[i]];
  return n;
}

void exec_work(const Exec *x, int entry, double *bytes, double *flops) {
  const IngotEntry *e = &exec_model(x)->entries[entry];
  *bytes = *flops = 0;
  for (uint32_t i = 0; i < e->nlaunches; i++) {
    const IngotLaunch *l = &e->launches[i];
    if (l->bytes) *bytes += (double)exec_dim(x, l->bytes);
    if (l->flops) *flops += (double)exec_dim(x, l->flops);
  }
}

int64_t exec_elements(const Exec *x, const IngotTensor *t) {
  int64_t n = 1;
  for (uint32_t i = 0; i < t->rank; i++) n *= exec_dim(x, t->dim[i]);
  return n;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Zeroed lazily; reserved but not counted against the commit limit. NULL when impossible. */
static void *map_memory(uint64_t bytes) {
  void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static int place_io(Exec *x, BoundEntry *b, const IngotEntry *entry, const int64_t *largest) {
  uint32_t n = entry->ninputs + entry->noutputs;
  uint64_t at = 0;
  b->io = calloc(n ? n : 1, sizeof *b->io);
  if (!b->io) return 1;
  for (uint32_t i = 0; i < n; i++) {
    const IngotTensor *t =
        i < entry->ninputs ? &entry->inputs[i] : &entry->outputs[i - entry->ninputs];
    b->io[i] = at;
    at += (uint64_t)elements(largest, t) * dtype_size(t->dtype);
    at = (at + IO_ALIGN - 1) / IO_ALIGN * IO_ALIGN;
  }
  if (at > x->io_bytes) x->io_bytes = at;
  if (entry->arena_bytes > x->arena_bytes) x->arena_bytes = entry->arena_bytes;
  return 0;
}

static void *resolve(const Exec *x, const BoundEntry *b, const IngotEntry *entry,
                     const IngotArg *a) {
  switch (a->space) {
  case INGOT_ARENA: return x->arena + a->offset;
  case INGOT_WEIGHT: return (void *)(uintptr_t)(x->m->weights + a->offset);
  case INGOT_STATE: return x->state[a->index] + a->offset;
  case INGOT_INPUT: return x->io + b->io[a->index] + a->offset;
  case INGOT_OUTPUT: return x->io + b->io[entry->ninputs + a->index] + a->offset;
  default: return NULL;
  }
}

static bool arg_is_valid(const IngotModel *m, const IngotEntry *entry, const IngotArg *a) {
  switch (a->space) {
  case INGOT_ARENA: return a->offset <= entry->arena_bytes;
  case INGOT_WEIGHT: return a->offset <= m->weight_bytes;
  case INGOT_STATE: return a->index < m->nstates && a->offset <= m->states[a->index].bytes;
  case INGOT_INPUT: return a->index < entry->ninputs;
  case INGOT_OUTPUT: return a->index < entry->noutputs;
  default: return false;
  }
}

static void bind_streams(BoundEntry *b, const IngotEntry *entry) {
  uint32_t next = entry->nlaunches;
  for (uint32_t i = entry->nlaunches; i-- > 0;) {
    const IngotLaunch *l = &entry->launches[i];
    if (l->streams && l->nargs) next = i;
    b->streams[i].next = next;
    if (next != i) continue;
    b->streams[i].from = b->launch[i].buffers[0];
    b->streams[i].step = l->step;
    b->streams[i].apart = l->apart;
    b->streams[i].count = l->streams;
    b->streams[i].bytes = l->streams * l->step * (uint64_t)b->exec->dim[l->extent];
  }
}

/* Resolves the launches of one entry; *next is the free part of x->buffers. */
static int bind_entry(Exec *x, BoundEntry *b, const IngotEntry *entry, void ***next, Err *e) {
  const IngotModel *m = x->m;
  b->exec = x;
  b->launch = calloc((size_t)entry->nlaunches + 1, sizeof *b->launch);
  b->streams = calloc((size_t)entry->nlaunches + 1, sizeof *b->streams);
  if (!b->launch || !b->streams) return err_no_memory(e, entry->name);
  for (uint32_t i = 0; i < entry->nlaunches; i++) {
    const IngotLaunch *l = &entry->launches[i];
    if (l->kernel >= m->nkernels || l->nscalars > MAX_SCALARS || l->extent >= m->ndims)
      return err_set(e, entry->name, "launch %u is malformed", i);
    b->launch[i] = (Bound){.fn = x->level->kernels[l->kernel],
                           .buffers = *next,
                           .scalars = m->scalars + l->first_scalar,
                           .nscalars = l->nscalars,
                           .extent = l->extent,
                           .barrier = l->barrier && i > 0};
    for (uint32_t k = 0; k < l->nargs; k++) {
      const IngotArg *a = &m->args[l->first_arg + k];
      if (!arg_is_valid(m, entry, a))
        return err_set(e, entry->name, "launch %u: argument %u is malformed", i, k);
      *(*next)++ = resolve(x, b, entry, a);
    }
  }
  bind_streams(b, entry);
  return 0;
}

/* Weights that aren't cached yet are then read, and kept cached, in huge pages. Only advice. */
static void advise_weights(const IngotModel *m) {
  uintptr_t skip = (PAGE - (uintptr_t)m->weights % PAGE) % PAGE;
  if (m->weight_bytes > skip)
    madvise((void *)(uintptr_t)(m->weights + skip), m->weight_bytes - skip, MADV_HUGEPAGE);
}

static int map_regions(Exec *x, Err *e) {
  const IngotModel *m = x->m;
  advise_weights(m);
  if (!(x->arena = map_memory(x->arena_bytes)) || !(x->io = map_memory(x->io_bytes)))
    return err_no_memory(e, "arena");
  for (uint32_t i = 0; i < m->nstates; i++) {
    x->state[i] = map_memory(m->states[i].bytes);
    if (!x->state[i])
      return err_set(e, m->states[i].name, "can't reserve %llu bytes of memory",
                     (unsigned long long)m->states[i].bytes);
  }
  return 0;
}

static int open_parts(Exec *x, const ExecOptions *o, Err *e) {
  const IngotModel *m = x->m;
  if (m->abi != INGOT_ABI)
    return err_set(e, "model", "made for version %u of the runtime (expected %d)", m->abi,
                   INGOT_ABI);
  if (m->nentries == 0) return err_set(e, "model", "this program has no network to run");
  if (cpu_choose(m, o->cpu, &x->level, e)) return 1;
  uint64_t nbuffers = 1;
  for (uint32_t i = 0; i < m->nentries; i++)
    for (uint32_t k = 0; k < m->entries[i].nlaunches; k++)
      nbuffers += m->entries[i].launches[k].nargs;
  x->dim = calloc((size_t)m->ndims + 2, sizeof *x->dim);
  x->entry = calloc(m->nentries, sizeof *x->entry);
  x->state = calloc((size_t)m->nstates + 1, sizeof *x->state);
  x->buffers = calloc(nbuffers, sizeof *x->buffers);
  if (!x->dim || !x->entry || !x->state || !x->buffers) return err_no_memory(e, "model");
  symbols_to(m, x->dim, true);
  for (uint32_t i = 0; i < m->nentries; i++)
    if (place_io(x, &x->entry[i], &m->entries[i], x->dim)) return err_no_memory(e, "model");
  symbols_to(m, x->dim, false);
  if (map_regions(x, e)) return 1;
  void **next = x->buffers;
  for (uint32_t i = 0; i < m->nentries; i++)
    if (bind_entry(x, &x->entry[i], &m->entries[i], &next, e)) return 1;
  return pool_open(o->threads ? o->threads : threads_default(), &x->pool, e);
}

int exec_open(const IngotModel *m, const ExecOptions *o, Exec **out, Err *e) {
  *out = NULL;
  Exec *x = calloc(1, sizeof *x);
  if (!x) return err_no_memory(e, "model");
  x->m = m;
  if (open_parts(x, o, e)) {
    exec_close(x);
    return 1;
  }
  *out = x;
  return 0;
}

void exec_close(Exec *x) {
  if (!x) return;
  pool_close(x->pool);
  for (uint32_t i = 0; x->entry && i < x->m->nentries; i++) {
    free(x->entry[i].launch);
    free(x->entry[i].streams);
    free(x->entry[i].io);
  }
  for (uint32_t i = 0; x->state && i < x->m->nstates; i++)
    if (x->state[i]) munmap(x->state[i], x->m->states[i].bytes ? x->m->states[i].bytes : 1);
  if (x->arena) munmap(x->arena, x->arena_bytes ? x->arena_bytes : 1);
  if (x->io) munmap(x->io, x->io_bytes ? x->io_bytes : 1);
  free(x->dim);
  free(x->entry);
  free(x->state);
  free(x->buffers);
  free(x);
}

void exec_give_back(Exec *x, int entry) {
  uint64_t keep = x->m->entries[entry].arena_bytes;
  keep = (keep + PAGE - 1) / PAGE * PAGE;
  if (keep < x->arena_bytes) madvise(x->arena + keep, x->arena_bytes - keep, MADV_DONTNEED);
}

/* ---- looking up ------------------------------------------------------------------------------ */

const IngotModel *exec_model(const Exec *x) {
  return x->m;
}

const IngotLevel *exec_level(const Exec *x) {
  return x->level;
}

ThreadPool *exec_pool(Exec *x) {
  return x->pool;
}

int exec_entry(const Exec *x, const char *name) {
  for (uint32_t i = 0; i < x->m->nentries; i++)
    if (strcmp(x->m->entries[i].name, name) == 0) return (int)i;
  return -1;
}

static int find_tensor(const IngotTensor *t, uint32_t n, const char *name) {
  for (uint32_t i = 0; i < n; i++)
    if (strcmp(t[i].name, name) == 0) return (int)i;
  return -1;
}

int exec_input(const Exec *x, int entry, const char *name) {
  const IngotEntry *en = &x->m->entries[entry];
  return find_tensor(en->inputs, en->ninputs, name);
}

int exec_output(const Exec *x, int entry, const char *name) {
  const IngotEntry *en = &x->m->entries[entry];
  return find_tensor(en->outputs, en->noutputs, name);
}

void *exec_input_data(Exec *x, int entry, int input) {
  return x->io + x->entry[entry].io[input];
}

void *exec_output_data(Exec *x, int entry, int output) {
  return x->io + x->entry[entry].io[x->m->entries[entry].ninputs + (uint32_t)output];
}

/* ---- what a worker runs, and what it fetches before ------------------------------------------ */

/* Weights that a range must have left to be cut once more; those that a worker fetches at most into
 * its second cache for one launch while it waits; a line; lines of a stream at once. Bytes. */
enum { PIECE_LEAST = 262144, AHEAD_MOST = 131072, LINE = 64, AHEAD_LINES = 4 };

/* Iterations of range `range`. Where there are fewer than workers, they go round: the others fetch
 * meanwhile. */
static int64_t range_begin(int64_t extent, unsigned lap, unsigned range, unsigned nranges,
                           int64_t *end) {
  if (extent < (int64_t)nranges) range = (range + lap) % nranges;
  *end = extent * (range + 1) / nranges;
  return extent * range / nranges;
}

/* A range is halved, then its second half, and so on: to begin a piece costs a little (each thread
 * makes what a contraction reads for itself), and only at the end must they be small. */
static unsigned launch_pieces(const void *arg, unsigned lap, unsigned nranges) {
  uint64_t left = ((const BoundEntry *)arg)->streams[lap].bytes / nranges;
  unsigned n = 1;
  for (; n < LAP_PIECES && (left /= 2) >= PIECE_LEAST; n++) {
  }
  return n;
}

static int64_t piece_begin(int64_t extent, unsigned lap, const LapPart *part, int64_t *end) {
  int64_t lo = range_begin(extent, lap, part->range, part->nranges, end), n = *end - lo;
  if (part->piece + 1 < part->pieces) *end -= n >> (part->piece + 1);
  return lo + n - (n >> part->piece);
}

static uint64_t fewest(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* A worker that waits fetches the first of what it will read of the next launch with weights, so
 * that memory is busy meanwhile. *progress: that launch and, in the low half, bytes of a stream. */
static bool fetch_ahead(const void *arg, unsigned lap, unsigned range, unsigned nranges,
                        uint64_t *progress) {
  const BoundEntry *e = arg;
  uint32_t next = e->streams[lap].next;
  const Streams *s = &e->streams[next];
  if (!s->count) return false;
  if (*progress >> 32 != next) *progress = (uint64_t)next << 32;
  int64_t hi, lo = range_begin(e->exec->dim[e->launch[next].extent], next, range, nranges, &hi);
  uint64_t done = *progress & UINT32_MAX, own = (uint64_t)(hi - lo) * s->step;
  uint64_t most = fewest(own, AHEAD_MOST / s->count), end = fewest(done + AHEAD_LINES * LINE, most);
  for (uint32_t k = 0; k < s->count; k++)
    for (uint64_t i = done; i < end; i += LINE)
      __builtin_prefetch(s->from + k * s->apart + (uint64_t)lo * s->step + i, 0, 2);
  *progress += AHEAD_LINES * LINE;
  return end < most;
}

/* ---- running --------------------------------------------------------------------------------- */

/* A launch without iterations waits for nobody; whoever comes next inherits its barrier. */
static bool launch_waits(const void *arg, unsigned lap) {
  const BoundEntry *b = arg;
  const int64_t *dim = b->exec->dim;
  if (dim[b->launch[lap].extent] <= 0) return false;
  do {
    if (b->launch[lap].barrier) return true;
  } while (lap-- > 0 && dim[b->launch[lap].extent] <= 0);
  return false;
}

static void launch_range(const void *arg, unsigned lap, const LapPart *part) {
  const BoundEntry *e = arg;
  const Bound *b = &e->launch[lap];
  const int64_t *dim = e->exec->dim;
  int64_t scalars[MAX_SCALARS], hi, lo = piece_begin(dim[b->extent], lap, part, &hi);
  if (lo >= hi) return;
  for (uint32_t k = 0; k < b->nscalars; k++) scalars[k] = dim[b->scalars[k]];
  b->fn(b->buffers, scalars, lo, hi);
}

static uint64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Traced launches are cut into ranges only, so that each is one span. */
static void traced_range(const void *arg, unsigned lap, const LapPart *part) {
  const BoundEntry *e = arg;
  const ExecTrace *t = e->exec->trace;
  ExecSpan *span = &t->span[(size_t)part->range * t->stride + lap];
  span->thread = (uintptr_t)pthread_self();
  span->begin = nanoseconds();
  launch_range(arg, lap, part);
  span->end = nanoseconds();
}

void exec_trace(Exec *x, ExecTrace *t) {
  x->trace = t;
}

void exec_run(Exec *x, int entry) {
  ExecTrace *t = x->trace;
  update_dims(x->m, x->dim);
  Laps laps = {.range = t ? traced_range : launch_range,
               .waits = launch_waits,
               .idle = fetch_ahead,
               .pieces = t ? NULL : launch_pieces,
               .arg = &x->entry[entry],
               .count = x->m->entries[entry].nlaunches,
               .whole = t != NULL};
  if (t) t->begin = nanoseconds();
  pool_laps(x->pool, &laps);
  if (!t) return;
  t->end = nanoseconds();
  t->ended(t->user, entry);
}
