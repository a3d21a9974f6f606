/* WordPiece of one word: the longest token that the rest of the word begins with, again and again.
 *
 * After the first token the rest is looked up with the continuing prefix before it. If some rest
 * begins with no token, or the word has too many characters, the whole word is unknown.
 */
#include "runtime/text/tok_int.h"

static bool too_long(const TokBlob *h, const uint8_t *word, size_t n) {
  size_t chars = 0;
  for (size_t i = 0; i < n; i++) chars += (word[i] & 0xc0) != 0x80;
  return chars > h->word_chars;
}

/* The longest token that is a beginning of p[skip..n) with the `skip` bytes of prefix before it;
 * *to is where it ends. */
static uint32_t longest(const Tokenizer *t, const uint8_t *p, size_t skip, size_t n, size_t *to) {
  size_t end = n < t->head->longest ? n : t->head->longest;
  for (; end > skip; end--) {
    if (end < n && (p[end] & 0xc0) == 0x80) continue; /* inside a character */
    uint32_t id = tok_lookup(t, p, end);
    *to = end;
    if (id != TOK_NO_ID) return id;
  }
  return TOK_NO_ID;
}

int tok_wordpiece(TokWork *w, const uint8_t *word, size_t n) {
  const TokBlob *h = w->t->head;
  const uint8_t *prefix = tok_at(w->t, h->prefix);
  size_t skip = h->prefix.size, before = w->out->n, to = 0;
  bool known = !too_long(h, word, n);
  w->piece.size = 0;
  out_put(&w->piece, (const char *)prefix, skip);
  out_put(&w->piece, (const char *)word, n);
  if (w->piece.failed) return TEXT_NO_MEMORY;
  uint8_t *text = (uint8_t *)w->piece.data; /* the word from text + skip on */
  for (size_t at = 0; at < n && known; at += to) {
    uint8_t *rest = text + at; /* the prefix takes the place of what has been read */
    uint32_t id;
    if (at == 0) {
      id = longest(w->t, rest + skip, 0, n, &to);
    } else {
      memcpy(rest, prefix, skip);
      id = longest(w->t, rest, skip, skip + n - at, &to);
      to -= skip;
    }
    known = id != TOK_NO_ID;
    if (known && !tok_ids_put(w->out, id)) return TEXT_NO_MEMORY;
  }
  if (known) return TEXT_OK;
  w->out->n = before;
  return tok_ids_put(w->out, (uint32_t)h->unk) ? TEXT_OK : TEXT_NO_MEMORY;
}
