/* Where the time of runs goes, launch by launch: gathers what exec_trace hands over.
 *
 * The time of a call of a launch reaches from the end of all launches before it to its own end on
 * the last thread, that of the last launch to the end of the run: the times add up to the run,
 * whatever ran side by side. What a thread did not spend in kernels it waited: for the slowest, for
 * its job, for its turn.
 */
#ifndef INGOT_RUNTIME_PROFILE_H
#define INGOT_RUNTIME_PROFILE_H

#include "runtime/core/exec.h"

typedef struct ProfileRow { /* the launches of one kernel with one label */
  const char *label;        /* in the model's words, without the number of the layer */
  uint32_t kernel;          /* in IngotModel.kernels */
  uint32_t launches;        /* of one run */
  int64_t calls, room;
  double *seconds;                  /* of each call, ascending after profile_sort */
  double total, busy, bytes, flops; /* sums over calls; busy: seconds in the kernel, all threads */
} ProfileRow;

typedef struct ProfileEntry {
  int entry;
  int64_t runs, tokens; /* tokens: for the caller to fill */
  double seconds;
  ProfileRow *row; /* by total, descending, after profile_sort */
  uint32_t nrows;
  uint32_t *row_of; /* by launch */
  double *busy;     /* seconds in kernels, by thread; the first is the caller's */
} ProfileEntry;

typedef struct Profile Profile;

/* `each`: a row for every launch, with its whole label. */
int profile_open(Exec *x, bool each, Profile **out, Err *e);
void profile_close(Profile *p); /* NULL is fine */
/* Makes room for `runs` more runs of an entry, before them. */
int profile_reserve(Profile *p, int entry, int64_t runs, Err *e);
/* Runs between these two are gathered. */
void profile_start(Profile *p);
void profile_stop(Profile *p);
/* Sorts rows and the seconds in them; call once, before reading. */
void profile_sort(Profile *p);
ProfileEntry *profile_entry(Profile *p, int entry);
/* Of sorted seconds; part 0.5: the median. */
double profile_quantile(const ProfileRow *r, double part);

#endif
