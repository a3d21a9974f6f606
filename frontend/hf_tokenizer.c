/* tokenizer.json with tokenizer_config.json, to TokenizerSpec: model, vocabulary, added tokens.
 *
 * The reference is Transformers' fast class: flags of added_tokens_decoder in tokenizer_config.json
 * override those of tokenizer.json, and some classes (Llama, Gemma, Cohere ..) replace the
 * post-processor by add_bos_token and add_eos_token. The pipeline is read in hf_steps.c.
 */
#include "frontend/tok_steps.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_TOKENIZER = 96 << 20,
  MAX_TOKENIZER_CONFIG = 32 << 20,
  MAX_ID = 1 << 22,
  MAX_ADDED = 1 << 16, /* they are compared pair by pair */
  SPARE_IDS = 1 << 16  /* ids may leave so many holes beyond twice the number of tokens */
};

typedef struct Tok {
  Reader *r;
  Arena *arena;
  TokenizerSpec *t;
  const char *where;
  json_t *model;
  uint32_t cadded;
  bool add_prefix_space; /* of tokenizer_config.json */
  AddedToken *added;     /* heap while growing */
} Tok;

static Status fail(const Tok *k, const char *what) {
  return diag_error(k->r->d, k->where, "%s", what);
}

static const char *shown(const Tok *k, TextBytes t) {
  return text_excerpt(k->arena, t.data, t.size);
}

static TextBytes copy(const Tok *k, const char *s, size_t n) {
  return (TextBytes){arena_strndup(k->arena, s, n), (uint32_t)n};
}

static TextBytes member_text(const Tok *k, const char *key) {
  const json_t *v = json_object_get(k->model, key);
  return json_is_string(v) ? copy(k, json_string_value(v), json_string_length(v))
                           : (TextBytes){"", 0};
}

static bool member_flag(const json_t *o, const char *key) {
  return json_is_true(json_object_get(o, key));
}

/* ---- vocabulary ---- */

static Status put_token(Tok *k, TextBytes text, int64_t id) {
  if (id < 0 || id >= k->t->nvocab)
    return diag_error(k->r->d, k->where, "token \"%s\" has id %lld (expected 0 to %u)",
                      shown(k, text), (long long)id, k->t->nvocab - 1);
  TextBytes *slot = &k->t->vocab[id];
  if (slot->data)
    return diag_error(k->r->d, k->where, "id %lld stands for two tokens, \"%s\" and \"%s\"",
                      (long long)id, shown(k, *slot), shown(k, text));
  *slot = text;
  return OK;
}

/* {"piece": id, ..} */
static Status read_vocab_map(Tok *k, const json_t *vocab) {
  const char *piece;
  size_t n;
  json_t *id;
  int64_t last = -1;
  json_object_keylen_foreach((json_t *)(uintptr_t)vocab, piece, n, id) {
    if (!json_is_integer(id)) return fail(k, "the vocabulary maps a token to no id");
    if (json_integer_value(id) > last) last = json_integer_value(id);
  }
  if (last >= MAX_ID || last >= 2 * (int64_t)json_object_size(vocab) + SPARE_IDS)
    return diag_error(k->r->d, k->where, "the vocabulary of %zu tokens has the id %lld",
                      json_object_size(vocab), (long long)last);
  k->t->nvocab = (uint32_t)(last + 1);
  k->t->vocab = ARENA_ARRAY(k->arena, TextBytes, k->t->nvocab);
  json_object_keylen_foreach((json_t *)(uintptr_t)vocab, piece, n, id) {
    TRY(put_token(k, copy(k, piece, n), json_integer_value(id)));
  }
  return OK;
}

/* [["piece", score], ..] */
static Status read_vocab_scores(Tok *k, const json_t *vocab) {
  size_t n = json_array_size(vocab);
  if (n > MAX_ID) return fail(k, "the vocabulary is too large");
  k->t->nvocab = (uint32_t)n;
  k->t->vocab = ARENA_ARRAY(k->arena, TextBytes, n);
  k->t->scores = ARENA_ARRAY(k->arena, float, n);
  for (size_t i = 0; i < n; i++) {
    const json_t *pair = json_array_get(vocab, i), *text = json_array_get(pair, 0);
    if (!json_is_string(text) || !json_is_number(json_array_get(pair, 1)))
      return fail(k, "an entry of the vocabulary is not [piece, score]");
    k->t->vocab[i] = copy(k, json_string_value(text), json_string_length(text));
    k->t->scores[i] = (float)json_number_value(json_array_get(pair, 1));
  }
  return OK;
}

static Status read_unk(Tok *k) {
  const json_t *unk = json_object_get(k->model, "unk_token");
  if (!json_is_string(unk)) return OK;
  const json_t *id = json_object_get(json_object_get(k->model, "vocab"), json_string_value(unk));
  if (!id)
    return diag_error(k->r->d, k->where, "the unk_token \"%s\" is not in the vocabulary",
                      json_string_value(unk));
  k->t->unk_id = json_integer_value(id);
  return OK;
}

/* "a b" or ["a", "b"]. */
static Status read_merge(Tok *k, const json_t *m, uint32_t rank) {
  const char *s = json_string_value(m);
  size_t n = json_string_length(m);
  const char *space = s ? memchr(s, ' ', n) : NULL;
  const json_t *a = json_array_get(m, 0), *b = json_array_get(m, 1);
  if (space && !memchr(space + 1, ' ', n - (size_t)(space + 1 - s))) {
    k->t->merges[rank].left = copy(k, s, (size_t)(space - s));
    k->t->merges[rank].right = copy(k, space + 1, n - (size_t)(space + 1 - s));
    return OK;
  }
  if (json_array_size(m) != 2 || !json_is_string(a) || !json_is_string(b))
    return diag_error(k->r->d, k->where, "merge %u is neither \"a b\" nor [\"a\", \"b\"]", rank);
  k->t->merges[rank].left = copy(k, json_string_value(a), json_string_length(a));
  k->t->merges[rank].right = copy(k, json_string_value(b), json_string_length(b));
  return OK;
}

static Status read_bpe(Tok *k) {
  TokenizerSpec *t = k->t;
  const json_t *vocab = json_object_get(k->model, "vocab");
  const json_t *merges = json_object_get(k->model, "merges");
  t->model = TOK_BPE;
  if (!json_is_object(vocab) || !json_is_array(merges))
    return fail(k, "the BPE model has no vocab object or no list of merges");
  const json_t *dropout = json_object_get(k->model, "dropout");
  if (json_number_value(dropout) != 0)
    return fail(k, "the BPE model has a dropout, which makes its result random");
  TRY(read_vocab_map(k, vocab));
  TRY(read_unk(k));
  t->nmerges = (uint32_t)json_array_size(merges);
  t->merges = arena_alloc_array(k->arena, t->nmerges, sizeof *t->merges);
  for (uint32_t i = 0; i < t->nmerges; i++) TRY(read_merge(k, json_array_get(merges, i), i));
  t->byte_fallback = member_flag(k->model, "byte_fallback");
  t->ignore_merges = member_flag(k->model, "ignore_merges");
  t->fuse_unk = member_flag(k->model, "fuse_unk");
  t->continuing_prefix = member_text(k, "continuing_subword_prefix");
  t->end_of_word_suffix = member_text(k, "end_of_word_suffix");
  return OK;
}

static Status read_unigram(Tok *k) {
  k->t->model = TOK_UNIGRAM;
  const json_t *unk = json_object_get(k->model, "unk_id");
  if (json_is_integer(unk)) k->t->unk_id = json_integer_value(unk);
  k->t->byte_fallback = member_flag(k->model, "byte_fallback");
  TRY(read_vocab_scores(k, json_object_get(k->model, "vocab")));
  if (k->t->unk_id >= k->t->nvocab) return fail(k, "unk_id is not in the vocabulary");
  return OK;
}

static Status read_wordpiece(Tok *k) {
  k->t->model = TOK_WORDPIECE;
  const json_t *longest = json_object_get(k->model, "max_input_chars_per_word");
  int64_t n = json_is_integer(longest) ? json_integer_value(longest) : 100;
  k->t->max_word_chars = n < 0 || n > INT32_MAX ? 100 : (uint32_t)n;
  k->t->continuing_prefix = member_text(k, "continuing_subword_prefix");
  TRY(read_vocab_map(k, json_object_get(k->model, "vocab")));
  return read_unk(k);
}

/* Old files do not say the model's type. */
static Status read_model(Tok *k) {
  const char *type = json_string_value(json_object_get(k->model, "type"));
  if (!json_is_object(k->model)) return fail(k, "has no model");
  if (!type)
    type = json_object_get(k->model, "merges")                      ? "BPE"
           : json_is_array(json_object_get(k->model, "vocab"))      ? "Unigram"
           : json_object_get(k->model, "continuing_subword_prefix") ? "WordPiece"
                                                                    : "?";
  if (strcmp(type, "BPE") == 0) return read_bpe(k);
  if (strcmp(type, "Unigram") == 0) return read_unigram(k);
  if (strcmp(type, "WordPiece") == 0) return read_wordpiece(k);
  return diag_error(k->r->d, k->where,
                    "has a model of type \"%s\" (expected BPE, Unigram or WordPiece)", type);
}

/* ---- added tokens ---- */

/* A token that is there already gets the new flags. */
static Status add_token(Tok *k, const json_t *o, int64_t id) {
  const json_t *text = json_object_get(o, "content");
  if (!json_is_string(text) || json_string_length(text) == 0 || id < 0 || id >= MAX_ID)
    return fail(k, "an added token has no content or an id that is none");
  AddedToken a = {.id = (uint32_t)id,
                  .text = copy(k, json_string_value(text), json_string_length(text)),
                  .special = member_flag(o, "special"),
                  .normalized = member_flag(o, "normalized"),
                  .lstrip = member_flag(o, "lstrip"),
                  .rstrip = member_flag(o, "rstrip"),
                  .single_word = member_flag(o, "single_word")};
  for (uint32_t i = 0; i < k->t->nadded; i++) {
    AddedToken *b = &k->added[i];
    if (b->text.size != a.text.size || memcmp(b->text.data, a.text.data, a.text.size) != 0)
      continue;
    a.id = b->id;
    *b = a;
    return OK;
  }
  if (k->t->nadded == MAX_ADDED) return fail(k, "has more than 65536 added tokens");
  *VEC_PUSH(k->added, k->t->nadded, k->cadded) = a;
  return OK;
}

static Status read_added(Tok *k, const json_t *list) {
  size_t i;
  json_t *o;
  json_array_foreach(list, i, o) {
    const json_t *id = json_object_get(o, "id");
    TRY(add_token(k, o, json_is_integer(id) ? json_integer_value(id) : -1));
  }
  return OK;
}

static Status read_added_decoder(Tok *k, json_t *map) {
  const char *key;
  json_t *o;
  json_object_foreach(map, key, o) {
    char *end;
    long long id = strtoll(key, &end, 10);
    TRY(add_token(k, o, *key && !*end ? id : -1));
  }
  return OK;
}

/* ---- tokenizer_config.json ---- */

static int64_t find_id(const Tok *k, const char *text) {
  size_t n = text ? strlen(text) : 0;
  if (!n) return -1;
  for (uint32_t i = 0; i < k->t->nadded; i++) {
    const AddedToken *a = &k->added[i];
    if (a->text.size == n && memcmp(a->text.data, text, n) == 0) return a->id;
  }
  for (uint32_t i = 0; i < k->t->nvocab; i++) {
    TextBytes t = k->t->vocab[i];
    if (t.size == n && memcmp(t.data, text, n) == 0) return i;
  }
  return -1;
}

static bool flag_or(const json_t *o, const char *key, bool absent) {
  const json_t *v = json_object_get(o, key);
  return json_is_boolean(v) ? json_is_true(v) : absent;
}

/* BertTokenizer and its kin give the normalizer of the file their own settings. */
static void set_bert_normalizer(Tok *k, const json_t *config, const char *name) {
  static const char *const classes[] = {
      "BertTokenizer",       "DistilBertTokenizer", "ElectraTokenizer",
      "MobileBertTokenizer", "ConvBertTokenizer",   "FunnelTokenizer",
      "LayoutLMTokenizer",   "LxmertTokenizer",     "SqueezeBertTokenizer"};
  size_t n = name ? strlen(name) : 0;
  if (n > 4 && strcmp(name + n - 4, "Fast") == 0) n -= 4;
  bool one = k->t->nnormalizer == 1 && k->t->normalizer[0].kind == STEP_BERT_NORMALIZE;
  for (size_t i = 0; one && n && i < COUNT(classes); i++) {
    if (strlen(classes[i]) != n || memcmp(classes[i], name, n) != 0) continue;
    TextStep *s = &k->t->normalizer[0];
    const json_t *accents = json_object_get(config, "strip_accents");
    s->lowercase = flag_or(config, "do_lower_case", true);
    s->chinese = flag_or(config, "tokenize_chinese_chars", true);
    s->accents = json_is_boolean(accents) ? json_is_true(accents) : s->lowercase;
  }
}

static int64_t config_id(const Tok *k, const json_t *config, const char *key, const char *absent) {
  const json_t *v = json_object_get(config, key);
  if (!v) return find_id(k, absent);
  if (json_is_object(v)) v = json_object_get(v, "content");
  return find_id(k, json_string_value(v));
}

/* The class that Transformers would take: the named one, else that of the model's type. */
static const char *class_name(const Tok *k, const json_t *config) {
  const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
  const char *arch = k->r->m->arch;
  if (name || !arch) return name;
  return strcmp(arch, "llama") == 0  ? "LlamaTokenizer"
         : strcmp(arch, "bert") == 0 ? "BertTokenizer"
                                     : NULL;
}

/* The fast classes that set the post-processor anew; their defaults of add_bos_token differ. */
static bool sets_post_processor(const char *name, bool *add_bos) {
  static const struct {
    const char *name;
    bool add_bos;
  } classes[] = {{"LlamaTokenizer", true},
                 {"CodeLlamaTokenizer", true},
                 {"GemmaTokenizer", true},
                 {"CohereTokenizer", true},
                 {"GPTNeoXTokenizer", false}};
  size_t n = name ? strlen(name) : 0;
  if (n > 4 && strcmp(name + n - 4, "Fast") == 0) n -= 4;
  for (size_t i = 0; n && i < COUNT(classes); i++) {
    if (strlen(classes[i].name) != n || memcmp(classes[i].name, name, n) != 0) continue;
    *add_bos = classes[i].add_bos;
    return true;
  }
  return false;
}

/* bos A eos, and for pairs bos A eos bos B eos. */
static void make_template(Tok *k, bool bos, bool eos) {
  TokenizerSpec *t = k->t;
  TemplatePiece p[6];
  uint32_t n = 0;
  bos = bos && t->bos_id >= 0;
  eos = eos && t->eos_id >= 0;
  for (int i = 0; i < 2; i++) {
    if (bos) p[n++] = (TemplatePiece){2, (uint32_t)t->bos_id, (uint32_t)i};
    p[n++] = (TemplatePiece){i, 0, (uint32_t)i};
    if (eos) p[n++] = (TemplatePiece){2, (uint32_t)t->eos_id, (uint32_t)i};
  }
  t->npair = n;
  t->nsingle = n / 2;
  t->pair = ARENA_ARRAY(k->arena, TemplatePiece, n);
  memcpy(t->pair, p, n * sizeof *p);
  t->single = t->pair; /* its first half */
}

static Status read_config(Tok *k, const char *dir) {
  const char *path = reader_path(k->r, dir, "tokenizer_config.json");
  if (!file_exists(path)) return OK;
  json_t *o; /* its model_max_length may be 10^30, which only a real can hold */
  TRY(json_file(k->r, path, MAX_TOKENIZER_CONFIG, JSON_DECODE_INT_AS_REAL, &o));
  Status s = read_added_decoder(k, json_object_get(o, "added_tokens_decoder"));
  TokenizerSpec *t = k->t;
  if (s == OK) {
    bool add_bos = false;
    const char *name = class_name(k, o);
    bool llama = name && strncmp(name, "LlamaTokenizer", 14) == 0; /* has default tokens */
    t->bos_id = config_id(k, o, "bos_token", llama ? "<s>" : NULL);
    t->eos_id = config_id(k, o, "eos_token", llama ? "</s>" : NULL);
    t->pad_id = config_id(k, o, "pad_token", NULL);
    t->clean_up_spaces |= member_flag(o, "clean_up_tokenization_spaces");
    k->add_prefix_space = member_flag(o, "add_prefix_space");
    set_bert_normalizer(k, o, name);
    if (sets_post_processor(name, &add_bos))
      make_template(k, flag_or(o, "add_bos_token", add_bos), member_flag(o, "add_eos_token"));
  }
  json_decref(o);
  return s;
}

static Status read_all(Tok *k, json_t *root, const char *dir) {
  k->model = json_object_get(root, "model");
  TRY(read_model(k));
  TRY(hf_steps_read(k->r, k->where, root));
  TRY(read_added(k, json_object_get(root, "added_tokens")));
  TRY(read_config(k, dir));
  /* The fast class gives a ByteLevel that stands alone (not in a Sequence) its own setting. */
  const json_t *pre = json_object_get(root, "pre_tokenizer");
  const char *type = json_string_value(json_object_get(pre, "type"));
  if (type && strcmp(type, "ByteLevel") == 0 && k->t->npretokenizer == 1)
    k->t->pretokenizer[0].add_prefix_space = k->add_prefix_space;
  return OK;
}

Status hf_tokenizer_read(Reader *r, const char *dir) {
  const char *path = reader_path(r, dir, "tokenizer.json");
  if (!file_exists(path)) return OK; /* TOK_NONE: who needs a tokenizer says so */
  json_t *root;
  TRY(json_file(r, path, MAX_TOKENIZER, 0, &root));
  Tok k = {.r = r, .arena = r->m->arena, .t = &r->m->tokenizer, .where = path};
  k.t->source = path;
  Status s = read_all(&k, root, dir);
  k.t->added = ARENA_ARRAY(k.arena, AddedToken, k.t->nadded);
  if (k.t->nadded) memcpy(k.t->added, k.added, k.t->nadded * sizeof *k.added);
  mem_free(k.added);
  json_decref(root);
  return s;
}
