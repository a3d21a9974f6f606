/* The pass table and the runner: see passes/pipeline.h. */
#include "passes/pipeline.h"

#include <string.h>
#include <time.h>

static const GraphPass table[] = {
#define PASS(name, purpose) {#name, pass_##name, purpose},
#include "passes/passes.def"
#undef PASS
};

const GraphPass *graph_passes(size_t *n) {
  *n = COUNT(table);
  return table;
}

const GraphPass *graph_pass_find(const char *name) {
  for (size_t i = 0; i < COUNT(table); i++) {
    if (strcmp(table[i].name, name) == 0) return &table[i];
  }
  return NULL;
}

static Status unknown_pass(Diag *d, const char *where, const char *name) {
  const char *names[COUNT(table)];
  for (size_t i = 0; i < COUNT(table); i++) names[i] = table[i].name;
  const char *near = nearest_name(name, names, COUNT(names));
  if (near) return diag_error(d, where, "no pass is named '%s'; is it '%s'?", name, near);
  return diag_error(d, where, "no pass is named '%s' (expected one of `ingot opt --list`)", name);
}

/* The place of a pass named by an option; `otherwise` when the option is not given. */
static Status pass_index(Diag *d, const char *option, const char *name, size_t otherwise,
                         size_t *out) {
  *out = otherwise;
  if (!name) return OK;
  const GraphPass *p = graph_pass_find(name);
  if (!p) return unknown_pass(d, option, name);
  *out = (size_t)(p - table);
  return OK;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void sweep(Module *m) {
  for (uint32_t i = 0; i < m->ngraphs; i++) graph_sweep(m->graphs[i]);
}

static Status run_pass(Module *m, PassCtx *c, const GraphPass *p, const PipelineOptions *o) {
  bool changed = false;
  double start = now_ms();
  TRY(p->run(m, c, &changed));
  sweep(m);
  if (o->time)
    fprintf(o->report, "%-16s %8.2f ms%s\n", p->name, now_ms() - start,
            changed ? "" : "  (no change)");
  if (o->verify_each && module_verify(m, c->diag) != OK)
    return diag_error(c->diag, p->name, "the pass left a module that breaks an invariant");
  if (o->dump && (strcmp(o->dump, "all") == 0 || strcmp(o->dump, p->name) == 0)) {
    Buf text = {0};
    module_print(m, &text);
    fprintf(o->report, "// after %s\n%s", p->name, text.data);
    buf_free(&text);
  }
  return OK;
}

Status pipeline_run(Module *m, PassCtx *c, const PipelineOptions *o) {
  size_t first, last, ignored;
  TRY(pass_index(c->diag, "--start-from", o->start_from, 0, &first));
  TRY(pass_index(c->diag, "--stop-after", o->stop_after, COUNT(table) - 1, &last));
  if (o->dump && strcmp(o->dump, "all") != 0)
    TRY(pass_index(c->diag, "--dump", o->dump, 0, &ignored));
  for (size_t i = first; i <= last; i++) TRY(run_pass(m, c, &table[i], o));
  return o->verify_each ? OK : module_verify(m, c->diag);
}

/* Each name of the list in turn. */
static Status run_list(Module *m, PassCtx *c, const char *where, const char *passes) {
  const PipelineOptions each = {.verify_each = true};
  if (strcmp(passes, "all") == 0) return pipeline_run(m, c, &each);
  while (*passes) {
    char name[64];
    size_t n = strcspn(passes, ",");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), passes);
    const GraphPass *p = graph_pass_find(name);
    if (!p) return unknown_pass(c->diag, where, name);
    TRY(run_pass(m, c, p, &each));
    passes += n + (passes[n] == ',');
  }
  return OK;
}

Status opt_text(const char *text, const char *where, const char *passes, PassCtx *c, Buf *out) {
  Module *m;
  TRY(module_parse(text, where, c->diag, &m));
  Status s = module_verify(m, c->diag);
  if (s == OK) s = run_list(m, c, where, passes);
  if (s == OK) module_print(m, out);
  module_free(m);
  return s;
}
