/* The pipeline of tokenizer.json: normalizer, pre-tokenizer, post-processor, decoder.
 *
 * Each is an object with a "type" or null; a Sequence nests more. Names and defaults are those of
 * the tokenizers library. What TokenizerSpec has no words for is an error that names it.
 */
#include "frontend/tok_steps.h"

#include <nettle/base64.h>
#include <string.h>

enum { MAX_NESTING = 16 };

typedef struct Pipeline {
  Reader *r;
  const char *where;
  const char *part; /* "normalizer" */
  StepList steps;
} Pipeline;

static Status fail(const Pipeline *p, const json_t *o, const char *what) {
  const char *type = json_string_value(json_object_get(o, "type"));
  return diag_error(p->r->d, p->where, "%s %s: %s", p->part, type ? type : "(without a type)",
                    what);
}

static bool flag(const json_t *o, const char *key, bool absent) {
  const json_t *v = json_object_get(o, key);
  return json_is_boolean(v) ? json_is_true(v) : absent;
}

static TextBytes copy_text(Pipeline *p, const json_t *v) {
  size_t n = json_string_length(v);
  return (TextBytes){arena_strndup(p->r->m->arena, json_string_value(v), n), (uint32_t)n};
}

/* A string member, or "" with an error. */
static Status need_text(Pipeline *p, const json_t *o, const char *key, TextBytes *out) {
  const json_t *v = json_object_get(o, key);
  *out = (TextBytes){"", 0};
  if (!json_is_string(v))
    return fail(p, o, arena_printf(p->r->m->arena, "has no string \"%s\"", key));
  *out = copy_text(p, v);
  return OK;
}

/* {"String": ..} is literal, {"Regex": ..} a regular expression. */
static Status read_pattern(Pipeline *p, const json_t *o, TextStep *s) {
  const json_t *pattern = json_object_get(o, "pattern");
  const json_t *literal = json_object_get(pattern, "String");
  const json_t *regex = json_object_get(pattern, "Regex");
  if (!json_is_string(literal) && !json_is_string(regex))
    return fail(p, o, "has no pattern (expected {\"String\": ..} or {\"Regex\": ..})");
  s->is_literal = json_is_string(literal);
  s->pattern = copy_text(p, s->is_literal ? literal : regex);
  return OK;
}

static Status read_behaviour(Pipeline *p, const json_t *o, SplitBehaviour absent,
                             SplitBehaviour *out) {
  static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                      "Contiguous"};
  const char *name = json_string_value(json_object_get(o, "behavior"));
  *out = absent;
  if (!name) return OK;
  for (size_t i = 0; i < COUNT(names); i++) {
    if (strcmp(names[i], name) != 0) continue;
    *out = (SplitBehaviour)i;
    return OK;
  }
  return fail(p, o, "has an unknown behavior");
}

/* ---- normalizers ---- */

static Status read_precompiled(Pipeline *p, const json_t *o) {
  TextBytes text;
  TRY(need_text(p, o, "precompiled_charsmap", &text));
  struct base64_decode_ctx c;
  size_t n = BASE64_DECODE_LENGTH(text.size);
  uint8_t *bytes = arena_alloc(p->r->m->arena, n + 1);
  base64_decode_init(&c);
  if (!base64_decode_update(&c, &n, bytes, text.size, text.data) || !base64_decode_final(&c))
    return fail(p, o, "precompiled_charsmap is not valid base64");
  step_add(&p->steps, STEP_PRECOMPILED)->content = (TextBytes){(const char *)bytes, (uint32_t)n};
  return OK;
}

static Status read_replace(Pipeline *p, const json_t *o) {
  TextStep *s = step_add(&p->steps, STEP_REPLACE);
  TRY(read_pattern(p, o, s));
  return need_text(p, o, "content", &s->content);
}

static Status read_bert(Pipeline *p, const json_t *o) {
  TextStep *s = step_add(&p->steps, STEP_BERT_NORMALIZE);
  const json_t *accents = json_object_get(o, "strip_accents");
  s->clean_text = flag(o, "clean_text", true);
  s->chinese = flag(o, "handle_chinese_chars", true);
  s->lowercase = flag(o, "lowercase", true);
  s->accents_default = !json_is_boolean(accents);
  s->accents = s->accents_default ? s->lowercase : json_is_true(accents);
  return OK;
}

static Status read_normalizer(Pipeline *p, const json_t *o, const char *type) {
  static const struct {
    const char *name;
    TextStepKind kind;
  } plain[] = {{"NFC", STEP_NFC},
               {"NFD", STEP_NFD},
               {"NFKC", STEP_NFKC},
               {"NFKD", STEP_NFKD},
               {"Lowercase", STEP_LOWERCASE},
               {"StripAccents", STEP_STRIP_ACCENTS}};
  for (size_t i = 0; i < COUNT(plain); i++) {
    if (strcmp(type, plain[i].name) != 0) continue;
    step_add(&p->steps, plain[i].kind);
    return OK;
  }
  if (strcmp(type, "Strip") == 0) {
    TextStep *s = step_add(&p->steps, STEP_STRIP);
    s->trim_left = flag(o, "strip_left", true);
    s->trim_right = flag(o, "strip_right", true);
    return OK;
  }
  if (strcmp(type, "Prepend") == 0)
    return need_text(p, o, "prepend", &step_add(&p->steps, STEP_PREPEND)->content);
  if (strcmp(type, "Replace") == 0) return read_replace(p, o);
  if (strcmp(type, "BertNormalizer") == 0) return read_bert(p, o);
  if (strcmp(type, "Precompiled") == 0) return read_precompiled(p, o);
  return fail(p, o, "is of a kind that ingot does not know");
}

/* ---- pre-tokenizers ---- */

static Status read_metaspace(Pipeline *p, const json_t *o) {
  static const char *const schemes[] = {"always", "first", "never"};
  TextStep *s = step_add(&p->steps, STEP_METASPACE);
  TRY(need_text(p, o, "replacement", &s->content));
  s->split = flag(o, "split", true);
  const char *scheme = json_string_value(json_object_get(o, "prepend_scheme"));
  if (!scheme) scheme = flag(o, "add_prefix_space", true) ? "always" : "never"; /* old files */
  for (int i = 0; i < 3; i++) {
    if (strcmp(schemes[i], scheme) != 0) continue;
    s->prepend_scheme = i;
    return OK;
  }
  return fail(p, o, "has an unknown prepend_scheme");
}

static Status read_split(Pipeline *p, const json_t *o) {
  TextStep *s = step_add(&p->steps, STEP_SPLIT);
  TRY(read_pattern(p, o, s));
  s->invert = flag(o, "invert", false);
  return read_behaviour(p, o, SPLIT_ISOLATED, &s->behaviour);
}

static Status read_pretokenizer(Pipeline *p, const json_t *o, const char *type) {
  static const struct {
    const char *name;
    TextStepKind kind;
  } plain[] = {{"Whitespace", STEP_WHITESPACE},
               {"WhitespaceSplit", STEP_WHITESPACE_SPLIT},
               {"BertPreTokenizer", STEP_BERT_PRE}};
  for (size_t i = 0; i < COUNT(plain); i++) {
    if (strcmp(type, plain[i].name) != 0) continue;
    step_add(&p->steps, plain[i].kind);
    return OK;
  }
  if (strcmp(type, "Split") == 0) return read_split(p, o);
  if (strcmp(type, "ByteLevel") == 0) {
    TextStep *s = step_add(&p->steps, STEP_BYTELEVEL);
    s->add_prefix_space = flag(o, "add_prefix_space", true);
    s->use_regex = flag(o, "use_regex", true);
    return OK;
  }
  if (strcmp(type, "Digits") == 0) {
    step_add(&p->steps, STEP_DIGITS)->individual = flag(o, "individual_digits", false);
    return OK;
  }
  if (strcmp(type, "Punctuation") == 0)
    return read_behaviour(p, o, SPLIT_ISOLATED, &step_add(&p->steps, STEP_PUNCTUATION)->behaviour);
  if (strcmp(type, "Metaspace") == 0) return read_metaspace(p, o);
  if (strcmp(type, "CharDelimiterSplit") == 0) {
    TextStep *s = step_add(&p->steps, STEP_SPLIT);
    s->is_literal = true;
    s->behaviour = SPLIT_REMOVED;
    return need_text(p, o, "delimiter", &s->pattern);
  }
  return fail(p, o, "is of a kind that ingot does not know");
}

/* ---- decoders ---- */

/* ByteFallback and Fuse follow from byte_fallback and from decoding the whole text; WordPiece and
 * BPEDecoder say what the model's prefix or suffix says already. */
static Status read_decoder(Pipeline *p, const json_t *o, const char *type) {
  TokenizerSpec *t = &p->r->m->tokenizer;
  if (strcmp(type, "ByteLevel") == 0) {
    step_add(&p->steps, STEP_BYTELEVEL);
    return OK;
  }
  if (strcmp(type, "Replace") == 0) return read_replace(p, o);
  if (strcmp(type, "Metaspace") == 0) return read_metaspace(p, o);
  if (strcmp(type, "Fuse") == 0) return OK;
  if (strcmp(type, "ByteFallback") == 0 && t->byte_fallback) return OK;
  if (strcmp(type, "BPEDecoder") == 0) {
    TextBytes suffix;
    TRY(need_text(p, o, "suffix", &suffix));
    if (suffix.size == t->end_of_word_suffix.size &&
        memcmp(suffix.data, t->end_of_word_suffix.data, suffix.size) == 0)
      return OK;
    return fail(p, o, "has another suffix than the model");
  }
  if (strcmp(type, "WordPiece") == 0) {
    TextBytes prefix;
    TRY(need_text(p, o, "prefix", &prefix));
    if (prefix.size != t->continuing_prefix.size ||
        memcmp(prefix.data, t->continuing_prefix.data, prefix.size) != 0)
      return fail(p, o, "has another prefix than the model");
    t->wordpiece_decoder = true;
    t->clean_tokens = flag(o, "cleanup", true);
    return OK;
  }
  if (strcmp(type, "Strip") == 0) {
    TextStep *s = step_add(&p->steps, STEP_STRIP);
    s->trim_left = json_integer_value(json_object_get(o, "start")) > 0;
    s->trim_right = json_integer_value(json_object_get(o, "stop")) > 0;
    return need_text(p, o, "content", &s->content);
  }
  return fail(p, o, "is of a kind that ingot does not know");
}

/* ---- walking Sequences ---- */

typedef Status (*ReadOne)(Pipeline *p, const json_t *o, const char *type);

static Status walk(Pipeline *p, const json_t *o, const char *list_key, ReadOne one, int depth) {
  if (!o || json_is_null(o)) return OK;
  const char *type = json_string_value(json_object_get(o, "type"));
  if (!type) return fail(p, o, "is not an object with a type");
  if (depth > MAX_NESTING) return fail(p, o, "is nested too deeply");
  if (strcmp(type, "Sequence") != 0) return one(p, o, type);
  const json_t *list = json_object_get(o, list_key);
  if (!json_is_array(list)) return fail(p, o, "has no list");
  for (size_t i = 0; i < json_array_size(list); i++)
    TRY(walk(p, json_array_get(list, i), list_key, one, depth + 1));
  return OK;
}

/* ---- post-processors ---- */

typedef struct Pieces {
  TemplatePiece v[64];
  uint32_t n;
} Pieces;

static Status add_piece(Pipeline *p, const json_t *o, Pieces *to, int kind, int64_t id,
                        int64_t type_id) {
  if (to->n == COUNT(to->v)) return fail(p, o, "has too many pieces");
  if (id < 0 || id > INT32_MAX) return fail(p, o, "names a token id that is none");
  to->v[to->n++] = (TemplatePiece){kind, (uint32_t)id, (uint32_t)type_id};
  return OK;
}

static void keep_pieces(Arena *a, const Pieces *from, TemplatePiece **out, uint32_t *n) {
  *out = ARENA_ARRAY(a, TemplatePiece, from->n);
  if (from->n) memcpy(*out, from->v, from->n * sizeof *from->v);
  *n = from->n;
}

static Status read_template(Pipeline *p, const json_t *o, const char *key, Pieces *out) {
  const json_t *list = json_object_get(o, key), *tokens = json_object_get(o, "special_tokens");
  size_t i;
  json_t *item;
  if (!json_is_array(list)) return fail(p, o, "is no list of pieces");
  json_array_foreach(list, i, item) {
    const json_t *sequence = json_object_get(item, "Sequence");
    const json_t *body = sequence ? sequence : json_object_get(item, "SpecialToken");
    const char *id = json_string_value(json_object_get(body, "id"));
    int64_t type_id = json_integer_value(json_object_get(body, "type_id"));
    if (!id) return fail(p, o, "has a piece that is neither Sequence nor SpecialToken");
    if (sequence) {
      if (strcmp(id, "A") != 0 && strcmp(id, "B") != 0) return fail(p, o, "names no sequence");
      TRY(add_piece(p, o, out, id[0] == 'B', 0, type_id));
      continue;
    }
    const json_t *ids = json_object_get(json_object_get(tokens, id), "ids");
    if (!json_is_array(ids)) return fail(p, o, "names a token that special_tokens lacks");
    for (size_t k = 0; k < json_array_size(ids); k++) {
      const json_t *v = json_array_get(ids, k);
      TRY(add_piece(p, o, out, 2, json_is_integer(v) ? json_integer_value(v) : -1, type_id));
    }
  }
  return OK;
}

/* [text, id] */
static int64_t pair_id(const json_t *o, const char *key) {
  const json_t *v = json_array_get(json_object_get(o, key), 1);
  return json_is_integer(v) ? json_integer_value(v) : -1;
}

/* BERT: cls A sep B sep, with type 1 for the second; RoBERTa: cls A sep sep B sep, all of type 0.
 */
static Status read_cls_sep(Pipeline *p, const json_t *o, bool roberta, Pieces *one, Pieces *two) {
  int64_t cls = pair_id(o, "cls"), sep = pair_id(o, "sep"), second = roberta ? 0 : 1;
  for (int i = 0; i < 2; i++) {
    Pieces *to = i ? two : one;
    TRY(add_piece(p, o, to, 2, cls, 0));
    TRY(add_piece(p, o, to, 0, 0, 0));
    TRY(add_piece(p, o, to, 2, sep, 0));
  }
  if (roberta) TRY(add_piece(p, o, two, 2, sep, 0));
  TRY(add_piece(p, o, two, 1, 0, second));
  return add_piece(p, o, two, 2, sep, second);
}

static Status read_post(Pipeline *p, const json_t *o, const char *type) {
  TokenizerSpec *t = &p->r->m->tokenizer;
  Pieces one = {.n = 0}, two = {.n = 0};
  if (strcmp(type, "ByteLevel") == 0) {
    t->trim_offsets = flag(o, "trim_offsets", true);
    return OK;
  }
  bool roberta = strcmp(type, "RobertaProcessing") == 0;
  if (strcmp(type, "TemplateProcessing") == 0) {
    TRY(read_template(p, o, "single", &one));
    TRY(read_template(p, o, "pair", &two));
  } else if (roberta || strcmp(type, "BertProcessing") == 0) {
    TRY(read_cls_sep(p, o, roberta, &one, &two));
    if (roberta) t->trim_offsets = flag(o, "trim_offsets", true);
  } else {
    return fail(p, o, "is of a kind that ingot does not know");
  }
  if (t->nsingle) return fail(p, o, "is a second template in one sequence");
  keep_pieces(p->r->m->arena, &one, &t->single, &t->nsingle);
  keep_pieces(p->r->m->arena, &two, &t->pair, &t->npair);
  return OK;
}

/* ---- the four parts ---- */

static Status read_part(Reader *r, const char *where, json_t *root, const char *part,
                        const char *list_key, ReadOne one, TextStep **out, uint32_t *n) {
  Pipeline p = {.r = r, .where = where, .part = part};
  Status s = walk(&p, json_object_get(root, part), list_key, one, 0);
  if (out) steps_keep(r->m->arena, &p.steps, out, n);
  mem_free(p.steps.v);
  return s;
}

Status hf_steps_read(Reader *r, const char *where, json_t *root) {
  TokenizerSpec *t = &r->m->tokenizer;
  TRY(read_part(r, where, root, "normalizer", "normalizers", read_normalizer, &t->normalizer,
                &t->nnormalizer));
  TRY(read_part(r, where, root, "pre_tokenizer", "pretokenizers", read_pretokenizer,
                &t->pretokenizer, &t->npretokenizer));
  TRY(read_part(r, where, root, "post_processor", "processors", read_post, NULL, NULL));
  TRY(read_part(r, where, root, "decoder", "decoders", read_decoder, &t->decoder, &t->ndecoder));
  for (uint32_t i = 0; i < t->npretokenizer; i++)
    t->byte_level |= t->pretokenizer[i].kind == STEP_BYTELEVEL;
  return OK;
}
