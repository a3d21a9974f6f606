/* Tile sizes given by hand, for measuring them (tools/bench/tune): a developer's option. */
#ifndef INGOT_TOOLS_TILE_H
#define INGOT_TOOLS_TILE_H

#include "passes/passes.h"

/* Applies "token_tile=6,row_groups=4" to the sizes of a level; NULL and "" change nothing. */
Status tile_override(const char *list, LowerTarget *t, Diag *d);

#endif
