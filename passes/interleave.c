/* Kernel to Kernel: like chains that stand one behind the other become one run, side by side.
 *
 * An epilogue is written vector by vector: some sixty cycles of one operation waiting for the
 * other, then a store, then the same for the next vector. A processor sees only a few such chains
 * ahead, since each is long. So `width` chains are taken in turns:
 *
 *   a0 a1 a2 store  b0 b1 b2 store     becomes     a0 b0 a1 b1 a2 b2 store store
 *
 * A chain is what stands between two stores of a straight piece of code; those of a group have the
 * same operations in the same order, read no result of each other, and load from no buffer that
 * they store to. Which value is computed from which stays as it is, and so do all bits.
 */
#include "ir/kernel_impl.h"
#include "passes/passes.h"

enum {
  SHORT = 12, /* operations: what a processor sees several of without help */
  MOST = 8    /* chains of a group */
};

typedef struct Chain {
  KInst *const *inst;
  uint32_t n; /* the last one is the store */
} Chain;

/* Instructions first .. first + n of the region, up to a store or to what is not straight. */
static Chain chain_at(const KRegion *r, uint32_t first) {
  Chain c = {.inst = r->inst + first};
  while (first + c.n < r->n) {
    const KInst *in = c.inst[c.n];
    if (in->loop || in->op == KOP_mma) break;
    c.n++;
    if (in->op == KOP_store) return c;
  }
  return (Chain){0};
}

static bool alike(const Chain *a, const Chain *b) {
  for (uint32_t i = 0; i < a->n; i++)
    if (a->inst[i]->op != b->inst[i]->op || !ktype_equal(a->inst[i]->type, b->inst[i]->type))
      return false;
  return true;
}

static bool gives(const Chain *c, KVal v) {
  for (uint32_t i = 0; v && i < c->n; i++)
    if (c->inst[i]->result == v) return true;
  return false;
}

static bool reads(const KInst *in, const Chain *c) {
  for (uint32_t i = 0; i < in->narg; i++)
    if (gives(c, in->arg[i])) return true;
  for (uint32_t i = 0; in->addr && i < in->addr->nterm; i++)
    if (gives(c, in->addr->term[i].index)) return true;
  return false;
}

/* Whether `next` may run before the store of `c`, and after the rest of it. */
static bool independent(const Chain *c, const Chain *next) {
  KVal stored = c->inst[c->n - 1]->addr->base;
  for (uint32_t i = 0; i < next->n; i++) {
    const KInst *in = next->inst[i];
    if (in->op == KOP_load && in->addr->base == stored) return false;
    if (reads(in, c)) return false;
  }
  return true;
}

/* The group that begins at `first`: its chains, 0 when there is none. The first chain may follow
 * other code in its piece: it is as long as the second. */
static uint32_t group_at(const KRegion *r, uint32_t first, uint32_t width, Chain *chain) {
  Chain head = chain_at(r, first), next;
  if (!head.n) return 0;
  next = chain_at(r, first + head.n);
  if (next.n < SHORT || next.n > head.n) return 0;
  chain[0] = (Chain){head.inst + (head.n - next.n), next.n};
  uint32_t n = 1, at = first + head.n;
  for (; n < width; n++, at += next.n) {
    chain[n] = chain_at(r, at);
    if (chain[n].n != next.n || !alike(&chain[0], &chain[n])) break;
    uint32_t i = 0;
    while (i < n && independent(&chain[i], &chain[n])) i++;
    if (i < n) break;
  }
  return n;
}

static void interleave_region(Kernel *k, KRegion *r, uint32_t width) {
  KRegion old = *r;
  *r = (KRegion){0};
  for (uint32_t i = 0; i < old.n;) {
    Chain chain[MOST];
    uint32_t n = group_at(&old, i, width, chain);
    if (n < 2) {
      KInst *in = old.inst[i++];
      kregion_push(k, r, in);
      if (!in->loop) continue;
      interleave_region(k, &in->loop->body, width);
      interleave_region(k, &in->loop->orelse, width);
      continue;
    }
    while (old.inst + i < chain[0].inst) kregion_push(k, r, old.inst[i++]);
    for (uint32_t at = 0; at < chain[0].n; at++)
      for (uint32_t c = 0; c < n; c++) kregion_push(k, r, chain[c].inst[at]);
    i += n * chain[0].n;
  }
}

void interleave(Kernel *k, uint32_t width) {
  if (width > 1) interleave_region(k, &k->body, width < MOST ? width : MOST);
}
