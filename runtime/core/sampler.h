/* Choosing the next token.
 *
 * Order, as in Transformers: repetition penalty (each token of prompt and answer once),
 * temperature, top-k, top-p, min-p, then one draw. Random numbers: xoshiro256++ seeded by
 * splitmix64, so a seed gives the same answer on every machine.
 */
#ifndef INGOT_RUNTIME_SAMPLER_H
#define INGOT_RUNTIME_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct SamplerOptions {
  double temperature;    /* 0: the most probable token */
  double top_p;          /* 1: off */
  double min_p;          /* 0: off */
  double repeat_penalty; /* 1: off */
  int64_t top_k;         /* 0: off */
  uint64_t seed;
} SamplerOptions;

typedef struct Sampler Sampler;
Sampler *sampler_new(int64_t vocab, const SamplerOptions *o); /* NULL: out of memory */
void sampler_free(Sampler *s);
/* True when the choice is the model's own argmax and logits need not be looked at. */
bool sampler_is_greedy(const Sampler *s);
/* Counts a token of the prompt or the answer for the repetition penalty. */
void sampler_see(Sampler *s, uint32_t id);
void sampler_forget(Sampler *s); /* a new sequence; the random numbers go on */
/* Picks from logits[vocab], which it changes. NaN counts as minus infinity. */
uint32_t sampler_pick(Sampler *s, float *logits);

#endif
