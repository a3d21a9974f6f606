/* A sentence-transformers folder: what stands behind the network to make one vector of a text.
 *
 * modules.json lists the parts: Transformer, Pooling, perhaps Normalize; each has a folder of its
 * own. sentence_bert_config.json beside the model says where texts are cut; without it the
 * tokenizer's model_max_length does. A part that ingot does not know is kept by name, since the
 * network alone can still be compiled.
 */
#include "frontend/readers.h"

#include <string.h>

enum { MAX_JSON = 1 << 20, MAX_TOKENIZER_CONFIG = 32 << 20 };
#define CONFIG "sentence_bert_config.json"

/* The modes of Pooling: flags of old files, a name (or a list of them) in new ones. */
static const struct {
  const char *key, *name;
  unsigned mode;
} modes[] = {{"pooling_mode_cls_token", "cls", POOL_CLS},
             {"pooling_mode_max_tokens", "max", POOL_MAX},
             {"pooling_mode_mean_tokens", "mean", POOL_MEAN},
             {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", POOL_MEAN_SQRT},
             {"pooling_mode_weightedmean_tokens", "weightedmean", POOL_WEIGHTED},
             {"pooling_mode_lasttoken", "lasttoken", POOL_LAST}};

static Status take_mode(Reader *r, const char *path, const json_t *name) {
  const char *s = json_string_value(name);
  for (size_t i = 0; s && i < COUNT(modes); i++) {
    if (strcmp(s, modes[i].name) != 0) continue;
    r->m->sentence.pooling |= modes[i].mode;
    return OK;
  }
  return diag_error(r->d, path, "pooling_mode: is of a kind that ingot does not know");
}

static Status read_pooling(Reader *r, const char *path) {
  SentenceModel *s = &r->m->sentence;
  json_t *o;
  TRY(json_file(r, path, MAX_JSON, 0, &o));
  const json_t *named = json_object_get(o, "pooling_mode");
  Status status = OK;
  for (size_t i = 0; i < COUNT(modes); i++)
    if (json_is_true(json_object_get(o, modes[i].key))) s->pooling |= modes[i].mode;
  for (size_t i = 0; status == OK && i < json_array_size(named); i++)
    status = take_mode(r, path, json_array_get(named, i));
  if (json_is_string(named)) status = take_mode(r, path, named);
  json_decref(o);
  if (status == OK && !s->pooling) status = diag_error(r->d, path, "names no pooling mode");
  return status;
}

/* The folder of a module is a plain name inside the model's own. */
static Status module_folder(Reader *r, const char *dir, const json_t *module, const char **out) {
  const char *name = json_string_value(json_object_get(module, "path"));
  *out = dir;
  if (!name || !*name) return OK;
  if (strchr(name, '/') || strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
    return diag_error(r->d, reader_path(r, dir, "modules.json"),
                      "a module's path is \"%s\" (expected the name of a folder)",
                      text_excerpt(r->m->arena, name, strlen(name)));
  *out = reader_path(r, dir, name);
  return OK;
}

static Status read_module(Reader *r, const char *dir, const json_t *module, size_t index) {
  SentenceModel *s = &r->m->sentence;
  const char *type = json_string_value(json_object_get(module, "type")), *folder;
  const char *dot = type ? strrchr(type, '.') : NULL, *class = dot ? dot + 1 : type;
  TRY(module_folder(r, dir, module, &folder));
  if (class && index == 0 && strcmp(class, "Transformer") == 0) {
    if (folder != dir) s->unknown = "Transformer in a folder of its own";
    return OK;
  }
  if (class && index == 1 && strcmp(class, "Pooling") == 0)
    return read_pooling(r, reader_path(r, folder, "config.json"));
  if (class && index == 2 && strcmp(class, "Normalize") == 0)
    s->normalize = true;
  else
    s->unknown = class ? text_excerpt(r->m->arena, class, strlen(class)) : "without a type";
  return OK;
}

static Status read_modules(Reader *r, const char *dir, const char *path) {
  Arena *scratch = arena_new();
  char *text;
  size_t n;
  json_t *root = NULL;
  Status s = file_read(scratch, r->d, path, MAX_JSON, &text, &n);
  if (s == OK) { /* the file is a list, the reader takes objects */
    const char *object = arena_printf(scratch, "{\"modules\":%.*s}", (int)n, text);
    s = json_text(r, path, object, strlen(object), 0, &root);
  }
  arena_free(scratch);
  const json_t *list = json_object_get(root, "modules");
  if (s == OK && !json_is_array(list)) s = diag_error(r->d, path, "is not a list of modules");
  for (size_t i = 0; s == OK && i < json_array_size(list); i++)
    s = read_module(r, dir, json_array_get(list, i), i);
  json_decref(root);
  return s;
}

/* max_seq_length, else the tokenizer's model_max_length (10^30 in some files: none). */
static Status read_limit(Reader *r, const char *dir) {
  SentenceModel *s = &r->m->sentence;
  static const struct {
    const char *file, *key;
  } places[] = {{CONFIG, "max_seq_length"}, {"tokenizer_config.json", "model_max_length"}};
  for (size_t i = 0; i < COUNT(places) && !s->max_tokens; i++) {
    const char *path = reader_path(r, dir, places[i].file);
    json_t *o;
    if (!file_exists(path)) continue;
    TRY(json_file(r, path, MAX_TOKENIZER_CONFIG, JSON_DECODE_INT_AS_REAL, &o));
    double limit = json_number_value(json_object_get(o, places[i].key));
    if (limit >= 1 && limit < INT32_MAX) s->max_tokens = (int64_t)limit;
    if (i == 0 && json_is_true(json_object_get(o, "do_lower_case")))
      s->unknown = "do_lower_case of " CONFIG;
    json_decref(o);
  }
  return OK;
}

Status hf_sentence_read(Reader *r, const char *dir) {
  const char *path = reader_path(r, dir, "modules.json");
  if (!file_exists(path)) return OK;
  r->m->sentence.there = true;
  TRY(read_modules(r, dir, path));
  return read_limit(r, dir);
}
