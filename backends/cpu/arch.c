/* The processor families: see arch.h. A new one is a constant here and its rows in targets.def. */
#include "backends/cpu/arch.h"

#include "backends/cpu/emit.h"
#include "runtime/image.h"

#include <elf.h>
#include <llvm-c/Target.h>
#include <string.h>

#define SHF_X86_64_LARGE 0x10000000 /* of the x86-64 psABI */

static void initialise_x86_64(void) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
}

static void initialise_aarch64(void) {
  LLVMInitializeAArch64TargetInfo();
  LLVMInitializeAArch64Target();
  LLVMInitializeAArch64TargetMC();
  LLVMInitializeAArch64AsmPrinter();
}

const CpuArch cpu_x86_64 = {
    .name = "x86_64-linux",
    .triple = "x86_64-unknown-linux-gnu",
    .llvm_cpu = "x86-64",
    .initialise = initialise_x86_64,
    .elf_machine = EM_X86_64,
    .elf_pointer = R_X86_64_64,
    .elf_far = SHF_X86_64_LARGE,
    .runtime = ingot_runtime_x86_64,
    .runtime_size = &ingot_runtime_x86_64_size,
    .library = ingot_lib_x86_64,
    .library_size = &ingot_lib_x86_64_size,
    .dot4 = emit_dot4,
    .dot2 = emit_dot2,
    .lookup = emit_lookup,
};

const CpuArch cpu_aarch64 = {
    .name = "aarch64-linux",
    .triple = "aarch64-unknown-linux-musl",
    .llvm_cpu = "generic",
    .initialise = initialise_aarch64,
    .elf_machine = EM_AARCH64,
    .elf_pointer = R_AARCH64_ABS64,
    .runtime = ingot_runtime_aarch64,
    .runtime_size = &ingot_runtime_aarch64_size,
    .library = ingot_lib_aarch64,
    .library_size = &ingot_lib_aarch64_size,
    .dot4 = emit_arm_dot4,
    .dot2 = emit_arm_dot2,
    .lookup = emit_arm_lookup,
};

static const CpuArch *const archs[] = {&cpu_x86_64, &cpu_aarch64};
const char *const cpu_arch_names[] = {"x86_64-linux", "aarch64-linux", NULL};
_Static_assert(COUNT(archs) + 1 == COUNT(cpu_arch_names), "every family has its name in the list");

const CpuArch *cpu_arch(const char *name) {
  for (size_t i = 0; i < COUNT(archs); i++)
    if (!strcmp(archs[i]->name, name)) return archs[i];
  return NULL;
}

const CpuArch *cpu_arch_native(void) {
#if defined(__aarch64__)
  return &cpu_aarch64;
#else
  return &cpu_x86_64;
#endif
}

const char *cpu_arch_name(const CpuArch *a) {
  return a->name;
}

const CpuArch *cpu_arch_of(const EmitRequest *r) {
  return r->nlevels ? r->levels[0]->arch : r->arch ? r->arch : cpu_arch_native();
}
