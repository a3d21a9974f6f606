/* JSON in the produced program: a small DOM, strict parser and writer.
 *
 * Values live in a JsonPool and die with it. Objects keep the order of their keys (the last of
 * duplicate keys wins, in the first one's place, as in Python). Integers beyond int64 become
 * floats. Errors are integers with a position; nothing aborts.
 */
#ifndef INGOT_RUNTIME_JSON_H
#define INGOT_RUNTIME_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum JsonKind {
  JS_NULL,
  JS_BOOL,
  JS_INT,
  JS_FLOAT,
  JS_STRING,
  JS_ARRAY,
  JS_OBJECT
} JsonKind;

typedef struct Json Json;
struct Json {
  JsonKind kind;
  union {
    bool boolean;
    int64_t integer;
    double number;
    struct {
      const char *data;
      size_t size;
    } string; /* UTF-8, may hold NUL */
    struct {
      Json **item;
      size_t n;
    } array;
    struct {
      struct {
        Json *key, *value;
      } *item;
      size_t n;
    } object; /* keys are strings */
  } u;
};

typedef struct JsonPool JsonPool;
JsonPool *json_pool_new(void); /* NULL when memory is out */
void json_pool_free(JsonPool *p);
void *json_pool_alloc(JsonPool *p, size_t n); /* zeroed; NULL when memory is out */

/* Parses one value that fills text[0..n) but for white space. NULL on error: *error says what
 * ("expected ',' or ']'") and *at where (byte offset). Nesting is limited to 512. */
Json *json_parse(JsonPool *p, const char *text, size_t n, const char **error, size_t *at);
Json *json_get(const Json *object, const char *key); /* NULL when absent or not an object */

/* A growing output buffer of the runtime. `failed` is set when memory ran out; later puts do
 * nothing. */
typedef struct Out {
  char *data;
  size_t size, cap;
  bool failed;
} Out;
void out_put(Out *o, const char *data, size_t n);
void out_puts(Out *o, const char *s);
void out_printf(Out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void out_free(Out *o);
/* Writes a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void out_json_string(Out *o, const char *data, size_t n);
void out_json(Out *o, const Json *v); /* compact */
/* Writes a number as Python's repr does: the shortest digits that read back to the same double. */
void out_double(Out *o, double x);

#endif
