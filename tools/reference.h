/* A language model's logits by the reference evaluator: for --verify and --calibrate. */
#ifndef INGOT_TOOLS_REFERENCE_H
#define INGOT_TOOLS_REFERENCE_H

#include "ir/eval.h"

/* The logits of n tokens at positions 0 .. n - 1 by graph "logits" of a decoder; `watch` (may be
 * NULL) sees every op. */
Status reference_logits(Arena *a, const Graph *g, const int64_t *ids, int64_t n, RefWatch *watch,
                        void *user, Diag *d, RefTensor *out);

#endif
