/* Reading the inputs of `tensors`; see batch.h. Files are hostile until checked: types, shapes and
 * every value. */
#include "runtime/task/batch.h"

#include "runtime/core/dtype.h"
#include <stdlib.h>
#include <string.h>

static double element(const StTensor *t, int64_t i) {
  const uint8_t *p = t->data + (uint64_t)i * dtype_size(t->dtype);
  switch (t->dtype) {
  case INGOT_I64: {
    int64_t v;
    memcpy(&v, p, sizeof v);
    return (double)v;
  }
  case INGOT_I32: {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  case INGOT_F32: {
    float v;
    memcpy(&v, p, sizeof v);
    return (double)v;
  }
  default: return *p; /* U8, BOOL: checked */
  }
}

/* Shape [B, N], [1, N] or [N] and a type that `element` reads. */
static int check_input(const StTensor *t, const Batch *b, Err *e) {
  bool floating = t->dtype == INGOT_F32 && strcmp(t->name, "attention_mask") == 0;
  if (t->dtype != INGOT_I64 && t->dtype != INGOT_I32 && t->dtype != INGOT_U8 &&
      t->dtype != INGOT_BOOL && !floating)
    return err_set(e, t->name, "has dtype %s (expected I64 or I32)", dtype_info[t->dtype].name);
  if (t->rank < 1 || t->rank > 2) return err_set(e, t->name, "has rank %u (expected 2)", t->rank);
  int64_t rows = t->rank == 2 ? t->dim[0] : 1, length = t->dim[t->rank - 1];
  if (length != b->length || (rows != b->rows && rows != 1))
    return err_set(e, t->name, "has shape [%lld, %lld] (expected [%lld, %lld])", (long long)rows,
                   (long long)length, (long long)b->rows, (long long)b->length);
  return 0;
}

static int read_ids(const StTensor *t, const BatchLimits *limits, Batch *b, Err *e) {
  b->rows = t->rank == 2 ? t->dim[0] : 1;
  b->length = t->rank ? t->dim[t->rank - 1] : 0;
  if (check_input(t, b, e)) return 1;
  b->seq_len = b->length;
  b->ids = malloc(((size_t)t->elements + 1) * sizeof *b->ids);
  if (!b->ids) return err_no_memory(e, t->name);
  for (int64_t i = 0; i < t->elements; i++) {
    double id = element(t, i);
    if (id < 0 || id >= (double)limits->vocab)
      return err_set(e, t->name, "%.0f at [%lld, %lld] is out of range (expected 0 to %lld)", id,
                     (long long)(i / b->length), (long long)(i % b->length),
                     (long long)limits->vocab - 1);
    b->ids[i] = (uint32_t)id;
  }
  return 0;
}

/* Whole numbers from 0 to limit - 1; *most is the largest of them. */
static int read_numbers(const StTensor *t, const Batch *b, int64_t limit, int32_t **out,
                        int64_t *most, Err *e) {
  if (check_input(t, b, e)) return 1;
  int64_t n = b->rows * b->length;
  int32_t *v = malloc(((size_t)n + 1) * sizeof *v);
  free(*out);
  *out = v;
  if (!v) return err_no_memory(e, t->name);
  *most = -1;
  for (int64_t i = 0; i < n; i++) {
    double x = element(t, i % t->elements);
    if (!(x >= 0 && x < (double)limit)) /* a NaN too */
      return err_set(e, t->name, "%.0f is out of range (expected 0 to %lld)", x,
                     (long long)limit - 1);
    v[i] = (int32_t)x;
    if (v[i] > *most) *most = v[i];
  }
  return 0;
}

static int read_positions(const StTensor *t, const BatchLimits *limits, Batch *b, Err *e) {
  int64_t limit = limits->positions > 0 ? limits->positions : INT32_MAX, most;
  if (read_numbers(t, b, limit, &b->positions, &most, e)) return 1;
  b->seq_len = most + 1;
  return 0;
}

static int read_types(const StTensor *t, const BatchLimits *limits, Batch *b, Err *e) {
  int64_t most;
  return read_numbers(t, b, limits->types, &b->types, &most, e);
}

static int read_mask(const StTensor *t, Batch *b, Err *e) {
  if (check_input(t, b, e)) return 1;
  int64_t n = b->rows * b->length;
  b->mask = malloc(((size_t)n + 1) * sizeof *b->mask);
  if (!b->mask) return err_no_memory(e, t->name);
  for (int64_t i = 0; i < n; i++) b->mask[i] = element(t, i % t->elements) != 0;
  return 0;
}

static int read_other(const StTensor *t, const char *path, const BatchLimits *limits, Batch *b,
                      Err *e) {
  if (strcmp(t->name, "position_ids") == 0) return read_positions(t, limits, b, e);
  if (strcmp(t->name, "attention_mask") == 0) return read_mask(t, b, e);
  if (limits->types > 0 && strcmp(t->name, "token_type_ids") == 0)
    return read_types(t, limits, b, e);
  return err_set(e, path, "%s is not an input (expected input_ids, attention_mask, position_ids%s)",
                 t->name, limits->types > 0 ? ", token_type_ids" : "");
}

int batch_read(const StFile *f, const char *path, const BatchLimits *limits, Batch *b, Err *e) {
  *b = (Batch){0};
  const StTensor *ids = st_find(f, "input_ids");
  if (!ids) return err_set(e, path, "has no tensor input_ids");
  if (read_ids(ids, limits, b, e)) return 1;
  for (size_t i = 0; i < st_count(f); i++) {
    const StTensor *t = st_at(f, i);
    if (t == ids) continue;
    if (b->rows * b->length == 0) return 0;
    if (read_other(t, path, limits, b, e)) return 1;
  }
  return 0;
}

void batch_free(Batch *b) {
  free(b->ids);
  free(b->types);
  free(b->positions);
  free(b->mask);
  *b = (Batch){0};
}
