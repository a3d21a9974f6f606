/* Building lists of TextSteps; shared by the readers of tokenizer.json and of GGUF metadata. */
#ifndef INGOT_FRONTEND_TOK_STEPS_H
#define INGOT_FRONTEND_TOK_STEPS_H

#include "frontend/readers.h"

typedef struct StepList {
  TextStep *v;
  uint32_t n, cap;
} StepList;

/* Appends a zeroed step; the pointer holds until the next call. */
TextStep *step_add(StepList *l, TextStepKind kind);
/* A split at a regular expression; `pattern` must outlive the model. */
void step_split(StepList *l, const char *pattern, SplitBehaviour behaviour);
void step_replace(StepList *l, const char *literal, const char *content);
void step_bytelevel(StepList *l, bool use_regex);
/* Moves the list to the arena and empties it. */
void steps_keep(Arena *a, StepList *l, TextStep **out, uint32_t *n);
TextBytes text_bytes(const char *s);

/* normalizer, pre_tokenizer, post_processor and decoder of tokenizer.json, into the spec. */
Status hf_steps_read(Reader *r, const char *where, json_t *root);

#endif
