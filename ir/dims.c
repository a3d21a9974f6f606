/* Dimensions: interned integer expressions over named symbols.
 *
 * Every expression is brought to one form, so that equal ones get equal ids: a polynomial, its
 * terms (coefficient and sorted factors) sorted, the number last; factors are symbols and
 * quotients, and quotients are reduced by what divides both sides (floor and ceiling allow it). The
 * order within an expression follows names, not ids, so that text read back gives the same
 * expression. Ranges are interval arithmetic; whatever would leave 63 bits is refused.
 */
#include "ir/graph_impl.h"

#include <string.h>

enum { MAX_TERMS = 32 };

struct Dims {
  Arena *arena;
  DimExpr *exprs; /* [0] unused */
  uint32_t count, cap;
  DimId *slots; /* open addressing by hash of the expression; 0 = empty */
  uint32_t nslots;
};

/* A polynomial: the sum of coefficient * id, plus `constant`. Also a list of factors (ids alone).
 */
typedef struct Terms {
  int64_t constant;
  uint32_t n;
  struct {
    DimId id;
    int64_t coefficient;
  } term[MAX_TERMS];
} Terms;

Dims *dims_new(Arena *a) {
  Dims *d = ARENA_NEW(a, Dims);
  d->arena = a;
  *VEC_PUSH(d->exprs, d->count, d->cap) = (DimExpr){0};
  return d;
}

void dims_free(Dims *d) {
  if (!d) return;
  mem_free(d->exprs);
  mem_free(d->slots);
}

const DimExpr *dim_get(const Dims *d, DimId id) {
  BUG_IF(id == 0 || id >= d->count, "dimension %u of %u", id, d->count - 1);
  return &d->exprs[id];
}

uint32_t dim_count(const Dims *d) {
  return d->count - 1;
}

bool dim_is_const(const Dims *d, DimId id, int64_t *out) {
  const DimExpr *e = dim_get(d, id);
  if (e->kind != DIM_CONST) return false;
  if (out) *out = e->value;
  return true;
}

/* ---- interning ---- */

static uint32_t hash_expr(const DimExpr *e) {
  uint64_t h = (uint64_t)e->kind * 0x9e3779b97f4a7c15u;
  h = (h ^ e->a) * 0x9e3779b97f4a7c15u;
  h = (h ^ e->b) * 0x9e3779b97f4a7c15u;
  h = (h ^ (uint64_t)e->value) * 0x9e3779b97f4a7c15u;
  for (const char *s = e->name; s && *s; s++) h = (h ^ (unsigned char)*s) * 0x9e3779b97f4a7c15u;
  return (uint32_t)(h >> 32);
}

static bool same_expr(const DimExpr *x, const DimExpr *y) {
  if (x->kind != y->kind || x->a != y->a || x->b != y->b || x->value != y->value) return false;
  return x->kind != DIM_SYMBOL || strcmp(x->name, y->name) == 0;
}

static DimId *find_slot(const Dims *d, const DimExpr *e) {
  uint32_t i = hash_expr(e) & (d->nslots - 1);
  while (d->slots[i] && !same_expr(&d->exprs[d->slots[i]], e)) i = (i + 1) & (d->nslots - 1);
  return &d->slots[i];
}

static DimId intern(Dims *d, const DimExpr *e) {
  if (2 * (d->count + 1) > d->nslots) {
    d->nslots = d->nslots ? 2 * d->nslots : 64;
    mem_free(d->slots);
    d->slots = mem_alloc(d->nslots * sizeof *d->slots);
    for (DimId id = 1; id < d->count; id++) *find_slot(d, &d->exprs[id]) = id;
  }
  DimId *slot = find_slot(d, e);
  if (!*slot) {
    *slot = d->count;
    *VEC_PUSH(d->exprs, d->count, d->cap) = *e;
  }
  return *slot;
}

DimId dim_const(Dims *d, int64_t value) {
  return intern(d, &(DimExpr){.kind = DIM_CONST, .value = value, .lo = value, .hi = value});
}

DimId dim_find(const Dims *d, const char *name) {
  if (!d->nslots) return 0;
  return *find_slot(d, &(DimExpr){.kind = DIM_SYMBOL, .name = name});
}

DimId dim_symbol(Dims *d, const char *name, int64_t lo, int64_t hi) {
  DimId id = dim_find(d, name);
  BUG_IF(lo > hi, "symbol %s in %lld..%lld", name, (long long)lo, (long long)hi);
  if (id) {
    const DimExpr *e = dim_get(d, id);
    BUG_IF(e->lo != lo || e->hi != hi, "symbol %s declared twice with different ranges", name);
    return id;
  }
  return intern(
      d, &(DimExpr){.kind = DIM_SYMBOL, .name = arena_strdup(d->arena, name), .lo = lo, .hi = hi});
}

/* An order of expressions that does not depend on when they were made. */
static int compare(const Dims *d, DimId x, DimId y) {
  if (x == y) return 0;
  const DimExpr *a = dim_get(d, x), *b = dim_get(d, y);
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (a->kind == DIM_CONST) return a->value < b->value ? -1 : 1;
  if (a->kind == DIM_SYMBOL) return strcmp(a->name, b->name);
  int first = compare(d, a->a, b->a);
  return first ? first : compare(d, a->b, b->b);
}

/* ---- ranges ---- */

static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t ceil_div(int64_t a, int64_t b) {
  return a / b + (a % b != 0 && (a < 0) == (b < 0));
}

/* One operation on numbers; false on overflow or division by zero. */
static bool apply(DimKind kind, int64_t a, int64_t b, int64_t *out) {
  switch (kind) {
  case DIM_ADD: return !__builtin_add_overflow(a, b, out);
  case DIM_SUB: return !__builtin_sub_overflow(a, b, out);
  case DIM_MUL: return !__builtin_mul_overflow(a, b, out);
  case DIM_DIV:
  case DIM_CEILDIV:
    if (b == 0 || (a == INT64_MIN && b == -1)) return false;
    *out = kind == DIM_DIV ? floor_div(a, b) : ceil_div(a, b);
    return true;
  default: return false;
  }
}

/* Interns kind(a, b) as it stands, with its range; 0 when the range leaves 63 bits. */
static DimId make(Dims *d, DimKind kind, DimId a, DimId b) {
  const DimExpr *x = dim_get(d, a), *y = dim_get(d, b);
  DimExpr e = {.kind = kind, .a = a, .b = b};
  if ((kind == DIM_DIV || kind == DIM_CEILDIV) && y->lo <= 0) return 0;
  const int64_t xs[2] = {x->lo, x->hi}, ys[2] = {y->lo, y->hi};
  for (int i = 0; i < 4; i++) { /* monotonic in each operand: the extremes are at corners */
    int64_t v;
    if (!apply(kind, xs[i / 2], ys[i % 2], &v)) return 0;
    if (i == 0 || v < e.lo) e.lo = v;
    if (i == 0 || v > e.hi) e.hi = v;
  }
  return intern(d, &e);
}

/* ---- polynomials ---- */

static bool add_term(Terms *t, DimId id, int64_t coefficient) {
  for (uint32_t i = 0; i < t->n; i++) {
    if (t->term[i].id == id)
      return apply(DIM_ADD, t->term[i].coefficient, coefficient, &t->term[i].coefficient);
  }
  if (t->n == MAX_TERMS) return false;
  t->term[t->n].id = id;
  t->term[t->n++].coefficient = coefficient;
  return true;
}

/* Adds factor * id to the terms. An interned expression is in normal form already. */
static bool add_dim(const Dims *d, DimId id, int64_t factor, Terms *t) {
  const DimExpr *e = dim_get(d, id);
  int64_t c;
  switch (e->kind) {
  case DIM_CONST:
    return apply(DIM_MUL, e->value, factor, &c) && apply(DIM_ADD, t->constant, c, &t->constant);
  case DIM_ADD: return add_dim(d, e->a, factor, t) && add_dim(d, e->b, factor, t);
  case DIM_SUB:
    return add_dim(d, e->a, factor, t) && apply(DIM_MUL, factor, -1, &c) && add_dim(d, e->b, c, t);
  case DIM_MUL:
    if (dim_is_const(d, e->a, &c)) return apply(DIM_MUL, c, factor, &c) && add_term(t, e->b, c);
    return add_term(t, id, factor);
  default: return add_term(t, id, factor);
  }
}

/* The terms of one sign, joined to `sum` (0: none yet) by +, or by - for negative ones. */
static bool join_terms(Dims *d, const Terms *t, bool negative, DimId *sum) {
  for (uint32_t i = 0; i < t->n; i++) {
    int64_t c = t->term[i].coefficient;
    if (c == 0 || (c < 0) != negative) continue;
    if (c == INT64_MIN) return false;
    DimId x = t->term[i].id;
    if (c != 1 && c != -1) x = make(d, DIM_MUL, dim_const(d, c < 0 ? -c : c), x);
    if (x && negative)
      x = make(d, DIM_SUB, *sum ? *sum : dim_const(d, 0), x);
    else if (x && *sum)
      x = make(d, DIM_ADD, *sum, x);
    if (!x) return false;
    *sum = x;
  }
  return true;
}

static void sort_terms(const Dims *d, Terms *t) {
  for (uint32_t i = 1; i < t->n; i++) {
    for (uint32_t j = i; j && compare(d, t->term[j - 1].id, t->term[j].id) > 0; j--) {
      Terms one = {.term[0] = t->term[j]};
      t->term[j] = t->term[j - 1];
      t->term[j - 1] = one.term[0];
    }
  }
}

/* The interned normal form; 0 on overflow. */
static DimId join(Dims *d, Terms *t) {
  DimId sum = 0;
  sort_terms(d, t);
  if (!join_terms(d, t, false, &sum) || !join_terms(d, t, true, &sum)) return 0;
  if (!sum) return dim_const(d, t->constant);
  if (t->constant == 0) return sum;
  if (t->constant > 0 || t->constant == INT64_MIN)
    return make(d, DIM_ADD, sum, dim_const(d, t->constant));
  return make(d, DIM_SUB, sum, dim_const(d, -t->constant));
}

/* ---- monomials: sorted factors a*b*c without a number; id 0 stands for the empty one ---- */

static bool add_factors(const Dims *d, DimId id, Terms *f) {
  if (!id) return true;
  const DimExpr *e = dim_get(d, id);
  if (e->kind == DIM_MUL) return add_factors(d, e->a, f) && add_factors(d, e->b, f);
  if (f->n == MAX_TERMS) return false;
  f->term[f->n++].id = id;
  return true;
}

static bool join_factors(Dims *d, Terms *f, DimId *out) {
  sort_terms(d, f);
  *out = f->n ? f->term[0].id : 0;
  for (uint32_t i = 1; i < f->n && *out; i++) *out = make(d, DIM_MUL, *out, f->term[i].id);
  return *out || !f->n;
}

/* Adds c * x * y to the terms. */
static bool add_product(Dims *d, DimId x, DimId y, int64_t c, Terms *t) {
  Terms f = {0};
  DimId product;
  if (!add_factors(d, x, &f) || !add_factors(d, y, &f) || !join_factors(d, &f, &product))
    return false;
  return product ? add_term(t, product, c) : apply(DIM_ADD, t->constant, c, &t->constant);
}

static DimId make_product(Dims *d, DimId a, DimId b) {
  Terms x = {0}, y = {0}, t = {0};
  int64_t c;
  if (!add_dim(d, a, 1, &x) || !add_dim(d, b, 1, &y)) return 0;
  if (x.n == MAX_TERMS || y.n == MAX_TERMS) return 0;
  x.term[x.n].id = y.term[y.n].id = 0; /* the constants, as terms of the empty monomial */
  x.term[x.n++].coefficient = x.constant;
  y.term[y.n++].coefficient = y.constant;
  for (uint32_t i = 0; i < x.n; i++) {
    for (uint32_t j = 0; j < y.n; j++) {
      if (!apply(DIM_MUL, x.term[i].coefficient, y.term[j].coefficient, &c)) return 0;
      if (c && !add_product(d, x.term[i].id, y.term[j].id, c, &t)) return 0;
    }
  }
  return join(d, &t);
}

/* ---- quotients ---- */

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b;
    b = r;
  }
  return a < 0 ? -a : a;
}

static int64_t content(const Terms *t, int64_t g) {
  g = gcd(g, t->constant);
  for (uint32_t i = 0; i < t->n; i++) g = gcd(g, t->term[i].coefficient);
  return g;
}

static void divide(Terms *t, int64_t g) {
  t->constant /= g;
  for (uint32_t i = 0; i < t->n; i++) t->term[i].coefficient /= g;
}

/* Takes factor `f` once out of every term; false (and garbage in t) when a term lacks it. */
static bool take_factor(Dims *d, Terms *t, DimId f) {
  Terms old = *t;
  if (t->constant) return false;
  *t = (Terms){0};
  for (uint32_t i = 0; i < old.n; i++) {
    Terms fs = {0};
    uint32_t k = 0;
    DimId rest;
    if (!add_factors(d, old.term[i].id, &fs)) return false;
    while (k < fs.n && fs.term[k].id != f) k++;
    if (k == fs.n) return false;
    fs.term[k] = fs.term[--fs.n];
    if (!join_factors(d, &fs, &rest)) return false;
    if (!rest)
      t->constant = old.term[i].coefficient;
    else if (!add_term(t, rest, old.term[i].coefficient))
      return false;
  }
  return true;
}

/* Takes out of both what divides them: numbers and positive factors. Floor and ceiling allow it. */
static void reduce(Dims *d, Terms *x, Terms *y) {
  int64_t g = content(y, content(x, 0));
  if (g > 1) {
    divide(x, g);
    divide(y, g);
  }
  if (y->n != 1) return;
  Terms f = {0};
  if (!add_factors(d, y->term[0].id, &f)) return;
  for (uint32_t i = 0; i < f.n; i++) {
    Terms p = *x, q = *y;
    if (dim_get(d, f.term[i].id)->lo <= 0) continue;
    if (!take_factor(d, &p, f.term[i].id) || !take_factor(d, &q, f.term[i].id)) continue;
    *x = p;
    *y = q;
  }
}

static DimId make_quotient(Dims *d, DimKind kind, DimId a, DimId b) {
  Terms x = {0}, y = {0};
  int64_t p, q, v;
  if (dim_get(d, b)->lo <= 0) return 0;
  if (a == b) return dim_const(d, 1);
  if (!add_dim(d, a, 1, &x) || !add_dim(d, b, 1, &y)) return 0;
  reduce(d, &x, &y);
  DimId top = join(d, &x), bottom = join(d, &y);
  if (!top || !bottom) return 0;
  bool number = dim_is_const(d, bottom, &q);
  if (number && q == 1) return top;
  if (number && dim_is_const(d, top, &p)) return apply(kind, p, q, &v) ? dim_const(d, v) : 0;
  return make(d, kind, top, bottom);
}

DimId dim_try_op(Dims *d, DimKind kind, DimId a, DimId b) {
  Terms t = {0};
  switch (kind) {
  case DIM_ADD:
  case DIM_SUB:
    return add_dim(d, a, 1, &t) && add_dim(d, b, kind == DIM_ADD ? 1 : -1, &t) ? join(d, &t) : 0;
  case DIM_MUL: return make_product(d, a, b);
  case DIM_DIV:
  case DIM_CEILDIV: return make_quotient(d, kind, a, b);
  default: return 0;
  }
}

DimId dim_op(Dims *d, DimKind kind, DimId a, DimId b) {
  DimId id = dim_try_op(d, kind, a, b);
  BUG_IF(!id, "a dimension that overflows or divides by zero");
  return id;
}

/* ---- evaluation and printing ---- */

int64_t dim_eval(const Dims *d, DimId id, const int64_t *env) {
  const DimExpr *e = dim_get(d, id);
  if (e->kind == DIM_CONST) return e->value;
  if (e->kind == DIM_SYMBOL) return env[id];
  int64_t v = 0;
  BUG_IF(!apply(e->kind, dim_eval(d, e->a, env), dim_eval(d, e->b, env), &v),
         "overflow while evaluating a dimension");
  return v;
}

/* Binding strength: a quotient needs parentheses inside products, a sum inside both. */
static int strength(DimKind kind) {
  return kind <= DIM_SYMBOL ? 3 : kind <= DIM_SUB ? 1 : 2;
}

static void print_operand(const Dims *d, DimId id, int outer, Buf *out) {
  const DimExpr *e = dim_get(d, id);
  bool parens = strength(e->kind) < outer || (e->kind == DIM_CONST && e->value < 0);
  if (parens) buf_puts(out, "(");
  dim_print(d, id, out);
  if (parens) buf_puts(out, ")");
}

void dim_print(const Dims *d, DimId id, Buf *out) {
  static const char *const sign[] = {
      [DIM_ADD] = "+", [DIM_SUB] = "-", [DIM_MUL] = "*", [DIM_DIV] = "/", [DIM_CEILDIV] = "^/"};
  const DimExpr *e = dim_get(d, id);
  if (e->kind == DIM_CONST) {
    buf_printf(out, "%lld", (long long)e->value);
  } else if (e->kind == DIM_SYMBOL) {
    buf_puts(out, e->name);
  } else {
    DimKind left = dim_get(d, e->a)->kind, right = dim_get(d, e->b)->kind;
    bool product = e->kind == DIM_MUL; /* a*(b*c) needs no parentheses, a quotient in it does */
    print_operand(d, e->a, strength(e->kind) + (product && left != DIM_MUL), out);
    buf_puts(out, sign[e->kind]);
    print_operand(d, e->b, strength(e->kind) + !(product && right == DIM_MUL), out);
  }
}
