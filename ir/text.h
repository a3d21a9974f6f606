/* What a model says about text: its tokenizer and chat template, free of any file format.
 *
 * The readers fill these (from tokenizer.json and its neighbours or from a GGUF's metadata);
 * backends/text compiles them into the tables and code that the program executes. Everything lives
 * in the model's arena. Strings are UTF-8 with explicit sizes where NUL may occur.
 */
#ifndef INGOT_IR_TEXT_H
#define INGOT_IR_TEXT_H

#include "ir/base.h"

typedef struct TextBytes {
  const char *data;
  uint32_t size;
} TextBytes;

typedef struct AddedToken {
  uint32_t id;
  TextBytes text;
  bool special, normalized, lstrip, rstrip, single_word;
} AddedToken;

typedef enum TokModel { TOK_NONE, TOK_BPE, TOK_UNIGRAM, TOK_WORDPIECE } TokModel;

/* Pre-tokenizer and normaliser steps, in order. */
typedef enum TextStepKind {
  STEP_NFC,
  STEP_NFD,
  STEP_NFKC,
  STEP_NFKD,
  STEP_LOWERCASE,
  STEP_STRIP,
  STEP_STRIP_ACCENTS,
  STEP_PREPEND,
  STEP_REPLACE,
  STEP_BERT_NORMALIZE,
  STEP_PRECOMPILED,
  STEP_SPLIT,     /* pattern, behaviour, invert */
  STEP_BYTELEVEL, /* add_prefix_space, use_regex (the GPT-2 pattern) */
  STEP_DIGITS,    /* individual */
  STEP_PUNCTUATION,
  STEP_WHITESPACE,
  STEP_WHITESPACE_SPLIT,
  STEP_METASPACE,
  STEP_BERT_PRE
} TextStepKind;
typedef enum SplitBehaviour {
  SPLIT_REMOVED,
  SPLIT_ISOLATED,
  SPLIT_MERGED_PREVIOUS,
  SPLIT_MERGED_NEXT,
  SPLIT_CONTIGUOUS
} SplitBehaviour;
typedef struct TextStep {
  TextStepKind kind;
  TextBytes pattern; /* SPLIT, REPLACE: regular expression, or literal when is_literal */
  TextBytes content; /* REPLACE, PREPEND, METASPACE replacement, PRECOMPILED charsmap */
  bool is_literal, invert, add_prefix_space, use_regex, individual, trim_left, trim_right;
  bool clean_text, chinese, accents, accents_default, lowercase; /* BERT */
  SplitBehaviour behaviour;
  int prepend_scheme; /* METASPACE: 0 always, 1 first, 2 never */
  bool split;         /* METASPACE */
} TextStep;

/* Post-processor template: pieces of a single sequence or a pair. */
typedef struct TemplatePiece {
  int kind;    /* 0 sequence A, 1 sequence B, 2 token */
  uint32_t id; /* token */
  uint32_t type_id;
} TemplatePiece;

typedef struct TokenizerSpec {
  TokModel model;     /* TOK_NONE: the source carries no tokenizer */
  const char *source; /* file it came from, for messages */
  TextBytes *vocab;
  uint32_t nvocab; /* by id; size 0: a hole */
  float *scores;   /* UNIGRAM and SentencePiece BPE; else NULL */
  struct {
    TextBytes left, right;
  } *merges;
  uint32_t nmerges; /* BPE, by rank */
  AddedToken *added;
  uint32_t nadded;
  TextStep *normalizer;
  uint32_t nnormalizer;
  TextStep *pretokenizer;
  uint32_t npretokenizer;
  bool byte_level; /* tokens are in GPT-2's byte alphabet */
  bool byte_fallback, ignore_merges, fuse_unk;
  int64_t unk_id;                                  /* -1: none */
  TextBytes continuing_prefix, end_of_word_suffix; /* WordPiece "##"; CLIP "</w>" */
  uint32_t max_word_chars;                         /* WordPiece */
  TemplatePiece *single, *pair;
  uint32_t nsingle, npair; /* post-processor; none: the sequence */
  bool trim_offsets;
  /* decoder */
  TextStep *decoder;
  uint32_t ndecoder;                    /* REPLACE, BYTELEVEL, METASPACE, STRIP ... as steps */
  bool wordpiece_decoder, clean_tokens; /* tokens joined with spaces but for continuing_prefix;
                                           each tidied with its space */
  bool clean_up_spaces;
  int64_t bos_id, eos_id, pad_id; /* -1: none */
  bool add_bos, add_eos;          /* GGUF only: what the missing post-processor would do */
} TokenizerSpec;

/* One chat template and the strings that it may name. */
typedef struct ChatTemplateSpec {
  const char *source; /* Jinja text, or NULL when the model has none */
  const char *where;  /* file it came from */
  const char *bos_token, *eos_token, *pad_token, *unk_token; /* NULL: undefined in the template */
} ChatTemplateSpec;

#endif
