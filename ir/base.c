/* Memory, arenas, buffers, checked sizes and float conversions: see ir/base.h. */
#include "ir/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bug_at(const char *file, int line, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  fprintf(stderr, "ingot: bug: %s:%d: ", file, line);
  vfprintf(stderr, fmt, args);
  fputs("\n", stderr);
  va_end(args);
  abort();
}

/* ---- memory ---- */

static void (*exhausted_cleanup)(void);
static uint64_t allocations_left; /* 0: no failure is planned */

void mem_on_exhausted(void (*cleanup)(void)) {
  exhausted_cleanup = cleanup;
}

void mem_fail_after(uint64_t n) {
  allocations_left = n;
}

static _Noreturn void mem_exhausted(void) {
  static const char message[] = "ingot: error: out of memory\n";
  if (exhausted_cleanup) exhausted_cleanup();
  ssize_t ignored = write(STDERR_FILENO, message, sizeof message - 1);
  (void)ignored;
  _exit(1);
}

static bool failure_is_due(void) {
  return allocations_left && --allocations_left == 0;
}

void *mem_alloc(size_t bytes) {
  void *p = failure_is_due() ? NULL : calloc(1, bytes ? bytes : 1);
  if (!p) mem_exhausted();
  return p;
}

void *mem_resize(void *p, size_t bytes) {
  void *q = failure_is_due() ? NULL : realloc(p, bytes ? bytes : 1);
  if (!q) mem_exhausted();
  return q;
}

void mem_free(void *p) {
  free(p);
}

/* ---- arenas: a list of chunks, each twice the last up to 1 MiB ---- */

typedef struct Chunk {
  struct Chunk *next;
  size_t used, size;
  _Alignas(16) char data[];
} Chunk;

struct Arena {
  Chunk *head;
};

enum { FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };

Arena *arena_new(void) {
  return mem_alloc(sizeof(Arena));
}

void arena_free(Arena *a) {
  if (!a) return;
  for (Chunk *c = a->head, *next; c; c = next) {
    next = c->next;
    mem_free(c);
  }
  mem_free(a);
}

/* The chunks go behind a's first, which is still being filled. */
void arena_adopt(Arena *a, Arena *from) {
  Chunk **end = a->head ? &a->head->next : &a->head, *rest = *end;
  *end = from->head;
  while (*end) end = &(*end)->next;
  *end = rest;
  mem_free(from);
}

void *arena_alloc(Arena *a, size_t bytes) {
  if (bytes > SIZE_MAX / 2) mem_exhausted();
  bytes = (bytes + 15) & ~(size_t)15;
  Chunk *c = a->head;
  if (!c || c->size - c->used < bytes) {
    size_t size = c ? 2 * c->size : FIRST_CHUNK;
    if (size > LARGEST_CHUNK) size = LARGEST_CHUNK;
    if (size < bytes) size = bytes;
    c = mem_alloc(sizeof(Chunk) + size);
    c->size = size;
    c->next = a->head;
    a->head = c;
  }
  void *p = c->data + c->used;
  c->used += bytes;
  return p;
}

void *arena_alloc_array(Arena *a, size_t n, size_t size) {
  uint64_t bytes;
  if (!size_mul(n, size, &bytes)) mem_exhausted();
  return arena_alloc(a, bytes);
}

char *arena_strndup(Arena *a, const char *s, size_t n) {
  char *copy = arena_alloc(a, n + 1);
  memcpy(copy, s, n);
  return copy;
}

char *arena_strdup(Arena *a, const char *s) {
  return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(Arena *a, const char *fmt, ...) {
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, args);
  BUG_IF(n < 0, "bad format '%s'", fmt);
  char *s = arena_alloc(a, (size_t)n + 1);
  vsnprintf(s, (size_t)n + 1, fmt, again);
  va_end(again);
  va_end(args);
  return s;
}

/* ---- buffers ---- */

static void buf_reserve(Buf *b, size_t extra) {
  if (b->size + extra + 1 <= b->cap) return;
  size_t cap = b->cap ? 2 * b->cap : 256;
  while (cap < b->size + extra + 1) cap *= 2;
  b->data = mem_resize(b->data, cap);
  b->cap = cap;
}

void buf_put(Buf *b, const void *bytes, size_t n) {
  buf_reserve(b, n);
  if (n) memcpy(b->data + b->size, bytes, n);
  b->size += n;
  b->data[b->size] = 0;
}

void buf_puts(Buf *b, const char *s) {
  buf_put(b, s, strlen(s));
}

void buf_printf(Buf *b, const char *fmt, ...) {
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, args);
  BUG_IF(n < 0, "bad format '%s'", fmt);
  buf_reserve(b, (size_t)n);
  vsnprintf(b->data + b->size, (size_t)n + 1, fmt, again);
  b->size += (size_t)n;
  va_end(again);
  va_end(args);
}

void buf_align(Buf *b, size_t alignment) {
  static const char zeros[16];
  size_t pad = align_up(b->size, alignment) - b->size;
  while (pad) {
    size_t n = pad < sizeof zeros ? pad : sizeof zeros;
    buf_put(b, zeros, n);
    pad -= n;
  }
}

void buf_free(Buf *b) {
  mem_free(b->data);
  *b = (Buf){0};
}

/* ---- checked sizes ---- */

bool size_mul(uint64_t a, uint64_t b, uint64_t *out) {
  return !__builtin_mul_overflow(a, b, out) && *out <= INT64_MAX;
}

bool size_add(uint64_t a, uint64_t b, uint64_t *out) {
  return !__builtin_add_overflow(a, b, out) && *out <= INT64_MAX;
}

/* ---- float conversions ---- */

static float bits_to_float(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static uint32_t float_to_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

float f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return bits_to_float(sign | 0x7f800000 | mantissa << 13);
  if (exponent) return bits_to_float(sign | (exponent + 112) << 23 | mantissa << 13);
  float f = (float)mantissa * 0x1p-24f; /* subnormal: exact */
  return sign ? -f : f;
}

uint16_t f32_to_f16(float f) {
  uint32_t u = float_to_bits(f), sign = (u >> 16) & 0x8000, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds to infinity */
  if (magnitude < 0x38800000) {                                  /* subnormal or zero */
    float scaled = bits_to_float(magnitude) + 0.5f; /* 0.5: ulp 2^-24, rounds to even */
    return (uint16_t)(sign | (float_to_bits(scaled) - 0x3f000000));
  }
  uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

float bf16_to_f32(uint16_t h) {
  return bits_to_float((uint32_t)h << 16);
}

uint16_t f32_to_bf16(float f) {
  uint32_t u = float_to_bits(f);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)((u >> 16) | 0x40);
  return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
