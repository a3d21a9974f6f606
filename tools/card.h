/* The model card inside a program: JSON that says what it was made from and how. No dates, no paths
 * of the machine: the same input gives the same bytes. */
#ifndef INGOT_TOOLS_CARD_H
#define INGOT_TOOLS_CARD_H

#include "tools/calibrate.h"
#include "tools/compile.h"

#include <jansson.h>

/* Appends the card to `out`. `m` NULL: a text-only program. */
void card_write(const Model *model, const Module *m, const CompileOptions *o,
                const Calibration *calibration, const CpuTarget *const *levels, uint32_t nlevels,
                Buf *out);

/* The card of a produced program, with its size as "file_bytes"; NULL: none. *elf: `path` is a
 * program of whatever make. The caller drops the reference. */
json_t *card_of_program(const char *path, bool *elf);

#endif
