/* Command-line options: see tools/options.h. */
#include "tools/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 26, MOST_OPTIONS = 64 };

int usage_error(const char *where, const char *fmt, ...) {
  va_list args;
  fprintf(stderr, "ingot: error: %s: ", where);
  va_start(args, fmt);
  vfprintf(stderr, fmt, args);
  va_end(args);
  fputc('\n', stderr);
  return EXIT_USAGE;
}

void args_free(Args *a) {
  mem_free(a->arg);
  *a = (Args){0};
}

static void print_choices(const Option *o, FILE *out) {
  for (const char *const *c = o->choices; *c; c++)
    fprintf(out, "%s%s", c == o->choices ? "" : "|", *c);
}

/* The option as help shows it: "-o, --out FILE". */
static int print_option_name(const Option *o) {
  char value[256] = "";
  if (o->kind == OPTION_CHOICE) {
    size_t used = 0;
    for (const char *const *c = o->choices; *c && used < sizeof value; c++)
      used += (size_t)snprintf(value + used, sizeof value - used, "%s%s", used ? "|" : " ", *c);
  } else if (o->kind == OPTION_OPTIONAL) {
    snprintf(value, sizeof value, "[=%s]", o->value);
  } else if (o->value) {
    snprintf(value, sizeof value, " %s", o->value);
  }
  if (o->letter) return printf("  -%c, --%s%s", o->letter, o->name, value);
  return printf("  --%s%s", o->name, value);
}

static void print_help(const Command *c) {
  printf("usage: ingot %s %s\n\n%s\n", c->name, c->usage, c->help);
  if (c->noptions) printf("\noptions:\n");
  for (size_t i = 0; i < c->noptions; i++) {
    const Option *o = &c->options[i];
    if (!o->help) continue;
    int width = print_option_name(o);
    if (width >= HELP_COLUMN) {
      printf("\n%*s", HELP_COLUMN, "");
    } else {
      printf("%*s", HELP_COLUMN - width, "");
    }
    printf("%s\n", o->help);
  }
}

static const Option *find_option(const Command *c, const char *name, size_t n) {
  for (size_t i = 0; i < c->noptions; i++) {
    if (strlen(c->options[i].name) == n && memcmp(c->options[i].name, name, n) == 0)
      return &c->options[i];
  }
  return NULL;
}

static const Option *find_letter(const Command *c, char letter) {
  for (size_t i = 0; i < c->noptions; i++) {
    if (letter && c->options[i].letter == letter) return &c->options[i];
  }
  return NULL;
}

static int unknown_option(const Command *c, const char *given) {
  const char *names[MOST_OPTIONS];
  char word[64];
  size_t n = 0;
  for (size_t i = 0; i < c->noptions && n < MOST_OPTIONS; i++) {
    if (c->options[i].help) names[n++] = c->options[i].name;
  }
  snprintf(word, sizeof word, "%.*s", (int)strcspn(given, "="), given);
  const char *near = nearest_name(word + strspn(word, "-"), names, n);
  if (near) return usage_error(c->name, "unknown option '%s'; did you mean '--%s'?", word, near);
  return usage_error(c->name, "unknown option '%s'; see 'ingot %s --help'", word, c->name);
}

static int set_choice(const Command *c, const Option *o, const char *value, const char **field) {
  size_t n = 0;
  for (; o->choices[n]; n++) {
    if (strcmp(o->choices[n], value) == 0) {
      *field = o->choices[n];
      return -1;
    }
  }
  const char *near = nearest_name(value, o->choices, n);
  fprintf(stderr, "ingot: error: %s: --%s: '%s' is not known (expected ", c->name, o->name, value);
  print_choices(o, stderr);
  if (near)
    fprintf(stderr, "); did you mean '%s'?\n", near);
  else
    fprintf(stderr, ")\n");
  return EXIT_USAGE;
}

static int set_value(const Command *c, const Option *o, const char *value, void *fields) {
  void *field = (char *)fields + o->offset;
  switch (o->kind) {
  case OPTION_FLAG: *(bool *)field = true; return -1;
  case OPTION_STRING:
  case OPTION_OPTIONAL: *(const char **)field = value; return -1;
  case OPTION_CHOICE: return set_choice(c, o, value, field);
  case OPTION_INT: break;
  }
  char *end;
  errno = 0;
  long long n = strtoll(value, &end, 10);
  if (errno || end == value || *end || n < 0)
    return usage_error(c->name, "--%s: '%s' is not a whole number >= 0", o->name, value);
  *(int64_t *)field = n;
  return -1;
}

/* One option at argv[*at]; moves *at past a value that stands apart. */
static int parse_option(const Command *c, int argc, char **argv, int *at, void *fields) {
  const char *given = argv[*at], *value = NULL;
  const Option *o;
  if (given[1] == '-') {
    size_t n = strcspn(given + 2, "=");
    o = find_option(c, given + 2, n);
    if (given[2 + n] == '=') value = given + 3 + n;
  } else {
    o = find_letter(c, given[1]);
    if (given[2]) value = given + 2;
  }
  if (!o) return unknown_option(c, given);
  if (o->kind == OPTION_FLAG && value)
    return usage_error(c->name, "--%s takes no value (got '%s')", o->name, value);
  if (o->kind == OPTION_OPTIONAL && !value) value = "";
  if (o->kind != OPTION_FLAG && !value) {
    if (*at + 1 >= argc) return usage_error(c->name, "--%s needs a value", o->name);
    value = argv[++*at];
  }
  return set_value(c, o, value, fields);
}

int options_parse(const Command *c, int argc, char **argv, void *fields, Args *out) {
  bool only_args = false;
  uint32_t cap = 0;
  *out = (Args){0};
  for (int i = 0; i < argc; i++) {
    const char *a = argv[i];
    if (only_args || a[0] != '-' || !a[1]) {
      *VEC_PUSH(out->arg, out->n, cap) = a;
      only_args |= c->rest_is_args;
    } else if (strcmp(a, "--") == 0) {
      only_args = true;
    } else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
      print_help(c);
      return EXIT_DONE;
    } else {
      int status = parse_option(c, argc, argv, &i, fields);
      if (status >= 0) return status;
    }
  }
  if (out->n < c->min_args)
    return usage_error(c->name, "too few arguments (expected %s)", c->usage);
  if (out->n > c->max_args)
    return usage_error(c->name, "unexpected argument '%s' (expected %s)", out->arg[c->max_args],
                       c->usage);
  return -1;
}
