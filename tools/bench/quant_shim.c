/* The encoders and decoders of ir/quant behind plain C functions, for tools/bench/quant_error.py.
 *
 * A format is named by its ggml type number. Returns 0, or 1 for a format that isn't computed.
 */
#include "ir/quant.h"

int quant_shim_encode(unsigned type, const float *x, const float *weight, void *blocks, size_t n);
int quant_shim_decode(unsigned type, const void *blocks, float *x, size_t n);

int quant_shim_encode(unsigned type, const float *x, const float *weight, void *blocks, size_t n) {
  const QuantDef *q = quant_def(quant_from_ggml(type));
  if (!q) return 1;
  q->encode(x, weight, blocks, n);
  return 0;
}

int quant_shim_decode(unsigned type, const void *blocks, float *x, size_t n) {
  const QuantDef *q = quant_def(quant_from_ggml(type));
  if (!q) return 1;
  q->decode(blocks, x, n);
  return 0;
}
