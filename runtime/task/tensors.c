/* `tensors`: raw forward, named tensors in and out, as Transformers' forward() has them.
 *
 * Each row of the batch is a sequence of its own: it runs through the entry in chunks with the
 * cache rewound, so any batch and length up to the context runs in the same memory. As in
 * Transformers, attention_mask hides keys but moves no position: positions are 0, 1, .. unless
 * position_ids are given.
 */
#include "runtime/core/dtype.h"
#include "runtime/core/encoder.h"
#include "runtime/core/io.h"
#include "runtime/core/session.h"
#include "runtime/task/batch.h"
#include "runtime/task/encode.h"
#include "runtime/task/task.h"
#include <stdlib.h>
#include <string.h>

typedef struct Options {
  RunOptions run;
  const char *in, *out, *entry;
} Options;

static const ArgSpec specs[] = {
    {"--in", 0, ARG_TEXT, offsetof(Options, in), 0, 0, "FILE",
     "safetensors with input_ids [B, N], attention_mask, position_ids, ..."},
    {"--out", 0, ARG_TEXT, offsetof(Options, out), 0, 0, "FILE", "safetensors to write"},
    {"--entry", 0, ARG_TEXT, offsetof(Options, entry), 0, 0, "NAME",
     "logits (default), prefill (last position only) or decode"},
    RUN_OPTION_SPECS,
};

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
  for (int64_t r = 0; b->length && r < b->rows; r++) { /* empty rows may be countless */
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
  if (encoder_there(t->m)) {
    return call_status(encode_tensors(t->m, &x, o->in, o->out, e));
  }
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
  BatchLimits limits = {.vocab = t->m->generation.vocab};
  if (!bad) bad = st_open(o->in, &f, e) || batch_read(f, o->in, &limits, &b, e);
  if (!bad) bad = run_batch(s, o, &b, e);
  st_close(f);
  session_close(s);
  batch_free(&b);
  return call_status(bad);
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
