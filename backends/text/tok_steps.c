/* Normaliser and pre-tokenizer steps: each kind of the spec becomes one or more steps of the blob.
 *
 * Most pre-tokenizers are a split by an expression under another name; so the runtime knows one
 * split, and a further kind is a row here. Expressions are only gathered: their automata need the
 * partition that all of them make together.
 */
#include "backends/text/tok_compile.h"

#include <string.h>

/* The expression that GPT-2's byte-level pre-tokenizer has built in. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char *const step_names[] = {"NFC",
                                         "NFD",
                                         "NFKC",
                                         "NFKD",
                                         "Lowercase",
                                         "Strip",
                                         "StripAccents",
                                         "Prepend",
                                         "Replace",
                                         "BertNormalizer",
                                         "Precompiled",
                                         "Split",
                                         "ByteLevel",
                                         "Digits",
                                         "Punctuation",
                                         "Whitespace",
                                         "WhitespaceSplit",
                                         "Metaspace",
                                         "BertPreTokenizer"};

static Status unsupported(TokCompiler *c, const char *part, TextStepKind kind) {
  return diag_error(c->d, c->source, "%s step %s isn't supported", part,
                    (size_t)kind < COUNT(step_names) ? step_names[kind] : "?");
}

static TokStep *add_step(TokSteps *steps, TokStepKind kind) {
  TokStep *s = VEC_PUSH(steps->item, steps->n, steps->cap);
  *s = (TokStep){.kind = kind};
  return s;
}

/* Gathers an expression; its index. */
static Status add_automaton(TokCompiler *c, const Rx *rx, uint32_t *index) {
  Nfa nfa;
  if (!rx) return FAIL;
  Status status = nfa_build(c->arena, rx, c->source, c->d, &nfa);
  *VEC_PUSH(c->nfa, c->nnfa, c->nfa_cap) = nfa;
  *index = c->nnfa - 1;
  for (uint32_t i = 0; i < nfa.n && status == OK; i++)
    if (nfa.inst[i].op == NFA_SET || nfa.inst[i].op == NFA_LOOK)
      symbols_add(&c->symbols, nfa.inst[i].set);
  return status;
}

static Rx *pattern(TokCompiler *c, const TextStep *s) {
  if (s->pattern.size == 0) {
    diag_error(c->d, c->source, "%s has an empty pattern", step_names[s->kind]);
    return NULL;
  }
  if (s->is_literal) return rx_literal(c->unicode, s->pattern.data, s->pattern.size);
  return rx_parse(c->unicode, s->pattern.data, s->pattern.size, c->source, c->d);
}

static Status add_split(TokCompiler *c, const Rx *rx, SplitBehaviour behaviour, bool invert) {
  uint32_t index = 0;
  TRY(add_automaton(c, rx, &index));
  TokStep *s = add_step(&c->pretokenizer, TOK_STEP_SPLIT);
  s->dfa = index;
  s->behaviour = behaviour;
  s->flags = invert ? TOK_SPLIT_INVERT : 0;
  return OK;
}

static Status add_split_set(TokCompiler *c, CpSet set, SplitBehaviour behaviour) {
  return add_split(c, rx_set(c->arena, set), behaviour, false);
}

/* Runs of word characters and runs of other visible characters. */
static Status add_whitespace(TokCompiler *c) {
  CpSet word = cp_rust_word(c->unicode), space = cp_space(c->unicode);
  CpSet other = cp_negate(c->arena, cp_union(c->arena, word, space));
  Rx *set[2] = {rx_set(c->arena, word), rx_set(c->arena, other)}, *run[2];
  for (int i = 0; i < 2; i++) {
    run[i] = ARENA_NEW(c->arena, Rx);
    *run[i] = (Rx){.kind = RX_REPEAT, .kid = &set[i], .nkids = 1, .min = 1, .max = RX_UNBOUNDED};
  }
  Rx choice = {.kind = RX_CHOICE, .kid = run, .nkids = 2};
  return add_split(c, &choice, SPLIT_REMOVED, true);
}

static Status add_bytelevel(TokCompiler *c, const TextStep *s) {
  for (uint32_t i = 0; i < c->pretokenizer.n; i++)
    if (c->pretokenizer.item[i].kind == TOK_STEP_BYTES)
      return diag_error(c->d, c->source, "two ByteLevel steps in one pre-tokenizer");
  for (uint32_t i = 0; i < c->pretokenizer.n && s->add_prefix_space; i++)
    if (c->pretokenizer.item[i].kind == TOK_STEP_METASPACE)
      return diag_error(c->d, c->source, "ByteLevel with a prefix space after Metaspace");
  if (s->add_prefix_space) add_step(&c->pretokenizer, TOK_STEP_PREFIX);
  if (s->use_regex) {
    uint32_t n = (uint32_t)strlen(gpt2_pattern);
    TRY(add_split(c, rx_parse(c->unicode, gpt2_pattern, n, c->source, c->d), SPLIT_ISOLATED,
                  false));
  }
  add_step(&c->pretokenizer, TOK_STEP_BYTES);
  return OK;
}

/* Replacement and prefix, then pieces that begin with the replacement. */
static Status add_metaspace(TokCompiler *c, const TextStep *s) {
  for (uint32_t i = 0; i < c->pretokenizer.n; i++)
    if (c->pretokenizer.item[i].kind != TOK_STEP_SPLIT)
      return diag_error(c->d, c->source, "Metaspace after another step that changes the text");
  TokSpan data = blob_put(c, s->content.data, s->content.size);
  TokStep *step = add_step(&c->pretokenizer, TOK_STEP_METASPACE);
  step->data = data;
  step->flags = (uint32_t)s->prepend_scheme;
  if (!s->split) return OK;
  return add_split(c, rx_literal(c->unicode, s->content.data, s->content.size), SPLIT_MERGED_NEXT,
                   false);
}

static Status pretokenizer_step(TokCompiler *c, const TextStep *s) {
  switch (s->kind) {
  case STEP_SPLIT: return add_split(c, pattern(c, s), s->behaviour, s->invert);
  case STEP_BYTELEVEL: return add_bytelevel(c, s);
  case STEP_DIGITS:
    return add_split_set(c, cp_rust_numeric(c->unicode),
                         s->individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS);
  case STEP_PUNCTUATION: return add_split_set(c, cp_punctuation(c->unicode), s->behaviour);
  case STEP_WHITESPACE: return add_whitespace(c);
  case STEP_WHITESPACE_SPLIT: return add_split_set(c, cp_space(c->unicode), SPLIT_REMOVED);
  case STEP_BERT_PRE:
    TRY(add_split_set(c, cp_space(c->unicode), SPLIT_REMOVED));
    return add_split_set(c, cp_punctuation(c->unicode), SPLIT_ISOLATED);
  case STEP_METASPACE: return add_metaspace(c, s);
  default: return unsupported(c, "pre-tokenizer", s->kind);
  }
}

static Status add_normal_form(TokCompiler *c, TextStepKind kind) {
  bool compose = kind == STEP_NFC || kind == STEP_NFKC;
  TokSpan data;
  TRY(compile_normal_form(c, compose, kind == STEP_NFKC || kind == STEP_NFKD, &data));
  TokStep *s = add_step(&c->normalizer, TOK_STEP_NORMAL);
  s->flags = compose ? TOK_NF_COMPOSE : 0;
  s->data = data;
  return OK;
}

/* A replacement on a list of its own. */
static Status add_replace(TokCompiler *c, TokSteps *steps, const Rx *rx, TextBytes content) {
  uint32_t index = 0;
  TRY(add_automaton(c, rx, &index));
  TokSpan data = blob_put(c, content.data, content.size);
  TokStep *step = add_step(steps, TOK_STEP_REPLACE);
  step->dfa = index;
  step->data = data;
  return OK;
}

/* A map of characters; `made` is what making *data gave. */
static Status add_map(TokCompiler *c, Status made, const TokSpan *data) {
  if (made == OK) add_step(&c->normalizer, TOK_STEP_MAP)->data = *data;
  return made;
}

static Status add_bert(TokCompiler *c, const TextStep *s) {
  TokSpan data;
  if (s->clean_text || s->chinese)
    TRY(add_map(c, compile_bert_clean(c, s->clean_text, s->chinese, &data), &data));
  if (s->accents) {
    TRY(add_normal_form(c, STEP_NFD));
    TRY(add_map(c, compile_drop(c, cp_bert_accent(c->unicode), &data), &data));
  }
  return s->lowercase ? add_map(c, compile_lowercase(c, &data), &data) : OK;
}

static Status normalizer_step(TokCompiler *c, const TextStep *s) {
  TokSpan data;
  TokStep *step;
  switch (s->kind) {
  case STEP_NFC:
  case STEP_NFD:
  case STEP_NFKC:
  case STEP_NFKD: return add_normal_form(c, s->kind);
  case STEP_LOWERCASE: return add_map(c, compile_lowercase(c, &data), &data);
  case STEP_STRIP_ACCENTS: return add_map(c, compile_drop(c, cp_accent(c->unicode), &data), &data);
  case STEP_BERT_NORMALIZE: return add_bert(c, s);
  case STEP_STRIP:
    c->space = cp_space(c->unicode);
    step = add_step(&c->normalizer, TOK_STEP_STRIP);
    step->flags = (s->trim_left ? TOK_STRIP_LEFT : 0u) | (s->trim_right ? TOK_STRIP_RIGHT : 0u);
    return OK;
  case STEP_PREPEND:
    data = blob_put(c, s->content.data, s->content.size);
    add_step(&c->normalizer, TOK_STEP_PREPEND)->data = data;
    return OK;
  case STEP_REPLACE: return add_replace(c, &c->normalizer, pattern(c, s), s->content);
  default: return unsupported(c, "normalizer", s->kind);
  }
}

/* Steps on the text of each token; the first one loses the spaces that Metaspace put there. */
static Status decoder_step(TokCompiler *c, const TextStep *s) {
  const Rx *rx;
  switch (s->kind) {
  case STEP_BYTELEVEL: return OK; /* the vocabulary is stored as bytes */
  case STEP_REPLACE:
    TRY(add_replace(c, &c->decoder, rx = pattern(c, s), s->content));
    return add_replace(c, &c->decoder_first, rx, s->content);
  case STEP_METASPACE: {
    TextBytes space = {" ", 1}, none = {"", 0};
    rx = rx_literal(c->unicode, s->content.data, s->content.size);
    TRY(add_replace(c, &c->decoder, rx, space));
    return add_replace(c, &c->decoder_first, rx,
                       s->prepend_scheme == TOK_META_NEVER ? space : none);
  }
  case STEP_STRIP:
    if (s->trim_right || c->head.lead.size)
      return diag_error(c->d, c->source, "a decoder that strips more than one text at the start");
    if (s->trim_left) c->head.lead = blob_put(c, s->content.data, s->content.size);
    return OK;
  default: return unsupported(c, "decoder", s->kind);
  }
}

Status compile_steps(TokCompiler *c) {
  const TokenizerSpec *spec = c->spec;
  for (uint32_t i = 0; i < spec->nnormalizer; i++) TRY(normalizer_step(c, &spec->normalizer[i]));
  for (uint32_t i = 0; i < spec->npretokenizer; i++)
    TRY(pretokenizer_step(c, &spec->pretokenizer[i]));
  for (uint32_t i = 0; i < spec->ndecoder; i++) TRY(decoder_step(c, &spec->decoder[i]));
  for (uint32_t i = 0; i < spec->nadded; i++) {
    if (spec->added[i].lstrip || spec->added[i].rstrip) c->space = cp_space(c->unicode);
    if (spec->added[i].single_word) c->word = cp_rust_word(c->unicode);
  }
  return OK;
}
