/* Opening a model: what the path is decides the reader. See frontend/model.h.
 *
 * A folder is Hugging Face; a file is told by its first bytes ("GGUF", or a safetensors header:
 * a little-endian length followed by '{'), never by its name alone.
 */
#include "frontend/readers.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

Status reader_map(Reader *r, const char *path, MappedFile *out) {
  TRY(file_map(r->m->arena, r->d, path, out));
  *VEC_PUSH(r->m->files, r->m->nfiles, r->cfiles) = *out;
  return OK;
}

void reader_weight(Reader *r, const char *name, size_t name_size, const WeightView *view,
                   const char *file) {
  Weight *w = VEC_PUSH(r->m->weights, r->m->nweights, r->cweights);
  *w = (Weight){arena_strndup(r->m->arena, name, name_size), *view, file};
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const Weight *)a)->name, ((const Weight *)b)->name);
}

Status reader_sort_weights(Reader *r) {
  Model *m = r->m;
  if (m->nweights) qsort(m->weights, m->nweights, sizeof *m->weights, by_name);
  for (uint32_t i = 1; i < m->nweights; i++) {
    const Weight *a = &m->weights[i - 1], *b = &m->weights[i];
    if (strcmp(a->name, b->name) == 0)
      return diag_error(r->d, b->file, "tensor %s: stands twice (the other one is in %s)",
                        text_excerpt(m->arena, b->name, strlen(b->name)), a->file);
  }
  return OK;
}

const char *reader_path(Reader *r, const char *dir, const char *name) {
  return arena_printf(r->m->arena, "%s/%s", dir, name);
}

const Weight *model_weight(const Model *m, const char *name) {
  Weight key = {.name = name};
  if (!m->nweights) return NULL;
  return bsearch(&key, m->weights, m->nweights, sizeof *m->weights, by_name);
}

static bool looks_like_safetensors(const MappedFile *f) {
  return f->size > 8 && f->data[8] == '{';
}

static Status open_file(Reader *r, const char *path) {
  MappedFile f;
  TRY(reader_map(r, path, &f));
  if (f.size >= 4 && memcmp(f.data, "GGUF", 4) == 0) return gguf_open(r, &f);
  size_t n = strlen(path);
  bool named = n > 12 && strcmp(path + n - 12, ".safetensors") == 0;
  if (!named && !looks_like_safetensors(&f))
    return diag_error(
        r->d, path,
        "is of no known format: it begins with \"%s\" (expected a GGUF or safetensors "
        "file, or a Hugging Face folder); is the download complete?",
        text_excerpt(r->m->arena, f.data, f.size < 8 ? f.size : 8));
  const char *slash = strrchr(path, '/');
  size_t dir_size = slash ? (size_t)(slash - path) : 1;
  const char *dir = arena_strndup(r->m->arena, slash ? path : ".", dir_size ? dir_size : 1);
  file_unmap(&r->m->files[--r->m->nfiles]); /* the folder's reader maps it anew */
  return hf_open(r, dir, path);
}

/* The one .gguf of a folder that is no Hugging Face folder; NULL when there is none or several. */
static const char *only_gguf(Reader *r, const char *dir) {
  if (file_exists(reader_path(r, dir, "config.json"))) return NULL;
  if (file_exists(reader_path(r, dir, "tokenizer.json"))) return NULL;
  const char *found = NULL;
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    size_t n = strlen(e->d_name);
    if (n <= 5 || strcmp(e->d_name + n - 5, ".gguf") != 0) continue;
    if (found) {
      found = NULL;
      break;
    }
    found = reader_path(r, dir, e->d_name);
  }
  if (d) closedir(d);
  return found;
}

static Status open_folder(Reader *r, const char *path) {
  const char *gguf = only_gguf(r, path);
  return gguf ? open_file(r, gguf) : hf_open(r, path, NULL);
}

static Status open_path(Reader *r, const char *path) {
  struct stat st;
  if (stat(path, &st) != 0)
    return diag_error(r->d, path,
                      "is not there (expected a Hugging Face folder, a .gguf or a "
                      ".safetensors file)");
  return S_ISDIR(st.st_mode) ? open_folder(r, path) : open_file(r, path);
}

Status model_open(const char *path, unsigned what, Diag *d, Model **out) {
  Arena *a = arena_new();
  Model *m = ARENA_NEW(a, Model);
  m->arena = a;
  m->path = arena_strdup(a, path);
  m->generation = (GenerationDefaults){.temperature = -1,
                                       .top_p = -1,
                                       .min_p = -1,
                                       .repetition_penalty = -1,
                                       .top_k = -1,
                                       .max_new_tokens = -1,
                                       .bos_id = -1};
  TokenizerSpec *t = &m->tokenizer;
  t->unk_id = t->bos_id = t->eos_id = t->pad_id = -1;
  Reader r = {.m = m, .d = d, .what = what};
  *out = NULL;
  if (open_path(&r, m->path) != OK) {
    model_close(m);
    return FAIL;
  }
  *out = m;
  return OK;
}

void model_close(Model *m) {
  if (!m) return;
  for (uint32_t i = 0; i < m->nfiles; i++) file_unmap(&m->files[i]);
  mem_free(m->files);
  mem_free(m->weights);
  json_decref(m->config);
  arena_free(m->arena);
}
