/* Safetensors reader: the file is mapped, the header is parsed by the strict JSON parser, and every
 * number in it is checked before use: sizes without overflow, offsets inside the data, in order
 * without gap or overlap, as the format demands.
 */
#include "runtime/core/safetensors.h"

#include "runtime/abi.h"
#include "runtime/core/dtype.h"
#include "runtime/core/json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 100 << 20 };

struct StFile {
  const char *path;
  uint8_t *map;
  uint64_t size;
  JsonPool *pool;
  StTensor *tensor;
  size_t n;
};

static int read_shape(const StFile *f, const Json *shape, StTensor *t, Err *e) {
  if (!shape || shape->kind != JS_ARRAY || shape->u.array.n > ST_MAX_RANK)
    return err_set(e, f->path, "%s: shape is not a list of at most %d sizes", t->name, ST_MAX_RANK);
  uint64_t elements = 1;
  t->rank = (uint32_t)shape->u.array.n;
  for (uint32_t i = 0; i < t->rank; i++) {
    const Json *d = shape->u.array.item[i];
    if (d->kind != JS_INT || d->u.integer < 0 ||
        __builtin_mul_overflow(elements, (uint64_t)d->u.integer, &elements) ||
        elements > INT64_MAX / 8)
      return err_set(e, f->path, "%s: impossible shape", t->name);
    t->dim[i] = d->u.integer;
  }
  t->elements = (int64_t)elements;
  return 0;
}

static int read_tensor(const StFile *f, const Json *v, uint64_t data_at, StTensor *t, Err *e) {
  const Json *dtype = json_get(v, "dtype"), *offsets = json_get(v, "data_offsets");
  if (!dtype || dtype->kind != JS_STRING || !dtype_find(dtype->u.string.data, &t->dtype))
    return err_set(e, f->path, "%s: unknown dtype", t->name);
  if (read_shape(f, json_get(v, "shape"), t, e)) return 1;
  if (!offsets || offsets->kind != JS_ARRAY || offsets->u.array.n != 2 ||
      offsets->u.array.item[0]->kind != JS_INT || offsets->u.array.item[1]->kind != JS_INT)
    return err_set(e, f->path, "%s: data_offsets are not two integers", t->name);
  int64_t from = offsets->u.array.item[0]->u.integer, to = offsets->u.array.item[1]->u.integer;
  if (from < 0 || to < from || (uint64_t)to > f->size - data_at)
    return err_set(e, f->path, "%s: data_offsets [%lld, %lld] lie outside the data (%llu bytes)",
                   t->name, (long long)from, (long long)to,
                   (unsigned long long)(f->size - data_at));
  t->bytes = (uint64_t)(to - from);
  if (t->bytes != (uint64_t)t->elements * dtype_size(t->dtype))
    return err_set(e, f->path, "%s: %llu bytes of data do not fit its shape and dtype", t->name,
                   (unsigned long long)t->bytes);
  t->data = f->map + data_at + from;
  return 0;
}

static int by_data(const void *a, const void *b) {
  const StTensor *x = *(const StTensor *const *)a, *y = *(const StTensor *const *)b;
  if (x->data != y->data) return x->data < y->data ? -1 : 1;
  return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int check_coverage(const StFile *f, const uint8_t *data, Err *e) {
  const StTensor **order = malloc((f->n + 1) * sizeof *order);
  if (!order) return err_no_memory(e, f->path);
  for (size_t i = 0; i < f->n; i++) order[i] = &f->tensor[i];
  qsort(order, f->n, sizeof *order, by_data);
  int bad = 0;
  const uint8_t *at = data;
  for (size_t i = 0; i < f->n && !bad; i++) {
    if (order[i]->data != at)
      bad = err_set(e, f->path, "%s: its data overlap or leave a gap", order[i]->name);
    at = order[i]->data + order[i]->bytes;
  }
  if (!bad && at != f->map + f->size)
    bad = err_set(e, f->path, "%llu bytes behind the last tensor",
                  (unsigned long long)(f->map + f->size - at));
  free(order);
  return bad;
}

static int read_header(StFile *f, Err *e) {
  if (f->size < 8) return err_set(e, f->path, "is too short for a safetensors file");
  uint64_t n = 0;
  for (int i = 7; i >= 0; i--) n = n << 8 | f->map[i];
  if (n > MAX_HEADER || n > f->size - 8)
    return err_set(e, f->path, "not a safetensors file, or truncated: a header of %llu bytes",
                   (unsigned long long)n);
  const char *error;
  size_t at;
  if (!(f->pool = json_pool_new())) return err_no_memory(e, f->path);
  Json *root = json_parse(f->pool, (const char *)f->map + 8, (size_t)n, &error, &at);
  if (!root) return err_set(e, f->path, "header, byte %zu: %s", at, error);
  if (root->kind != JS_OBJECT) return err_set(e, f->path, "header is not an object");
  f->tensor = calloc(root->u.object.n + 1, sizeof *f->tensor);
  if (!f->tensor) return err_no_memory(e, f->path);
  for (size_t i = 0; i < root->u.object.n; i++) {
    const Json *key = root->u.object.item[i].key;
    if (strcmp(key->u.string.data, "__metadata__") == 0) continue;
    StTensor *t = &f->tensor[f->n++];
    t->name = key->u.string.data;
    if (read_tensor(f, root->u.object.item[i].value, 8 + n, t, e)) return 1;
  }
  return check_coverage(f, f->map + 8 + n, e);
}

static int map_file(StFile *f, Err *e) {
  int fd = open(f->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return err_set(e, f->path, "can't be opened: %s", strerror(errno));
  struct stat st;
  int bad = 0;
  if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
    bad = err_set(e, f->path, "is not a regular file");
  } else if (st.st_size > 0) {
    f->size = (uint64_t)st.st_size;
    f->map = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (f->map == MAP_FAILED) {
      f->map = NULL;
      bad = err_set(e, f->path, "can't be mapped: %s", strerror(errno));
    }
  }
  close(fd);
  return bad;
}

int st_open(const char *path, StFile **out, Err *e) {
  *out = NULL;
  StFile *f = calloc(1, sizeof *f);
  if (!f) return err_no_memory(e, path);
  f->path = path;
  if (map_file(f, e) || read_header(f, e)) {
    st_close(f);
    return 1;
  }
  *out = f;
  return 0;
}

void st_close(StFile *f) {
  if (!f) return;
  json_pool_free(f->pool);
  free(f->tensor);
  if (f->map) munmap(f->map, f->size);
  free(f);
}

size_t st_count(const StFile *f) {
  return f->n;
}

const StTensor *st_at(const StFile *f, size_t i) {
  return &f->tensor[i];
}

const StTensor *st_find(const StFile *f, const char *name) {
  for (size_t i = 0; i < f->n; i++)
    if (strcmp(f->tensor[i].name, name) == 0) return &f->tensor[i];
  return NULL;
}
