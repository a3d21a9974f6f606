/* --calibrate FILE: how much each column of every matrix matters, from running text. */
#ifndef INGOT_TOOLS_CALIBRATE_H
#define INGOT_TOOLS_CALIBRATE_H

#include "frontend/model.h"
#include "tools/progress.h"

typedef struct Calibration {
  const char *sha256; /* of the text; NULL: there was none */
  uint64_t tokens;
} Calibration;

/* Runs the text through the model's graph "logits" by the reference evaluator and gives the weights
 * of linears their importance (ConstPart): the mean square of what meets each column. For a Module
 * as it was built, before any pass. */
Status calibrate(Module *m, const Model *model, const char *text, Progress *progress, Diag *d,
                 Calibration *out);

#endif
