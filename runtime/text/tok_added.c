/* Added tokens in text: the longest that begins leftmost wins, whatever the vocabulary says.
 *
 * As in Hugging Face's AddedVocabulary: a token with `single_word` counts only between characters
 * that are no word characters, lstrip and rstrip take the white space beside it. A refused match is
 * passed over whole, and a token whose spaces an earlier one has taken keeps its own.
 */
#include "runtime/text/tok_int.h"

/* One step down the trie; 0 when there is no such child. */
static uint32_t child(const Tokenizer *t, const TokTrie *trie, uint32_t node, uint8_t byte) {
  const TokTrieNode *nodes = tok_at(t, trie->node);
  const TokTrieEdge *edges = tok_at(t, trie->edge);
  if (node == 0) return ((const uint32_t *)tok_at(t, trie->root))[byte];
  for (uint32_t i = 0; i < nodes[node].n; i++) {
    const TokTrieEdge *e = &edges[nodes[node].first + i];
    if (e->byte == byte) return e->node;
  }
  return 0;
}

static uint32_t longest_at(const Tokenizer *t, const TokTrie *trie, const uint8_t *text, size_t n,
                           size_t *len) {
  const TokTrieNode *nodes = tok_at(t, trie->node);
  uint32_t node = 0, best = 0;
  for (size_t i = 0; i < n; i++) {
    node = child(t, trie, node, text[i]);
    if (!node) break;
    if (nodes[node].token) {
      best = nodes[node].token;
      *len = i + 1;
    }
  }
  return best;
}

uint32_t tok_added_find(const Tokenizer *t, const TokTrie *trie, const uint8_t *text, size_t n) {
  size_t len = 0;
  uint32_t k = longest_at(t, trie, text, n, &len);
  return len == n ? k : 0;
}

static size_t char_before(const uint8_t *text, size_t at) {
  do at--;
  while (at > 0 && (text[at] & 0xc0) == 0x80);
  return at;
}

static bool word_beside(const Tokenizer *t, const uint8_t *text, size_t n, size_t from, size_t to) {
  unsigned len;
  if (from > 0 && tok_attr(t, tok_utf8_get(text + char_before(text, from), &len)) & TOK_ATTR_WORD)
    return true;
  return to < n && tok_attr(t, tok_utf8_get(text + to, &len)) & TOK_ATTR_WORD;
}

/* Widens a match over white space as its flags say; never left of `low`. */
static void strip(const Tokenizer *t, uint32_t flags, const uint8_t *text, size_t n, size_t low,
                  size_t *from, size_t *to) {
  unsigned len;
  if (flags & TOK_ADDED_LSTRIP)
    while (*from > low) {
      size_t before = char_before(text, *from);
      if (!(tok_attr(t, tok_utf8_get(text + before, &len)) & TOK_ATTR_SPACE)) break;
      *from = before;
    }
  if (flags & TOK_ADDED_LSTRIP && *from < low) *from = low;
  if (flags & TOK_ADDED_RSTRIP)
    while (*to < n && tok_attr(t, tok_utf8_get(text + *to, &len)) & TOK_ATTR_SPACE) *to += len;
}

int tok_added_split(TokWork *w, const TokTrie *trie, const uint8_t *text, size_t n,
                    int (*rest)(TokWork *w, const uint8_t *text, size_t n)) {
  const Tokenizer *t = w->t;
  const uint32_t *root = tok_at(t, trie->root);
  const TokAdded *added = tok_at(t, t->head->added);
  size_t done = 0;
  int err;
  for (size_t i = 0; i < n;) {
    size_t len = 0;
    uint32_t k = root[text[i]] ? longest_at(t, trie, text + i, n - i, &len) : 0;
    if (!k) {
      i++;
      continue;
    }
    const TokAdded *a = &added[k - 1];
    size_t from = i, to = i + len;
    i = to;
    if (w->flags & TOK_NO_ADDED && a->flags & TOK_ADDED_SPECIAL) continue;
    if (a->flags & TOK_ADDED_WORD && word_beside(t, text, n, from, to)) continue;
    strip(t, a->flags, text, n, done, &from, &to);
    if (from > done && (err = rest(w, text + done, from - done))) return err;
    if (!tok_ids_put(w->out, a->id)) return TEXT_NO_MEMORY;
    done = to;
  }
  return done < n ? rest(w, text + done, n - done) : TEXT_OK;
}
