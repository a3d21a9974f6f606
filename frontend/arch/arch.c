/* The registry of architectures: archs.def as a table, and building a module by it. */
#include "frontend/model.h"

#include <string.h>

#define ARCH(name, gguf) extern const ArchDef arch_##name;
#include "frontend/arch/archs.def"
#undef ARCH

typedef struct Row {
  const ArchDef *def;
  const char *gguf;
} Row;
static const Row archs[] = {
#define ARCH(name, gguf) {&arch_##name, #gguf},
#include "frontend/arch/archs.def"
#undef ARCH
};

static bool serves(const ArchDef *a, const char *architecture) {
  for (const char *const *c = a->classes; *c; c++) {
    if (strcmp(*c, architecture) == 0) return true;
  }
  return false;
}

static void list_names(Buf *out) {
  for (size_t i = 0; i < COUNT(archs); i++) buf_printf(out, i ? ", %s" : "%s", archs[i].def->name);
}

static void list_classes(const ArchDef *a, Buf *out) {
  for (const char *const *c = a->classes; *c; c++)
    buf_printf(out, c != a->classes ? ", %s" : "%s", *c);
}

static const ArchDef *unknown(const Model *m, Diag *d) {
  Buf known = {0};
  list_names(&known);
  if (!m->arch)
    diag_error(d, m->path, "does not say what kind of model it is (no config.json)");
  else
    diag_error(d, m->path, "is a \"%s\" model, which is not compiled yet (known: %s)", m->arch,
               known.data);
  buf_free(&known);
  return NULL;
}

const ArchDef *arch_find(const Model *m, Diag *d) {
  for (size_t i = 0; m->arch && i < COUNT(archs); i++) {
    const ArchDef *a = archs[i].def;
    const char *name = m->format == FORMAT_GGUF ? archs[i].gguf : a->name;
    if (strcmp(name, m->arch) != 0) continue;
    if (!m->architecture || serves(a, m->architecture)) return a;
    Buf known = {0};
    list_classes(a, &known);
    diag_error(d, m->path, "is a %s, which is not compiled yet (known: %s)", m->architecture,
               known.data);
    buf_free(&known);
    return NULL;
  }
  return unknown(m, d);
}

Status model_build(const Model *model, const BuildOptions *o, Diag *d, Module **out) {
  *out = NULL;
  const ArchDef *a = arch_find(model, d);
  if (!a) return FAIL;
  if (!model->nweights)
    return diag_error(d, model->path, "has no tensors; it can serve as a tokenizer only");
  Module *m = module_new(a->name);
  Status s = a->build(model, o, m, d);
  if (s == OK) s = module_verify(m, d);
  if (s != OK) {
    module_free(m);
    return s;
  }
  *out = m;
  return OK;
}
