/* Kernel to Kernel: exp, log, tanh, erf, gelu, sin, cos become arithmetic, so no backend sees them.
 *
 * Regions are rebuilt instruction by instruction, an expansion (passes/math) going where its op
 * stood. Convention: the expansion's last instruction takes over the result of the op that it
 * replaces, so nothing that reads it needs to change.
 */
#include "ir/kernel_impl.h"
#include "passes/math/math.h"
#include "passes/passes.h"

typedef KVal Expansion(KBuilder *b, KVal x);

static Expansion *expansion_of(KOpCode op) {
  switch (op) {
  case KOP_exp: return math_exp;
  case KOP_log: return math_log;
  case KOP_tanh: return math_tanh;
  case KOP_erf: return math_erf;
  case KOP_gelu: return math_gelu;
  case KOP_sin: return math_sin;
  case KOP_cos: return math_cos;
  default: return NULL;
  }
}

static bool rewrite(KBuilder *b, const KInst *in) {
  Expansion *expand = expansion_of(in->op);
  if (!expand) return false;
  KVal y = expand(b, in->arg[0]);
  KInst *last = b->region->inst[b->region->n - 1];
  BUG_IF(last->result != y, "expansion of %s does not end in its result", kop_name(in->op));
  last->result = in->result;
  b->kernel->values[in->result].def = last;
  return true;
}

void expand_math(Kernel *k) {
  kregion_rewrite(k, &k->body, rewrite);
}
