/* Linking: relocatable objects to one static program or to one larger object, by ld.lld. */
#ifndef INGOT_BACKENDS_CPU_LINK_H
#define INGOT_BACKENDS_CPU_LINK_H

#include "ir/base.h"

typedef struct LinkInput {
  const char *name; /* for messages */
  const void *data;
  size_t size;
} LinkInput;

typedef enum LinkKind { LINK_PROGRAM, LINK_OBJECT } LinkKind;

/* Runs ld.lld as a child process; `out` is written by it. */
Status link_objects(LinkKind kind, const LinkInput *in, uint32_t n, const char *out, Diag *d);

#endif
