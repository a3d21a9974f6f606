/* Element types of abi.h: sizes and the names that safetensors uses. */
#ifndef INGOT_RUNTIME_DTYPE_H
#define INGOT_RUNTIME_DTYPE_H

#include "runtime/abi.h"
#include <stdbool.h>
#include <string.h>

typedef struct DtypeInfo {
  const char *name;
  unsigned size;
} DtypeInfo;

/* In the order of abi.h's enum. */
static const DtypeInfo dtype_info[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},
                                       {"I64", 8}, {"I32", 4}, {"I16", 2},  {"I8", 1},
                                       {"U8", 1},  {"BOOL", 1}};
enum { DTYPE_COUNT = sizeof dtype_info / sizeof dtype_info[0] };

/* Bytes of an element; 0 when unknown. */
static inline unsigned dtype_size(uint32_t dtype) {
  return dtype < DTYPE_COUNT ? dtype_info[dtype].size : 0;
}

static inline bool dtype_find(const char *name, uint32_t *dtype) {
  for (uint32_t i = 0; i < DTYPE_COUNT; i++) {
    if (strcmp(dtype_info[i].name, name) == 0) {
      *dtype = i;
      return true;
    }
  }
  return false;
}

#endif
