/* The user's cache: see tools/cache.h.
 *
 * The cache key covers the content of the model's files, the options and the compiler itself, so a
 * changed model or compiler never meets an old program.
 */
#include "tools/cache.h"

#include "tools/card.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 128 bits of FNV-1a, in two halves with different bases. */
typedef struct Key {
  uint64_t half[2];
} Key;

static void key_add(Key *k, const char *s) {
  const uint64_t prime = 0x100000001b3;
  do {
    for (int i = 0; i < 2; i++) k->half[i] = (k->half[i] ^ (uint8_t)(*s + 31 * i)) * prime;
  } while (*s++);
}

static void key_add_number(Key *k, uint64_t n) {
  char text[32];
  snprintf(text, sizeof text, "%llu", (unsigned long long)n);
  key_add(k, text);
}

static Status make_key(Arena *a, const CompileOptions *o, Diag *d, Key *k) {
  Model *m;
  struct stat self;
  *k = (Key){{0xcbf29ce484222325, 0x84222325cbf29ce4}};
  TRY(model_open(o->model, MODEL_WEIGHTS | MODEL_TEXT | MODEL_HASHES, d, &m));
  for (uint32_t i = 0; i < m->card.nfiles; i++) {
    key_add(k, m->card.files[i].file);
    key_add(k, m->card.files[i].sha256 ? m->card.files[i].sha256 : "");
  }
  model_close(m);
  const char *texts[] = {o->task, o->quant, o->act,  o->prefill,
                         o->kv,   o->cpu,   o->tile, o->start_from};
  for (size_t i = 0; i < COUNT(texts); i++) key_add(k, texts[i] ? texts[i] : "");
  MappedFile text = {0};
  if (o->calibrate) TRY(file_map(a, d, o->calibrate, &text));
  key_add(k, o->calibrate ? file_sha256(a, &text) : "");
  file_unmap(&text);
  key_add_number(k, (uint64_t)o->context);
  key_add_number(k, (uint64_t)o->chunk);
  key_add(k, INGOT_VERSION);
  if (stat("/proc/self/exe", &self) == 0) {
    key_add_number(k, (uint64_t)self.st_mtim.tv_sec);
    key_add_number(k, (uint64_t)self.st_mtim.tv_nsec);
    key_add_number(k, (uint64_t)self.st_size);
  }
  return OK;
}

static Status make_folders(char *path, Diag *d) {
  for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
    if (slash) *slash = 0;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
      return diag_error(d, path, "cannot be made: %s", strerror(errno));
    if (!slash) return OK;
    *slash = '/';
  }
}

static Status cached_program(Arena *a, CompileOptions *o, Diag *d) {
  const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  Key k;
  if (!base || !*base) {
    if (!home || !*home)
      return diag_error(d, "run", "neither XDG_CACHE_HOME nor HOME says where the cache is");
    base = arena_printf(a, "%s/.cache", home);
  }
  char *folder = arena_printf(a, "%s/ingot", base);
  TRY(make_folders(folder, d));
  TRY(make_key(a, o, d, &k));
  o->out = arena_printf(a, "%s/%016llx%016llx", folder, (unsigned long long)k.half[0],
                        (unsigned long long)k.half[1]);
  if (!o->verify && access(o->out, X_OK) == 0) return OK;
  CompileReport report;
  return compile_model(o, d, &report);
}

/* What to run for o->model; its path becomes o->out. */
static Status find_program(const CacheCommand *c, Arena *a, CompileOptions *o, Diag *d) {
  bool elf = false;
  json_t *card = c->programs ? card_of_program(o->model, &elf) : NULL;
  bool ours = card != NULL;
  json_decref(card);
  if (!elf) return cached_program(a, o, d);
  o->out = strchr(o->model, '/') ? o->model : arena_printf(a, "./%s", o->model);
  return ours ? OK : diag_error(d, o->model, "is a program, but ingot did not make it");
}

/* Replaces this process by the program, which names itself in messages by the model's name. */
static Status become(const CacheCommand *c, Arena *a, const CompileOptions *o, const Args *args,
                     Diag *d) {
  char **words = mem_alloc((args->n + 3) * sizeof *words);
  uint32_t n = 0, from = args->n > 1 && strcmp(args->arg[1], "--") == 0 ? 2 : 1;
  words[n++] = (char *)(uintptr_t)model_base_name(a, o->model);
  if (c->call) words[n++] = (char *)(uintptr_t)c->call;
  if (c->call && o->json) words[n++] = (char *)(uintptr_t)"--json";
  for (uint32_t i = from; i < args->n; i++) words[n++] = (char *)(uintptr_t)args->arg[i];
  words[n] = NULL;
  fputs(diag_text(d), stderr);
  fflush(NULL);
  execv(o->out, words);
  Status s = diag_error(d, o->out, "cannot be run: %s", strerror(errno));
  mem_free(words);
  return s;
}

int cache_command(const CacheCommand *c, int argc, char **argv) {
  CompileOptions o = compile_defaults();
  Command command = c->command;
  Args args;
  command.options = compile_options;
  command.noptions = compile_options_count;
  command.min_args = 1;
  command.max_args = UINT32_MAX;
  command.rest_is_args = true;
  o.cpu = "native";
  int status = options_parse(&command, argc, argv, &o, &args);
  if (status < 0 &&
      (o.out || o.stop_after || o.target || strcmp(o.emit, "exe") || strcmp(o.backend, "cpu")))
    status =
        usage_error(command.name,
                    "--out, --target, --emit, --backend and --stop-after are for 'ingot compile'");
  if (status < 0) {
    Arena *a = arena_new();
    Diag *d = diag_new();
    o.model = args.arg[0];
    if (find_program(c, a, &o, d) == OK) become(c, a, &o, &args, d);
    fputs(diag_text(d), stderr);
    status = EXIT_FAILED;
    diag_free(d);
    arena_free(a);
  }
  args_free(&args);
  return status;
}
