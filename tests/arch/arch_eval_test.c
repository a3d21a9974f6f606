/* Architectures against Transformers: arch_eval_test CASE ...
 *
 * Each case is a folder as tests/arch/make.py writes it (../shared/models has the same layout).
 * The entry "logits" is built from model/ or model/model.gguf, run by the reference evaluator, at
 * once and in pieces over the cache, and compared within the case's tolerance where the mask says
 * that a position counts. The greedy tokens are run through "prefill" and "decode".
 */
#include "frontend/readers.h"
#include "ir/eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 }; /* rows of one run */

typedef struct Case {
  const char *dir;
  Arena *arena;
  Diag *d;
  Model *data; /* holds in.safetensors and out.safetensors */
  int64_t rows, length, vocab;
  const int64_t *ids, *mask; /* [rows][length]; mask may be NULL */
  const float *logits;
  json_t *info;
  double tolerance;
} Case;

static Status read_tensors(Case *c, const char *name) {
  MappedFile f;
  Reader r = {.m = c->data, .d = c->d, .cfiles = c->data->nfiles, .cweights = c->data->nweights};
  TRY(reader_map(&r, arena_printf(c->arena, "%s/%s", c->dir, name), &f));
  TRY(safetensors_read(&r, &f));
  return reader_sort_weights(&r);
}

static Status case_open(Case *c, const char *dir) {
  *c = (Case){.dir = dir, .arena = arena_new(), .d = diag_new()};
  c->data = ARENA_NEW(c->arena, Model);
  c->data->arena = c->arena;
  TRY(read_tensors(c, "in.safetensors"));
  TRY(read_tensors(c, "out.safetensors"));
  Reader r = {.m = c->data, .d = c->d};
  TRY(json_file(&r, arena_printf(c->arena, "%s/case.json", dir), 1 << 20, 0, &c->info));
  const Weight *ids = model_weight(c->data, "input_ids");
  const Weight *mask = model_weight(c->data, "attention_mask");
  const Weight *logits = model_weight(c->data, "logits");
  if (!ids || !logits || logits->view.rank != 3)
    return diag_error(c->d, dir, "has no input_ids or no logits [rows, length, vocab]");
  c->rows = logits->view.dim[0];
  c->length = logits->view.dim[1];
  c->vocab = logits->view.dim[2];
  c->ids = (const int64_t *)(const void *)ids->view.data;
  c->mask = mask ? (const int64_t *)(const void *)mask->view.data : NULL;
  c->logits = (const float *)(const void *)logits->view.data;
  c->tolerance =
      json_number_value(json_object_get(json_object_get(c->info, "tolerance"), "logits"));
  return OK;
}

static void case_close(Case *c) {
  json_decref(c->info);
  for (uint32_t i = 0; i < c->data->nfiles; i++) file_unmap(&c->data->files[i]);
  mem_free(c->data->files);
  mem_free(c->data->weights);
  diag_free(c->d);
  arena_free(c->arena);
}

/* One run of an entry over n tokens after `past`; `total`: the length of the whole call. */
static Status run(Case *c, Arena *a, const Module *m, const char *entry, RefState *states,
                  const int64_t *ids, int64_t n, int64_t past, int64_t total, const float *mask,
                  RefTensor **out) {
  Graph *g = module_find_graph(m, entry);
  int64_t *pos = ARENA_ARRAY(a, int64_t, (size_t)n);
  for (int64_t i = 0; i < n; i++) pos[i] = past + i;
  const RefTensor given[4] = {
      {"ids", DT_i32, 1, {n}, n, NULL, (int64_t *)(uintptr_t)ids},
      {"pos", DT_i32, 1, {n}, n, NULL, pos},
      {"mask", DT_f32, 1, {past + n}, past + n, (float *)(uintptr_t)mask, NULL},
      {"seq_len", DT_i32, 1, {1}, 1, NULL, &total}};
  RefTensor in[4];
  for (uint32_t i = 0; i < g->ninputs; i++) {
    for (int k = 0; k < 4; k++) {
      if (strcmp(given[k].name, g->values[g->inputs[i]].name) == 0) in[i] = given[k];
    }
  }
  RefSymbol symbol = {"P", past};
  return graph_eval(a, g, states, in, g->ninputs, &symbol, 1, out, c->d);
}

/* The largest difference over the positions that count, of row `row` from position `from`. */
static double distance(const Case *c, const RefTensor *got, int64_t row, int64_t from) {
  double worst = 0;
  for (int64_t s = 0; s < got->dim[0]; s++) {
    int64_t at = row * c->length + from + s;
    if (c->mask && !c->mask[at]) continue;
    for (int64_t v = 0; v < c->vocab; v++) {
      double e = fabs((double)got->f[s * c->vocab + v] - (double)c->logits[at * c->vocab + v]);
      if (!(e <= worst)) worst = e;
    }
  }
  return worst;
}

/* Row by row in pieces of `piece` tokens. */
static Status compare(Case *c, const Module *m, int64_t piece, double *worst) {
  for (int64_t row = 0; row < c->rows; row++) {
    Arena *a = arena_new();
    RefState *states = ref_states_new(a, m);
    float *mask = ARENA_ARRAY(a, float, (size_t)c->length);
    for (int64_t i = 0; i < c->length; i++)
      mask[i] = !c->mask || c->mask[row * c->length + i] ? 1 : 0;
    Status s = OK;
    for (int64_t from = 0; s == OK && from < c->length; from += piece) {
      int64_t n = c->length - from < piece ? c->length - from : piece;
      RefTensor *out;
      s = run(c, a, m, "logits", states, c->ids + row * c->length + from, n, from, c->length, mask,
              &out);
      double e = s == OK ? distance(c, out, row, from) : 0;
      if (!(e <= *worst)) *worst = e;
    }
    arena_free(a);
    TRY(s);
  }
  return OK;
}

/* Greedy tokens over the cache: prefill, then decode. */
static Status compare_greedy(Case *c, const Module *m, bool *same) {
  const json_t *greedy = json_object_get(c->info, "greedy");
  const json_t *prompt = json_object_get(greedy, "prompt_ids"),
               *want = json_object_get(greedy, "new_ids");
  size_t n = json_array_size(prompt), steps = json_array_size(want);
  *same = true;
  if (!n || !steps) return OK;
  Arena *a = arena_new();
  RefState *states = ref_states_new(a, m);
  int64_t *ids = ARENA_ARRAY(a, int64_t, n + steps);
  for (size_t i = 0; i < n; i++) ids[i] = json_integer_value(json_array_get(prompt, i));
  int64_t past = 0;
  Status s = OK;
  for (size_t k = 0; s == OK && k < steps;) {
    int64_t end = (int64_t)(n + k), count = end - past < CHUNK ? end - past : CHUNK;
    RefTensor *out;
    s = run(c, a, m, k ? "decode" : "prefill", states, ids + past, count, past, end, NULL, &out);
    past += count;
    if (s != OK || past < end) continue;
    ids[past] = out[1].i[0];
    if (ids[past] != json_integer_value(json_array_get(want, k++))) *same = false;
  }
  arena_free(a);
  return s;
}

static Status run_model(Case *c, const char *path, bool *failed) {
  Model *model;
  Module *m;
  double whole = 0, pieces = 0;
  bool same = true;
  TRY(model_open(path, MODEL_WEIGHTS, c->d, &model));
  Status s = model_build(model, &(BuildOptions){.chunk = CHUNK, .kv = DT_f32}, c->d, &m);
  if (s == OK) {
    s = compare(c, m, c->length < CHUNK ? c->length : CHUNK, &whole);
    if (s == OK) s = compare(c, m, 11, &pieces);
    if (s == OK) s = compare_greedy(c, m, &same);
    module_free(m);
  }
  model_close(model);
  *failed |= !(whole <= c->tolerance) || !(pieces <= c->tolerance) || !same;
  if (s == OK)
    printf("%s: %.3g at once, %.3g in pieces (tolerance %.3g), greedy %s\n", path, whole, pieces,
           c->tolerance, same ? "equal" : "DIFFERENT");
  return s;
}

int main(int argc, char **argv) {
  bool failed = argc < 2;
  for (int i = 1; i < argc; i++) {
    Case c;
    Status s = case_open(&c, argv[i]);
    const char *gguf = arena_printf(c.arena, "%s/model/model.gguf", argv[i]);
    const char *folder = arena_printf(c.arena, "%s/model", argv[i]);
    if (s == OK) s = run_model(&c, file_exists(gguf) ? gguf : folder, &failed);
    fputs(diag_text(c.d), stdout);
    failed |= s != OK;
    case_close(&c);
  }
  return failed;
}
