/* `bench`: tokens a second of prefill and decode, beside how fast this machine reads the weights.
 *
 * Medians of -r repetitions, after one round that is not counted. The read bandwidth is measured in
 * the same run with the same threads: each reads its share of the weights in 8 streams, since one
 * stream a core does not saturate memory.
 */
#include "runtime/core/bandwidth.h"
#include "runtime/core/encoder.h"
#include "runtime/core/io.h"
#include "runtime/core/session.h"
#include "runtime/task/bench_encode.h"
#include "runtime/task/task.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Options {
  RunOptions run;
  int64_t prompt, tokens, depth, batch, repeat;
  bool json, logits;
} Options;

#define AT(member) offsetof(Options, member)
static const ArgSpec specs[] = {
    {"--prompt", 'p', ARG_INT, AT(prompt), 0, 1e9, "N", "tokens of prefill (default 512)"},
    {"--tokens", 'n', ARG_INT, AT(tokens), 0, 1e9, "N", "tokens of decode (default 128)"},
    {"--depth", 'd', ARG_INT, AT(depth), 0, 1e9, "N", "tokens in the cache before (default 0)"},
    {"--batch", 'b', ARG_INT, AT(batch), 1, 1 << 20, "B",
     "sequences of a batch (language models: 1)"},
    {"--repeat", 'r', ARG_INT, AT(repeat), 1, 1000, "N", "repetitions (default 3)"},
    {"--logits", 0, ARG_FLAG, AT(logits), 0, 0, NULL,
     "decode gives all logits, as for sampling (default: the most probable token)"},
    {"--json", 0, ARG_FLAG, AT(json), 0, 0, NULL, "one JSON object"},
    RUN_OPTION_SPECS,
};

/* ---- tokens a second ------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(double *v, int64_t n) {
  qsort(v, (size_t)n, sizeof *v, compare);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Seconds of one prefill (tokens at once) or of as many decode steps, at the given depth. */
static int timed(Session *s, const Options *o, const uint32_t *ids, bool prefill, double *seconds,
                 Err *e) {
  session_rewind(s, o->depth);
  double t0 = io_seconds();
  if (prefill) {
    if (session_prefill(s, ids, o->prompt, io_interrupted(), e)) return 1;
  } else {
    uint32_t id = ids[0]; /* the model goes on by itself: `greedy` depends on what text it is */
    for (int64_t i = 0; i < o->tokens && !*io_interrupted(); i++, id = session_token(s))
      if (session_decode(s, id, e)) return 1;
  }
  *seconds = io_seconds() - t0;
  return *io_interrupted() ? err_set(e, "bench", "interrupted") : 0;
}

static int measure(Session *s, const Options *o, const uint32_t *ids, double *pp, double *tg,
                   Err *e) {
  double *seconds = calloc((size_t)o->repeat, sizeof *seconds), warm;
  if (!seconds) return err_no_memory(e, "bench");
  int bad = o->depth ? session_prefill(s, ids, o->depth, io_interrupted(), e) : 0;
  for (int k = 0; k < 2 && !bad; k++) {
    bool prefill = k == 0;
    int64_t n = prefill ? o->prompt : o->tokens;
    if (n == 0) continue;
    bad = timed(s, o, ids, prefill, &warm, e);
    for (int64_t r = 0; r < o->repeat && !bad; r++) bad = timed(s, o, ids, prefill, &seconds[r], e);
    if (!bad) *(prefill ? pp : tg) = (double)n / median(seconds, o->repeat);
  }
  free(seconds);
  return bad;
}

/* What the step that ran last reads and writes, by its launches. */
static double step_bytes(Session *s) {
  double bytes, flops;
  if (session_entry(s) < 0) return 0;
  exec_work(session_exec(s), session_entry(s), &bytes, &flops);
  return bytes;
}

static void report(Session *s, const Options *o, double pp, double tg, double load, double gbs) {
  const IngotModel *m = exec_model(session_exec(s));
  const char *isa = exec_level(session_exec(s))->name;
  unsigned threads = pool_size(exec_pool(session_exec(s)));
  Out out = {0};
  if (o->json) {
    out_puts(&out, "{\"model\": ");
    out_json_string(&out, m->name, strlen(m->name));
    out_printf(&out,
               ", \"pp\": %.3f, \"tg\": %.3f, \"p\": %lld, \"n\": %lld, \"d\": %lld, \"b\": %lld, "
               "\"r\": %lld, \"load_s\": %.6f, \"read_gbs\": %.3f, \"step_bytes\": %.0f, "
               "\"weight_bytes\": %llu, "
               "\"threads\": %u, \"isa\": \"%s\"}\n",
               pp, tg, (long long)o->prompt, (long long)o->tokens, (long long)o->depth,
               (long long)o->batch, (long long)o->repeat, load, gbs, o->tokens ? step_bytes(s) : 0,
               (unsigned long long)m->weight_bytes, threads, isa);
  } else {
    out_printf(&out, "%s, %s, %u threads, %.1f MB of weights, depth %lld\n", m->name, isa, threads,
               1e-6 * (double)m->weight_bytes, (long long)o->depth);
    if (o->prompt)
      out_printf(&out, "  prefill %6lld tokens  %10.1f tokens/s\n", (long long)o->prompt, pp);
    if (o->tokens)
      out_printf(&out, "  decode  %6lld tokens  %10.1f tokens/s\n", (long long)o->tokens, tg);
    out_printf(&out, "  load    %.2f ms, weights read at %.1f GB/s\n", 1e3 * load, gbs);
  }
  io_flush_out(&out);
  out_free(&out);
}

static int run(const Task *t, void *options, Err *e) {
  Options *o = options;
  if (t->args.argc) return err_set(e, "bench", "takes no argument '%s'", t->args.argv[0]), 2;
  ExecOptions x = run_options(&o->run);
  if (encoder_there(t->m)) {
    EncodeBench b = {o->prompt, o->batch, o->repeat, o->json, t->started};
    return call_status(bench_encode(t->m, &x, &b, e));
  }
  if (o->batch != 1)
    return err_set(e, "--batch", "is %lld (this program: 1)", (long long)o->batch), 2;
  Session *s;
  if (session_open(t->m, &x, &s, e)) return CALL_FAILED;
  session_token_only(s, !o->logits);
  double load = io_seconds() - t->started, pp = 0, tg = 0, gbs = 0;
  int64_t room = session_context(s) - o->depth; /* the defaults shrink to a small context */
  if (o->prompt < 0) o->prompt = room < 512 ? (room > 0 ? room : 0) : 512;
  if (o->tokens < 0) o->tokens = room < 128 ? (room > 0 ? room : 0) : 128;
  int64_t most = o->prompt > o->tokens ? o->prompt : o->tokens;
  int bad = session_check_room(s, o->depth + most, e);
  int64_t n = most > o->depth ? most : o->depth;
  uint32_t *ids = bad ? NULL : malloc(((size_t)n + 1) * sizeof *ids);
  if (!bad && !ids) bad = err_no_memory(e, "bench");
  if (!bad) measuring_ids(ids, n, session_vocab(s));
  if (!bad) bad = measure(s, o, ids, &pp, &tg, e);
  if (!bad) gbs = read_bandwidth(exec_pool(session_exec(s)), t->m->weights, t->m->weight_bytes);
  if (!bad) report(s, o, pp, tg, load, gbs);
  free(ids);
  session_close(s);
  return call_status(bad);
}

static void defaults(void *options, const IngotModel *m) {
  (void)m;
  Options *o = options;
  o->prompt = o->tokens = -1;
  o->batch = 1;
  o->repeat = 3;
}

const Call call_bench = {.name = "bench",
                         .usage = "bench [-p 512] [-n 128] [-d 0] [-r 3]",
                         .purpose = "measure the speed",
                         .needs = NEEDS_NETWORK,
                         .specs = specs,
                         .nspecs = sizeof specs / sizeof specs[0],
                         .options_size = sizeof(Options),
                         .defaults = defaults,
                         .run = run};
