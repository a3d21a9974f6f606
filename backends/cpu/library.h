/* `--emit lib`: a static library with the model, its weights and the runtime, and a C header. */
#ifndef INGOT_BACKENDS_CPU_LIBRARY_H
#define INGOT_BACKENDS_CPU_LIBRARY_H

#include "backends/cpu/archive.h"
#include "backends/cpu/output.h"

#include "backends/backend.h"

/* Writes the archive at file->path: `model` (kernels and tables as one object), `runtime`, weights.
 */
Status library_write(const EmitRequest *r, const Output *file, const Buf *model, const Buf *runtime,
                     Diag *d, EmitResult *out);

#endif
