/* Lists of TextSteps; see tok_steps.h. */
#include "frontend/tok_steps.h"

#include <string.h>

TextBytes text_bytes(const char *s) {
  return (TextBytes){s, (uint32_t)strlen(s)};
}

TextStep *step_add(StepList *l, TextStepKind kind) {
  TextStep *s = VEC_PUSH(l->v, l->n, l->cap);
  *s = (TextStep){.kind = kind};
  return s;
}

void step_split(StepList *l, const char *pattern, SplitBehaviour behaviour) {
  TextStep *s = step_add(l, STEP_SPLIT);
  s->pattern = text_bytes(pattern);
  s->behaviour = behaviour;
}

void step_replace(StepList *l, const char *literal, const char *content) {
  TextStep *s = step_add(l, STEP_REPLACE);
  s->pattern = text_bytes(literal);
  s->content = text_bytes(content);
  s->is_literal = true;
}

void step_bytelevel(StepList *l, bool use_regex) {
  step_add(l, STEP_BYTELEVEL)->use_regex = use_regex;
}

void steps_keep(Arena *a, StepList *l, TextStep **out, uint32_t *n) {
  *out = ARENA_ARRAY(a, TextStep, l->n);
  if (l->n) memcpy(*out, l->v, l->n * sizeof *l->v);
  *n = l->n;
  mem_free(l->v);
  *l = (StepList){0};
}
