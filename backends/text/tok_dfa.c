/* Program to automaton, keeping the engine's preferences.
 *
 * A state is the ordered list of places at which the backtracking engine could stand, the best
 * first, each before its next character. To go on with a symbol the list is followed through splits
 * and assertions (which see the symbol, so that one character of lookahead is exact); whoever
 * reaches the end of the program reports a match before the symbol and drops all that come after
 * it, since the engine would never try them. Programs that look behind keep the last symbol in the
 * state.
 */
#include "backends/text/tok_regex.h"
#include "runtime/text/tok_blob.h"

#include <string.h>

enum { MAX_STATES = 20000, MAX_CELLS = 4 << 20 };
enum { NO_SYMBOL = 0xffff };

typedef struct State {
  uint32_t at, n;  /* places in `pool` */
  uint32_t before; /* symbol before, NO_SYMBOL when nothing looks behind or there is none */
  uint64_t hash;
} State;

typedef struct Maker {
  const Nfa *nfa;
  const Symbols *symbols;
  uint32_t *pool;
  uint32_t npool, pool_cap;
  State *state;
  uint32_t nstates, state_cap;
  uint32_t *table; /* hash of states: 1 + index */
  uint32_t table_size;
  uint32_t *list, nlist;    /* the state being made */
  uint32_t *seen, *reached; /* marks by place: turn number */
  uint32_t turn;
  uint32_t *stack;
} Maker;

static bool in_set(const Maker *m, const NfaInst *i, uint32_t symbol) {
  return cp_has(i->set, m->symbols->example[symbol]);
}

static bool holds(const Maker *m, const NfaInst *i, uint32_t before, uint32_t symbol) {
  uint32_t s = i->behind ? before : symbol;
  return s == NO_SYMBOL ? i->edge : in_set(m, i, s);
}

/* Follows everything from `place`; true when it reaches the end of the program. */
static bool follow(Maker *m, uint32_t place, uint32_t before, uint32_t symbol) {
  uint32_t depth = 0;
  m->stack[depth++] = place;
  while (depth) {
    uint32_t at = m->stack[--depth];
    const NfaInst *i = &m->nfa->inst[at];
    if (m->seen[at] == m->turn) continue;
    m->seen[at] = m->turn;
    switch (i->op) {
    case NFA_MATCH: return true;
    case NFA_SPLIT:
      m->stack[depth++] = i->y;
      m->stack[depth++] = i->x;
      break;
    case NFA_LOOK:
      if (holds(m, i, before, symbol)) m->stack[depth++] = i->x;
      break;
    case NFA_SET:
      if (symbol == NO_SYMBOL || m->reached[i->x] == m->turn || !in_set(m, i, symbol)) break;
      m->reached[i->x] = m->turn;
      m->list[m->nlist++] = i->x;
      break;
    }
  }
  return false;
}

/* The state of m->list: an old one or a new one. 0 is the empty list. */
static uint32_t state_of(Maker *m, uint32_t before) {
  if (m->nlist == 0) return 0;
  uint64_t hash = before;
  for (uint32_t i = 0; i < m->nlist; i++)
    hash = (hash ^ m->list[i]) * UINT64_C(0x100000001b3) ^ hash >> 29;
  uint32_t slot = (uint32_t)(hash % m->table_size);
  for (; m->table[slot]; slot = (slot + 1) % m->table_size) {
    const State *s = &m->state[m->table[slot] - 1];
    if (s->hash == hash && s->before == before && s->n == m->nlist &&
        memcmp(m->pool + s->at, m->list, m->nlist * sizeof *m->list) == 0)
      return m->table[slot] - 1;
  }
  State s = {.at = m->npool, .n = m->nlist, .before = before, .hash = hash};
  for (uint32_t i = 0; i < m->nlist; i++) *VEC_PUSH(m->pool, m->npool, m->pool_cap) = m->list[i];
  *VEC_PUSH(m->state, m->nstates, m->state_cap) = s;
  m->table[slot] = m->nstates;
  return m->nstates - 1;
}

/* Where state `s` goes with `symbol`, with TOK_DFA_MATCH when a match ends before it. */
static uint16_t go(Maker *m, uint32_t s, uint32_t symbol) {
  bool match = false;
  m->turn++;
  m->nlist = 0;
  for (uint32_t i = 0; i < m->state[s].n && !match; i++)
    match = follow(m, m->pool[m->state[s].at + i], m->state[s].before, symbol);
  uint32_t to = state_of(m, m->nfa->behind ? symbol : NO_SYMBOL);
  return (uint16_t)(to | (match ? TOK_DFA_MATCH : 0));
}

static Status make(Maker *m, const char *source, Diag *d, Dfa *out) {
  uint32_t width = m->symbols->n + 1, cap = 0;
  out->width = width;
  out->nstart = m->nfa->behind ? width : 1;
  out->start = mem_alloc(out->nstart * sizeof *out->start);
  *VEC_PUSH(m->state, m->nstates, m->state_cap) = (State){0}; /* dead */
  for (uint32_t k = 0; k < out->nstart; k++) {
    m->list[0] = m->nfa->start;
    m->nlist = 1;
    out->start[k] = (uint16_t)state_of(m, m->nfa->behind && k + 1 < width ? k : NO_SYMBOL);
  }
  for (uint32_t s = 0; s < m->nstates; s++) {
    if (m->nstates > MAX_STATES || (size_t)m->nstates * width > MAX_CELLS)
      return diag_error(d, source, "an expression whose automaton has more than %u states",
                        m->nstates);
    while (cap <= s) {
      cap = cap ? 2 * cap : 32;
      out->next = mem_resize(out->next, (size_t)cap * width * sizeof *out->next);
    }
    for (uint32_t symbol = 0; symbol < width; symbol++)
      out->next[(size_t)s * width + symbol] = go(m, s, symbol + 1 < width ? symbol : NO_SYMBOL);
  }
  out->states = m->nstates;
  for (uint32_t k = 0; k < out->nstart; k++)
    for (uint32_t symbol = 0; symbol < width; symbol++)
      if (out->next[(size_t)out->start[k] * width + symbol] & TOK_DFA_MATCH)
        return diag_error(d, source, "an expression that matches the empty text");
  return OK;
}

Status dfa_build(const Nfa *nfa, const Symbols *s, const char *source, Diag *d, Dfa *out) {
  Maker m = {.nfa = nfa, .symbols = s, .table_size = 4 * MAX_STATES + 1};
  memset(out, 0, sizeof *out);
  m.table = mem_alloc(m.table_size * sizeof *m.table);
  m.list = mem_alloc(nfa->n * sizeof *m.list);
  m.seen = mem_alloc(nfa->n * sizeof *m.seen);
  m.reached = mem_alloc(nfa->n * sizeof *m.reached);
  m.stack = mem_alloc((2 * (size_t)nfa->n + 2) * sizeof *m.stack);
  Status status = make(&m, source, d, out);
  mem_free(m.table);
  mem_free(m.list);
  mem_free(m.seen);
  mem_free(m.reached);
  mem_free(m.stack);
  mem_free(m.pool);
  mem_free(m.state);
  return status;
}
