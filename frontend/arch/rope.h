/* Rotary position embedding as configs describe it: frequencies, scale of the tables, or the
 * parameters of the kinds whose frequencies follow the length of the call. */
#ifndef INGOT_FRONTEND_ARCH_ROPE_H
#define INGOT_FRONTEND_ARCH_ROPE_H

#include "frontend/arch/config.h"
#include "frontend/arch/weights.h"

typedef struct Rope {
  int64_t dim;  /* rotated elements of a head */
  double scale; /* of cos and sin: yarn's attention factor */
  double base;
  bool dynamic; /* frequencies follow the length of the call (NTK) */
  double factor;
  int64_t original; /* positions of the training, for `dynamic` */
  uint32_t freqs;   /* constant of dim / 2 frequencies, unless dynamic */
} Rope;

/* Reads rope_theta (`theta` when left out), rope_scaling (old key `type` too) and rope_parameters.
 * `divisors` names a tensor of dim / 2 divisors of the frequencies (GGUF); NULL names: none. */
Status rope_read(Config *c, Loader *l, int64_t dim, int64_t max_positions, double theta,
                 TensorName divisors, Rope *out);
/* Rotation by a base alone. */
void rope_plain(Module *m, int64_t dim, double base, Rope *out);

/* Cosines and sines for the positions. seq_len is used by dynamic kinds only. */
typedef struct RopeTable {
  ValueId cos, sin;
} RopeTable;
RopeTable rope_table(Graph *g, const Rope *r, ValueId pos, ValueId seq_len);

#endif
