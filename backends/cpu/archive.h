/* Static libraries: `ar` files with the symbol index that linkers ask for. */
#ifndef INGOT_BACKENDS_CPU_ARCHIVE_H
#define INGOT_BACKENDS_CPU_ARCHIVE_H

#include "ir/base.h"

typedef struct ArchiveMember {
  const char *name; /* at most 15 characters */
  Buf head;         /* an object's bytes; its symbols are listed in the index */
  uint64_t hole;    /* then so many bytes that the caller writes into the file himself */
  Buf tail;         /* then these */
  uint64_t hole_at; /* set: where in the file the hole is */
} ArchiveMember;

/* Writes the archive but for the holes. Symbols: those that `symbols[i]` lists for member i, one
 * after the other, each ended by a NUL. */
Status archive_write(const char *path, ArchiveMember *members, const Buf *symbols, uint32_t n,
                     Diag *d, const char *where);
/* Appends the names of the global symbols that an ELF object defines for others, each ended by a
 * NUL. */
void archive_symbols(const void *object, size_t size, Buf *out);

#endif
