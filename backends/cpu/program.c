/* The weights of a program: packed straight to their final place in the linked file.
 *
 *   | ELF header, program headers, code, tables ... as ld.lld made them | to 64 KiB | weights |
 *
 * The linker never sees them. The model's object holds a note in a section `.ingot.weights`, for
 * which a linker makes a PT_NOTE header, the last of the file's headers in address order. Here that
 * header becomes PT_LOAD, read only, at WEIGHTS_ADDRESS, and the section header is moved over the
 * weights, so that `strip` and `objcopy` carry them along. 64 KiB is the largest page of the
 * machines we compile for; the address has nothing below 4 GiB to get in its way and no size limit.
 * Its remainder by 2 MiB is that of the file offset, so that the system can map huge pages of a
 * cached file as they are (pack_file.c); the program's pointer is set to it.
 */
#include "backends/cpu/program.h"

#include "backends/cpu/elf_object.h"
#include "backends/cpu/model_data.h"
#include "backends/cpu/output.h"
#include "backends/cpu/pack_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WEIGHTS_ALIGN = 65536 };

/* Where the weights are in the file and, equal to that modulo a huge page, in memory. */
typedef struct Segment {
  uint64_t at, bytes, address;
} Segment;

static bool get(int fd, void *data, size_t size, uint64_t offset) {
  ssize_t n = pread(fd, data, size, (off_t)offset);
  if (n >= 0 && (size_t)n != size) errno = EIO;
  return n >= 0 && (size_t)n == size;
}

/* Rewrites the section header of the reserved note; its old place is left in *note. */
static bool move_section(int fd, const Elf64_Ehdr *e, const Segment *w, Elf64_Shdr *note) {
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
                        .sh_addr = w->address,
                        .sh_offset = w->at,
                        .sh_size = w->bytes,
                        .sh_addralign = WEIGHTS_ALIGN};
    return output_put(fd, &moved, sizeof moved, place);
  }
  BUG("the linked program has no section " WEIGHTS_SECTION);
}

/* Turns the PT_NOTE that covers the note into the weights' PT_LOAD. */
static bool move_segment(int fd, const Elf64_Ehdr *e, const Segment *w, const Elf64_Shdr *note) {
  for (uint32_t i = 0; i < e->e_phnum; i++) {
    Elf64_Phdr p;
    uint64_t place = e->e_phoff + i * sizeof p;
    if (!get(fd, &p, sizeof p, place)) return false;
    if (p.p_type != PT_NOTE || note->sh_addr - p.p_vaddr >= p.p_memsz) continue;
    p = (Elf64_Phdr){.p_type = PT_LOAD,
                     .p_flags = PF_R,
                     .p_offset = w->at,
                     .p_vaddr = w->address,
                     .p_paddr = w->address,
                     .p_filesz = w->bytes,
                     .p_memsz = w->bytes,
                     .p_align = HUGE_PAGE};
    return output_put(fd, &p, sizeof p, place);
  }
  BUG("the linked program has no program header for its weights");
}

/* Sets the program's pointer to its weights, whose address the note holds. */
static bool set_pointer(int fd, const Elf64_Ehdr *e, const Segment *w, const Elf64_Shdr *note) {
  WeightsNote said;
  if (!get(fd, &said, sizeof said, note->sh_offset)) return false;
  uint64_t pointer = (uint64_t)said.pointer[1] << 32 | said.pointer[0];
  for (uint32_t i = 0; i < e->e_phnum; i++) {
    Elf64_Phdr p;
    if (!get(fd, &p, sizeof p, e->e_phoff + i * sizeof p)) return false;
    if (p.p_type == PT_LOAD && pointer - p.p_vaddr < p.p_filesz)
      return output_put(fd, &w->address, sizeof w->address, p.p_offset + (pointer - p.p_vaddr));
  }
  BUG("the linked program has no pointer to its weights");
}

static bool connect(int fd, const Segment *w) {
  Elf64_Ehdr e;
  Elf64_Shdr note;
  return get(fd, &e, sizeof e, 0) && move_section(fd, &e, w, &note) &&
         set_pointer(fd, &e, w, &note) && move_segment(fd, &e, w, &note);
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
    Segment w = {.at = align_up(out->code_bytes, WEIGHTS_ALIGN), .bytes = bytes};
    w.address = WEIGHTS_ADDRESS + w.at % HUGE_PAGE;
    out->weight_bytes = bytes;
    out->file_bytes = w.at + bytes;
    s = pack_file(fd, w.at, r, d);
    /* The last weight may end below the planned size: the file must not. */
    if (s == OK && (ftruncate(fd, (off_t)out->file_bytes) || !connect(fd, &w)))
      s = diag_error(d, r->out, "cannot be written: %s", strerror(errno));
  }
  if (close(fd) && s == OK) s = diag_error(d, r->out, "cannot be written: %s", strerror(errno));
  return s;
}
