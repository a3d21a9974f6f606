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
  bool fold;           /* rows of weights enter in int8 (contract_fill.c) */
  bool resident;       /* f32, many tokens: see contract_f32.c */
  int64_t rows, k;     /* of the weight */
  int64_t block_bytes; /* of a packed block in w, */
  int64_t group_bytes; /* and of 16 rows */
  KVal w, x, x_shift;  /* buffers; element at which x begins, when only known at run time */
  KVal lower;          /* of a split weight: the lower bits, w being the upper; 0: not read */
  bool split;
  ActLayout act;    /* integer: how x is laid out */
  bool words;       /* x is in words, not planes */
  int64_t x_stride; /* float: elements between rows of x */
  KScalar x_type;
  struct Pace {       /* resident: the next par iteration's weights come meanwhile */
    KVal next;        /* its first group of every part */
    KVal step, shift; /* steps of k that this iteration has done; line = step >> shift */
    int64_t half;     /* and this many lines further; 0: no second one */
  } pace;
  uint32_t parts; /* equal parts of the result that the epilogue reads side by side */
  ValueId part[CONTRACT_PARTS];
  const Type *shape; /* of one part */
  int64_t part_cols, part_groups;
  uint32_t prefetch, in_flight, token_tile; /* token_tile: float weights */
  const Place *sums; /* one token: where the sums go as they are; NULL: through the epilogue */
} Contract;

/* Weight groups (of 16 rows) by tokens; sums of (g, t) are acc[g * tokens + t]. */
typedef struct Tile {
  uint32_t groups, tokens;
  KVal group[TILE_GROUPS], token[TILE_TOKENS];
  int64_t run;      /* one token: column groups that follow each other in memory */
  KVal sets_before; /* many tokens: sets of groups that earlier tiles of the iteration have met */
} Tile;

void contract_float_tile(Contract *c, const Tile *t, KVal *acc);
void contract_resident_tile(Contract *c, const Tile *t, KVal *acc);
/* Bias, epilogue and stores of one column group (the same of every part) and one of the tile's
 * tokens. */
void contract_finish(Contract *c, const Tile *t, uint32_t set, uint32_t token, const KVal *acc);
/* 1 .. hi */
uint32_t contract_clamped(uint32_t v, uint32_t hi);
/* Element k + offset of a token's row of x, as f32 in all lanes. */
KVal contract_x(Contract *c, KVal token, KVal k, int64_t offset);
/* A tile from the sums to the stores. */
void contract_tile(Contract *c, const Tile *t);

typedef enum Reads {
  READS_ALL,
  READS_UPPER, /* of a split weight the upper bits only */
  READS_SOME   /* groups that turn out at run time: a row kernel, whose traffic is not counted */
} Reads;
/* Fills `c` for `op` of the current cluster and begins its draft, with the buffers of weight and
 * operand. */
Status contract_begin(Contract *c, Lower *l, const Op *op, const char *name, Reads reads);
/* One token: sums of the groups of a tile, as they are stored but for bias and epilogue. */
void contract_one_token_sums(Contract *c, const Tile *t, KVal *acc);
/* One token: the par loop over all groups. */
void contract_one_token(Contract *c);

/* ---- tokens in tiles of n, then the rest in smaller ones ------------------------------------ */

/* Opens the loop over the tiles of tokens lo .. hi: their numbers are token[0 .. n), the result is
 * the first of them. */
KVal contract_each_tile(KBuilder *b, KVal lo, KVal hi, uint32_t n, KVal *token);
/* Where the whole tiles of tokens lo .. hi end. */
KVal contract_whole_tiles(KBuilder *b, KVal lo, KVal hi, uint32_t n);

/* ---- integer weights: what every way of multiplying adds, in one order --------------------- */

/* Packed block `packed` of a group; of a split weight the upper half. */
KAddr contract_packed(const Contract *c, KVal group, KVal packed);
/* Its block `sub`. */
void contract_unpack(Contract *c, KVal group, KVal packed, KVal sub, QuantInts *out);

/* The sum of q over part `part` (of `parts`) of a block of one token, as v16i32 (words: v16f32);
 * `word` is the token's row at 4 bytes a block. */
KVal contract_total(Contract *c, KAddr word, int parts, int part);
/* zero * total, which a block's products have too much. */
KVal contract_excess(Contract *c, int zero, KVal total);
/* What a token's block is multiplied by besides the weights' scales: v16f32. */
typedef struct BlockX {
  KVal scale; /* one plane: the block's own; 0: none */
  KVal total; /* the sum of q times that, where weights have minima; else 0 */
  KVal magic; /* in the scale's place: the product's sums began at the bits of this (BlockX) */
} BlockX;
BlockX contract_block_x(Contract *c, KAddr word, KVal total);
/* acc + scale * product (v16i32) * x.scale, then + min * x.total; min: 0 without minima; scale: 0
 * where folded weights have it behind the panel. */
KVal contract_add(Contract *c, KVal acc, KVal product, KVal scale, KVal min, const BlockX *x);

/* ---- integer weights, many tokens: shared by contract_panel.c and contract_direct.c ---------- */

/* Codes of one block of a few groups: where each has its eight vectors; bits, parts: QuantInts. */
typedef struct BlockCodes {
  uint32_t groups;
  KAddr at[TILE_GROUPS];
  int bits, parts;
} BlockCodes;
/* sum[g * tokens + k] += the codes of part `part` times x[k], a token's block: exact, in i32. */
void contract_products(Contract *c, const BlockCodes *w, int part, uint32_t tokens, const KAddr *x,
                       KVal *sum);
/* Outputs of a tile of many tokens: groups by tokens, from the target's sizes. */
uint32_t contract_outputs(const Contract *c);

/* ---- integer weights met where they stand, many tokens: contract_direct.c ------------------- */

bool contract_is_direct(const Contract *c);
/* The groups of a tile and tokens begin .. end: from weights to stores, inside a par loop. */
void contract_direct(Contract *c, const Tile *groups, KVal begin, KVal end);

/* ---- integer weights, many tokens: the panel, contract_fill.c ------------------------------- */

/* Blocks of 32 along K of a few groups of 16 rows, unpacked into a local. A block's codes are eight
 * vectors of 64 bytes one after the other, in QuantInts' order: what dot4 reads, and as eight rows
 * of 64 bytes the B tile of a matrix unit. */
typedef struct Panel {
  KVal local; /* bytes */
  uint32_t groups;
  int64_t blocks;        /* of a group, at most; a multiple of a packed block's */
  int64_t block_bytes;   /* codes, and unless they are folded scales and minima */
  int bits, zero, parts; /* as in QuantInts */
  bool minima;
  bool words;  /* a block's codes, less `zero`, are sixteen vectors of words: two k each */
  bool folded; /* one scale a row for all blocks, which are those of one packed block */
} Panel;
/* Declares the local for `groups` groups of c->w; how long it is is the target's to say. */
void panel_begin(Contract *c, Panel *p, uint32_t groups);
/* Unpacks n (i64, at most p->blocks) blocks from block `first` of the row on (a multiple of
 * p->blocks) of each of the groups. */
void panel_fill(Contract *c, const Panel *p, const KVal *group, KVal first, KVal n);
/* Byte addresses in the local; `group` and `block` count in the panel. */
KAddr panel_codes(const Panel *p, uint32_t group, KVal block);
KAddr panel_scale(const Panel *p, uint32_t group, KVal block, int part); /* v16f32 */
KAddr panel_min(const Panel *p, uint32_t group, KVal block, int part);   /* v16f32, with minima */
KAddr panel_row_scale(const Panel *p, uint32_t group); /* v16f32, where the panel is folded */
int64_t panel_group_bytes(const Panel *p);             /* between the groups */

/* ---- and the tokens that pass it: contract_panel.c ----------------------------------------- */

/* What one chunk of tokens does with one filling of the panel. */
typedef struct PanelPass {
  Panel panel;
  KVal first, blocks; /* of the row, in the panel: i64 */
  KVal token, end;    /* of the chunk: i64 */
  KVal sums;          /* local f32: [token of the chunk][group][16], what earlier blocks gave */
  KVal products;      /* local i32 of contract_amx.c; 0: the target multiplies no tiles */
} PanelPass;
KAddr panel_sum(const PanelPass *s, uint32_t group, KVal token);
/* An accumulator's value before the panel's blocks and what becomes of it behind them, `sum` being
 * where it waits and `scale` the panel_row_scale: the sum goes on, or, folded, begins at 0 and is
 * added with the rows' scale. */
KVal panel_first(KBuilder *b, const PanelPass *s, KAddr sum);
void panel_last(KBuilder *b, const PanelPass *s, KAddr scale, KAddr sum, KVal acc);
/* The groups of `t` and tokens begin .. end: from weights to stores, inside a par loop. */
void contract_panels(Contract *c, Tile *t, KVal begin, KVal end);

/* ---- the same by tile products: contract_amx.c --------------------------------------------- */

/* Bytes of locals that it needs beside the panel; 0 where the target multiplies no tiles. */
int64_t mma_local_bytes(const Contract *c, const Panel *p);
void mma_begin(Contract *c, PanelPass *s); /* declares them */
/* Tokens of the chunk past the panel, 16 at a time; returns the first that is left (i64). */
KVal mma_pass_tokens(Contract *c, const PanelPass *s);

#endif
