/* ingot: the driver. One row a command; each lives in tools/cmd_<name>.c. */
#include "ir/base.h"
#include "tools/commands.h"
#include "tools/options.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct CommandRow {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *purpose;
} commands[] = {
    {"compile", cmd_compile, "make a standalone program of a model"},
    {"run", cmd_run, "compile a model into the cache, then become the program"},
    {"profile", cmd_profile, "show where a program's or model's time goes"},
    {"inspect", cmd_inspect, "say what a model file or a produced program is"},
    {"eval", cmd_eval, "run IR text by the reference evaluator"},
    {"opt", cmd_opt, "run passes over IR text"},
};

static void print_help(void) {
  printf(
      "usage: ingot COMMAND [options]\n\n"
      "Compiles a trained model (a Hugging Face folder, a .gguf or .safetensors file) into one\n"
      "standalone native program with weights, tokenizer and chat template inside.\n\ncommands:\n");
  for (size_t i = 0; i < COUNT(commands); i++)
    printf("  %-10s %s\n", commands[i].name, commands[i].purpose);
  printf("\n'ingot COMMAND --help' tells the options of each. For example:\n"
         "  ingot compile model.gguf -o chat && ./chat \"What is an ingot?\"\n");
}

static int unknown_command(const char *word) {
  if (!*word) return usage_error("''", "is no command; 'ingot --help' lists them");
  const char *names[COUNT(commands)];
  for (size_t i = 0; i < COUNT(commands); i++) names[i] = commands[i].name;
  const char *near = nearest_name(word, names, COUNT(names));
  if (near) return usage_error(word, "unknown command; did you mean '%s'?", near);
  return usage_error(word, "unknown command; 'ingot --help' lists them");
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported where it happens */
  signal(SIGXFSZ, SIG_IGN); /* so is a file-size limit */
  if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
      strcmp(argv[1], "help") == 0) {
    print_help();
    return argc < 2 ? EXIT_USAGE : EXIT_DONE;
  }
  if (strcmp(argv[1], "--version") == 0) {
    printf("ingot %s\n", INGOT_VERSION);
    return EXIT_DONE;
  }
  for (size_t i = 0; i < COUNT(commands); i++) {
    if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 2, argv + 2);
  }
  return unknown_command(argv[1]);
}
