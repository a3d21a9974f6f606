/* Writes a relocatable ELF object of data: constants, strings, tables with pointers between them.
 *
 * Enough for the model's tables and nothing more: two sections of data (one without and one with
 * pointers), a note that reserves the program header of the weights, and symbols. Byte order and
 * pointer size are those of every machine we compile for (little endian, 64 bits); its number and
 * its relocation are of arch.h.
 */
#ifndef INGOT_BACKENDS_CPU_ELF_OBJECT_H
#define INGOT_BACKENDS_CPU_ELF_OBJECT_H

#include "ir/base.h"

#include <elf.h>

#define WEIGHTS_SECTION ".ingot.weights" /* of programs */
#define WEIGHTS_SYMBOL "ingot_weights"   /* of libraries */

typedef struct ElfSymbol {
  uint64_t name;    /* in `names` */
  uint16_t section; /* section number; 0: defined elsewhere */
  uint64_t offset, size;
  bool external;
} ElfSymbol;

typedef struct ElfReloc {
  uint64_t offset, addend; /* in the tables */
  uint32_t symbol;
} ElfReloc;

typedef struct ElfObject {
  Buf plain;  /* .rodata */
  Buf tables; /* .data.rel.ro: the linker fills in pointers */
  Buf names;  /* of symbols */
  ElfSymbol *symbols;
  uint32_t nsymbols, csymbols;
  ElfReloc *relocs;
  uint32_t nrelocs, crelocs;
  uint64_t *strings;
  uint32_t nstrings, cstrings; /* hash table of offset + 1 in `plain` */
  bool reserve_weights;
  uint64_t weights_pointer; /* in the tables: where the program keeps the address of its weights */
  const struct CpuArch *arch; /* whose object it is; set before elf_object_write */
} ElfObject;

/* What the reserving note holds, once linked. */
typedef struct WeightsNote {
  Elf64_Nhdr head;
  char name[8];
  uint32_t
      pointer[2]; /* low and high half of the address of that pointer (notes are aligned to 4) */
} WeightsNote;

void elf_object_free(ElfObject *o);
/* Bytes into .rodata or into the tables; returns their offset. */
uint64_t elf_plain(ElfObject *o, const void *data, size_t size, size_t alignment);
uint64_t elf_table(ElfObject *o, const void *data, size_t size, size_t alignment);
/* A string in .rodata, once however often it is asked for. */
uint64_t elf_string(ElfObject *o, const char *s);
/* Makes the pointer at `at` in the tables point into .rodata, the tables, or at a symbol. */
void elf_point_plain(ElfObject *o, uint64_t at, uint64_t target);
void elf_point_table(ElfObject *o, uint64_t at, uint64_t target);
void elf_point_symbol(ElfObject *o, uint64_t at, uint32_t symbol);
/* A symbol defined at an offset of the tables, or (undefined) something of another object. */
uint32_t elf_define(ElfObject *o, const char *name, uint64_t offset, uint64_t size);
uint32_t elf_extern(ElfObject *o, const char *name);
/* The finished object. `writable`: tables are in a section that may be relocated at start (for
 * libraries linked into position-independent programs); else they are constants. */
void elf_object_write(const ElfObject *o, bool writable, Buf *out);

/* An object that is nothing but `bytes` of weights under the name WEIGHTS_SYMBOL, in the section
 * that linkers put beyond the reach of 32-bit displacements. `head` goes before the bytes, `tail`
 * after. */
void elf_weights_object(const struct CpuArch *arch, uint64_t bytes, Buf *head, Buf *tail);

#endif
