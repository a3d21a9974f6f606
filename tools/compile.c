/* From a model to a program: see tools/compile.h. */
#include "tools/compile.h"

#include "backends/text/text_backend.h"
#include "passes/pipeline.h"
#include "tools/calibrate.h"
#include "tools/card.h"
#include "tools/progress.h"
#include "tools/tile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char *const kv_names[] = {"i16", "f16", "f32", "q8_0", NULL};
static const char *const emit_names[] = {"exe", "lib",   "obj",    "llvm-ir",
                                         "asm", "graph", "kernel", NULL};
static const char *const task_names[] = {"generate", "embed", "encode", "tokenize", NULL};
static const char *const backend_names[] = {"cpu", "null", NULL};

#define FIELD(name) offsetof(CompileOptions, name)
const Option compile_options[] = {
    {"out", 'o', OPTION_STRING, FIELD(out), "OUT",
     "the file to write (default for a program: the model's name + .ingot)", NULL},
    {"task", 0, OPTION_CHOICE, FIELD(task), NULL,
     "what the program does (default: what the model is for)", task_names},
    {"quant", 0, OPTION_CHOICE, FIELD(quant), NULL,
     "format of the weights (default: a GGUF's own, q8_0 for float models)", quant_choices},
    {"calibrate", 0, OPTION_STRING, FIELD(calibrate), "FILE",
     "a text that the model is run on, to learn which weights matter to --quant", NULL},
    {"act", 0, OPTION_CHOICE, FIELD(act), NULL,
     "how activations enter integer products (default: i16)", act_choices},
    {"prefill", 0, OPTION_CHOICE, FIELD(prefill), NULL,
     "fast: a prompt's activations in 8 bits, k-quants folded to 8 (default: exact)",
     prefill_choices},
    {"kv", 0, OPTION_CHOICE, FIELD(kv), NULL,
     "format of the KV cache (default: i16; f32 with --act f32)", kv_names},
    {"cpu", 0, OPTION_STRING, FIELD(cpu), "LEVELS",
     "native, all, or a comma-separated list of ISA levels (default: all)", NULL},
    {"target", 0, OPTION_CHOICE, FIELD(target), NULL,
     "the machine that the program is for (default: this one)", cpu_arch_names},
    {"context", 0, OPTION_INT, FIELD(context), "N",
     "positions of the KV cache (default: what the model was trained for)", NULL},
    {"chunk", 0, OPTION_INT, FIELD(chunk), "N", "tokens of one prefill step (default: 512)", NULL},
    {"backend", 0, OPTION_CHOICE, FIELD(backend), NULL,
     "cpu makes machine code, null prints the kernels (default: cpu)", backend_names},
    {"emit", 0, OPTION_CHOICE, FIELD(emit), NULL, "what to write (default: exe)", emit_names},
    {"verify", 0, OPTION_OPTIONAL, FIELD(verify), "BOUND",
     "run the program against the reference evaluator; fail above BOUND (0.01)", NULL},
    {"dump", 0, OPTION_STRING, FIELD(dump), "PASS",
     "print the graph after a pass ('all': after each)", NULL},
    {"stop-after", 0, OPTION_STRING, FIELD(stop_after), "PASS",
     "print the graph after a pass and stop", NULL},
    {"start-from", 0, OPTION_STRING, FIELD(start_from), "PASS", "skip the passes before this one",
     NULL},
    {"verify-each", 0, OPTION_FLAG, FIELD(verify_each), NULL,
     "check the graph's invariants after every pass", NULL},
    {"time-passes", 0, OPTION_FLAG, FIELD(time_passes), NULL, "print how long each stage took",
     NULL},
    {"explain-fusion", 0, OPTION_FLAG, FIELD(explain), NULL, "print why ops were fused or not",
     NULL},
    {"json", 0, OPTION_FLAG, FIELD(json), NULL, "report as JSON on stdout", NULL},
    {"quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, "no progress, no report", NULL},
    {"verbose", 'v', OPTION_FLAG, FIELD(verbose), NULL, "both --time-passes and --explain-fusion",
     NULL},
    {"tile", 0, OPTION_STRING, FIELD(tile), "SIZES", NULL, NULL},
    {"fail-alloc", 0, OPTION_INT, FIELD(fail_alloc), "N", NULL, NULL},
    {"fail-read", 0, OPTION_INT, FIELD(fail_read), "N", NULL, NULL},
};
const size_t compile_options_count = COUNT(compile_options);

CompileOptions compile_defaults(void) {
  return (CompileOptions){.act = "i16",
                          .prefill = "exact",
                          .cpu = "all",
                          .backend = "cpu",
                          .emit = "exe",
                          .chunk = 512};
}

const char *model_base_name(Arena *a, const char *path) {
  char *name = path_name(a, path), *dot = strrchr(name, '.');
  if (dot && dot != name && (!strcmp(dot, ".gguf") || !strcmp(dot, ".safetensors"))) *dot = 0;
  return *name ? name : "model";
}

/* What one compile holds; released together. */
typedef struct Job {
  const CompileOptions *o;
  Diag *d;
  Model *model;
  Module *module;
  const CpuTarget **levels;
  uint32_t nlevels, clevels;
  KProgram **programs;
  ProgramText text;
  Calibration calibration;
  Progress progress;
  uint64_t released; /* bytes packed when the files' pages were last let go of */
  uint32_t steps;    /* of progress since then */
  Buf explain;
} Job;

enum { RELEASE_STEP = 16 << 20, RELEASE_STEPS = 16 };

static EmitKind emit_kind(const char *name) {
  static const EmitKind kinds[] = {EMIT_EXE, EMIT_LIB, EMIT_OBJ, EMIT_LLVM_IR, EMIT_ASM};
  for (size_t i = 0; i < COUNT(kinds); i++) {
    if (strcmp(emit_names[i], name) == 0) return kinds[i];
  }
  return EMIT_KERNEL;
}

static const CpuArch *target_arch(const CompileOptions *o) {
  return o->target ? cpu_arch(o->target) : cpu_arch_native();
}

static Status add_level(Job *j, const CpuTarget *t) {
  for (uint32_t i = 0; i < j->nlevels; i++) {
    if (j->levels[i] == t) return OK;
  }
  *VEC_PUSH(j->levels, j->nlevels, j->clevels) = t;
  return OK;
}

static int by_row(const void *a, const void *b) {
  const CpuTarget *x = *(const CpuTarget *const *)a, *y = *(const CpuTarget *const *)b;
  return (x > y) - (x < y);
}

/* What `name` of --cpu stands for on this target; NULL: nothing. */
static const CpuTarget *find_level(const CpuArch *arch, const char *name) {
  const CpuTarget *t = strcmp(name, "native") == 0 ? cpu_target_native() : cpu_target(name);
  return t && t->arch == arch ? t : NULL;
}

static Status unknown_level(const CpuArch *arch, const char *name, Diag *d) {
  size_t n;
  const CpuTarget *all = cpu_targets(&n);
  Buf known = {0};
  for (size_t i = 0; i < n; i++)
    if (all[i].arch == arch) buf_printf(&known, "%s%s", known.size ? ", " : "", all[i].name);
  const char *native = arch == cpu_arch_native() ? "native, " : "";
  Status s = diag_error(d, "--cpu", "'%s' is no level of %s (expected %sall, or of %s)", name,
                        cpu_arch_name(arch), native, known.data);
  buf_free(&known);
  return s;
}

/* --cpu: the levels in ascending order. */
static Status choose_levels(Job *j) {
  size_t n;
  const CpuTarget *all = cpu_targets(&n);
  const CpuArch *arch = target_arch(j->o);
  const char *list = j->o->cpu;
  while (*list) {
    char name[64];
    size_t length = strcspn(list, ",");
    snprintf(name, sizeof name, "%.*s", (int)length, list);
    list += length + (list[length] == ',');
    if (strcmp(name, "all") == 0) {
      for (size_t i = 0; i < n; i++)
        if (all[i].arch == arch) TRY(add_level(j, &all[i]));
      continue;
    }
    const CpuTarget *t = find_level(arch, name);
    if (!t) return unknown_level(arch, name, j->d);
    TRY(add_level(j, t));
  }
  if (!j->nlevels) return diag_error(j->d, "--cpu", "names no level");
  qsort(j->levels, j->nlevels, sizeof *j->levels, by_row);
  return OK;
}

static PassOptions pass_options(const Job *j) {
  const CompileOptions *o = j->o;
  PassOptions p = {0};
  quant_choose(&p, o->quant ? o->quant : j->model->format == FORMAT_HF ? "q8_0" : "keep");
  act_choose(&p, o->act);
  prefill_choose(&p, o->prefill);
  return p;
}

static Status build_graphs(Job *j) {
  const CompileOptions *o = j->o;
  const char *kv = o->kv ? o->kv : strcmp(o->act, "f32") == 0 ? "f32" : "i16";
  BuildOptions b = {.context = o->context, .chunk = o->chunk};
  StateDef cache = {0};
  cache_format_parse(kv, &cache);
  b.kv = cache.dtype;
  b.kv_storage = cache.storage;
  TRY(model_build(j->model, &b, j->d, &j->module));
  PassOptions p = pass_options(j);
  if (!p.fast) return OK;
  if (!module_find_graph(j->module, "prefill"))
    return diag_error(j->d, "--prefill", "this model reads no prompt; --act i8 is for encoders");
  if (p.act == ACT_f32)
    return diag_error(j->d, "--prefill", "fast takes activations in 8 bits, not --act f32");
  return OK;
}

static Status run_passes(Job *j, bool *stopped) {
  const CompileOptions *o = j->o;
  PassCtx c = {.diag = j->d,
               .options = pass_options(j),
               .explain = o->explain || o->verbose ? &j->explain : NULL};
  PipelineOptions p = {.dump = o->dump,
                       .stop_after = o->stop_after,
                       .start_from = o->start_from,
                       .verify_each = o->verify_each,
                       .time = o->time_passes || o->verbose,
                       .report = stderr};
  Status s = pipeline_run(j->module, &c, &p);
  if (j->explain.data) fputs(j->explain.data, stderr);
  *stopped = o->stop_after != NULL;
  if (s == OK && *stopped) {
    Buf text = {0};
    module_print(j->module, &text);
    fputs(text.data, stdout);
    buf_free(&text);
  }
  return s;
}

static Status lower_levels(Job *j) {
  PassCtx c = {.diag = j->d, .options = pass_options(j)};
  j->programs = mem_alloc(j->nlevels * sizeof *j->programs);
  for (uint32_t i = 0; i < j->nlevels; i++) {
    progress_step(&j->progress, "lowering", 0, 0);
    LowerTarget target = j->levels[i]->lower;
    TRY(tile_override(j->o->tile, &target, j->d));
    TRY(lower_module(j->module, &target, &c, &j->programs[i]));
    if (j->o->verify_each) TRY(kprogram_verify(j->programs[i], j->d));
  }
  return OK;
}

static int64_t symbol_limit(const Module *m, const char *name) {
  DimId id = dim_find(m->dims, name);
  return id ? dim_get(m->dims, id)->hi : -1;
}

static void fill_generation(Job *j) {
  const GenerationDefaults *g = &j->model->generation;
  IngotGeneration *out = &j->text.generation;
  *out = (IngotGeneration){.vocab = j->model->tokenizer.nvocab,
                           .bos_id = g->bos_id,
                           .eos_ids = g->eos_ids,
                           .neos = g->neos,
                           .temperature = g->temperature,
                           .top_p = g->top_p,
                           .min_p = g->min_p,
                           .repetition_penalty = g->repetition_penalty,
                           .top_k = g->top_k,
                           .max_new_tokens = g->max_new_tokens,
                           .do_sample = g->do_sample};
  if (!j->module) return;
  const Graph *decode = module_find_graph(j->module, "decode");
  for (uint32_t i = 0; decode && i < decode->noutputs; i++) {
    const Type *t = &graph_value(decode, decode->outputs[i])->type;
    if (strcmp(decode->output_names[i], "logits") == 0)
      dim_is_const(j->module->dims, t->dim[t->rank - 1], &out->vocab);
  }
  if (j->module->nstates) out->context = j->module->states[0].context;
  out->chunk = symbol_limit(j->module, "S");
  int64_t logits = symbol_limit(j->module, "T");
  out->logits_chunk = logits > 0 ? logits : out->chunk;
}

/* Rows of the table that the input `name` looks up: its values are below that. */
static int64_t rows_looked_up(const Graph *g, const char *name) {
  for (OpId i = 1; i < g->nops; i++) {
    const Op *op = &g->ops[i];
    if (op->dead || op->code != OP_gather) continue;
    const Value *ids = graph_value(g, op->in[1]);
    int64_t rows;
    if (ids->kind != V_INPUT || strcmp(ids->name, name) != 0) continue;
    if (dim_is_const(g->module->dims, graph_value(g, op->in[0])->type.dim[0], &rows)) return rows;
  }
  return 0;
}

#define SAME(mode) ((int)POOL_##mode == (int)INGOT_POOL_##mode)
_Static_assert(SAME(CLS) && SAME(MAX) && SAME(MEAN) && SAME(MEAN_SQRT) && SAME(WEIGHTED) &&
                   SAME(LAST),
               "the reader and the program number poolings alike");
#undef SAME

static void fill_encoder(Job *j, const char *task) {
  const SentenceModel *s = &j->model->sentence;
  IngotEncoder *out = &j->text.encoder;
  const Graph *g = j->module ? module_find_graph(j->module, "encode") : NULL;
  if (!g) return;
  int64_t longest = symbol_limit(j->module, "S");
  j->text.generation.vocab = rows_looked_up(g, "ids");
  out->positions = rows_looked_up(g, "pos");
  out->types = rows_looked_up(g, "type_ids");
  out->max_tokens = s->max_tokens > 0 && s->max_tokens < longest ? s->max_tokens : longest;
  if (strcmp(task, "embed") != 0) return;
  out->pooling = s->pooling;
  out->normalize = s->normalize;
}

/* What the program is for, by --task or by what the model is. */
static Status choose_task(const Job *j, const char **out) {
  const SentenceModel *s = &j->model->sentence;
  const char *asked = j->o->task;
  bool encoder = module_find_graph(j->module, "encode") != NULL;
  *out = asked ? asked : !encoder ? "generate" : s->there && !s->unknown ? "embed" : "encode";
  if (encoder == (strcmp(*out, "generate") == 0))
    return diag_error(j->d, "--task", "'%s' is nothing that a %s model does (expected %s)", *out,
                      j->model->arch, encoder ? "embed or encode" : "generate");
  if (strcmp(*out, "embed") != 0) return OK;
  if (!s->there)
    return diag_error(j->d, "--task",
                      "embed needs the folder of a sentence-transformers model (with modules.json "
                      "and its Pooling)");
  if (s->unknown)
    return diag_error(j->d, "modules.json", "%s: is no part that ingot knows; --task encode",
                      s->unknown);
  if (!s->pooling) return diag_error(j->d, "modules.json", "has no Pooling behind the Transformer");
  return OK;
}

static Status compile_text(Job *j, const char *task) {
  Model *m = j->model;
  j->text.name = m->card.name ? m->card.name : "model";
  j->text.arch = m->arch ? m->arch : "";
  j->text.task = task;
  fill_generation(j);
  fill_encoder(j, task);
  if (m->tokenizer.model != TOK_NONE)
    TRY(tokenizer_compile(&m->tokenizer, j->d, &j->text.tokenizer));
  else if (strcmp(task, "tokenize") == 0)
    return diag_error(j->d, m->path, "carries no tokenizer (expected tokenizer.json or a GGUF's)");
  if (m->chat.source) TRY(chat_compile(&m->chat, j->d, &j->text.chat));
  card_write(m, j->module, j->o, &j->calibration, j->levels, j->nlevels, &j->text.card);
  return OK;
}

/* While weights are packed, what has been read of the model's files is let go of now and then: the
 * compiler's memory must not grow with the model. */
static void emit_progress(void *user, const char *stage, uint64_t done, uint64_t total) {
  Job *j = user;
  progress_step(&j->progress, stage, done, total);
  j->steps++; /* each is of at most about a MiB read, and what is written may be far less */
  if (done >= j->released && done < j->released + RELEASE_STEP && j->steps < RELEASE_STEPS) return;
  for (uint32_t i = 0; i < j->model->nfiles; i++)
    file_release(j->model->files[i].data, j->model->files[i].size);
  j->released = done;
  j->steps = 0;
}

static Status emit(Job *j, EmitResult *size) {
  const CompileOptions *o = j->o;
  EmitRequest r = {.module = j->module,
                   .programs = j->programs,
                   .levels = j->levels,
                   .nlevels = j->module ? j->nlevels : 0,
                   .arch = target_arch(o),
                   .text = &j->text,
                   .kind = emit_kind(o->emit),
                   .out = o->out,
                   .progress = emit_progress,
                   .user = j,
                   .time_passes = o->time_passes || o->verbose};
  const char *backend = r.kind == EMIT_KERNEL ? "null" : o->backend; /* it prints kernels */
  return backend_find(backend)->emit(&r, j->d, size);
}

static Status emit_graph(Job *j) {
  Buf text = {0};
  module_print(j->module, &text);
  Status s = file_write(j->d, j->o->out, text.data, text.size, 0644);
  buf_free(&text);
  return s;
}

/* Weights that stay as they are need no calibration. */
static Status check_calibration(const CompileOptions *o, Diag *d) {
  if (!o->calibrate || (o->quant && strcmp(o->quant, "none") && strcmp(o->quant, "keep")))
    return OK;
  return diag_error(d, "--calibrate",
                    "chooses how weights are rounded (expected a format by "
                    "--quant, such as q4_k)");
}

/* --verify's bound; what cannot be verified is refused before the work. */
static Status verify_bound(const CompileOptions *o, Diag *d, double *bound) {
  const char *text = o->verify && *o->verify ? o->verify : "0.01";
  char *end;
  *bound = strtod(text, &end);
  if (*end || !(*bound >= 0))
    return diag_error(d, "--verify", "'%s' is not a bound (expected a number >= 0)", text);
  if (o->verify && target_arch(o) != cpu_arch_native())
    return diag_error(d, "--verify", "runs the program here (expected this machine's --target)");
  if (!o->verify || strcmp(o->emit, "exe") == 0) return OK;
  return diag_error(d, "--verify", "runs a program (expected --emit exe, got %s)", o->emit);
}

static Status verify(Job *j, double bound, CompileReport *report) {
  Status s = verify_program(j->o->out, j->module, j->d, &report->verify_error);
  if (s == OK && report->verify_error > bound)
    s = diag_error(j->d, "--verify",
                   "differs from the reference by %.3g of the largest output (expected at "
                   "most %.3g); the program was removed",
                   report->verify_error, bound);
  if (s != OK) remove(j->o->out);
  return s;
}

static Status run_job(Job *j, CompileReport *report) {
  const CompileOptions *o = j->o;
  bool text_only = o->task && strcmp(o->task, "tokenize") == 0, stopped = false;
  const char *task = "tokenize";
  double bound;
  unsigned what = MODEL_TEXT | MODEL_HASHES | (text_only ? 0 : MODEL_WEIGHTS);
  TRY(verify_bound(o, j->d, &bound));
  TRY(check_calibration(o, j->d));
  progress_step(&j->progress, "reading", 0, 0);
  TRY(model_open(o->model, what, j->d, &j->model));
  TRY(choose_levels(j));
  if (!text_only) {
    TRY(build_graphs(j));
    TRY(choose_task(j, &task));
    if (o->calibrate)
      TRY(calibrate(j->module, j->model, o->calibrate, &j->progress, j->d, &j->calibration));
    progress_step(&j->progress, "passes", 0, 0);
    TRY(run_passes(j, &stopped));
    if (stopped) return OK;
    if (strcmp(o->emit, "graph") == 0) return emit_graph(j);
    TRY(lower_levels(j));
  }
  TRY(compile_text(j, task));
  TRY(emit(j, &report->size));
  return o->verify && !text_only ? verify(j, bound, report) : OK;
}

Status compile_model(const CompileOptions *options, Diag *d, CompileReport *out) {
  Job j = {.o = options, .d = d};
  double start = now_seconds();
  *out = (CompileReport){.verify_error = -1};
  mem_fail_after((uint64_t)options->fail_alloc);
  file_fail_after((uint64_t)options->fail_read);
  progress_init(&j.progress, options->quiet || options->json);
  Status s = run_job(&j, out);
  progress_end(&j.progress);
  mem_free(j.programs); /* the programs themselves die with the module */
  mem_free(j.levels);
  buf_free(&j.text.tokenizer);
  buf_free(&j.text.chat);
  buf_free(&j.text.card);
  buf_free(&j.explain);
  if (j.module) module_free(j.module);
  model_close(j.model);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  out->peak_mb = (double)usage.ru_maxrss / 1024;
  out->seconds = now_seconds() - start;
  return s;
}
