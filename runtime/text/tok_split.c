/* Running the automata and splitting text by them.
 *
 * A match is sought from each position in turn; the table's priorities make its end the one that a
 * backtracking engine finds first. Long runs that die are remembered: `memo` holds, for every 64th
 * byte, a state from which no match end was seen there, so that a hostile text (a megabyte of
 * spaces under \s+$) costs each later attempt 64 steps at most, not its whole length.
 */
#include "runtime/text/tok_int.h"

#include <stdlib.h>

enum { MEMO_SHIFT = 6, MEMO_FROM = 128 };

/* The symbol before text[at], or the last column when there is none. */
static uint32_t symbol_before(const Tokenizer *t, const TokDfa *dfa, bool bytes,
                              const uint8_t *text, size_t at) {
  unsigned len;
  if (at == 0) return dfa->width - 1;
  if (bytes) return ((const uint8_t *)tok_at(t, t->head->byte_symbol))[text[at - 1]];
  at--;
  while ((text[at] & 0xc0) == 0x80) at--;
  return tok_symbol(t, tok_utf8_get(text + at, &len));
}

static bool memo_room(TokWork *w, size_t n) {
  size_t need = (n >> MEMO_SHIFT) + 1;
  if (w->memo_cap >= need) return true;
  uint16_t *p = realloc(w->memo, need * sizeof *p);
  if (!p) return false;
  memset(p + w->memo_cap, 0, (need - w->memo_cap) * sizeof *p);
  w->memo = p;
  w->memo_cap = need;
  return true;
}

/* Marks the dead end that a run from `at` (state `state`) passed through up to `to`. */
static void memo_mark(TokWork *w, const TokDfa *dfa, bool bytes, const uint8_t *text, size_t at,
                      size_t to, uint32_t state) {
  const Tokenizer *t = w->t;
  const uint16_t *next = tok_at(t, dfa->next);
  const uint8_t *byte_symbol = tok_at(t, t->head->byte_symbol);
  while (at < to && state) {
    unsigned len = 1;
    uint32_t s = bytes ? byte_symbol[text[at]] : tok_symbol(t, tok_utf8_get(text + at, &len));
    state = next[state * dfa->width + s] & TOK_DFA_STATES;
    if (at >> MEMO_SHIFT != (at + len) >> MEMO_SHIFT && (at + len) >> MEMO_SHIFT < w->memo_cap)
      w->memo[(at + len) >> MEMO_SHIFT] = (uint16_t)state;
    at += len;
  }
}

/* Length of the match at text[at..n), or 0. */
static size_t match(TokWork *w, const TokDfa *dfa, bool bytes, const uint8_t *text, size_t n,
                    size_t at) {
  const Tokenizer *t = w->t;
  const uint16_t *next = tok_at(t, dfa->next), *start = tok_at(t, dfa->start);
  const uint8_t *byte_symbol = tok_at(t, t->head->byte_symbol);
  uint32_t state = start[dfa->behind ? symbol_before(t, dfa, bytes, text, at) : 0];
  uint32_t last_state = state;
  size_t p = at, last = at;
  while (p < n) {
    unsigned len = 1;
    uint32_t s = bytes ? byte_symbol[text[p]] : tok_symbol(t, tok_utf8_get(text + p, &len));
    uint32_t to = next[state * dfa->width + s];
    if (to & TOK_DFA_MATCH) {
      last = p;
      last_state = state;
    }
    state = to & TOK_DFA_STATES;
    if (!state) break;
    if (w->memo_cap && p >> MEMO_SHIFT != (p + len) >> MEMO_SHIFT &&
        w->memo[(p + len) >> MEMO_SHIFT] == state)
      break; /* known: no match ends from here on */
    p += len;
  }
  if (p == n && state && next[state * dfa->width + dfa->width - 1] & TOK_DFA_MATCH) return n - at;
  if (p - last >= MEMO_FROM && memo_room(w, n)) memo_mark(w, dfa, bytes, text, last, p, last_state);
  return last - at;
}

int tok_find_all(TokWork *w, const TokDfa *dfa, bool bytes, const uint8_t *text, size_t n) {
  w->matches.n = 0;
  for (size_t at = 0; at < n;) {
    size_t len = match(w, dfa, bytes, text, n, at);
    if (len) {
      if (!tok_ranges_put(&w->matches, at, at + len)) return TEXT_NO_MEMORY;
      at += len;
      continue;
    }
    at++;
    while (!bytes && at < n && (text[at] & 0xc0) == 0x80) at++;
  }
  free(w->memo); /* belongs to this text and automaton */
  w->memo = NULL;
  w->memo_cap = 0;
  return TEXT_OK;
}
