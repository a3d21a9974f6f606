/* Calls kernels for a test on another machine: linked with an object of kernels, run by an
 * emulator.
 *
 * Says how many levels and kernels there are, then answers requests of standard input until it
 * ends: a head, then the contents of the buffers; the answer is their contents after the call.
 */
#include "tests/cross/call_kernels.h"

#include "runtime/abi.h"

#include <stdio.h>

int main(void) {
  static _Alignas(64) uint8_t data[CALL_BUFFERS][CALL_BYTES];
  uint32_t counts[2] = {ingot_model.nlevels, ingot_model.nkernels};
  CallHead h;
  fwrite(counts, sizeof counts, 1, stdout);
  fflush(stdout);
  while (fread(&h, sizeof h, 1, stdin) == 1) {
    void *buffers[CALL_BUFFERS];
    if (h.level >= counts[0] || h.kernel >= counts[1] || h.nbuffers > CALL_BUFFERS) return 1;
    for (uint32_t i = 0; i < h.nbuffers; i++) buffers[i] = data[i];
    if (fread(data, CALL_BYTES, h.nbuffers, stdin) != h.nbuffers) return 1;
    ingot_model.levels[h.level].kernels[h.kernel](buffers, h.scalars, h.lo, h.hi);
    if (fwrite(data, CALL_BYTES, h.nbuffers, stdout) != h.nbuffers || fflush(stdout)) return 1;
  }
  return 0;
}
