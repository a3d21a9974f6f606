/* --verify: the compiled program against the reference evaluator, on seeded tokens.
 *
 * Both compute the graph "logits" of the same Module, the evaluator in plain C with dense weights,
 * the program with its kernels; what is compared is every logit of every position.
 */
#include "tools/compile.h"
#include "tools/output.h"
#include "tools/tensors_file.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOKENS = 24 };
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
static void fill_tokens(int64_t *ids, int64_t vocab) {
  uint64_t x = 12345;
  for (int i = 0; i < TOKENS; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    ids[i] = (int64_t)((x >> 33) % (uint64_t)vocab);
  }
}

static Status reference(Arena *a, const Module *m, const int64_t *ids, Diag *d, RefTensor *out) {
  const Graph *g = module_find_graph(m, "logits");
  static int64_t positions[TOKENS], length = TOKENS;
  static float keep[TOKENS];
  if (!g) return diag_error(d, "--verify", "the model has no graph 'logits'");
  for (int i = 0; i < TOKENS; i++) {
    positions[i] = i;
    keep[i] = 1;
  }
  RefTensor in[] = {
      {.name = "ids",
       .dtype = DT_i32,
       .rank = 1,
       .dim = {TOKENS},
       .elements = TOKENS,
       .i = (int64_t *)(uintptr_t)ids},
      {.name = "pos",
       .dtype = DT_i32,
       .rank = 1,
       .dim = {TOKENS},
       .elements = TOKENS,
       .i = positions},
      {.name = "mask", .dtype = DT_f32, .rank = 1, .dim = {TOKENS}, .elements = TOKENS, .f = keep},
      {.name = "seq_len", .dtype = DT_i32, .rank = 1, .dim = {1}, .elements = 1, .i = &length},
  };
  RefSymbol symbols[] = {{"P", 0}};
  RefTensor **outputs = ARENA_ARRAY(a, RefTensor *, g->noutputs + 1);
  TRY(graph_eval(a, g, ref_states_new(a, m), in, g->ninputs, symbols, 1, outputs, d));
  *out = *outputs[0];
  return OK;
}

static double largest_error(const RefTensor *want, const RefTensor *got) {
  double error = 0, size = 0;
  for (int64_t i = 0; i < want->elements; i++) {
    double e = fabs((double)want->f[i] - (double)got->f[i]);
    if (!(e <= error)) error = e; /* a NaN is taken too */
    if (fabs((double)want->f[i]) > size) size = fabs((double)want->f[i]);
  }
  return size > 0 ? error / size : error;
}

static Status compare(Arena *a, const char *program, const Module *m, const char *folder, Diag *d,
                      double *error) {
  const char *in = arena_printf(a, "%s/in", folder), *out = arena_printf(a, "%s/out", folder);
  const Graph *decode = module_find_graph(m, "decode");
  int64_t ids[TOKENS], vocab = 0;
  TensorsFile result = {0};
  RefTensor want = {0};
  if (decode) {
    const Type *t = &graph_value(decode, decode->outputs[0])->type;
    dim_is_const(m->dims, t->dim[t->rank - 1], &vocab);
  }
  if (vocab < 1) return diag_error(d, "--verify", "this kind of program cannot be verified yet");
  fill_tokens(ids, vocab);
  RefTensor input = {
      .name = "input_ids", .rank = 2, .dim = {1, TOKENS}, .elements = TOKENS, .i = ids};
  Status s = write_safetensors(in, &input, 1, d);
  if (s == OK) s = run_program(program, in, out, d);
  if (s == OK) s = tensors_open(out, d, &result);
  if (s == OK) s = reference(a, m, ids, d, &want);
  if (s == OK) {
    const RefTensor *got = tensors_find(&result, "logits");
    if (!got || !got->f || got->elements != want.elements)
      s = diag_error(d, "--verify", "the program's logits have another shape");
    else
      *error = largest_error(&want, got);
  }
  tensors_close(&result);
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
