/* Typed access to a model's config that remembers what was asked for.
 *
 * An architecture reads every key it honours and names those that cannot matter; config_finish then
 * refuses the keys that nobody spoke for, since one of them might change the result. Keys go by
 * their Hugging Face names; for a GGUF, config_open translates by the architecture's own table.
 */
#ifndef INGOT_FRONTEND_ARCH_CONFIG_H
#define INGOT_FRONTEND_ARCH_CONFIG_H

#include "frontend/model.h"

#include <math.h>

/* One key in both worlds: "hidden_size" and what follows the architecture's name in a GGUF
 * ("embedding_length"). "rope_scaling.factor" is a key of a nested object. */
typedef struct ConfigKey {
  const char *hf, *gguf;
} ConfigKey;

typedef struct Config {
  Arena *arena;
  Diag *d;
  const char *where;  /* file, for messages */
  const char *prefix; /* "rope_scaling." for a nested object, else "" */
  json_t *object;     /* Hugging Face names */
  const char **asked;
  uint32_t nasked, casked;
} Config;

/* The model's config under Hugging Face names. config_close frees it. */
Status config_open(const Model *model, const ConfigKey *keys, size_t nkeys, Diag *d, Config *out);
/* A nested object; *present is false when the key is absent or null. config_close after it. */
Status config_child(Config *c, const char *key, Config *out, bool *present);
void config_close(Config *c);

/* NULL when absent or null; marks the key as spoken for. */
json_t *config_get(Config *c, const char *key);
/* What a missing key means: for ints CONFIG_NEEDED, for floats NAN make it an error. */
#define CONFIG_NEEDED INT64_MIN
Status config_i64(Config *c, const char *key, int64_t absent, int64_t lo, int64_t hi, int64_t *out);
Status config_f64(Config *c, const char *key, double absent, double *out);
Status config_bool(Config *c, const char *key, bool absent, bool *out);
Status config_str(Config *c, const char *key, const char *absent, const char **out);
/* Keys that cannot change the result. */
void config_ignore(Config *c, const char *const *keys, size_t n);
/* An error for each key that nobody asked for and whose value says something (is not null, false or
 * empty). */
Status config_finish(Config *c);
/* An error about one key: `config.json: rope_scaling.factor: ...`. */
Status config_error(Config *c, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
