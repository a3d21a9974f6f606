/* The null backend: writes every program as text and runs nothing. The example to copy.
 *
 * A kernel backend is given one KProgram an ISA level, all with the same launch table, and turns
 * kernels into code (walk Kernel.body: ir/kernel.h), entries into tables (runtime/abi.h) and
 * weights into bytes (pack_weight of passes/passes.h). This one replaces all three by
 * kprogram_print. Convention: a program without levels (only a tokenizer) has no kernels and gives
 * no text.
 */
#include "backends/backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void translate(const CpuTarget *level, const KProgram *p, Buf *out) {
  buf_printf(out, "# %s\n", level->name);
  kprogram_print(p, out);
}

static Status write_text(const char *path, const Buf *text, Diag *d) {
  FILE *f = fopen(path, "w");
  if (!f) return diag_error(d, path, "cannot be written: %s", strerror(errno));
  bool good = fwrite(text->data, 1, text->size, f) == text->size;
  good = !fclose(f) && good;
  return good ? OK : diag_error(d, path, "cannot be written: %s", strerror(errno));
}

static Status emit(const EmitRequest *r, Diag *d, EmitResult *out) {
  *out = (EmitResult){0};
  if (r->kind != EMIT_EXE && r->kind != EMIT_KERNEL)
    return diag_error(d, "--emit", "the null backend writes kernels only (expected kernel)");
  Buf text = {0};
  for (uint32_t i = 0; i < r->nlevels; i++) {
    if (r->progress) r->progress(r->user, "print", i, r->nlevels);
    translate(r->levels[i], r->programs[i], &text);
  }
  Status s = write_text(r->out, &text, d);
  out->file_bytes = text.size;
  buf_free(&text);
  return s;
}

const Backend backend_null = {"null", "kernels and launches as text; nothing runs", emit};
