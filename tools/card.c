/* The model card: see tools/card.h. */
#include "tools/card.h"

#include <stdlib.h>
#include <string.h>

static json_t *text_or_null(const char *s) {
  return s ? json_string(s) : json_null();
}

static json_t *source_files(const Card *c) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < c->nfiles; i++) {
    json_t *f = json_object();
    json_object_set_new(f, "file", text_or_null(c->files[i].file));
    json_object_set_new(f, "bytes", json_integer((json_int_t)c->files[i].bytes));
    if (c->files[i].sha256) json_object_set_new(f, "sha256", json_string(c->files[i].sha256));
    json_array_append_new(list, f);
  }
  return list;
}

static uint64_t const_elements(const Module *m, const ConstDef *c) {
  int64_t n = 1, size;
  for (uint32_t d = 0; d < c->type.rank; d++)
    n *= dim_is_const(m->dims, c->type.dim[d], &size) ? size : 1;
  return (uint64_t)n;
}

/* Parameters by the format that the program keeps them in. */
static json_t *weight_formats(const Module *m, uint64_t *parameters) {
  uint64_t count[Q_COUNT] = {0};
  json_t *formats = json_object();
  *parameters = 0;
  for (uint32_t i = 0; i < m->nconsts; i++) {
    const ConstDef *c = &m->consts[i];
    if (!c->nparts) continue;
    uint64_t n = const_elements(m, c);
    count[c->type.storage] += n;
    *parameters += n;
  }
  count[Q_f32] += count[Q_plain]; /* norms and biases */
  for (unsigned s = Q_plain + 1; s < Q_COUNT; s++) {
    if (count[s])
      json_object_set_new(formats, storage_name((Storage)s), json_integer((json_int_t)count[s]));
  }
  return formats;
}

static json_t *level_names(const CpuTarget *const *levels, uint32_t n) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < n; i++) json_array_append_new(list, json_string(levels[i]->name));
  return list;
}

void card_write(const Model *model, const Module *m, const CompileOptions *o,
                const Calibration *calibration, const CpuTarget *const *levels, uint32_t nlevels,
                Buf *out) {
  json_t *card = json_object();
  json_object_set_new(card, "ingot_card", json_integer(1)); /* first: how a program is recognised */
  json_object_set_new(card, "name", text_or_null(model->card.name));
  json_object_set_new(card, "architecture", text_or_null(model->arch));
  json_object_set_new(card, "license", text_or_null(model->card.license));
  json_object_set_new(card, "sources", source_files(&model->card));
  if (m) {
    uint64_t parameters;
    json_t *formats = weight_formats(m, &parameters);
    json_object_set_new(card, "parameters", json_integer((json_int_t)parameters));
    json_object_set_new(card, "weights", formats);
    if (calibration->sha256)
      json_object_set_new(card, "calibration",
                          json_pack("{s:s, s:I}", "sha256", calibration->sha256, "tokens",
                                    (json_int_t)calibration->tokens));
    json_object_set_new(card, "activations", json_string(o->act));
    if (module_find_graph(m, "prefill"))
      json_object_set_new(card, "prefill", json_string(o->prefill));
    if (m->nstates) {
      json_object_set_new(card, "kv_cache", json_string(cache_format_name(&m->states[0])));
      json_object_set_new(card, "context", json_integer(m->states[0].context));
    }
    json_object_set_new(card, "levels", level_names(levels, nlevels));
  }
  json_object_set_new(card, "compiler", json_string("ingot " INGOT_VERSION));
  char *text = json_dumps(card, JSON_COMPACT);
  json_decref(card);
  BUG_IF(!text, "the card cannot be written");
  buf_puts(out, text);
  free(text);
}

/* The card lies in a program as JSON that begins with "ingot_card": it is found by that, not by a
 * symbol, so that a stripped program is known too. */
static json_t *find_card(const MappedFile *f) {
  static const char begin[] = "{\"ingot_card\":";
  const uint8_t *p = f->data, *end = p + f->size;
  while ((p = memmem(p, (size_t)(end - p), begin, sizeof begin - 1))) {
    json_t *card = json_loadb((const char *)p, (size_t)(end - p), JSON_DISABLE_EOF_CHECK, NULL);
    if (card && json_object_get(card, "compiler")) return card;
    json_decref(card);
    p += sizeof begin - 1;
  }
  return NULL;
}

json_t *card_of_program(const char *path, bool *elf) {
  MappedFile file = {0};
  Arena *a = arena_new();
  Diag *quiet = diag_new();
  json_t *card = NULL;
  *elf = file_map(a, quiet, path, &file) == OK && file.size > 64 &&
         memcmp(file.data, "\177ELF", 4) == 0;
  if (*elf) card = find_card(&file);
  if (card) json_object_set_new(card, "file_bytes", json_integer((json_int_t)file.size));
  file_unmap(&file);
  diag_free(quiet);
  arena_free(a);
  return card;
}
