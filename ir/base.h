/* Base: what every folder of the compiler stands on.
 *
 * Memory (arenas and the one fatal out-of-memory handler), strings, diagnostics, checked sizes and
 * mapped input files. Policy: a bad model or option is a `diag_error` and a FAIL that travels up by
 * TRY; a broken invariant of ours is BUG and aborts; out of memory in the compiler ends the process
 * through one handler with a clean message, so that building code stays readable. Reads go through
 * this file too, so that tests can make the n-th allocation or the n-th read fail.
 */
#ifndef INGOT_IR_BASE_H
#define INGOT_IR_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Status { OK = 0, FAIL = 1 } Status;

/* Forwards a failure. The message has been given by whoever failed first. */
#define TRY(expr)                                                                                  \
  do {                                                                                             \
    if ((expr) != OK) return FAIL;                                                                 \
  } while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#if defined(__GNUC__)
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define PRINTF_LIKE(fmt, first)
#endif

/* A broken invariant of the compiler itself: prints file, line and message, then aborts. */
_Noreturn void bug_at(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_IF(cond, ...)                                                                          \
  do {                                                                                             \
    if (cond) bug_at(__FILE__, __LINE__, __VA_ARGS__);                                             \
  } while (0)

/* ---- memory -------------------------------------------------------------------------------- */

/* Zeroed memory; never NULL (out of memory ends the process through the handler below). */
void *mem_alloc(size_t bytes);
/* Grows `p` (may be NULL) to `bytes`; the new part is not zeroed. Never NULL. */
void *mem_resize(void *p, size_t bytes);
void mem_free(void *p);
/* Called once when memory runs out, before the process ends with status 1: unlinks temporary
 * output files. NULL clears it. */
void mem_on_exhausted(void (*cleanup)(void));
/* Tests: the n-th allocation from now (1 = the next) fails as if memory had run out; 0 = never. */
void mem_fail_after(uint64_t n);

/* An arena: memory that lives and dies together. Single thread; no individual free. */
typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *a);                   /* NULL is fine */
void arena_adopt(Arena *a, Arena *from);     /* takes all of from's memory over and frees from */
void *arena_alloc(Arena *a, size_t bytes);   /* zeroed, aligned to 16 */
char *arena_strdup(Arena *a, const char *s); /* NULL gives NULL */
char *arena_strndup(Arena *a, const char *s, size_t n);
char *arena_printf(Arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, n) ((type *)arena_alloc_array((arena), (n), sizeof(type)))
void *arena_alloc_array(Arena *a, size_t n, size_t size); /* n * size checked */

/* Makes room for one more element of a growable array kept as (ptr, count, capacity).
 * The array is heap memory (mem_free). */
#define VEC_PUSH(ptr, count, cap)                                                                  \
  ((count) == (cap) ? ((cap) = (cap) ? 2 * (cap) : 8,                                              \
                       (ptr) = mem_resize((ptr), (size_t)(cap) * sizeof *(ptr)), (void)0)          \
                    : (void)0,                                                                     \
   &(ptr)[(count)++])

/* A growing text or byte buffer. Zero-initialise; data is always NUL-terminated once non-empty. */
typedef struct Buf {
  char *data;
  size_t size, cap;
} Buf;
void buf_put(Buf *b, const void *bytes, size_t n);
void buf_puts(Buf *b, const char *s);
void buf_printf(Buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_align(Buf *b, size_t alignment); /* pads with zero bytes */
void buf_free(Buf *b);

/* ---- checked sizes: every count and product that a file names goes through these ------------ */

/* *out = a * b (or a + b); false on overflow of 63 bits. */
bool size_mul(uint64_t a, uint64_t b, uint64_t *out);
bool size_add(uint64_t a, uint64_t b, uint64_t *out);
static inline uint64_t align_up(uint64_t n, uint64_t alignment) {
  return (n + alignment - 1) / alignment * alignment;
}

/* ---- diagnostics ------------------------------------------------------------------------------
 */

/* Collects what went wrong (up to 20 messages; further ones are counted). */
typedef struct Diag Diag;
Diag *diag_new(void);
void diag_free(Diag *d);
/* Adds an error. `where` says which file, tensor, node or option; the text says what was wrong,
 * what was expected and what to do. Always returns FAIL, so `return diag_error(...)` reads well. */
Status diag_error(Diag *d, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);
void diag_warn(Diag *d, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Adds what `from` has collected: a thread that works for others keeps messages of its own. */
void diag_add(Diag *d, const Diag *from);
unsigned diag_errors(const Diag *d);
/* All messages, one a line, as `ingot: error: WHERE: WHAT`. Owned by the Diag. */
const char *diag_text(Diag *d);

/* The name of `names[0..n)` nearest to `word` by edit distance, or NULL when none is near. */
const char *nearest_name(const char *word, const char *const *names, size_t n);

/* ---- input files ------------------------------------------------------------------------------
 */

/* A file mapped read-only. `data` is NULL for an empty file. */
typedef struct MappedFile {
  const char *path;
  const uint8_t *data;
  uint64_t size;
} MappedFile;
/* Maps a regular file; anything else (missing, a folder, unreadable) is an error naming it. */
Status file_map(Arena *a, Diag *d, const char *path, MappedFile *out);
void file_unmap(MappedFile *f);
/* Bytes of a mapped file that aren't needed for a while: their pages leave the process's memory,
 * and come back when read again. */
void file_release(const void *data, uint64_t size);
/* Reads a whole small file (<= max bytes) into arena memory, NUL-terminated. */
Status file_read(Arena *a, Diag *d, const char *path, uint64_t max, char **out, size_t *out_size);
bool file_exists(const char *path);
/* The last part of a path, without a slash at its end; of "." and ".." the folder's own name. */
char *path_name(Arena *a, const char *path);
/* Writes `size` bytes to `path` (NULL or "-": stdout) by a temporary beside it that is renamed when
 * whole; on failure nothing is left behind. `mode`: permissions, as 0644. */
Status file_write(Diag *d, const char *path, const void *data, size_t size, unsigned mode);
/* Tests: the n-th map or read from now fails with EIO; 0 = never. */
void file_fail_after(uint64_t n);

/* Round to nearest even, exact; the only float conversions in the compiler. */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);

#endif
