/* The chat template of a Hugging Face folder and the special tokens that it may name.
 *
 * chat_template.jinja counts first, then chat_template of tokenizer_config.json: a string, or a
 * list of named ones, of which "default" is taken. Token strings stand in tokenizer_config.json or
 * special_tokens_map.json, plainly or as an object with "content".
 */
#include "frontend/readers.h"

#include <string.h>

enum { MAX_TEMPLATE = 4 << 20, MAX_TOKENIZER_CONFIG = 32 << 20 };

static const char *token_text(Reader *r, const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  if (json_is_object(v)) v = json_object_get(v, "content");
  return arena_strdup(r->m->arena, json_string_value(v));
}

static void take_tokens(Reader *r, const json_t *o) {
  ChatTemplateSpec *c = &r->m->chat;
  if (!c->bos_token) c->bos_token = token_text(r, o, "bos_token");
  if (!c->eos_token) c->eos_token = token_text(r, o, "eos_token");
  if (!c->pad_token) c->pad_token = token_text(r, o, "pad_token");
  if (!c->unk_token) c->unk_token = token_text(r, o, "unk_token");
}

/* The template in tokenizer_config.json: a string, or the "default" (else the first) of a list. */
static const json_t *config_template(const json_t *o) {
  const json_t *v = json_object_get(o, "chat_template");
  if (!json_is_array(v)) return v;
  const json_t *first = NULL;
  size_t i;
  json_t *entry;
  json_array_foreach(v, i, entry) {
    const char *name = json_string_value(json_object_get(entry, "name"));
    const json_t *text = json_object_get(entry, "template");
    if (name && strcmp(name, "default") == 0) return text;
    if (!first) first = text;
  }
  return first;
}

static Status read_config(Reader *r, const char *path) {
  Model *m = r->m;
  json_t *o;
  /* model_max_length is often 10^30: no integer that jansson reads */
  TRY(json_file(r, path, MAX_TOKENIZER_CONFIG, JSON_DECODE_INT_AS_REAL, &o));
  take_tokens(r, o);
  const json_t *text = config_template(o);
  Status s = OK;
  if (text && !json_is_string(text) && !json_is_null(text))
    s = diag_error(r->d, path, "chat_template is neither a string nor a list of templates");
  if (json_is_string(text) && !m->chat.source) {
    m->chat.source = arena_strdup(m->arena, json_string_value(text));
    m->chat.where = path;
    if (strlen(m->chat.source) != json_string_length(text))
      s = diag_error(r->d, path, "chat_template holds a NUL byte");
  }
  json_decref(o);
  return s;
}

static Status read_template(Reader *r, const char *path) {
  char *text;
  size_t n;
  TRY(file_read(r->m->arena, r->d, path, MAX_TEMPLATE, &text, &n));
  if (!utf8_valid(text, n) || strlen(text) != n)
    return diag_error(r->d, path, "is not valid UTF-8 text");
  r->m->chat.source = text;
  r->m->chat.where = path;
  return OK;
}

Status hf_chat_read(Reader *r, const char *dir) {
  const char *jinja = reader_path(r, dir, "chat_template.jinja");
  if (file_exists(jinja)) TRY(read_template(r, jinja));
  const char *config = reader_path(r, dir, "tokenizer_config.json");
  if (file_exists(config)) TRY(read_config(r, config));
  const char *map = reader_path(r, dir, "special_tokens_map.json");
  if (!file_exists(map)) return OK;
  json_t *o;
  TRY(json_file(r, map, MAX_TOKENIZER_CONFIG, 0, &o));
  take_tokens(r, o);
  json_decref(o);
  return OK;
}
