/* What the readers share: the Model being filled, the checks on text, and JSON files.
 *
 * A reader fills `m` piece by piece; whatever it has added by the time it fails is released by
 * model_close. Everything read is hostile until checked: text is valid UTF-8 without NUL, JSON has
 * bounded depth and size, and names that become paths stay inside the model's folder.
 */
#ifndef INGOT_FRONTEND_READERS_H
#define INGOT_FRONTEND_READERS_H

#include "frontend/model.h"

typedef struct Reader {
  Model *m;
  Diag *d;
  unsigned what;             /* MODEL_* */
  uint32_t cweights, cfiles; /* capacities of m->weights and m->files */
} Reader;

/* Maps a file into the model; it stays mapped until model_close. */
Status reader_map(Reader *r, const char *path, MappedFile *out);
/* Adds a weight; the name is copied. */
void reader_weight(Reader *r, const char *name, size_t name_size, const WeightView *view,
                   const char *file);
/* Sorts the weights by name; two of one name are an error. */
Status reader_sort_weights(Reader *r);
/* "dir/name" in the model's arena. */
const char *reader_path(Reader *r, const char *dir, const char *name);

/* Reads a JSON file of at most `max` bytes whose root is an object. `flags` as for json_loadb.
 * Errors name file, line and column. The caller owns *out. */
Status json_file(Reader *r, const char *path, uint64_t max, size_t flags, json_t **out);
/* The same for text in memory. */
Status json_text(Reader *r, const char *where, const char *text, size_t n, size_t flags,
                 json_t **out);

/* True when the bytes are valid UTF-8. */
bool utf8_valid(const void *bytes, size_t n);
/* A printable excerpt of hostile bytes for messages. */
const char *text_excerpt(Arena *a, const void *bytes, size_t n);

/* Each reads one source into r->m. */
Status hf_open(Reader *r, const char *dir, const char *weights_file);
Status gguf_open(Reader *r, const MappedFile *f);
Status safetensors_read(Reader *r, const MappedFile *f);
Status hf_tokenizer_read(Reader *r, const char *dir);
Status hf_chat_read(Reader *r, const char *dir);
Status hf_sentence_read(Reader *r, const char *dir);
/* Name, licence and, when asked for, hashes of the files that were read. */
Status card_read(Reader *r, const char *name, const char *license);

#endif
