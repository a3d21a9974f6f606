/* Passes: Graph to Graph, Graph to Kernel, Kernel to Kernel.
 *
 * One pass a file; file = function = name in --dump, --stop-after and `ingot opt --passes=`. The
 * table is passes/passes.def, the order of a compile is passes/pipeline.c. The runner does timing,
 * dumping and verifying: a pass contains no printing.
 */
#ifndef INGOT_PASSES_H
#define INGOT_PASSES_H

#include "ir/kernel.h"
#include "ir/quant.h"

typedef struct PassOptions {
  Storage quant;   /* Q_plain: keep what the model has; else the format for weights of linears */
  bool quant_none; /* --quant none: every weight is computed in f32 */
  ActFormat act;   /* how activations enter contractions with integer weights */
  bool fast;       /* entries that read a prompt: act i8, weights folded where they can be */
} PassOptions;

/* What --quant may say: none, keep, and every format that is computed; NULL-terminated. */
extern const char *const quant_choices[];
/* Sets what one of them says. */
void quant_choose(PassOptions *o, const char *choice);

/* What --act takes, NULL-terminated, and what one of them means. */
extern const char *const act_choices[];
void act_choose(PassOptions *o, const char *choice);

/* What --prefill takes, NULL-terminated, and what one of them means. */
extern const char *const prefill_choices[];
void prefill_choose(PassOptions *o, const char *choice);

typedef struct PassCtx {
  Diag *diag;
  PassOptions options;
  Buf *explain; /* --explain-fusion: a line a decision; NULL = off */
} PassCtx;

typedef Status GraphPassFn(Module *m, PassCtx *c, bool *changed);
typedef struct GraphPass {
  const char *name;
  GraphPassFn *run;
  const char *purpose; /* one sentence */
} GraphPass;
const GraphPass *graph_pass_find(const char *name);
const GraphPass *graph_passes(size_t *n); /* all, in pipeline order */

#define PASS(name, purpose) Status pass_##name(Module *m, PassCtx *c, bool *changed);
#include "passes/passes.def"
#undef PASS

/* What a lowering may know of the machine; sizes come from one table per ISA level
 * (backends/cpu/targets.def), with the measurement that chose them. */
typedef struct LowerTarget {
  const char *name;        /* "x86-64-v4-vnni" */
  uint32_t token_tile;     /* integer contractions of many tokens: tokens of a tile of group_tile */
  uint32_t float_tile;     /* tokens a tile when weights are computed in f32 */
  uint32_t row_groups;     /* groups of 16 rows in flight for one token (read streams) */
  uint32_t query_tile;     /* queries that share one block of keys */
  uint32_t prefetch_bytes; /* ahead of the weight stream; 0 = none */
  uint32_t group_tile;     /* groups of 16 rows a tile of many tokens; of fewer, more tokens */
  uint32_t panel_blocks;   /* unpacked at once of each group (contract_panel.c) */
  uint32_t panel_tokens;   /* that meet one unpacking; both fit in a kernel's locals */
  uint32_t key_vectors;    /* of 16 keys that meet query_tile queries at once; 0: all of a block */
  uint32_t float_groups;   /* groups of 16 rows beside each other in a tile of float_tile; 0: one */
  uint32_t chains;         /* like ones that take turns (interleave.c); 0: none */
  bool mma;                /* multiplies tiles of integers: mma stays in kernels */
  uint32_t panel_words; /* 1: many tokens enter integer contractions as words (contract_panel.c) */
} LowerTarget;

/* Clusters to kernels and launches: packed weights laid out in order of use, arena planned,
 * barriers set, transcendentals expanded. Launch tables are the same for every target. */
Status lower_module(Module *m, const LowerTarget *t, PassCtx *c, KProgram **out);
/* Kernel to Kernel: exp, log, tanh, erf, gelu, sin, cos by polynomials. */
void expand_math(Kernel *k);
/* Kernel to Kernel: mma by loops of dot4. */
void expand_mma(Kernel *k);
/* Kernel to Kernel: up to `width` like chains of operations that follow each other take turns. */
void interleave(Kernel *k, uint32_t width);

/* Packing: gives the bytes of one weight of the program in order to `sink`, a piece of about a
 * megabyte at a time. What the sink returns ends the packing unless it is OK. A weight can be
 * packed in parts: units first .. first + n of pack_units(w), which follow each other in its bytes
 * and are all of one size (groups of 16 rows; a plain weight is one unit). */
typedef Status PackSink(void *user, const void *bytes, uint64_t size);
typedef struct PackPart {
  int64_t first, n;
} PackPart;
int64_t pack_units(const KWeight *w);
/* Bytes of one group of 16 rows in its layout (not plain). */
uint64_t pack_group_bytes(const KWeight *w);
/* About how many bytes packing a unit reads: what parts are cut by, since a row's doubt is 4 bytes.
 */
uint64_t pack_unit_bytes(const KWeight *w);
Status pack_weight_to(const Module *m, const KWeight *w, PackPart part, PackSink *sink, void *user,
                      Diag *d);
/* All of it, into memory. */
Status pack_weight(const Module *m, const KWeight *w, uint8_t *out, Diag *d);

#endif
