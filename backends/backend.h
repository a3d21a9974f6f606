/* Backends: IR to artefact. A backend is a table of what it can do and a translator.
 *
 * Kernel backends (cpu, vulkan, null) take KPrograms, one per ISA level with equal launch tables;
 * backends/null is the example to copy.
 */
#ifndef INGOT_BACKENDS_BACKEND_H
#define INGOT_BACKENDS_BACKEND_H

#include "passes/passes.h"
#include "runtime/abi.h"

/* Everything of the program that is not kernels. */
typedef struct ProgramText {
  const char *name, *arch, *task;
  IngotGeneration generation;
  IngotEncoder encoder;      /* all 0: no encoder */
  Buf tokenizer, chat, card; /* blobs; empty = none */
} ProgramText;

typedef enum EmitKind {
  EMIT_EXE,
  EMIT_LIB,
  EMIT_OBJ,
  EMIT_LLVM_IR,
  EMIT_ASM,
  EMIT_KERNEL
} EmitKind;

/* A processor family: what --target names. Its contents are backends/cpu/arch.h's. */
typedef struct CpuArch CpuArch;
extern const char *const cpu_arch_names[]; /* NULL-terminated */
const CpuArch *cpu_arch(const char *name); /* NULL when unknown */
const CpuArch *cpu_arch_native(void);
const char *cpu_arch_name(const CpuArch *a);

typedef struct EmitRequest {
  Module *module;            /* for packing */
  KProgram *const *programs; /* one per level; all NULL-free; nlevels 0: a text-only program */
  const struct CpuTarget *const *levels;
  uint32_t nlevels;
  const CpuArch *arch; /* of a text-only program; NULL: this machine's */
  const ProgramText *text;
  EmitKind kind;
  const char *out; /* path; a temporary beside it is renamed at the end */
  /* Progress of long work; may be NULL. `done` and `total` in bytes or steps. */
  void (*progress)(void *user, const char *stage, uint64_t done, uint64_t total);
  void *user;
  bool time_passes;
  /* The runtime's relocatable object to link in place of the stored one (tests); NULL: stored. */
  const uint8_t *runtime;
  size_t runtime_size;
} EmitRequest;

typedef struct EmitResult {
  uint64_t code_bytes, weight_bytes, file_bytes;
} EmitResult;

typedef struct Backend {
  const char *name;
  const char *purpose;
  Status (*emit)(const EmitRequest *r, Diag *d, EmitResult *out);
} Backend;
extern const Backend backend_cpu, backend_null;
const Backend *backend_find(const char *name);

/* ISA levels of the cpu backend: rows of backends/cpu/targets.def, ascending. */
typedef struct CpuTarget {
  const char *name; /* --cpu NAME */
  uint32_t isa;     /* INGOT_X86_64_.. or INGOT_AARCH64_.. of runtime/abi.h */
  const CpuArch *arch;
  const char *llvm_cpu, *llvm_features;
  uint32_t vector_bytes; /* of the machine's widest vectors */
  LowerTarget lower;
} CpuTarget;
const CpuTarget *cpu_target(const char *name); /* NULL when unknown */
const CpuTarget *cpu_targets(size_t *n);
const CpuTarget *cpu_target_native(void); /* the widest level that this machine runs;
                                             NULL: none */
/* Whether this machine runs a level, by itself or below its widest one. */
bool cpu_target_runs(const CpuTarget *t);

#endif
