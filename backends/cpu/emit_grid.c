/* Which floats of a kernel are multiples of a power of two, for fma without an instruction.
 *
 * The scales of quantised weights are halves (multiples of 2^-24), what they multiply are integers,
 * and rounding a sum of such to a float leaves it a multiple. Sums of multiples of 2^g below
 * 2^(g+53) are exact in double, whatever was added up; emit_soft.c tests the size instead of the
 * error then. Values start as multiples of everything and are lowered until nothing changes; a loop
 * that goes on lowering gets no grid. A local array has one grid, that of all floats stored in it;
 * other types may share it (panels of codes and scales) where their places, which repeat with the
 * strides of all accesses, are others.
 */
#include "backends/cpu/emit.h"

#include <math.h>

enum { ROUNDS = 6, LEAST = -149 /* below a float's own grid rounding could leave it */ };

/* A local array: what lies in it, in words of 4 bytes, modulo the strides of all its accesses. */
typedef struct Local {
  int64_t period; /* bytes */
  bool *foreign;  /* by word: something else than aligned floats is stored there */
} Local;

typedef struct Grids {
  const Kernel *k;
  int16_t *grid;
  Local *local; /* by place in k->locals */
  bool changed, impatient;
} Grids;

/* ---- local arrays ------------------------------------------------------------------------------
 */

static Local *local_of(const Grids *g, const KInst *in) {
  if (in->op != KOP_load && in->op != KOP_store) return NULL;
  for (uint32_t i = 0; i < g->k->nlocals; i++)
    if (g->k->locals[i] == in->addr->base) return &g->local[i];
  return NULL;
}

static KType accessed_type(const Grids *g, const KInst *in) {
  return in->op == KOP_store ? k_type(g->k, in->arg[0]) : in->type;
}

static int64_t element_size(const Grids *g, KVal base) {
  return (int64_t)kscalar_size((KScalar)k_type(g->k, base).scalar);
}

static void take_strides(Grids *g, const KInst *in, Local *l) {
  for (uint32_t i = 0; i < in->addr->nterm; i++) {
    int64_t b = in->addr->term[i].stride * element_size(g, in->addr->base);
    for (b = b < 0 ? -b : b; b;) {
      int64_t rest = l->period % b;
      l->period = b;
      b = rest;
    }
  }
}

/* The first byte of an access within a period, and how many it spans. */
static int64_t span(const Grids *g, const KInst *in, const Local *l, int64_t *bytes) {
  KType t = accessed_type(g, in);
  int64_t size = (int64_t)kscalar_size((KScalar)t.scalar), lane = in->addr->lane;
  *bytes = ((t.lanes - 1) * (lane < 0 ? -lane : lane) + 1) * size;
  int64_t first = in->addr->offset * element_size(g, in->addr->base);
  if (lane < 0) first -= *bytes - size;
  return (first % l->period + l->period) % l->period;
}

static bool is_aligned_float(const Grids *g, const KInst *in, const Local *l) {
  int64_t bytes, first = span(g, in, l, &bytes);
  return accessed_type(g, in).scalar == K_f32 && first % 4 == 0 && l->period % 4 == 0;
}

static bool meets_foreign(const Grids *g, const KInst *in, const Local *l) {
  int64_t bytes, first = span(g, in, l, &bytes);
  for (int64_t at = first; at < first + bytes; at++)
    if (l->foreign[at % l->period / 4]) return true;
  return false;
}

static void mark_foreign(Grids *g, const KInst *in, Local *l) {
  int64_t bytes, first = span(g, in, l, &bytes);
  for (int64_t at = first; at < first + bytes; at++) l->foreign[at % l->period / 4] = true;
}

static void visit_accesses(Grids *g, const KRegion *r, bool strides) {
  for (uint32_t i = 0; i < r->n; i++) {
    const KInst *in = r->inst[i];
    Local *l = local_of(g, in);
    if (l && strides)
      take_strides(g, in, l);
    else if (l && in->op == KOP_store && !is_aligned_float(g, in, l))
      mark_foreign(g, in, l);
    if (!in->loop) continue;
    visit_accesses(g, &in->loop->body, strides);
    visit_accesses(g, &in->loop->orelse, strides);
  }
}

static void find_foreign(Grids *g) {
  const Kernel *k = g->k;
  for (uint32_t i = 0; i < k->nlocals; i++)
    g->local[i].period = k->values[k->locals[i]].local_count * element_size(g, k->locals[i]);
  visit_accesses(g, &k->body, true);
  for (uint32_t i = 0; i < k->nlocals; i++)
    g->local[i].foreign = mem_alloc((size_t)(g->local[i].period / 4 + 1) * sizeof(bool));
  visit_accesses(g, &k->body, false);
}

/* ---- values ------------------------------------------------------------------------------------
 */

static int16_t least(int a, int b) {
  int g = a < b ? a : b;
  return g < LEAST ? GRID_NONE : (int16_t)g;
}

static int16_t of_product(int16_t a, int16_t b) {
  if (a == GRID_NONE || b == GRID_NONE) return GRID_NONE;
  return a == GRID_ANY || b == GRID_ANY ? GRID_ANY : least(a + b, GRID_ANY);
}

static int16_t of_literal(double v) {
  if (v == 0 || !isfinite(v)) return GRID_ANY;
  int exponent;
  double digits = frexp((double)(float)v, &exponent);
  while (digits != floor(digits)) {
    digits *= 2;
    exponent--;
  }
  return least(exponent, GRID_ANY);
}

static int16_t of_conversion(KScalar from) {
  return from == K_f16 ? -24 : from == K_bf16 ? GRID_NONE : 0;
}

static int16_t of_load(const Grids *g, const KInst *in) {
  const Local *l = local_of(g, in);
  bool plain = l && is_aligned_float(g, in, l) && !meets_foreign(g, in, l);
  return plain ? g->grid[in->addr->base] : GRID_NONE;
}

static int16_t of_inst(const Grids *g, const KInst *in) {
  int16_t a = in->narg > 0 ? g->grid[in->arg[0]] : GRID_NONE;
  int16_t b = in->narg > 1 ? g->grid[in->arg[1]] : a, c = in->narg > 2 ? g->grid[in->arg[2]] : b;
  switch (in->op) {
  case KOP_const: return of_literal(in->imm.f);
  case KOP_cvt:
  case KOP_cvtu: return of_conversion((KScalar)k_type(g->k, in->arg[0]).scalar);
  case KOP_load: return of_load(g, in);
  case KOP_fma: return least(of_product(a, b), c);
  case KOP_mul: return of_product(a, b);
  case KOP_select: return least(b, c);
  case KOP_floor:
  case KOP_rint: return 0;
  case KOP_add:
  case KOP_sub:
  case KOP_min:
  case KOP_max:
  case KOP_zip_low:
  case KOP_zip_high: return least(a, b);
  case KOP_neg:
  case KOP_abs:
  case KOP_splat:
  case KOP_extract:
  case KOP_reduce_add:
  case KOP_reduce_max:
  case KOP_reduce_min: return a;
  default: return GRID_NONE;
  }
}

static void lower(Grids *g, KVal v, int16_t to) {
  if (to >= g->grid[v]) return;
  g->grid[v] = g->impatient ? GRID_NONE : to;
  g->changed = true;
}

static void visit_region(Grids *g, const KRegion *r);

static void visit_loop(Grids *g, const KInst *in) {
  const KLoop *l = in->loop;
  for (uint32_t i = 0; in->op == KOP_for && i < l->ncarry; i++)
    lower(g, l->param[i], g->grid[l->init[i]]);
  visit_region(g, &l->body);
  visit_region(g, &l->orelse);
  for (uint32_t i = 0; i < l->ncarry; i++) {
    int16_t next = g->grid[l->yield[i]];
    if (in->op == KOP_if) next = least(next, g->grid[l->else_yield[i]]);
    if (in->op == KOP_for) lower(g, l->param[i], next);
    lower(g, l->result[i], in->op == KOP_for ? g->grid[l->param[i]] : next);
  }
}

static void visit_region(Grids *g, const KRegion *r) {
  for (uint32_t i = 0; i < r->n; i++) {
    const KInst *in = r->inst[i];
    if (in->loop)
      visit_loop(g, in);
    else if (in->op == KOP_store && local_of(g, in) && accessed_type(g, in).scalar == K_f32)
      lower(g, in->addr->base, g->grid[in->arg[0]]);
    else if (in->result && in->type.scalar == K_f32)
      lower(g, in->result, of_inst(g, in));
  }
}

int16_t *emit_grids(const Kernel *k) {
  Grids g = {.k = k,
             .grid = mem_alloc(k->nvalues * sizeof(int16_t)),
             .local = mem_alloc(k->nlocals * sizeof(Local)),
             .changed = true};
  find_foreign(&g);
  for (uint32_t i = 0; i < k->nvalues; i++) g.grid[i] = GRID_ANY;
  for (int round = 0; g.changed; round++) {
    g.changed = false;
    g.impatient = round >= ROUNDS;
    visit_region(&g, &k->body);
  }
  for (uint32_t i = 0; i < k->nlocals; i++) mem_free(g.local[i].foreign);
  mem_free(g.local);
  return g.grid;
}
