/* A whole model as kernels: its text and its invariants.
 *
 * The text is for people and for tests that look for lines in it; it is not read back, as a program
 * is nothing without its packed weights. What holds of every program (a message cites the number):
 *  P1  Every kernel holds K1..Kn, and no two have the same name.
 *  P2  Weights lie in order, aligned to 64 bytes, without overlap, inside the weight segment.
 *  P3  A launch names a kernel, dimensions that exist, and memory inside its space.
 *  P4  What a launch binds to a buffer is aligned to the buffer's element.
 *  P5  The first launch of an entry needs no barrier.
 *  P6  A launch's streams lie within the weights, for every iteration.
 */
#include "ir/kernel_impl.h"

#include <string.h>

enum { WEIGHT_ALIGNMENT = 64 };

/* ---- printing ------------------------------------------------------------------------------- */

static void put_weight(const KProgram *p, uint32_t i, Buf *out) {
  static const char *const layouts[] = {"plain", "rows16", "upper", "lower", "doubt"};
  const KWeight *w = &p->weights[i];
  const ConstDef *c = &p->module->consts[w->constant];
  buf_printf(out, "  weight %u @%s ", i, c->name);
  if (w->layout != KL_plain)
    buf_printf(out, "%s %s %lldx%lld", layouts[w->layout], storage_name(w->storage),
               (long long)w->rows, (long long)w->cols);
  else
    buf_printf(out, "plain %s", dtype_is_float(c->type.dtype) ? "f32" : dtype_name(c->type.dtype));
  buf_printf(out, " at %llu size %llu\n", (unsigned long long)w->offset,
             (unsigned long long)w->bytes);
}

static void put_bind(const KBind *b, Buf *out) {
  static const char *const spaces[] = {"arena", "weight", "state", "input", "output"};
  buf_puts(out, spaces[b->space]);
  if (b->space >= KS_state) buf_printf(out, " %u", b->index);
  if (b->space < KS_state || b->offset) buf_printf(out, "+%llu", (unsigned long long)b->offset);
}

static void put_launch(const KProgram *p, const KLaunch *l, Buf *out) {
  const Kernel *k = p->kernels[l->kernel];
  if (l->barrier) buf_puts(out, "    barrier\n");
  buf_printf(out, "    launch @%s(", k->name);
  for (uint32_t i = 0; i < k->nbuffers; i++) {
    if (i) buf_puts(out, ", ");
    put_bind(&l->bind[i], out);
  }
  for (uint32_t i = 0; i < k->nscalars; i++) {
    buf_puts(out, i ? ", " : "; ");
    dim_print(p->module->dims, l->scalar[i], out);
  }
  buf_puts(out, ") par ");
  dim_print(p->module->dims, l->extent, out);
  const KStreams *s = &l->streams;
  if (s->count)
    buf_printf(out, " streams %u step %llu apart %llu", s->count, (unsigned long long)s->step,
               (unsigned long long)s->apart);
  if (l->label) buf_printf(out, "  // %s", l->label);
  buf_puts(out, "\n");
}

static void put_tensors(const KProgram *p, const KTensor *t, uint32_t n, Buf *out) {
  buf_puts(out, "(");
  for (uint32_t i = 0; i < n; i++) {
    buf_printf(out, "%s%s: ", i ? ", " : "", t[i].name);
    type_print(p->module->dims, &t[i].type, out);
  }
  buf_puts(out, ")");
}

void kprogram_print(const KProgram *p, Buf *out) {
  for (uint32_t i = 0; i < p->nkernels; i++) {
    kernel_print(p->kernels[i], out);
    buf_puts(out, "\n");
  }
  buf_printf(out, "program @%s {\n", p->module->name);
  for (uint32_t i = 0; i < p->nweights; i++) put_weight(p, i, out);
  for (uint32_t i = 0; i < p->nstates; i++)
    buf_printf(out, "  state %u %%%s size %llu\n", i, p->states[i].name,
               (unsigned long long)p->states[i].bytes);
  for (uint32_t i = 0; i < p->nentries; i++) {
    const KEntry *e = &p->entries[i];
    buf_printf(out, "  entry @%s", e->name);
    put_tensors(p, e->inputs, e->ninputs, out);
    buf_puts(out, " -> ");
    put_tensors(p, e->outputs, e->noutputs, out);
    buf_printf(out, " arena %llu {\n", (unsigned long long)e->arena_bytes);
    for (uint32_t j = 0; j < e->nlaunches; j++) put_launch(p, &e->launches[j], out);
    buf_puts(out, "  }\n");
  }
  buf_puts(out, "}\n");
}

/* ---- checking ------------------------------------------------------------------------------- */

static Status check_kernels(const KProgram *p, Diag *d) {
  for (uint32_t i = 0; i < p->nkernels; i++) {
    TRY(kernel_verify(p->kernels[i], d));
    for (uint32_t j = 0; j < i; j++)
      if (!strcmp(p->kernels[i]->name, p->kernels[j]->name))
        return diag_error(d, "program", "P1: two kernels named @%s", p->kernels[i]->name);
  }
  return OK;
}

static Status check_weights(const KProgram *p, Diag *d) {
  uint64_t end = 0;
  for (uint32_t i = 0; i < p->nweights; i++) {
    const KWeight *w = &p->weights[i];
    if (w->constant >= p->module->nconsts)
      return diag_error(d, "program", "P2: weight %u has no constant", i);
    if (w->offset % WEIGHT_ALIGNMENT || w->offset < end || w->offset > p->weight_bytes ||
        w->bytes > p->weight_bytes - w->offset)
      return diag_error(d, "program", "P2: weight %u @%s at %llu size %llu is misplaced", i,
                        p->module->consts[w->constant].name, (unsigned long long)w->offset,
                        (unsigned long long)w->bytes);
    end = w->offset + w->bytes;
  }
  return OK;
}

/* The bytes of a space; false when its index names nothing. Inputs and outputs: no limit known. */
static bool space_size(const KProgram *p, const KEntry *e, const KBind *b, uint64_t *out) {
  *out = UINT64_MAX;
  switch (b->space) {
  case KS_arena: *out = e->arena_bytes; return true;
  case KS_weight: *out = p->weight_bytes; return true;
  case KS_state:
    if (b->index >= p->nstates) return false;
    *out = p->states[b->index].bytes;
    return true;
  case KS_input: return b->index < e->ninputs;
  case KS_output: return b->index < e->noutputs;
  }
  return false;
}

/* All streams of all iterations lie within the weights. */
static bool streams_inside(const KProgram *p, const Kernel *k, const KLaunch *l) {
  const KStreams *s = &l->streams;
  int64_t extent;
  if (!k->nbuffers || l->bind[0].space != KS_weight || s->count > p->weight_bytes) return false;
  if (!dim_is_const(p->module->dims, l->extent, &extent) || extent < 0) return false;
  uint64_t left = p->weight_bytes;
  if (l->bind[0].offset > left) return false;
  left -= l->bind[0].offset;
  if (s->count > 1 && s->apart > left / (s->count - 1)) return false;
  left -= (s->count - 1) * s->apart;
  return extent == 0 || s->step <= left / (uint64_t)extent;
}

static Status check_launch(const KProgram *p, const KEntry *e, const KLaunch *l, Diag *d) {
  const char *where = l->label ? l->label : e->name;
  uint32_t ndims = dim_count(p->module->dims);
  if (l->kernel >= p->nkernels) return diag_error(d, where, "P3: launch of no kernel");
  const Kernel *k = p->kernels[l->kernel];
  if (!l->extent || l->extent > ndims || l->flops > ndims || l->bytes > ndims)
    return diag_error(d, where, "P3: @%s has an extent or cost that is no dimension", k->name);
  for (uint32_t i = 0; i < k->nscalars; i++)
    if (!l->scalar[i] || l->scalar[i] > ndims)
      return diag_error(d, where, "P3: @%s: scalar %u is no dimension", k->name, i);
  if (l->streams.count && !streams_inside(p, k, l))
    return diag_error(d, where, "P6: @%s: its streams are not all within a weight", k->name);
  for (uint32_t i = 0; i < k->nbuffers; i++) {
    uint64_t size;
    const KBind *b = &l->bind[i];
    if (!space_size(p, e, b, &size) || b->offset > size)
      return diag_error(d, where, "P3: @%s: buffer %u is bound outside its space", k->name, i);
    if (b->offset % kscalar_size((KScalar)k_type(k, k->buffers[i]).scalar))
      return diag_error(d, where, "P4: @%s: buffer %u is misaligned", k->name, i);
  }
  return OK;
}

Status kprogram_verify(const KProgram *p, Diag *d) {
  TRY(check_kernels(p, d));
  TRY(check_weights(p, d));
  for (uint32_t i = 0; i < p->nentries; i++) {
    const KEntry *e = &p->entries[i];
    if (e->nlaunches && e->launches[0].barrier)
      return diag_error(d, e->name, "P5: a barrier before the first launch");
    for (uint32_t j = 0; j < e->nlaunches; j++) TRY(check_launch(p, e, &e->launches[j], d));
  }
  return OK;
}
