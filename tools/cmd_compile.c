/* ingot compile: a model to a program. */
#include "tools/commands.h"
#include "tools/compile.h"
#include "tools/progress.h"

#include <stdio.h>
#include <string.h>

static const Command command = {
    .name = "compile",
    .usage = "MODEL [-o OUT] [options]",
    .help = "Compiles MODEL (a Hugging Face folder, a .gguf or a .safetensors file) into one "
            "standalone\n"
            "program with weights, tokenizer, chat template and generation loop inside.",
    .options = compile_options,
    .min_args = 1,
    .max_args = 1,
};

/* The output's name when -o is not given. */
static const char *default_out(Arena *a, const char *model, const char *emit) {
  const char *name = model_base_name(a, model);
  if (strcmp(emit, "exe") == 0) return arena_printf(a, "%s.ingot", name);
  if (strcmp(emit, "lib") == 0) return arena_printf(a, "lib%s.a", name);
  if (strcmp(emit, "obj") == 0) return arena_printf(a, "%s.o", name);
  if (strcmp(emit, "llvm-ir") == 0) return arena_printf(a, "%s.ll", name);
  if (strcmp(emit, "asm") == 0) return arena_printf(a, "%s.s", name);
  return NULL; /* text goes to stdout */
}

static void print_report(const CompileOptions *o, const CompileReport *r) {
  char file[32], weights[32], code[32];
  format_bytes(r->size.file_bytes, file);
  format_bytes(r->size.weight_bytes, weights);
  format_bytes(r->size.file_bytes - r->size.weight_bytes, code);
  fprintf(stderr, "%s: %s (weights %s, the rest %s) in %.1f s\n", o->out, file, weights, code,
          r->seconds);
  if (r->verify_error >= 0)
    fprintf(stderr, "verified: within %.2g of the reference evaluator's largest output\n",
            r->verify_error);
}

static void print_json(const CompileOptions *o, const CompileReport *r) {
  json_t *report = json_object();
  json_object_set_new(report, "out", o->out ? json_string(o->out) : json_null());
  json_object_set_new(report, "file_bytes", json_integer((json_int_t)r->size.file_bytes));
  json_object_set_new(report, "weight_bytes", json_integer((json_int_t)r->size.weight_bytes));
  json_object_set_new(report, "code_bytes", json_integer((json_int_t)r->size.code_bytes));
  json_object_set_new(report, "seconds", json_real(r->seconds));
  json_object_set_new(report, "peak_mb", json_real(r->peak_mb));
  if (r->verify_error >= 0) json_object_set_new(report, "verify_error", json_real(r->verify_error));
  json_dumpf(report, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
  putchar('\n');
  json_decref(report);
}

/* The report must be all that stands on standard output. */
static Status check_json(const CompileOptions *o, Diag *d) {
  bool text = strcmp(o->emit, "graph") == 0 || strcmp(o->emit, "kernel") == 0;
  bool to_stdout = text && (!o->out || strcmp(o->out, "-") == 0);
  if (!o->json || (!to_stdout && !o->stop_after)) return OK;
  return diag_error(d, "--json", "the IR goes to standard output too; %s",
                    o->stop_after ? "leave out --stop-after" : "write it to a file by -o");
}

int cmd_compile(int argc, char **argv) {
  CompileOptions o = compile_defaults();
  CompileReport report;
  Command c = command;
  Args args;
  c.noptions = compile_options_count;
  int status = options_parse(&c, argc, argv, &o, &args);
  if (status >= 0) {
    args_free(&args);
    return status;
  }
  Arena *a = arena_new();
  Diag *d = diag_new();
  o.model = args.arg[0];
  if (!o.out) o.out = default_out(a, o.model, o.emit);
  Status s = check_json(&o, d);
  if (s == OK) s = compile_model(&o, d, &report);
  fputs(diag_text(d), stderr);
  if (s == OK && o.json)
    print_json(&o, &report);
  else if (s == OK && !o.quiet && report.size.file_bytes)
    print_report(&o, &report);
  diag_free(d);
  arena_free(a);
  args_free(&args);
  return s == OK ? EXIT_DONE : EXIT_FAILED;
}
