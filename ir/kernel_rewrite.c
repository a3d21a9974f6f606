/* Rebuilding a kernel's body, for passes that put other instructions where one stood. */
#include "ir/kernel_impl.h"

void kregion_rewrite(Kernel *k, KRegion *r, KRewrite *rewrite) {
  KRegion old = *r;
  *r = (KRegion){0};
  KBuilder b = kbuilder(k);
  b.region = r;
  for (uint32_t i = 0; i < old.n; i++) {
    KInst *in = old.inst[i];
    if (rewrite(&b, in)) continue;
    kregion_push(k, r, in);
    if (!in->loop) continue;
    kregion_rewrite(k, &in->loop->body, rewrite);
    kregion_rewrite(k, &in->loop->orelse, rewrite);
  }
}
