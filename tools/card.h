/* The model card inside a program: JSON that says what it was made from and how. No dates, no paths
 * of the machine: the same input gives the same bytes. */
#ifndef INGOT_TOOLS_CARD_H
#define INGOT_TOOLS_CARD_H

#include "tools/compile.h"

/* Appends the card to `out`. `m` NULL: a text-only program. */
void card_write(const Model *model, const Module *m, const CompileOptions *o,
                const CpuTarget *const *levels, uint32_t nlevels, Buf *out);

#endif
