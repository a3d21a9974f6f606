/* Running the entry "encode"; see encoder.h. */
#include "runtime/core/encoder.h"

#include <stdlib.h>
#include <string.h>

struct Encoder {
  Exec *exec;
  int entry, symbol; /* symbol: the number of tokens */
  int32_t *ids, *types, *pos;
  float *mask;
};

static int entry_of(const IngotModel *m) {
  for (uint32_t i = 0; i < m->nentries; i++)
    if (strcmp(m->entries[i].name, "encode") == 0) return (int)i;
  return -1;
}

bool encoder_there(const IngotModel *m) {
  return entry_of(m) >= 0;
}

static void *input_named(Exec *x, int entry, const char *name) {
  int i = exec_input(x, entry, name);
  return i < 0 ? NULL : exec_input_data(x, entry, i);
}

static int open_encoder(Encoder *c, const IngotModel *m, const ExecOptions *o, Err *e) {
  if (exec_open(m, o, &c->exec, e)) return 1;
  c->entry = entry_of(m);
  if (c->entry < 0) return err_set(e, "model", "this program has no encoder");
  c->ids = input_named(c->exec, c->entry, "ids");
  c->types = input_named(c->exec, c->entry, "type_ids");
  c->pos = input_named(c->exec, c->entry, "pos");
  c->mask = input_named(c->exec, c->entry, "mask");
  if (!c->ids) return err_set(e, "encode", "has no input ids: no text can be run");
  const IngotEntry *entry = &m->entries[c->entry];
  uint32_t dim = entry->inputs[exec_input(c->exec, c->entry, "ids")].dim[0];
  if (m->dims[dim].kind != INGOT_DIM_SYMBOL) return err_set(e, "encode", "has a fixed length");
  c->symbol = (int)dim;
  return 0;
}

int encoder_open(const IngotModel *m, const ExecOptions *o, Encoder **out, Err *e) {
  *out = NULL;
  Encoder *c = calloc(1, sizeof *c);
  if (!c) return err_no_memory(e, "model");
  if (open_encoder(c, m, o, e)) {
    encoder_close(c);
    return 1;
  }
  *out = c;
  return 0;
}

void encoder_close(Encoder *c) {
  if (!c) return;
  exec_close(c->exec);
  free(c);
}

Exec *encoder_exec(Encoder *c) {
  return c->exec;
}

int encoder_entry(const Encoder *c) {
  return c->entry;
}

int64_t encoder_longest(const Encoder *c) {
  return exec_symbol_limit(c->exec, c->symbol);
}

bool encoder_by_token(const Encoder *c, uint32_t output) {
  const IngotTensor *t = &exec_model(c->exec)->entries[c->entry].outputs[output];
  return t->rank > 0 && t->dim[0] == (uint32_t)c->symbol;
}

int encoder_run(Encoder *c, const EncoderRow *row, int64_t *run, Err *e) {
  int64_t n = row->n;
  while (row->mask && n > 0 && row->mask[n - 1] == 0) n--;
  if (n == 0) n = row->n; /* hides everything */
  *run = n;
  if (n > encoder_longest(c))
    return err_set(e, "input_ids", "%lld tokens are too many (expected at most %lld)", (long long)n,
                   (long long)encoder_longest(c));
  if (exec_set(c->exec, c->symbol, n, e)) return 1;
  for (int64_t i = 0; i < n; i++) {
    c->ids[i] = (int32_t)row->ids[i];
    if (c->types) c->types[i] = row->types ? row->types[i] : 0;
    if (c->pos) c->pos[i] = row->positions ? row->positions[i] : (int32_t)i;
    if (c->mask) c->mask[i] = row->mask && row->mask[i] == 0 ? 0.0f : 1.0f;
  }
  exec_run(c->exec, c->entry);
  return 0;
}
