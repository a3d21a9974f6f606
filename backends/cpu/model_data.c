/* The tables of a compiled model: KProgram and ProgramText to the structs of runtime/abi.h.
 *
 * Each table is built as an array of the very structs that the runtime reads and written into the
 * object; a field that points gets a relocation at its offset. Launches of all entries share one
 * list of arguments and one of scalars. Conventions: a NULL pointer is a field without relocation;
 * structs with padding are filled field by field in zeroed memory, so that equal inputs give equal
 * bytes.
 */
#include "backends/cpu/model_data.h"

#include "backends/cpu/arch.h"
#include "backends/cpu/codegen.h"
#include "backends/cpu/elf_object.h"

#include <string.h>

_Static_assert((int)DIM_CONST == INGOT_DIM_CONST && (int)DIM_SYMBOL == INGOT_DIM_SYMBOL &&
                   (int)DIM_ADD == INGOT_DIM_ADD && (int)DIM_CEILDIV == INGOT_DIM_CEILDIV,
               "kinds of dimensions agree with the ABI");
_Static_assert((int)DT_f32 == INGOT_F32 && (int)DT_i64 == INGOT_I64 && (int)DT_bool == INGOT_BOOL,
               "data types agree with the ABI");
_Static_assert((int)KS_arena == INGOT_ARENA && (int)KS_state == INGOT_STATE &&
                   (int)KS_output == INGOT_OUTPUT,
               "address spaces agree with the ABI");

/* Offsets of an array's pointer fields are written `AT(base, i, Struct, field)`. */
#define AT(base, i, type, field) ((base) + (uint64_t)(i) * sizeof(type) + offsetof(type, field))

static void point_string(ElfObject *o, uint64_t at, const char *s) {
  if (s) elf_point_plain(o, at, elf_string(o, s));
}

static uint64_t put_dims(ElfObject *o, const Module *m, uint32_t *n) {
  *n = m ? dim_count(m->dims) + 1 : 1;
  IngotDim *dims = mem_alloc(*n * sizeof *dims);
  for (uint32_t i = 1; i < *n; i++) {
    const DimExpr *d = dim_get(m->dims, i);
    dims[i].kind = d->kind;
    if (d->kind == DIM_CONST)
      dims[i].value = d->value;
    else if (d->kind == DIM_SYMBOL)
      dims[i].lo = d->lo, dims[i].hi = d->hi;
    else
      dims[i].a = d->a, dims[i].b = d->b;
  }
  uint64_t at = elf_table(o, dims, *n * sizeof *dims, 8);
  for (uint32_t i = 1; i < *n; i++)
    if (dims[i].kind == INGOT_DIM_SYMBOL)
      point_string(o, AT(at, i, IngotDim, name), dim_get(m->dims, i)->name);
  mem_free(dims);
  return at;
}

static uint64_t put_tensors(ElfObject *o, const KTensor *t, uint32_t n) {
  IngotTensor *out = mem_alloc(n * sizeof *out);
  for (uint32_t i = 0; i < n; i++) {
    out[i] = (IngotTensor){.dtype = t[i].type.dtype, .rank = t[i].type.rank};
    for (uint32_t j = 0; j < t[i].type.rank; j++) out[i].dim[j] = t[i].type.dim[j];
  }
  uint64_t at = elf_table(o, out, n * sizeof *out, 8);
  for (uint32_t i = 0; i < n; i++) point_string(o, AT(at, i, IngotTensor, name), t[i].name);
  mem_free(out);
  return at;
}

/* The lists that launches index into. */
typedef struct Lists {
  IngotArg *args;
  uint32_t nargs, cargs;
  uint32_t *scalars;
  uint32_t nscalars, cscalars;
} Lists;

static void make_launch(const KProgram *p, const KLaunch *l, Lists *lists, IngotLaunch *out) {
  const Kernel *k = p->kernels[l->kernel];
  out->kernel = l->kernel;
  out->first_arg = lists->nargs;
  out->nargs = k->nbuffers;
  out->first_scalar = lists->nscalars;
  out->nscalars = k->nscalars;
  out->extent = l->extent;
  out->flops = l->flops;
  out->bytes = l->bytes;
  out->barrier = l->barrier;
  out->streams = l->streams.count;
  out->step = l->streams.step;
  out->apart = l->streams.apart;
  for (uint32_t i = 0; i < k->nbuffers; i++)
    *VEC_PUSH(lists->args, lists->nargs, lists->cargs) =
        (IngotArg){l->bind[i].space, l->bind[i].index, l->bind[i].offset};
  for (uint32_t i = 0; i < k->nscalars; i++)
    *VEC_PUSH(lists->scalars, lists->nscalars, lists->cscalars) = l->scalar[i];
}

static uint64_t put_launches(ElfObject *o, const KProgram *p, const KEntry *e, Lists *lists) {
  IngotLaunch *out = mem_alloc(e->nlaunches * sizeof *out);
  for (uint32_t i = 0; i < e->nlaunches; i++) make_launch(p, &e->launches[i], lists, &out[i]);
  uint64_t at = elf_table(o, out, e->nlaunches * sizeof *out, 8);
  for (uint32_t i = 0; i < e->nlaunches; i++)
    point_string(o, AT(at, i, IngotLaunch, label), e->launches[i].label);
  mem_free(out);
  return at;
}

static uint64_t put_entries(ElfObject *o, const KProgram *p, Lists *lists) {
  uint32_t n = p->nentries;
  IngotEntry *out = mem_alloc(n * sizeof *out);
  uint64_t *inputs = mem_alloc(n * sizeof *inputs), *outputs = mem_alloc(n * sizeof *outputs);
  uint64_t *launches = mem_alloc(n * sizeof *launches);
  for (uint32_t i = 0; i < n; i++) {
    const KEntry *e = &p->entries[i];
    inputs[i] = put_tensors(o, e->inputs, e->ninputs);
    outputs[i] = put_tensors(o, e->outputs, e->noutputs);
    launches[i] = put_launches(o, p, e, lists);
    out[i].ninputs = e->ninputs;
    out[i].noutputs = e->noutputs;
    out[i].nlaunches = e->nlaunches;
    out[i].arena_bytes = e->arena_bytes;
  }
  uint64_t at = elf_table(o, out, n * sizeof *out, 8);
  for (uint32_t i = 0; i < n; i++) {
    point_string(o, AT(at, i, IngotEntry, name), p->entries[i].name);
    elf_point_table(o, AT(at, i, IngotEntry, inputs), inputs[i]);
    elf_point_table(o, AT(at, i, IngotEntry, outputs), outputs[i]);
    elf_point_table(o, AT(at, i, IngotEntry, launches), launches[i]);
  }
  mem_free(launches);
  mem_free(outputs);
  mem_free(inputs);
  mem_free(out);
  return at;
}

static uint64_t put_kernel_info(ElfObject *o, const KProgram *p) {
  uint32_t n = p->nkernels;
  uint64_t at = elf_table(o, NULL, 0, 8);
  for (uint32_t i = 0; i < n; i++) elf_table(o, &(IngotKernelInfo){0}, sizeof(IngotKernelInfo), 8);
  for (uint32_t i = 0; i < n; i++) {
    point_string(o, AT(at, i, IngotKernelInfo, name), p->kernels[i]->name);
    point_string(o, AT(at, i, IngotKernelInfo, klass), kclass_name(p->kernels[i]->klass));
  }
  return at;
}

static uint64_t put_functions(ElfObject *o, const EmitRequest *r, uint32_t level) {
  const KProgram *p = r->programs[level];
  uint64_t at = elf_table(o, NULL, 0, 8);
  for (uint32_t i = 0; i < p->nkernels; i++) {
    uint64_t pointer = elf_table(o, &(uint64_t){0}, sizeof(uint64_t), 8);
    Buf name = {0};
    cpu_kernel_symbol(r, level, i, &name);
    elf_point_symbol(o, pointer, elf_extern(o, name.data));
    buf_free(&name);
  }
  return at;
}

static uint64_t put_levels(ElfObject *o, const EmitRequest *r) {
  uint64_t *functions = mem_alloc(r->nlevels * sizeof *functions);
  for (uint32_t i = 0; i < r->nlevels; i++) functions[i] = put_functions(o, r, i);
  IngotLevel *out = mem_alloc(r->nlevels * sizeof *out);
  for (uint32_t i = 0; i < r->nlevels; i++) out[i].isa = r->levels[i]->isa;
  uint64_t at = elf_table(o, out, r->nlevels * sizeof *out, 8);
  mem_free(out);
  for (uint32_t i = 0; i < r->nlevels; i++) {
    point_string(o, AT(at, i, IngotLevel, name), r->levels[i]->name);
    elf_point_table(o, AT(at, i, IngotLevel, kernels), functions[i]);
  }
  mem_free(functions);
  return at;
}

static uint64_t put_states(ElfObject *o, const KProgram *p) {
  uint64_t at = elf_table(o, NULL, 0, 8);
  for (uint32_t i = 0; i < p->nstates; i++)
    elf_table(o, &(IngotState){.bytes = p->states[i].bytes}, sizeof(IngotState), 8);
  for (uint32_t i = 0; i < p->nstates; i++)
    point_string(o, AT(at, i, IngotState, name), p->states[i].name);
  return at;
}

/* ---- the model itself
 * ---------------------------------------------------------------------------- */

/* Pointers of the model, as offsets of what they point to; `field` is where they stand. */
typedef struct ModelPointers {
  ElfObject *object;
  struct {
    size_t field;
    uint64_t target;
    bool plain;
  } at[32];
  uint32_t n;
} ModelPointers;

static void point_from_model(ModelPointers *p, size_t field, uint64_t target, bool plain) {
  BUG_IF(p->n == COUNT(p->at), "more pointers in a model than expected");
  p->at[p->n].field = field;
  p->at[p->n].target = target;
  p->at[p->n++].plain = plain;
}

static void model_string(ModelPointers *p, size_t field, const char *s) {
  if (s) point_from_model(p, field, elf_string(p->object, s), true);
}

static IngotBlob model_blob(ModelPointers *p, size_t field, const Buf *b) {
  if (b->size)
    point_from_model(p, field + offsetof(IngotBlob, data),
                     elf_plain(p->object, b->data, b->size, 64), true);
  return (IngotBlob){NULL, b->size};
}

static void model_program(ModelPointers *p, const EmitRequest *r, IngotModel *m) {
  const KProgram *program = r->programs[0];
  ElfObject *o = p->object;
  Lists lists = {0};
  point_from_model(p, offsetof(IngotModel, entries), put_entries(o, program, &lists), false);
  point_from_model(p, offsetof(IngotModel, args),
                   elf_plain(o, lists.args, lists.nargs * sizeof *lists.args, 8), true);
  point_from_model(p, offsetof(IngotModel, scalars),
                   elf_plain(o, lists.scalars, lists.nscalars * sizeof *lists.scalars, 8), true);
  point_from_model(p, offsetof(IngotModel, kernels), put_kernel_info(o, program), false);
  point_from_model(p, offsetof(IngotModel, levels), put_levels(o, r), false);
  point_from_model(p, offsetof(IngotModel, states), put_states(o, program), false);
  m->nentries = program->nentries;
  m->nkernels = program->nkernels;
  m->nlevels = r->nlevels;
  m->nstates = program->nstates;
  m->weight_bytes = program->weight_bytes;
  mem_free(lists.args);
  mem_free(lists.scalars);
}

/* Zeroes the padding behind a field. */
#define CLEAR_BETWEEN(s, field, next)                                                              \
  memset((char *)&(s)->field + sizeof(s)->field, 0,                                                \
         (next) - offsetof(IngotGeneration, field) - sizeof(s)->field)

static void model_text(ModelPointers *p, const ProgramText *t, IngotModel *m) {
  model_string(p, offsetof(IngotModel, name), t->name);
  model_string(p, offsetof(IngotModel, arch), t->arch);
  model_string(p, offsetof(IngotModel, task), t->task);
  m->tokenizer = model_blob(p, offsetof(IngotModel, tokenizer), &t->tokenizer);
  m->chat = model_blob(p, offsetof(IngotModel, chat), &t->chat);
  m->card = model_blob(p, offsetof(IngotModel, card), &t->card);
  m->encoder = t->encoder;
  IngotGeneration *g = &m->generation;
  *g = t->generation;
  g->eos_ids = NULL;
  CLEAR_BETWEEN(g, neos, offsetof(IngotGeneration, temperature));
  CLEAR_BETWEEN(g, do_sample, sizeof *g);
  if (t->generation.neos)
    point_from_model(
        p, offsetof(IngotModel, generation.eos_ids),
        elf_plain(p->object, t->generation.eos_ids, t->generation.neos * sizeof(int64_t), 8), true);
}

void model_data(const EmitRequest *r, bool library, Buf *object) {
  ElfObject o = {.arch = cpu_arch_of(r)};
  IngotModel m;
  memset(&m, 0, sizeof m); /* padding too: equal inputs give equal bytes */
  ModelPointers p = {.object = &o};
  m.abi = INGOT_ABI;
  point_from_model(&p, offsetof(IngotModel, dims), put_dims(&o, r->module, &m.ndims), false);
  model_text(&p, r->text, &m);
  if (r->nlevels) model_program(&p, r, &m);
  uint64_t at = elf_table(&o, &m, sizeof m, 64);
  o.reserve_weights = m.weight_bytes && !library;
  o.weights_pointer = at + offsetof(IngotModel, weights); /* set by program_add_weights */
  if (m.weight_bytes && library)
    elf_point_symbol(&o, o.weights_pointer, elf_extern(&o, WEIGHTS_SYMBOL));
  for (uint32_t i = 0; i < p.n; i++) {
    if (p.at[i].plain)
      elf_point_plain(&o, at + p.at[i].field, p.at[i].target);
    else
      elf_point_table(&o, at + p.at[i].field, p.at[i].target);
  }
  elf_define(&o, "ingot_model", at, sizeof m);
  elf_object_write(&o, library, object);
  elf_object_free(&o);
}
