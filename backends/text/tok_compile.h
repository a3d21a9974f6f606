/* Between the files that compile a tokenizer: the blob being written and what it shares. The order
 * is: steps are read and their expressions gathered, the partition of characters is made, automata
 * and tables are written, then the vocabulary, and last what needs the runtime's own code to be
 * computed (normalised added tokens, pieces that are tokens as they stand). */
#ifndef INGOT_TOK_COMPILE_H
#define INGOT_TOK_COMPILE_H

#include "backends/text/tok_regex.h"
#include "ir/text.h"
#include "runtime/text/tok_blob.h"

typedef struct TokSteps {
  TokStep *item; /* heap */
  uint32_t n, cap;
} TokSteps;

typedef struct TokCompiler {
  const TokenizerSpec *spec;
  const char *source;
  Diag *d;
  Arena *arena;
  Unicode *unicode;
  Buf blob;
  TokBlob head;
  Symbols symbols;
  CpSet space, word; /* of the flags of added tokens; empty when nothing asks */
  Nfa *nfa;          /* heap; one an automaton */
  uint32_t nnfa, nfa_cap;
  TokSteps normalizer, pretokenizer, decoder, decoder_first;
} TokCompiler;

/* Appends to the blob, aligned. */
TokSpan blob_put(TokCompiler *c, const void *data, size_t size);
/* A two-stage table from one value a code point (CP_END of them). */
TokTable blob_table8(TokCompiler *c, const uint8_t *value);
TokTable blob_table16(TokCompiler *c, const uint16_t *value);

/* tok_normal.c: the data of a step (a TokNormal or a TokMap written to the blob). */
Status compile_normal_form(TokCompiler *c, bool compose, bool compat, TokSpan *out);
Status compile_lowercase(TokCompiler *c, TokSpan *out);
Status compile_drop(TokCompiler *c, CpSet set, TokSpan *out);
/* BertNormalizer: controls dropped, white space made spaces; spaces around Chinese characters. */
Status compile_bert_clean(TokCompiler *c, bool clean, bool chinese, TokSpan *out);

/* tok_steps.c: reads the spec's steps into the lists of `c`. */
Status compile_steps(TokCompiler *c);

/* tok_vocab.c: the vocabulary with its hash and merges. */
Status compile_vocab(TokCompiler *c);
/* Sets the bits of pieces that are tokens as they stand, by the runtime's own merging. */
Status compile_whole(TokCompiler *c);
/* The byte that a code point of GPT-2's alphabet stands for, or -1; and back. */
int byte_of_stand_in(uint32_t c);
uint32_t stand_in_of_byte(uint8_t b);

/* tok_wordpiece.c: what WordPiece has beside a vocabulary, and its decoder. */
Status compile_wordpiece(TokCompiler *c);
void compile_wordpiece_decoder(TokCompiler *c);

/* tok_added.c: added tokens and their tries. */
Status compile_added(TokCompiler *c);

#endif
