/* Kernel IR: structured loops, loads, stores and scalar or 16-lane operations over typed buffers.
 *
 * What a backend sees: no operator of Graph IR survives here. Vectors are 16 lanes wide on every
 * machine, so that the order of every addition is fixed by the IR. A Kernel has typed parameters
 * (buffers, then scalars), private local arrays, and a body that ends in exactly one `par` loop
 * (what stands before it is done by every thread). A KProgram is a set of kernels and, per entry, a
 * straight list of launches over one arena, packed weights and states; it is what a whole model
 * becomes. Text form: doc/ir.md. Op table: ir/kops.def.
 */
#ifndef INGOT_IR_KERNEL_H
#define INGOT_IR_KERNEL_H

#include "ir/graph.h"

/* ---- values and types ----------------------------------------------------------------------- */

typedef enum KScalar {
  K_void,
  K_i1,
  K_i8,
  K_i16,
  K_i32,
  K_i64,
  K_f16,
  K_bf16,
  K_f32,
  K_SCALARS
} KScalar;
size_t kscalar_size(KScalar s); /* bytes in memory; i1: 1 */
typedef struct KType {
  uint8_t scalar; /* KScalar */
  uint8_t lanes;  /* 1 or 16; 0 for void */
} KType;
#define KT(s, l) ((KType){K_##s, l}) /* KT(f32, 16) is v16f32 */

typedef uint32_t KVal; /* value id within a kernel; 0 = none */

typedef enum KOpCode {
#define KOP(name, nargs, kind) KOP_##name,
#include "ir/kops.def"
#undef KOP
  KOP_COUNT
} KOpCode;
const char *kop_name(KOpCode op);
static inline uint32_t kop_addrs(KOpCode op) { /* addresses of an instruction */
  return op == KOP_mma ? 3 : op == KOP_load || op == KOP_store || op == KOP_prefetch;
}
char kop_kind(KOpCode op);     /* 'A' 'M' 'C' 'T' 'S' */
uint32_t kop_args(KOpCode op); /* operands, without an optional mask */
const char *kscalar_name(KScalar s);
bool kscalar_parse(const char *name, size_t n, KScalar *out); /* name[0..n) */

/* base[sum of index * stride + offset], in elements of the buffer's declared type; the value read
 * may have another type (a u8 buffer of packed weights is read as i32 or f16 lanes). A vector
 * access covers 16 elements of its own scalar type, `lane` apart (1: contiguous; counted in
 * elements of the accessed scalar type). */
enum { KADDR_TERMS = 6 };
typedef struct KAddr {
  KVal base; /* a buffer parameter or a local */
  uint32_t nterm;
  struct {
    KVal index; /* i64 */
    int64_t stride;
  } term[KADDR_TERMS];
  int64_t offset;
  int64_t lane; /* 1 unless strided */
} KAddr;

/* mma: c is a local of i32, a and b are bytes; row and group are distances in bytes. */
typedef struct KMma {
  int64_t m, n, k, row, group;
  bool add;
} KMma;
enum { KMMA_M = 64, KMMA_N = 4, KMMA_K = 1 << 16 }; /* the largest sizes */

typedef struct KInst KInst;
typedef struct KRegion {
  KInst **inst;
  uint32_t n, cap;
} KRegion;

/* for: body runs for var = lo, lo + step, .. < hi; carries start as init, are seen in the body as
 * param, get their next values from yield, and are the results after the loop. par: no carries.
 * if: body / orelse, results by yield. */
typedef struct KLoop {
  KVal var;
  uint32_t ncarry;
  KVal *init, *param, *yield, *result;
  KVal *else_yield; /* if: values of orelse */
  KRegion body, orelse;
  bool unroll; /* for with literal bounds: a backend must unroll it fully */
} KLoop;

struct KInst {
  KOpCode op;
  KType type; /* of the result; void for stores and control */
  uint8_t narg;
  KVal arg[3];
  KVal result; /* 0 for none */
  union {
    int64_t i;
    double f;
  } imm;
  KAddr *addr; /* load, store, prefetch: one; mma: three, of c, a and b */
  KMma *mma;
  KLoop *loop; /* for, if, par */
};

typedef enum KValueKind {
  KV_NONE,
  KV_BUFFER,
  KV_SCALAR,
  KV_LOCAL,
  KV_INST,
  KV_VAR,
  KV_CARRY
} KValueKind;
typedef struct KValue {
  KType type; /* buffers and locals: of one element (lanes 1) */
  KValueKind kind;
  const char *name;    /* NULL: printed by id */
  KInst *def;          /* KV_INST: the instruction; KV_VAR / KV_CARRY: the loop's */
  int64_t local_count; /* KV_LOCAL: elements */
} KValue;

typedef enum KClass { KC_map, KC_row, KC_contract, KC_attend, KC_scan, KC_sort } KClass;
const char *kclass_name(KClass c);

typedef struct Kernel {
  Arena *arena;
  const char *name;
  KClass klass;
  KValue *values;
  uint32_t nvalues, cvalues; /* index 0 unused */
  KVal *buffers;
  uint32_t nbuffers; /* parameters, in order */
  KVal *scalars;
  uint32_t nscalars; /* i64 parameters, after the buffers */
  KVal *locals;
  uint32_t nlocals; /* thread-private arrays; together <= 64 KiB */
  KRegion body;
} Kernel;

/* ---- building ------------------------------------------------------------------------------- */

struct KBuilder {
  Kernel *kernel;
  KRegion *region;    /* where instructions are appended */
  struct KOpen *open; /* loops and ifs not yet ended */
};

Kernel *kernel_new(Arena *a, const char *name, KClass klass);
KBuilder kbuilder(Kernel *k);
KVal k_buffer(KBuilder *b, const char *name, KScalar element); /* all before any instruction */
KVal k_scalar(KBuilder *b, const char *name);                  /* an i64: a run-time dimension */
KVal k_local(KBuilder *b, const char *name, KScalar element, int64_t count);

KVal k_int(KBuilder *b, KType t, int64_t v); /* literals; equal ones are shared in a kernel */
KVal k_f32(KBuilder *b, uint8_t lanes, double v);
KVal k_i64(KBuilder *b, int64_t v);
KVal k_op1(KBuilder *b, KOpCode op, KVal x); /* result has x's type (reduce_*: its scalar) */
KVal k_op2(KBuilder *b, KOpCode op, KVal x, KVal y); /* comparisons give i1 of the same lanes */
KVal k_fma(KBuilder *b, KVal x, KVal y, KVal z);
KVal k_select(KBuilder *b, KVal mask, KVal yes, KVal no);
KVal k_cvt(KBuilder *b, KVal x, KScalar to); /* keeps the lanes */
KVal k_cvtu(KBuilder *b, KVal x, KScalar to);
KVal k_bits(KBuilder *b, KVal x, KScalar to);
KVal k_splat(KBuilder *b, KVal x);
KVal k_extract(KBuilder *b, KVal x, int lane);
KVal k_iota(KBuilder *b);
KVal k_dot4(KBuilder *b, KVal u8, KVal s8, KVal acc, int bits);
KVal k_dot2(KBuilder *b, KVal x, KVal y, KVal acc); /* of words */

KAddr k_addr(KVal base);                         /* base[0] */
KAddr k_at(KAddr a, KVal index, int64_t stride); /* + index * stride */
KAddr k_off(KAddr a, int64_t offset);            /* + offset */
KAddr k_lane(KAddr a, int64_t lane);             /* lanes `lane` apart */
KVal k_load(KBuilder *b, KType t, KAddr a);
KVal k_load_mask(KBuilder *b, KType t, KAddr a, KVal mask);
void k_store(KBuilder *b, KVal x, KAddr a);
void k_store_mask(KBuilder *b, KVal x, KAddr a, KVal mask);
void k_prefetch(KBuilder *b, KAddr a);
void k_mma(KBuilder *b, KAddr c, KAddr a, KAddr x, KMma sizes); /* c = or += a times x */

/* Begins a loop; instructions go into its body until k_for_end. carry[i] on return is the value of
 * the i-th carry inside the body; k_for_end takes the next values and writes the results over
 * `carry` again. lo and hi are i64 values. */
KVal k_for(KBuilder *b, const char *var, KVal lo, KVal hi, int64_t step, uint32_t ncarry,
           KVal *carry);
void k_for_end(KBuilder *b, KVal *carry); /* in: next values; out: values after the loop */
void k_unroll(KBuilder *b);               /* marks the innermost open loop as unrolled */
KVal k_par(KBuilder *b, const char *var, KVal extent);
void k_par_end(KBuilder *b);
/* if: results of both branches are given to k_else and k_if_end; out[i] are the merged values. */
void k_if(KBuilder *b, KVal cond);
void k_else(KBuilder *b, uint32_t n, const KVal *yes);
void k_if_end(KBuilder *b, uint32_t n, const KVal *no, KVal *out);

static inline KType k_type(const Kernel *k, KVal v) {
  return k->values[v].type;
}

/* ---- a whole model as kernels --------------------------------------------------------------- */

typedef enum KSpace {
  KS_arena,  /* scratch of one run, offsets planned by passes/plan_memory */
  KS_weight, /* packed constants */
  KS_state,  /* index = state; offset within it */
  KS_input,  /* index = input of the entry */
  KS_output  /* index = output of the entry */
} KSpace;
typedef struct KBind {
  KSpace space;
  uint32_t index;
  uint64_t offset; /* bytes */
} KBind;

/* How iterations of a launch read buffer 0, a weight: iteration i the bytes i * step .. (i + 1) *
 * step of `count` streams that begin `apart` bytes after each other. Threads that wait fetch ahead
 * by it. count 0: not known. */
typedef struct KStreams {
  uint32_t count;
  uint64_t step, apart;
} KStreams;

typedef struct KLaunch {
  uint32_t kernel;     /* index in the program */
  const KBind *bind;   /* one per buffer parameter */
  const DimId *scalar; /* one per scalar parameter */
  DimId extent;        /* iterations of the kernel's par loop */
  bool barrier;        /* wait for all threads before this launch */
  const char *label;   /* in the model's words: "layer 3 / attention / q,k,v + rope" */
  DimId flops, bytes;  /* of one launch, for the profile; bytes: read and written once each */
  KStreams streams;
} KLaunch;

typedef struct KTensor { /* an input or output of an entry */
  const char *name;
  Type type;
} KTensor;

typedef struct KEntry { /* one graph */
  const char *name;
  KTensor *inputs;
  uint32_t ninputs;
  KTensor *outputs;
  uint32_t noutputs;
  KLaunch *launches;
  uint32_t nlaunches, claunches;
  uint64_t arena_bytes;
} KEntry;

/* How a constant is laid out in the program's weight segment. */
typedef enum KLayout {
  KL_plain,  /* elements of dtype (f32 for floats) row-major */
  KL_rows16, /* groups of 16 rows interleaved, blocks along K: see ir/quant.h */
  KL_upper,  /* the same, of a matrix that is split (QuantSplit): its upper bits and scales, */
  KL_lower,  /* its lower bits, */
  KL_doubt   /* and of each row what the lower bits may add, f32: see passes/pack.c */
} KLayout;
typedef struct KWeight {
  uint32_t constant; /* module constant */
  KLayout layout;
  Storage storage;        /* all but KL_plain: the packed format */
  int64_t rows, cols;     /* and logical sizes; rows are padded to 16, cols to the block */
  uint64_t offset, bytes; /* in the weight segment; offset aligned to 64 */
} KWeight;

typedef struct KState { /* a state of the module, as memory */
  const char *name;
  uint64_t bytes; /* zero-initialised; reserved, touched as used */
} KState;

typedef struct KProgram {
  Module *module; /* constants, states and dims; the program's DimIds are its */
  Arena *arena;
  Kernel **kernels;
  uint32_t nkernels, ckernels;
  KEntry *entries;
  uint32_t nentries, centries;
  KWeight *weights;
  uint32_t nweights, cweights;
  KState *states;
  uint32_t nstates;
  uint64_t weight_bytes;
} KProgram;

/* ---- text, checking, evaluation ------------------------------------------------------------- */

void kernel_print(const Kernel *k, Buf *out);
void kprogram_print(const KProgram *p, Buf *out);
/* Parses `kernel ...` texts (any number). */
Status kernels_parse(Arena *a, const char *text, const char *where, Diag *d, Kernel ***out,
                     uint32_t *out_n);
/* The invariants K1..Kn listed at the head of ir/kernel_verify.c. */
Status kernel_verify(const Kernel *k, Diag *d);
/* The invariants P1..Pn of whole programs, and those of each kernel: ir/kprogram.c. */
Status kprogram_verify(const KProgram *p, Diag *d);
/* Equal up to names: the two compile to the same code. */
bool kernel_same(const Kernel *a, const Kernel *b);

/* Interprets a kernel: all iterations lo..hi of its par loop (hi < 0: the whole extent). `size` are
 * the buffers' sizes in bytes; an access outside is an error, as is one to an undefined local. */
typedef struct KBuffer {
  void *data;
  uint64_t size;
} KBuffer;
Status kernel_eval(const Kernel *k, const KBuffer *buffers, const int64_t *scalars, int64_t lo,
                   int64_t hi, Diag *d);
/* Interprets one entry of a program: weights already packed (see passes/pack.h), dims is the
 * environment by DimId (all dims, not only symbols). What would be a race of threads (between
 * iterations of a par loop, or launches without a barrier between) is an error. */
Status kprogram_eval(const KProgram *p, uint32_t entry, const int64_t *dims, const uint8_t *weights,
                     uint8_t *const *states, const KBuffer *in, const KBuffer *out, Diag *d);

#endif
