/* Data types, storage formats and tensor types: see ir/graph.h. */
#include "ir/graph_impl.h"

#include <string.h>

static const struct {
  const char *name, *safetensors;
  uint8_t bytes;
  bool is_float;
} dtypes[] = {
#define DTYPE(name, bytes, st, is_float) {#name, st, bytes, is_float},
#include "ir/dtypes.def"
#undef DTYPE
};

static const char *const storages[] = {
    "plain",
#define QUANT(name, ggml, block, bytes, packed) #name,
#define QUANT_NAMED(name, ggml, block, bytes) #name,
#include "ir/quants.def"
#undef QUANT
#undef QUANT_NAMED
    "act_i16",
    "act_i8",
    "act_i8p",
};

const char *dtype_name(DType t) {
  return dtypes[t].name;
}

const char *dtype_safetensors(DType t) {
  return dtypes[t].safetensors;
}

size_t dtype_size(DType t) {
  return dtypes[t].bytes;
}

bool dtype_is_float(DType t) {
  return dtypes[t].is_float;
}

bool dtype_parse(const char *name, DType *out) {
  for (unsigned i = 0; i < DT_COUNT; i++) {
    if (strcmp(dtypes[i].name, name) != 0) continue;
    *out = (DType)i;
    return true;
  }
  return false;
}

const char *storage_name(Storage s) {
  return storages[s];
}

bool storage_parse(const char *name, Storage *out) {
  for (unsigned i = 0; i < Q_COUNT; i++) {
    if (strcmp(storages[i], name) != 0) continue;
    *out = (Storage)i;
    return true;
  }
  return false;
}

const char *cache_format_name(const StateDef *s) {
  return s->storage == Q_plain ? dtype_name(s->dtype) : storage_name(s->storage);
}

bool cache_format_parse(const char *name, StateDef *out) {
  out->storage = strcmp(name, "q8_0") == 0 ? Q_q8_0 : Q_plain;
  out->dtype = DT_f32;
  if (out->storage != Q_plain) return true;
  return dtype_parse(name, &out->dtype) &&
         (out->dtype == DT_f16 || out->dtype == DT_f32 || out->dtype == DT_i16);
}

bool type_equal(const Type *a, const Type *b) {
  if (a->dtype != b->dtype || a->storage != b->storage || a->rank != b->rank) return false;
  for (uint32_t i = 0; i < a->rank; i++) {
    if (a->dim[i] != b->dim[i]) return false;
  }
  return true;
}

DimId type_elements(Dims *d, const Type *t) {
  DimId n = dim_const(d, 1);
  for (uint32_t i = 0; i < t->rank; i++) n = dim_op(d, DIM_MUL, n, t->dim[i]);
  return n;
}

bool type_check(Dims *d, const Type *t, const char **why) {
  *why = "its rank is above 8";
  if (t->rank > MAX_RANK) return false;
  *why = "its element type is unknown";
  if ((unsigned)t->dtype >= DT_COUNT || (unsigned)t->storage >= Q_COUNT) return false;
  *why = "only f32 tensors with an axis have a storage format";
  if (t->storage != Q_plain && (t->dtype != DT_f32 || t->rank == 0)) return false;
  DimId n = dim_const(d, 1);
  for (uint32_t i = 0; i < t->rank; i++) {
    *why = "a dimension is not valid";
    if (t->dim[i] == 0 || t->dim[i] > dim_count(d)) return false;
    *why = "a dimension may be negative";
    if (dim_get(d, t->dim[i])->lo < 0) return false;
    *why = "it has too many elements";
    n = dim_try_op(d, DIM_MUL, n, t->dim[i]);
    if (!n || dim_get(d, n)->hi > MAX_ELEMENTS) return false;
  }
  return true;
}

/* A symbol stands bare in a shape unless it would be read as something else there. */
static void print_shape_dim(const Dims *d, DimId id, Buf *out) {
  const DimExpr *e = dim_get(d, id);
  DType ignored;
  bool bare = e->kind == DIM_CONST;
  if (e->kind == DIM_SYMBOL) bare = !strchr(e->name, 'x') && !dtype_parse(e->name, &ignored);
  if (!bare) buf_puts(out, "(");
  dim_print(d, id, out);
  if (!bare) buf_puts(out, ")");
}

void type_print(const Dims *d, const Type *t, Buf *out) {
  buf_puts(out, "tensor<");
  for (uint32_t i = 0; i < t->rank; i++) {
    print_shape_dim(d, t->dim[i], out);
    buf_puts(out, i + 1 < t->rank ? "x" : " x ");
  }
  buf_puts(out, dtype_name(t->dtype));
  if (t->storage != Q_plain) buf_printf(out, " : %s", storage_name(t->storage));
  buf_puts(out, ">");
}
