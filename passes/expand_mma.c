/* Kernel to Kernel: mma becomes loops of dot4, for targets without a unit that multiplies tiles.
 *
 *   for i in 0..m:  for g in 0..n:
 *     sum = 0 or c[i, g];  for j in 0..k: sum = dot4(b[g, j], splat a[i, j], sum);  c[i, g] = sum
 *
 * Integers are exact, so the results are those of the tiles. Convention: what an address of the mma
 * adds up is one index here, so that the loops' variables always find room in it.
 */
#include "ir/kernel_impl.h"
#include "passes/passes.h"

/* The same address with all its indices summed up into one. */
static KAddr flat(KBuilder *b, const KAddr *a) {
  KVal sum = k_i64(b, a->offset);
  for (uint32_t i = 0; i < a->nterm; i++)
    sum = k_op2(b, KOP_add, sum, k_op2(b, KOP_mul, a->term[i].index, k_i64(b, a->term[i].stride)));
  return k_at(k_addr(a->base), sum, 1);
}

static void expand_one(KBuilder *b, const KInst *in) {
  const KMma *s = in->mma;
  KAddr c = flat(b, &in->addr[0]), a = flat(b, &in->addr[1]), x = flat(b, &in->addr[2]);
  KVal zero = k_i64(b, 0), i = k_for(b, "i", zero, k_i64(b, s->m), 1, 0, NULL);
  KVal g = k_for(b, "g", zero, k_i64(b, s->n), 1, 0, NULL);
  c = k_at(k_at(c, i, 16 * s->n), g, 16);
  KVal sum[1] = {s->add ? k_load(b, KT(i32, 16), c) : k_int(b, KT(i32, 16), 0)};
  KVal j = k_for(b, "j", zero, k_i64(b, s->k), 1, 1, sum);
  KVal codes = k_load(b, KT(i32, 16), k_at(k_at(x, g, s->group), j, 64));
  KVal word = k_load(b, KT(i32, 1), k_at(k_at(a, i, s->row), j, 4));
  sum[0] = k_dot4(b, codes, k_splat(b, word), sum[0], 8);
  k_for_end(b, sum);
  k_store(b, sum[0], c);
  k_for_end(b, NULL);
  k_for_end(b, NULL);
}

static bool rewrite(KBuilder *b, const KInst *in) {
  if (in->op != KOP_mma) return false;
  expand_one(b, in);
  return true;
}

void expand_mma(Kernel *k) {
  kregion_rewrite(k, &k->body, rewrite);
}
