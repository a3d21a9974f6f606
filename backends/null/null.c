/* The null backend: writes every program as text and runs nothing. The example to copy.
 *
 * A kernel backend is given one KProgram an ISA level, all with the same launch table, and turns
 * kernels into code (walk Kernel.body: ir/kernel.h), entries into tables (runtime/abi.h) and
 * weights into bytes (pack_weight of passes/passes.h). This one replaces all three by
 * kprogram_print. Convention: a program without levels (only a tokenizer) has no kernels and gives
 * no text.
 */
#include "backends/backend.h"

static void translate(const CpuTarget *level, const KProgram *p, Buf *out) {
  buf_printf(out, "# %s\n", level->name);
  kprogram_print(p, out);
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
  Status s = file_write(d, r->out, text.data, text.size, 0644);
  out->file_bytes = text.size;
  buf_free(&text);
  return s;
}

const Backend backend_null = {"null", "kernels and launches as text; nothing runs", emit};
