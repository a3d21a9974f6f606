/* Expression tree to program, built backwards: each tree is given where to go on and returns where
 * it begins (Thompson's construction with priorities). A possessive repetition of one character may
 * be left only where that character does not follow, which is an assertion; so it needs no
 * backtracking machinery. Also the partition of code points into symbols that all sets of all
 * programs respect.
 */
#include "backends/text/tok_regex.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_INST = 20000, MAX_SYMBOLS = 254 };

typedef struct Emitter {
  Nfa *nfa;
  Arena *arena; /* for complements of possessive sets: the set's own memory is not ours */
  bool full;
} Emitter;

static uint32_t put(Emitter *e, NfaInst inst) {
  Nfa *nfa = e->nfa;
  if (nfa->n >= MAX_INST) return e->full = true, 0;
  *VEC_PUSH(nfa->inst, nfa->n, nfa->cap) = inst;
  return nfa->n - 1;
}

static uint32_t put_split(Emitter *e, uint32_t first, uint32_t second) {
  return put(e, (NfaInst){.op = NFA_SPLIT, .x = first, .y = second});
}

static uint32_t emit(Emitter *e, const Rx *rx, uint32_t next);

static uint32_t emit_repeat(Emitter *e, const Rx *rx, uint32_t next) {
  const Rx *kid = rx->kid[0];
  uint32_t leave = next, entry;
  if (rx->greed == RX_POSSESSIVE)
    leave = put(
        e,
        (NfaInst){.op = NFA_LOOK, .set = cp_negate(e->arena, kid->set), .edge = true, .x = next});
  if (rx->max == RX_UNBOUNDED) {
    uint32_t loop = entry = put_split(e, 0, 0);
    uint32_t body = emit(e, kid, loop);
    bool lazy = rx->greed == RX_LAZY;
    if (e->full) return 0;
    e->nfa->inst[loop].x = lazy ? leave : body;
    e->nfa->inst[loop].y = lazy ? body : leave;
  } else {
    entry = next;
    for (uint32_t i = rx->min; i < rx->max && !e->full; i++) {
      uint32_t body = emit(e, kid, entry);
      entry = rx->greed == RX_LAZY ? put_split(e, leave, body) : put_split(e, body, leave);
    }
  }
  for (uint32_t i = 0; i < rx->min && !e->full; i++) entry = emit(e, kid, entry);
  return entry;
}

static uint32_t emit(Emitter *e, const Rx *rx, uint32_t next) {
  if (e->full) return 0;
  switch (rx->kind) {
  case RX_EMPTY: return next;
  case RX_SET: return put(e, (NfaInst){.op = NFA_SET, .set = rx->set, .x = next});
  case RX_LOOK:
    e->nfa->behind |= rx->behind;
    return put(
        e, (NfaInst){
               .op = NFA_LOOK, .set = rx->set, .behind = rx->behind, .edge = rx->edge, .x = next});
  case RX_SEQUENCE:
    for (uint32_t i = rx->nkids; i-- > 0;) next = emit(e, rx->kid[i], next);
    return next;
  case RX_CHOICE: {
    uint32_t entry = emit(e, rx->kid[rx->nkids - 1], next);
    for (uint32_t i = rx->nkids - 1; i-- > 0;)
      entry = put_split(e, emit(e, rx->kid[i], next), entry);
    return entry;
  }
  case RX_REPEAT: return emit_repeat(e, rx, next);
  }
  BUG("expression kind %d", rx->kind);
}

Status nfa_build(Arena *a, const Rx *rx, const char *source, Diag *d, Nfa *out) {
  Emitter e = {.nfa = out, .arena = a};
  memset(out, 0, sizeof *out);
  uint32_t match = put(&e, (NfaInst){.op = NFA_MATCH});
  out->start = emit(&e, rx, match);
  if (e.full)
    return diag_error(d, source, "an expression of more than %d steps; shorten its intervals",
                      MAX_INST);
  return OK;
}

/* ---- symbols ------------------------------------------------------------------------------- */

uint32_t symbols_add(Symbols *s, CpSet set) {
  for (uint32_t i = 0; i < s->nsets; i++)
    if (s->set[i].n == set.n &&
        (!set.n || memcmp(s->set[i].bound, set.bound, set.n * sizeof *set.bound) == 0))
      return i;
  *VEC_PUSH(s->set, s->nsets, s->cap) = set;
  return s->nsets - 1;
}

static int by_bound(const void *a, const void *b) {
  uint32_t x = ((const uint32_t *)a)[0], y = ((const uint32_t *)b)[0];
  return x < y ? -1 : x > y;
}

/* The symbol of the sets that are on in `signature`: an old one, or a new one. */
static uint32_t symbol_of(Symbols *s, uint8_t *known, const uint8_t *signature, uint32_t width,
                          uint32_t c) {
  for (uint32_t k = 0; k < s->n; k++)
    if (memcmp(known + (size_t)k * width, signature, width) == 0) return k;
  if (s->n == MAX_SYMBOLS) return MAX_SYMBOLS;
  memcpy(known + (size_t)s->n * width, signature, width);
  s->example[s->n] = c;
  return s->n++;
}

Status symbols_make(Symbols *s, const char *source, Diag *d) {
  uint32_t nbounds = 1, width = s->nsets ? s->nsets : 1, n = 0;
  Status status = OK;
  for (uint32_t i = 0; i < s->nsets; i++) nbounds += s->set[i].n;
  uint32_t(*bound)[2] = mem_alloc(nbounds * sizeof *bound); /* (where, which set toggles) */
  for (uint32_t i = 0; i < s->nsets; i++)
    for (uint32_t k = 0; k < s->set[i].n; k++, n++) {
      bound[n][0] = s->set[i].bound[k];
      bound[n][1] = i;
    }
  qsort(bound, n, sizeof *bound, by_bound);
  uint8_t *signature = mem_alloc(width), *known = mem_alloc((size_t)width * MAX_SYMBOLS);
  s->of = ARENA_ARRAY(s->arena, uint8_t, CP_END);
  s->example = ARENA_ARRAY(s->arena, uint32_t, MAX_SYMBOLS);
  for (uint32_t i = 0, c = 0; c < CP_END && status == OK;) {
    for (; i < n && bound[i][0] == c; i++) signature[bound[i][1]] ^= 1;
    uint32_t to = i < n ? bound[i][0] : CP_END, symbol = symbol_of(s, known, signature, width, c);
    if (symbol == MAX_SYMBOLS)
      status =
          diag_error(d, source, "more than %d kinds of characters in its expressions", MAX_SYMBOLS);
    memset(s->of + c, (int)symbol, to - c);
    c = to;
  }
  mem_free(bound);
  mem_free(signature);
  mem_free(known);
  return status;
}
