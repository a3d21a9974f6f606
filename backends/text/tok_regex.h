/* Regular expressions of pre-tokenizers: parsed in Oniguruma's Ruby syntax, compiled to automata.
 *
 * The tree holds sets of code points, sequences, ordered alternatives, repetitions and assertions
 * about the one character before or after. What needs more (backreferences, longer lookaround, word
 * boundaries at more than a character, atomic groups of more than one character) is refused by
 * name.
 */
#ifndef INGOT_TOK_REGEX_H
#define INGOT_TOK_REGEX_H

#include "backends/text/tok_unicode.h"

typedef enum RxKind { RX_EMPTY, RX_SET, RX_SEQUENCE, RX_CHOICE, RX_REPEAT, RX_LOOK } RxKind;
typedef enum RxGreed { RX_GREEDY, RX_LAZY, RX_POSSESSIVE } RxGreed;
enum { RX_UNBOUNDED = 0xffffffffu };

typedef struct Rx Rx;
struct Rx {
  RxKind kind;
  CpSet set; /* SET; LOOK: the characters for which it holds */
  Rx **kid;  /* SEQUENCE, CHOICE; REPEAT: one */
  uint32_t nkids, cap;
  uint32_t min, max; /* REPEAT */
  RxGreed greed;
  bool behind, edge; /* LOOK: at the character before; holds where there is none */
};

/* Parses pattern[0..n). NULL after an error that names `source` and the construct. */
Rx *rx_parse(const Unicode *u, const char *pattern, uint32_t n, const char *source, Diag *d);
/* A tree for a literal text. */
Rx *rx_literal(const Unicode *u, const char *text, uint32_t n);
Rx *rx_set(Arena *a, CpSet s);

/* A program of a backtracking engine, run by tok_dfa.c on all ways at once, in order of priority.
 */
typedef enum NfaOp { NFA_SET, NFA_SPLIT, NFA_LOOK, NFA_MATCH } NfaOp;
typedef struct NfaInst {
  NfaOp op;
  CpSet set;
  uint32_t x, y;     /* next; SPLIT: preferred x, then y */
  bool behind, edge; /* LOOK */

} NfaInst;
typedef struct Nfa {
  NfaInst *inst; /* heap */
  uint32_t n, cap, start;
  bool behind; /* looks behind somewhere */
} Nfa;
Status nfa_build(Arena *a, const Rx *rx, const char *source, Diag *d, Nfa *out);

/* The partition of code points that all expressions of one tokenizer share. */
typedef struct Symbols {
  Arena *arena;
  CpSet *set; /* heap */
  uint32_t nsets, cap;
  uint32_t n;        /* symbols */
  uint8_t *of;       /* symbol by code point (arena) */
  uint32_t *example; /* a code point of each symbol */
} Symbols;
uint32_t symbols_add(Symbols *s, CpSet set); /* index of the set */
Status symbols_make(Symbols *s, const char *source, Diag *d);

/* The automaton: next[state * width + symbol] and start, as runtime/text/tok_blob.h says. */
typedef struct Dfa {
  uint16_t *next, *start; /* heap */
  uint32_t states, width, nstart;
} Dfa;
Status dfa_build(const Nfa *nfa, const Symbols *s, const char *source, Diag *d, Dfa *out);

#endif
