/* WordPiece (Schuster and Nakajima 2012; Devlin et al. 2018): a vocabulary without merges.
 *
 * Tokens that continue a word are stored with their prefix ("##ing"), as the file writes them. The
 * decoder joins words with spaces; its `cleanup` tidies each token with the space before it, which
 * is less than what Transformers' clean_up_tokenization_spaces does to a whole text.
 */
#include "backends/text/tok_compile.h"

Status compile_wordpiece(TokCompiler *c) {
  const TokenizerSpec *s = c->spec;
  if (s->unk_id < 0)
    return diag_error(c->d, c->source, "WordPiece without an unknown token (expected unk_token)");
  if (s->end_of_word_suffix.size || s->byte_fallback || s->byte_level)
    return diag_error(c->d, c->source, "WordPiece with the settings of BPE");
  c->head.flags |= TOK_WORDPIECE_MODEL;
  c->head.prefix = blob_put(c, s->continuing_prefix.data, s->continuing_prefix.size);
  c->head.word_chars = s->max_word_chars;
  return OK;
}

void compile_wordpiece_decoder(TokCompiler *c) {
  c->head.flags |= TOK_WORDPIECE_DECODER | (c->spec->clean_tokens ? TOK_CLEAN_TOKENS : 0u);
}
