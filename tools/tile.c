/* Tile sizes given by hand: see tools/tile.h. Names are those of LowerTarget. */
#include "tools/tile.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct TileField {
  const char *name;
  size_t offset;
  uint32_t lo, hi;
} fields[] = {
    {"token_tile", offsetof(LowerTarget, token_tile), 1, 64},
    {"float_tile", offsetof(LowerTarget, float_tile), 1, 64},
    {"float_groups", offsetof(LowerTarget, float_groups), 1, 4},
    {"row_groups", offsetof(LowerTarget, row_groups), 1, 64},
    {"query_tile", offsetof(LowerTarget, query_tile), 1, 64},
    {"key_vectors", offsetof(LowerTarget, key_vectors), 1, 4},
    {"chains", offsetof(LowerTarget, chains), 1, 8},
    {"prefetch_bytes", offsetof(LowerTarget, prefetch_bytes), 0, 1 << 20},
    {"group_tile", offsetof(LowerTarget, group_tile), 1, 8},
    {"panel_blocks", offsetof(LowerTarget, panel_blocks), 1, 64},
    {"panel_words", offsetof(LowerTarget, panel_words), 0, 1},
    {"panel_tokens", offsetof(LowerTarget, panel_tokens), 1, 1024},
};

static Status set_field(const char *name, const char *value, LowerTarget *t, Diag *d) {
  const char *names[COUNT(fields)];
  for (size_t i = 0; i < COUNT(fields); i++) {
    const struct TileField *f = &fields[i];
    names[i] = f->name;
    if (strcmp(f->name, name) != 0) continue;
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    if (end == value || *end || n < f->lo || n > f->hi)
      return diag_error(d, "--tile", "%s: '%s' is not possible (expected %u to %u)", name, value,
                        f->lo, f->hi);
    *(uint32_t *)(void *)((char *)t + f->offset) = (uint32_t)n;
    return OK;
  }
  const char *near = nearest_name(name, names, COUNT(names));
  return diag_error(d, "--tile", "'%s' is no tile size; did you mean '%s'?", name,
                    near ? near : names[0]);
}

Status tile_override(const char *list, LowerTarget *t, Diag *d) {
  while (list && *list) {
    char item[64], *value;
    size_t n = strcspn(list, ",");
    snprintf(item, sizeof item, "%.*s", (int)n, list);
    list += n + (list[n] == ',');
    value = strchr(item, '=');
    if (!value) return diag_error(d, "--tile", "'%s' lacks a value (expected NAME=N)", item);
    *value++ = 0;
    TRY(set_field(item, value, t, d));
  }
  return OK;
}
