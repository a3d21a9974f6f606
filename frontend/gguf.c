/* Reads a GGUF file, versions 2 and 3: header, metadata, tensor table, elements.
 *
 * Specification: docs/gguf.md of the ggml project. Metadata stays in the mapped file; only small
 * values outside the tokenizer are copied, into Model.config. Every count is bounded by the bytes
 * that are left, before anything is allocated for it. Odd: dimensions are stored innermost first.
 */
#include "frontend/gguf.h"
#include "ir/quant.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_DEPTH = 8,           /* of nested arrays */
  MAX_CONFIG_ARRAY = 4096, /* elements of an array that enters Model.config */
  MAX_NAME = 65535,        /* bytes of a key, by the specification */
  MAX_GGUF_RANK = 4,
  MIN_KEY = 8 + 4 + 1,       /* bytes of the smallest key and value */
  MIN_TENSOR = 8 + 4 + 4 + 8 /* bytes of the smallest tensor entry */
};

/* ---- the cursor: every read is checked ---- */

typedef struct Cursor {
  Gguf *g;
  uint64_t at;
} Cursor;

static Status fail(const Gguf *g, const char *what) {
  return diag_error(g->r->d, g->f->path, "%s", what);
}

static Status take(Cursor *c, uint64_t n, const char *what, const uint8_t **out) {
  uint64_t left = c->g->f->size - c->at;
  *out = c->g->f->data + c->at;
  if (n > left)
    return diag_error(c->g->r->d, c->g->f->path,
                      "ends within %s at byte %llu (%llu bytes needed, %llu left); is the download "
                      "complete?",
                      what, (unsigned long long)c->at, (unsigned long long)n,
                      (unsigned long long)left);
  c->at += n;
  return OK;
}

static uint64_t little(const uint8_t *p, size_t n) {
  uint64_t v = 0;
  for (size_t i = n; i-- > 0;) v = v << 8 | p[i];
  return v;
}

static Status take_uint(Cursor *c, size_t bytes, const char *what, uint64_t *out) {
  const uint8_t *p;
  *out = 0;
  TRY(take(c, bytes, what, &p));
  *out = little(p, bytes);
  return OK;
}

static Status take_string(Cursor *c, const char *what, TextBytes *out) {
  uint64_t n;
  const uint8_t *p;
  *out = (TextBytes){0};
  TRY(take_uint(c, 8, what, &n));
  TRY(take(c, n, what, &p));
  if (n > UINT32_MAX) return diag_error(c->g->r->d, c->g->f->path, "%s is too long", what);
  *out = (TextBytes){(const char *)p, (uint32_t)n};
  return OK;
}

/* A key or tensor name: short, UTF-8, no NUL; copied. */
static Status take_name(Cursor *c, const char *what, const char **out) {
  TextBytes t;
  Arena *a = c->g->r->m->arena;
  TRY(take_string(c, what, &t));
  if (t.size == 0 || t.size > MAX_NAME || memchr(t.data, 0, t.size) || !utf8_valid(t.data, t.size))
    return diag_error(c->g->r->d, c->g->f->path,
                      "%s \"%s\" is not a name (expected 1 to %d bytes of UTF-8)", what,
                      text_excerpt(a, t.data, t.size), MAX_NAME);
  *out = arena_strndup(a, t.data, t.size);
  return OK;
}

/* ---- metadata ---- */

size_t gguf_type_size(GgufType t) {
  static const uint8_t sizes[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[t];
}

static Status take_type(Cursor *c, const char *key, GgufType *out) {
  uint64_t t;
  TRY(take_uint(c, 4, "a metadata type", &t));
  if (t >= GGUF_TYPES)
    return diag_error(c->g->r->d, c->g->f->path, "key %s: has the unknown type %llu", key,
                      (unsigned long long)t);
  *out = (GgufType)t;
  return OK;
}

static Status skip_array(Cursor *c, const char *key, int depth, GgufType *element,
                         uint64_t *count) {
  if (depth > MAX_DEPTH)
    return diag_error(c->g->r->d, c->g->f->path, "key %s: arrays are nested deeper than %d", key,
                      MAX_DEPTH);
  TRY(take_type(c, key, element));
  TRY(take_uint(c, 8, "an array's length", count));
  size_t size = gguf_type_size(*element);
  uint64_t least = size ? size : *element == GGUF_STRING ? 8 : 12, left = c->g->f->size - c->at;
  if (*count > left / least)
    return diag_error(c->g->r->d, c->g->f->path,
                      "key %s: is an array of %llu elements (at most %llu fit into the rest of "
                      "the file)",
                      key, (unsigned long long)*count, (unsigned long long)(left / least));
  const uint8_t *p;
  if (size) return take(c, *count * size, key, &p);
  for (uint64_t i = 0; i < *count; i++) {
    TextBytes t;
    GgufType inner;
    uint64_t n;
    if (*element == GGUF_STRING)
      TRY(take_string(c, key, &t));
    else
      TRY(skip_array(c, key, depth + 1, &inner, &n));
  }
  return OK;
}

static Status take_value(Cursor *c, GgufValue *v) {
  TRY(take_name(c, "key", &v->key));
  TRY(take_type(c, v->key, &v->type));
  v->count = 1;
  if (v->type == GGUF_STRING) {
    TextBytes t;
    TRY(take_string(c, v->key, &t));
    v->data = (const uint8_t *)t.data;
    v->count = t.size;
    return OK;
  }
  if (v->type != GGUF_ARRAY) return take(c, gguf_type_size(v->type), v->key, &v->data);
  v->data = c->g->f->data + c->at + 12;
  return skip_array(c, v->key, 1, &v->element, &v->count);
}

static int by_key(const void *a, const void *b) {
  return strcmp(((const GgufValue *)a)->key, ((const GgufValue *)b)->key);
}

static Status take_values(Cursor *c, uint64_t count) {
  Gguf *g = c->g;
  uint64_t left = (g->f->size - c->at) / MIN_KEY;
  if (count > left)
    return diag_error(g->r->d, g->f->path,
                      "has %llu keys by its header (at most %llu fit into the file)",
                      (unsigned long long)count, (unsigned long long)left);
  g->values = mem_alloc((count + 1) * sizeof *g->values);
  for (uint64_t i = 0; i < count; i++) {
    TRY(take_value(c, &g->values[i]));
    g->nvalues++;
  }
  qsort(g->values, g->nvalues, sizeof *g->values, by_key);
  for (uint32_t i = 1; i < g->nvalues; i++) {
    if (strcmp(g->values[i - 1].key, g->values[i].key) == 0)
      return diag_error(g->r->d, g->f->path, "key %s: stands twice", g->values[i].key);
  }
  return OK;
}

/* ---- typed access ---- */

const GgufValue *gguf_find(const Gguf *g, const char *key) {
  GgufValue want = {.key = key};
  return g->nvalues ? bsearch(&want, g->values, g->nvalues, sizeof want, by_key) : NULL;
}

static bool is_int(GgufType t) {
  return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64;
}

int64_t gguf_read_int(GgufType t, const uint8_t *p) {
  uint64_t v = little(p, gguf_type_size(t));
  switch (t) {
  case GGUF_I8: return (int8_t)v;
  case GGUF_I16: return (int16_t)v;
  case GGUF_I32: return (int32_t)v;
  case GGUF_U64: return v > INT64_MAX ? INT64_MAX : (int64_t)v;
  default: return (int64_t)v;
  }
}

double gguf_read_float(GgufType t, const uint8_t *p) {
  if (t == GGUF_F64) {
    double x;
    memcpy(&x, p, sizeof x);
    return x;
  }
  float x;
  memcpy(&x, p, sizeof x);
  return (double)x;
}

static Status wrong_type(const Gguf *g, const char *key, const char *expected) {
  return diag_error(g->r->d, g->f->path, "key %s: has the wrong type (expected %s)", key, expected);
}

Status gguf_i64(const Gguf *g, const char *key, int64_t absent, int64_t *out) {
  const GgufValue *v = gguf_find(g, key);
  *out = absent;
  if (!v) return OK;
  if (!is_int(v->type)) return wrong_type(g, key, "a whole number");
  *out = gguf_read_int(v->type, v->data);
  return OK;
}

Status gguf_bool(const Gguf *g, const char *key, bool absent, bool *out) {
  const GgufValue *v = gguf_find(g, key);
  *out = absent;
  if (!v) return OK;
  if (v->type != GGUF_BOOL) return wrong_type(g, key, "a bool");
  *out = v->data[0] != 0;
  return OK;
}

Status gguf_string(const Gguf *g, const char *key, const char **out) {
  const GgufValue *v = gguf_find(g, key);
  *out = NULL;
  if (!v) return OK;
  if (v->type != GGUF_STRING) return wrong_type(g, key, "a string");
  if (memchr(v->data, 0, v->count) || !utf8_valid(v->data, v->count))
    return diag_error(g->r->d, g->f->path, "key %s: is not valid UTF-8 text", key);
  *out = arena_strndup(g->r->m->arena, (const char *)v->data, v->count);
  return OK;
}

Status gguf_array(const Gguf *g, const char *key, GgufType element, const GgufValue **out) {
  const GgufValue *v = gguf_find(g, key);
  *out = v;
  if (!v) return OK;
  if (v->type != GGUF_ARRAY || v->element != element)
    return wrong_type(g, key,
                      element == GGUF_STRING ? "an array of strings"
                      : element == GGUF_F32  ? "an array of f32"
                                             : "an array of i32");
  return OK;
}

TextBytes gguf_next_string(const Gguf *g, const uint8_t **p) {
  uint64_t n = little(*p, 8);
  TextBytes t = {(const char *)*p + 8, (uint32_t)n};
  BUG_IF((const uint8_t *)t.data + n > g->f->data + g->f->size, "string beyond the file");
  *p += 8 + n;
  return t;
}

/* ---- Model.config ---- */

static json_t *scalar_json(GgufType t, const uint8_t *p) {
  if (t == GGUF_BOOL) return json_boolean(*p != 0);
  if (is_int(t)) return json_integer(gguf_read_int(t, p));
  return json_real(gguf_read_float(t, p)); /* NULL when not finite */
}

static json_t *value_json(const Gguf *g, const GgufValue *v) {
  if (v->type == GGUF_STRING) return json_stringn((const char *)v->data, v->count);
  if (v->type != GGUF_ARRAY) return scalar_json(v->type, v->data);
  if (v->element == GGUF_ARRAY || v->count > MAX_CONFIG_ARRAY) return NULL;
  json_t *list = json_array();
  const uint8_t *p = v->data;
  for (uint64_t i = 0; i < v->count; i++) {
    json_t *item;
    if (v->element == GGUF_STRING) {
      TextBytes t = gguf_next_string(g, &p);
      item = json_stringn(t.data, t.size);
    } else {
      item = scalar_json(v->element, p);
      p += gguf_type_size(v->element);
    }
    json_array_append_new(list, item ? item : json_null());
  }
  return list;
}

/* All keys but the tokenizer's; values that JSON cannot hold are left out. */
static Status fill_config(const Gguf *g) {
  Model *m = g->r->m;
  json_set_alloc_funcs(mem_alloc, mem_free);
  m->config = json_object();
  for (uint32_t i = 0; i < g->nvalues; i++) {
    const GgufValue *v = &g->values[i];
    if (strncmp(v->key, "tokenizer.", 10) == 0) continue;
    json_t *j = value_json(g, v);
    if (j) json_object_set_new(m->config, v->key, j);
  }
  TRY(gguf_string(g, "general.architecture", &m->arch));
  if (!m->arch) return fail(g, "has no key general.architecture");
  return OK;
}

/* ---- tensors ---- */

static Status tensor_fail(const Gguf *g, const char *name, const char *what) {
  return diag_error(g->r->d, g->f->path, "tensor %s: %s", name, what);
}

/* Integer tensors (i8 .. f64) are plain elements; the rest are formats of ir/quants.def. */
static bool plain_type(Storage s, DType *out) {
  switch (s) {
  case Q_i8: return *out = DT_i8, true;
  case Q_i16: return *out = DT_i16, true;
  case Q_i32: return *out = DT_i32, true;
  case Q_i64: return *out = DT_i64, true;
  case Q_f64: return *out = DT_f64, true;
  default: return false;
  }
}

static Status take_format(Cursor *c, const char *name, WeightView *v) {
  uint64_t type;
  TRY(take_uint(c, 4, "a tensor's type", &type));
  v->storage = type > UINT32_MAX ? Q_plain : quant_from_ggml((uint32_t)type);
  uint32_t block, bytes;
  if (v->storage == Q_plain || !quant_size(v->storage, &block, &bytes))
    return diag_error(c->g->r->d, c->g->f->path, "tensor %s: has the unknown type %llu", name,
                      (unsigned long long)type);
  uint64_t n = 1;
  for (int i = 0; i < v->rank; i++) {
    if (!size_mul(n, (uint64_t)v->dim[i], &n))
      return tensor_fail(c->g, name, "the product of the dimensions overflows");
  }
  int64_t row = v->rank ? v->dim[v->rank - 1] : 1;
  if (row % block != 0)
    return diag_error(c->g->r->d, c->g->f->path,
                      "tensor %s: rows of %lld elements are not whole blocks of %s (%u)", name,
                      (long long)row, storage_name(v->storage), block);
  if (!size_mul(n / block, bytes, &v->bytes))
    return tensor_fail(c->g, name, "the size in bytes overflows");
  v->dtype = DT_f32;
  if (plain_type(v->storage, &v->dtype)) v->storage = Q_plain;
  return OK;
}

static Status take_tensor(Cursor *c, const char **name, WeightView *v, uint64_t *offset) {
  uint64_t rank, dim[MAX_GGUF_RANK];
  TRY(take_name(c, "tensor", name));
  TRY(take_uint(c, 4, "a tensor's rank", &rank));
  if (rank > MAX_GGUF_RANK)
    return diag_error(c->g->r->d, c->g->f->path,
                      "tensor %s: has %llu dimensions (expected at most %d)", *name,
                      (unsigned long long)rank, MAX_GGUF_RANK);
  v->rank = (uint8_t)rank;
  for (uint64_t i = 0; i < rank; i++) {
    TRY(take_uint(c, 8, "a tensor's dimensions", &dim[i]));
    if (dim[i] > INT64_MAX) return tensor_fail(c->g, *name, "a dimension is too large");
  }
  for (uint64_t i = 0; i < rank; i++) v->dim[i] = (int64_t)dim[rank - 1 - i];
  TRY(take_format(c, *name, v));
  return take_uint(c, 8, "a tensor's offset", offset);
}

typedef struct Entry {
  const char *name;
  WeightView view;
  uint64_t offset;
} Entry;

static int by_offset(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Aligned, inside the file, not overlapping. */
static Status place_tensors(Gguf *g, Entry *e, uint64_t n, uint64_t base, uint64_t alignment) {
  uint64_t end = 0, size = base < g->f->size ? g->f->size - base : 0;
  qsort(e, n, sizeof *e, by_offset);
  for (uint64_t i = 0; i < n; i++) {
    uint64_t last;
    if (e[i].offset % alignment != 0)
      return diag_error(g->r->d, g->f->path,
                        "tensor %s: stands at offset %llu (expected a multiple of %llu)", e[i].name,
                        (unsigned long long)e[i].offset, (unsigned long long)alignment);
    if (e[i].offset < end) return tensor_fail(g, e[i].name, "overlaps the tensor before it");
    if (!size_add(e[i].offset, e[i].view.bytes, &last) || last > size)
      return diag_error(g->r->d, g->f->path,
                        "tensor %s: %llu bytes at offset %llu reach beyond the file (%llu bytes of "
                        "data); is the download complete?",
                        e[i].name, (unsigned long long)e[i].view.bytes,
                        (unsigned long long)e[i].offset, (unsigned long long)size);
    end = last;
    e[i].view.data = g->f->data + base + e[i].offset;
    reader_weight(g->r, e[i].name, strlen(e[i].name), &e[i].view, g->f->path);
  }
  return reader_sort_weights(g->r);
}

static Status take_tensors(Cursor *c, uint64_t count) {
  Gguf *g = c->g;
  int64_t alignment;
  TRY(gguf_i64(g, "general.alignment", 32, &alignment));
  if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)))
    return diag_error(g->r->d, g->f->path,
                      "key general.alignment: is %lld (expected a power of two up to 2^20)",
                      (long long)alignment);
  uint64_t left = (g->f->size - c->at) / MIN_TENSOR;
  if (count > left)
    return diag_error(g->r->d, g->f->path,
                      "has %llu tensors by its header (at most %llu fit into the file)",
                      (unsigned long long)count, (unsigned long long)left);
  Entry *e = mem_alloc((count + 1) * sizeof *e);
  Status s = OK;
  for (uint64_t i = 0; s == OK && i < count; i++)
    s = take_tensor(c, &e[i].name, &e[i].view, &e[i].offset);
  if (s == OK)
    s = place_tensors(g, e, count, align_up(c->at, (uint64_t)alignment), (uint64_t)alignment);
  mem_free(e);
  return s;
}

/* ---- the file ---- */

static Status read_all(Gguf *g) {
  Cursor c = {.g = g, .at = 4};
  uint64_t version, ntensors, nvalues;
  TRY(take_uint(&c, 4, "the version", &version));
  if (version != 2 && version != 3)
    return diag_error(g->r->d, g->f->path, "is GGUF version %llu (expected 2 or 3)%s",
                      (unsigned long long)version,
                      version >= 1 << 16 ? "; it seems to be big-endian" : "");
  TRY(take_uint(&c, 8, "the count of tensors", &ntensors));
  TRY(take_uint(&c, 8, "the count of keys", &nvalues));
  TRY(take_values(&c, nvalues));
  TRY(fill_config(g));
  if (g->r->what & MODEL_WEIGHTS) TRY(take_tensors(&c, ntensors));
  if (g->r->what & MODEL_TEXT) TRY(gguf_text_read(g));
  const char *name, *license;
  TRY(gguf_string(g, "general.name", &name));
  TRY(gguf_string(g, "general.license", &license));
  return card_read(g->r, name, license);
}

Status gguf_open(Reader *r, const MappedFile *f) {
  r->m->format = FORMAT_GGUF;
  Gguf g = {.r = r, .f = f};
  Status s = read_all(&g);
  mem_free(g.values);
  return s;
}
