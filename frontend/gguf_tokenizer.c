/* tokenizer.ggml.* of a GGUF to TokenizerSpec, chat template and tokens that end a generation.
 *
 * Kinds: gpt2 (byte-level BPE), llama and gemma4 (SentencePiece BPE), bert (WordPiece), t5
 * (Unigram). GGUF loses facts: flags of added tokens (here: never stripped, matched before
 * normalising), normalizer and pattern (gguf_pre.c), "##" of WordPiece (pieces of word starts carry
 * U+2581 instead). Texts of tokens are views into the mapped file.
 */
#include "frontend/gguf.h"
#include "frontend/gguf_pre.h"
#include "frontend/tok_steps.h"

#include <string.h>

#define KEY "tokenizer.ggml."
#define LOWER_BLOCK "\xe2\x96\x81" /* U+2581 */

enum { MAX_TOKENS = 1 << 22 };
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

static Status fail(const Gguf *g, const char *what) {
  return diag_error(g->r->d, g->f->path, "%s", what);
}

static TokenizerSpec *spec(const Gguf *g) {
  return &g->r->m->tokenizer;
}

/* ---- vocabulary ---- */

static Status read_tokens(const Gguf *g) {
  const GgufValue *v;
  TokenizerSpec *t = spec(g);
  TRY(gguf_array(g, KEY "tokens", GGUF_STRING, &v));
  if (!v || v->count == 0 || v->count > MAX_TOKENS)
    return diag_error(g->r->d, g->f->path, "key " KEY "tokens: has %llu tokens (expected 1 to %d)",
                      v ? (unsigned long long)v->count : 0ull, MAX_TOKENS);
  t->nvocab = (uint32_t)v->count;
  t->vocab = ARENA_ARRAY(g->r->m->arena, TextBytes, v->count);
  const uint8_t *p = v->data;
  for (uint32_t i = 0; i < t->nvocab; i++) {
    t->vocab[i] = gguf_next_string(g, &p);
    if (!utf8_valid(t->vocab[i].data, t->vocab[i].size))
      return diag_error(g->r->d, g->f->path, "key " KEY "tokens: token %u (\"%s\") is not UTF-8", i,
                        text_excerpt(g->r->m->arena, t->vocab[i].data, t->vocab[i].size));
  }
  return OK;
}

static Status read_scores(const Gguf *g) {
  const GgufValue *v;
  TokenizerSpec *t = spec(g);
  TRY(gguf_array(g, KEY "scores", GGUF_F32, &v));
  if (!v || v->count != t->nvocab)
    return fail(g, "key " KEY "scores: there is not one score for each token");
  t->scores = ARENA_ARRAY(g->r->m->arena, float, v->count);
  for (uint32_t i = 0; i < t->nvocab; i++)
    t->scores[i] = (float)gguf_read_float(GGUF_F32, v->data + 4 * (size_t)i);
  return OK;
}

static Status read_merges(const Gguf *g) {
  const GgufValue *v;
  TokenizerSpec *t = spec(g);
  TRY(gguf_array(g, KEY "merges", GGUF_STRING, &v));
  if (!v || v->count > UINT32_MAX) return fail(g, "key " KEY "merges: is missing or too long");
  t->nmerges = (uint32_t)v->count;
  t->merges = arena_alloc_array(g->r->m->arena, t->nmerges, sizeof *t->merges);
  const uint8_t *p = v->data;
  for (uint32_t i = 0; i < t->nmerges; i++) {
    TextBytes m = gguf_next_string(g, &p);
    const char *space = m.size > 1 ? memchr(m.data + 1, ' ', m.size - 1) : NULL;
    if (!space || !utf8_valid(m.data, m.size))
      return diag_error(g->r->d, g->f->path, "key " KEY "merges: merge %u (\"%s\") is not \"a b\"",
                        i, text_excerpt(g->r->m->arena, m.data, m.size));
    uint32_t left = (uint32_t)(space - m.data);
    t->merges[i].left = (TextBytes){m.data, left};
    t->merges[i].right = (TextBytes){space + 1, m.size - left - 1};
  }
  return OK;
}

/* Control tokens are special; user-defined ones are added but are text. */
static Status read_added(const Gguf *g) {
  const GgufValue *v;
  TokenizerSpec *t = spec(g);
  TRY(gguf_array(g, KEY "token_type", GGUF_I32, &v));
  if (!v) return OK;
  if (v->count != t->nvocab)
    return diag_error(g->r->d, g->f->path,
                      "key " KEY "token_type: has %llu entries (expected %u, "
                      "one for each token)",
                      (unsigned long long)v->count, t->nvocab);
  t->added = ARENA_ARRAY(g->r->m->arena, AddedToken, v->count);
  for (uint32_t i = 0; i < t->nvocab; i++) {
    int64_t type = gguf_read_int(GGUF_I32, v->data + 4 * (size_t)i);
    if (t->vocab[i].size == 0 || (type != TYPE_CONTROL && type != TYPE_USER)) continue;
    t->added[t->nadded++] =
        (AddedToken){.id = i, .text = t->vocab[i], .special = type == TYPE_CONTROL};
  }
  return OK;
}

static Status read_id(const Gguf *g, const char *key, int64_t *out) {
  TRY(gguf_i64(g, key, -1, out));
  if (*out >= spec(g)->nvocab || *out < -1)
    return diag_error(g->r->d, g->f->path, "key %s: is %lld (expected a token id below %u)", key,
                      (long long)*out, spec(g)->nvocab);
  return OK;
}

/* ---- kinds ---- */

static Status read_bpe(const Gguf *g) {
  TokenizerSpec *t = spec(g);
  const char *pre;
  PreTokenizer p;
  t->model = TOK_BPE;
  t->byte_level = true;
  TRY(gguf_string(g, KEY "pre", &pre));
  TRY(gguf_pre_apply(g->r, g->f->path, pre, &p));
  TRY(read_merges(g));
  TRY(gguf_bool(g, KEY "add_bos_token", p.add_bos, &t->add_bos));
  return gguf_bool(g, KEY "add_eos_token", false, &t->add_eos);
}

static bool is_spaces(TextBytes t) {
  for (uint32_t i = 0; i < t.size; i++) {
    if (t.data[i] != ' ') return false;
  }
  return t.size > 0;
}

/* User-defined tokens have lost the lower blocks that stand for spaces; those of spaces alone get
 * them back. */
static void restore_spaces(const Gguf *g) {
  TokenizerSpec *t = spec(g);
  for (uint32_t i = 0; i < t->nadded; i++) {
    TextBytes *v = &t->vocab[t->added[i].id];
    if (t->added[i].special || !is_spaces(*v)) continue;
    Buf b = {0};
    for (uint32_t k = 0; k < v->size; k++) buf_puts(&b, LOWER_BLOCK);
    *v = t->added[i].text =
        (TextBytes){arena_strndup(g->r->m->arena, b.data, b.size), (uint32_t)b.size};
    buf_free(&b);
  }
}

/* Control and user-defined tokens have the score 0 in SentencePiece, so that they merge first; a
 * GGUF says -1000. */
static void restore_scores(const Gguf *g) {
  TokenizerSpec *t = spec(g);
  for (uint32_t i = 0; i < t->nadded; i++) t->scores[t->added[i].id] = 0;
}

/* SentencePiece BPE has scores in place of merges; Gemma 4 has the merges. */
static Status read_sentencepiece(const Gguf *g, bool merges) {
  TokenizerSpec *t = spec(g);
  Arena *a = g->r->m->arena;
  StepList l = {0};
  bool prefix;
  t->model = TOK_BPE;
  t->byte_fallback = t->fuse_unk = true;
  TRY(merges ? read_merges(g) : read_scores(g));
  restore_spaces(g);
  if (!merges) restore_scores(g);
  TRY(gguf_bool(g, KEY "add_space_prefix", !merges, &prefix));
  TRY(gguf_bool(g, KEY "add_bos_token", true, &t->add_bos));
  TRY(gguf_bool(g, KEY "add_eos_token", false, &t->add_eos));
  if (prefix) step_add(&l, STEP_PREPEND)->content = text_bytes(LOWER_BLOCK);
  step_replace(&l, " ", LOWER_BLOCK);
  steps_keep(a, &l, &t->normalizer, &t->nnormalizer);
  step_replace(&l, LOWER_BLOCK, " ");
  if (prefix) {
    TextStep *s = step_add(&l, STEP_STRIP);
    s->content = text_bytes(" ");
    s->trim_left = true;
  }
  steps_keep(a, &l, &t->decoder, &t->ndecoder);
  return OK;
}

/* Word starts carry U+2581 in a GGUF; the others get "##" back. Tokens in brackets stay. */
static void restore_wordpieces(const Gguf *g) {
  TokenizerSpec *t = spec(g);
  for (uint32_t i = 0; i < t->nvocab; i++) {
    TextBytes *v = &t->vocab[i];
    if (v->size > 3 && memcmp(v->data, LOWER_BLOCK, 3) == 0) {
      v->data += 3;
      v->size -= 3;
    } else if (v->size && v->data[0] != '[') {
      v->data = arena_printf(g->r->m->arena, "##%.*s", (int)v->size, v->data);
      v->size += 2;
    }
  }
}

static void cls_sep_template(TokenizerSpec *t, Arena *a, int64_t cls, int64_t sep) {
  if (cls < 0 || sep < 0) return;
  const TemplatePiece p[5] = {
      {2, (uint32_t)cls, 0}, {0, 0, 0}, {2, (uint32_t)sep, 0}, {1, 0, 1}, {2, (uint32_t)sep, 1}};
  t->pair = ARENA_ARRAY(a, TemplatePiece, 5);
  memcpy(t->pair, p, sizeof p);
  t->npair = 5;
  t->single = t->pair;
  t->nsingle = 3;
}

static Status read_wordpiece(const Gguf *g) {
  TokenizerSpec *t = spec(g);
  StepList l = {0};
  int64_t cls, sep;
  t->model = TOK_WORDPIECE;
  t->continuing_prefix = text_bytes("##");
  t->max_word_chars = 100;
  TRY(read_id(g, KEY "cls_token_id", &cls));
  TRY(read_id(g, KEY "seperator_token_id", &sep)); /* so spelled in the format */
  if (cls < 0) TRY(read_id(g, KEY "bos_token_id", &cls));
  if (sep < 0) TRY(read_id(g, KEY "eos_token_id", &sep));
  restore_wordpieces(g);
  TextStep *s = step_add(&l, STEP_BERT_NORMALIZE);
  s->clean_text = s->chinese = s->lowercase = s->accents = s->accents_default = true;
  steps_keep(g->r->m->arena, &l, &t->normalizer, &t->nnormalizer);
  step_add(&l, STEP_BERT_PRE);
  steps_keep(g->r->m->arena, &l, &t->pretokenizer, &t->npretokenizer);
  cls_sep_template(t, g->r->m->arena, cls, sep);
  return OK;
}

static Status read_unigram(const Gguf *g) {
  TokenizerSpec *t = spec(g);
  StepList l = {0};
  bool prefix;
  const GgufValue *map = gguf_find(g, KEY "precompiled_charsmap");
  t->model = TOK_UNIGRAM;
  TRY(read_scores(g));
  TRY(gguf_bool(g, KEY "add_space_prefix", true, &prefix));
  TRY(gguf_bool(g, KEY "add_bos_token", false, &t->add_bos));
  TRY(gguf_bool(g, KEY "add_eos_token", true, &t->add_eos));
  if (map && map->type == GGUF_ARRAY && gguf_type_size(map->element) == 1)
    step_add(&l, STEP_PRECOMPILED)->content =
        (TextBytes){(const char *)map->data, (uint32_t)map->count};
  steps_keep(g->r->m->arena, &l, &t->normalizer, &t->nnormalizer);
  TextStep *s = step_add(&l, STEP_METASPACE);
  s->content = text_bytes(LOWER_BLOCK);
  s->prepend_scheme = prefix ? 0 : 2;
  s->split = true;
  steps_keep(g->r->m->arena, &l, &t->pretokenizer, &t->npretokenizer);
  s = step_add(&l, STEP_METASPACE);
  s->content = text_bytes(LOWER_BLOCK);
  steps_keep(g->r->m->arena, &l, &t->decoder, &t->ndecoder);
  return OK;
}

/* ---- what ends a generation; the chat template ---- */

static void add_eos(const Gguf *g, int64_t id) {
  GenerationDefaults *d = &g->r->m->generation;
  for (uint32_t i = 0; i < d->neos; i++) {
    if (d->eos_ids[i] == id) return;
  }
  if (id >= 0) d->eos_ids[d->neos++] = id;
}

/* GGUF has one eos and sometimes an eot; chat models also end by tokens known by their text. */
static Status read_ends(const Gguf *g) {
  static const char *const ends[] = {"<|eot_id|>",      "<|im_end|>",    "<|end|>",
                                     "<end_of_turn>",   "<|endoftext|>", "<|eom_id|>",
                                     "<|end_of_text|>", "<|return|>",    "<EOT>"};
  TokenizerSpec *t = spec(g);
  int64_t eot;
  TRY(read_id(g, KEY "eot_token_id", &eot));
  g->r->m->generation.eos_ids = ARENA_ARRAY(g->r->m->arena, int64_t, COUNT(ends) + t->nadded + 2);
  add_eos(g, t->eos_id);
  add_eos(g, eot);
  for (uint32_t i = 0; i < t->nadded; i++) {
    const AddedToken *a = &t->added[i];
    for (size_t k = 0; k < COUNT(ends); k++) {
      if (strlen(ends[k]) == a->text.size && memcmp(ends[k], a->text.data, a->text.size) == 0)
        add_eos(g, a->id);
    }
  }
  g->r->m->generation.bos_id = t->bos_id;
  return OK;
}

static const char *token_string(const Gguf *g, int64_t id) {
  TokenizerSpec *t = spec(g);
  if (id < 0) return NULL;
  return arena_strndup(g->r->m->arena, t->vocab[id].data, t->vocab[id].size);
}

static Status read_chat(const Gguf *g) {
  ChatTemplateSpec *c = &g->r->m->chat;
  TokenizerSpec *t = spec(g);
  TRY(gguf_string(g, "tokenizer.chat_template", &c->source));
  c->where = arena_printf(g->r->m->arena, "%s (tokenizer.chat_template)", g->f->path);
  c->bos_token = token_string(g, t->bos_id);
  c->eos_token = token_string(g, t->eos_id);
  c->pad_token = token_string(g, t->pad_id);
  c->unk_token = token_string(g, t->unk_id);
  return OK;
}

static Status read_kind(const Gguf *g, const char *model) {
  if (strcmp(model, "gpt2") == 0) return read_bpe(g);
  if (strcmp(model, "llama") == 0) return read_sentencepiece(g, false);
  if (strcmp(model, "gemma4") == 0) return read_sentencepiece(g, true);
  if (strcmp(model, "bert") == 0) return read_wordpiece(g);
  if (strcmp(model, "t5") == 0) return read_unigram(g);
  return diag_error(g->r->d, g->f->path,
                    "key " KEY "model: is \"%s\" (expected gpt2, llama, gemma4, bert or t5)",
                    model);
}

Status gguf_text_read(const Gguf *g) {
  TokenizerSpec *t = spec(g);
  const char *model;
  TRY(gguf_string(g, KEY "model", &model));
  if (!model || strcmp(model, "none") == 0) return OK; /* TOK_NONE */
  t->source = g->f->path;
  TRY(read_tokens(g));
  TRY(read_added(g));
  TRY(read_id(g, KEY "bos_token_id", &t->bos_id));
  TRY(read_id(g, KEY "eos_token_id", &t->eos_id));
  TRY(read_id(g, KEY "padding_token_id", &t->pad_id));
  TRY(read_id(g, KEY "unknown_token_id", &t->unk_id));
  TRY(read_kind(g, model));
  if (t->model == TOK_BPE && t->byte_level) t->unk_id = -1; /* byte-level models know every text */
  TRY(read_ends(g));
  return read_chat(g);
}
