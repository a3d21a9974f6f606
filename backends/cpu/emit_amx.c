/* mma on AMX: tiles of 16 rows of 64 bytes, by intrinsics that name the tile registers.
 *
 * An mma is cut into pieces whose tiles have one shape (its last rows and last words may be fewer),
 * a piece into blocks of at most four tiles of c, which stay in registers while k passes:
 *
 *   for rows by groups, 2 x 2, 1 x 2 or 4 x 1 at a time:  tmm0..3 = 0 or c
 *     for k in steps of a tile:
 *       tmm6, 7 = b of each group;  for each 16 rows: tmm4 or 5 = a;  tmm0..3 += a * b
 *     c = tmm0..3
 *
 * Products of one tile take turns with the registers, so that they don't wait for each other, and
 * one that follows another of the same b (the two planes of activations) finds b loaded.
 *
 * The shape is set once a call when all tiles of a kernel have the same, else before each piece
 * (ldtilecfg clears the tiles; nothing is in them between pieces). At the end of the call tiles are
 * released, so that no switch of threads has to save them. The configuration is constant data: it
 * can't be lost by a compiler that doesn't see who reads it.
 */
#include "backends/cpu/emit.h"

enum { TILE_ROWS = 16, TILE_WORDS = 16, TILE_A = 4, TILE_B = 6, CONFIG_BYTES = 64 };

/* ---- shapes ---------------------------------------------------------------------------------- */

typedef struct Piece {
  TileShape shape;
  int64_t row, tiles; /* first row and how many tiles below each other */
  int64_t word, steps;
  bool add;
} Piece;

/* At most four: all but the last rows and words, and what is left of either. */
static uint32_t pieces_of(const KMma *s, Piece out[4]) {
  uint32_t n = 0;
  for (int last_words = 0; last_words < 2; last_words++) {
    int64_t whole_words = s->k / TILE_WORDS * TILE_WORDS;
    int64_t words = last_words ? s->k - whole_words : whole_words ? TILE_WORDS : 0;
    for (int last_rows = 0; words && last_rows < 2; last_rows++) {
      int64_t whole_rows = s->m / TILE_ROWS * TILE_ROWS;
      int64_t rows = last_rows ? s->m - whole_rows : whole_rows ? TILE_ROWS : 0;
      if (!rows) continue;
      out[n++] = (Piece){.shape = {(uint8_t)rows, (uint8_t)words},
                         .row = last_rows ? whole_rows : 0,
                         .tiles = last_rows ? 1 : whole_rows / TILE_ROWS,
                         .word = last_words ? whole_words : 0,
                         .steps = last_words ? 1 : whole_words / TILE_WORDS,
                         .add = s->add || (last_words && whole_words)};
    }
  }
  return n;
}

static bool same_shape(TileShape a, TileShape b) {
  return a.rows == b.rows && a.words == b.words;
}

/* How many mma there are; *one is their tiles' shape, rows 0 when there are several. */
static uint32_t find_shape(const KRegion *r, uint32_t seen, TileShape *one) {
  for (uint32_t i = 0; i < r->n; i++) {
    const KInst *in = r->inst[i];
    if (in->loop) seen = find_shape(&in->loop->body, seen, one);
    if (in->loop) seen = find_shape(&in->loop->orelse, seen, one);
    if (in->op != KOP_mma) continue;
    Piece piece[4];
    uint32_t n = pieces_of(in->mma, piece);
    if (!seen) *one = piece[0].shape;
    for (uint32_t p = 0; p < n; p++)
      if (!same_shape(*one, piece[p].shape)) *one = (TileShape){0};
    seen++;
  }
  return seen;
}

/* ---- instructions ---------------------------------------------------------------------------- */

static void call(KernelEmit *e, const char *name, LLVMValueRef *arg, unsigned n) {
  emit_intrinsic(e, name, NULL, 0, arg, n);
}

static LLVMValueRef tile(KernelEmit *e, unsigned n) {
  return LLVMConstInt(LLVMInt8TypeInContext(e->context), n, 0);
}

static void move_tile(KernelEmit *e, const char *name, unsigned n, LLVMValueRef p, int64_t stride) {
  LLVMValueRef arg[3] = {tile(e, n), p, emit_i64(e, stride)};
  call(e, name, arg, 3);
}

static LLVMValueRef at_byte(KernelEmit *e, LLVMValueRef p, int64_t bytes) {
  LLVMValueRef offset = emit_i64(e, bytes);
  return bytes ? LLVMBuildGEP2(e->b, LLVMInt8TypeInContext(e->context), p, &offset, 1, "") : p;
}

/* Palette 1; bytes a row of each tile from byte 16 (two bytes each), rows from byte 48. */
static void configure(KernelEmit *e, TileShape s) {
  uint8_t config[CONFIG_BYTES] = {1};
  for (unsigned t = 0; t < 8; t++) {
    bool a = t >= TILE_A && t < TILE_B;
    config[16 + 2 * t] = a ? (uint8_t)(4 * s.words) : 64;
    config[48 + t] = t >= TILE_B ? s.words : s.rows;
  }
  LLVMValueRef bytes =
      LLVMConstStringInContext(e->context, (const char *)config, CONFIG_BYTES, true);
  LLVMValueRef g = LLVMAddGlobal(e->module, LLVMTypeOf(bytes), "");
  LLVMSetInitializer(g, bytes);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  LLVMSetAlignment(g, CONFIG_BYTES);
  call(e, "llvm.x86.ldtilecfg", &g, 1);
}

/* ---- a block of tiles -------------------------------------------------------------------------
 */

typedef struct Block {
  const KMma *sizes;
  const Piece *piece;
  int64_t tiles, groups; /* of c: below each other, beside each other */
  LLVMValueRef c, a, b;  /* at its first element */
  unsigned tile_c, tile_a, tile_b;
  bool b_loaded;
} Block;

static void block_step(KernelEmit *e, const Block *k, LLVMValueRef a, LLVMValueRef b) {
  const KMma *s = k->sizes;
  for (int64_t g = 0; g < k->groups && !k->b_loaded; g++)
    move_tile(e, "llvm.x86.tileloadd64", k->tile_b + (unsigned)g, at_byte(e, b, g * s->group), 64);
  for (int64_t t = 0; t < k->tiles; t++) {
    unsigned ta = t % 2 ? TILE_A + 1 : k->tile_a;
    LLVMValueRef at = at_byte(e, a, t * k->piece->shape.rows * s->row);
    move_tile(e, "llvm.x86.tileloadd64", ta, at, s->row);
    for (int64_t g = 0; g < k->groups; g++) {
      LLVMValueRef arg[3] = {tile(e, k->tile_c + (unsigned)(t * k->groups + g)), tile(e, ta),
                             tile(e, k->tile_b + (unsigned)g)};
      call(e, "llvm.x86.tdpbsud", arg, 3);
    }
  }
}

/* All steps of k: a loop, in the form that emit_kernel.c gives its own. */
static void block_steps(KernelEmit *e, const Block *k) {
  int64_t words = k->piece->shape.words, steps = k->piece->steps;
  if (steps == 1) {
    block_step(e, k, k->a, k->b);
    return;
  }
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
  LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(e->context, e->fn, "tiles");
  LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(e->context, e->fn, "after");
  LLVMBuildBr(e->b, body);
  LLVMPositionBuilderAtEnd(e->b, body);
  LLVMValueRef zero = emit_i64(e, 0);
  LLVMValueRef step = LLVMBuildPhi(e->b, LLVMTypeOf(zero), "");
  LLVMAddIncoming(step, &zero, &before, 1);
  LLVMTypeRef byte = LLVMInt8TypeInContext(e->context);
  LLVMValueRef da = LLVMBuildMul(e->b, step, emit_i64(e, 4 * words), "");
  LLVMValueRef db = LLVMBuildMul(e->b, step, emit_i64(e, 64 * words), "");
  block_step(e, k, LLVMBuildGEP2(e->b, byte, k->a, &da, 1, ""),
             LLVMBuildGEP2(e->b, byte, k->b, &db, 1, ""));
  LLVMValueRef next = LLVMBuildNSWAdd(e->b, step, emit_i64(e, 1), "");
  LLVMAddIncoming(step, &next, &body, 1);
  LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntSLT, next, emit_i64(e, steps), "");
  LLVMBuildCondBr(e->b, more, body, after);
  LLVMPositionBuilderAtEnd(e->b, after);
}

static void emit_block(KernelEmit *e, const Block *k) {
  int64_t width = 64 * k->sizes->n; /* bytes a row of c */
  for (int pass = 0; pass < 2; pass++) {
    if (pass) block_steps(e, k);
    for (int64_t i = 0; i < k->tiles * k->groups; i++) {
      unsigned number = k->tile_c + (unsigned)i;
      LLVMValueRef zeroed = tile(e, number);
      int64_t row = i / k->groups * k->piece->shape.rows;
      LLVMValueRef at = at_byte(e, k->c, row * width + 64 * (i % k->groups));
      if (!pass && !k->piece->add)
        call(e, "llvm.x86.tilezero", &zeroed, 1);
      else
        move_tile(e, pass ? "llvm.x86.tilestored64" : "llvm.x86.tileloadd64", number, at, width);
    }
  }
}

/* ---- the operation --------------------------------------------------------------------------- */

/* Whether b of an mma is what the mma emitted just before has left in its register. */
static bool has_loaded(const KernelEmit *e, const KInst *in) {
  if (!e->tiles.last || e->tiles.last->mma->k != in->mma->k) return false;
  const KAddr *x = &e->tiles.last->addr[2], *y = &in->addr[2];
  if (x->base != y->base || x->nterm != y->nterm || x->offset != y->offset) return false;
  for (uint32_t i = 0; i < x->nterm; i++)
    if (x->term[i].index != y->term[i].index || x->term[i].stride != y->term[i].stride)
      return false;
  return true;
}

/* Registers for a product of one tile. */
static void take_turn(KernelEmit *e, const KInst *in, Block *k) {
  k->b_loaded = has_loaded(e, in);
  e->tiles.turn++;
  if (!k->b_loaded) e->tiles.b++;
  k->tile_c = e->tiles.turn % TILE_A;
  k->tile_a = TILE_A + e->tiles.turn % 2;
  k->tile_b = TILE_B + e->tiles.b % 2;
}

void emit_mma(KernelEmit *e, const KInst *in) {
  const KMma *s = in->mma;
  BUG_IF(e->target->isa != INGOT_X86_64_AMX, "kernel %s: mma must be expanded for %s",
         e->kernel->name, e->target->name);
  LLVMValueRef c = emit_address(e, &in->addr[0]), a = emit_address(e, &in->addr[1]);
  LLVMValueRef b = emit_address(e, &in->addr[2]);
  Piece piece[4];
  uint32_t n = pieces_of(s, piece);
  int64_t wide = s->n > 1 ? 2 : 1, high = 4 / wide;
  bool one = n == 1 && piece[0].tiles == 1 && piece[0].steps == 1 && s->n == 1 && e->tile.rows;
  for (uint32_t p = 0; p < n; p++) {
    const Piece *q = &piece[p];
    if (!e->tile.rows) configure(e, q->shape);
    for (int64_t g = 0; g < s->n; g += wide)
      for (int64_t t = 0; t < q->tiles; t += high) {
        int64_t row = q->row + t * TILE_ROWS;
        Block k = {.sizes = s, .piece = q, .tile_a = TILE_A, .tile_b = TILE_B};
        if (one) take_turn(e, in, &k);
        k.tiles = q->tiles - t < high ? q->tiles - t : high;
        k.groups = s->n - g < wide ? s->n - g : wide;
        k.c = at_byte(e, c, 64 * (row * s->n + g));
        k.a = at_byte(e, a, row * s->row + 4 * q->word);
        k.b = at_byte(e, b, g * s->group + 64 * q->word);
        emit_block(e, &k);
      }
  }
  e->tiles.last = one ? in : NULL;
}

static bool uses_tiles(const KernelEmit *e, TileShape *one) {
  return find_shape(&e->kernel->body, 0, one) > 0;
}

void emit_mma_begin(KernelEmit *e) {
  if (uses_tiles(e, &e->tile) && e->tile.rows) configure(e, e->tile);
}

void emit_mma_end(KernelEmit *e) {
  TileShape one;
  if (uses_tiles(e, &one)) call(e, "llvm.x86.tilerelease", NULL, 0);
}
