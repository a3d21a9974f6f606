/* A parsed GGUF header: metadata as views into the mapped file. Internal to the GGUF readers. */
#ifndef INGOT_FRONTEND_GGUF_H
#define INGOT_FRONTEND_GGUF_H

#include "frontend/readers.h"

typedef enum GgufType {
  GGUF_U8,
  GGUF_I8,
  GGUF_U16,
  GGUF_I16,
  GGUF_U32,
  GGUF_I32,
  GGUF_F32,
  GGUF_BOOL,
  GGUF_STRING,
  GGUF_ARRAY,
  GGUF_U64,
  GGUF_I64,
  GGUF_F64,
  GGUF_TYPES
} GgufType;

typedef struct GgufValue {
  const char *key; /* checked: UTF-8, no NUL */
  GgufType type;
  GgufType element;    /* of an array */
  uint64_t count;      /* elements of an array; bytes of a string; else 1 */
  const uint8_t *data; /* first element, first byte of a string, or the scalar itself */
} GgufValue;

typedef struct Gguf {
  Reader *r;
  const MappedFile *f;
  uint32_t version;
  GgufValue *values;
  uint32_t nvalues; /* sorted by key; heap memory */
} Gguf;

const GgufValue *gguf_find(const Gguf *g, const char *key); /* NULL when absent */
/* A whole number of any integer type; `absent` when there is none. A wrong type is an error. */
Status gguf_i64(const Gguf *g, const char *key, int64_t absent, int64_t *out);
Status gguf_bool(const Gguf *g, const char *key, bool absent, bool *out);
/* A string in the model's arena, valid UTF-8 without NUL; NULL when absent. */
Status gguf_string(const Gguf *g, const char *key, const char **out);
/* An array of the element type; *out is NULL when absent. */
Status gguf_array(const Gguf *g, const char *key, GgufType element, const GgufValue **out);
/* Scalars at p, unaligned, of an array's element type. */
int64_t gguf_read_int(GgufType t, const uint8_t *p);
double gguf_read_float(GgufType t, const uint8_t *p);
size_t gguf_type_size(GgufType t); /* 0 for strings and arrays */
/* Steps to the next string of an array: *p points at its 8 bytes of length. The array was checked
 * when it was parsed. */
TextBytes gguf_next_string(const Gguf *g, const uint8_t **p);

/* Tokenizer, chat template and tokens that end a generation. */
Status gguf_text_read(const Gguf *g);

#endif
