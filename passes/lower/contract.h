/* Inside class contract: what the integer and float tiles share. */
#ifndef INGOT_PASSES_CONTRACT_H
#define INGOT_PASSES_CONTRACT_H

#include "passes/lower/lower.h"

enum { CONTRACT_PARTS = 4, TILE_GROUPS = 8, TILE_TOKENS = 16 };

typedef struct Contract {
  Draft d;
  const Op *op;
  const QuantDef *quant;
  bool integer;        /* integer products; else f32 */
  bool by_class;       /* f32, many tokens: see contract_f32.c */
  int64_t rows, k;     /* of the weight */
  int64_t group_bytes; /* packed bytes of 16 rows */
  KVal w, x, x_shift;  /* buffers; element at which x begins, when only known at run time */
  ActLayout act;       /* integer: how x is laid out */
  int64_t x_stride;    /* float: elements between rows of x */
  KScalar x_type;
  struct Pace {       /* by_class: the next par iteration's weights come meanwhile */
    KVal next;        /* its first group of every part */
    KVal step, shift; /* steps of k that this iteration has done; line = step >> shift */
  } pace;
  uint32_t parts; /* equal parts of the result that the epilogue reads side by side */
  ValueId part[CONTRACT_PARTS];
  const Type *shape; /* of one part */
  int64_t part_cols, part_groups;
  uint32_t prefetch, in_flight, token_tile;
} Contract;

/* Weight groups (of 16 rows) by tokens; sums of (g, t) are acc[g * tokens + t]. */
typedef struct Tile {
  uint32_t groups, tokens;
  KVal group[TILE_GROUPS], token[TILE_TOKENS];
  KVal sets_before; /* many tokens: sets of groups that earlier tiles of the iteration have met */
} Tile;

void contract_int_tile(Contract *c, const Tile *t, KVal *acc);
void contract_float_tile(Contract *c, const Tile *t, KVal *acc);
void contract_class_tile(Contract *c, const Tile *t, KVal *acc);
/* Element k + offset of a token's row of x, as f32 in all lanes. */
KVal contract_x(Contract *c, KVal token, KVal k, int64_t offset);
/* A tile from the sums to the stores. */
void contract_tile(Contract *c, const Tile *t);

#endif
