/* A Hugging Face folder: config.json and generation_config.json, then weights, tokenizer, template.
 *
 * Weights are model.safetensors, or the shards that model.safetensors.index.json names; when both
 * are there the single file counts, as in Transformers. A shard's name is a plain file name, so an
 * index cannot lead out of the folder.
 */
#include "frontend/readers.h"

#include <string.h>

enum { MAX_CONFIG = 4 << 20, MAX_INDEX = 32 << 20 };

/* ---- generation defaults ---- */

static void take_f64(const json_t *o, const char *key, double *out) {
  const json_t *v = json_object_get(o, key);
  if (json_is_number(v)) *out = json_number_value(v);
}

static void take_i64(const json_t *o, const char *key, int64_t *out) {
  const json_t *v = json_object_get(o, key);
  if (json_is_integer(v)) *out = json_integer_value(v);
}

static Status take_eos(Reader *r, const char *where, const json_t *o) {
  GenerationDefaults *g = &r->m->generation;
  json_t *v = json_object_get(o, "eos_token_id");
  if (!v || json_is_null(v)) return OK;
  size_t n = json_is_array(v) ? json_array_size(v) : 1;
  g->eos_ids = ARENA_ARRAY(r->m->arena, int64_t, n);
  for (size_t i = 0; i < n; i++) {
    const json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
    if (!json_is_integer(id) || json_integer_value(id) < 0)
      return diag_error(r->d, where, "eos_token_id is not a token id or a list of them");
    g->eos_ids[i] = json_integer_value(id);
  }
  g->neos = (uint32_t)n;
  return OK;
}

static Status take_generation(Reader *r, const char *where, const json_t *o) {
  GenerationDefaults *g = &r->m->generation;
  TRY(take_eos(r, where, o));
  take_f64(o, "temperature", &g->temperature);
  take_f64(o, "top_p", &g->top_p);
  take_f64(o, "min_p", &g->min_p);
  take_f64(o, "repetition_penalty", &g->repetition_penalty);
  take_i64(o, "top_k", &g->top_k);
  take_i64(o, "max_new_tokens", &g->max_new_tokens);
  take_i64(o, "bos_token_id", &g->bos_id);
  const json_t *sample = json_object_get(o, "do_sample");
  if (sample) g->do_sample = json_is_true(sample);
  return OK;
}

/* config.json holds generation settings in old models; generation_config.json counts more. */
static Status read_generation(Reader *r, const char *dir, const char *config_path) {
  if (r->m->config) TRY(take_generation(r, config_path, r->m->config));
  const char *path = reader_path(r, dir, "generation_config.json");
  if (!file_exists(path)) return OK;
  json_t *o;
  TRY(json_file(r, path, MAX_CONFIG, 0, &o));
  Status s = take_generation(r, path, o);
  json_decref(o);
  return s;
}

/* ---- config ---- */

static Status read_config(Reader *r, const char *path) {
  Model *m = r->m;
  TRY(json_file(r, path, MAX_CONFIG, 0, &m->config));
  m->arch = json_string_value(json_object_get(m->config, "model_type"));
  json_t *list = json_object_get(m->config, "architectures");
  m->architecture = json_string_value(json_array_get(list, 0));
  if (!m->arch)
    return diag_error(r->d, path,
                      "has no \"model_type\" (expected a string such as \"llama\"); is "
                      "it the config.json of a Transformers model?");
  return OK;
}

/* ---- weights ---- */

static bool plain_file_name(const char *s) {
  return s && *s && !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static Status read_file(Reader *r, const char *path) {
  MappedFile f;
  TRY(reader_map(r, path, &f));
  return safetensors_read(r, &f);
}

/* Reads each shard once, in the order the index first names them. */
static Status read_shards(Reader *r, const char *dir, const char *index, json_t *map) {
  json_t *seen = json_object();
  const char *tensor;
  json_t *file;
  Status s = OK;
  json_object_foreach(map, tensor, file) {
    const char *name = json_string_value(file);
    if (!plain_file_name(name)) {
      s = diag_error(r->d, index,
                     "tensor %s: is said to be in \"%s\" (expected the name of a file "
                     "in the same folder)",
                     text_excerpt(r->m->arena, tensor, strlen(tensor)),
                     name ? text_excerpt(r->m->arena, name, strlen(name)) : "?");
      break;
    }
    if (json_object_get(seen, name)) continue;
    json_object_set_new(seen, name, json_true());
    s = read_file(r, reader_path(r, dir, name));
    if (s != OK) break;
  }
  json_decref(seen);
  return s;
}

static Status check_index(Reader *r, const char *dir, const char *index, json_t *map) {
  const char *tensor;
  json_t *file;
  TRY(reader_sort_weights(r));
  json_object_foreach(map, tensor, file) {
    const Weight *w = model_weight(r->m, tensor);
    const char *path = reader_path(r, dir, json_string_value(file));
    if (!w || strcmp(w->file, path) != 0)
      return diag_error(r->d, index, "tensor %s: is not in %s, where the index says it is",
                        text_excerpt(r->m->arena, tensor, strlen(tensor)), path);
  }
  return OK;
}

static Status read_index(Reader *r, const char *dir, const char *index) {
  json_t *root;
  TRY(json_file(r, index, MAX_INDEX, JSON_REJECT_DUPLICATES, &root));
  json_t *map = json_object_get(root, "weight_map");
  Status s = OK;
  if (!json_is_object(map)) s = diag_error(r->d, index, "has no \"weight_map\" object");
  if (s == OK) s = read_shards(r, dir, index, map);
  if (s == OK) s = check_index(r, dir, index, map);
  json_decref(root);
  return s;
}

static Status read_weights(Reader *r, const char *dir, const char *weights_file) {
  if (weights_file) return read_file(r, weights_file);
  const char *single = reader_path(r, dir, "model.safetensors");
  if (file_exists(single)) return read_file(r, single);
  const char *index = reader_path(r, dir, "model.safetensors.index.json");
  if (file_exists(index)) return read_index(r, dir, index);
  if (file_exists(reader_path(r, dir, "pytorch_model.bin")))
    return diag_error(r->d, dir,
                      "has its weights in pytorch_model.bin, which ingot does not read; "
                      "save the model as safetensors");
  return diag_error(r->d, dir,
                    "has no weights (expected model.safetensors or "
                    "model.safetensors.index.json)");
}

/* Without generation settings the tokenizer's end of sequence ends a generation. */
static void default_eos(Model *m) {
  GenerationDefaults *g = &m->generation;
  if (g->neos || m->tokenizer.eos_id < 0) return;
  g->eos_ids = ARENA_NEW(m->arena, int64_t);
  g->eos_ids[g->neos++] = m->tokenizer.eos_id;
}

/* The small files are mapped too when hashes are wanted, so that the card tells of them. */
static Status map_small_files(Reader *r, const char *dir) {
  static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
                                      "tokenizer_config.json", "chat_template.jinja"};
  for (size_t i = 0; (r->what & MODEL_HASHES) && i < COUNT(names); i++) {
    const char *path = reader_path(r, dir, names[i]);
    MappedFile f;
    if (file_exists(path)) TRY(reader_map(r, path, &f));
  }
  return OK;
}

Status hf_open(Reader *r, const char *dir, const char *weights_file) {
  Model *m = r->m;
  m->format = FORMAT_HF;
  const char *config = reader_path(r, dir, "config.json");
  bool weights = r->what & MODEL_WEIGHTS;
  if (weights && !file_exists(config))
    return diag_error(r->d, dir,
                      "has no config.json (expected the folder of a Transformers model%s)",
                      weights_file ? ": a .safetensors file needs the config.json beside it" : "");
  if (file_exists(config)) {
    TRY(read_config(r, config));
  }
  if (weights) {
    TRY(read_weights(r, dir, weights_file));
    TRY(reader_sort_weights(r));
  }
  TRY(read_generation(r, dir, config));
  if (r->what & MODEL_TEXT) {
    TRY(hf_tokenizer_read(r, dir));
    TRY(hf_chat_read(r, dir));
    TRY(hf_sentence_read(r, dir));
    default_eos(m);
  }
  TRY(map_small_files(r, dir));
  return card_read(r, NULL, NULL);
}
