/* The named pre-tokenizers of GGUF; see gguf_pre.h.
 *
 * A GGUF only names its pipeline. The patterns here are facts about the original tokenizer.json
 * files (which llama.cpp's sources also list); with them ids agree with Hugging Face's. `nfc` tells
 * the vocabularies whose normalizer is NFC, a fact that GGUF loses. Steps run in order; a
 * byte-level step stands last, or where Falcon has it.
 */
#include "frontend/gguf_pre.h"
#include "frontend/tok_steps.h"

#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS_LLAMA3(number)                                                                       \
  CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" number                                            \
               "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define WORDS_O200K(suffix, number)                                                                \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER    \
  "*" suffix "|" number "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* Letters of the alphabets with two cases, as DeepSeek's tokenizer lists them; the escaped ones
 * would not survive an editor that normalises. */
#define CASED_LETTERS                                                                              \
  "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-Ჺ"                             \
  "Ჽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-"                             \
  "\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-"                             \
  "ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
#define CJK_WIDE "[一-龥ࠀ-一가-퟿]+"

typedef enum PreKind { P_END, P_SPLIT, P_DIGITS, P_PUNCTUATION, P_BYTES, P_BYTES_GPT2 } PreKind;
typedef struct PreStep {
  PreKind kind;
  const char *pattern;
  bool individual; /* P_DIGITS */
} PreStep;
enum { MAX_STEPS = 7 };
typedef struct PreRow {
  const char *names; /* separated by spaces */
  bool nfc, ignore_merges, add_bos;
  PreStep steps[MAX_STEPS];
} PreRow;

#define SPLIT(pattern) {P_SPLIT, pattern, false}
#define DIGITS(individual) {P_DIGITS, NULL, individual}

static const PreRow rows[] = {
    {"gpt-2 default phi-2 jina-es jina-de", .steps = {{P_BYTES_GPT2}}},
    {"mpt olmo", .nfc = true, .steps = {{P_BYTES_GPT2}}},
    {"starcoder refact smollm codeshell", .steps = {DIGITS(true), {P_BYTES_GPT2}}},
    {"command-r", .nfc = true, .steps = {DIGITS(true), {P_BYTES_GPT2}}},
    {"falcon", .steps = {{P_PUNCTUATION}, {P_BYTES_GPT2}, DIGITS(false), SPLIT("[0-9][0-9][0-9]")}},
    {"llama-bpe llama3 llama-v3", .ignore_merges = true, .add_bos = true,
     .steps = {SPLIT(WORDS_LLAMA3("\\p{N}{1,3}")), {P_BYTES}}},
    {"dbrx smaug-bpe chatglm-bpe", .steps = {SPLIT(WORDS_LLAMA3("\\p{N}{1,3}")), {P_BYTES}}},
    {"glm4", .ignore_merges = true, .steps = {SPLIT(WORDS_LLAMA3("\\p{N}{1,3}")), {P_BYTES}}},
    {"qwen2", .nfc = true, .steps = {SPLIT(WORDS_LLAMA3("\\p{N}")), {P_BYTES}}},
    {"deepseek-r1-qwen", .steps = {SPLIT(WORDS_LLAMA3("\\p{N}")), {P_BYTES}}},
    {"qwen35", .nfc = true,
     .steps = {SPLIT(CONTRACTIONS
                     "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                     "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
               {P_BYTES}}},
    {"gpt-4o llama4", .steps = {SPLIT(WORDS_O200K(CONTRACTIONS "?", "\\p{N}{1,3}")), {P_BYTES}}},
    {"tekken", .ignore_merges = true, .add_bos = true,
     .steps = {SPLIT(WORDS_O200K("", "\\p{N}")), {P_BYTES}}},
    {"deepseek-llm", .steps = {SPLIT("[\\r\\n]"),
                               SPLIT("\\s?[" CASED_LETTERS "]+"),
                               SPLIT("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
                               SPLIT("\\s+$"),
                               SPLIT(CJK_WIDE),
                               DIGITS(true),
                               {P_BYTES}}},
    {"deepseek-coder", .steps = {SPLIT("[\\r\\n]"),
                                 SPLIT("\\s?\\p{L}+"),
                                 SPLIT("\\s?\\p{P}+"),
                                 SPLIT(CJK_WIDE),
                                 DIGITS(true),
                                 {P_BYTES}}},
    {"deepseek-v3",
     .steps = {SPLIT("\\p{N}{1,3}"),
               SPLIT("[一-龥぀-ゟ゠-ヿ]+"),
               SPLIT("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
                     "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
                     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
               {P_BYTES}}},
};

/* Is `name` one of the words? */
static bool has_word(const char *words, const char *name) {
  size_t n = strlen(name);
  for (const char *p = strstr(words, name); n && p; p = strstr(p + 1, name)) {
    if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return true;
  }
  return false;
}

static void add_step(StepList *l, const PreStep *s) {
  switch (s->kind) {
  case P_SPLIT: step_split(l, s->pattern, SPLIT_ISOLATED); return;
  case P_DIGITS: step_add(l, STEP_DIGITS)->individual = s->individual; return;
  case P_PUNCTUATION: step_add(l, STEP_PUNCTUATION)->behaviour = SPLIT_CONTIGUOUS; return;
  case P_BYTES: step_bytelevel(l, false); return;
  case P_BYTES_GPT2: step_bytelevel(l, true); return;
  case P_END: return;
  }
}

Status gguf_pre_apply(Reader *r, const char *where, const char *name, PreTokenizer *out) {
  TokenizerSpec *t = &r->m->tokenizer;
  const PreRow *row = NULL;
  for (size_t i = 0; i < COUNT(rows); i++) {
    if (has_word(rows[i].names, name ? name : "default")) row = &rows[i];
  }
  if (!row)
    return diag_error(r->d, where,
                      "key tokenizer.ggml.pre: is \"%s\", a pre-tokenizer that ingot does not know "
                      "yet",
                      name);
  if (!name) diag_warn(r->d, where, "has no tokenizer.ggml.pre; its words are split as GPT-2's");
  StepList l = {0};
  if (row->nfc) step_add(&l, STEP_NFC);
  steps_keep(r->m->arena, &l, &t->normalizer, &t->nnormalizer);
  for (int i = 0; i < MAX_STEPS && row->steps[i].kind != P_END; i++) add_step(&l, &row->steps[i]);
  steps_keep(r->m->arena, &l, &t->pretokenizer, &t->npretokenizer);
  step_add(&l, STEP_BYTELEVEL);
  steps_keep(r->m->arena, &l, &t->decoder, &t->ndecoder);
  t->ignore_merges = row->ignore_merges;
  *out = (PreTokenizer){row->add_bos};
  return OK;
}
