/* Static libraries in the common `ar` format (System V and GNU variant): see archive.h.
 *
 * A file is "!<arch>\n", then members: a header of 60 printable bytes, the contents, padding to
 * even. The first member, named "/", is the index: the number of symbols and the offset of each
 * one's member as big-endian words, then the names. All fields that could differ between two runs
 * (times, owners) are 0.
 */
#include "backends/cpu/archive.h"

#include "backends/cpu/output.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC_SIZE = 8, HEADER_SIZE = 60 };
#define MEMBER_MAX UINT64_C(9999999999) /* ten decimal digits */

void archive_symbols(const void *object, size_t size, Buf *out) {
  const uint8_t *o = object;
  Elf64_Ehdr e;
  BUG_IF(size < sizeof e, "not an object");
  memcpy(&e, o, sizeof e);
  for (uint32_t i = 0; i < e.e_shnum; i++) {
    Elf64_Shdr s, names;
    memcpy(&s, o + e.e_shoff + i * sizeof s, sizeof s);
    if (s.sh_type != SHT_SYMTAB) continue;
    memcpy(&names, o + e.e_shoff + s.sh_link * sizeof names, sizeof names);
    for (uint64_t at = s.sh_info * sizeof(Elf64_Sym); at < s.sh_size; at += sizeof(Elf64_Sym)) {
      Elf64_Sym sym;
      memcpy(&sym, o + s.sh_offset + at, sizeof sym);
      const char *name = (const char *)o + names.sh_offset + sym.st_name;
      bool hidden = ELF64_ST_VISIBILITY(sym.st_other) == STV_HIDDEN; /* for this object itself */
      if (sym.st_shndx != SHN_UNDEF && !hidden && *name) buf_put(out, name, strlen(name) + 1);
    }
  }
}

static uint32_t count_names(const Buf *names) {
  uint32_t n = 0;
  for (size_t i = 0; i < names->size; i++) n += !names->data[i];
  return n;
}

static void put_word(Buf *b, uint32_t x) {
  uint8_t bytes[4] = {(uint8_t)(x >> 24), (uint8_t)(x >> 16), (uint8_t)(x >> 8), (uint8_t)x};
  buf_put(b, bytes, sizeof bytes);
}

static void put_header(Buf *b, const char *name, uint64_t size) {
  char header[HEADER_SIZE + 1];
  snprintf(header, sizeof header, "%-16s%-12d%-6d%-6d%-8s%-10llu`\n", name, 0, 0, 0, "100644",
           (unsigned long long)size);
  buf_put(b, header, HEADER_SIZE);
}

static uint64_t member_size(const ArchiveMember *m) {
  return m->head.size + m->hole + m->tail.size;
}

/* The index. */
static void put_index(Buf *b, const ArchiveMember *m, const Buf *symbols, uint32_t n,
                      uint32_t total, uint64_t index_size) {
  uint64_t at = MAGIC_SIZE + HEADER_SIZE + align_up(index_size, 2);
  put_header(b, "/", index_size);
  put_word(b, total);
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t k = count_names(&symbols[i]); k; k--) put_word(b, (uint32_t)at);
    at += HEADER_SIZE + align_up(member_size(&m[i]), 2);
  }
  for (uint32_t i = 0; i < n; i++) buf_put(b, symbols[i].data, symbols[i].size);
  buf_align(b, 2);
}

static bool put_members(int fd, Buf *start, ArchiveMember *m, uint32_t n) {
  uint64_t at = start->size;
  bool good = output_put(fd, start->data, start->size, 0);
  for (uint32_t i = 0; i < n && good; i++) {
    Buf header = {0};
    char name[17];
    snprintf(name, sizeof name, "%.15s/", m[i].name);
    put_header(&header, name, member_size(&m[i]));
    good = output_put(fd, header.data, header.size, at);
    at += HEADER_SIZE;
    good = good && output_put(fd, m[i].head.data, m[i].head.size, at);
    m[i].hole_at = at + m[i].head.size;
    good = good && output_put(fd, m[i].tail.data, m[i].tail.size, m[i].hole_at + m[i].hole);
    at += member_size(&m[i]);
    if (at % 2) good = good && output_put(fd, "\n", 1, at++);
    buf_free(&header);
  }
  return good;
}

Status archive_write(const char *path, ArchiveMember *members, const Buf *symbols, uint32_t n,
                     Diag *d, const char *where) {
  uint64_t names = 0;
  uint32_t total = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (member_size(&members[i]) > MEMBER_MAX)
      return diag_error(d, where, "is too large for a static library (its limit is 10 GB)");
    names += symbols[i].size;
    total += count_names(&symbols[i]);
  }
  Buf start = {0};
  buf_puts(&start, "!<arch>\n");
  put_index(&start, members, symbols, n, total, 4 + 4 * (uint64_t)total + names);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool good = fd >= 0 && put_members(fd, &start, members, n);
  int error = errno;
  if (fd >= 0 && close(fd) && good) {
    good = false;
    error = errno;
  }
  buf_free(&start);
  return good ? OK : diag_error(d, where, "cannot be written: %s", strerror(error));
}
