/* Reads a safetensors file: 8 bytes of header length, a JSON header, then the elements.
 *
 * Format: the safetensors project's README. As the reference does, tensors must cover the data
 * exactly: no holes, no overlaps, nothing behind the last one. Elements may stand at any address;
 * decoding reads bytes.
 */
#include "frontend/readers.h"
#include "ir/quant.h"

#include <stdlib.h>
#include <string.h>

/* Real headers have about 100 bytes a tensor; the cap bounds the memory of parsing. */
enum { MAX_HEADER = 32 << 20 };

typedef struct Span {
  uint64_t begin, end;
  const char *name;
} Span;

typedef struct Header {
  Reader *r;
  const MappedFile *f;
  const uint8_t *data; /* the elements */
  uint64_t size;
  Span *spans;
  uint32_t nspans;
} Header;

static Status fail_at(const Header *h, const char *name, const char *what) {
  return diag_error(h->r->d, h->f->path, "tensor %s: %s",
                    text_excerpt(h->r->m->arena, name, strlen(name)), what);
}

static bool parse_dtype(const char *name, WeightView *v) {
  v->dtype = DT_f32;
  if (strcmp(name, "F32") == 0) return v->storage = Q_f32, true;
  if (strcmp(name, "F16") == 0) return v->storage = Q_f16, true;
  if (strcmp(name, "BF16") == 0) return v->storage = Q_bf16, true;
  for (int t = 0; t < DT_COUNT; t++) {
    if (strcmp(name, dtype_safetensors((DType)t)) != 0) continue;
    v->storage = Q_plain;
    v->dtype = (DType)t;
    return true;
  }
  return false;
}

static uint64_t element_size(const WeightView *v) {
  uint32_t block, bytes;
  if (v->storage == Q_plain) return dtype_size(v->dtype);
  BUG_IF(!quant_size(v->storage, &block, &bytes), "no size of %s", storage_name(v->storage));
  return bytes;
}

static Status parse_shape(const Header *h, const char *name, const json_t *shape, WeightView *v,
                          uint64_t *elements) {
  if (!json_is_array(shape)) return fail_at(h, name, "shape is not a list");
  size_t rank = json_array_size(shape);
  if (rank > MAX_RANK) {
    const char *what =
        arena_printf(h->r->m->arena, "has %zu dimensions (expected at most %d)", rank, MAX_RANK);
    return fail_at(h, name, what);
  }
  v->rank = (uint8_t)rank;
  *elements = 1;
  for (size_t i = 0; i < rank; i++) {
    const json_t *n = json_array_get(shape, i);
    if (!json_is_integer(n) || json_integer_value(n) < 0)
      return fail_at(h, name, "a dimension is not a whole number >= 0");
    v->dim[i] = json_integer_value(n);
    if (!size_mul(*elements, (uint64_t)v->dim[i], elements))
      return fail_at(h, name, "the product of the dimensions overflows");
  }
  return OK;
}

static bool parse_offsets(const json_t *pair, uint64_t *begin, uint64_t *end) {
  if (!json_is_array(pair) || json_array_size(pair) != 2) return false;
  const json_t *a = json_array_get(pair, 0), *b = json_array_get(pair, 1);
  if (!json_is_integer(a) || !json_is_integer(b)) return false;
  if (json_integer_value(a) < 0 || json_integer_value(b) < json_integer_value(a)) return false;
  *begin = (uint64_t)json_integer_value(a);
  *end = (uint64_t)json_integer_value(b);
  return true;
}

static Status parse_tensor(Header *h, const char *name, size_t name_size, json_t *entry) {
  Arena *a = h->r->m->arena;
  if (strlen(name) != name_size) return fail_at(h, name, "the name holds a NUL byte");
  const char *dtype = json_string_value(json_object_get(entry, "dtype"));
  if (!json_is_object(entry) || json_object_size(entry) != 3 || !dtype)
    return fail_at(h, name, "expected an object of dtype, shape and data_offsets");
  WeightView v = {0};
  if (!parse_dtype(dtype, &v))
    return fail_at(h, name,
                   arena_printf(a,
                                "has the unknown dtype \"%s\" (expected F32, F16, BF16 or "
                                "another type that ingot reads)",
                                text_excerpt(a, dtype, strlen(dtype))));
  uint64_t elements, begin, end;
  TRY(parse_shape(h, name, json_object_get(entry, "shape"), &v, &elements));
  if (!size_mul(elements, element_size(&v), &v.bytes))
    return fail_at(h, name, "the size in bytes overflows");
  if (!parse_offsets(json_object_get(entry, "data_offsets"), &begin, &end))
    return fail_at(h, name, "data_offsets is not [begin, end] with 0 <= begin <= end");
  if (end > h->size)
    return fail_at(h, name,
                   arena_printf(a,
                                "ends at byte %llu of the data (expected at most %llu); the "
                                "file is cut short or its header is wrong",
                                (unsigned long long)end, (unsigned long long)h->size));
  if (end - begin != v.bytes)
    return fail_at(h, name,
                   arena_printf(a,
                                "data_offsets span %llu bytes (expected %llu from dtype and "
                                "shape)",
                                (unsigned long long)(end - begin), (unsigned long long)v.bytes));
  v.data = h->data + begin;
  reader_weight(h->r, name, name_size, &v, h->f->path);
  h->spans[h->nspans++] = (Span){begin, end, name};
  return OK;
}

static int by_offset(const void *a, const void *b) {
  const Span *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

static Status check_cover(Header *h) {
  uint64_t at = 0;
  if (h->nspans) qsort(h->spans, h->nspans, sizeof *h->spans, by_offset);
  for (uint32_t i = 0; i < h->nspans; i++) {
    const Span *s = &h->spans[i];
    if (s->begin != at)
      return fail_at(h, s->name,
                     arena_printf(h->r->m->arena,
                                  "begins at byte %llu of the data, %s the end of "
                                  "the tensor before it (expected %llu)",
                                  (unsigned long long)s->begin,
                                  s->begin < at ? "overlapping" : "leaving a gap after",
                                  (unsigned long long)at));
    at = s->end;
  }
  if (at != h->size)
    return diag_error(h->r->d, h->f->path,
                      "has %llu bytes of data (expected %llu, where the last tensor ends)",
                      (unsigned long long)h->size, (unsigned long long)at);
  return OK;
}

static Status parse_header(Header *h, json_t *root) {
  h->spans = mem_alloc((json_object_size(root) + 1) * sizeof *h->spans);
  Status s = OK;
  const char *key;
  size_t n;
  json_t *value;
  json_object_keylen_foreach(root, key, n, value) {
    if (strcmp(key, "__metadata__") == 0) continue;
    s = parse_tensor(h, key, n, value);
    if (s != OK) break;
  }
  if (s == OK) s = check_cover(h);
  mem_free(h->spans);
  return s;
}

Status safetensors_read(Reader *r, const MappedFile *f) {
  if (f->size < 8)
    return diag_error(r->d, f->path,
                      "is %llu bytes long (expected at least the 8 of a "
                      "safetensors header); is the download complete?",
                      (unsigned long long)f->size);
  uint64_t n = 0;
  for (int i = 7; i >= 0; i--) n = n << 8 | f->data[i];
  if (n > f->size - 8)
    return diag_error(r->d, f->path,
                      "says that its header has %llu bytes (expected at most %llu, the rest of the "
                      "file); it is cut short or no safetensors file",
                      (unsigned long long)n, (unsigned long long)(f->size - 8));
  if (n > MAX_HEADER)
    return diag_error(r->d, f->path, "has a header of %llu bytes (expected at most %d)",
                      (unsigned long long)n, MAX_HEADER);
  json_t *root;
  const char *where = arena_printf(r->m->arena, "%s (header)", f->path);
  TRY(json_text(r, where, (const char *)f->data + 8, n, JSON_REJECT_DUPLICATES, &root));
  Header h = {.r = r, .f = f, .data = f->data + 8 + n, .size = f->size - 8 - n};
  Status s = parse_header(&h, root);
  json_decref(root);
  return s;
}
