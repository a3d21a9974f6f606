/* Option tables; see args.h. The edit distance counts insertions, deletions, changes and swaps of
 * neighbours as one each; about a third of the word (at least 1, at most 3) is near.
 */
#include "runtime/core/args.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 40 };

static size_t edit_distance(const char *a, const char *b) {
  size_t na = strlen(a), nb = strlen(b);
  unsigned char d[MAX_WORD + 1][MAX_WORD + 1];
  if (na > MAX_WORD || nb > MAX_WORD) return MAX_WORD;
  for (size_t i = 0; i <= na; i++) {
    for (size_t j = 0; j <= nb; j++) {
      if (i == 0 || j == 0) {
        d[i][j] = (unsigned char)(i + j);
        continue;
      }
      unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (d[i - 1][j] + 1u < best) best = d[i - 1][j] + 1u;
      if (d[i][j - 1] + 1u < best) best = d[i][j - 1] + 1u;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
          d[i - 2][j - 2] + 1u < best)
        best = d[i - 2][j - 2] + 1u;
      d[i][j] = (unsigned char)best;
    }
  }
  return d[na][nb];
}

const char *args_nearest(const char *word, const char *const *names, size_t n) {
  size_t limit = (strlen(word) + 1) / 3;
  if (limit < 1) limit = 1;
  if (limit > 3) limit = 3;
  const char *best = NULL;
  for (size_t i = 0; i < n; i++) {
    size_t k = edit_distance(word, names[i]);
    if (k <= limit && (k < limit || !best)) {
      best = names[i];
      limit = k;
    }
  }
  return best;
}

static int unknown_option(const ArgSpec *specs, size_t n, const char *word, Err *e) {
  const char *names[64], *near;
  size_t count = 0;
  for (size_t i = 0; i < n && count < 63; i++) names[count++] = specs[i].name;
  names[count++] = "--help";
  char name[MAX_WORD + 1];
  size_t k = strcspn(word, "=");
  if (k > MAX_WORD) k = MAX_WORD;
  memcpy(name, word, k);
  name[k] = 0;
  near = args_nearest(name, names, count);
  if (near) return err_set(e, name, "unknown option; did you mean %s?", near);
  return err_set(e, name, "unknown option; --help lists them all");
}

static int number_value(const ArgSpec *s, const char *text, void *at, Err *e) {
  char *end;
  errno = 0;
  if (s->kind == ARG_INT) {
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || (double)v < s->lo || (double)v > s->hi)
      return err_set(e, s->name, "'%s' is not possible (expected an integer from %.0f to %.0f)",
                     text, s->lo, s->hi);
    *(int64_t *)at = v;
    return 0;
  }
  double v = strtod(text, &end);
  if (end == text || *end || isnan(v) || v < s->lo || v > s->hi)
    return err_set(e, s->name, "'%s' is not possible (expected a number from %g to %g)", text,
                   s->lo, s->hi);
  *(double *)at = v;
  return 0;
}

static int set_value(const ArgSpec *s, const char *text, void *options, Err *e) {
  void *at = (char *)options + s->offset;
  switch (s->kind) {
  case ARG_FLAG: *(bool *)at = true; return 0;
  case ARG_TEXT: *(const char **)at = text; return 0;
  case ARG_LIST: {
    ArgList *l = at;
    if (l->n == ARG_LIST_MAX)
      return err_set(e, s->name, "may be given at most %d times", ARG_LIST_MAX);
    l->item[l->n++] = text;
    return 0;
  }
  default: return number_value(s, text, at, e);
  }
}

/* The row that `word` names; *value is what stands behind '=' or a letter, or NULL. */
static const ArgSpec *find_spec(const ArgSpec *specs, size_t n, const char *word,
                                const char **value) {
  *value = NULL;
  for (size_t i = 0; i < n; i++) {
    size_t k = strlen(specs[i].name);
    if (strncmp(word, specs[i].name, k) == 0 && (word[k] == 0 || word[k] == '=')) {
      if (word[k] == '=') *value = word + k + 1;
      return &specs[i];
    }
    if (specs[i].brief && word[1] == specs[i].brief &&
        (word[2] == 0 || specs[i].kind != ARG_FLAG)) {
      if (word[2]) *value = word + 2;
      return &specs[i];
    }
  }
  return NULL;
}

int args_parse(const ArgSpec *specs, size_t n, void *options, int argc, char **argv, Args *out,
               Err *e) {
  bool only_positional = false;
  *out = (Args){.argv = argv};
  for (int i = 0; i < argc; i++) {
    char *word = argv[i];
    if (only_positional || word[0] != '-' || word[1] == 0) {
      argv[out->argc++] = word;
      continue;
    }
    if (strcmp(word, "--") == 0) {
      only_positional = true;
      continue;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
      out->help = true;
      continue;
    }
    const char *value;
    const ArgSpec *s = find_spec(specs, n, word, &value);
    if (!s) return unknown_option(specs, n, word, e);
    if (s->kind == ARG_FLAG) {
      if (value) return err_set(e, s->name, "takes no value");
    } else if (!value) {
      if (i + 1 == argc) return err_set(e, s->name, "needs a value (%s)", s->metavar);
      value = argv[++i];
    }
    if (set_value(s, value, options, e)) return 1;
  }
  return 0;
}

void args_help(const ArgSpec *specs, size_t n, Out *o) {
  for (size_t i = 0; i < n; i++) {
    const ArgSpec *s = &specs[i];
    Out left = {0};
    if (s->brief) out_printf(&left, "-%c, ", s->brief);
    out_puts(&left, s->name);
    if (s->metavar) out_printf(&left, " %s", s->metavar);
    out_printf(o, "  %-24s %s\n", left.data ? left.data : "", s->help);
    out_free(&left);
  }
}
