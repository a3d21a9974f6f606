/* Packs a program's weights into a file: see pack_file.c. */
#ifndef INGOT_BACKENDS_CPU_PACK_FILE_H
#define INGOT_BACKENDS_CPU_PACK_FILE_H

#include "backends/backend.h"

/* A page of the next size on machines with pages of 4 KiB: what the system maps in one piece where
 * file offset and address agree modulo it and the file is cached in such pieces. */
enum { HUGE_PAGE = 2 << 20 };

/* Packs the weights of the request's program into an open file from `offset` on. */
Status pack_file(int fd, uint64_t offset, const EmitRequest *r, Diag *d);

#endif
