/* merge_linear: linears that read the same rows (q, k, v; gate, up) become one over stacked
 * weights.
 *
 * One long weight stream instead of several short ones, and activations read once. A group has
 * equal operand, storage format of the weights, act and presence of a bias; formats differ within
 * many GGUF files, and then only the equal ones are merged. The stacked constant is just the list
 * of the parts, nothing is copied. All graphs of a module share their weights, so a group is
 * merged only when every graph uses its constants in this very group and nowhere else: otherwise
 * the program would carry weights twice.
 */
#include "passes/util.h"

#include <string.h>

enum { MOST_MEMBERS = 16 };

/* Linears to be merged: ops of graph `graph`, in execution order. */
typedef struct Group {
  uint32_t graph, n;
  OpId op[MOST_MEMBERS];
  bool good;
} Group;

typedef struct Merger {
  Module *m;
  Group *groups;
  uint32_t ngroups, cgroups;
  /* Stacked constants made so far: key (list of constants, 0-terminated, +1) to constant. */
  struct Stacked {
    uint32_t n, from[MOST_MEMBERS], to;
  } *stacked;
  uint32_t nstacked, cstacked;
} Merger;

static uint32_t const_index(const Graph *g, const Op *op, uint32_t operand) {
  return graph_value(g, op->in[operand])->index;
}

static bool is_candidate(const Graph *g, OpId o) {
  const Op *op = graph_get(g, o);
  if (op->dead || op->code != OP_linear) return false;
  for (uint32_t i = 1; i < op->nin; i++) {
    if (!const_of(g, op->in[i])) return false;
  }
  return true;
}

/* Whether two constants can be stacked: both weights or both dense, of one type but for axis 0. */
static bool can_stack(const ConstDef *a, const ConstDef *b) {
  return (a->nparts > 0) == (b->nparts > 0) && a->type.dtype == b->type.dtype &&
         a->type.storage == b->type.storage;
}

static bool same_kind(const Graph *g, const Op *a, const Op *b) {
  if (a->in[0] != b->in[0] || a->nin != b->nin) return false;
  if (!attrs_equal(op_info(OP_linear), &a->attrs, &b->attrs)) return false;
  for (uint32_t i = 1; i < a->nin; i++) {
    if (!can_stack(const_of(g, a->in[i]), const_of(g, b->in[i]))) return false;
  }
  return true;
}

static bool has_weight(const Graph *g, const Group *group, ValueId w) {
  for (uint32_t i = 0; i < group->n; i++) {
    if (graph_get(g, group->op[i])->in[1] == w) return true;
  }
  return false;
}

static void find_groups(Merger *r, uint32_t graph) {
  const Graph *g = r->m->graphs[graph];
  uint32_t first = r->ngroups;
  for (OpId o = 1; o < g->nops; o++) {
    if (!is_candidate(g, o)) continue;
    const Op *op = graph_get(g, o);
    Group *home = NULL;
    for (uint32_t k = first; k < r->ngroups && !home; k++) {
      Group *group = &r->groups[k];
      if (group->n < MOST_MEMBERS && same_kind(g, graph_get(g, group->op[0]), op) &&
          !has_weight(g, group, op->in[1]))
        home = group;
    }
    if (!home) {
      home = VEC_PUSH(r->groups, r->ngroups, r->cgroups);
      *home = (Group){.graph = graph, .good = true};
    }
    home->op[home->n++] = o;
  }
}

/* ---- consistency over graphs ---- */

static bool same_members(const Merger *r, const Group *a, const Group *b) {
  if (a->n != b->n) return false;
  const Graph *ga = r->m->graphs[a->graph], *gb = r->m->graphs[b->graph];
  for (uint32_t i = 0; i < a->n; i++) {
    if (const_index(ga, graph_get(ga, a->op[i]), 1) != const_index(gb, graph_get(gb, b->op[i]), 1))
      return false;
  }
  return true;
}

/* Every graph that uses constant `index` uses it once, in a group of the same members as `group`.
 */
static bool used_alike(const Merger *r, const Group *group, uint32_t index) {
  for (uint32_t i = 0; i < r->m->ngraphs; i++) {
    const Graph *g = r->m->graphs[i];
    ValueId v = 1;
    while (v < g->nvalues && !(g->values[v].kind == V_CONST && g->values[v].index == index)) v++;
    if (v == g->nvalues || !g->values[v].uses) continue;
    bool found = false;
    for (uint32_t k = 0; k < r->ngroups && !found; k++) {
      const Group *other = &r->groups[k];
      found = other->graph == i && has_weight(g, other, v) && same_members(r, group, other);
    }
    if (!found || g->values[v].uses != 1) return false;
  }
  return true;
}

static void check_group(const Merger *r, Group *group) {
  const Graph *g = r->m->graphs[group->graph];
  group->good = group->n > 1;
  for (uint32_t i = 0; i < group->n && group->good; i++)
    group->good = used_alike(r, group, const_index(g, graph_get(g, group->op[i]), 1));
}

/* ---- stacking ---- */

static const void *stack_dense(const Module *m, const uint32_t *from, uint32_t n) {
  Buf b = {0};
  for (uint32_t i = 0; i < n; i++) {
    const ConstDef *c = &m->consts[from[i]];
    int64_t elements = 0;
    dim_is_const(m->dims, type_elements(m->dims, &c->type), &elements);
    buf_put(&b, c->dense, (size_t)elements * dtype_size(c->type.dtype));
  }
  char *out = arena_alloc(m->arena, b.size + 1);
  memcpy(out, b.data, b.size);
  buf_free(&b);
  return out;
}

static uint32_t make_stacked(Module *m, const uint32_t *from, uint32_t n) {
  const ConstDef *first = &m->consts[from[0]];
  ConstPart parts[MOST_MEMBERS * 4];
  ConstDef c = {.name = arena_printf(m->arena, "%s.stacked", first->name), .type = first->type};
  c.type.dim[0] = dim_const(m->dims, 0);
  for (uint32_t i = 0; i < n; i++) {
    const ConstDef *x = &m->consts[from[i]];
    c.type.dim[0] = dim_op(m->dims, DIM_ADD, c.type.dim[0], x->type.dim[0]);
    BUG_IF(c.nparts + x->nparts > COUNT(parts), "too many parts");
    for (uint32_t k = 0; k < x->nparts; k++) parts[c.nparts++] = x->parts[k];
  }
  if (c.nparts)
    c.parts = parts;
  else
    c.dense = stack_dense(m, from, n);
  return module_const(m, &c);
}

static uint32_t stacked_const(Merger *r, const uint32_t *from, uint32_t n) {
  for (uint32_t i = 0; i < r->nstacked; i++) {
    if (r->stacked[i].n == n && memcmp(r->stacked[i].from, from, n * sizeof *from) == 0)
      return r->stacked[i].to;
  }
  struct Stacked s = {.n = n, .to = make_stacked(r->m, from, n)};
  memcpy(s.from, from, n * sizeof *from);
  *VEC_PUSH(r->stacked, r->nstacked, r->cstacked) = s;
  return s.to;
}

/* "layer 0 / attention / q,k,v": what the origins share up to a space, then the rest of each. */
static const char *merged_origin(const Graph *g, const Group *group) {
  Arena *a = g->module->arena;
  const char *first = graph_get(g, group->op[0])->origin;
  if (!first) return NULL;
  size_t shared = strlen(first);
  for (uint32_t i = 1; i < group->n; i++) {
    const char *s = graph_get(g, group->op[i])->origin;
    if (!s) return first;
    for (size_t k = 0; k < shared; k++) {
      if (s[k] != first[k]) shared = k; /* also at the end of s */
    }
  }
  while (shared && first[shared - 1] != ' ') shared--;
  const char *out = first;
  for (uint32_t i = 1; i < group->n; i++)
    out = arena_printf(a, "%s,%s", out, graph_get(g, group->op[i])->origin + shared);
  return out;
}

static void merge(Merger *r, const Group *group) {
  Graph *g = r->m->graphs[group->graph];
  uint32_t nin = g->ops[group->op[0]].nin, from[MOST_MEMBERS];
  int64_t sizes[MOST_MEMBERS];
  ValueId in[3] = {g->ops[group->op[0]].in[0]};
  Attrs attrs = g->ops[group->op[0]].attrs;
  for (uint32_t k = 1; k < nin; k++) {
    for (uint32_t i = 0; i < group->n; i++) from[i] = const_index(g, &g->ops[group->op[i]], k);
    in[k] = graph_const(g, stacked_const(r, from, group->n));
  }
  for (uint32_t i = 0; i < group->n; i++) {
    const Type *w = &const_of(g, g->ops[group->op[i]].in[1])->type;
    BUG_IF(!dim_is_const(r->m->dims, w->dim[0], &sizes[i]), "a constant of run-time size");
  }
  graph_origin(g, merged_origin(g, group));
  ValueId y = graph_op1(g, OP_linear, in, nin, &attrs);
  attrs = (Attrs){.split = {.axis = -1, .sizes = {group->n, sizes}}};
  OpId split = graph_op(g, OP_split, &y, 1, &attrs);
  graph_origin(g, NULL);
  for (uint32_t i = 0; i < group->n; i++) {
    ValueId old = g->ops[group->op[i]].out[0], new = g->ops[split].out[i];
    g->values[new].name = g->values[old].name;
    graph_replace(g, old, new);
    graph_kill(g, group->op[i]);
  }
  swap_ops(g, g->values[y].def, group->op[0]); /* they stand where their first members stood */
  swap_ops(g, split, group->op[1]);
}

Status pass_merge_linear(Module *m, PassCtx *c, bool *changed) {
  (void)c;
  Merger r = {.m = m};
  for (uint32_t i = 0; i < m->ngraphs; i++) find_groups(&r, i);
  for (uint32_t k = 0; k < r.ngroups; k++) check_group(&r, &r.groups[k]);
  for (uint32_t k = 0; k < r.ngroups; k++) {
    if (!r.groups[k].good) continue;
    merge(&r, &r.groups[k]);
    *changed = true;
  }
  if (*changed) {
    for (uint32_t i = 0; i < m->ngraphs; i++) graph_sort(m->graphs[i]);
    drop_unused(m);
  }
  mem_free(r.groups);
  mem_free(r.stacked);
  return OK;
}
