/* Tensor names to constants; see weights.h. */
#include "frontend/arch/weights.h"
#include "ir/eval.h"
#include "ir/quant.h"

#include <string.h>

void loader_open(Loader *l, const Model *model, Module *m, Diag *d) {
  *l = (Loader){model, m, d, mem_alloc(model->nweights + 1)};
}

void loader_close(Loader *l) {
  mem_free(l->used);
}

/* Writes the layer's number where the name has %d (names are ours, with at most one). */
static const char *with_layer(Arena *a, const char *name, int layer) {
  const char *at = strstr(name, "%d");
  if (!at) return name;
  return arena_printf(a, "%.*s%d%s", (int)(at - name), name, layer, at + 2);
}

const char *loader_name(Loader *l, TensorName n, int layer) {
  const char *name = l->model->format == FORMAT_GGUF ? n.gguf : n.hf;
  if (!name) return NULL;
  name = with_layer(l->m->arena, name, layer);
  bool base = strncmp(name, "model.", 6) == 0;
  if (base && !model_weight(l->model, name) && model_weight(l->model, name + 6)) name += 6;
  return name;
}

const Weight *loader_find(Loader *l, TensorName n, int layer) {
  const char *name = loader_name(l, n, layer);
  return name ? model_weight(l->model, name) : NULL;
}

void loader_ignore(Loader *l, TensorName n, int layer) {
  const Weight *w = loader_find(l, n, layer);
  if (w) l->used[w - l->model->weights] = true;
}

static void shape_text(const WeightView *v, Buf *out) {
  buf_puts(out, "[");
  for (int i = 0; i < v->rank; i++) buf_printf(out, i ? ", %lld" : "%lld", (long long)v->dim[i]);
  buf_puts(out, "]");
}

static Status wrong_shape(Loader *l, const Weight *w, const WeightView *want) {
  Buf got = {0}, expected = {0};
  shape_text(&w->view, &got);
  shape_text(want, &expected);
  Status s = diag_error(l->d, w->file, "tensor %s: has the shape %s (expected %s by the config)",
                        w->name, got.data, expected.data);
  buf_free(&got);
  buf_free(&expected);
  return s;
}

static bool computable(const WeightView *v) {
  if (v->storage != Q_plain) return quant_def(v->storage) != NULL;
  return dtype_is_float(v->dtype);
}

static Status missing(Loader *l, TensorName n, int layer) {
  const char *name = loader_name(l, n, layer);
  return diag_error(l->d, l->model->path, "tensor %s: is missing", name ? name : n.hf);
}

/* Finds a tensor, marks it used, and checks its shape and that its format can be computed. */
static Status checked(Loader *l, TensorName n, int layer, const WeightView *want,
                      const Weight **out) {
  const Weight *w = loader_find(l, n, layer);
  if (!w) return missing(l, n, layer);
  const WeightView *v = &w->view;
  l->used[w - l->model->weights] = true;
  bool same = v->rank == want->rank;
  for (int i = 0; same && i < want->rank; i++) same = v->dim[i] == want->dim[i];
  if (!same) return wrong_shape(l, w, want);
  *out = w;
  if (computable(v)) return OK;
  return diag_error(l->d, w->file,
                    "tensor %s: is stored as %s, which ingot does not compute yet (it computes "
                    "f32, f16, bf16, q8_0, q4_0, q4_1, q5_0 and q5_1); convert the model",
                    w->name,
                    v->storage == Q_plain ? dtype_name(v->dtype) : storage_name(v->storage));
}

static Status load(Loader *l, TensorName n, int layer, const WeightView *want, int heads,
                   uint32_t *out) {
  const Weight *w;
  TRY(checked(l, n, layer, want, &w));
  bool permuted = heads > 0 && l->model->format == FORMAT_GGUF;
  ConstPart part = {.name = w->name, .view = w->view, .interleaved_heads = permuted ? heads : 0};
  ConstDef def = {.name = w->name, .nparts = 1, .parts = &part};
  def.type = (Type){.dtype = DT_f32, .rank = want->rank};
  if (want->rank > 1) def.type.storage = w->view.storage == Q_plain ? Q_f32 : w->view.storage;
  for (int i = 0; i < want->rank; i++) def.type.dim[i] = dim_const(l->m->dims, want->dim[i]);
  *out = module_const(l->m, &def);
  return OK;
}

Status loader_floats(Loader *l, TensorName n, int layer, int64_t size, float *out) {
  const Weight *w;
  TRY(checked(l, n, layer, &(WeightView){.rank = 1, .dim = {size}}, &w));
  const QuantDef *q = w->view.storage == Q_plain ? NULL : quant_def(w->view.storage);
  if (!q || size % q->block != 0)
    return diag_error(l->d, w->file, "tensor %s: has elements of %s (expected f32)", w->name,
                      dtype_name(w->view.dtype));
  q->decode(w->view.data, out, (size_t)size);
  return OK;
}

Status loader_vector(Loader *l, TensorName n, int layer, int64_t size, int heads, uint32_t *out) {
  return load(l, n, layer, &(WeightView){.rank = 1, .dim = {size}}, heads, out);
}

Status loader_add(Loader *l, uint32_t index, double value) {
  RefTensor t;
  TRY(const_dense(l->m->arena, l->m, index, &t, l->d));
  for (int64_t i = 0; i < t.elements; i++) t.f[i] = (float)(t.f[i] + value);
  ConstDef *c = &l->m->consts[index];
  c->nparts = 0;
  c->parts = NULL;
  c->dense = t.f;
  return OK;
}

Status loader_matrix(Loader *l, TensorName n, int layer, int64_t rows, int64_t cols, int heads,
                     uint32_t *out) {
  return load(l, n, layer, &(WeightView){.rank = 2, .dim = {rows, cols}}, heads, out);
}

Status loader_finish(Loader *l) {
  Status s = OK;
  for (uint32_t i = 0; i < l->model->nweights; i++) {
    const Weight *w = &l->model->weights[i];
    if (l->used[i]) continue;
    if (l->model->format == FORMAT_GGUF)
      s = diag_error(l->d, w->file, "tensor %s: has no place in a %s model", w->name,
                     l->model->arch);
    else
      diag_warn(l->d, w->file, "tensor %s: is not used", w->name);
  }
  return s;
}

uint32_t const_floats(Module *m, const char *name, const float *values, int64_t n) {
  float *copy = ARENA_ARRAY(m->arena, float, (size_t)n);
  memcpy(copy, values, (size_t)n * sizeof *copy);
  ConstDef def = {.name = name, .dense = copy};
  def.type = (Type){.dtype = DT_f32, .rank = 1, .dim = {dim_const(m->dims, n)}};
  return module_const(m, &def);
}
