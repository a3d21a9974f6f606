/* Lowering: clusters to kernels and launches, entry by entry.
 *
 * Each cluster goes to the file of its class. Entries share kernels (draft.c), weights (weights.c)
 * and states; every entry has its own arena and barriers, planned when its launches are known. An
 * op outside any cluster is lowered as a cluster of its own, so that a graph needs no fusion to
 * run. Launch tables depend on shapes alone: tile sizes of the target change kernels only.
 */
#include "passes/lower/lower.h"

#include <string.h>

Status lower_error(const Lower *l, const Op *o, const char *what) {
  return diag_error(l->ctx->diag, o->origin ? o->origin : l->g->name, "%s %s",
                    op_info(o->code)->name, what);
}

/* ---- clusters ------------------------------------------------------------------------------ */

/* Elements that have no type in Kernel IR. */
static Status check_types(const Lower *l, const Op *o) {
  for (uint32_t i = 0; i < o->nin + o->nout; i++) {
    const Value *v = graph_value(l->g, i < o->nin ? o->in[i] : o->out[i - o->nin]);
    if (v->kind == V_CONST && dtype_is_float(v->type.dtype)) continue; /* f32 once packed */
    if (kscalar_of(v->type.dtype) == K_void)
      return lower_error(l, o, "works on f64 (expected f32, f16, bf16 or integers); cast it first");
  }
  return OK;
}

static bool constant_weight(const Lower *l, const Op *o) {
  const Value *w = graph_value(l->g, o->in[1]);
  return w->kind == V_CONST && w->type.rank == 2;
}

/* The cluster's class by its anchor, or by its only op. */
static Status lower_cluster(Lower *l) {
  const Cluster *cl = l->cluster;
  for (uint32_t i = 0; i < cl->nops; i++) TRY(check_types(l, graph_get(l->g, cl->ops[i])));
  const Op *o = graph_get(l->g, cl->anchor ? cl->anchor : cl->ops[0]);
  uint32_t traits = op_info(o->code)->traits;
  if (traits & T_ELEMENTWISE) return lower_map(l);
  if (traits & T_ROW) return lower_row(l);
  switch (o->code) {
  case OP_linear: return constant_weight(l, o) ? lower_contract(l) : lower_matmul(l, o);
  case OP_linear_argmax: return lower_linear_argmax(l, o);
  case OP_matmul: return lower_matmul(l, o);
  case OP_gather: return lower_gather(l, o);
  case OP_attention:
  case OP_attention_kv: return lower_attend(l, o);
  case OP_rope_freqs:
  case OP_rope_table:
  case OP_rope:
  case OP_kv_append: return lower_position(l, o);
  case OP_reshape:
  case OP_transpose:
  case OP_split:
  case OP_slice:
  case OP_concat: return lower_view(l, o);
  default: return lower_error(l, o, "has no lowering yet");
  }
}

/* An op that no pass has put into a cluster, as a cluster while it is lowered. */
static Status lower_lone(Lower *l, OpId id) {
  Op *o = graph_get(l->g, id);
  Cluster lone = {
      .anchor = op_info(o->code)->traits & T_ELEMENTWISE ? 0 : id, .nops = 1, .ops = &id};
  l->cluster = &lone;
  o->cluster = l->cluster_index = UINT32_MAX;
  Status s = lower_cluster(l);
  o->cluster = 0;
  return s;
}

/* Outputs that are inputs, constants, or given twice: no cluster has written them. */
static Status copy_outputs(Lower *l) {
  for (uint32_t i = 0; i < l->g->noutputs; i++) {
    ValueId v = l->g->outputs[i];
    Place from = place_of(l, v);
    if (from.bind.space == KS_output && from.bind.index == i) continue;
    if (from.storage != Q_plain || kscalar_of(from.dtype) == K_void)
      return diag_error(l->ctx->diag, l->g->output_names[i], "cannot be an output in its format");
    Place to = from;
    to.bind = (KBind){.space = KS_output, .index = i};
    to.dtype = graph_value(l->g, v)->type.dtype;
    to.shift = 0;
    place_contiguous(l, &to);
    uint64_t n =
        (uint64_t)dim_get(l->m->dims, type_elements(l->m->dims, &graph_value(l->g, v)->type))->hi;
    to.bytes = n * dtype_size(to.dtype);
    l->cluster = NULL;
    lower_copy(l, &from, &to);
  }
  return OK;
}

/* ---- entries ------------------------------------------------------------------------------- */

static void entry_signature(Lower *l) {
  KEntry *e = l->entry;
  Graph *g = l->g;
  Arena *a = l->program->arena;
  e->name = arena_strdup(a, g->name);
  e->ninputs = g->ninputs;
  e->noutputs = g->noutputs;
  e->inputs = ARENA_ARRAY(a, KTensor, g->ninputs + 1);
  e->outputs = ARENA_ARRAY(a, KTensor, g->noutputs + 1);
  for (uint32_t i = 0; i < g->ninputs; i++) {
    const Value *v = graph_value(g, g->inputs[i]);
    e->inputs[i] = (KTensor){arena_strdup(a, v->name ? v->name : "input"), v->type};
  }
  for (uint32_t i = 0; i < g->noutputs; i++)
    e->outputs[i] =
        (KTensor){arena_strdup(a, g->output_names[i]), graph_value(g, g->outputs[i])->type};
}

/* Offsets and barriers, now that every launch is known. */
static void plan_entry(Lower *l) {
  KEntry *e = l->entry;
  LaunchList *ll = &l->launches;
  e->arena_bytes = plan_memory(ll);
  bool *barrier = ARENA_ARRAY(l->arena, bool, e->nlaunches + 1);
  plan_barriers(ll, barrier);
  for (uint32_t i = 0; i < e->nlaunches; i++) {
    KLaunch *la = &e->launches[i];
    la->barrier = barrier[i];
    KBind *bind = (KBind *)la->bind; /* made by draft_end, still ours */
    for (uint32_t j = 0; j < ll->use[i].n; j++) {
      if (bind[j].space != KS_arena) continue;
      bind[j].offset += ll->block[bind[j].index].offset;
      bind[j].index = 0;
    }
  }
}

static Status lower_ops(Lower *l) {
  Graph *g = l->g;
  for (OpId o = 1; o < g->nops; o++)
    if (!graph_get(g, o)->dead && !graph_get(g, o)->cluster && !g->nclusters) TRY(lower_lone(l, o));
  for (uint32_t i = 0; i < g->nclusters; i++) {
    l->cluster = &g->clusters[i];
    l->cluster_index = i + 1;
    TRY(lower_cluster(l));
  }
  return copy_outputs(l);
}

static Status lower_entry(Lower *l, Graph *g) {
  l->g = g;
  l->place = ARENA_ARRAY(l->arena, Place, g->nvalues + 1);
  l->placed = ARENA_ARRAY(l->arena, bool, g->nvalues + 1);
  l->launches = (LaunchList){0};
  l->entry = VEC_PUSH(l->program->entries, l->program->nentries, l->program->centries);
  *l->entry = (KEntry){0};
  entry_signature(l);
  Status s = lower_ops(l);
  if (s == OK) plan_entry(l);
  mem_free(l->launches.use);
  mem_free(l->launches.block);
  return s;
}

static void lower_states(KProgram *p, const Module *m) {
  p->nstates = m->nstates;
  p->states = ARENA_ARRAY(p->arena, KState, m->nstates + 1);
  for (uint32_t i = 0; i < m->nstates; i++)
    p->states[i] =
        (KState){arena_strdup(p->arena, m->states[i].name), cache_layout(&m->states[i]).bytes};
}

/* Growable arrays become arena memory, so that a program is freed with its module. */
static void *settled(Arena *a, void *heap, size_t bytes) {
  void *p = arena_alloc(a, bytes + 1);
  if (bytes) memcpy(p, heap, bytes);
  mem_free(heap);
  return p;
}

static void settle_program(KProgram *p) {
  Arena *a = p->arena;
  for (uint32_t i = 0; i < p->nentries; i++) {
    KEntry *e = &p->entries[i];
    e->launches = settled(a, e->launches, e->nlaunches * sizeof *e->launches);
  }
  p->kernels = settled(a, p->kernels, p->nkernels * sizeof *p->kernels);
  p->entries = settled(a, p->entries, p->nentries * sizeof *p->entries);
  p->weights = settled(a, p->weights, p->nweights * sizeof *p->weights);
}

Status lower_module(Module *m, const LowerTarget *t, PassCtx *c, KProgram **out) {
  KProgram *p = ARENA_NEW(m->arena, KProgram);
  p->module = m;
  p->arena = m->arena;
  Lower l = {.m = m, .target = t, .ctx = c, .program = p, .arena = arena_new()};
  lower_states(p, m);
  Status s = OK;
  for (uint32_t i = 0; i < m->ngraphs && s == OK; i++) s = lower_entry(&l, m->graphs[i]);
  settle_program(p);
  arena_free(l.draft); /* of a kernel that failed half-way */
  arena_free(l.arena);
  *out = p;
  return s;
}
