/* `tensors`: raw forward, named tensors in and out, as Transformers' forward() has them.
 *
 * Each row of the batch is a sequence of its own: it runs through the entry in chunks with the
 * cache rewound, so any batch and length up to the context runs in the same memory. As in
 * Transformers, attention_mask hides keys but moves no position: positions are 0, 1, .. unless
 * position_ids are given.
 */
#include "runtime/core/dtype.h"
#include "runtime/core/io.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/session.h"
#include "runtime/task/task.h"
#include <stdlib.h>
#include <string.h>

typedef struct Options {
  RunOptions run;
  const char *in, *out, *entry;
} Options;

static const ArgSpec specs[] = {
    {"--in", 0, ARG_TEXT, offsetof(Options, in), 0, 0, "FILE",
     "safetensors with input_ids [B, N], attention_mask, position_ids"},
    {"--out", 0, ARG_TEXT, offsetof(Options, out), 0, 0, "FILE", "safetensors to write"},
    {"--entry", 0, ARG_TEXT, offsetof(Options, entry), 0, 0, "NAME",
     "logits (default), prefill (last position only) or decode"},
    RUN_OPTION_SPECS,
};

/* The inputs in the runtime's own types, row by row. */
typedef struct Batch {
  int64_t rows, length, seq_len;
  uint32_t *ids;
  int32_t *positions; /* NULL: 0, 1, .. */
  float *mask;        /* NULL: all ones */
} Batch;

static double element(const StTensor *t, int64_t i) {
  const uint8_t *p = t->data + (uint64_t)i * dtype_size(t->dtype);
  switch (t->dtype) {
  case INGOT_I64: {
    int64_t v;
    memcpy(&v, p, sizeof v);
    return (double)v;
  }
  case INGOT_I32: {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  case INGOT_F32: {
    float v;
    memcpy(&v, p, sizeof v);
    return (double)v;
  }
  default: return *p; /* U8, BOOL: checked */
  }
}

/* Shape [B, N], [1, N] or [N] and a type that `element` reads. */
static int check_input(const StTensor *t, const Batch *b, Err *e) {
  bool floating = t->dtype == INGOT_F32 && strcmp(t->name, "attention_mask") == 0;
  if (t->dtype != INGOT_I64 && t->dtype != INGOT_I32 && t->dtype != INGOT_U8 &&
      t->dtype != INGOT_BOOL && !floating)
    return err_set(e, t->name, "has dtype %s (expected I64 or I32)", dtype_info[t->dtype].name);
  if (t->rank < 1 || t->rank > 2) return err_set(e, t->name, "has rank %u (expected 2)", t->rank);
  int64_t rows = t->rank == 2 ? t->dim[0] : 1, length = t->dim[t->rank - 1];
  if (length != b->length || (rows != b->rows && rows != 1))
    return err_set(e, t->name, "has shape [%lld, %lld] (expected [%lld, %lld])", (long long)rows,
                   (long long)length, (long long)b->rows, (long long)b->length);
  return 0;
}

static int read_ids(const StTensor *t, const IngotModel *m, Batch *b, Err *e) {
  b->rows = t->rank == 2 ? t->dim[0] : 1;
  b->length = t->rank ? t->dim[t->rank - 1] : 0;
  if (check_input(t, b, e)) return 1;
  b->seq_len = b->length;
  b->ids = malloc(((size_t)t->elements + 1) * sizeof *b->ids);
  if (!b->ids) return err_no_memory(e, t->name);
  for (int64_t i = 0; i < t->elements; i++) {
    double id = element(t, i);
    if (id < 0 || id >= (double)m->generation.vocab)
      return err_set(e, t->name, "%.0f at [%lld, %lld] is out of range (expected 0 to %lld)", id,
                     (long long)(i / b->length), (long long)(i % b->length),
                     (long long)m->generation.vocab - 1);
    b->ids[i] = (uint32_t)id;
  }
  return 0;
}

static int read_positions(const StTensor *t, Batch *b, Err *e) {
  if (check_input(t, b, e)) return 1;
  int64_t n = b->rows * b->length;
  b->positions = malloc(((size_t)n + 1) * sizeof *b->positions);
  if (!b->positions) return err_no_memory(e, t->name);
  double most = -1;
  for (int64_t i = 0; i < n; i++) {
    double v = element(t, i % t->elements);
    if (v < 0 || v > INT32_MAX)
      return err_set(e, t->name, "%.0f is not a position (expected 0 or more)", v);
    if (v > most) most = v;
    b->positions[i] = (int32_t)v;
  }
  b->seq_len = (int64_t)most + 1;
  return 0;
}

static int read_mask(const StTensor *t, Batch *b, Err *e) {
  if (check_input(t, b, e)) return 1;
  int64_t n = b->rows * b->length;
  b->mask = malloc(((size_t)n + 1) * sizeof *b->mask);
  if (!b->mask) return err_no_memory(e, t->name);
  for (int64_t i = 0; i < n; i++) b->mask[i] = element(t, i % t->elements) != 0;
  return 0;
}

static int read_batch(const StFile *f, const char *path, const IngotModel *m, Batch *b, Err *e) {
  const StTensor *ids = st_find(f, "input_ids");
  if (!ids) return err_set(e, path, "has no tensor input_ids");
  if (read_ids(ids, m, b, e)) return 1;
  for (size_t i = 0; i < st_count(f); i++) {
    const StTensor *t = st_at(f, i);
    if (t == ids) continue;
    if (b->rows * b->length == 0) return 0;
    if (strcmp(t->name, "position_ids") == 0) {
      if (read_positions(t, b, e)) return 1;
    } else if (strcmp(t->name, "attention_mask") == 0) {
      if (read_mask(t, b, e)) return 1;
    } else {
      return err_set(e, path,
                     "%s is not an input (expected input_ids, attention_mask, position_ids)",
                     t->name);
    }
  }
  return 0;
}

/* Where the rows of a run go. */
typedef struct Sink {
  Exec *exec;
  StWriter *writer;
  int entry, output;
  int64_t length; /* of the sequence */
  bool last_only;
} Sink;

static int put_rows(void *user, int64_t first, int64_t count, Err *e) {
  Sink *k = user;
  const IngotTensor *t = &exec_model(k->exec)->entries[k->entry].outputs[k->output];
  if (*io_interrupted()) return err_set(e, "tensors", "interrupted");
  if (k->last_only && first + count < k->length) return 0;
  return st_write(k->writer, exec_output_data(k->exec, k->entry, k->output),
                  (uint64_t)exec_elements(k->exec, t) * dtype_size(t->dtype), e);
}

/* Fills in what is written: the first output of rank 2 or more, with a batch axis before it. */
static int describe_output(const Batch *b, Sink *k, StTensor *out, Err *e) {
  const IngotModel *m = exec_model(k->exec);
  const IngotEntry *entry = &m->entries[k->entry];
  for (k->output = 0; k->output < (int)entry->noutputs; k->output++)
    if (entry->outputs[k->output].rank >= 2) break;
  int ids = exec_input(k->exec, k->entry, "ids");
  if (k->output == (int)entry->noutputs || ids < 0)
    return err_set(e, entry->name, "can't be called by `tensors`");
  const IngotTensor *t = &entry->outputs[k->output];
  uint32_t rows = entry->inputs[ids].dim[0];
  k->last_only = m->dims[rows].kind == INGOT_DIM_SYMBOL && t->dim[0] != rows;
  k->length = b->length;
  *out = (StTensor){.name = t->name, .dtype = t->dtype, .rank = t->rank + 1};
  out->dim[0] = b->rows;
  out->dim[1] = k->last_only && b->length > 0 ? 1 : b->length;
  for (uint32_t i = 1; i < t->rank; i++) out->dim[i + 1] = exec_dim(k->exec, t->dim[i]);
  return 0;
}

static int run_batch(Session *s, const Options *o, const Batch *b, Err *e) {
  Sink k = {.exec = session_exec(s), .entry = exec_entry(session_exec(s), o->entry)};
  StTensor out;
  if (describe_output(b, &k, &out, e) || st_create(o->out, &out, 1, &k.writer, e)) return 1;
  for (int64_t r = 0; r < b->rows; r++) {
    int64_t at = r * b->length;
    SessionRow row = {.ids = b->ids + at,
                      .positions = b->positions ? b->positions + at : NULL,
                      .mask = b->mask ? b->mask + at : NULL,
                      .n = b->length,
                      .seq_len = b->seq_len};
    if (session_row(s, k.entry, &row, put_rows, &k, e)) {
      st_abandon(k.writer);
      return 1;
    }
  }
  return st_commit(k.writer, e);
}

static int run(const Task *t, void *options, Err *e) {
  Options *o = options;
  if (!o->in || !o->out || t->args.argc) {
    err_set(e, "tensors", "needs --in FILE and --out FILE and takes no other argument");
    return CALL_WRONG_USE;
  }
  ExecOptions x = run_options(&o->run);
  Session *s = NULL;
  StFile *f = NULL;
  Batch b = {0};
  int bad = session_open(t->m, &x, &s, e);
  if (!bad && exec_entry(session_exec(s), o->entry) < 0) {
    session_close(s);
    err_set(e, "--entry", "'%s' is not an entry of this program (expected logits, prefill, decode)",
            o->entry);
    return CALL_WRONG_USE;
  }
  if (!bad) bad = st_open(o->in, &f, e) || read_batch(f, o->in, t->m, &b, e);
  if (!bad) bad = run_batch(s, o, &b, e);
  st_close(f);
  session_close(s);
  free(b.ids);
  free(b.positions);
  free(b.mask);
  if (bad && *io_interrupted()) return CALL_INTERRUPTED;
  return bad ? CALL_FAILED : CALL_DONE;
}

static void defaults(void *options, const IngotModel *m) {
  (void)m;
  ((Options *)options)->entry = "logits";
}

const Call call_tensors = {.name = "tensors",
                           .usage = "tensors --in A.safetensors --out B.safetensors",
                           .purpose = "raw forward: named tensors in, named tensors out",
                           .needs = NEEDS_NETWORK,
                           .specs = specs,
                           .nspecs = sizeof specs / sizeof specs[0],
                           .options_size = sizeof(Options),
                           .defaults = defaults,
                           .run = run};
