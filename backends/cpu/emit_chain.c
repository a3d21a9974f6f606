/* Chains of dot4 in words of 16 bits, for levels without an instruction that adds four products.
 *
 * A dot4 whose sum only the next dot4 reads, as its accumulator, may stay in words: pairs of
 * products of codes of few bits fit so many times before they have to be widened. How products
 * become words, and words lanes of 32 bits, is the processor's affair (emit_dot.c, emit_arm.c).
 */
#include "backends/cpu/emit.h"

/* How many sums of two products, of codes of so many bits, a word holds: 8, 4, 2, 1, and 0 for 8
 * bits. */
static uint32_t chain_limit(int64_t bits) {
  return (uint32_t)(32767 / (2 * 128 * ((1 << bits) - 1)));
}

/* Whether the one user of this dot4 is a dot4 that adds to it and can add in words. */
static bool goes_on(const KernelEmit *e, const KInst *in, uint32_t length) {
  const KInst *user = e->user[in->result];
  return length < chain_limit(in->imm.i) && user && user->op == KOP_dot4 &&
         user->arg[2] == in->result && user->imm.i == in->imm.i;
}

DotChain emit_chain_begin(KernelEmit *e, const KInst *in) {
  DotChain chain = e->chain[in->arg[2]];
  if (!chain.length) chain.start = e->value[in->arg[2]];
  chain.length++;
  return chain;
}

void emit_chain_add(KernelEmit *e, DotChain *chain, unsigned i, LLVMValueRef words) {
  LLVMValueRef *sum = &chain->words[i];
  *sum = *sum ? LLVMBuildAdd(e->b, *sum, words, "") : words;
}

bool emit_chain_ends(KernelEmit *e, const KInst *in, const DotChain *chain) {
  bool ends = !goes_on(e, in, chain->length);
  e->chain[in->result] = ends ? (DotChain){0} : *chain;
  return ends;
}
