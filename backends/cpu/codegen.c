/* Code generation through the LLVM C API: see codegen.h.
 *
 * A short list of passes instead of a standard pipeline: kernels arrive vectorised, unrolled and
 * with loops rotated, so what is left is cleaning, hoisting and sharing. LLVM reports some faults
 * of ours by ending the process (an intrinsic that the function's features lack); the handler then
 * removes temporary files first. Position-independent code, so that the same objects serve
 * libraries.
 */
#include "backends/cpu/codegen.h"

#include "backends/cpu/arch.h"
#include "backends/cpu/crew.h"
#include "backends/cpu/emit.h"
#include "backends/cpu/output.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_PARTS = 8 };

static const char pass_list[] =
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),gvn,"
    "instcombine<no-verify-fixpoint>,dce)";

/* ---- LLVM's own set-up -------------------------------------------------------------------------
 */

static void on_fatal(const char *reason) {
  output_abandon_all();
  fprintf(stderr, "ingot: bug: LLVM cannot compile a kernel: %s\n", reason);
  _Exit(1);
}

static void initialise(void) {
  LLVMInstallFatalErrorHandler(on_fatal);
  cpu_x86_64.initialise();
  cpu_aarch64.initialise();
}

/* Errors inside LLVM would otherwise be printed and end the process. */
static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
  Buf *error = user;
  if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || error->size) return;
  char *text = LLVMGetDiagInfoDescription(info);
  buf_puts(error, text);
  LLVMDisposeMessage(text);
}

static LLVMTargetMachineRef target_machine(const CpuArch *arch) {
  LLVMTargetRef target;
  char *error = NULL;
  BUG_IF(LLVMGetTargetFromTriple(arch->triple, &target, &error), "LLVM without %s: %s", arch->name,
         error);
  return LLVMCreateTargetMachine(target, arch->triple, arch->llvm_cpu, "", LLVMCodeGenLevelDefault,
                                 LLVMRelocPIC, LLVMCodeModelSmall);
}

/* ---- dealing kernels out -----------------------------------------------------------------------
 */

typedef struct Job {
  uint32_t kernel, level;
  uint64_t cost; /* instructions as emitted: unrolled loops count every trip */
} Job;

typedef struct Part {
  Job *job;
  uint32_t njobs, cjobs;
  uint64_t cost;
  Buf error;
  double translate, passes, emit;
} Part;

typedef struct CodeRun {
  const EmitRequest *request;
  CodeForm form;
  bool ***constant; /* [level][kernel][buffer] */
  Part part[MAX_PARTS];
  Buf *out;
  uint32_t nparts;
  uint64_t done, total;
  atomic_uint next;
  pthread_mutex_t lock;
} CodeRun;

static uint64_t region_cost(const Kernel *k, const KRegion *r) {
  uint64_t cost = 0;
  for (uint32_t i = 0; i < r->n; i++) {
    const KInst *in = r->inst[i];
    cost++;
    if (!in->loop) continue;
    uint64_t trips = 1, body = region_cost(k, &in->loop->body);
    if (in->op == KOP_for && in->loop->unroll) {
      const KInst *lo = k->values[in->arg[0]].def, *hi = k->values[in->arg[1]].def;
      if (lo && hi && hi->imm.i > lo->imm.i)
        trips = (uint64_t)((hi->imm.i - lo->imm.i + in->imm.i - 1) / in->imm.i);
    }
    cost += trips * body + region_cost(k, &in->loop->orelse);
  }
  return cost;
}

static int dearer(const void *a, const void *b) {
  const Job *x = a, *y = b;
  if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
  if (x->level != y->level) return x->level < y->level ? -1 : 1;
  return x->kernel < y->kernel ? -1 : x->kernel > y->kernel;
}

static int in_order(const void *a, const void *b) {
  const Job *x = a, *y = b;
  if (x->level != y->level) return x->level < y->level ? -1 : 1;
  return x->kernel < y->kernel ? -1 : x->kernel > y->kernel;
}

static bool has_dots(const KRegion *r) {
  for (uint32_t i = 0; i < r->n; i++) {
    const KInst *in = r->inst[i];
    if (in->op == KOP_dot4 || in->op == KOP_dot2) return true;
    if (in->loop && (has_dots(&in->loop->body) || has_dots(&in->loop->orelse))) return true;
  }
  return false;
}

/* Whether a kernel of `level` would become the same function one level below: what that lacks is
 * tiles, or instructions for dot4 and dot2. */
static bool same_below(const EmitRequest *r, uint32_t level, uint32_t kernel) {
  const CpuTarget *t = r->levels[level], *below = r->levels[level - 1];
  bool extends = !strcmp(t->llvm_cpu, below->llvm_cpu) &&
                 !strncmp(t->llvm_features, below->llvm_features, strlen(below->llvm_features)) &&
                 below->isa + 1 == t->isa;
  const Kernel *here = r->programs[level]->kernels[kernel];
  return extends && (t->lower.mma || !has_dots(&here->body)) &&
         kernel_same(here, r->programs[level - 1]->kernels[kernel]);
}

/* The level at which a kernel of `level` is compiled: see cpu_kernel_symbol. */
static uint32_t code_level(const EmitRequest *r, uint32_t level, uint32_t kernel) {
  while (level && same_below(r, level, kernel)) level--;
  return level;
}

/* The dearest job goes to the part that has least, again and again. */
static void deal(CodeRun *run) {
  const EmitRequest *r = run->request;
  Job *all = NULL;
  uint32_t n = 0, cap = 0;
  for (uint32_t l = 0; l < r->nlevels; l++)
    for (uint32_t k = 0; k < r->programs[l]->nkernels; k++) {
      const Kernel *kernel = r->programs[l]->kernels[k];
      if (code_level(r, l, k) != l) continue;
      *VEC_PUSH(all, n, cap) = (Job){k, l, region_cost(kernel, &kernel->body)};
    }
  if (n) qsort(all, n, sizeof *all, dearer);
  run->nparts = run->form == CODE_OBJECT ? (n < MAX_PARTS ? n : MAX_PARTS) : 1;
  for (uint32_t i = 0; i < n; i++) {
    Part *least = &run->part[0];
    for (uint32_t p = 1; p < run->nparts; p++)
      if (run->part[p].cost < least->cost) least = &run->part[p];
    *VEC_PUSH(least->job, least->njobs, least->cjobs) = all[i];
    least->cost += all[i].cost;
  }
  for (uint32_t p = 0; p < run->nparts; p++)
    if (run->part[p].njobs) qsort(run->part[p].job, run->part[p].njobs, sizeof(Job), in_order);
  run->total = n;
  mem_free(all);
}

/* Buffers that every launch of a kernel binds to packed weights. */
static bool **constant_buffers(Arena *a, const KProgram *p) {
  bool **out = ARENA_ARRAY(a, bool *, p->nkernels);
  bool *launched = ARENA_ARRAY(a, bool, p->nkernels);
  for (uint32_t k = 0; k < p->nkernels; k++) out[k] = ARENA_ARRAY(a, bool, p->kernels[k]->nbuffers);
  for (uint32_t e = 0; e < p->nentries; e++)
    for (uint32_t i = 0; i < p->entries[e].nlaunches; i++) {
      const KLaunch *l = &p->entries[e].launches[i];
      bool first = !launched[l->kernel];
      launched[l->kernel] = true;
      for (uint32_t b = 0; b < p->kernels[l->kernel]->nbuffers; b++)
        out[l->kernel][b] = l->bind[b].space == KS_weight && (first || out[l->kernel][b]);
    }
  return out;
}

/* ---- one part ----------------------------------------------------------------------------------
 */

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cpu_kernel_symbol(const EmitRequest *r, uint32_t level, uint32_t kernel, Buf *out) {
  level = code_level(r, level, kernel);
  buf_printf(out, "ingot.k%u.%s.%s", kernel, r->programs[level]->kernels[kernel]->name,
             r->levels[level]->name);
}

static void translate(CodeRun *run, Part *part, LLVMModuleRef module) {
  const EmitRequest *r = run->request;
  for (uint32_t i = 0; i < part->njobs; i++) {
    const Job *j = &part->job[i];
    Buf symbol = {0};
    cpu_kernel_symbol(r, j->level, j->kernel, &symbol);
    emit_kernel(module, r->programs[j->level]->kernels[j->kernel], r->levels[j->level],
                run->constant[j->level][j->kernel], symbol.data);
    buf_free(&symbol);
  }
}

static void take_error(Buf *error, char *message) {
  if (message && !error->size) buf_puts(error, message);
  LLVMDisposeMessage(message);
}

static void optimise(Part *part, LLVMModuleRef module, LLVMTargetMachineRef machine) {
  char *message = NULL;
  if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
    take_error(&part->error, message);
    return;
  }
  LLVMDisposeMessage(message);
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMErrorRef error = LLVMRunPasses(module, pass_list, machine, options);
  LLVMDisposePassBuilderOptions(options);
  if (!error) return;
  char *text = LLVMGetErrorMessage(error);
  buf_puts(&part->error, text);
  LLVMDisposeErrorMessage(text);
}

static void write_part(CodeRun *run, Part *part, LLVMModuleRef module, LLVMTargetMachineRef machine,
                       Buf *out) {
  char *message = NULL;
  if (run->form == CODE_LLVM_IR) {
    message = LLVMPrintModuleToString(module);
    buf_puts(out, message);
    LLVMDisposeMessage(message);
    return;
  }
  LLVMCodeGenFileType type = run->form == CODE_ASM ? LLVMAssemblyFile : LLVMObjectFile;
  LLVMMemoryBufferRef memory;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &message, &memory)) {
    take_error(&part->error, message);
    return;
  }
  buf_put(out, LLVMGetBufferStart(memory), LLVMGetBufferSize(memory));
  LLVMDisposeMemoryBuffer(memory);
}

static void compile_part(CodeRun *run, uint32_t index) {
  Part *part = &run->part[index];
  LLVMContextRef context = LLVMContextCreate();
  LLVMContextSetDiagnosticHandler(context, on_diagnostic, &part->error);
  LLVMContextSetDiscardValueNames(context, run->form == CODE_OBJECT);
  const CpuArch *arch = cpu_arch_of(run->request);
  LLVMTargetMachineRef machine = target_machine(arch);
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernels", context);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  LLVMSetTarget(module, arch->triple);
  LLVMSetModuleDataLayout(module, layout);
  double t0 = seconds();
  translate(run, part, module);
  double t1 = seconds();
  optimise(part, module, machine);
  double t2 = seconds();
  if (!part->error.size) write_part(run, part, module, machine, &run->out[index]);
  part->translate = t1 - t0;
  part->passes = t2 - t1;
  part->emit = seconds() - t2;
  LLVMDisposeTargetData(layout);
  LLVMDisposeModule(module);
  LLVMDisposeTargetMachine(machine);
  LLVMContextDispose(context);
}

static void *worker(void *user) {
  CodeRun *run = user;
  for (;;) {
    uint32_t i = atomic_fetch_add(&run->next, 1);
    if (i >= run->nparts) return NULL;
    compile_part(run, i);
    pthread_mutex_lock(&run->lock);
    run->done += run->part[i].njobs;
    const EmitRequest *r = run->request;
    if (r->progress) r->progress(r->user, "compile kernels", run->done, run->total);
    pthread_mutex_unlock(&run->lock);
  }
}

static Status collect(CodeRun *run, Diag *d, CpuCode *out) {
  Status s = OK;
  for (uint32_t i = 0; i < run->nparts; i++) {
    Part *part = &run->part[i];
    if (part->error.size) s = diag_error(d, "LLVM", "%s", part->error.data);
    out->translate += part->translate;
    out->passes += part->passes;
    out->emit += part->emit;
    buf_free(&part->error);
    mem_free(part->job);
  }
  return s;
}

Status cpu_codegen(const EmitRequest *r, CodeForm form, Diag *d, CpuCode *out) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialise);
  *out = (CpuCode){0};
  CodeRun run = {.request = r, .form = form, .lock = PTHREAD_MUTEX_INITIALIZER};
  deal(&run);
  if (!run.nparts) return OK;
  Arena *scratch = arena_new();
  run.constant = ARENA_ARRAY(scratch, bool **, r->nlevels);
  for (uint32_t l = 0; l < r->nlevels; l++)
    run.constant[l] = constant_buffers(scratch, r->programs[l]);
  out->nparts = run.nparts;
  out->part = run.out = mem_alloc(run.nparts * sizeof *run.out);
  crew_run(worker, &run, run.nparts);
  arena_free(scratch);
  Status s = collect(&run, d, out);
  if (s != OK) cpu_code_free(out);
  return s;
}

void cpu_code_free(CpuCode *c) {
  for (uint32_t i = 0; i < c->nparts; i++) buf_free(&c->part[i]);
  mem_free(c->part);
  *c = (CpuCode){0};
}
