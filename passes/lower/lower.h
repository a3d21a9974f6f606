/* Inside the lowering: what the files of passes/lower share.
 *
 * lower.c walks the clusters of a graph and gives each to the file of its class; that file drafts a
 * kernel (draft.c) whose operands are places (place.c) and whose element-wise work is evaluated at
 * points of an iteration shape (expr.c). A launch is appended with the bytes that it reads and
 * writes; when the graph is done, plan_memory.c gives every scratch value its offset and
 * barriers.c sets the barriers. Convention: until then an arena bind's `index` is the number of its
 * scratch block, and its offset counts within that block.
 */
#ifndef INGOT_PASSES_LOWER_H
#define INGOT_PASSES_LOWER_H

#include "ir/op.h"
#include "passes/lower/launch.h"
#include "passes/passes.h"

/* ---- places: where a value is and how it is strided ---------------------------------------- */

/* Element (i0, i1, ..) stands at bind + (shift + sum of i * stride) elements. Constant shifts are
 * in bind.offset; `shift` is 0 or a DimId known only at run time (the last row of S). A value in an
 * activation format is rows of act_row_bytes each, one after the other; its strides are unused. */
typedef struct Place {
  KBind bind;
  DType dtype;
  Storage storage;
  uint8_t rank;
  DimId dim[MAX_RANK], stride[MAX_RANK];
  DimId shift;
  uint64_t bytes; /* of the block that holds it, at the symbols' maximum: for barriers */
} Place;

typedef struct Lower {
  Module *m;
  const LowerTarget *target;
  PassCtx *ctx;
  KProgram *program;
  Arena *arena;
  Arena *draft; /* of the kernel being built */
  /* of the entry being lowered */
  Graph *g;
  KEntry *entry;
  LaunchList launches;
  Place *place; /* by ValueId */
  bool *placed;
  const Cluster *cluster;
  uint32_t cluster_index; /* 1-based, as in Op.cluster */
} Lower;

/* A message about op `o` of the graph being lowered; always FAIL. */
Status lower_error(const Lower *l, const Op *o, const char *what);

/* The place of a value; constants are laid out plainly when first asked for. BUG when nothing has
 * computed it. */
Place place_of(Lower *l, ValueId v);
/* A place for a result: the output buffer when the graph gives it away, else fresh scratch. */
Place place_result(Lower *l, ValueId v);
/* Fresh scratch with the shape of `type`, row-major. */
Place place_scratch(Lower *l, const Type *type);
void place_set(Lower *l, ValueId v, const Place *p);
/* Row-major strides for p's dimensions. */
void place_contiguous(Lower *l, Place *p);
bool place_is_contiguous(const Lower *l, const Place *p);
/* Views: false when the result can't be had without moving data. */
bool place_reshape(Lower *l, const Place *from, const Type *to, Place *out);
/* `size` elements of axis from `start` (an interned dimension). */
Place place_slice(Lower *l, const Place *from, int axis, DimId start, DimId size);
Place place_transpose(const Place *from, const int64_t *perm);
/* Rows of the last axis at one literal distance: *stride in elements; false otherwise. */
bool place_rows(const Lower *l, const Place *p, int64_t *stride);
/* The same, copying to scratch first when the value isn't laid out so. */
Place place_as_rows(Lower *l, ValueId v, int64_t *stride);
/* The place of a value with literal strides in every dimension and the last one dense, copying to
 * scratch when need be. */
Place place_as_strided(Lower *l, ValueId v);

static inline int64_t dim_literal(const Lower *l, DimId d) { /* -1: known at run time only */
  int64_t v;
  return dim_is_const(l->m->dims, d, &v) ? v : -1;
}
static inline DimId dim_mul(Lower *l, DimId a, DimId b) {
  return dim_op(l->m->dims, DIM_MUL, a, b);
}
/* Product of all dimensions but the last: rows. */
DimId rows_of(Lower *l, const Type *t);
static inline DimId last_dim(const Lower *l, const Type *t) {
  return t->rank ? t->dim[t->rank - 1] : dim_const(l->m->dims, 1);
}
KScalar kscalar_of(DType t); /* in memory; K_void: none (f64) */

/* Weights: the layout is made at first use and shared afterwards. *bind is where it starts. */
Place weight_plain(Lower *l, uint32_t constant);
Place weight_rows16(Lower *l, uint32_t constant, const QuantDef **def);
/* Whether in any graph an op of this code has a constant as its second operand. */
bool weight_read_by(const Lower *l, uint32_t constant, OpCode code);
/* Whether a constant is split; weight_rows16 is then its upper bits, and there are these two: */
bool weight_is_split(const Lower *l, uint32_t constant);
Place weight_lower(Lower *l, uint32_t constant);
Place weight_doubt(Lower *l, uint32_t constant); /* [rows, padded to 16] f32 */

/* ---- drafts: a kernel being built and the launch that will call it ------------------------- */

enum { DRAFT_BUFFERS = 96, DRAFT_DIMS = 64 };
typedef struct Draft {
  Lower *l;
  KBuilder b;
  uint32_t nbuf;
  struct {
    KVal val;
    Access access;
  } buf[DRAFT_BUFFERS];
  uint32_t ndim;
  struct {
    DimId dim;
    KVal val;
  } dim[DRAFT_DIMS];
  DimId extent, flops;
  DimId bytes; /* read and written, each buffer once; states by whoever reads them */
  KStreams streams;
} Draft;

void draft_begin(Draft *d, Lower *l, KClass klass, const char *name);
/* The buffer parameter for a place; one for each (place, element) however often it is asked for. */
KVal draft_buffer(Draft *d, const Place *p, KScalar element, bool write);
/* Counts bytes that draft_buffer can't know of: parts of states and tables. */
void draft_traffic(Draft *d, DimId bytes);
/* A dimension as an i64: a literal, or a scalar parameter. */
KVal draft_dim(Draft *d, DimId dim);
/* Ends the kernel, shares it with an equal one, and appends the launch. The label is made of the
 * origins of the cluster's ops. */
void draft_end(Draft *d);

/* A loop over [lo, hi) in steps of 16 lanes, then once more under a mask for what is left (left out
 * when the bounds are literals and nothing is). `carry` are updated in place by the body. */
typedef void SpanBody(void *user, KVal col, KVal mask, KVal *carry);
void draft_span(Draft *d, KVal lo, KVal hi, uint32_t ncarry, KVal *carry, SpanBody *body,
                void *user);

/* ---- points and expressions ---------------------------------------------------------------- */

/* A point of an iteration shape: a row (the leading dimensions, flattened) and 16 columns of the
 * last one from `col`, under `mask` (0: all). */
typedef struct Point {
  uint8_t rank;
  const DimId *dim;
  KVal row, col, mask;
  KVal index[MAX_RANK]; /* of the leading dimensions; taken apart when first needed */
} Point;
Point point_at(const Type *shape, KVal row, KVal col, KVal mask);
/* Takes the row apart into one index a leading dimension, here: for whoever will load at the point
 * inside a loop first and outside it later. Others need not call it. */
void point_indices(Draft *d, Point *pt);
/* Address of column 0 of the point's row in a place, and the stride of columns (0: broadcast; -1:
 * known at run time only). */
KAddr point_row(Draft *d, Point *pt, const Place *p, KVal buffer, int64_t *step);
/* 16 elements of a place at a point, broadcast as numpy does; halves widened to f32. */
KVal point_load(Draft *d, Point *pt, const Place *p);
void point_store(Draft *d, Point *pt, const Place *p, KVal x);

enum { EXPR_MEMO = 128 };
/* Values at one point: those of the cluster computed, others loaded. */
typedef struct Expr {
  Draft *d;
  Point pt;
  uint32_t n;
  struct {
    ValueId v;
    KVal k;
  } memo[EXPR_MEMO];
} Expr;
void expr_begin(Expr *e, Draft *d, Point pt);
void expr_preset(Expr *e, ValueId v, KVal k); /* what the anchor gave */
KVal expr_value(Expr *e, ValueId v);
/* Stores every value of the cluster with `shape` that something outside reads, except those in
 * activation formats. */
void expr_store_results(Expr *e, const Type *shape);

/* True when something outside the current cluster (or the graph's outputs) reads `v`. */
bool value_escapes(const Lower *l, ValueId v);
bool in_cluster(const Lower *l, ValueId v); /* computed by the current cluster */

/* ---- activation formats in memory (act.c) -------------------------------------------------- */

/* One row of K: the planes of every block of 32, then the sums of q (i32, a block), then scales,
 * then the sums of q over each block's first half. With powers of two 2^e for scales there are
 * 2^e * 1.5 * 2^23 of every block too, in f32, and the bits of that less ACT_ZERO times the sum of
 * q: where products with codes of that zero may begin (contract_direct.c). */
enum { ACT_ZERO = 128 };
typedef struct ActLayout {
  int64_t blocks, block_bytes, sums, scales, halves, magics, starts, row_bytes; /* in bytes */
  bool planes2, powers; /* powers: scales are powers of two */
} ActLayout;
ActLayout act_layout(Storage format, int64_t k);
/* Whether a block of act_i16 in memory is 32 words q instead of two planes of bytes, of the same
 * size, and the sums are f32: for many tokens' products, where the target asks for it. */
bool act_in_words(const Lower *l, Storage format, DimId rows);
/* What of a format a row is made in. */
typedef struct ActForm {
  Storage format;
  bool words, halves; /* act_in_words; sums of half blocks, else undefined */
} ActForm;
/* Of value v, rows of which linears read in `format`: halves where one of their weights may have a
 * scale for every 16. */
ActForm act_form(const Lower *l, ValueId v, Storage format, DimId rows);
/* Emits the quantisation of one row into the bytes at `row`; `x` gives 16 floats at (col, mask). */
typedef KVal RowFn(void *user, KVal col, KVal mask);
void act_quantise(Draft *d, ActForm form, KAddr row, int64_t k, RowFn *x, void *user);

/* ---- the classes --------------------------------------------------------------------------- */

Status lower_map(Lower *l); /* element-wise chains */
Status lower_row(Lower *l); /* norms, softmax, argmax, sums, requant */
Status lower_contract(Lower *l);
Status lower_linear_argmax(Lower *l, const Op *op);
/* Argmax in vectors: `best` holds values and their columns, lane by lane. A later column wins only
 * when larger. */
void argmax_begin(KBuilder *b, KVal *best);
void argmax_meet(KBuilder *b, KVal x, KVal at, KVal mask, KVal *best); /* mask 0: all lanes */
/* The first column that has the best value of all lanes: INT32_MAX when none is above minus
 * infinity. */
KVal argmax_lanes(KBuilder *b, const KVal *best, KVal *top);
/* A row without a value above minus infinity: its first column. */
KVal argmax_column(KBuilder *b, KVal at);
/* The row work of the current cluster that ends in `requant`, for row `row`, into the bytes at
 * `to`. */
void row_quantised(Draft *d, const Op *requant, KVal row, KAddr to);
Status lower_matmul(Lower *l, const Op *op); /* two run-time values; also linear */
Status lower_attend(Lower *l, const Op *op);
Status lower_view(Lower *l, const Op *op); /* reshape, transpose, split, slice, concat */
Status lower_gather(Lower *l, const Op *op);
Status lower_position(Lower *l, const Op *op); /* rope_freqs, rope_table, rope, kv_append */
/* Copies a strided value into another place of the same shape. */
void lower_copy(Lower *l, const Place *from, const Place *to);
/* Requantises a value that no pass has requantised; the place of its rows. */
Place lower_requant(Lower *l, ValueId v, Storage format);

/* How a cache lies in memory: keys [kv_heads][context / 16][head_dim][16], then values
 * [kv_heads][context][head_dim padded to 16], both in the state's dtype.
 *
 * i16: keys [kv_heads][context / 16] of codes in i16 [head_dim padded to 2, / 2][16][2], behind
 * them their scales, f32 [16], and the exponents of their values, f32 [16]; values [kv_heads]
 * [context / 32][16][head_dim padded to 16][2], a key's codes beside those of the 16th behind it.
 *
 * q8_0, head_dim padded to 32, bytes: keys [kv_heads][context / 16][head_dim / 4][16][4] (codes
 * plus 128, as dot4 takes them), values [kv_heads][context][head_dim] (signed), then the scales of
 * keys and those of values, f16 [kv_heads][context / 16][head_dim / 32][16]. */
enum { CACHE_EXPONENT = 100 }; /* i16: a value is code * 2^e, |e| at most this */
enum { KEY_BLOCK = 64 };       /* keys that share one step of the running softmax */
typedef struct CacheLayout {
  KScalar type;
  int64_t context, dim, padded;                 /* context padded to KEY_BLOCK */
  int64_t key_step;                             /* elements a key */
  int64_t key_head, value_head;                 /* elements a head */
  int64_t values;                               /* element at which values begin */
  bool i16;                                     /* codes for keys and values */
  bool q8;                                      /* elements are bytes, and: */
  int64_t key_scales, value_scales, scale_head; /* where they begin; bytes a head */
  uint64_t bytes;
} CacheLayout;
CacheLayout cache_layout(const StateDef *s);
/* Bytes of one position's key and value of one head. */
static inline int64_t cache_key_bytes(const CacheLayout *c) {
  return (c->key_step + c->padded) * (int64_t)kscalar_size(c->type) + (c->q8 ? c->dim / 8 : 0);
}
/* The codes of an i16 cache for the k elements that `x` gives, to `to` (i16, room for a multiple of
 * 16, 0 beyond k): rint(x * 32256 / |x|) by the Euclidean norm, so that the product of two such
 * rows fits 31 bits. Gives their scale, |x| / 32256. */
KVal cache_codes(Draft *d, KAddr to, int64_t k, RowFn *x, void *user);
/* The exponent (i32) of a head's value of which `most` (f32) is the largest magnitude: of codes
 * below 2^13. */
KVal cache_value_exponent(KBuilder *b, KVal most);
/* The codes of one key at `codes`, `each` dimensions a word, to words `lane` apart from `to` on. */
void cache_scatter(KBuilder *b, int64_t dim, int64_t each, KAddr codes, KAddr to, int64_t lane);
/* An exponent e of values (i32) within its bounds, and 2^-e. */
KVal cache_exponent(KBuilder *b, KVal e);
KVal cache_power(KBuilder *b, KVal e);
Place place_state(Lower *l, ValueId v, const StateDef **def);
DimId past_dim(Lower *l); /* P, or 0 */

#endif
