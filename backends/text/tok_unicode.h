/* Sets of code points and the Unicode properties that tokenizers name.
 *
 * A set is an inversion list: sorted bounds at which membership toggles. Properties are those of
 * the libraries inside Hugging Face's tokenizers, not of one Unicode version: where utf8proc says
 * otherwise, the rows of tok_unicode.def count (recorded over all code points).
 */
#ifndef INGOT_TOK_UNICODE_H
#define INGOT_TOK_UNICODE_H

#include "ir/base.h"

enum { CP_END = 0x110000 };

typedef struct CpSet {
  const uint32_t *bound; /* in: [bound[0], bound[1]), [bound[2], bound[3]) .. */
  uint32_t n;            /* even */
} CpSet;

/* Categories of all code points; made once for a tokenizer. */
typedef struct Unicode {
  Arena *arena;
  uint8_t *category;    /* utf8proc_category_t by code point */
  uint32_t (*folds)[2]; /* (character, its simple case fold) where they differ */
  uint32_t nfolds;
} Unicode;
Unicode *unicode_new(Arena *a);

CpSet cp_range(Arena *a, uint32_t low, uint32_t high); /* both in */
CpSet cp_union(Arena *a, CpSet x, CpSet y);
CpSet cp_intersect(Arena *a, CpSet x, CpSet y);
CpSet cp_negate(Arena *a, CpSet x);
bool cp_has(CpSet s, uint32_t c);

/* All code points of the categories whose bit (1 << utf8proc_category_t) is set. */
CpSet cp_categories(const Unicode *u, uint32_t mask);
/* What \p{name} means to Oniguruma: a category (Lu, L, Letter ..) or a script; false: unknown. */
bool cp_property(const Unicode *u, const char *name, size_t n, CpSet *out);
CpSet cp_space(const Unicode *u);        /* \s, White_Space */
CpSet cp_word(const Unicode *u);         /* \w of Oniguruma */
CpSet cp_rust_word(const Unicode *u);    /* \w of Rust's regex, for single_word */
CpSet cp_rust_numeric(const Unicode *u); /* char::is_numeric, for Digits */
CpSet cp_punctuation(const Unicode *u);  /* of HF's Punctuation and BERT */
CpSet cp_bert_control(const Unicode *u); /* what BertNormalizer's clean_text drops */
CpSet cp_bert_chinese(const Unicode *u); /* what it puts spaces around */
CpSet cp_bert_accent(const Unicode *u);  /* what its strip_accents drops, once decomposed */
CpSet cp_accent(const Unicode *u);       /* what StripAccents drops */
/* Adds the characters that differ from members by simple case only. */
CpSet cp_fold(const Unicode *u, CpSet s);
/* Whether two characters begin what one other character folds to ("ss" and sharp s). */
bool cp_fold_pair(uint32_t first, uint32_t second);

/* ---- normalisation ------------------------------------------------------------------------- */

/* Full canonical (compat: compatibility) decomposition of c into out[0..cap); 0: none. */
unsigned cp_decompose(uint32_t c, bool compat, uint32_t *out, unsigned cap);
unsigned cp_combining_class(uint32_t c);
/* Rust's char::to_lowercase into out[3]; returns the count, 0 when c stays. */
unsigned cp_lower(uint32_t c, uint32_t out[3]);

#endif
