/* The card: what the model calls itself, its licence, and SHA-256 of every file that was read.
 *
 * The licence of a Hugging Face folder stands in the front matter of its README.md. Hashing is by
 * nettle, and only when asked for, since it reads the files whole; what has been hashed is let go
 * of at once.
 */
#include "frontend/readers.h"

#include <nettle/sha2.h>
#include <string.h>

enum { MAX_README = 1 << 20, HASH_STEP = 1 << 22 };

const char *file_sha256(Arena *a, const MappedFile *f) {
  struct sha256_ctx c;
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_init(&c);
  for (uint64_t at = 0; at < f->size; at += HASH_STEP) {
    uint64_t n = f->size - at < HASH_STEP ? f->size - at : HASH_STEP;
    sha256_update(&c, n, f->data + at);
    file_release(f->data + at, n);
  }
  sha256_digest(&c, sizeof digest, digest);
  char *hex = arena_alloc(a, 2 * sizeof digest + 1);
  for (size_t i = 0; i < sizeof digest; i++) {
    hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

/* The value of "license:" between the first two "---" lines of a README; NULL when there is none.
 */
static const char *front_matter_license(Arena *a, const char *text) {
  if (strncmp(text, "---\n", 4) != 0) return NULL;
  for (const char *line = text + 4; line && *line; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    if (strncmp(line, "---", 3) == 0) return NULL;
    if (strncmp(line, "license:", 8) != 0) continue;
    line += 8;
    line += strspn(line, " \"'");
    return arena_strndup(a, line, strcspn(line, "\"'\r\n"));
  }
  return NULL;
}

static const char *folder_license(Reader *r) {
  const char *path = reader_path(r, r->m->path, "README.md");
  char *text;
  size_t n;
  if (!file_exists(path) || file_read(r->m->arena, r->d, path, MAX_README, &text, &n) != OK)
    return NULL;
  return utf8_valid(text, n) ? front_matter_license(r->m->arena, text) : NULL;
}

Status card_read(Reader *r, const char *name, const char *license) {
  Model *m = r->m;
  Card *c = &m->card;
  c->name = name ? name : path_name(m->arena, m->path);
  c->license = license || m->format != FORMAT_HF ? license : folder_license(r);
  c->source_path = m->path;
  c->nfiles = m->nfiles;
  c->files = arena_alloc_array(m->arena, m->nfiles, sizeof *c->files);
  for (uint32_t i = 0; i < m->nfiles; i++) {
    c->files[i].file = path_name(m->arena, m->files[i].path);
    c->files[i].bytes = m->files[i].size;
    if (r->what & MODEL_HASHES) c->files[i].sha256 = file_sha256(m->arena, &m->files[i]);
  }
  return diag_errors(r->d) ? FAIL : OK;
}
