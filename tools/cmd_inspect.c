/* ingot inspect: what a model file or a produced program is. */
#include "frontend/model.h"
#include "ir/quant.h"
#include "tools/card.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/tensors_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct InspectOptions {
  bool json, tensors, template;
} InspectOptions;

#define FIELD(name) offsetof(InspectOptions, name)
static const Option options[] = {
    {"json", 0, OPTION_FLAG, FIELD(json), NULL, "everything as JSON on stdout", NULL},
    {"tensors", 't', OPTION_FLAG, FIELD(tensors), NULL, "list every tensor with format and shape",
     NULL},
    {"template", 0, OPTION_FLAG, FIELD(template), NULL, "print the chat template", NULL},
};
static const Command command = {
    .name = "inspect",
    .usage = "FILE [--tensors] [--template] [--json]",
    .help = "Says what FILE is: a model folder, a .gguf or .safetensors file (alone too), or a "
            "program that\ningot made.",
    .options = options,
    .noptions = COUNT(options),
    .min_args = 1,
    .max_args = 1,
};

static const char *format_name(const WeightView *v) {
  return v->storage == Q_plain ? dtype_name(v->dtype) : storage_name(v->storage);
}

static uint64_t elements(const WeightView *v) {
  uint64_t n = 1;
  for (uint32_t i = 0; i < v->rank; i++) n *= (uint64_t)v->dim[i];
  return n;
}

static json_t *tensor_list(const Model *m) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < m->nweights; i++) {
    const WeightView *v = &m->weights[i].view;
    json_t *shape = json_array(), *t = json_object();
    for (uint32_t k = 0; k < v->rank; k++) json_array_append_new(shape, json_integer(v->dim[k]));
    json_object_set_new(t, "name", json_string(m->weights[i].name));
    json_object_set_new(t, "format", json_string(format_name(v)));
    json_object_set_new(t, "shape", shape);
    json_object_set_new(t, "bytes", json_integer((json_int_t)v->bytes));
    json_array_append_new(list, t);
  }
  return list;
}

/* Parameters and bytes by format. */
static json_t *format_totals(const Model *m, uint64_t *parameters, uint64_t *bytes) {
  json_t *totals = json_object();
  *parameters = *bytes = 0;
  for (uint32_t i = 0; i < m->nweights; i++) {
    const WeightView *v = &m->weights[i].view;
    const char *name = format_name(v);
    json_int_t before = json_integer_value(json_object_get(totals, name));
    json_object_set_new(totals, name, json_integer(before + (json_int_t)elements(v)));
    *parameters += elements(v);
    *bytes += v->bytes;
  }
  return totals;
}

static json_t *tokenizer_facts(const TokenizerSpec *t) {
  static const char *const kinds[] = {"none", "BPE", "Unigram", "WordPiece"};
  json_t *j = json_object();
  json_object_set_new(j, "model", json_string(kinds[t->model]));
  json_object_set_new(j, "vocab", json_integer(t->nvocab));
  json_object_set_new(j, "merges", json_integer(t->nmerges));
  json_object_set_new(j, "added", json_integer(t->nadded));
  json_object_set_new(j, "byte_level", json_boolean(t->byte_level));
  return j;
}

/* Of a safetensors file without a model around it. */
static json_t *tensors_facts(const Model *m) {
  json_t *j = json_object();
  uint64_t parameters, bytes;
  json_t *totals = format_totals(m, &parameters, &bytes);
  json_object_set_new(j, "kind", json_string("tensors"));
  json_object_set_new(j, "format", json_string("safetensors"));
  json_object_set_new(j, "parameters", json_integer((json_int_t)parameters));
  json_object_set_new(j, "weight_bytes", json_integer((json_int_t)bytes));
  json_object_set_new(j, "formats", totals);
  json_object_set_new(j, "tensors", tensor_list(m));
  return j;
}

static json_t *model_facts(const Model *m) {
  static const char *const formats[] = {"Hugging Face folder", "GGUF", "ONNX"};
  json_t *j = json_object();
  uint64_t parameters, bytes;
  json_t *totals = format_totals(m, &parameters, &bytes);
  json_object_set_new(j, "kind", json_string("model"));
  json_object_set_new(j, "format", json_string(formats[m->format]));
  json_object_set_new(j, "name", m->card.name ? json_string(m->card.name) : json_null());
  json_object_set_new(j, "architecture", m->arch ? json_string(m->arch) : json_null());
  json_object_set_new(j, "license", m->card.license ? json_string(m->card.license) : json_null());
  json_object_set_new(j, "parameters", json_integer((json_int_t)parameters));
  json_object_set_new(j, "weight_bytes", json_integer((json_int_t)bytes));
  json_object_set_new(j, "formats", totals);
  json_object_set_new(j, "tokenizer", tokenizer_facts(&m->tokenizer));
  json_object_set_new(j, "chat_template",
                      m->chat.source ? json_string(m->chat.source) : json_null());
  json_object_set_new(j, "tensors", tensor_list(m));
  return j;
}

static void print_value(const char *key, const json_t *v) {
  if (json_is_string(v))
    printf("%-14s %s\n", key, json_string_value(v));
  else if (json_is_integer(v))
    printf("%-14s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(v));
  else if (json_is_boolean(v))
    printf("%-14s %s\n", key, json_is_true(v) ? "yes" : "no");
}

static void print_object(const char *key, json_t *object) {
  const char *name;
  json_t *v;
  printf("%-14s", key);
  json_object_foreach(object, name, v) {
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    printf(" %s %s", name, text);
    free(text);
  }
  printf("\n");
}

/* A list of names; other lists are for --json. */
static void print_names(const char *key, json_t *list) {
  size_t i;
  json_t *v;
  if (!json_is_string(json_array_get(list, 0))) return;
  printf("%-14s", key);
  json_array_foreach(list, i, v) printf(" %s", json_string_value(v));
  printf("\n");
}

static void print_tensors(json_t *list) {
  size_t i;
  json_t *t;
  json_array_foreach(list, i, t) {
    char *shape = json_dumps(json_object_get(t, "shape"), JSON_COMPACT);
    printf("  %-56s %-8s %s\n", json_string_value(json_object_get(t, "name")),
           json_string_value(json_object_get(t, "format")), shape);
    free(shape);
  }
}

static void print_facts(json_t *facts, const InspectOptions *o) {
  const char *key;
  json_t *v;
  json_object_foreach(facts, key, v) {
    bool template = strcmp(key, "chat_template") == 0;
    if (template)
      printf("%-14s %s\n", key, json_is_string(v) ? "yes" : "no");
    else if (json_is_object(v))
      print_object(key, v);
    else if (strcmp(key, "tensors") == 0)
      printf("%-14s %zu\n", key, json_array_size(v));
    else if (json_is_array(v))
      print_names(key, v);
    else
      print_value(key, v);
  }
  if (o->tensors) print_tensors(json_object_get(facts, "tensors"));
  if (o->template && json_is_string(json_object_get(facts, "chat_template")))
    printf("\n%s\n", json_string_value(json_object_get(facts, "chat_template")));
}

/* Is it a safetensors file with no config.json beside it? */
static bool is_lone(const char *path) {
  const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
  Buf config = {0};
  if (!dot || strcmp(dot, ".safetensors") != 0) return false;
  buf_put(&config, path, slash ? (size_t)(slash + 1 - path) : 0);
  buf_puts(&config, "config.json");
  bool lone = !file_exists(config.data) && file_exists(path);
  buf_free(&config);
  return lone;
}

static Status collect(const char *path, Diag *d, json_t **out) {
  bool elf;
  *out = card_of_program(path, &elf);
  if (elf) return *out ? OK : diag_error(d, path, "is a program, but ingot did not make it");
  Model *m;
  if (is_lone(path)) {
    Status s = tensors_model(path, d, &m);
    if (s == OK) *out = tensors_facts(m);
    model_close(m);
    return s;
  }
  TRY(model_open(path, MODEL_WEIGHTS | MODEL_TEXT, d, &m));
  *out = model_facts(m);
  model_close(m);
  return OK;
}

int cmd_inspect(int argc, char **argv) {
  InspectOptions o = {0};
  Args args;
  int status = options_parse(&command, argc, argv, &o, &args);
  if (status < 0) {
    Diag *d = diag_new();
    json_t *facts = NULL;
    status = collect(args.arg[0], d, &facts) == OK ? EXIT_DONE : EXIT_FAILED;
    fputs(diag_text(d), stderr);
    if (facts && o.json) {
      json_dumpf(facts, stdout, JSON_INDENT(2));
      putchar('\n');
    } else if (facts) {
      print_facts(facts, &o);
    }
    json_decref(facts);
    diag_free(d);
  }
  args_free(&args);
  return status;
}
