/* Gathering of launch times: see profile.h.
 *
 * All memory is there before the first run: a row has room for a number of seconds for each of its
 * launches in each run. Threads are told apart by the number in their spans; the caller's comes
 * first, the others as they are met.
 */
#include "runtime/core/profile.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct Profile {
  Exec *exec;
  const IngotModel *m;
  bool each;
  unsigned nthreads, known; /* known: threads met so far */
  uintptr_t *thread;
  ExecTrace trace;
  ProfileEntry *entry;
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* "layer 12 / mlp / down" without its first part; any other label as it is. */
static const char *without_layer(const char *label) {
  const char *end = strstr(label, " / ");
  const char *digit = end;
  while (digit && digit > label && isdigit((unsigned char)digit[-1])) digit--;
  return end && digit < end && digit > label && digit[-1] == ' ' ? end + 3 : label;
}

static uint32_t find_row(const ProfileEntry *en, uint32_t kernel, const char *label) {
  uint32_t i = 0;
  while (i < en->nrows && (en->row[i].kernel != kernel || strcmp(en->row[i].label, label) != 0))
    i++;
  return i;
}

static int make_rows(Profile *p, int entry, Err *e) {
  const IngotEntry *from = &p->m->entries[entry];
  ProfileEntry *en = &p->entry[entry];
  size_t n = from->nlaunches;
  en->row = calloc(n + 1, sizeof *en->row);
  en->row_of = calloc(n + 1, sizeof *en->row_of);
  en->busy = calloc(p->nthreads, sizeof *en->busy);
  if (!en->row || !en->row_of || !en->busy) return err_no_memory(e, "profile");
  for (uint32_t i = 0; i < n; i++) {
    const IngotLaunch *l = &from->launches[i];
    const char *label = l->label ? l->label : p->m->kernels[l->kernel].name;
    if (!p->each) label = without_layer(label);
    uint32_t r = p->each ? en->nrows : find_row(en, l->kernel, label);
    if (r == en->nrows) en->row[en->nrows++] = (ProfileRow){.label = label, .kernel = l->kernel};
    en->row[r].launches++;
    en->row_of[i] = r;
  }
  return 0;
}

int profile_reserve(Profile *p, int entry, int64_t runs, Err *e) {
  ProfileEntry *en = &p->entry[entry];
  if (!en->row && make_rows(p, entry, e)) return 1;
  for (uint32_t i = 0; i < en->nrows; i++) {
    ProfileRow *r = &en->row[i];
    int64_t room = r->room + runs * r->launches;
    double *more = realloc(r->seconds, (size_t)room * sizeof *more + 1);
    if (!more) return err_no_memory(e, "profile");
    r->seconds = more;
    r->room = room;
  }
  return 0;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static unsigned thread_index(Profile *p, uintptr_t thread) {
  unsigned i = 0;
  while (i < p->known && p->thread[i] != thread) i++;
  if (i == p->known && p->known < p->nthreads) p->thread[p->known++] = thread;
  return i < p->nthreads ? i : 0;
}

static void add_call(Profile *p, ProfileRow *r, const IngotLaunch *l, double seconds) {
  if (r->calls < r->room) r->seconds[r->calls++] = seconds;
  r->total += seconds;
  r->bytes += (double)exec_dim(p->exec, l->bytes);
  r->flops += (double)exec_dim(p->exec, l->flops);
}

static void run_ended(void *user, int entry) {
  Profile *p = user;
  ProfileEntry *en = &p->entry[entry];
  const IngotEntry *from = &p->m->entries[entry];
  uint64_t mark = p->trace.begin;
  if (!en->row_of) return; /* nobody asked for this entry */
  for (uint32_t i = 0; i < from->nlaunches; i++) {
    ProfileRow *r = &en->row[en->row_of[i]];
    uint64_t end = mark;
    for (unsigned k = 0; k < p->nthreads; k++) {
      const ExecSpan *s = &p->trace.span[(size_t)k * p->trace.stride + i];
      double busy = 1e-9 * (double)(s->end - s->begin);
      r->busy += busy;
      en->busy[thread_index(p, s->thread)] += busy;
      if (s->end > end) end = s->end;
    }
    if (i + 1 == from->nlaunches) end = p->trace.end; /* the end of the run is a meeting too */
    add_call(p, r, &from->launches[i], 1e-9 * (double)(end - mark));
    mark = end;
  }
  en->seconds += 1e-9 * (double)(p->trace.end - p->trace.begin);
  en->runs++;
}

void profile_start(Profile *p) {
  exec_trace(p->exec, &p->trace);
}

void profile_stop(Profile *p) {
  exec_trace(p->exec, NULL);
}

/* ---- opening, closing, reading --------------------------------------------------------------- */

int profile_open(Exec *x, bool each, Profile **out, Err *e) {
  *out = NULL;
  Profile *p = calloc(1, sizeof *p);
  if (!p) return err_no_memory(e, "profile");
  const IngotModel *m = exec_model(x);
  uint32_t most = 1;
  for (uint32_t i = 0; i < m->nentries; i++)
    if (m->entries[i].nlaunches > most) most = m->entries[i].nlaunches;
  p->exec = x;
  p->m = m;
  p->each = each;
  p->nthreads = pool_size(exec_pool(x));
  p->entry = calloc(m->nentries, sizeof *p->entry);
  p->thread = calloc(p->nthreads, sizeof *p->thread);
  p->trace.span = calloc((size_t)most * p->nthreads, sizeof *p->trace.span);
  if (!p->entry || !p->thread || !p->trace.span) {
    profile_close(p);
    return err_no_memory(e, "profile");
  }
  for (uint32_t i = 0; i < m->nentries; i++) p->entry[i].entry = (int)i;
  p->trace.stride = most;
  p->trace.ended = run_ended;
  p->trace.user = p;
  p->thread[p->known++] = (uintptr_t)pthread_self();
  *out = p;
  return 0;
}

void profile_close(Profile *p) {
  if (!p) return;
  profile_stop(p);
  for (uint32_t i = 0; p->entry && i < p->m->nentries; i++) {
    ProfileEntry *en = &p->entry[i];
    for (uint32_t k = 0; k < en->nrows; k++) free(en->row[k].seconds);
    free(en->row);
    free(en->row_of);
    free(en->busy);
  }
  free(p->entry);
  free(p->thread);
  free(p->trace.span);
  free(p);
}

static int by_seconds(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int by_total(const void *a, const void *b) {
  const ProfileRow *x = a, *y = b;
  return (x->total < y->total) - (x->total > y->total);
}

void profile_sort(Profile *p) {
  for (uint32_t i = 0; i < p->m->nentries; i++) {
    ProfileEntry *en = &p->entry[i];
    for (uint32_t k = 0; k < en->nrows; k++)
      qsort(en->row[k].seconds, (size_t)en->row[k].calls, sizeof(double), by_seconds);
    if (en->row) qsort(en->row, en->nrows, sizeof *en->row, by_total);
    free(en->row_of); /* rows have moved */
    en->row_of = NULL;
  }
}

ProfileEntry *profile_entry(Profile *p, int entry) {
  return &p->entry[entry];
}

double profile_quantile(const ProfileRow *r, double part) {
  if (!r->calls) return 0;
  double at = part * (double)(r->calls - 1);
  int64_t i = (int64_t)at;
  double next = r->seconds[i + 1 < r->calls ? i + 1 : i];
  return r->seconds[i] + (at - (double)i) * (next - r->seconds[i]);
}
