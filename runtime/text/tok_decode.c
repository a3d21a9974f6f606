/* Decoding: the bytes of the tokens, one after the other, as text.
 *
 * Whole lists and streams share one machine: bytes arrive, broken UTF-8 becomes U+FFFD as soon as
 * it is known to be broken, an unfinished sequence waits. Where the model asks for tidied spaces
 * (Transformers' clean_up_tokenization_spaces), the end of the text that a later character could
 * still change waits too: it begins at a space and has only characters of the patterns after it.
 */
#include "runtime/text/tok_int.h"

#include <stdlib.h>

struct TokStream {
  const Tokenizer *t;
  bool skip_special;
  bool any, begun; /* a token has been put; some text has come out */
  uint8_t tail[4]; /* an unfinished sequence */
  unsigned ntail;
  Out run;      /* bytes of the byte tokens (<0x41>) since the last other token */
  Out held;     /* waits for tidying */
  TokWork work; /* of the decoder's steps */
};

/* ---- tidying ------------------------------------------------------------------------------- */

static void replace_all(Out *text, const char *from, const char *to) {
  size_t nfrom = strlen(from), nto = strlen(to), kept = 0;
  for (size_t i = 0; i < text->size;) {
    if (text->size - i >= nfrom && memcmp(text->data + i, from, nfrom) == 0) {
      memcpy(text->data + kept, to, nto); /* never longer */
      kept += nto;
      i += nfrom;
    } else {
      text->data[kept++] = text->data[i++];
    }
  }
  text->size = kept;
}

static void tidy(Out *text) {
  static const char *const rule[][2] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) replace_all(text, rule[i][0], rule[i][1]);
}

/* Gives out of `held` what no later text can change; all of it at the end. */
static void give(TokStream *s, bool end, Out *out) {
  size_t run = s->held.size, cut;
  while (!end && run > 0 && memchr(" .?!,'ntmsver", s->held.data[run - 1], 13)) run--;
  for (cut = run; !end && cut < s->held.size && s->held.data[cut] != ' ';) cut++;
  if (end) cut = s->held.size;
  if (cut == 0) return;
  Out ready = {0};
  out_put(&ready, s->held.data, cut);
  if (ready.failed) {
    out->failed = true;
  } else {
    tidy(&ready);
    out_put(out, ready.data, ready.size);
  }
  out_free(&ready);
  memmove(s->held.data, s->held.data + cut, s->held.size - cut);
  s->held.size -= cut;
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* Length of what stands at p[0..n): a character, or a broken part (*ok false); 0 when it is the
 * beginning of a character that the end cuts off. */
static size_t take(const uint8_t *p, size_t n, bool *ok) {
  uint32_t code;
  size_t len = utf8_decode((const char *)p, n, &code);
  *ok = len > 0;
  if (len) return len;
  len = utf8_step((const char *)p, n, &code);
  return len == n && p[0] >= 0xc2 && p[0] <= 0xf4 ? 0 : len;
}

/* One character or broken part of p[0..n) to `to`; its length, 0 when it is cut off. */
static size_t put_part(const uint8_t *p, size_t n, Out *to) {
  bool ok;
  size_t len = take(p, n, &ok);
  if (len && ok)
    out_put(to, (const char *)p, len);
  else if (len)
    out_puts(to, "\xef\xbf\xbd");
  return len;
}

static void put_bytes(TokStream *s, const uint8_t *p, size_t n, Out *out) {
  Out *to = s->t->head->flags & TOK_CLEAN_UP ? &s->held : out;
  size_t i = 0;
  /* Finish what waits, a byte at a time, until it is whole or known to be broken. */
  while (s->ntail && i < n) {
    s->tail[s->ntail++] = p[i++];
    size_t len = put_part(s->tail, s->ntail, to);
    if (!len) continue;
    if (len < s->ntail) i--; /* the new byte is no part of it */
    s->ntail = 0;
  }
  while (i < n) {
    size_t ascii = i;
    while (ascii < n && p[ascii] < 0x80) ascii++;
    out_put(to, (const char *)p + i, ascii - i);
    i = ascii;
    size_t len = i < n ? put_part(p + i, n - i, to) : 0;
    if (!len) break;
    i += len;
  }
  if (i == n) return;
  memcpy(s->tail, p + i, n - i);
  s->ntail = (unsigned)(n - i);
}

/* A token of WordPiece, with the space before it unless it continues a word. */
static int put_word(TokStream *s, const uint8_t *p, size_t n, Out *out) {
  const TokBlob *h = s->t->head;
  size_t skip = h->prefix.size;
  Out text = {0};
  if (s->any && n >= skip && memcmp(p, tok_at(s->t, h->prefix), skip) == 0) {
    p += skip;
    n -= skip;
  } else if (s->any) {
    out_puts(&text, " ");
  }
  out_put(&text, (const char *)p, n);
  int err = text.failed ? TEXT_NO_MEMORY : TEXT_OK;
  if (!err && h->flags & TOK_CLEAN_TOKENS) tidy(&text);
  if (!err) put_bytes(s, (const uint8_t *)text.data, text.size, out);
  out_free(&text);
  s->any = true;
  return err;
}

/* The byte that a token like <0x41> stands for, or -1. */
static int byte_token(const uint8_t *p, uint32_t n) {
  int byte = 0;
  if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>') return -1;
  for (int i = 3; i < 5; i++) {
    int c = p[i], digit = c >= '0' && c <= '9' ? c - '0'
                          : (c | 32) >= 'a'    ? (c | 32) - 'a' + 10
                                               : 99;
    if (digit > 15) return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

/* A whole text of characters, without what the decoder drops where the text begins. */
static void put_text(TokStream *s, const uint8_t *p, size_t n, Out *out) {
  TokSpan lead = s->t->head->lead;
  if (n && !s->begun && lead.size && n >= lead.size &&
      memcmp(p, tok_at(s->t, lead), lead.size) == 0) {
    p += lead.size;
    n -= lead.size;
    s->begun = true;
  }
  if (n) s->begun = true;
  put_bytes(s, p, n, out);
}

/* A run of byte tokens is text if it is valid as a whole; else each byte is replaced. */
static void end_run(TokStream *s, Out *out) {
  const uint8_t *p = (const uint8_t *)s->run.data;
  if (s->run.size == 0) return;
  if (tok_utf8_valid(p, s->run.size))
    put_text(s, p, s->run.size, out);
  else
    for (size_t i = 0; i < s->run.size; i++) put_text(s, (const uint8_t *)"\xef\xbf\xbd", 3, out);
  s->run.size = 0;
}

static int put_token(TokStream *s, uint32_t id, Out *out) {
  const TokBlob *h = s->t->head;
  uint32_t len;
  size_t n;
  if (id >= h->vocab || (s->skip_special && tok_is_special(s->t, id))) return TEXT_OK;
  const uint8_t *p = tok_bytes(s->t, id, &len);
  if (len == 0) return TEXT_OK;
  if (h->flags & TOK_WORDPIECE_DECODER) return put_word(s, p, len, out);
  if (h->flags & TOK_JOIN_SPACES && s->any) put_bytes(s, (const uint8_t *)" ", 1, out);
  bool first = !s->any;
  s->any = true;
  int byte = h->flags & TOK_BYTE_FALLBACK ? byte_token(p, len) : -1;
  if (byte >= 0) {
    char b = (char)byte;
    out_put(&s->run, &b, 1);
    return TEXT_OK;
  }
  end_run(s, out);
  s->work.t = s->t;
  int err = tok_normalize(&s->work, first ? h->decoder_first : h->decoder, p, len, &p, &n);
  if (!err) put_text(s, p, n, out);
  return err;
}

static void end_text(TokStream *s, Out *out) {
  end_run(s, out);
  if (s->ntail) out_puts(s->t->head->flags & TOK_CLEAN_UP ? &s->held : out, "\xef\xbf\xbd");
  s->ntail = 0;
  if (s->t->head->flags & TOK_CLEAN_UP) give(s, true, out);
  s->any = s->begun = false;
}

static void free_parts(TokStream *s) {
  out_free(&s->held);
  out_free(&s->run);
  tok_work_free(&s->work);
}

static int status(const TokStream *s, const Out *out) {
  return out->failed || s->held.failed || s->run.failed ? TEXT_NO_MEMORY : TEXT_OK;
}

/* ---- interface ----------------------------------------------------------------------------- */

TokStream *tok_stream_new(const Tokenizer *t, bool skip_special) {
  TokStream *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->t = t;
  s->skip_special = skip_special;
  return s;
}

void tok_stream_free(TokStream *s) {
  if (!s) return;
  free_parts(s);
  free(s);
}

int tok_stream_put(TokStream *s, uint32_t id, Out *out) {
  int err = put_token(s, id, out);
  if (s->t->head->flags & TOK_CLEAN_UP) give(s, false, out);
  return err ? err : status(s, out);
}

int tok_stream_end(TokStream *s, Out *out) {
  end_text(s, out);
  return status(s, out);
}

int tok_decode(const Tokenizer *t, const uint32_t *ids, size_t n, bool skip_special, Out *out) {
  TokStream s = {.t = t, .skip_special = skip_special};
  int err = TEXT_OK;
  for (size_t i = 0; i < n && !err; i++) err = put_token(&s, ids[i], out);
  end_text(&s, out);
  if (!err) err = status(&s, out);
  free_parts(&s);
  return err;
}
