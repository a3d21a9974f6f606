/* --verify: the compiled program against the reference evaluator, on seeded tokens.
 *
 * Both compute the graph "logits" of the same Module, the evaluator in plain C with dense weights,
 * the program with its kernels; what is compared is every logit of every position.
 */
#include "tools/compile.h"
#include "tools/output.h"
#include "tools/reference.h"
#include "tools/tensors_file.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOKENS = 24 }; /* fewer when the graph takes fewer at once */
extern char **environ;

static Status run_program(const char *program, const char *in, const char *out, Diag *d) {
  const char *argv[] = {program, "tensors", "--in", in, "--out", out, NULL};
  int status;
  pid_t pid;
  int error = posix_spawn(&pid, program, NULL, NULL, (char **)(uintptr_t)argv, environ);
  if (error) return diag_error(d, program, "cannot be run: %s", strerror(error));
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OK;
  return diag_error(d, program, "failed on the verification's tokens");
}

/* Tokens by a fixed linear congruence: the same in every run. */
static void fill_tokens(int64_t *ids, int64_t n, int64_t vocab) {
  uint64_t x = 12345;
  for (int64_t i = 0; i < n; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    ids[i] = (int64_t)((x >> 33) % (uint64_t)vocab);
  }
}

static double largest_error(const RefTensor *want, const RefTensor *got) {
  double error = 0, size = 0;
  for (int64_t i = 0; i < want->elements; i++) {
    double e = fabs((double)want->f[i] - (double)got->f[i]);
    if (isnan(e)) return INFINITY;
    if (e > error) error = e;
    if (fabs((double)want->f[i]) > size) size = fabs((double)want->f[i]);
  }
  return size > 0 ? error / size : error;
}

/* How many tokens "logits" takes at once (at most TOKENS), and the size of the vocabulary. */
static Status sizes(const Graph *g, Diag *d, int64_t *n, int64_t *vocab) {
  const Dims *dims = g ? g->module->dims : NULL;
  const Type *t = g ? &graph_value(g, g->outputs[0])->type : NULL;
  if (!g || t->rank != 2 || !dim_is_const(dims, t->dim[1], vocab))
    return diag_error(d, "--verify", "is for language models (this one has no graph 'logits')");
  int64_t most = dim_get(dims, t->dim[0])->hi;
  *n = most < TOKENS ? most : TOKENS;
  return OK;
}

static Status compare(Arena *a, const char *program, const Module *m, const char *folder, Diag *d,
                      double *error) {
  const char *in = arena_printf(a, "%s/in", folder), *out = arena_printf(a, "%s/out", folder);
  const Graph *g = module_find_graph(m, "logits");
  int64_t ids[TOKENS], n = 0, vocab = 0;
  TensorsFile result = {0};
  RefTensor want = {0};
  TRY(sizes(g, d, &n, &vocab));
  fill_tokens(ids, n, vocab);
  RefTensor input = {.name = "input_ids", .rank = 2, .dim = {1, n}, .elements = n, .i = ids};
  Status s = write_safetensors(in, &input, 1, d);
  if (s == OK) s = run_program(program, in, out, d);
  if (s == OK) s = tensors_open(out, d, &result);
  if (s == OK) s = reference_logits(a, g, ids, n, NULL, NULL, d, &want);
  if (s == OK) {
    const RefTensor *got = tensors_find(&result, "logits");
    if (got && got->f && got->elements == want.elements)
      *error = largest_error(&want, got);
    else
      s = diag_error(d, "--verify", "the program's logits have another shape");
  }
  if (result.model) tensors_close(&result);
  unlink(in);
  unlink(out);
  return s;
}

Status verify_program(const char *program, const Module *m, Diag *d, double *error) {
  char folder[] = "/tmp/ingot-verify-XXXXXX";
  if (!mkdtemp(folder)) return diag_error(d, folder, "cannot be made: %s", strerror(errno));
  Arena *a = arena_new();
  const char *path = strchr(program, '/') ? program : arena_printf(a, "./%s", program);
  Status s = compare(a, path, m, folder, d, error);
  rmdir(folder);
  arena_free(a);
  return s;
}
