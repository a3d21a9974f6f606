/* The sequence of a language model; see session.h.
 *
 * An entry's inputs are found by name once. The symbol that counts the tokens of a run is the first
 * dimension of `ids` (a constant 1 in decode), so its range is the largest chunk.
 */
#include "runtime/core/session.h"

#include <stdlib.h>
#include <string.h>

typedef struct TextEntry {
  int entry; /* -1: the model has none */
  int32_t *ids, *pos, *seq_len;
  float *mask, *logits;
  int32_t *token, *full; /* full: rows of the output matrix that were read whole */
  int symbol;            /* of the number of tokens; -1: always 1 */
  int64_t chunk;
} TextEntry;

struct Session {
  Exec *exec;
  TextEntry decode, prefill, greedy;
  TextEntry *last; /* whose outputs are current */
  int past_symbol;
  int64_t past, context, vocab;
  bool token_only;
  int rest, rests; /* steps to go before entry greedy is tried again; of the last rest */
};

/* Where more than a third of the rows had to be read whole, `greedy` read about as much as `decode`
 * does (both formats that can be split keep two thirds of their bits in the upper half), so it
 * rests for one step, and each time that this comes again at once for twice as many. */
enum { GREEDY_REST = 63 };

static void *input_named(Exec *x, int entry, const char *name) {
  int i = exec_input(x, entry, name);
  return i < 0 ? NULL : exec_input_data(x, entry, i);
}

static void *output_named(Exec *x, int entry, const char *name) {
  int i = exec_output(x, entry, name);
  return i < 0 ? NULL : exec_output_data(x, entry, i);
}

static int find_entry(Session *s, int entry, TextEntry *t, Err *e) {
  Exec *x = s->exec;
  const IngotModel *m = exec_model(x);
  *t = (TextEntry){.entry = entry, .symbol = -1, .chunk = 1};
  if (entry < 0) return 0;
  t->ids = input_named(x, entry, "ids");
  t->pos = input_named(x, entry, "pos");
  t->seq_len = input_named(x, entry, "seq_len");
  t->mask = input_named(x, entry, "mask");
  t->logits = output_named(x, entry, "logits");
  t->token = output_named(x, entry, "token");
  t->full = output_named(x, entry, "full");
  if (!t->ids || !t->pos)
    return err_set(e, m->entries[entry].name, "has no inputs ids and pos: no text can be run");
  uint32_t dim = m->entries[entry].inputs[exec_input(x, entry, "ids")].dim[0];
  if (m->dims[dim].kind == INGOT_DIM_SYMBOL) {
    t->symbol = (int)dim;
    t->chunk = m->dims[dim].hi;
  }
  return 0;
}

static int open_session(Session *s, const IngotModel *m, const ExecOptions *o, Err *e) {
  if (exec_open(m, o, &s->exec, e)) return 1;
  if (find_entry(s, exec_entry(s->exec, "decode"), &s->decode, e) ||
      find_entry(s, exec_entry(s->exec, "prefill"), &s->prefill, e) ||
      find_entry(s, exec_entry(s->exec, "greedy"), &s->greedy, e))
    return 1;
  s->past_symbol = exec_symbol(s->exec, "P");
  s->vocab = m->generation.vocab;
  s->context = m->generation.context;
  if (s->past_symbol >= 0) {
    int64_t most = exec_symbol_limit(s->exec, s->past_symbol) + 1;
    if (s->context <= 0 || most < s->context) s->context = most;
  }
  return 0;
}

int session_open(const IngotModel *m, const ExecOptions *o, Session **out, Err *e) {
  *out = NULL;
  Session *s = calloc(1, sizeof *s);
  if (!s) return err_no_memory(e, "model");
  if (open_session(s, m, o, e)) {
    session_close(s);
    return 1;
  }
  *out = s;
  return 0;
}

void session_close(Session *s) {
  if (!s) return;
  exec_close(s->exec);
  free(s);
}

Exec *session_exec(Session *s) {
  return s->exec;
}

int64_t session_vocab(const Session *s) {
  return s->vocab;
}

int64_t session_context(const Session *s) {
  return s->context;
}

int64_t session_past(const Session *s) {
  return s->past;
}

void session_rewind(Session *s, int64_t past) {
  if (past < s->past) s->past = past;
}

int session_check_room(const Session *s, int64_t n, Err *e) {
  if (n <= s->context - s->past) return 0;
  return err_set(e, "context", "%lld tokens do not fit (the context holds %lld, %lld are used)",
                 (long long)n, (long long)s->context, (long long)s->past);
}

static int check_ids(const Session *s, const uint32_t *ids, int64_t n, Err *e) {
  for (int64_t i = 0; i < n; i++)
    if (ids[i] >= (uint64_t)s->vocab)
      return err_set(e, "ids", "id %u at position %lld is out of range (expected 0 to %lld)",
                     ids[i], (long long)i, (long long)s->vocab - 1);
  return 0;
}

/* One run of `n` tokens at row[first..]; the mask, where there is one, is already in place. */
static int run_tokens(Session *s, TextEntry *t, const SessionRow *row, int64_t first, int64_t n,
                      Err *e) {
  if (s->past_symbol >= 0 && exec_set(s->exec, s->past_symbol, s->past, e)) return 1;
  if (t->symbol >= 0 && exec_set(s->exec, t->symbol, n, e)) return 1;
  for (int64_t i = 0; i < n; i++) {
    t->ids[i] = (int32_t)row->ids[first + i];
    t->pos[i] = row->positions ? row->positions[first + i] : (int32_t)(s->past + i);
  }
  if (t->seq_len) t->seq_len[0] = (int32_t)row->seq_len;
  /* An answer may be long, and a prompt's scratch is as much as the cache of hundreds of tokens. */
  if (t->chunk == 1 && s->last == &s->prefill) exec_give_back(s->exec, t->entry);
  exec_run(s->exec, t->entry);
  s->past += n;
  s->last = t;
  if (t->full) {
    bool in_vain = 3 * (int64_t)t->full[0] > s->vocab;
    s->rests = !in_vain ? 0 : s->rests < GREEDY_REST ? 2 * s->rests + 1 : GREEDY_REST;
    s->rest = s->rests;
  }
  return 0;
}

/* The entry for one token. */
static TextEntry *one_token(Session *s) {
  if (!s->token_only || s->greedy.entry < 0 || !s->greedy.token) return &s->decode;
  if (s->rest == 0) return &s->greedy;
  s->rest--;
  return &s->decode;
}

int session_prefill(Session *s, const uint32_t *ids, int64_t n, const volatile int *stop, Err *e) {
  if (check_ids(s, ids, n, e) || session_check_room(s, n, e)) return 1;
  SessionRow row = {.ids = ids, .n = n, .seq_len = s->past + n};
  for (int64_t at = 0; at < n && !(stop && *stop);) {
    int64_t count = n - at;
    TextEntry *t = count == 1 || s->prefill.entry < 0 ? one_token(s) : &s->prefill;
    if (t->entry < 0) t = &s->prefill;
    if (t->entry < 0) return err_set(e, "model", "has no entry to generate text with");
    if (count > t->chunk) count = t->chunk;
    if (run_tokens(s, t, &row, at, count, e)) return 1;
    at += count;
  }
  return 0;
}

int session_decode(Session *s, uint32_t id, Err *e) {
  return session_prefill(s, &id, 1, NULL, e);
}

void session_token_only(Session *s, bool on) {
  s->token_only = on;
}

float *session_logits(Session *s) {
  return s->last ? s->last->logits : NULL;
}

int session_entry(const Session *s) {
  return s->last ? s->last->entry : -1;
}

uint32_t session_token(Session *s) {
  if (!s->last) return 0;
  if (s->last->token) return (uint32_t)s->last->token[0];
  const float *l = s->last->logits;
  uint32_t best = 0;
  for (uint32_t i = 1; i < s->vocab; i++)
    if (l[i] > l[best]) best = i;
  return best;
}

static int check_row(const Session *s, const TextEntry *t, const SessionRow *row, Err *e) {
  if (check_ids(s, row->ids, row->n, e) || session_check_room(s, row->n, e)) return 1;
  for (int64_t i = 0; row->positions && i < row->n; i++)
    if (row->positions[i] < 0)
      return err_set(e, "position_ids", "%d at position %lld is negative", row->positions[i],
                     (long long)i);
  for (int64_t i = 0; row->mask && !t->mask && i < row->n; i++)
    if (row->mask[i] == 0)
      return err_set(e, "attention_mask", "hides position %lld, which this entry can't do",
                     (long long)i);
  return 0;
}

int session_row(Session *s, int entry, const SessionRow *row, SessionPut *put, void *user, Err *e) {
  TextEntry t;
  if (find_entry(s, entry, &t, e)) return 1;
  s->past = 0;
  if (check_row(s, &t, row, e)) return 1;
  for (int64_t i = 0; t.mask && i < row->n; i++)
    t.mask[i] = row->mask && row->mask[i] == 0 ? 0.0f : 1.0f;
  for (int64_t at = 0; at < row->n;) {
    int64_t count = row->n - at < t.chunk ? row->n - at : t.chunk;
    if (run_tokens(s, &t, row, at, count, e) || put(user, at, count, e)) break;
    at += count;
  }
  s->last = NULL;
  return e->what[0] != 0;
}
