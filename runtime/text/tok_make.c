/* What the compiler asks of the tokenizer's own code while it makes a blob: normalised contents of
 * added tokens, and which tokens merging leaves as they are. Linked into the compiler only; so the
 * answers are by construction those that the program would give.
 */
#include "runtime/text/tok_int.h"

int tok_make_normalize(const void *blob, const TokBlob *head, const uint8_t *text, size_t n,
                       void (*take)(void *context, const uint8_t *text, size_t n), void *context) {
  Tokenizer t = {blob, head};
  TokWork w = {.t = &t};
  int err = tok_utf8_valid(text, n) ? TEXT_OK : TEXT_BAD_BLOB;
  if (!err) err = tok_normalize(&w, head->normalizer, text, n, &text, &n);
  if (!err) take(context, text, n);
  tok_work_free(&w);
  return err;
}

int tok_make_whole(const void *blob, const TokBlob *head, bool all, uint8_t *bits) {
  Tokenizer t = {blob, head};
  TokIds ids = {0};
  TokWork w = {.t = &t, .out = &ids};
  int err = TEXT_OK;
  for (uint32_t id = 0; id < head->vocab && !err; id++) {
    uint32_t n;
    const uint8_t *p = tok_bytes(&t, id, &n);
    if (tok_lookup(&t, p, n) != id) continue;
    ids.n = 0;
    if (!all) err = tok_bpe(&w, p, n);
    if (all || (ids.n == 1 && ids.id[0] == id)) bits[id / 8] |= (uint8_t)(1 << id % 8);
  }
  tok_work_free(&w);
  tok_ids_free(&ids);
  return err;
}
