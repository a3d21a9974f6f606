/* The single contract between the compiler's backends and the runtime: what a compiled model is.
 *
 * A backend emits one constant `ingot_model` of type IngotModel into the model's object; the
 * runtime reads it and nothing else. Both sides include this file; it includes nothing of ours and
 * is plain C11. A change of any struct raises INGOT_ABI. All tables are constants; nothing is
 * parsed, unpacked or relocated at start.
 */
#ifndef INGOT_RUNTIME_ABI_H
#define INGOT_RUNTIME_ABI_H

#include <stddef.h>
#include <stdint.h>

#define INGOT_ABI 3

/* A kernel: iterations lo .. hi-1 of its parallel loop. `buffers` and `scalars` in the order of its
 * parameters. Never allocates, never fails. */
typedef void IngotKernelFn(void *const *buffers, const int64_t *scalars, int64_t lo, int64_t hi);

/* Dimensions: dims[0] is unused; symbols are set by the runtime, the rest follow in order. */
enum {
  INGOT_DIM_CONST,
  INGOT_DIM_SYMBOL,
  INGOT_DIM_ADD,
  INGOT_DIM_SUB,
  INGOT_DIM_MUL,
  INGOT_DIM_DIV,
  INGOT_DIM_CEILDIV
};
typedef struct IngotDim {
  uint32_t kind, a, b;
  int64_t value;    /* CONST */
  int64_t lo, hi;   /* SYMBOL: range, inclusive */
  const char *name; /* SYMBOL */
} IngotDim;

enum { INGOT_ARENA, INGOT_WEIGHT, INGOT_STATE, INGOT_INPUT, INGOT_OUTPUT }; /* address spaces */
typedef struct IngotArg {
  uint32_t space, index; /* index: state, input or output */
  uint64_t offset;       /* bytes */
} IngotArg;

typedef struct IngotLaunch {
  uint32_t kernel;
  uint32_t first_arg, nargs;       /* in IngotModel.args */
  uint32_t first_scalar, nscalars; /* in IngotModel.scalars: indices into dims */
  uint32_t extent;                 /* dim: iterations of the parallel loop */
  uint32_t flops, bytes;           /* dims: work of one launch, 0 = unknown */
  uint32_t barrier; /* 1: after all earlier launches; 0: beside those since the last 1 */
  /* What iteration i reads of buffer 0, a weight, and no other does: `streams` pieces of step
   * bytes, at i * step and `apart` bytes after each other. 0 streams: not known. */
  uint32_t streams;
  uint64_t step, apart;
  const char *label;
} IngotLaunch;

enum {
  INGOT_F32,
  INGOT_F16,
  INGOT_BF16,
  INGOT_F64,
  INGOT_I64,
  INGOT_I32,
  INGOT_I16,
  INGOT_I8,
  INGOT_U8,
  INGOT_BOOL
}; /* in the order of ir/dtypes.def */
typedef struct IngotTensor {
  const char *name;
  uint32_t dtype, rank;
  uint32_t dim[8]; /* dims, outermost first */
} IngotTensor;

typedef struct IngotEntry {
  const char *name; /* "decode", "prefill", "logits" */
  const IngotTensor *inputs, *outputs;
  uint32_t ninputs, noutputs;
  const IngotLaunch *launches;
  uint32_t nlaunches;
  uint64_t arena_bytes;
} IngotEntry;

typedef struct IngotKernelInfo {
  const char *name, *klass;
} IngotKernelInfo;

/* ISA levels, in ascending order of preference. */
enum {
  INGOT_X86_64_V2,
  INGOT_X86_64_V3,
  INGOT_X86_64_V3_VNNI,
  INGOT_X86_64_V4,
  INGOT_X86_64_V4_VNNI,
  INGOT_X86_64_AMX,
  INGOT_AARCH64, /* armv8-a: ASIMD is a part of it */
  INGOT_AARCH64_DOTPROD,
  INGOT_AARCH64_I8MM
};
typedef struct IngotLevel {
  uint32_t isa;
  const char *name;              /* "x86-64-v4-vnni" */
  IngotKernelFn *const *kernels; /* nkernels */
} IngotLevel;

typedef struct IngotState {
  const char *name;
  uint64_t bytes; /* zeroed, reserved at start, touched as used */
} IngotState;

typedef struct IngotBlob {
  const void *data;
  size_t size;
} IngotBlob;

/* What a generation loop needs to know; -1 / negative: not said. */
typedef struct IngotGeneration {
  int64_t vocab, context, chunk; /* chunk: largest S of `prefill`; logits_chunk: of `logits` */
  int64_t logits_chunk;
  int64_t bos_id;
  const int64_t *eos_ids;
  uint32_t neos;
  double temperature, top_p, min_p, repetition_penalty;
  int64_t top_k, max_new_tokens;
  int32_t do_sample;
} IngotGeneration;

/* How the vector of a sequence is made of the vectors of its tokens; several modes are put one
 * behind the other, in this order. */
enum {
  INGOT_POOL_CLS = 1,
  INGOT_POOL_MAX = 2,
  INGOT_POOL_MEAN = 4,
  INGOT_POOL_MEAN_SQRT = 8, /* sum / sqrt(tokens) */
  INGOT_POOL_WEIGHTED = 16, /* mean with the weights 1, 2, 3 .. */
  INGOT_POOL_LAST = 32
};

/* What an encoder takes, and how it embeds; 0: not said. */
typedef struct IngotEncoder {
  int64_t positions, types; /* position_ids and token_type_ids are below these */
  int64_t max_tokens;       /* longer texts are cut, special tokens counted */
  uint32_t pooling;         /* INGOT_POOL_..; 0: the program does not embed */
  uint32_t normalize;       /* 1: to length one */
} IngotEncoder;

typedef struct IngotModel {
  uint32_t abi;                   /* INGOT_ABI */
  const char *name, *arch, *task; /* task: "generate", "tokenize", .. chooses the default call */
  const IngotDim *dims;
  uint32_t ndims; /* one more than the largest id */
  const IngotEntry *entries;
  uint32_t nentries;
  const IngotArg *args;
  const uint32_t *scalars;
  const IngotKernelInfo *kernels;
  uint32_t nkernels;
  const IngotLevel *levels;
  uint32_t nlevels;
  const IngotState *states;
  uint32_t nstates;
  const uint8_t *weights; /* mapped by the loader (own PT_LOAD); NULL in a library before open */
  uint64_t weight_bytes;
  IngotGeneration generation;
  IngotEncoder encoder;
  IngotBlob tokenizer; /* runtime/text/tok_blob.h; size 0: none */
  IngotBlob chat;      /* runtime/text/chat_blob.h; size 0: none */
  IngotBlob card;      /* JSON text */
} IngotModel;

extern const IngotModel ingot_model;

#endif
