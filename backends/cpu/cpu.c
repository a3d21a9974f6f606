/* The cpu backend: KPrograms to a static program, an object, or the text of its code.
 *
 * Kernels go through LLVM (codegen.c), tables are written directly (model_data.c), both are linked
 * with the stored runtime (link.c), and the weights are packed into the linked file (program.c).
 * The output appears under its name only when it is complete (output.c).
 */
#include "backends/backend.h"

#include "backends/cpu/arch.h"
#include "backends/cpu/codegen.h"
#include "backends/cpu/library.h"
#include "backends/cpu/link.h"
#include "backends/cpu/model_data.h"
#include "backends/cpu/output.h"
#include "backends/cpu/program.h"
#include "runtime/image.h"

#include <stdio.h>
#include <string.h>

static LinkInput runtime_object(const EmitRequest *r) {
  if (r->runtime) return (LinkInput){"runtime", r->runtime, r->runtime_size};
  const CpuArch *arch = cpu_arch_of(r);
  return (LinkInput){"runtime", arch->runtime, *arch->runtime_size};
}

/* The runtime of another machine is an optional part of a build. */
static Status need_runtime(const EmitRequest *r, Diag *d) {
  const CpuArch *arch = cpu_arch_of(r);
  if (r->runtime || *arch->runtime_size) return OK;
  return diag_error(d, "--target",
                    "this ingot was built without the runtime of %s (expected at least --emit obj, "
                    "asm or llvm-ir without it); 'tools/setup.sh cross build' builds one with it",
                    arch->name);
}

/* All objects of the model: the kernels' parts, then the tables. */
typedef struct Objects {
  CpuCode code;
  Buf tables;
  LinkInput input[16];
  uint32_t n;
} Objects;

static void add_input(Objects *o, const char *name, const Buf *b) {
  BUG_IF(o->n == COUNT(o->input), "too many objects");
  o->input[o->n++] = (LinkInput){name, b->data, b->size};
}

static Status make_objects(const EmitRequest *r, bool library, Diag *d, Objects *o) {
  *o = (Objects){0};
  TRY(cpu_codegen(r, CODE_OBJECT, d, &o->code));
  for (uint32_t i = 0; i < o->code.nparts; i++) add_input(o, "kernels", &o->code.part[i]);
  model_data(r, library, &o->tables);
  add_input(o, "tables", &o->tables);
  if (r->time_passes)
    fprintf(stderr,
            "llvm: translate %.3f s, passes %.3f s, generate code %.3f s (sums over threads)\n",
            o->code.translate, o->code.passes, o->code.emit);
  return OK;
}

static void free_objects(Objects *o) {
  cpu_code_free(&o->code);
  buf_free(&o->tables);
}

static Status emit_exe(const EmitRequest *r, Diag *d, EmitResult *out) {
  Objects o;
  Output file;
  TRY(need_runtime(r, d));
  TRY(output_open(&file, r->out, d)); /* before the work, so that a bad path fails at once */
  Status s = make_objects(r, false, d, &o);
  if (s == OK) {
    if (r->progress) r->progress(r->user, "link", 0, 1);
    o.input[o.n++] = runtime_object(r);
    s = link_objects(LINK_PROGRAM, o.input, o.n, file.path, d);
    free_objects(&o);
  }
  if (s == OK) s = program_add_weights(file.path, r, d, out);
  if (s == OK) s = output_commit(&file, 0755, d);
  output_close(&file);
  return s;
}

static Status emit_object(const EmitRequest *r, Diag *d, EmitResult *out) {
  Objects o;
  Output file;
  TRY(output_open(&file, r->out, d));
  Status s = make_objects(r, true, d, &o);
  if (s == OK) {
    s = link_objects(LINK_OBJECT, o.input, o.n, file.path, d);
    for (uint32_t i = 0; i < o.n; i++) out->code_bytes += o.input[i].size;
    out->file_bytes = out->code_bytes;
    free_objects(&o);
  }
  if (s == OK) s = output_commit(&file, 0644, d);
  output_close(&file);
  return s;
}

/* libX.a has its header beside it as X.h. */
static char *header_path(Arena *a, const char *out) {
  const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out;
  size_t n = strlen(name), dir = (size_t)(name - out);
  if (n > 2 && !strcmp(name + n - 2, ".a")) n -= 2;
  if (n > 3 && !strncmp(name, "lib", 3)) name += 3, n -= 3;
  return arena_printf(a, "%.*s%.*s.h", (int)dir, out, (int)n, name);
}

static Status write_header(const char *path, Diag *d) {
  Output file;
  TRY(output_open(&file, path, d));
  Status s = output_write(file.path, ingot_lib_header, ingot_lib_header_size, d, path);
  if (s == OK) s = output_commit(&file, 0644, d);
  output_close(&file);
  return s;
}

/* Kernels and tables as one object, read back into memory. */
static Status merge_objects(Objects *o, const Output *file, Arena *a, Diag *d, Buf *merged) {
  TRY(link_objects(LINK_OBJECT, o->input, o->n, file->path, d));
  return file_read(a, d, file->path, UINT32_MAX, &merged->data, &merged->size);
}

static Status emit_library(const EmitRequest *r, Diag *d, EmitResult *out) {
  Objects o;
  Output file;
  const CpuArch *arch = cpu_arch_of(r);
  TRY(need_runtime(r, d));
  TRY(output_open(&file, r->out, d));
  Arena *a = arena_new();
  Buf merged = {0};
  Buf runtime = {(char *)(uintptr_t)arch->library, *arch->library_size, 0};
  Status s = make_objects(r, true, d, &o);
  if (s == OK) {
    s = merge_objects(&o, &file, a, d, &merged);
    free_objects(&o);
  }
  if (s == OK) s = library_write(r, &file, &merged, &runtime, d, out);
  if (s == OK) s = output_commit(&file, 0644, d);
  if (s == OK) s = write_header(header_path(a, r->out), d);
  output_close(&file);
  arena_free(a);
  return s;
}

static Status emit_text(const EmitRequest *r, CodeForm form, Diag *d, EmitResult *out) {
  CpuCode code;
  TRY(cpu_codegen(r, form, d, &code));
  Output file;
  Status s = output_open(&file, r->out, d);
  if (s == OK) {
    Buf empty = {0};
    const Buf *text = code.nparts ? &code.part[0] : &empty;
    s = output_write(file.path, text->data, text->size, d, r->out);
    out->file_bytes = out->code_bytes = text->size;
    if (s == OK) s = output_commit(&file, 0644, d);
    output_close(&file);
  }
  cpu_code_free(&code);
  return s;
}

static Status emit(const EmitRequest *r, Diag *d, EmitResult *out) {
  *out = (EmitResult){0};
  switch (r->kind) {
  case EMIT_EXE: return emit_exe(r, d, out);
  case EMIT_LIB: return emit_library(r, d, out);
  case EMIT_OBJ: return emit_object(r, d, out);
  case EMIT_LLVM_IR: return emit_text(r, CODE_LLVM_IR, d, out);
  case EMIT_ASM: return emit_text(r, CODE_ASM, d, out);
  default: return diag_error(d, "--emit", "the cpu backend cannot emit this kind");
  }
}

const Backend backend_cpu = {"cpu", "static programs for x86-64 and aarch64 through LLVM", emit};
