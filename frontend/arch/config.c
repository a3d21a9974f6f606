/* Typed config access; see config.h. */
#include "frontend/arch/config.h"

#include <string.h>

/* Keys of every Transformers config that say nothing about what the network computes: bookkeeping,
 * training, token ids, labels, and generation settings of old files. */
static const char *const bookkeeping[] = {"architectures",
                                          "model_type",
                                          "transformers_version",
                                          "torch_dtype",
                                          "dtype",
                                          "_name_or_path",
                                          "_commit_hash",
                                          "auto_map",
                                          "use_cache",
                                          "initializer_range",
                                          "attention_dropout",
                                          "hidden_dropout",
                                          "hidden_dropout_prob",
                                          "attention_probs_dropout_prob",
                                          "attn_pdrop",
                                          "resid_pdrop",
                                          "embd_pdrop",
                                          "classifier_dropout",
                                          "bos_token_id",
                                          "eos_token_id",
                                          "pad_token_id",
                                          "unk_token_id",
                                          "sep_token_id",
                                          "decoder_start_token_id",
                                          "id2label",
                                          "label2id",
                                          "num_labels",
                                          "problem_type",
                                          "task_specific_params",
                                          "finetuning_task",
                                          "tokenizer_class",
                                          "prefix",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "return_dict",
                                          "torchscript",
                                          "use_bfloat16",
                                          "tf_legacy_loss",
                                          "is_encoder_decoder",
                                          "is_decoder",
                                          "gradient_checkpointing",
                                          "keys_to_ignore_at_inference",
                                          "max_length",
                                          "min_length",
                                          "do_sample",
                                          "early_stopping",
                                          "num_beams",
                                          "num_beam_groups",
                                          "diversity_penalty",
                                          "temperature",
                                          "top_k",
                                          "top_p",
                                          "typical_p",
                                          "repetition_penalty",
                                          "length_penalty",
                                          "no_repeat_ngram_size",
                                          "encoder_no_repeat_ngram_size",
                                          "bad_words_ids",
                                          "num_return_sequences",
                                          "output_scores",
                                          "return_dict_in_generate",
                                          "forced_bos_token_id",
                                          "forced_eos_token_id",
                                          "remove_invalid_values",
                                          "exponential_decay_length_penalty",
                                          "suppress_tokens",
                                          "begin_suppress_tokens",
                                          "attn_implementation",
                                          "unsloth_version",
                                          "unsloth_fixed",
                                          "transformers.js_config",
                                          "chunk_size_feed_forward"};

/* ---- opening ---- */

/* The config stands beside the weights, whether the model was given as a folder or as a file. */
static const char *file_of(const Model *m, Arena *a) {
  if (m->format != FORMAT_HF) return m->path;
  const char *slash = m->nweights ? strrchr(m->weights[0].file, '/') : NULL;
  if (!slash) return "config.json";
  return arena_printf(a, "%.*s/config.json", (int)(slash - m->weights[0].file), m->weights[0].file);
}

/* Sets "a.b" in the object under "a", which is made when it is not there. */
static void bring(json_t *to, const char *name, json_t *value) {
  const char *dot = strchr(name, '.');
  if (!dot) {
    json_object_set(to, name, value);
    return;
  }
  size_t n = (size_t)(dot - name);
  json_t *inner = json_object_getn(to, name, n);
  if (!inner) {
    inner = json_object();
    json_object_setn_new(to, name, n, inner);
  }
  bring(inner, dot + 1, value);
}

/* A list with one entry a layer, all equal, stands for that value. */
static json_t *uniform(json_t *v) {
  if (!json_is_array(v) || json_array_size(v) == 0) return v;
  for (size_t i = 1; i < json_array_size(v); i++) {
    if (!json_equal(json_array_get(v, 0), json_array_get(v, i))) return v;
  }
  return json_array_get(v, 0);
}

/* Translates "llama.block_count" to "num_hidden_layers"; keys of the architecture that the table
 * does not know keep their GGUF name, so that config_finish finds them. */
static json_t *translate(const Model *m, const ConfigKey *keys, size_t nkeys) {
  json_t *out = json_object();
  size_t n = strlen(m->arch);
  const char *key;
  json_t *value;
  json_object_foreach(m->config, key, value) {
    if (strncmp(key, m->arch, n) != 0 || key[n] != '.') continue;
    const char *name = NULL;
    for (size_t i = 0; i < nkeys; i++) {
      if (keys[i].gguf && strcmp(keys[i].gguf, key + n + 1) == 0) name = keys[i].hf;
    }
    if (name)
      bring(out, name, uniform(value));
    else
      json_object_set(out, key, value);
  }
  return out;
}

Status config_open(const Model *model, const ConfigKey *keys, size_t nkeys, Diag *d, Config *out) {
  Arena *a = arena_new();
  *out = (Config){.arena = a, .d = d, .where = file_of(model, a), .prefix = ""};
  if (model->config)
    out->object =
        model->format == FORMAT_HF ? json_incref(model->config) : translate(model, keys, nkeys);
  else
    out->object = json_object();
  if (model->format == FORMAT_HF) config_ignore(out, bookkeeping, COUNT(bookkeeping));
  return OK;
}

Status config_child(Config *c, const char *key, Config *out, bool *present) {
  json_t *v = config_get(c, key);
  *present = v != NULL;
  if (!v) return OK;
  if (!json_is_object(v)) {
    *present = false;
    return config_error(c, key, "is not an object");
  }
  Arena *a = arena_new();
  *out = (Config){.arena = a,
                  .d = c->d,
                  .where = arena_strdup(a, c->where),
                  .prefix = arena_printf(a, "%s%s.", c->prefix, key),
                  .object = json_incref(v)};
  return OK;
}

void config_close(Config *c) {
  json_decref(c->object);
  mem_free(c->asked);
  arena_free(c->arena);
  *c = (Config){0};
}

/* ---- reading ---- */

static bool was_asked(const Config *c, const char *key) {
  for (uint32_t i = 0; i < c->nasked; i++) {
    if (strcmp(c->asked[i], key) == 0) return true;
  }
  return false;
}

void config_ignore(Config *c, const char *const *keys, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!was_asked(c, keys[i])) *VEC_PUSH(c->asked, c->nasked, c->casked) = keys[i];
  }
}

json_t *config_get(Config *c, const char *key) {
  config_ignore(c, &key, 1);
  json_t *v = json_object_get(c->object, key);
  return json_is_null(v) ? NULL : v;
}

Status config_error(Config *c, const char *key, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  char what[512];
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  return diag_error(c->d, c->where, "key \"%s%s\" %s", c->prefix, key, what);
}

static Status missing(Config *c, const char *key) {
  return config_error(c, key, "is missing");
}

Status config_i64(Config *c, const char *key, int64_t absent, int64_t lo, int64_t hi,
                  int64_t *out) {
  json_t *v = config_get(c, key);
  *out = absent;
  if (!v && absent == CONFIG_NEEDED) return missing(c, key);
  if (v && !json_is_integer(v)) return config_error(c, key, "is not a whole number");
  if (v) *out = json_integer_value(v);
  if (*out < lo || *out > hi)
    return config_error(c, key, "is %lld (expected %lld to %lld)", (long long)*out, (long long)lo,
                        (long long)hi);
  return OK;
}

Status config_f64(Config *c, const char *key, double absent, double *out) {
  json_t *v = config_get(c, key);
  *out = absent;
  if (!v) return isnan(absent) ? missing(c, key) : OK;
  if (!json_is_number(v)) return config_error(c, key, "is not a number");
  *out = json_number_value(v);
  return OK;
}

Status config_bool(Config *c, const char *key, bool absent, bool *out) {
  json_t *v = config_get(c, key);
  *out = absent;
  if (!v) return OK;
  if (!json_is_boolean(v)) return config_error(c, key, "is not true or false");
  *out = json_is_true(v);
  return OK;
}

Status config_str(Config *c, const char *key, const char *absent, const char **out) {
  json_t *v = config_get(c, key);
  *out = absent;
  if (!v) return OK;
  if (!json_is_string(v)) return config_error(c, key, "is not a string");
  *out = json_string_value(v);
  return OK;
}

/* null, false, "", [] and {} switch nothing on. */
static bool says_nothing(const json_t *v) {
  return json_is_null(v) || json_is_false(v) || (json_is_string(v) && !json_string_length(v)) ||
         (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

Status config_finish(Config *c) {
  enum { ENOUGH = 5 }; /* errors of one kind */
  unsigned unknown = 0;
  const char *key;
  json_t *v;
  json_object_foreach(c->object, key, v) {
    if (unknown == ENOUGH) break;
    if (says_nothing(v) || key[0] == '_' || was_asked(c, key)) continue;
    const char *near = nearest_name(key, c->asked, c->nasked);
    unknown++;
    if (near)
      config_error(c, key, "is unknown and might change the result; did you mean \"%s\"?", near);
    else
      config_error(c, key, "is unknown and might change the result; remove it if it does not");
  }
  return unknown ? FAIL : OK;
}
