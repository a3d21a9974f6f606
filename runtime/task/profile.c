/* `profile`: where the time of prefill and decode goes, kernel by kernel.
 *
 * One prefill of -p tokens and -n decode steps behind it are traced, after one of each that is not.
 * A line is all launches of one kernel with one label (the layers of a model share kernels): calls,
 * time of a call (median, 95th percentile), share of the whole, work and speed. Where a bound of
 * work is unknown the figure is missing, in JSON it is 0.
 */
#include "runtime/core/profile.h"

#include "runtime/core/bandwidth.h"
#include "runtime/core/encoder.h"
#include "runtime/core/io.h"
#include "runtime/core/session.h"
#include "runtime/task/task.h"
#include <stdlib.h>
#include <string.h>

typedef struct Options {
  RunOptions run;
  int64_t prompt, tokens, batch;
  bool each, json;
} Options;

#define AT(member) offsetof(Options, member)
static const ArgSpec specs[] = {
    {"--prompt", 'p', ARG_INT, AT(prompt), 0, 1e9, "N", "tokens of prefill (default 512)"},
    {"--tokens", 'n', ARG_INT, AT(tokens), 0, 1e9, "N",
     "steps of decode behind it (default 64); of an encoder: batches"},
    {"--batch", 'b', ARG_INT, AT(batch), 1, 1 << 20, "B",
     "sequences of a batch (language models: 1)"},
    {"--each", 0, ARG_FLAG, AT(each), 0, 0, NULL, "a line for every launch of every layer"},
    {"--json", 0, ARG_FLAG, AT(json), 0, 0, NULL, "one JSON object"},
    RUN_OPTION_SPECS,
};

typedef struct View { /* what the reports have in common */
  const Options *o;
  const IngotModel *m;
  Profile *profile;
  const char *isa;
  unsigned threads;
  double read_gbs;
} View;

static double per(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0;
}

/* Share of the threads' time that was not work. A launch that ran beside the one before it has less
 * time of its own than work. */
static double waiting(const View *v, double busy, double seconds) {
  double share = 1 - per(busy, seconds * v->threads);
  return share > 0 ? share : 0;
}

typedef void ReportEntry(Out *out, const View *v, const ProfileEntry *en);

/* The entries that ran, prefill first; `between` stands between two. */
static void each_entry(Out *out, const View *v, ReportEntry *report, const char *between) {
  static const char *const order[] = {"prefill", "greedy", "decode", "encode"};
  const char *before = "";
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    for (uint32_t k = 0; k < v->m->nentries; k++) {
      const ProfileEntry *en = profile_entry(v->profile, (int)k);
      if (!en->runs || strcmp(v->m->entries[k].name, order[i]) != 0) continue;
      out_puts(out, before);
      report(out, v, en);
      before = between;
    }
  }
}

static void sums(const ProfileEntry *en, double *bytes, double *flops, double *busy) {
  *bytes = *flops = *busy = 0;
  for (uint32_t i = 0; i < en->nrows; i++) {
    *bytes += en->row[i].bytes;
    *flops += en->row[i].flops;
    *busy += en->row[i].busy;
  }
}

/* ---- table ----------------------------------------------------------------------------------- */

enum { LABEL_MAX = 56 };

static int label_width(const ProfileEntry *en) {
  int width = 5;
  for (uint32_t i = 0; i < en->nrows; i++) {
    int n = (int)strlen(en->row[i].label);
    if (n > width) width = n;
  }
  return width < LABEL_MAX ? width : LABEL_MAX;
}

/* Right-aligned with three significant digits or so; "-" for nothing. */
static void put_figure(Out *out, int width, double v) {
  if (v <= 0)
    out_printf(out, " %*s", width, "-");
  else
    out_printf(out, " %*.*f", width, v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v);
}

static void put_work(Out *out, double bytes, double flops, double calls, double seconds) {
  put_figure(out, 9, per(1e-3 * bytes, calls));
  put_figure(out, 9, per(1e-6 * flops, calls));
  put_figure(out, 7, per(1e-9 * bytes, seconds));
  put_figure(out, 8, per(1e-9 * flops, seconds));
}

static void put_wait(Out *out, const View *v, double busy, double seconds) {
  if (v->threads > 1) out_printf(out, " %6.1f%%", 100 * waiting(v, busy, seconds));
}

static void table_threads(Out *out, const View *v, const ProfileEntry *en) {
  if (v->threads < 2) return;
  out_puts(out, "waiting");
  for (unsigned i = 0; i < v->threads; i++)
    out_printf(out, "%s thread %u %.2f ms (%.1f%%)", i ? "," : "", i,
               1e3 * (en->seconds - en->busy[i]), 100 * (1 - per(en->busy[i], en->seconds)));
  out_puts(out, "\n");
}

static void table_entry(Out *out, const View *v, const ProfileEntry *en) {
  int w = label_width(en);
  int64_t calls = 0;
  double bytes, flops, busy;
  sums(en, &bytes, &flops, &busy);
  out_printf(out, "\n%s: %lld tokens in %.2f ms, %.1f tokens/s\n", v->m->entries[en->entry].name,
             (long long)en->tokens, 1e3 * en->seconds, per((double)en->tokens, en->seconds));
  out_printf(out,
             "%-*s  share   calls median us    p95 us   kB/call MFL/call    GB/s  GFLOP/s%s  %s\n",
             w, "what", v->threads > 1 ? " waiting" : "", "kernel");
  for (uint32_t i = 0; i < en->nrows; i++) {
    const ProfileRow *r = &en->row[i];
    out_printf(out, "%-*.*s %5.1f%% %7lld %9.1f %9.1f", w, w, r->label,
               100 * per(r->total, en->seconds), (long long)r->calls,
               1e6 * profile_quantile(r, 0.5), 1e6 * profile_quantile(r, 0.95));
    put_work(out, r->bytes, r->flops, (double)r->calls, r->total);
    put_wait(out, v, r->busy, r->total);
    out_printf(out, "  %s\n", v->m->kernels[r->kernel].name);
    calls += r->calls;
  }
  out_printf(out, "%-*s %5.1f%% %7lld %9s %9s", w, "all", 100.0, (long long)calls, "", "");
  put_work(out, bytes, flops, (double)calls, en->seconds);
  put_wait(out, v, busy, en->seconds);
  out_puts(out, "\n");
  table_threads(out, v, en);
  if (v->read_gbs > 0)
    out_printf(out, "memory  read at %.1f of %.1f GB/s: %.0f%%\n", 1e-9 * per(bytes, en->seconds),
               v->read_gbs, 100 * per(1e-9 * per(bytes, en->seconds), v->read_gbs));
}

static void table(Out *out, const View *v) {
  out_printf(out, "%s, %s, %u thread%s, %.1f MB of weights\n", v->m->name, v->isa, v->threads,
             v->threads == 1 ? "" : "s", 1e-6 * (double)v->m->weight_bytes);
  each_entry(out, v, table_entry, "");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_number(Out *out, const char *key, double x) {
  out_printf(out, ", \"%s\": %.9g", key, x);
}

static void json_text(Out *out, const char *key, const char *text) {
  out_printf(out, "\"%s\": ", key);
  out_json_string(out, text, strlen(text));
}

static void json_work(Out *out, double bytes, double flops, double seconds) {
  json_number(out, "bytes", bytes);
  json_number(out, "flops", flops);
  json_number(out, "gbs", 1e-9 * per(bytes, seconds));
  json_number(out, "gflops", 1e-9 * per(flops, seconds));
}

static void json_row(Out *out, const View *v, const ProfileEntry *en, const ProfileRow *r) {
  const IngotKernelInfo *k = &v->m->kernels[r->kernel];
  out_puts(out, "{");
  json_text(out, "label", r->label);
  out_puts(out, ", ");
  json_text(out, "kernel", k->name);
  out_puts(out, ", ");
  json_text(out, "class", k->klass);
  out_printf(out, ", \"launches\": %u, \"calls\": %lld", r->launches, (long long)r->calls);
  json_number(out, "median_s", profile_quantile(r, 0.5));
  json_number(out, "p95_s", profile_quantile(r, 0.95));
  json_number(out, "total_s", r->total);
  json_number(out, "share", per(r->total, en->seconds));
  json_work(out, r->bytes, r->flops, r->total);
  json_number(out, "waiting", waiting(v, r->busy, r->total));
  out_puts(out, "}");
}

static void json_entry(Out *out, const View *v, const ProfileEntry *en) {
  double bytes, flops, busy;
  sums(en, &bytes, &flops, &busy);
  out_puts(out, "{");
  json_text(out, "entry", v->m->entries[en->entry].name);
  out_printf(out, ", \"runs\": %lld, \"tokens\": %lld", (long long)en->runs, (long long)en->tokens);
  json_number(out, "seconds", en->seconds);
  json_number(out, "tokens_per_s", per((double)en->tokens, en->seconds));
  json_work(out, bytes, flops, en->seconds);
  json_number(out, "read_share", per(1e-9 * per(bytes, en->seconds), v->read_gbs));
  out_puts(out, ", \"waiting_s\": [");
  for (unsigned i = 0; i < v->threads; i++)
    out_printf(out, "%s%.9g", i ? ", " : "", en->seconds - en->busy[i]);
  out_puts(out, "], \"kernels\": [");
  for (uint32_t i = 0; i < en->nrows; i++) {
    if (i) out_puts(out, ", ");
    json_row(out, v, en, &en->row[i]);
  }
  out_puts(out, "]}");
}

static void json(Out *out, const View *v) {
  out_puts(out, "{");
  json_text(out, "model", v->m->name);
  out_puts(out, ", ");
  json_text(out, "isa", v->isa);
  out_printf(out, ", \"threads\": %u, \"p\": %lld, \"n\": %lld, \"weight_bytes\": %llu", v->threads,
             (long long)v->o->prompt, (long long)v->o->tokens,
             (unsigned long long)v->m->weight_bytes);
  json_number(out, "read_gbs", v->read_gbs);
  out_puts(out, ", \"entries\": [");
  each_entry(out, v, json_entry, ", ");
  out_puts(out, "]}\n");
}

/* ---- measuring ------------------------------------------------------------------------------- */

static int work(Session *s, const uint32_t *ids, int64_t prompt, int64_t tokens, Err *e) {
  session_rewind(s, 0);
  if (session_prefill(s, ids, prompt, io_interrupted(), e)) return 1;
  uint32_t id = ids[0]; /* as in bench */
  for (int64_t i = 0; i < tokens && !*io_interrupted(); i++, id = session_token(s))
    if (session_decode(s, id, e)) return 1;
  return *io_interrupted() ? err_set(e, "profile", "interrupted") : 0;
}

/* The entries that a decode step may take; -1: there is none. */
enum { STEP_ENTRIES = 2 };
static void step_entries(Exec *x, int *entry) {
  entry[0] = exec_entry(x, "greedy");
  entry[1] = exec_entry(x, "decode");
}

static int reserve(Session *s, Profile *p, const Options *o, Err *e) {
  Exec *x = session_exec(s);
  int prefill = exec_entry(x, "prefill"), step[STEP_ENTRIES];
  int64_t chunk = exec_model(x)->generation.chunk;
  step_entries(x, step);
  if (chunk < 1) chunk = 1;
  if (prefill >= 0 &&
      profile_reserve(p, prefill, o->prompt / chunk + 1 + (step[1] < 0 ? o->tokens : 0), e))
    return 1;
  for (int i = 0; i < STEP_ENTRIES; i++)
    if (step[i] >= 0 &&
        profile_reserve(p, step[i], o->tokens + 1 + (prefill < 0 ? o->prompt : 0), e))
      return 1;
  return 0;
}

/* A prompt's last chunk of one token is a decode step. */
static void count_tokens(Session *s, Profile *p, const Options *o) {
  int prefill = exec_entry(session_exec(s), "prefill"), step[STEP_ENTRIES];
  int64_t steps = 0;
  step_entries(session_exec(s), step);
  for (int i = 0; i < STEP_ENTRIES; i++) {
    if (step[i] < 0) continue;
    profile_entry(p, step[i])->tokens = profile_entry(p, step[i])->runs;
    steps += profile_entry(p, step[i])->runs;
  }
  if (prefill >= 0) profile_entry(p, prefill)->tokens = o->prompt + o->tokens - steps;
}

static int measure(Session *s, Profile *p, const Options *o, Err *e) {
  int64_t most = o->prompt > o->tokens ? o->prompt : o->tokens;
  uint32_t *ids = malloc(((size_t)most + 1) * sizeof *ids);
  if (!ids) return err_no_memory(e, "profile");
  measuring_ids(ids, most, session_vocab(s));
  session_token_only(s, true);
  int bad = reserve(s, p, o, e) || work(s, ids, o->prompt, o->tokens ? 1 : 0, e);
  if (!bad) {
    profile_start(p);
    bad = work(s, ids, o->prompt, o->tokens, e);
    profile_stop(p);
  }
  free(ids);
  if (bad) return 1;
  count_tokens(s, p, o);
  profile_sort(p);
  return 0;
}

/* *squares: of the numbers of sequences that ran at once. */
static int run_batch(Encoder *c, EncoderRow *rows, int64_t batch, int64_t *squares, Err *e) {
  *squares = 0;
  for (int64_t i = 0, done; i < batch; i += done) {
    if (encoder_run(c, rows + i, batch - i, &done, e)) return 1;
    *squares += done * done;
  }
  return 0;
}

/* A launch of attention counts all pairs of tokens, of which n sequences have but an n-th. */
static void count_pairs(const Exec *x, ProfileEntry *en, double share) {
  for (uint32_t i = 0; i < en->nrows; i++)
    if (strcmp(exec_model(x)->kernels[en->row[i].kernel].klass, "attend") == 0)
      en->row[i].flops *= share;
}

/* -n batches, after one that is not traced. */
static int run_batches(Encoder *c, Profile *p, const Options *o, EncoderRow *rows, Err *e) {
  int64_t squares = 0;
  int bad = profile_reserve(p, encoder_entry(c), o->tokens * o->batch, e) ||
            run_batch(c, rows, o->batch, &squares, e);
  profile_start(p);
  for (int64_t i = 0; i < o->tokens && !bad && !*io_interrupted(); i++)
    bad = run_batch(c, rows, o->batch, &squares, e);
  profile_stop(p);
  count_pairs(encoder_exec(c), profile_entry(p, encoder_entry(c)),
              per((double)o->batch, (double)squares));
  return *io_interrupted() ? err_set(e, "profile", "interrupted") : bad;
}

/* An encoder: -n batches of -b sequences of -p tokens. */
static int measure_encoder(Encoder *c, Profile *p, const Options *o, Err *e) {
  uint32_t *ids = malloc(((size_t)o->prompt + 1) * sizeof *ids);
  EncoderRow *rows = calloc((size_t)o->batch, sizeof *rows);
  int bad = ids && rows ? 0 : err_no_memory(e, "profile");
  if (!bad) measuring_ids(ids, o->prompt, exec_model(encoder_exec(c))->generation.vocab);
  for (int64_t i = 0; i < o->batch && !bad; i++) rows[i] = (EncoderRow){.ids = ids, .n = o->prompt};
  if (!bad) bad = run_batches(c, p, o, rows, e);
  free(rows);
  free(ids);
  if (bad) return 1;
  profile_entry(p, encoder_entry(c))->tokens = o->prompt * o->batch * o->tokens;
  profile_sort(p);
  return 0;
}

static void report(Exec *x, Profile *p, const Options *o) {
  const IngotModel *m = exec_model(x);
  View v = {.o = o,
            .m = m,
            .profile = p,
            .isa = exec_level(x)->name,
            .threads = pool_size(exec_pool(x)),
            .read_gbs = read_bandwidth(exec_pool(x), m->weights, m->weight_bytes)};
  Out out = {0};
  if (o->json)
    json(&out, &v);
  else
    table(&out, &v);
  io_flush_out(&out);
  out_free(&out);
}

/* The defaults shrink to a small context; what was asked for must fit. */
static int choose_lengths(Session *s, Options *o, Err *e) {
  int64_t room = session_context(s);
  if (o->tokens < 0) o->tokens = room / 4 < 64 ? room / 4 : 64;
  if (o->prompt < 0) {
    room = room > o->tokens ? room - o->tokens : 0;
    o->prompt = room < 512 ? room : 512;
  }
  if (o->prompt + o->tokens == 0) return err_set(e, "profile", "no token to run (-p, -n)");
  return session_check_room(s, o->prompt + o->tokens, e);
}

static int run_encoder(const Task *t, Options *o, const ExecOptions *x, Err *e) {
  Encoder *c;
  Profile *p = NULL;
  if (encoder_open(t->m, x, &c, e)) return 1;
  int64_t longest = encoder_longest(c);
  if (o->tokens < 1) o->tokens = 16;
  if (o->prompt < 1) o->prompt = longest < 128 ? longest : 128;
  int bad = profile_open(encoder_exec(c), o->each, &p, e) || measure_encoder(c, p, o, e);
  if (!bad) report(encoder_exec(c), p, o);
  profile_close(p);
  encoder_close(c);
  return bad;
}

static int run(const Task *t, void *options, Err *e) {
  Options *o = options;
  if (t->args.argc) return err_set(e, "profile", "takes no argument '%s'", t->args.argv[0]), 2;
  ExecOptions x = run_options(&o->run);
  Session *s;
  Profile *p = NULL;
  if (encoder_there(t->m)) return call_status(run_encoder(t, o, &x, e));
  if (o->batch != 1)
    return err_set(e, "--batch", "is %lld (this program: 1)", (long long)o->batch), 2;
  if (session_open(t->m, &x, &s, e)) return CALL_FAILED;
  int bad = choose_lengths(s, o, e) || profile_open(session_exec(s), o->each, &p, e) ||
            measure(s, p, o, e);
  if (!bad) report(session_exec(s), p, o);
  profile_close(p);
  session_close(s);
  return call_status(bad);
}

static void defaults(void *options, const IngotModel *m) {
  (void)m;
  Options *o = options;
  o->prompt = o->tokens = -1;
  o->batch = 1;
}

const Call call_profile = {.name = "profile",
                           .usage = "profile [-p 512] [-n 64] [-b 1] [-t N] [--each] [--json]",
                           .purpose = "show where the time goes",
                           .needs = NEEDS_NETWORK,
                           .specs = specs,
                           .nspecs = sizeof specs / sizeof specs[0],
                           .options_size = sizeof(Options),
                           .defaults = defaults,
                           .run = run};
