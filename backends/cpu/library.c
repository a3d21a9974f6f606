/* Static libraries: see library.h.
 *
 *   libX.a = index, model.o (kernels and tables), runtime.o, weights.o
 *
 * The weights are the last member, an object whose one section linkers put beyond the reach of
 * 32-bit displacements (.lrodata), so that they may be larger than 2 GiB; like those of a program
 * they are packed straight to their place in the file.
 */
#include "backends/cpu/library.h"

#include "backends/cpu/arch.h"
#include "backends/cpu/elf_object.h"
#include "backends/cpu/pack_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODEL, RUNTIME, WEIGHTS, MEMBERS };

static Status fill_weights(const EmitRequest *r, const char *path, uint64_t at, Diag *d,
                           EmitResult *out) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct stat st;
  if (fd < 0) return diag_error(d, r->out, "cannot be written: %s", strerror(errno));
  Status s = out->weight_bytes ? pack_file(fd, at, r, d) : OK;
  if (s == OK && fstat(fd, &st) == 0) out->file_bytes = (uint64_t)st.st_size;
  out->code_bytes = out->file_bytes - out->weight_bytes;
  if (close(fd) && s == OK) s = diag_error(d, r->out, "cannot be written: %s", strerror(errno));
  return s;
}

Status library_write(const EmitRequest *r, const Output *file, const Buf *model, const Buf *runtime,
                     Diag *d, EmitResult *out) {
  out->weight_bytes = r->nlevels ? r->programs[0]->weight_bytes : 0;
  ArchiveMember m[MEMBERS] = {{.name = "model.o", .head = *model},
                              {.name = "runtime.o", .head = *runtime},
                              {.name = "weights.o", .hole = out->weight_bytes}};
  Buf symbols[MEMBERS] = {0};
  uint32_t n = out->weight_bytes ? MEMBERS : WEIGHTS;
  archive_symbols(model->data, model->size, &symbols[MODEL]);
  archive_symbols(runtime->data, runtime->size, &symbols[RUNTIME]);
  buf_put(&symbols[WEIGHTS], WEIGHTS_SYMBOL, sizeof WEIGHTS_SYMBOL);
  if (out->weight_bytes)
    elf_weights_object(cpu_arch_of(r), out->weight_bytes, &m[WEIGHTS].head, &m[WEIGHTS].tail);
  Status s = archive_write(file->path, m, symbols, n, d, r->out);
  if (s == OK) s = fill_weights(r, file->path, m[WEIGHTS].hole_at, d, out);
  for (uint32_t i = 0; i < MEMBERS; i++) buf_free(&symbols[i]);
  buf_free(&m[WEIGHTS].head);
  buf_free(&m[WEIGHTS].tail);
  return s;
}
