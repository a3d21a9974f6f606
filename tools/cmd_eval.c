/* ingot eval: Graph or Kernel IR text by the reference evaluators. */
#include "ir/eval.h"
#include "ir/kernel.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/output.h"
#include "tools/tensors_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_TEXT = 64 << 20, MOST_SYMBOLS = 16, LARGEST_BUFFER = 1 << 28 };

typedef struct EvalOptions {
  const char *in, *out, *entry, *set;
} EvalOptions;

#define FIELD(name) offsetof(EvalOptions, name)
static const Option options[] = {
    {"in", 0, OPTION_STRING, FIELD(in), "A.safetensors",
     "inputs by name; also weights that the text names", NULL},
    {"out", 'o', OPTION_STRING, FIELD(out), "B.safetensors", "where the outputs go", NULL},
    {"entry", 0, OPTION_STRING, FIELD(entry), "NAME",
     "the graph or kernel to run (default: the first)", NULL},
    {"set", 0, OPTION_STRING, FIELD(set), "P=0,S=4",
     "symbols that do not follow from the inputs' shapes", NULL},
};
static const Command command = {
    .name = "eval",
    .usage = "FILE.ir --in A.safetensors --out B.safetensors [options]",
    .help = "Runs Graph IR or Kernel IR text by the reference evaluator. A kernel's buffers are "
            "the inputs\n"
            "of their names; those that no input names begin as zeros of the size --set "
            "NAME.n=COUNT gives.",
    .options = options,
    .noptions = COUNT(options),
    .min_args = 1,
    .max_args = 1,
};

typedef struct Eval {
  const EvalOptions *o;
  const char *path;
  Arena *a;
  Diag *d;
  TensorsFile in;
  RefSymbol symbol[MOST_SYMBOLS];
  uint32_t nsymbols;
} Eval;

static Status read_symbols(Eval *e) {
  const char *p = e->o->set ? e->o->set : "";
  while (*p) {
    size_t n = strcspn(p, "=");
    char *end;
    if (!p[n] || !n || e->nsymbols == MOST_SYMBOLS)
      return diag_error(e->d, "--set", "'%s' is not NAME=VALUE[,NAME=VALUE..]", p);
    RefSymbol *s = &e->symbol[e->nsymbols++];
    s->name = arena_strndup(e->a, p, n);
    s->value = strtoll(p + n + 1, &end, 10);
    if (end == p + n + 1 || (*end && *end != ','))
      return diag_error(e->d, "--set", "'%s' has no whole number", p);
    p = end + (*end == ',');
  }
  return OK;
}

static int64_t symbol_value(const Eval *e, const char *name, int64_t fallback) {
  for (uint32_t i = 0; i < e->nsymbols; i++) {
    if (strcmp(e->symbol[i].name, name) == 0) return e->symbol[i].value;
  }
  return fallback;
}

static Status no_entry(const Eval *e, const char *kind) {
  if (!e->o->entry) return diag_error(e->d, e->path, "has no %s", kind);
  return diag_error(e->d, e->path, "has no %s '%s'", kind, e->o->entry);
}

/* ---- graphs ---- */

/* Weights that the text only names are taken from the input file. */
static void bind_weights(Eval *e, Module *m) {
  for (uint32_t i = 0; i < m->nconsts; i++) {
    for (uint32_t k = 0; k < m->consts[i].nparts; k++) {
      ConstPart *p = &m->consts[i].parts[k];
      const Weight *w = p->view.data || !e->in.model ? NULL : model_weight(e->in.model, p->name);
      if (w) p->view = w->view;
    }
  }
}

static Status eval_graph(Eval *e, Module *m) {
  const Graph *g = e->o->entry  ? module_find_graph(m, e->o->entry)
                   : m->ngraphs ? m->graphs[0]
                                : NULL;
  RefTensor **out, *flat;
  if (!g) return no_entry(e, "graph");
  bind_weights(e, m);
  RefState *states = ref_states_new(e->a, m);
  out = ARENA_ARRAY(e->a, RefTensor *, g->noutputs + 1);
  TRY(graph_eval(e->a, g, states, e->in.tensor, e->in.n, e->symbol, e->nsymbols, out, e->d));
  flat = ARENA_ARRAY(e->a, RefTensor, g->noutputs + 1);
  for (uint32_t i = 0; i < g->noutputs; i++) {
    flat[i] = *out[i];
    flat[i].name = g->output_names[i];
  }
  return write_safetensors(e->o->out, flat, g->noutputs, e->d);
}

/* ---- kernels ---- */

static bool is_real(KScalar s) {
  return s == K_f32 || s == K_f16 || s == K_bf16;
}

/* One element of an input in the format of the kernel's buffer. */
static void put_element(const RefTensor *t, int64_t i, KScalar s, uint8_t *p) {
  if (!is_real(s)) {
    memcpy(p, &t->i[i], kscalar_size(s)); /* little-endian: the low bytes */
    return;
  }
  float x = t->f[i];
  uint16_t half = s == K_bf16 ? f32_to_bf16(x) : f32_to_f16(x);
  if (s == K_f32)
    memcpy(p, &x, 4);
  else
    memcpy(p, &half, 2);
}

static Status buffer_of(Eval *e, const Kernel *k, KVal v, KBuffer *out) {
  const KValue *value = &k->values[v];
  KScalar scalar = (KScalar)value->type.scalar;
  size_t size = kscalar_size(scalar);
  const RefTensor *t = tensors_find(&e->in, value->name);
  int64_t n = t ? t->elements : symbol_value(e, arena_printf(e->a, "%s.n", value->name), 0);
  if (n < 0 || n > LARGEST_BUFFER)
    return diag_error(e->d, "--set", "%s.n is %lld (expected 0 to %d)", value->name, (long long)n,
                      LARGEST_BUFFER);
  if (t && !t->f == is_real(scalar))
    return diag_error(e->d, e->o->in, "%s holds %s, the kernel's buffer %s", value->name,
                      t->f ? "floats" : "integers", t->f ? "integers" : "floats");
  *out = (KBuffer){arena_alloc(e->a, (size_t)n * size + 1), (uint64_t)n * size};
  for (int64_t i = 0; t && i < n; i++)
    put_element(t, i, scalar, (uint8_t *)out->data + (size_t)i * size);
  return OK;
}

static RefTensor tensor_of(Eval *e, const Kernel *k, KVal v, const KBuffer *b) {
  const KValue *value = &k->values[v];
  KScalar s = (KScalar)value->type.scalar;
  size_t size = kscalar_size(s);
  RefTensor t = {.name = value->name, .rank = 1, .elements = (int64_t)(b->size / size)};
  bool real = is_real(s);
  t.dim[0] = t.elements;
  if (real)
    t.f = ARENA_ARRAY(e->a, float, (size_t)t.elements + 1);
  else
    t.i = ARENA_ARRAY(e->a, int64_t, (size_t)t.elements + 1);
  for (int64_t i = 0; i < t.elements; i++) {
    const uint8_t *p = (const uint8_t *)b->data + (size_t)i * size;
    uint16_t half;
    memcpy(&half, p, size < 2 ? 1 : 2);
    if (!real)
      memcpy(&t.i[i], p, size);
    else if (s == K_f32)
      memcpy(&t.f[i], p, 4);
    else
      t.f[i] = s == K_f16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
  return t;
}

static Status eval_kernel(Eval *e, Kernel *const *kernels, uint32_t n) {
  const Kernel *k = NULL;
  for (uint32_t i = 0; i < n && !k; i++) {
    if (!e->o->entry || strcmp(kernels[i]->name, e->o->entry) == 0) k = kernels[i];
  }
  if (!k) return no_entry(e, "kernel");
  KBuffer *buffers = ARENA_ARRAY(e->a, KBuffer, k->nbuffers + 1);
  int64_t *scalars = ARENA_ARRAY(e->a, int64_t, k->nscalars + 1);
  for (uint32_t i = 0; i < k->nbuffers; i++) TRY(buffer_of(e, k, k->buffers[i], &buffers[i]));
  for (uint32_t i = 0; i < k->nscalars; i++)
    scalars[i] = symbol_value(e, k->values[k->scalars[i]].name, 0);
  TRY(kernel_eval(k, buffers, scalars, 0, -1, e->d));
  RefTensor *out = ARENA_ARRAY(e->a, RefTensor, k->nbuffers + 1);
  for (uint32_t i = 0; i < k->nbuffers; i++) out[i] = tensor_of(e, k, k->buffers[i], &buffers[i]);
  return write_safetensors(e->o->out, out, k->nbuffers, e->d);
}

/* Kernel text begins with `kernel` behind blanks and comments. */
static bool is_kernel_text(const char *s) {
  for (;;) {
    s += strspn(s, " \t\r\n");
    if (*s != '#' && strncmp(s, "//", 2) != 0) return strncmp(s, "kernel", 6) == 0;
    s += strcspn(s, "\n");
  }
}

static Status run(Eval *e) {
  char *text;
  size_t size;
  if (!e->o->out) return diag_error(e->d, "eval", "--out is missing");
  TRY(read_symbols(e));
  TRY(file_read(e->a, e->d, e->path, LARGEST_TEXT, &text, &size));
  if (e->o->in) TRY(tensors_open(e->o->in, e->d, &e->in));
  if (is_kernel_text(text)) {
    Kernel **kernels;
    uint32_t n;
    TRY(kernels_parse(e->a, text, e->path, e->d, &kernels, &n));
    for (uint32_t i = 0; i < n; i++) TRY(kernel_verify(kernels[i], e->d));
    return eval_kernel(e, kernels, n);
  }
  Module *m;
  TRY(module_parse(text, e->path, e->d, &m));
  Status s = module_verify(m, e->d);
  if (s == OK) s = eval_graph(e, m);
  module_free(m);
  return s;
}

int cmd_eval(int argc, char **argv) {
  EvalOptions o = {0};
  Args args;
  int status = options_parse(&command, argc, argv, &o, &args);
  if (status < 0) {
    Eval e = {.o = &o, .path = args.arg[0], .a = arena_new(), .d = diag_new()};
    status = run(&e) == OK ? EXIT_DONE : EXIT_FAILED;
    fputs(diag_text(e.d), stderr);
    tensors_close(&e.in);
    diag_free(e.d);
    arena_free(e.a);
  }
  args_free(&args);
  return status;
}
