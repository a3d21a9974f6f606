/* The order of a compile's graph passes, and the runner around them.
 *
 * The runner does what passes must not: timing, dumping, verifying, sweeping. Passes run in the
 * order of passes/passes.def; --start-from and --stop-after cut that order.
 */
#ifndef INGOT_PASSES_PIPELINE_H
#define INGOT_PASSES_PIPELINE_H

#include "passes/passes.h"

#include <stdio.h>

typedef struct PipelineOptions {
  const char *dump;       /* print the module after this pass ("all": after each); NULL = none */
  const char *stop_after; /* the last pass to run; NULL = all */
  const char *start_from; /* the first pass to run; NULL = all */
  bool verify_each;       /* the verifier after every pass, not only after the last */
  bool time;              /* a line a pass to `report` */
  FILE *report;           /* for dumps and times */
} PipelineOptions;

/* Runs the passes over the module and verifies what comes out. An unknown pass name is an error. */
Status pipeline_run(Module *m, PassCtx *c, const PipelineOptions *o);

/* Runs the passes of a comma-separated list ("all": the pipeline) over Graph IR text, verifying
 * before the first and after each, and appends the result as text. `where` names the source. */
Status opt_text(const char *text, const char *where, const char *passes, PassCtx *c, Buf *out);

#endif
