/* Between the files of the tokenizer's runtime: the open tokenizer, its working memory and the
 * stages of encoding. Stages take and give byte ranges of one buffer; working memory is one TokWork
 * a call, so that a Tokenizer stays constant and threads can share it. */
#ifndef INGOT_RUNTIME_TOK_INT_H
#define INGOT_RUNTIME_TOK_INT_H

#include "runtime/core/utf8.h"
#include "runtime/text/text.h"
#include "runtime/text/tok_blob.h"

#include <string.h>

struct Tokenizer {
  const uint8_t *blob;
  const TokBlob *head;
};

static inline const void *tok_at(const Tokenizer *t, TokSpan s) {
  return t->blob + s.at;
}

/* ---- UTF-8 --------------------------------------------------------------------------------- */

/* The code point at `p` in text that is known to be valid UTF-8 (utf8.h decodes the rest); *n its
 * bytes. */
static inline uint32_t tok_utf8_get(const uint8_t *p, unsigned *n) {
  uint8_t b = p[0];
  if (b < 0x80) return *n = 1, b;
  if (b < 0xe0) return *n = 2, ((b & 0x1fu) << 6) | (p[1] & 0x3fu);
  if (b < 0xf0) return *n = 3, ((b & 0x0fu) << 12) | ((p[1] & 0x3fu) << 6) | (p[2] & 0x3fu);
  *n = 4;
  return ((b & 0x07u) << 18) | ((p[1] & 0x3fu) << 12) | ((p[2] & 0x3fu) << 6) | (p[3] & 0x3fu);
}

bool tok_utf8_valid(const uint8_t *p, size_t n);
/* Appends p[0..n) with U+FFFD for each maximal invalid part. */
void tok_utf8_repair(const uint8_t *p, size_t n, Out *out);

/* ---- symbols ------------------------------------------------------------------------------- */

static inline uint8_t tok_symbol(const Tokenizer *t, uint32_t c) {
  const uint16_t *top = tok_at(t, t->head->symbol.top);
  const uint8_t *leaf = tok_at(t, t->head->symbol.leaf);
  return leaf[(size_t)top[c >> 7] * TOK_PAGE + (c & 127)];
}
static inline uint8_t tok_attr(const Tokenizer *t, uint32_t c) {
  const uint8_t *attr = tok_at(t, t->head->attr);
  return attr[tok_symbol(t, c)];
}
static inline uint16_t tok_table16(const Tokenizer *t, const TokTable *table, uint32_t c) {
  const uint16_t *top = tok_at(t, table->top), *leaf = tok_at(t, table->leaf);
  return leaf[(size_t)top[c >> 7] * TOK_PAGE + (c & 127)];
}

/* ---- working memory ------------------------------------------------------------------------ */

typedef struct TokRange {
  size_t from, to;
} TokRange;
typedef struct TokRanges {
  TokRange *item;
  size_t n, cap;
} TokRanges;
bool tok_ranges_put(TokRanges *r, size_t from, size_t to); /* false: no memory */

typedef struct TokSym { /* BPE: a node of the list of symbols */
  uint32_t from, to;    /* bytes of the piece */
  uint32_t id;          /* TOK_NO_ID: unknown */
  uint32_t prev, next;  /* TOK_NO_ID: none */
  uint32_t rank;        /* of the merge with `next`; TOK_NO_ID: none */
  uint32_t made;        /* the token it makes */
  bool fixed;           /* stands for something else than its bytes: never merges */
} TokSym;
enum { TOK_NO_ID = 0xffffffffu };

typedef struct TokWork {
  const Tokenizer *t;
  unsigned flags;
  TokIds *out;
  const uint8_t *raw_begin, *normal_begin; /* of the sequence; of the normalised rest of it */
  bool at_begin;                           /* that rest is where the sequence begins */
  Out clean, normal[2], text;              /* repaired input; normalised; with prefix spaces */
  uint32_t *point;                         /* code points of a segment being normalised */
  size_t point_cap;
  TokRanges pieces[2], matches;
  uint16_t *memo; /* dead ends of the automaton's long runs (tok_split.c) */
  size_t memo_cap;
  TokSym *sym;
  size_t sym_cap;
  uint64_t *heap;
  size_t heap_n, heap_cap;
  Out piece; /* BPE: a piece without bytes that have no token */
} TokWork;
void tok_work_free(TokWork *w);

bool tok_ids_put(TokIds *ids, uint32_t id);

/* ---- stages: 0 or a TEXT_ error ------------------------------------------------------------ */

/* All matches in text[0..n), leftmost first, into w->matches. `bytes`: text is bytes, not UTF-8. */
int tok_find_all(TokWork *w, const TokDfa *dfa, bool bytes, const uint8_t *text, size_t n);
/* Runs normaliser steps on text[0..n); *out points to the result (the text itself when nothing
 * changes). */
int tok_normalize(TokWork *w, TokSpan steps, const uint8_t *text, size_t n, const uint8_t **out,
                  size_t *out_n);
/* Pre-tokenizes text[0..n) and appends the ids of its pieces. */
int tok_encode_text(TokWork *w, const uint8_t *text, size_t n);
/* Splits text[0..n) at added tokens of a trie; calls `rest` on what lies between. */
int tok_added_split(TokWork *w, const TokTrie *trie, const uint8_t *text, size_t n,
                    int (*rest)(TokWork *w, const uint8_t *text, size_t n));
/* Index + 1 of the added token that is exactly text[0..n), or 0. */
uint32_t tok_added_find(const Tokenizer *t, const TokTrie *trie, const uint8_t *text, size_t n);
/* Model: appends the ids of one piece. */
int tok_bpe(TokWork *w, const uint8_t *piece, size_t n);
int tok_wordpiece(TokWork *w, const uint8_t *word, size_t n);

/* The id of the token with these bytes, or TOK_NO_ID. */
uint32_t tok_lookup(const Tokenizer *t, const uint8_t *p, size_t n);
/* The bytes of a token; *n 0 for a hole. */
const uint8_t *tok_bytes(const Tokenizer *t, uint32_t id, uint32_t *n);

#endif
