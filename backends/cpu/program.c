/* The weights of a program: packed straight to their final place in the linked file.
 *
 *   | ELF header, program headers, code, tables ... as ld.lld made them | to 64 KiB | weights |
 *
 * The linker never sees them. The model's object holds a note in a section `.ingot.weights`, for
 * which a linker makes a PT_NOTE header, the last of the file's headers in address order. Here that
 * header becomes PT_LOAD, read only, at WEIGHTS_ADDRESS, and the section header is moved over the
 * weights, so that `strip` and `objcopy` carry them along. 64 KiB is the largest page of the
 * machines we compile for; the address has nothing below 4 GiB to get in its way and no size limit.
 */
#include "backends/cpu/program.h"

#include "backends/cpu/elf_object.h"
#include "backends/cpu/model_data.h"
#include "backends/cpu/output.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WEIGHTS_ALIGN = 65536 };

static bool get(int fd, void *data, size_t size, uint64_t offset) {
  ssize_t n = pread(fd, data, size, (off_t)offset);
  if (n >= 0 && (size_t)n != size) errno = EIO;
  return n >= 0 && (size_t)n == size;
}

/* Rewrites the section header of the reserved note; its old place is left in *note. */
static bool move_section(int fd, const Elf64_Ehdr *e, uint64_t at, uint64_t bytes,
                         Elf64_Shdr *note) {
  Elf64_Shdr names;
  if (!get(fd, &names, sizeof names, e->e_shoff + e->e_shstrndx * sizeof names)) return false;
  for (uint32_t i = 1; i < e->e_shnum; i++) {
    char name[sizeof WEIGHTS_SECTION];
    uint64_t place = e->e_shoff + i * sizeof *note;
    if (!get(fd, note, sizeof *note, place)) return false;
    if (note->sh_type != SHT_NOTE || !get(fd, name, sizeof name, names.sh_offset + note->sh_name) ||
        memcmp(name, WEIGHTS_SECTION, sizeof name))
      continue;
    Elf64_Shdr moved = {.sh_name = note->sh_name,
                        .sh_type = SHT_PROGBITS,
                        .sh_flags = SHF_ALLOC,
                        .sh_addr = WEIGHTS_ADDRESS,
                        .sh_offset = at,
                        .sh_size = bytes,
                        .sh_addralign = WEIGHTS_ALIGN};
    return output_put(fd, &moved, sizeof moved, place);
  }
  BUG("the linked program has no section " WEIGHTS_SECTION);
}

/* Turns the PT_NOTE that covers the note into the weights' PT_LOAD. */
static bool move_segment(int fd, const Elf64_Ehdr *e, uint64_t at, uint64_t bytes,
                         const Elf64_Shdr *note) {
  for (uint32_t i = 0; i < e->e_phnum; i++) {
    Elf64_Phdr p;
    uint64_t place = e->e_phoff + i * sizeof p;
    if (!get(fd, &p, sizeof p, place)) return false;
    if (p.p_type != PT_NOTE || note->sh_addr - p.p_vaddr >= p.p_memsz) continue;
    p = (Elf64_Phdr){.p_type = PT_LOAD,
                     .p_flags = PF_R,
                     .p_offset = at,
                     .p_vaddr = WEIGHTS_ADDRESS,
                     .p_paddr = WEIGHTS_ADDRESS,
                     .p_filesz = bytes,
                     .p_memsz = bytes,
                     .p_align = WEIGHTS_ALIGN};
    return output_put(fd, &p, sizeof p, place);
  }
  BUG("the linked program has no program header for its weights");
}

static bool move_headers(int fd, uint64_t at, uint64_t bytes) {
  Elf64_Ehdr e;
  Elf64_Shdr note;
  return get(fd, &e, sizeof e, 0) && move_section(fd, &e, at, bytes, &note) &&
         move_segment(fd, &e, at, bytes, &note);
}

typedef struct PackTo {
  int fd;
  uint64_t offset; /* in the file, of the next piece */
  uint64_t begin;  /* of the weights */
  const EmitRequest *request;
  Diag *diag;
} PackTo;

static Status put_piece(void *user, const void *bytes, uint64_t size) {
  PackTo *p = user;
  const EmitRequest *r = p->request;
  if (!output_put(p->fd, bytes, size, p->offset))
    return diag_error(p->diag, r->out, "cannot be written: %s", strerror(errno));
  p->offset += size;
  if (r->progress)
    r->progress(r->user, "pack weights", p->offset - p->begin, r->programs[0]->weight_bytes);
  return OK;
}

Status program_pack(int fd, uint64_t offset, const EmitRequest *r, Diag *d) {
  const KProgram *p = r->programs[0];
  PackTo to = {.fd = fd, .begin = offset, .request = r, .diag = d};
  for (uint32_t i = 0; i < p->nweights; i++) {
    to.offset = offset + p->weights[i].offset;
    TRY(pack_weight_to(r->module, &p->weights[i], put_piece, &to, d));
  }
  if (r->progress) r->progress(r->user, "pack weights", p->weight_bytes, p->weight_bytes);
  return OK;
}

Status program_add_weights(const char *path, const EmitRequest *r, Diag *d, EmitResult *out) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st)) {
    if (fd >= 0) close(fd);
    return diag_error(d, r->out, "cannot be written: %s", strerror(errno));
  }
  out->code_bytes = out->file_bytes = (uint64_t)st.st_size;
  Status s = OK;
  uint64_t bytes = r->nlevels ? r->programs[0]->weight_bytes : 0;
  if (bytes) {
    uint64_t at = align_up(out->code_bytes, WEIGHTS_ALIGN);
    out->weight_bytes = bytes;
    out->file_bytes = at + bytes;
    s = program_pack(fd, at, r, d);
    /* The last weight may end below the planned size: the file must not. */
    if (s == OK && (ftruncate(fd, (off_t)out->file_bytes) || !move_headers(fd, at, bytes)))
      s = diag_error(d, r->out, "cannot be written: %s", strerror(errno));
  }
  if (close(fd) && s == OK) s = diag_error(d, r->out, "cannot be written: %s", strerror(errno));
  return s;
}
