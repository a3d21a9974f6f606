/* The constant `ingot_model` (runtime/abi.h) and every table it points to, as an object file. */
#ifndef INGOT_BACKENDS_CPU_MODEL_DATA_H
#define INGOT_BACKENDS_CPU_MODEL_DATA_H

#include "backends/backend.h"

/* Where the weights of an executable are mapped. */
#define WEIGHTS_ADDRESS UINT64_C(0x4000000000)

/* `library`: the tables may be linked into a position-independent program, and the
 * weights are another object's (WEIGHTS_SYMBOL). */
void model_data(const EmitRequest *r, bool library, Buf *object);

#endif
