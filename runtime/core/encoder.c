/* Running the entry "encode"; see encoder.h. */
#include "runtime/core/encoder.h"

#include <stdlib.h>
#include <string.h>

/* Queries of a span at most: enough for its keys to be met often while they are near, and few
 * enough that threads have spans to share. */
enum { SPAN_QUERIES = 64, SPAN_NUMBERS = 4 };

struct Encoder {
  Exec *exec;
  int entry, symbol;           /* symbol: the number of tokens */
  int span_symbol, seq_symbol; /* numbers of spans and of sequences; -1: the entry has none */
  int32_t *ids, *types, *pos, *spans, *first;
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

/* The symbol that is the first dimension of an input; -1: there is no such input. */
static int symbol_of(const Encoder *c, const char *input) {
  const IngotModel *m = exec_model(c->exec);
  int i = exec_input(c->exec, c->entry, input);
  uint32_t dim = i < 0 ? 0 : m->entries[c->entry].inputs[i].dim[0];
  return i < 0 || m->dims[dim].kind != INGOT_DIM_SYMBOL ? -1 : (int)dim;
}

static int open_encoder(Encoder *c, const IngotModel *m, const ExecOptions *o, Err *e) {
  if (exec_open(m, o, &c->exec, e)) return 1;
  c->entry = entry_of(m);
  if (c->entry < 0) return err_set(e, "model", "this program has no encoder");
  c->ids = input_named(c->exec, c->entry, "ids");
  c->types = input_named(c->exec, c->entry, "type_ids");
  c->pos = input_named(c->exec, c->entry, "pos");
  c->mask = input_named(c->exec, c->entry, "mask");
  c->spans = input_named(c->exec, c->entry, "spans");
  c->first = input_named(c->exec, c->entry, "first");
  if (!c->ids) return err_set(e, "encode", "has no input ids: no text can be run");
  c->symbol = symbol_of(c, "ids");
  c->span_symbol = symbol_of(c, "spans");
  c->seq_symbol = symbol_of(c, "first");
  if (c->symbol < 0) return err_set(e, "encode", "has a fixed length");
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

static int set_sizes(Encoder *c, int64_t tokens, int64_t spans, int64_t rows, Err *e) {
  if (exec_set(c->exec, c->symbol, tokens, e)) return 1;
  if (c->span_symbol >= 0 && exec_set(c->exec, c->span_symbol, spans, e)) return 1;
  return c->seq_symbol >= 0 && exec_set(c->exec, c->seq_symbol, rows, e);
}

static int64_t spans_of(int64_t tokens) {
  return (tokens + SPAN_QUERIES - 1) / SPAN_QUERIES;
}

int encoder_size(Encoder *c, int64_t n, Err *e) {
  return set_sizes(c, n, spans_of(n), 1, e);
}

/* Writes a row's inputs from token `at` on. */
static void place_row(Encoder *c, EncoderRow *row, int64_t at) {
  row->at = at;
  for (int64_t i = 0; i < row->ran; i++) {
    c->ids[at + i] = (int32_t)row->ids[i];
    if (c->types) c->types[at + i] = row->types ? row->types[i] : 0;
    if (c->pos) c->pos[at + i] = row->positions ? row->positions[i] : (int32_t)i;
    if (c->mask) c->mask[at + i] = row->mask && row->mask[i] == 0 ? 0.0f : 1.0f;
  }
}

/* Writes its spans from number `span` on. */
static void place_spans(Encoder *c, const EncoderRow *row, int64_t span) {
  int64_t end = row->at + row->ran;
  for (int64_t q = row->at; q < end; q += SPAN_QUERIES) {
    int32_t *s = c->spans + SPAN_NUMBERS * span++;
    s[0] = (int32_t)q;
    s[1] = (int32_t)(end - q < SPAN_QUERIES ? end : q + SPAN_QUERIES);
    s[2] = (int32_t)row->at;
    s[3] = (int32_t)end;
  }
}

int encoder_run(Encoder *c, EncoderRow *rows, int64_t n, int64_t *done, Err *e) {
  int64_t tokens = 0, spans = 0, k = 0, most = encoder_longest(c);
  for (; k < n; k++) {
    EncoderRow *row = &rows[k];
    row->ran = row->n;
    while (row->mask && row->ran > 0 && row->mask[row->ran - 1] == 0) row->ran--;
    if (row->ran == 0) row->ran = row->n; /* hides everything */
    if (row->ran > most)
      return err_set(e, "input_ids", "%lld tokens are too many (expected at most %lld)",
                     (long long)row->ran, (long long)most);
    if (k && (!c->spans || tokens + row->ran > most)) break;
    place_row(c, row, tokens);
    if (c->spans) place_spans(c, row, spans);
    if (c->first) c->first[k] = (int32_t)tokens;
    tokens += row->ran;
    spans += spans_of(row->ran);
  }
  *done = k;
  if (set_sizes(c, tokens, spans, k, e)) return 1;
  exec_run(c->exec, c->entry);
  return 0;
}
