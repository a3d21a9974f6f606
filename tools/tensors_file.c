/* Safetensors files as reference tensors: see tools/tensors_file.h. */
#include "tools/tensors_file.h"

#include "frontend/readers.h"

#include <string.h>

static int64_t integer_at(const uint8_t *p, DType t) {
  union {
    int64_t i64;
    int32_t i32;
    int16_t i16;
  } u;
  memcpy(&u, p, dtype_size(t));
  switch (t) {
  case DT_i64: return u.i64;
  case DT_i32: return u.i32;
  case DT_i16: return u.i16;
  case DT_i8: return (int8_t)*p;
  default: return *p;
  }
}

static float float_at(const uint8_t *p, DType t) {
  union {
    double f64;
    float f32;
    uint16_t u16;
  } u;
  memcpy(&u, p, dtype_size(t));
  switch (t) {
  case DT_f64: return (float)u.f64;
  case DT_f16: return f16_to_f32(u.u16);
  case DT_bf16: return bf16_to_f32(u.u16);
  default: return u.f32;
  }
}

/* A view's elements, dense. Plain floats may come as the storage formats f32, f16, bf16 too. */
static RefTensor widen(Arena *a, const Weight *w) {
  const WeightView *v = &w->view;
  DType type = v->storage == Q_f16    ? DT_f16
               : v->storage == Q_bf16 ? DT_bf16
               : v->storage == Q_f32  ? DT_f32
                                      : v->dtype;
  RefTensor t = {.name = w->name, .dtype = type, .rank = v->rank, .elements = 1};
  for (uint32_t i = 0; i < v->rank; i++) {
    t.dim[i] = v->dim[i];
    t.elements *= v->dim[i];
  }
  if (dtype_is_float(type))
    t.f = ARENA_ARRAY(a, float, (size_t)t.elements + 1);
  else
    t.i = ARENA_ARRAY(a, int64_t, (size_t)t.elements + 1);
  for (int64_t i = 0; i < t.elements; i++) {
    const uint8_t *p = v->data + (size_t)i * dtype_size(type);
    if (t.f)
      t.f[i] = float_at(p, type);
    else
      t.i[i] = integer_at(p, type);
  }
  return t;
}

Status tensors_model(const char *path, Diag *d, Model **out) {
  MappedFile map;
  Arena *a = arena_new();
  *out = arena_alloc(a, sizeof(Model)); /* where model_close expects it */
  (*out)->arena = a;
  Reader r = {.m = *out, .d = d, .what = MODEL_WEIGHTS};
  TRY(reader_map(&r, path, &map));
  TRY(safetensors_read(&r, &map));
  return reader_sort_weights(&r);
}

Status tensors_open(const char *path, Diag *d, TensorsFile *out) {
  *out = (TensorsFile){0};
  TRY(tensors_model(path, d, &out->model));
  out->n = out->model->nweights;
  out->tensor = ARENA_ARRAY(out->model->arena, RefTensor, out->n + 1);
  for (uint32_t i = 0; i < out->n; i++)
    out->tensor[i] = widen(out->model->arena, &out->model->weights[i]);
  return OK;
}

void tensors_close(TensorsFile *f) {
  model_close(f->model);
  *f = (TensorsFile){0};
}

const RefTensor *tensors_find(const TensorsFile *f, const char *name) {
  for (uint32_t i = 0; i < f->n; i++) {
    if (strcmp(f->tensor[i].name, name) == 0) return &f->tensor[i];
  }
  return NULL;
}
