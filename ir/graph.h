/* Graph IR: tensors and whole operators, in SSA.
 *
 * A Module holds several Graphs over shared constants, states and one table of dimensions. Values
 * and ops are 32-bit ids into arrays owned by the graph; 0 is "none". Nothing here knows a file
 * format or a machine. The text form (printer and parser) is described in doc/ir.md; the op table
 * is ir/ops.def. Everything lives in the module's arena and dies with it.
 */
#ifndef INGOT_IR_GRAPH_H
#define INGOT_IR_GRAPH_H

#include "ir/base.h"

/* ---- element and storage types ------------------------------------------------------------------
 */

typedef enum DType {
#define DTYPE(name, bytes, st, is_float) DT_##name,
#include "ir/dtypes.def"
#undef DTYPE
  DT_COUNT
} DType;
const char *dtype_name(DType t);        /* "f32" */
const char *dtype_safetensors(DType t); /* "F32" */
size_t dtype_size(DType t);             /* bytes of one element */
bool dtype_is_float(DType t);
bool dtype_parse(const char *name, DType *out);

/* How the elements of a logically-f32 tensor are kept: a row of ir/quants.def, or an activation
 * format that exists only inside a program. Q_plain: as the dtype says. */
typedef enum Storage {
  Q_plain = 0,
#define QUANT(name, ggml, block, bytes, packed) Q_##name,
#define QUANT_NAMED(name, ggml, block, bytes) Q_##name,
#include "ir/quants.def"
#undef QUANT
#undef QUANT_NAMED
  Q_act_i16, /* two int8 planes, one scale a row:  x = s * (128 * hi + lo) */
  Q_act_i8,  /* one int8 plane, one scale per 32 along the row */
  Q_act_i8p, /* the same, the scales powers of two */
  Q_COUNT
} Storage;
static inline bool storage_is_act(Storage s) {
  return s >= Q_act_i16 && s < Q_COUNT;
}
const char *storage_name(Storage s); /* "plain", "q4_1", "act_i16" */
bool storage_parse(const char *name, Storage *out);

/* ---- dimensions
 * ------------------------------------------------------------------------------------ */

/* A dimension is a constant or an interned expression over named symbols, each with a range.
 * Equal expressions have equal ids. DimId 0 is never valid. */
typedef uint32_t DimId;
typedef enum DimKind {
  DIM_CONST,
  DIM_SYMBOL,
  DIM_ADD,
  DIM_SUB,
  DIM_MUL,
  DIM_DIV,
  DIM_CEILDIV
} DimKind;
typedef struct DimExpr {
  DimKind kind;
  DimId a, b;       /* operands of ADD .. CEILDIV (floor and ceiling division) */
  int64_t value;    /* CONST */
  const char *name; /* SYMBOL */
  int64_t lo, hi;   /* range of the value, inclusive; of every kind */
} DimExpr;
typedef struct Dims Dims;
DimId dim_const(Dims *d, int64_t value);
/* Finds or makes the symbol; ranges must agree with an earlier declaration. */
DimId dim_symbol(Dims *d, const char *name, int64_t lo, int64_t hi);
DimId dim_find(const Dims *d, const char *name); /* 0 when there is no such symbol */
/* Folds constants, drops zeros and ones, orders commutative operands; BUG on overflow. */
DimId dim_op(Dims *d, DimKind kind, DimId a, DimId b);
const DimExpr *dim_get(const Dims *d, DimId id);
uint32_t dim_count(const Dims *d); /* valid ids are 1 .. dim_count */
bool dim_is_const(const Dims *d, DimId id, int64_t *out);
/* The value under `env`, where env[id] holds the value of each symbol. */
int64_t dim_eval(const Dims *d, DimId id, const int64_t *env);
void dim_print(const Dims *d, DimId id, Buf *out); /* "S", "P+S", "576" */

/* ---- types
 * ------------------------------------------------------------------------------------------ */

enum { MAX_RANK = 8 };
typedef struct Type {
  DType dtype;
  Storage storage; /* Q_plain unless a constant is quantised or an activation requantised */
  uint8_t rank;
  DimId dim[MAX_RANK]; /* outermost first, as in the papers */
} Type;
bool type_equal(const Type *a, const Type *b);
DimId type_elements(Dims *d, const Type *t);             /* product of the dimensions */
void type_print(const Dims *d, const Type *t, Buf *out); /* tensor<Sx576 x f32 : q4_1> */

/* ---- constants and states
 * ------------------------------------------------------------------------- */

/* Where elements are in a mapped file: never copied before packing. */
typedef struct WeightView {
  Storage storage; /* format in the file; Q_plain with dtype for i32 and the like */
  DType dtype;     /* element type when storage is Q_plain, else DT_f32 */
  uint8_t rank;
  int64_t dim[MAX_RANK]; /* outermost first */
  const uint8_t *data;
  uint64_t bytes;
} WeightView;

/* One piece of a constant. The pieces of a constant are stacked along axis 0. */
typedef struct ConstPart {
  const char *name; /* tensor name in the model; for the text form and messages */
  WeightView view;  /* view.data NULL: only the name is known (text IR without weights) */
  /* > 0: rows are stored with each head's two rotary halves interleaved (GGUF llama q and k):
   * logical row h*D + half*(D/2) + i stands at file row h*D + 2*i + half; here the head count. */
  int32_t interleaved_heads;
  /* How much the squared error of a weight counts when it is written in another format, a number a
   * column, zeros up to a multiple of 256; NULL: all alike. */
  const float *importance;
} ConstPart;

typedef struct ConstDef {
  const char *name; /* unique in the module, without % */
  Type type;        /* type.storage: the format it will have in the program */
  uint32_t nparts;
  ConstPart *parts;  /* weights; or nparts 0 and `dense` below */
  const void *dense; /* plain elements of type.dtype, row-major (small constants only) */
} ConstDef;

typedef enum StateKind { STATE_KV } StateKind;
/* A KV cache: [slots][layers are separate states][context positions][kv_heads][head_dim] of keys
 * and as many values; how it is laid out in memory is the lowering's business. */
typedef struct StateDef {
  const char *name;
  StateKind kind;
  int64_t slots, context, kv_heads, head_dim;
  DType dtype;     /* f32 or f16; f32 when it has a format */
  Storage storage; /* Q_plain, or q8_0: blocks of 32 along a head, the last one padded */
} StateDef;
const char *cache_format_name(const StateDef *s);         /* "f16", "q8_0" */
bool cache_format_parse(const char *name, StateDef *out); /* sets dtype and storage */

/* ---- operators
 * --------------------------------------------------------------------------------------- */

typedef enum ActFormat { ACT_f32, ACT_i16, ACT_i8, ACT_i8p } ActFormat;
enum { ACT_EXPONENT = 100 }; /* i8p: a scale is 2^e, |e| at most this */
typedef enum RopeMode { ROPE_half, ROPE_pairs } RopeMode; /* Llama: halves; GPT-J: pairs */
typedef enum RopeKind { ROPEFREQ_dynamic, ROPEFREQ_longrope } RopeKind;
typedef struct I64List {
  uint32_t n;
  int64_t *v;
} I64List;

/* Attribute structs: one list a struct, F(kind, field). Kinds: i64 f64 bool i64s dtype act
 * rope_mode rope_kind. The list makes the struct, the printer, the parser and the comparison. */
#define ATTRS_none(F)
#define ATTRS_linear(F) F(act, act) F(bool, fold)
#define ATTRS_norm(F) F(f64, eps)
#define ATTRS_clip(F) F(f64, lo) F(f64, hi)
#define ATTRS_alpha(F) F(f64, alpha)
#define ATTRS_axis(F) F(i64, axis)
#define ATTRS_split(F) F(i64, axis) F(i64s, sizes)
#define ATTRS_slice(F) F(i64, axis) F(i64, start) F(i64, size) /* start < 0 counts from the end */
#define ATTRS_perm(F) F(i64s, perm)
#define ATTRS_shape(F) F(i64s, shape) /* -1: the one dimension that follows from the rest */
#define ATTRS_cast(F) F(dtype, to)
#define ATTRS_rope(F) F(rope_mode, mode)
#define ATTRS_rope_table(F) F(f64, scale)
#define ATTRS_rope_freqs(F)                                                                        \
  F(rope_kind, kind) F(f64, base) F(i64, dim) F(f64, factor) F(i64, original)
/* act: of attention without a cache, i16: queries, keys and values as over a cache of i16, of heads
 * of CODED_HEAD at most. */
enum { CODED_HEAD = 256 };
#define ATTRS_attention(F) F(f64, scale) F(i64, window) F(f64, softcap) F(bool, causal) F(act, act)

typedef enum AttrKind {
  AK_i64,
  AK_f64,
  AK_bool,
  AK_i64s,
  AK_dtype,
  AK_act,
  AK_rope_mode,
  AK_rope_kind
} AttrKind;
typedef int64_t AttrT_i64;
typedef double AttrT_f64;
typedef bool AttrT_bool;
typedef I64List AttrT_i64s;
typedef DType AttrT_dtype;
typedef ActFormat AttrT_act;
typedef RopeMode AttrT_rope_mode;
typedef RopeKind AttrT_rope_kind;
#define ATTR_FIELD(kind, name) AttrT_##kind name;
#define ATTR_STRUCT(name)                                                                          \
  typedef struct Attrs_##name {                                                                    \
    ATTRS_##name(ATTR_FIELD)                                                                       \
  } Attrs_##name;
typedef struct Attrs_none {
  char unused;
} Attrs_none;
ATTR_STRUCT(linear)
ATTR_STRUCT(norm)
ATTR_STRUCT(clip)
ATTR_STRUCT(alpha)
ATTR_STRUCT(axis)
ATTR_STRUCT(split)
ATTR_STRUCT(slice)
ATTR_STRUCT(perm)
ATTR_STRUCT(shape)
ATTR_STRUCT(cast)
ATTR_STRUCT(rope)
ATTR_STRUCT(rope_table)
ATTR_STRUCT(rope_freqs)
ATTR_STRUCT(attention)
typedef union Attrs {
  Attrs_none none;
  Attrs_linear linear;
  Attrs_norm norm;
  Attrs_clip clip;
  Attrs_alpha alpha;
  Attrs_axis axis;
  Attrs_split split;
  Attrs_slice slice;
  Attrs_perm perm;
  Attrs_shape shape;
  Attrs_cast cast;
  Attrs_rope rope;
  Attrs_rope_table rope_table;
  Attrs_rope_freqs rope_freqs;
  Attrs_attention attention;
} Attrs;

typedef enum OpCode {
  OP_none = 0,
#define OP(name, min_in, max_in, outs, traits, attrs) OP_##name,
#include "ir/ops.def"
#undef OP
  OP_COUNT
} OpCode;

/* Traits of an op. */
enum {
  T_PURE = 1 << 0,   /* no state: may be dropped, shared and folded */
  T_UNARY = 1 << 1,  /* element-wise with one operand */
  T_BINARY = 1 << 2, /* element-wise with two, numpy broadcasting */
  T_COMMUTATIVE = 1 << 3,
  T_VIEW = 1 << 4,     /* moves no data when its operand is contiguous */
  T_ROW = 1 << 5,      /* works on rows of the last axis */
  T_CONTRACT = 1 << 6, /* matmul and its kin */
  T_STATE = 1 << 7,    /* its first operand is a state that it updates */
  T_SELECT = 1 << 8,   /* element-wise with three operands */
};
#define T_ELEMENTWISE (T_UNARY | T_BINARY | T_SELECT)

typedef uint32_t ValueId;
typedef uint32_t OpId;

typedef enum ValueKind { V_INPUT, V_CONST, V_STATE, V_OP } ValueKind;
typedef struct Value {
  ValueKind kind;
  Type type;        /* a state's value has rank 0 and dtype f32: its StateDef says the rest */
  const char *name; /* without %, or NULL: printed by id; the printer makes equal ones differ */
  OpId def;         /* V_OP: the op, and which of its results */
  uint32_t index;   /* V_OP: result; V_CONST / V_STATE: index in the module; V_INPUT: position */
  uint32_t uses;    /* kept by the builder: operands and graph outputs that name it */
} Value;

typedef struct Op {
  OpCode code;
  uint32_t nin, nout;
  ValueId *in, *out;
  Attrs attrs;
  const char *origin; /* where it comes from, in the model's words: "layer 0 / attention / q" */
  uint32_t cluster;   /* set by passes/fuse: 1-based cluster index, 0 = none */
  bool dead;          /* dropped; skipped by everything, swept by graph_sweep */
} Op;

/* What each cluster becomes; the kernel classes of the plan, section 5. */
typedef enum ClusterClass {
  CC_view, /* moves no data: reshape of contiguous values, constants */
  CC_map,
  CC_row,
  CC_contract,
  CC_attend,
  CC_scan,
  CC_sort,
  CC_COUNT
} ClusterClass;
const char *cluster_class_name(uint32_t klass); /* "contract" */

/* What passes/fuse makes of a graph. */
typedef struct Cluster {
  uint32_t klass; /* ClusterClass */
  OpId anchor;    /* 0: none (a map cluster) */
  uint32_t nops;
  OpId *ops; /* in execution order */
} Cluster;

typedef struct Module Module;
typedef struct Graph {
  Module *module;
  const char *name; /* "decode" */
  Value *values;
  uint32_t nvalues, cvalues; /* index 0 unused */
  Op *ops;
  uint32_t nops, cops; /* index 0 unused; array order = execution order */
  ValueId *inputs;
  uint32_t ninputs, cinputs;
  ValueId *outputs;
  const char **output_names;
  uint32_t noutputs, coutputs;
  Cluster *clusters;
  uint32_t nclusters, cclusters; /* clusters[i] is cluster index i + 1 */
  const char *origin;            /* of the ops added from now on: graph_origin */
} Graph;

struct Module {
  Arena *arena;
  const char *name;
  Dims *dims;
  ConstDef *consts;
  uint32_t nconsts, cconsts;
  StateDef *states;
  uint32_t nstates, cstates;
  Graph **graphs;
  uint32_t ngraphs, cgraphs;
};

Module *module_new(const char *name);
void module_free(Module *m);
Graph *module_graph(Module *m, const char *name);            /* adds an empty graph */
Graph *module_find_graph(const Module *m, const char *name); /* NULL when there is none */
/* Adds a constant (the struct is copied; a used name gets a suffix). Returns its index. */
uint32_t module_const(Module *m, const ConstDef *def);
uint32_t module_state(Module *m, const StateDef *def);

/* ---- building
 * ------------------------------------------------------------------------------------------ */

ValueId graph_input(Graph *g, const char *name, Type type);
ValueId graph_const(Graph *g, uint32_t index); /* the value that stands for a module constant */
ValueId graph_state(Graph *g, uint32_t index); /* the state's value at entry */
void graph_output(Graph *g, const char *name, ValueId v); /* names the value too if it has none */
/* Appends an op, infers the types of its results and checks it: BUG when it is ill-typed, since
 * builders are our own code (the parser and readers use graph_try_op). Returns the op. */
OpId graph_op(Graph *g, OpCode code, const ValueId *in, uint32_t nin, const Attrs *attrs);
/* The same with an error instead of a BUG. *out is the op. */
Status graph_try_op(Graph *g, Diag *d, const char *where, OpCode code, const ValueId *in,
                    uint32_t nin, const Attrs *attrs, OpId *out);
ValueId graph_op1(Graph *g, OpCode code, const ValueId *in, uint32_t nin, const Attrs *attrs);
ValueId graph_unary(Graph *g, OpCode code, ValueId x); /* ops without attributes */
ValueId graph_binary(Graph *g, OpCode code, ValueId x, ValueId y);
void graph_origin(Graph *g, const char *origin); /* for the ops added from now on; NULL ends it */
/* Replaces every use of `from` (outputs too) by `to`. */
void graph_replace(Graph *g, ValueId from, ValueId to);
void graph_set_operand(Graph *g, OpId op, uint32_t i, ValueId v);
void graph_kill(Graph *g, OpId op); /* its results must have no uses */
/* Compacts: drops dead ops with their results, and constants and states that nothing uses (from
 * this graph, not from the module). Ids change, order is kept. */
void graph_sweep(Graph *g);
/* Sorts ops so that every operand is defined before use (stable). Op ids change, value ids do not.
 */
void graph_sort(Graph *g);
static inline Value *graph_value(const Graph *g, ValueId v) {
  return &g->values[v];
}
static inline Op *graph_get(const Graph *g, OpId o) {
  return &g->ops[o];
}

/* ---- the op table
 * -------------------------------------------------------------------------------------- */

enum { MAX_RESULTS = 64 };          /* of one op; infer may write so many types */
typedef struct RefTensor RefTensor; /* ir/eval.h */
typedef struct RefCtx RefCtx;
typedef struct KBuilder KBuilder; /* ir/kernel.h */

typedef struct AttrField {
  const char *name;
  AttrKind kind;
  size_t offset;
} AttrField;
typedef struct OpInfo {
  const char *name;
  uint32_t min_in, max_in;
  int32_t outs; /* -1: follows from the attributes */
  uint32_t traits;
  const AttrField *fields;
  uint32_t nfields;
  size_t attr_bytes;
  /* Writes the types of the results (their number in *nout); FAIL with a message when ill-typed. */
  Status (*infer)(Graph *g, const Op *op, Type *out, uint32_t *nout, Diag *d, const char *where);
  /* Further rules beyond inference; OK for most. */
  Status (*verify)(const Graph *g, const Op *op, Diag *d, const char *where);
  /* The definition, in plain C that can be read against the paper. */
  Status (*ref)(RefCtx *c, const Op *op);
  /* Element-wise ops: the scalar expression on kernel values; NULL for others. */
  uint32_t (*expr)(KBuilder *b, const Op *op, const uint32_t *args);
} OpInfo;
const OpInfo *op_info(OpCode code);
OpCode op_parse(const char *name); /* OP_none when unknown */
bool attrs_equal(const OpInfo *info, const Attrs *a, const Attrs *b);
/* The storage of rows in an activation format; Q_plain of f32. */
Storage act_storage(ActFormat f);
/* Whether an attention without a cache can have act = i16. */
bool attention_codes(const Graph *g, const Op *op);

/* ---- text and checking
 * --------------------------------------------------------------------------------- */

void module_print(const Module *m, Buf *out);
void graph_print(const Graph *g, Buf *out);
/* Parses text written by module_print (or by hand). `where` names the source in messages. */
Status module_parse(const char *text, const char *where, Diag *d, Module **out);
/* The invariants G1..Gn listed at the head of ir/graph_verify.c; messages cite the number. */
Status module_verify(const Module *m, Diag *d);

#endif
