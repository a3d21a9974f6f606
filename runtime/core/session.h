/* One sequence of tokens over a compiled language model: what every text task runs on.
 *
 * Knows the entries decode, greedy, prefill and logits (runtime.md): fills ids, positions, mask and
 * seq_len, cuts long inputs into chunks and keeps `past`, the number of positions in the cache.
 * Setting `past` back is how a sequence is rewound; the cache is never cleared.
 */
#ifndef INGOT_RUNTIME_SESSION_H
#define INGOT_RUNTIME_SESSION_H

#include "runtime/core/exec.h"

typedef struct Session Session;

int session_open(const IngotModel *m, const ExecOptions *o, Session **out, Err *e);
void session_close(Session *s); /* NULL is fine */
Exec *session_exec(Session *s);

int64_t session_vocab(const Session *s);
int64_t session_context(const Session *s); /* positions that the cache holds */
int64_t session_past(const Session *s);
void session_rewind(Session *s, int64_t past); /* <= session_past */
/* The error for n more tokens when they are too many, else 0. */
int session_check_room(const Session *s, int64_t n, Err *e);

/* Appends n tokens by entry prefill in chunks (one token, or no such entry: decode). After it
 * logits and token are those behind the last. `stop` (may be NULL) is looked at between chunks;
 * when it is nonzero, session_prefill returns early with `past` at what was done. */
int session_prefill(Session *s, const uint32_t *ids, int64_t n, const volatile int *stop, Err *e);
int session_decode(Session *s, uint32_t id, Err *e);
/* From now on only session_token is asked after a decode step (session_logits may be NULL): the
 * model's output matrix is then read in part where it has an entry for that. */
void session_token_only(Session *s, bool on);
/* [vocab]; may be changed in place, valid until the next run; NULL: see session_token_only. */
float *session_logits(Session *s);
int session_entry(const Session *s); /* index of the entry that ran last; -1: none */
uint32_t session_token(Session *s);  /* the largest logit's id, the lowest among equals */

/* A whole row for `tensors`: from past = 0, through `entry`, calling `put` with each run's entry
 * index and number of tokens. positions and mask may be NULL (0, 1, ..; all ones); seq_len is the
 * length that dynamic RoPE goes by. */
typedef struct SessionRow {
  const uint32_t *ids;
  const int32_t *positions;
  const float *mask;
  int64_t n, seq_len;
} SessionRow;
typedef int SessionPut(void *user, int64_t first, int64_t count, Err *e);
int session_row(Session *s, int entry, const SessionRow *row, SessionPut *put, void *user, Err *e);

#endif
