/* A model made by hand, so that the runtime can be tested without the compiler.
 *
 * Its state is the list of ids seen; the logit of word v is a sum over all visible positions of a
 * small hash of (id, position, v), added in order. So every logit depends on the whole history, on
 * positions and on the mask, and any slip of chunking, rewinding or threading shows. Integers below
 * 2^24 are exact in f32, so results can be compared exactly.
 */
#include "runtime/abi.h"

enum { TOY_FLAT = 20, TOY_PEAKED = 30 };
enum { VOCAB = 37, CONTEXT = 48, CHUNK = 8, LOGITS_CHUNK = 5 };
enum { D_ONE = 1, D_P, D_S, D_T, D_VOCAB, D_PS, D_PT, D_SV, D_TV, NDIMS };

int32_t toy_hash(int32_t id, int32_t pos, int32_t v);
int32_t toy_hash(int32_t id, int32_t pos, int32_t v) {
  uint32_t h = (uint32_t)id * 2654435761u ^ (uint32_t)pos * 40503u ^ (uint32_t)v * 2246822519u;
  h ^= h >> 15;
  h *= 2246822519u;
  h ^= h >> 13;
  return (int32_t)(h % 2001u) - 1000;
}

/* append(ids, pos, state; P), par S */
static void append(void *const *b, const int64_t *s, int64_t lo, int64_t hi) {
  const int32_t *ids = b[0], *pos = b[1];
  int32_t *state = b[2];
  for (int64_t i = lo; i < hi; i++) {
    state[2 * (s[0] + i)] = ids[i];
    state[2 * (s[0] + i) + 1] = pos[i];
  }
}

static float score(const int32_t *state, const float *mask, int64_t last, int32_t v) {
  float sum = 0;
  for (int64_t j = 0; j <= last; j++)
    if (!mask || mask[j] != 0) sum += (float)toy_hash(state[2 * j], state[2 * j + 1], v);
  return sum;
}

/* last_row(state, out; P, S), par VOCAB: logits behind the last position */
static void last_row(void *const *b, const int64_t *s, int64_t lo, int64_t hi) {
  float *out = b[1];
  for (int64_t v = lo; v < hi; v++) out[v] = score(b[0], 0, s[0] + s[1] - 1, (int32_t)v);
}

/* all_rows(state, mask, out; P), par T * VOCAB */
static void all_rows(void *const *b, const int64_t *s, int64_t lo, int64_t hi) {
  float *out = b[2];
  for (int64_t i = lo; i < hi; i++)
    out[i] = score(b[0], b[1], s[0] + i / VOCAB, (int32_t)(i % VOCAB));
}

/* argmax(logits, token), par 1 */
static void argmax(void *const *b, const int64_t *s, int64_t lo, int64_t hi) {
  const float *logits = b[0];
  int32_t best = 0;
  (void)s;
  if (lo >= hi) return;
  for (int32_t v = 1; v < VOCAB; v++)
    if (logits[v] > logits[best]) best = v;
  *(int32_t *)b[1] = best;
}

/* full(out; P), par 1: what entry greedy says it read of the output matrix, all from TOY_FLAT to
 * TOY_PEAKED */
static void full(void *const *b, const int64_t *s, int64_t lo, int64_t hi) {
  if (lo < hi) *(int32_t *)b[0] = s[0] >= TOY_FLAT && s[0] < TOY_PEAKED ? VOCAB : 1;
}

static const IngotDim dims[NDIMS] = {
    [D_ONE] = {.kind = INGOT_DIM_CONST, .value = 1},
    [D_P] = {.kind = INGOT_DIM_SYMBOL, .lo = 0, .hi = CONTEXT - 1, .name = "P"},
    [D_S] = {.kind = INGOT_DIM_SYMBOL, .lo = 1, .hi = CHUNK, .name = "S"},
    [D_T] = {.kind = INGOT_DIM_SYMBOL, .lo = 1, .hi = LOGITS_CHUNK, .name = "T"},
    [D_VOCAB] = {.kind = INGOT_DIM_CONST, .value = VOCAB},
    [D_PS] = {.kind = INGOT_DIM_ADD, .a = D_P, .b = D_S},
    [D_PT] = {.kind = INGOT_DIM_ADD, .a = D_P, .b = D_T},
    [D_SV] = {.kind = INGOT_DIM_MUL, .a = D_S, .b = D_VOCAB},
    [D_TV] = {.kind = INGOT_DIM_MUL, .a = D_T, .b = D_VOCAB},
};

static const IngotArg args[] = {
    {INGOT_INPUT, 0, 0},  {INGOT_INPUT, 1, 0},  {INGOT_STATE, 0, 0}, /* 0: append */
    {INGOT_STATE, 0, 0},  {INGOT_ARENA, 0, 64},                      /* 3: last_row to the arena */
    {INGOT_ARENA, 0, 64}, {INGOT_OUTPUT, 1, 0},                      /* 5: argmax */
    {INGOT_STATE, 0, 0},  {INGOT_OUTPUT, 0, 0},                      /* 7: last_row to the output */
    {INGOT_STATE, 0, 0},  {INGOT_INPUT, 2, 0},  {INGOT_OUTPUT, 0, 0}, /* 9: all_rows */
    {INGOT_ARENA, 0, 64}, {INGOT_OUTPUT, 0, 0}, {INGOT_OUTPUT, 1, 0}, /* 12: argmax, 14: full */
};
static const uint32_t scalars[] = {D_P, D_ONE, D_P, D_S, D_P};

enum { K_APPEND, K_LAST, K_ALL, K_ARGMAX, K_FULL };
static const IngotLaunch decode[] = {
    {.kernel = K_APPEND,
     .first_arg = 0,
     .nargs = 3,
     .first_scalar = 0,
     .nscalars = 1,
     .extent = D_ONE},
    {.kernel = K_LAST,
     .first_arg = 3,
     .nargs = 2,
     .first_scalar = 0,
     .nscalars = 2,
     .extent = D_VOCAB,
     .flops = D_VOCAB,
     .label = "layer 0 / attention / history",
     .barrier = 1},
    {.kernel = K_ARGMAX,
     .first_arg = 5,
     .nargs = 2,
     .extent = D_ONE,
     .barrier = 1,
     .label = "layer / not numbered"},
    {.kernel = K_LAST,
     .first_arg = 7,
     .nargs = 2,
     .first_scalar = 0,
     .nscalars = 2,
     .extent = D_VOCAB,
     .flops = D_VOCAB,
     .label = "layer 11 / attention / history"},
};
static const IngotLaunch prefill[] = {
    {.kernel = K_APPEND,
     .first_arg = 0,
     .nargs = 3,
     .first_scalar = 2,
     .nscalars = 1,
     .extent = D_S},
    {.kernel = K_LAST,
     .first_arg = 3,
     .nargs = 2,
     .first_scalar = 2,
     .nscalars = 2,
     .extent = D_VOCAB,
     .barrier = 1},
    {.kernel = K_ARGMAX, .first_arg = 5, .nargs = 2, .extent = D_ONE, .barrier = 1},
    {.kernel = K_LAST,
     .first_arg = 7,
     .nargs = 2,
     .first_scalar = 2,
     .nscalars = 2,
     .extent = D_VOCAB},
};
static const IngotLaunch logits[] = {
    {.kernel = K_APPEND,
     .first_arg = 0,
     .nargs = 3,
     .first_scalar = 4,
     .nscalars = 1,
     .extent = D_T},
    {.kernel = K_ALL,
     .first_arg = 9,
     .nargs = 3,
     .first_scalar = 4,
     .nscalars = 1,
     .extent = D_TV,
     .barrier = 1},
};

static const IngotLaunch greedy[] = {
    {.kernel = K_APPEND, .first_arg = 0, .nargs = 3, .nscalars = 1, .extent = D_ONE},
    {.kernel = K_LAST, .first_arg = 3, .nargs = 2, .nscalars = 2, .extent = D_VOCAB, .barrier = 1},
    {.kernel = K_ARGMAX, .first_arg = 12, .nargs = 2, .extent = D_ONE, .barrier = 1},
    {.kernel = K_FULL, .first_arg = 14, .nargs = 1, .nscalars = 1, .extent = D_ONE},
};

static const IngotTensor decode_in[] = {{"ids", INGOT_I32, 1, {D_ONE}},
                                        {"pos", INGOT_I32, 1, {D_ONE}}};
static const IngotTensor prefill_in[] = {{"ids", INGOT_I32, 1, {D_S}},
                                         {"pos", INGOT_I32, 1, {D_S}}};
static const IngotTensor logits_in[] = {
    {"ids", INGOT_I32, 1, {D_T}}, {"pos", INGOT_I32, 1, {D_T}}, {"mask", INGOT_F32, 1, {D_PT}}};
static const IngotTensor last_out[] = {{"logits", INGOT_F32, 2, {D_ONE, D_VOCAB}},
                                       {"token", INGOT_I32, 1, {D_ONE}}};
static const IngotTensor greedy_out[] = {{"token", INGOT_I32, 1, {D_ONE}},
                                         {"full", INGOT_I32, 1, {D_ONE}}};
static const IngotTensor all_out[] = {{"logits", INGOT_F32, 2, {D_T, D_VOCAB}}};

static const IngotEntry entries[] = {
    {"decode", decode_in, last_out, 2, 2, decode, 4, 64 + 4 * VOCAB},
    {"prefill", prefill_in, last_out, 2, 2, prefill, 4, 64 + 4 * VOCAB},
    {"logits", logits_in, all_out, 3, 1, logits, 2, 0},
    {"greedy", decode_in, greedy_out, 2, 2, greedy, 4, 64 + 4 * VOCAB},
};
static const IngotKernelInfo kernels[] = {{"append", "map"},
                                          {"last_row", "row"},
                                          {"all_rows", "row"},
                                          {"argmax", "row"},
                                          {"full", "row"}};
static IngotKernelFn *const code[] = {append, last_row, all_rows, argmax, full};
static const IngotLevel levels[] = {{INGOT_X86_64_V2, "x86-64-v2", code},
                                    {INGOT_AARCH64_I8MM, "aarch64-i8mm", code}};
static const IngotState states[] = {{"history", 8 * CONTEXT}};
static const int64_t eos[] = {5};
static const uint8_t weights[65536] = {1, 2, 3};

const IngotModel ingot_model = {
    .abi = INGOT_ABI,
    .name = "toy",
    .arch = "hand-made",
    .task = "generate",
    .dims = dims,
    .ndims = NDIMS,
    .entries = entries,
    .nentries = 4,
    .args = args,
    .scalars = scalars,
    .kernels = kernels,
    .nkernels = 5,
    .levels = levels,
    .nlevels = 2,
    .states = states,
    .nstates = 1,
    .weights = weights,
    .weight_bytes = sizeof weights,
    .generation = {.vocab = VOCAB,
                   .context = CONTEXT,
                   .chunk = CHUNK,
                   .logits_chunk = LOGITS_CHUNK,
                   .bos_id = 1,
                   .eos_ids = eos,
                   .neos = 1,
                   .temperature = -1,
                   .top_p = -1,
                   .min_p = -1,
                   .repetition_penalty = -1,
                   .top_k = -1,
                   .max_new_tokens = -1,
                   .do_sample = -1},
    .card = {"{\"made\": \"by hand\"}", 19},
};
