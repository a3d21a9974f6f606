/* Calibration; see calibrate.h.
 *
 * With y = W x, an error e of W costs |e x|^2, which is on average the sum of e_k^2 E[x_k^2] when
 * the errors of different columns have nothing to do with each other: so the searches of the
 * encoders weigh squared errors by the mean square of each column's input. The text is read in
 * windows of WINDOW tokens, each a sequence of its own, which begins as the tokenizer begins texts.
 */
#include "tools/calibrate.h"

#include "backends/text/text_backend.h"
#include "ir/quant.h"
#include "runtime/text/text.h"
#include "tools/reference.h"

enum { WINDOW = 512, FEWEST = 256 };

/* A share of the mean that every column has: none is without meaning. */
static const double FLOOR = 1e-3;

typedef struct Column {
  double *sum; /* of squares, a column */
  int64_t columns;
} Column;

typedef struct Collect {
  Arena *arena;
  Column *of; /* by constant */
} Collect;

static void watch(void *user, RefCtx *c, const Op *op) {
  Collect *z = user;
  if (op->code != OP_linear) return;
  const Value *w = graph_value(c->graph, op->in[1]);
  const RefTensor *x = ref_value(c, op->in[0]);
  if (w->kind != V_CONST || x->rank < 1 || !x->f) return;
  Column *k = &z->of[w->index];
  int64_t n = x->dim[x->rank - 1];
  if (!k->sum) {
    k->columns = n;
    k->sum = ARENA_ARRAY(z->arena, double, (size_t)n + 1);
  }
  for (const float *row = x->f; row < x->f + x->elements; row += n)
    for (int64_t i = 0; i < n; i++) k->sum[i] += (double)row[i] * (double)row[i];
}

static const float *importance_of(Arena *a, const Column *k) {
  size_t n = align_up((uint64_t)k->columns, QUANT_LARGEST_BLOCK);
  float *out = ARENA_ARRAY(a, float, n);
  double all = 0;
  for (int64_t i = 0; i < k->columns; i++) all += k->sum[i];
  double mean = all / (double)k->columns;
  if (!(mean > 0) || mean > 1e300) return NULL; /* nothing came, or nothing finite */
  for (int64_t i = 0; i < k->columns; i++) out[i] = (float)(k->sum[i] / mean + FLOOR);
  return out;
}

static void set_importance(Module *m, const Collect *z) {
  for (uint32_t i = 0; i < m->nconsts; i++) {
    ConstDef *c = &m->consts[i];
    if (!z->of[i].sum) continue;
    const float *importance = importance_of(m->arena, &z->of[i]);
    for (uint32_t p = 0; p < c->nparts; p++) c->parts[p].importance = importance;
  }
}

static Status read_tokens(const Model *model, const char *path, const MappedFile *f, Diag *d,
                          TokIds *ids, bool *begins) {
  Buf blob = {0};
  Tokenizer *t = NULL;
  size_t before = 0, after;
  Status s = OK;
  if (model->tokenizer.model == TOK_NONE)
    s = diag_error(d, "--calibrate", "needs the model's tokenizer, which %s does not carry",
                   model->path);
  if (s == OK) s = tokenizer_compile(&model->tokenizer, d, &blob);
  if (s == OK && tok_open(blob.data, blob.size, &t) != TEXT_OK)
    s = diag_error(d, "--calibrate", "the tokenizer cannot be opened");
  if (s == OK) {
    tok_template(t, &before, &after);
    unsigned flags = before ? TOK_ADD_SPECIAL : 0;
    if (tok_encode(t, (const char *)f->data, f->size, NULL, 0, flags, ids) != TEXT_OK)
      s = diag_error(d, path, "cannot be tokenized");
  }
  *begins = before > 0;
  if (s == OK && ids->n < FEWEST)
    s = diag_error(d, path, "has %zu tokens (expected at least %d); some pages of text are best",
                   ids->n, FEWEST);
  if (t) tok_close(t);
  buf_free(&blob);
  return s;
}

/* Tokens that "logits" takes at once. */
static int64_t window_of(const Graph *g) {
  const Type *t = &graph_value(g, g->outputs[0])->type;
  int64_t most = dim_get(g->module->dims, t->dim[0])->hi;
  return most < WINDOW ? most : WINDOW;
}

static Status run_windows(const Graph *g, const TokIds *ids, bool begins, Collect *z,
                          Progress *progress, Diag *d) {
  int64_t window = window_of(g), step = window - (begins ? 1 : 0), row[WINDOW];
  for (size_t at = begins ? 1 : 0; at < ids->n; at += (size_t)step) {
    int64_t n = 0;
    RefTensor logits;
    Arena *a = arena_new();
    if (begins) row[n++] = ids->id[0];
    for (size_t i = at; i < ids->n && n < window; i++) row[n++] = ids->id[i];
    progress_step(progress, "calibrating", at, ids->n);
    Status s = reference_logits(a, g, row, n, watch, z, d, &logits);
    arena_free(a);
    TRY(s);
  }
  return OK;
}

Status calibrate(Module *m, const Model *model, const char *text, Progress *progress, Diag *d,
                 Calibration *out) {
  const Graph *g = module_find_graph(m, "logits");
  MappedFile file = {0};
  TokIds ids = {0};
  bool begins = false;
  if (!g) return diag_error(d, "--calibrate", "is for language models");
  TRY(file_map(m->arena, d, text, &file));
  Arena *a = arena_new();
  Collect z = {.arena = a, .of = ARENA_ARRAY(a, Column, m->nconsts + 1)};
  out->sha256 = file_sha256(m->arena, &file);
  Status s = read_tokens(model, text, &file, d, &ids, &begins);
  if (s == OK) s = run_windows(g, &ids, begins, &z, progress, d);
  if (s == OK) set_importance(m, &z);
  out->tokens = ids.n;
  tok_ids_free(&ids);
  arena_free(a);
  file_unmap(&file);
  return s;
}
