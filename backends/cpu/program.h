/* Weights into a linked program: see program.c. */
#ifndef INGOT_BACKENDS_CPU_PROGRAM_H
#define INGOT_BACKENDS_CPU_PROGRAM_H

#include "backends/backend.h"

/* Packs every weight of the program straight to its place behind the linked file at `path`, and
 * makes the reserved program header map them. Does nothing for a program without weights. */
Status program_add_weights(const char *path, const EmitRequest *r, Diag *d, EmitResult *out);

#endif
