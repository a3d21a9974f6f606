/* Which floats of a kernel are multiples of a power of two, for fma without an instruction.
 *
 * The scales of quantised weights are halves (multiples of 2^-24), what they multiply are integers,
 * and rounding a sum of such to a float leaves it a multiple. Sums of multiples of 2^g below
 * 2^(g+53) are exact in double, whatever was added up; emit_soft.c tests the size instead of the
 * error then. Values start as multiples of everything and are lowered until nothing changes; a loop
 * that goes on lowering gets no grid.
 */
#include "backends/cpu/emit.h"

#include <math.h>

enum { ROUNDS = 6, LEAST = -149 /* below a float's own grid rounding could leave it */ };

typedef struct Grids {
  const Kernel *k;
  int16_t *grid;
  bool changed, impatient;
} Grids;

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
  KVal base = in->addr->base;
  return g->k->values[base].kind == KV_LOCAL ? g->grid[base] : GRID_NONE;
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
  case KOP_max: return least(a, b);
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
    else if (in->op == KOP_store && g->k->values[in->addr->base].kind == KV_LOCAL)
      lower(g, in->addr->base,
            k_type(g->k, in->arg[0]).scalar == K_f32 ? g->grid[in->arg[0]] : GRID_NONE);
    else if (in->result && in->type.scalar == K_f32)
      lower(g, in->result, of_inst(g, in));
  }
}

int16_t *emit_grids(const Kernel *k) {
  Grids g = {.k = k, .grid = mem_alloc(k->nvalues * sizeof(int16_t)), .changed = true};
  for (uint32_t i = 0; i < k->nvalues; i++) g.grid[i] = GRID_ANY;
  for (int round = 0; g.changed; round++) {
    g.changed = false;
    g.impatient = round >= ROUNDS;
    visit_region(&g, &k->body);
  }
  return g.grid;
}
