/* Safetensors files: a reader that trusts nothing and a writer that leaves nothing half-written.
 *
 * Layout: u64 length of the header, header (JSON object: name to dtype, shape, data_offsets), data.
 */
#ifndef INGOT_RUNTIME_SAFETENSORS_H
#define INGOT_RUNTIME_SAFETENSORS_H

#include "runtime/core/err.h"
#include <stddef.h>
#include <stdint.h>

enum { ST_MAX_RANK = 8 };

typedef struct StTensor {
  const char *name;
  uint32_t dtype; /* INGOT_F32 .. */
  uint32_t rank;
  int64_t dim[ST_MAX_RANK];
  int64_t elements;
  const uint8_t *data; /* unaligned; NULL in a writer */
  uint64_t bytes;
} StTensor;

typedef struct StFile StFile;
int st_open(const char *path, StFile **out, Err *e);
void st_close(StFile *f); /* NULL is fine */
size_t st_count(const StFile *f);
const StTensor *st_at(const StFile *f, size_t i);
const StTensor *st_find(const StFile *f, const char *name); /* NULL: none */

typedef struct StWriter StWriter;
/* Begins PATH with tensors of the given names, types and shapes; their data follow by st_write in
 * that order. The file appears under its name only by st_commit (unless PATH is a device). */
int st_create(const char *path, const StTensor *t, size_t n, StWriter **out, Err *e);
int st_write(StWriter *w, const void *data, uint64_t bytes, Err *e);
int st_commit(StWriter *w, Err *e); /* closes and frees, also on error */
void st_abandon(StWriter *w);       /* removes what was written; NULL is fine */

#endif
