/* ingot opt: passes over Graph IR text, for tests and for looking at what a pass does. */
#include "passes/pipeline.h"
#include "tools/commands.h"
#include "tools/options.h"

#include <stdio.h>
#include <string.h>

enum { LARGEST_TEXT = 64 << 20 };

typedef struct OptOptions {
  const char *passes, *quant, *act, *prefill, *out;
  bool list, explain;
} OptOptions;

#define FIELD(name) offsetof(OptOptions, name)
static const Option options[] = {
    {"passes", 0, OPTION_STRING, FIELD(passes), "A,B",
     "passes to run, in this order ('all': the pipeline)", NULL},
    {"quant", 0, OPTION_CHOICE, FIELD(quant), NULL, "for the pass quantize (default: keep)",
     quant_choices},
    {"act", 0, OPTION_CHOICE, FIELD(act), NULL, "for the pass quantize (default: i16)",
     act_choices},
    {"prefill", 0, OPTION_CHOICE, FIELD(prefill), NULL, "for the pass quantize (default: exact)",
     prefill_choices},
    {"out", 'o', OPTION_STRING, FIELD(out), "FILE", "write here instead of to stdout", NULL},
    {"explain-fusion", 0, OPTION_FLAG, FIELD(explain), NULL, "print the decisions of the pass fuse",
     NULL},
    {"list", 0, OPTION_FLAG, FIELD(list), NULL, "list the passes", NULL},
};
static const Command command = {
    .name = "opt",
    .usage = "FILE.ir --passes=A,B [options]",
    .help = "Reads Graph IR text, runs passes over it, verifies and prints the result.",
    .options = options,
    .noptions = COUNT(options),
    .max_args = 1,
};

static int list_passes(void) {
  size_t n;
  const GraphPass *all = graph_passes(&n);
  for (size_t i = 0; i < n; i++) printf("%-16s %s\n", all[i].name, all[i].purpose);
  return EXIT_DONE;
}

static PassOptions pass_options(const OptOptions *o) {
  PassOptions p = {0};
  quant_choose(&p, o->quant);
  act_choose(&p, o->act);
  prefill_choose(&p, o->prefill);
  return p;
}

static Status run(const OptOptions *o, const char *path, Arena *a, Diag *d) {
  char *text;
  size_t size;
  Buf out = {0}, explain = {0};
  PassCtx c = {.diag = d, .options = pass_options(o), .explain = o->explain ? &explain : NULL};
  TRY(file_read(a, d, path, LARGEST_TEXT, &text, &size));
  Status s = opt_text(text, path, o->passes ? o->passes : "", &c, &out);
  if (explain.data) fputs(explain.data, stderr);
  if (s == OK) s = file_write(d, o->out, out.data, out.size, 0644);
  buf_free(&out);
  buf_free(&explain);
  return s;
}

int cmd_opt(int argc, char **argv) {
  OptOptions o = {.quant = "keep", .act = "i16", .prefill = "exact"};
  Args args;
  int status = options_parse(&command, argc, argv, &o, &args);
  if (status < 0 && o.list) status = list_passes();
  if (status < 0 && !args.n)
    status = usage_error("opt", "which file? (expected %s)", command.usage);
  if (status < 0) {
    Arena *a = arena_new();
    Diag *d = diag_new();
    status = run(&o, args.arg[0], a, d) == OK ? EXIT_DONE : EXIT_FAILED;
    fputs(diag_text(d), stderr);
    diag_free(d);
    arena_free(a);
  }
  args_free(&args);
  return status;
}
