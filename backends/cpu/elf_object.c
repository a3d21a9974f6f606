/* A relocatable ELF object of data: see elf_object.h. Layout after the System V ABI.
 *
 * The order in the file is header, .rodata, tables, note, relocations, symbols, strings, section
 * headers. The note is an ordinary ELF note named "ingot": every linker gives notes a PT_NOTE
 * header, which backends/cpu/program.c turns into the PT_LOAD of the weights once the program is
 * linked. What the note says is where the program keeps the pointer to them.
 */
#include "backends/cpu/elf_object.h"

#include "backends/cpu/arch.h"

#include <elf.h>
#include <string.h>

enum {
  SEC_NULL,
  SEC_PLAIN,
  SEC_TABLES,
  SEC_NOTE,
  SEC_STACK,
  SEC_RELA,
  SEC_NOTE_RELA,
  SEC_SYMTAB,
  SEC_STRTAB,
  SEC_SHSTRTAB,
  SECTIONS
};
enum { SYM_NULL, SYM_PLAIN, SYM_TABLES, LOCAL_SYMBOLS }; /* then the named ones */

void elf_object_free(ElfObject *o) {
  buf_free(&o->plain);
  buf_free(&o->tables);
  buf_free(&o->names);
  mem_free(o->symbols);
  mem_free(o->relocs);
  mem_free(o->strings);
  *o = (ElfObject){0};
}

static uint64_t put(Buf *b, const void *data, size_t size, size_t alignment) {
  buf_align(b, alignment);
  uint64_t at = b->size;
  buf_put(b, data, size);
  return at;
}

uint64_t elf_plain(ElfObject *o, const void *data, size_t size, size_t alignment) {
  return put(&o->plain, data, size, alignment);
}

uint64_t elf_table(ElfObject *o, const void *data, size_t size, size_t alignment) {
  return put(&o->tables, data, size, alignment);
}

static uint64_t hash(const char *s) {
  uint64_t h = 14695981039346656037u; /* FNV-1a */
  for (; *s; s++) h = (h ^ (uint8_t)*s) * 1099511628211u;
  return h;
}

/* The slot that holds `s`, or the empty one where it belongs. */
static uint64_t *string_slot(const ElfObject *o, const char *s) {
  uint64_t i = hash(s);
  for (;; i++) {
    uint64_t *slot = &o->strings[i & (o->cstrings - 1)];
    if (!*slot || !strcmp(o->plain.data + *slot - 1, s)) return slot;
  }
}

static void grow_strings(ElfObject *o) {
  uint64_t *old = o->strings;
  uint32_t n = o->cstrings;
  o->cstrings = n ? 2 * n : 256;
  o->strings = mem_alloc(o->cstrings * sizeof *o->strings);
  for (uint32_t i = 0; i < n; i++)
    if (old[i]) *string_slot(o, o->plain.data + old[i] - 1) = old[i];
  mem_free(old);
}

uint64_t elf_string(ElfObject *o, const char *s) {
  if (2 * o->nstrings >= o->cstrings) grow_strings(o);
  uint64_t *slot = string_slot(o, s);
  if (!*slot) {
    *slot = elf_plain(o, s, strlen(s) + 1, 1) + 1;
    o->nstrings++;
  }
  return *slot - 1;
}

static void point(ElfObject *o, uint64_t at, uint32_t symbol, uint64_t addend) {
  *VEC_PUSH(o->relocs, o->nrelocs, o->crelocs) = (ElfReloc){at, addend, symbol};
}

void elf_point_plain(ElfObject *o, uint64_t at, uint64_t target) {
  point(o, at, SYM_PLAIN, target);
}

void elf_point_table(ElfObject *o, uint64_t at, uint64_t target) {
  point(o, at, SYM_TABLES, target);
}

void elf_point_symbol(ElfObject *o, uint64_t at, uint32_t symbol) {
  point(o, at, LOCAL_SYMBOLS + symbol, 0);
}

static uint32_t add_symbol(ElfObject *o, const char *name, ElfSymbol s) {
  if (!o->names.size) buf_put(&o->names, "", 1);
  s.name = put(&o->names, name, strlen(name) + 1, 1);
  *VEC_PUSH(o->symbols, o->nsymbols, o->csymbols) = s;
  return o->nsymbols - 1;
}

uint32_t elf_define(ElfObject *o, const char *name, uint64_t offset, uint64_t size) {
  return add_symbol(o, name, (ElfSymbol){0, SEC_TABLES, offset, size, false});
}

uint32_t elf_extern(ElfObject *o, const char *name) {
  return add_symbol(o, name, (ElfSymbol){0, SHN_UNDEF, 0, 0, true});
}

/* ---- the file ----------------------------------------------------------------------------------
 */

static void put_symbols(const ElfObject *o, Buf *out) {
  Elf64_Sym fixed[LOCAL_SYMBOLS] = {
      [SYM_PLAIN] = {.st_info = ELF64_ST_INFO(STB_LOCAL, STT_SECTION), .st_shndx = SEC_PLAIN},
      [SYM_TABLES] = {.st_info = ELF64_ST_INFO(STB_LOCAL, STT_SECTION), .st_shndx = SEC_TABLES},
  };
  buf_put(out, fixed, sizeof fixed);
  for (uint32_t i = 0; i < o->nsymbols; i++) {
    const ElfSymbol *s = &o->symbols[i];
    unsigned char kind = s->external ? STT_NOTYPE : STT_OBJECT;
    Elf64_Sym sym = {.st_name = (Elf64_Word)s->name,
                     .st_info = ELF64_ST_INFO(STB_GLOBAL, kind),
                     .st_other = s->external ? STV_HIDDEN : STV_DEFAULT,
                     .st_shndx = s->section,
                     .st_value = s->offset,
                     .st_size = s->size};
    buf_put(out, &sym, sizeof sym);
  }
}

static void put_reloc(const ElfObject *o, const ElfReloc *r, Buf *out) {
  Elf64_Rela rela = {r->offset, ELF64_R_INFO(r->symbol, o->arch->elf_pointer),
                     (Elf64_Sxword)r->addend};
  buf_put(out, &rela, sizeof rela);
}

static void put_relocs(const ElfObject *o, Buf *out) {
  for (uint32_t i = 0; i < o->nrelocs; i++) put_reloc(o, &o->relocs[i], out);
}

static void put_note(const ElfObject *o, Buf *out) {
  static const WeightsNote note = {{6, sizeof note.pointer, 1}, "ingot", {0}};
  if (o->reserve_weights) buf_put(out, &note, sizeof note);
}

static void put_note_reloc(const ElfObject *o, Buf *out) {
  ElfReloc r = {offsetof(WeightsNote, pointer), o->weights_pointer, SYM_TABLES};
  if (o->reserve_weights) put_reloc(o, &r, out);
}

static Elf64_Ehdr file_header(const CpuArch *arch, unsigned sections, unsigned names) {
  return (Elf64_Ehdr){
      .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
      .e_type = ET_REL,
      .e_machine = arch->elf_machine,
      .e_version = EV_CURRENT,
      .e_ehsize = sizeof(Elf64_Ehdr),
      .e_shentsize = sizeof(Elf64_Shdr),
      .e_shnum = (Elf64_Half)sections,
      .e_shstrndx = (Elf64_Half)names};
}

/* Appends a section's bytes by `fill` or from `b`, and notes where they are. */
static void place(Buf *out, Elf64_Shdr *h, const Buf *b) {
  buf_align(out, 64);
  h->sh_offset = out->size;
  if (b && b->size) buf_put(out, b->data, b->size);
}

static void name_sections(Elf64_Shdr h[SECTIONS], bool writable, Buf *names) {
  const char *name[SECTIONS] = {"",
                                ".rodata",
                                writable ? ".data.rel.ro" : ".rodata.tables",
                                WEIGHTS_SECTION,
                                ".note.GNU-stack",
                                writable ? ".rela.data.rel.ro" : ".rela.rodata.tables",
                                ".rela" WEIGHTS_SECTION,
                                ".symtab",
                                ".strtab",
                                ".shstrtab"};
  for (int i = 0; i < SECTIONS; i++) {
    h[i].sh_name = (Elf64_Word)names->size;
    buf_put(names, name[i], strlen(name[i]) + 1);
  }
}

static void describe_sections(Elf64_Shdr h[SECTIONS], const ElfObject *o, bool writable) {
  Elf64_Shdr described[SECTIONS] = {
      [SEC_PLAIN] = {.sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC, .sh_addralign = 64},
      [SEC_TABLES] = {.sh_type = SHT_PROGBITS,
                      .sh_flags = SHF_ALLOC | (writable ? SHF_WRITE : 0),
                      .sh_addralign = 64},
      [SEC_NOTE] = {.sh_type = o->reserve_weights ? SHT_NOTE : SHT_PROGBITS,
                    .sh_flags = o->reserve_weights ? SHF_ALLOC : 0,
                    .sh_addralign = 4},
      [SEC_STACK] = {.sh_type = SHT_PROGBITS, .sh_addralign = 1},
      [SEC_RELA] = {.sh_type = SHT_RELA,
                    .sh_flags = SHF_INFO_LINK,
                    .sh_link = SEC_SYMTAB,
                    .sh_info = SEC_TABLES,
                    .sh_addralign = 8,
                    .sh_entsize = sizeof(Elf64_Rela)},
      [SEC_NOTE_RELA] = {.sh_type = SHT_RELA,
                         .sh_flags = SHF_INFO_LINK,
                         .sh_link = SEC_SYMTAB,
                         .sh_info = SEC_NOTE,
                         .sh_addralign = 8,
                         .sh_entsize = sizeof(Elf64_Rela)},
      [SEC_SYMTAB] = {.sh_type = SHT_SYMTAB,
                      .sh_link = SEC_STRTAB,
                      .sh_info = LOCAL_SYMBOLS,
                      .sh_addralign = 8,
                      .sh_entsize = sizeof(Elf64_Sym)},
      [SEC_STRTAB] = {.sh_type = SHT_STRTAB, .sh_addralign = 1},
      [SEC_SHSTRTAB] = {.sh_type = SHT_STRTAB, .sh_addralign = 1},
  };
  memcpy(h, described, sizeof described);
}

void elf_object_write(const ElfObject *o, bool writable, Buf *out) {
  Buf names = {0};
  Elf64_Shdr h[SECTIONS];
  describe_sections(h, o, writable);
  name_sections(h, writable, &names);
  Elf64_Ehdr head = file_header(o->arch, SECTIONS, SEC_SHSTRTAB);
  buf_put(out, &head, sizeof head);
  place(out, &h[SEC_PLAIN], &o->plain);
  h[SEC_PLAIN].sh_size = out->size - h[SEC_PLAIN].sh_offset;
  place(out, &h[SEC_TABLES], &o->tables);
  h[SEC_TABLES].sh_size = out->size - h[SEC_TABLES].sh_offset;
  place(out, &h[SEC_NOTE], NULL);
  put_note(o, out);
  h[SEC_NOTE].sh_size = out->size - h[SEC_NOTE].sh_offset;
  h[SEC_STACK].sh_offset = out->size;
  place(out, &h[SEC_RELA], NULL);
  put_relocs(o, out);
  h[SEC_RELA].sh_size = out->size - h[SEC_RELA].sh_offset;
  place(out, &h[SEC_NOTE_RELA], NULL);
  put_note_reloc(o, out);
  h[SEC_NOTE_RELA].sh_size = out->size - h[SEC_NOTE_RELA].sh_offset;
  place(out, &h[SEC_SYMTAB], NULL);
  put_symbols(o, out);
  h[SEC_SYMTAB].sh_size = out->size - h[SEC_SYMTAB].sh_offset;
  place(out, &h[SEC_STRTAB], &o->names);
  h[SEC_STRTAB].sh_size = out->size - h[SEC_STRTAB].sh_offset;
  place(out, &h[SEC_SHSTRTAB], &names);
  h[SEC_SHSTRTAB].sh_size = out->size - h[SEC_SHSTRTAB].sh_offset;
  buf_align(out, 64);
  head.e_shoff = out->size;
  buf_put(out, h, sizeof h);
  memcpy(out->data, &head, sizeof head);
  buf_free(&names);
}

/* ---- an object of weights ----------------------------------------------------------------------
 */

void elf_weights_object(const CpuArch *arch, uint64_t bytes, Buf *head, Buf *tail) {
  enum { W_NULL, W_DATA, W_STACK, W_SYMTAB, W_NAMES, W_SECTIONS };
  /* One string table for sections and symbol. */
  static const char names[] = "\0.lrodata\0.note.GNU-stack\0.symtab\0.strtab\0" WEIGHTS_SYMBOL;
  enum { N_DATA = 1, N_STACK = 10, N_SYMTAB = 26, N_NAMES = 34, N_SYMBOL = 42, ALIGNMENT = 64 };
  Elf64_Ehdr e = file_header(arch, W_SECTIONS, W_NAMES);
  uint64_t start = align_up(sizeof e, ALIGNMENT), at = align_up(start + bytes, 8);
  Elf64_Sym symbols[2] = {[1] = {.st_name = N_SYMBOL,
                                 .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                                 .st_other = STV_HIDDEN,
                                 .st_shndx = W_DATA,
                                 .st_size = bytes}};
  Elf64_Shdr h[W_SECTIONS] = {
      [W_DATA] = {N_DATA, SHT_PROGBITS, SHF_ALLOC | arch->elf_far, 0, start, bytes, 0, 0, ALIGNMENT,
                  0},
      [W_STACK] = {N_STACK, SHT_PROGBITS, 0, 0, at, 0, 0, 0, 1, 0},
      [W_SYMTAB] = {N_SYMTAB, SHT_SYMTAB, 0, 0, at, sizeof symbols, W_NAMES, 1, 8,
                    sizeof(Elf64_Sym)},
      [W_NAMES] = {N_NAMES, SHT_STRTAB, 0, 0, at + sizeof symbols, sizeof names, 0, 0, 1, 0}};
  e.e_shoff = align_up(at + sizeof symbols + sizeof names, 8);
  buf_put(head, &e, sizeof e);
  buf_align(head, ALIGNMENT);
  for (uint64_t i = start + bytes; i < at; i++) buf_put(tail, "", 1);
  buf_put(tail, symbols, sizeof symbols);
  buf_put(tail, names, sizeof names);
  while (start + bytes + tail->size < e.e_shoff) buf_put(tail, "", 1);
  buf_put(tail, h, sizeof h);
}
