/* `embed`: one vector a text, as sentence-transformers' encode() gives it.
 *
 * A text is tokenised with its special tokens and cut to the model's limit (the special tokens
 * stay), run at its own length beside others, and pooled as the model's folder says. With --jsonl a
 * JSON string a line gives an array of numbers a line; else each argument, or all of standard
 * input, is a text. Texts wait for each other up to TEXTS or a run's tokens, but never for input.
 */
#include "runtime/core/encoder.h"
#include "runtime/core/io.h"
#include "runtime/task/task.h"
#include "runtime/text/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Options {
  RunOptions run;
  bool jsonl;
} Options;

static const ArgSpec specs[] = {
    {"--jsonl", 0, ARG_FLAG, offsetof(Options, jsonl), 0, 0, NULL,
     "a JSON string a line in, an array of numbers a line out"},
    RUN_OPTION_SPECS,
};

enum { TEXTS = 256 }; /* that wait at most */

typedef struct Embedder {
  const IngotModel *m;
  Tokenizer *tok;
  Encoder *encoder;
  const float *states; /* [tokens][width] of the last run; pooling: of the text's first token on */
  const float *outputs;
  int64_t width, size; /* size: of the vector */
  float *vector;
  double *sum; /* [width] */
  TokIds ids;  /* of one text */
  /* texts that wait, their ids one behind the other */
  EncoderRow row[TEXTS];
  uint32_t *waiting;
  int64_t nrows, tokens, room; /* room: for ids */
  Out out;
} Embedder;

/* ---- pooling ------------------------------------------------------------------------------------
 */

static void pool_max(const Embedder *m, int64_t n, float *out) {
  memcpy(out, m->states, (size_t)m->width * sizeof *out);
  for (int64_t i = 1; i < n; i++)
    for (int64_t k = 0; k < m->width; k++)
      if (m->states[i * m->width + k] > out[k]) out[k] = m->states[i * m->width + k];
}

/* The sum of the tokens' vectors over `divisor`; token i counts 1 or, when weighted, i + 1. */
static void pool_sum(Embedder *m, int64_t n, bool weighted, double divisor, float *out) {
  memset(m->sum, 0, (size_t)m->width * sizeof *m->sum);
  for (int64_t i = 0; i < n; i++) {
    double weight = weighted ? (double)(i + 1) : 1;
    for (int64_t k = 0; k < m->width; k++)
      m->sum[k] += weight * (double)m->states[i * m->width + k];
  }
  for (int64_t k = 0; k < m->width; k++) out[k] = (float)(m->sum[k] / divisor);
}

static void pool(Embedder *m, int64_t n) {
  float *out = m->vector;
  size_t bytes = (size_t)m->width * sizeof *out;
  double count = (double)n;
  for (uint32_t mode = 1; mode <= INGOT_POOL_LAST; mode *= 2) {
    if (!(m->m->encoder.pooling & mode)) continue;
    switch (mode) {
    case INGOT_POOL_CLS: memcpy(out, m->states, bytes); break;
    case INGOT_POOL_MAX: pool_max(m, n, out); break;
    case INGOT_POOL_MEAN: pool_sum(m, n, false, count, out); break;
    case INGOT_POOL_MEAN_SQRT: pool_sum(m, n, false, sqrt(count), out); break;
    case INGOT_POOL_WEIGHTED: pool_sum(m, n, true, count * (count + 1) / 2, out); break;
    default: memcpy(out, m->states + (n - 1) * m->width, bytes); break;
    }
    out += m->width;
  }
}

/* To length one; a vector of zeros stays. */
static void normalize(float *v, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
  double length = sqrt(sum) > 1e-12 ? sqrt(sum) : 1e-12;
  for (int64_t i = 0; i < n; i++) v[i] = (float)((double)v[i] / length);
}

/* ---- one text -----------------------------------------------------------------------------------
 */

/* Cuts the ids to the limit, keeping what the post-processor puts behind the text. */
static void cut(const Embedder *m, TokIds *ids) {
  size_t most = (size_t)m->m->encoder.max_tokens, before, after;
  if (ids->n <= most) return;
  tok_template(m->tok, &before, &after);
  if (after > most) after = most;
  memmove(ids->id + (most - after), ids->id + (ids->n - after), after * sizeof *ids->id);
  ids->n = most;
}

static void put_vector(Embedder *m, const EncoderRow *row) {
  memset(m->vector, 0, (size_t)m->size * sizeof *m->vector);
  if (row->n) { /* no token, no state */
    m->states = m->outputs + row->at * m->width;
    pool(m, row->ran);
    if (m->m->encoder.normalize) normalize(m->vector, m->size);
  }
  for (int64_t i = 0; i < m->size; i++)
    out_printf(&m->out, "%s%.9g", i ? ", " : "[", (double)m->vector[i]);
  out_puts(&m->out, "]\n");
}

/* Runs the texts that wait; their vectors go to `out`. */
static int run_waiting(Embedder *m, Err *e) {
  for (int64_t i = 0, done = 1; i < m->nrows; i += done) {
    done = 1;
    if (m->row[i].n) {
      int64_t n = 1;
      while (i + n < m->nrows && m->row[i + n].n) n++;
      if (encoder_run(m->encoder, &m->row[i], n, &done, e)) return 1;
    }
    for (int64_t k = i; k < i + done; k++) put_vector(m, &m->row[k]);
  }
  m->nrows = m->tokens = 0;
  return 0;
}

static int embed(Embedder *m, const char *text, size_t n, Err *e) {
  m->ids.n = 0;
  if (tok_encode(m->tok, text, n, NULL, 0, TOK_ADD_SPECIAL, &m->ids) != TEXT_OK)
    return err_set(e, "embed", "out of memory, or the stored tokenizer is damaged");
  cut(m, &m->ids);
  int64_t count = (int64_t)m->ids.n;
  if (m->nrows == TEXTS || m->tokens + count > m->room) {
    if (run_waiting(m, e)) return 1;
  }
  uint32_t *ids = m->waiting + m->tokens;
  if (count) memcpy(ids, m->ids.id, (size_t)count * sizeof *ids);
  m->row[m->nrows++] = (EncoderRow){.ids = ids, .n = count};
  m->tokens += count;
  return 0;
}

/* ---- the call -----------------------------------------------------------------------------------
 */

static int open_embedder(Embedder *m, const ExecOptions *o, Err *e) {
  if (tok_open(m->m->tokenizer.data, m->m->tokenizer.size, &m->tok) != TEXT_OK)
    return err_set(e, "tokenizer", "the stored tokenizer is damaged");
  if (encoder_open(m->m, o, &m->encoder, e)) return 1;
  Exec *x = encoder_exec(m->encoder);
  int entry = encoder_entry(m->encoder), states = exec_output(x, entry, "last_hidden_state");
  if (states < 0 || m->m->encoder.max_tokens < 1)
    return err_set(e, "embed", "this program gives no states of tokens");
  m->outputs = exec_output_data(x, entry, states);
  m->width = exec_dim(x, m->m->entries[entry].outputs[states].dim[1]);
  m->size = m->width * __builtin_popcount(m->m->encoder.pooling);
  m->vector = malloc((size_t)m->size * sizeof *m->vector);
  m->sum = malloc((size_t)m->width * sizeof *m->sum);
  m->room = encoder_longest(m->encoder);
  if (m->room < m->m->encoder.max_tokens) m->room = m->m->encoder.max_tokens;
  m->waiting = malloc((size_t)m->room * sizeof *m->waiting);
  return m->vector && m->sum && m->waiting ? 0 : err_no_memory(e, "embed");
}

static void close_embedder(Embedder *m) {
  if (m->tok) tok_close(m->tok);
  encoder_close(m->encoder);
  free(m->vector);
  free(m->sum);
  free(m->waiting);
  out_free(&m->out);
  tok_ids_free(&m->ids);
}

static int line_of(Embedder *m, const char *line, size_t n, size_t number, Err *e) {
  JsonPool *pool = json_pool_new();
  const char *error = "out of memory";
  size_t at = 0;
  Json *v = pool ? json_parse(pool, line, n, &error, &at) : NULL;
  if (!v)
    err_set(e, "standard input", "line %zu, byte %zu: %s", number, at, error);
  else if (v->kind != JS_STRING)
    err_set(e, "standard input", "line %zu: expected a JSON string", number);
  else
    embed(m, v->u.string.data, v->u.string.size, e);
  json_pool_free(pool);
  return e->what[0] != 0;
}

static int each_line(Embedder *m, Err *e) {
  LineReader reader = {0};
  const char *line;
  size_t n, number = 0;
  while (!e->what[0] && io_line(&reader, &m->out, &line, &n, e) > 0) {
    number++;
    if (strspn(line, " \t\r") < n && line_of(m, line, n, number, e)) {
      Err other = {0};
      run_waiting(m, &other); /* what came before the bad line */
      break;
    }
    if (!io_line_ready(&reader) && run_waiting(m, e)) break;
    if (m->out.size > (1u << 16)) io_flush_out(&m->out);
  }
  out_free(&reader.buffer);
  return e->what[0] != 0;
}

static int plain(Embedder *m, const Args *args, Err *e) {
  Out in = {0};
  int bad = 0;
  for (int i = 0; i < args->argc && !bad && !*io_interrupted(); i++)
    bad = embed(m, args->argv[i], strlen(args->argv[i]), e);
  if (args->argc == 0)
    bad = io_read_all(&in, e) || *io_interrupted() || embed(m, in.data ? in.data : "", in.size, e);
  out_free(&in);
  return bad;
}

static int run(const Task *t, void *options, Err *e) {
  const Options *o = options;
  if (o->jsonl && t->args.argc)
    return err_set(e, "--jsonl", "reads standard input, not arguments"), CALL_WRONG_USE;
  Embedder m = {.m = t->m};
  ExecOptions x = run_options(&o->run);
  int bad = open_embedder(&m, &x, e);
  if (!bad) bad = o->jsonl ? each_line(&m, e) : plain(&m, &t->args, e);
  if (!bad && !*io_interrupted()) bad = run_waiting(&m, e);
  io_flush_out(&m.out);
  close_embedder(&m);
  if (*io_interrupted()) return CALL_INTERRUPTED;
  return bad ? CALL_FAILED : CALL_DONE;
}

const Call call_embed = {.name = "embed",
                         .usage = "embed TEXT.. | embed --jsonl < texts",
                         .purpose = "text to its vector",
                         .needs = NEEDS_NETWORK | NEEDS_TOKENIZER | NEEDS_POOLING,
                         .specs = specs,
                         .nspecs = sizeof specs / sizeof specs[0],
                         .options_size = sizeof(Options),
                         .run = run};
