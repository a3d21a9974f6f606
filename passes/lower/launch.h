/* Launches of one entry while it is being lowered: what each reads and writes.
 *
 * Kept apart from the rest of the lowering so that the memory plan and the barriers can be tested
 * on hand-made launches.
 */
#ifndef INGOT_PASSES_LAUNCH_H
#define INGOT_PASSES_LAUNCH_H

#include "ir/kernel.h"

/* The bytes [bind.offset, bind.offset + bytes) of a space that a launch touches. */
typedef struct Access {
  KBind bind;
  uint64_t bytes;
  bool write;
} Access;

typedef struct LaunchUse { /* of one launch, in the order of its buffers */
  Access *access;
  uint32_t n;
} LaunchUse;

/* A scratch block: alive from the first launch that touches it to the last. */
typedef struct Block {
  uint64_t bytes, offset;
  uint32_t first, last;
} Block;

typedef struct LaunchList {
  LaunchUse *use;
  uint32_t nuses, cuses;
  Block *block;
  uint32_t nblocks, cblocks;
} LaunchList;

/* Gives every block an offset so that blocks alive at once don't overlap: first fit, by first use
 * or by size, whichever takes less; aligned to 64. Returns the arena's size. */
uint64_t plan_memory(LaunchList *l);
/* Two blocks that are alive at one launch and overlap; false when there are none. */
bool plan_memory_overlap(const LaunchList *l, uint32_t *a, uint32_t *b);

/* barrier[i] = launch i must wait for all threads: it reads or overwrites what a launch since the
 * last barrier wrote, or writes what one read. Arena accesses are by final offset. */
void plan_barriers(const LaunchList *l, bool *barrier);
/* The first launch that needs a barrier since the last one given and has none; false if all is
 * well. */
bool barriers_missing(const LaunchList *l, const bool *barrier, uint32_t *launch);

#endif
