/* Rotary position embedding (Su et al. 2021) in three steps: frequencies, tables, rotation.
 *
 * Numerics follow Transformers: frequencies, angles and tables are f32 values, each step rounded
 * once; cos and sin are of the rounded angle. rope_freqs is for the kinds whose frequencies depend
 * on the length of the call; all others are constants that the architecture computes.
 *   dynamic:  freq_i = base' ^ (-2i / dim), where base' = base up to seq_len = original and
 *             base * (factor * seq_len / original - (factor - 1)) ^ (dim / (dim - 2)) beyond.
 *   longrope: freq_i = 1 / (list_i * base ^ (2i / dim)), list = row 0 (short) of operand 2, or
 *             row 1 (long) when seq_len > original.
 */
#include "ir/op/common.h"

#include <math.h>

/* ---- rope_freqs ---- */

INFER(rope_freqs) {
  const Attrs_rope_freqs *a = &op->attrs.rope_freqs;
  Dims *dims = g->module->dims;
  TRY(need_index(g, op, 0, 1, d, where));
  const Type *len = operand_type(g, op, 0);
  int64_t one;
  if (len->rank != 1 || !dim_is_const(dims, len->dim[0], &one) || one != 1)
    return op_error(d, where, op, "seq_len must have one element");
  if (a->dim < 4 || a->dim % 2 != 0)
    return op_error(d, where, op, "dim is %lld (expected an even number from 4)",
                    (long long)a->dim);
  DimId half = dim_const(dims, a->dim / 2);
  bool lists = a->kind == ROPEFREQ_longrope;
  if (lists != (op->nin == 2))
    return op_error(d, where, op, "the lists belong to longrope and to it alone");
  if (lists) {
    TRY(need_float(g, op, 1, 2, d, where));
    const Type *t = operand_type(g, op, 1);
    if (t->rank != 2 || t->dim[0] != dim_const(dims, 2) || t->dim[1] != half)
      return op_error(d, where, op, "the lists must be [2, %lld]: short, long",
                      (long long)a->dim / 2);
  }
  out[0] = (Type){.dtype = DT_f32, .rank = 1, .dim = {half}};
  *nout = 1;
  return OK;
}

VERIFY(rope_freqs) {
  (void)g;
  const Attrs_rope_freqs *a = &op->attrs.rope_freqs;
  if (!(a->base > 0) || !isfinite(a->base) || a->original <= 0)
    return op_error(d, where, op, "base and original must be positive");
  if (a->kind == ROPEFREQ_dynamic && !(a->factor >= 1 && isfinite(a->factor)))
    return op_error(d, where, op, "factor is %g (expected >= 1)", a->factor);
  return OK;
}

static float dynamic_base(const Attrs_rope_freqs *a, int64_t seq_len) {
  if (seq_len <= a->original) return (float)a->base;
  float stretch = (float)a->factor * (float)seq_len / (float)a->original - (float)(a->factor - 1);
  return (float)a->base * powf(stretch, (float)((double)a->dim / (double)(a->dim - 2)));
}

REF(rope_freqs) {
  const Attrs_rope_freqs *a = &op->attrs.rope_freqs;
  int64_t seq_len = ref_value(c, op->in[0])->i[0];
  RefTensor *out = ref_result(c, op->out[0]);
  float base = (float)a->base;
  const float *list = NULL;
  if (a->kind == ROPEFREQ_dynamic)
    base = dynamic_base(a, seq_len);
  else
    list = ref_value(c, op->in[1])->f + (seq_len > a->original ? a->dim / 2 : 0);
  for (int64_t i = 0; i < a->dim / 2; i++) {
    float power = (float)pow(base, (float)(2 * i) / (float)a->dim);
    out->f[i] = 1 / (list ? list[i] * power : power);
  }
  return OK;
}

/* ---- rope_table ---- */

INFER(rope_table) {
  TRY(need_index(g, op, 0, 1, d, where));
  TRY(need_float(g, op, 1, 1, d, where));
  const Type *pos = operand_type(g, op, 0), *freqs = operand_type(g, op, 1);
  if (pos->rank != 1 || freqs->rank != 1)
    return op_error(d, where, op, "pos and freqs must be vectors");
  out[0] = (Type){.dtype = DT_f32, .rank = 2, .dim = {pos->dim[0], freqs->dim[0]}};
  out[1] = out[0];
  *nout = 2;
  return OK;
}

VERIFY(rope_table) {
  (void)g;
  double scale = op->attrs.rope_table.scale;
  if (!(scale > 0) || !isfinite(scale))
    return op_error(d, where, op, "scale is %g (expected > 0; 1 is none)", scale);
  return OK;
}

REF(rope_table) {
  const RefTensor *pos = ref_value(c, op->in[0]), *freqs = ref_value(c, op->in[1]);
  RefTensor *cosine = ref_result(c, op->out[0]), *sine = ref_result(c, op->out[1]);
  float scale = (float)op->attrs.rope_table.scale;
  int64_t half = freqs->elements;
  for (int64_t s = 0; s < pos->elements; s++) {
    for (int64_t i = 0; i < half; i++) {
      float angle = (float)pos->i[s] * freqs->f[i];
      cosine->f[s * half + i] = (float)cos(angle) * scale;
      sine->f[s * half + i] = (float)sin(angle) * scale;
    }
  }
  return OK;
}

/* ---- rope ---- */

INFER(rope) {
  Dims *dims = g->module->dims;
  for (uint32_t i = 0; i < 3; i++) TRY(need_float(g, op, i, i ? 2 : 3, d, where));
  const Type *x = operand_type(g, op, 0), *cosine = operand_type(g, op, 1);
  const Type *sine = operand_type(g, op, 2);
  int64_t width, half;
  if (x->rank != 3 || !type_equal(cosine, sine) || cosine->rank != 2 ||
      cosine->dim[0] != x->dim[0] || !dim_is_const(dims, x->dim[2], &width) ||
      !dim_is_const(dims, cosine->dim[1], &half))
    return op_error(d, where, op, "expected x [S, heads, D] and tables [S, R]");
  if (2 * half > width)
    return op_error(d, where, op, "tables of %lld angles for heads of %lld", (long long)half,
                    (long long)width);
  same_type(g, op, out, nout);
  return OK;
}

VERIFY(rope) {
  (void)g;
  if ((unsigned)op->attrs.rope.mode > ROPE_pairs) return op_error(d, where, op, "unknown mode");
  return OK;
}

/* Rotates the first 2R elements of each head by the angles of its token; the others pass. */
REF(rope) {
  const RefTensor *x = ref_value(c, op->in[0]), *cosine = ref_value(c, op->in[1]);
  const RefTensor *sine = ref_value(c, op->in[2]);
  RefTensor *out = ref_result(c, op->out[0]);
  int64_t heads = x->dim[1], width = x->dim[2], half = cosine->dim[1];
  ref_copy(out, 0, x, 0, x->elements);
  for (int64_t row = 0; row < x->dim[0] * heads; row++) {
    for (int64_t i = 0; i < half; i++) {
      bool pairs = op->attrs.rope.mode == ROPE_pairs;
      int64_t at = row * width + (pairs ? 2 * i : i), other = at + (pairs ? 1 : half);
      float co = cosine->f[row / heads * half + i], si = sine->f[row / heads * half + i];
      out->f[at] = x->f[at] * co - x->f[other] * si;
      out->f[other] = x->f[other] * co + x->f[at] * si;
    }
  }
  return OK;
}
