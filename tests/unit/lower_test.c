/* Lowering of a whole model: values, bits, memory plan, barriers, shared kernels.
 *
 * The model is a small llama of odd sizes (hidden 72, 6 heads of 12 over 2, vocabulary 131), merged
 * linears and requants in place as the graph passes leave them, with the three entries of a text
 * program. Its weights are noise in integer formats. Interpreted by kprogram_eval, it must agree
 * with graph_eval, and its last logits must have the same bits however the tokens are cut into
 * runs, whatever the tiles, fused or op by op.
 */
#include "ir/eval.h"
#include "passes/lower/launch.h"
#include "passes/passes.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 131, TOKENS = 83 };

static const LowerTarget NARROW = {"narrow", 1, 1, 1, 1, 0}, WIDE = {"wide", 4, 8, 4, 8, 2048},
                         ODD = {"odd", 3, 5, 3, 3, 1024, .mma = true};

typedef struct World {
  Module *module;
  KProgram *program;
  uint8_t *weights, **states;
  Diag *diag;
  Arena *arena;
  Buf explain;
} World;

/* ---- the model ----------------------------------------------------------------------------- */

static void put_layer_weights(Buf *b, int i) {
  buf_printf(b,
             "const %%g%d : tensor<72 x f32> = weight \"g%d\"\n"
             "const %%wqkv%d : tensor<120x72 x f32 : q4_1> = weight \"qkv%d\"\n"
             "const %%wo%d : tensor<72x72 x f32 : q8_0> = weight \"o%d\"\n"
             "const %%h%d : tensor<72 x f32> = weight \"h%d\"\n"
             "const %%wgu%d : tensor<192x72 x f32 : q4_0> = weight \"gu%d\"\n"
             "const %%wd%d : tensor<72x96 x f32 : q5_1> = weight \"d%d\"\n"
             "state %%kv%d : cache<slots=1, context=200, kv_heads=2, head_dim=12, f16>\n",
             i, i, i, i, i, i, i, i, i, i, i, i, i);
}

static void put_layer(Buf *b, int i, const char *mask) {
  buf_printf(b,
             "%%n%d = rmsnorm %%x%d, %%g%d {eps = 1e-05}  // layer %d / input norm\n"
             "%%nq%d = requant %%n%d {act = i16}\n"
             "%%qkv%d = linear %%nq%d, %%wqkv%d {act = i16} // layer %d / attention / q,k,v\n"
             "%%q%d, %%k%d, %%v%d = split %%qkv%d {axis = -1, sizes = [72, 24, 24]}\n"
             "%%q3%d = reshape %%q%d {shape = [-1, 6, 12]}\n"
             "%%k3%d = reshape %%k%d {shape = [-1, 2, 12]}\n"
             "%%v3%d = reshape %%v%d {shape = [-1, 2, 12]}\n"
             "%%qr%d = rope %%q3%d, %%cos, %%sin\n%%kr%d = rope %%k3%d, %%cos, %%sin\n",
             i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i);
  buf_printf(b,
             "%%c%d = kv_append %%kv%d, %%kr%d, %%v3%d\n"
             "%%a%d = attention_kv %%qr%d, %%c%d%s {scale = 0.2, causal = true}\n"
             "%%a2%d = reshape %%a%d {shape = [-1, 72]}\n"
             "%%aq%d = requant %%a2%d {act = i16}\n"
             "%%o%d = linear %%aq%d, %%wo%d {act = i16}\n%%y%d = add %%x%d, %%o%d\n",
             i, i, i, i, i, i, i, mask, i, i, i, i, i, i, i, i, i, i);
  buf_printf(b,
             "%%m%d = rmsnorm %%y%d, %%h%d {eps = 1e-05}\n%%mq%d = requant %%m%d {act = i16}\n"
             "%%gu%d = linear %%mq%d, %%wgu%d {act = i16}\n"
             "%%ga%d, %%up%d = split %%gu%d {axis = -1, sizes = [96, 96]}\n"
             "%%s%d = silu %%ga%d\n%%p%d = mul %%s%d, %%up%d\n%%pq%d = requant %%p%d {act = i16}\n"
             "%%d%d = linear %%pq%d, %%wd%d {act = i16}\n%%x%d = add %%y%d, %%d%d\n",
             i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i + 1, i, i);
}

static void put_graph(Buf *b, const char *name, const char *s, const char *mask_input,
                      const char *mask, int layers, bool last_row) {
  buf_printf(b, "graph @%s(%%ids: tensor<%sxi32>, %%pos: tensor<%sxi32>%s) -> (logits: %%l%s) {\n",
             name, s, s, mask_input, last_row ? ", token: %t" : "");
  buf_puts(b, "%cos, %sin = rope_table %pos, %freqs {scale = 1}\n%x0 = gather %emb, %ids\n");
  for (int i = 0; i < layers; i++) put_layer(b, i, mask);
  if (last_row)
    buf_printf(b, "%%last = slice %%x%d {axis = 0, start = -1, size = 1}\n", layers);
  else
    buf_printf(b, "%%zero = sub %%x%d, %%x%d\n%%last = add %%x%d, %%zero\n", layers, layers,
               layers);
  buf_puts(b, "%f = rmsnorm %last, %gf {eps = 1e-05}\n%fq = requant %f {act = i16}\n"
              "%l = linear %fq, %emb {act = i16}\n");
  buf_puts(b, last_row ? "%t = argmax %l\n}\n" : "}\n");
}

static char *model_text(Buf *b, int layers) {
  buf_puts(b, "module @toy {\ndim S in 1..83\ndim P in 0..199\n"
              "const %emb : tensor<131x72 x f32 : q8_0> = weight \"emb\"\n"
              "const %gf : tensor<72 x f32> = weight \"gf\"\n"
              "const %freqs : tensor<5 x f32> = dense [1, 0.5, 0.25, 0.12, 0.06]\n");
  for (int i = 0; i < layers; i++) put_layer_weights(b, i);
  put_graph(b, "decode", "1 ", "", "", layers, true);
  put_graph(b, "prefill", "S ", "", "", layers, true);
  put_graph(b, "logits", "S ", ", %mask: tensor<(P+S) x f32>", ", %mask", layers, false);
  buf_puts(b, "}\n");
  return b->data;
}

static float noise(uint32_t seed, uint32_t i) {
  uint32_t h = seed * 2654435761u + i * 40503u + 12345u;
  h ^= h >> 15;
  h *= 2246822519u;
  h ^= h >> 13;
  return (float)((int32_t)(h >> 8) - (1 << 23)) / (float)(1 << 23);
}

static void fill_weights(World *w) {
  for (uint32_t c = 0; c < w->module->nconsts; c++) {
    ConstDef *def = &w->module->consts[c];
    if (!def->nparts) continue;
    WeightView v = {.storage = Q_f32, .dtype = DT_f32, .rank = def->type.rank};
    int64_t n = 1, width = 1;
    for (int i = 0; i < v.rank; i++) {
      dim_is_const(w->module->dims, def->type.dim[i], &v.dim[i]);
      n *= width = v.dim[i];
    }
    float *x = ARENA_ARRAY(w->arena, float, (size_t)n);
    bool norm = v.rank == 1;
    for (int64_t i = 0; i < n; i++) {
      float r = noise(c + 1, (uint32_t)i);
      x[i] = norm ? 1 + r / 8 : 2 * r / sqrtf((float)width);
    }
    v.data = (const uint8_t *)x;
    v.bytes = (uint64_t)n * 4;
    def->parts[0].view = v;
  }
}

static void need(World *w, Status s) {
  if (s != OK) fail_msg("%s", diag_text(w->diag));
}

static void states_clear(World *w) {
  for (uint32_t i = 0; i < w->program->nstates; i++)
    memset(w->states[i], 0, w->program->states[i].bytes);
}

static void world_init(World *w, int layers, const LowerTarget *t, bool fused) {
  *w = (World){.diag = diag_new(), .arena = arena_new()};
  Buf text = {0};
  need(w, module_parse(model_text(&text, layers), "toy", w->diag, &w->module));
  buf_free(&text);
  fill_weights(w);
  PassCtx ctx = {.diag = w->diag, .explain = &w->explain};
  bool changed = false;
  if (fused) need(w, pass_fuse(w->module, &ctx, &changed));
  need(w, module_verify(w->module, w->diag));
  need(w, lower_module(w->module, t, &ctx, &w->program));
  KProgram *p = w->program;
  for (uint32_t i = 0; i < p->nkernels; i++) need(w, kernel_verify(p->kernels[i], w->diag));
  w->weights = arena_alloc(w->arena, p->weight_bytes + 64);
  for (uint32_t i = 0; i < p->nweights; i++)
    need(w, pack_weight(w->module, &p->weights[i], w->weights + p->weights[i].offset, w->diag));
  w->states = ARENA_ARRAY(w->arena, uint8_t *, p->nstates + 1);
  for (uint32_t i = 0; i < p->nstates; i++)
    w->states[i] = arena_alloc(w->arena, p->states[i].bytes + 64);
}

static void world_free(World *w) {
  module_free(w->module);
  diag_free(w->diag);
  arena_free(w->arena);
  buf_free(&w->explain);
}

/* ---- running ------------------------------------------------------------------------------- */

static int64_t *env_of(World *w, int64_t past, int64_t s) {
  const Dims *dims = w->module->dims;
  int64_t *env = ARENA_ARRAY(w->arena, int64_t, dim_count(dims) + 1);
  env[dim_find(dims, "P")] = past;
  env[dim_find(dims, "S")] = s;
  for (DimId i = 1; i <= dim_count(dims); i++) env[i] = dim_eval(dims, i, env);
  return env;
}

static int32_t token_at(int64_t i) {
  return (int32_t)((i * 37 + 11) % VOCAB);
}

/* Tokens past .. past+s-1 through an entry; its logits (`rows` of them) and token. */
static void run(World *w, uint32_t entry, int64_t past, int64_t s, float *logits, int64_t rows,
                int32_t *token) {
  int32_t ids[TOKENS], pos[TOKENS];
  float mask[2 * TOKENS];
  for (int64_t i = 0; i < s; i++) {
    ids[i] = token_at(past + i);
    pos[i] = (int32_t)(past + i);
  }
  for (int64_t i = 0; i < past + s; i++) mask[i] = 1;
  const KBuffer in[3] = {
      {ids, (uint64_t)s * 4}, {pos, (uint64_t)s * 4}, {mask, (uint64_t)(past + s) * 4}};
  const KBuffer out[2] = {{logits, (uint64_t)rows * VOCAB * 4}, {token, 4}};
  need(w, kprogram_eval(w->program, entry, env_of(w, past, s), w->weights, w->states, in, out,
                        w->diag));
}

/* The logits of the last of all tokens, in runs of `chunk` by prefill (1: by decode). */
static void last_logits(World *w, int64_t total, int64_t chunk, float *logits, int32_t *token) {
  states_clear(w);
  for (int64_t at = 0; at < total; at += chunk) {
    int64_t s = total - at < chunk ? total - at : chunk;
    run(w, s == 1 ? 0 : 1, at, s, logits, 1, token);
  }
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_values(void **state) {
  (void)state;
  enum { N = 21 };
  World w;
  world_init(&w, 2, &WIDE, true);
  RefTensor ids = {.name = "ids", .dtype = DT_i32, .rank = 1, .dim = {N}, .elements = N};
  int64_t id[N], at[N];
  for (int i = 0; i < N; i++) {
    id[i] = token_at(i);
    at[i] = i;
  }
  ids.i = id;
  RefTensor pos = ids, *want;
  pos.name = "pos";
  pos.i = at;
  RefTensor in[2] = {ids, pos};
  const RefSymbol symbols[] = {{"P", 0}, {"S", N}};
  need(&w, graph_eval(w.arena, module_find_graph(w.module, "prefill"),
                      ref_states_new(w.arena, w.module), in, 2, symbols, 2, &want, w.diag));
  float logits[VOCAB];
  int32_t token;
  last_logits(&w, N, N, logits, &token);
  double largest = 0, worst = 0;
  for (int i = 0; i < VOCAB; i++) {
    largest = fmax(largest, fabs(want[0].f[i]));
    worst = fmax(worst, fabs(want[0].f[i] - logits[i]));
  }
  assert_true(largest > 0.5);
  if (worst > 5e-4 * largest) fail_msg("differs by %g of %g", worst, largest);
  assert_int_equal(token, want[1].i[0]);
  world_free(&w);
}

static void test_bits(void **state) {
  (void)state;
  const LowerTarget *const targets[] = {&NARROW, &WIDE, &ODD};
  static const int64_t chunks[] = {TOKENS, 1, 7, 64};
  float want[VOCAB], got[VOCAB];
  int32_t token, first;
  World w;
  world_init(&w, 2, &NARROW, false);
  last_logits(&w, TOKENS, TOKENS, want, &first);
  world_free(&w);
  for (size_t t = 0; t < COUNT(targets); t++) {
    world_init(&w, 2, targets[t], true);
    for (size_t i = 0; i < COUNT(chunks); i++) {
      last_logits(&w, TOKENS, chunks[i], got, &token);
      assert_int_equal(token, first);
      if (memcmp(want, got, sizeof want) != 0)
        fail_msg("target %s, runs of %d: other bits", targets[t]->name, (int)chunks[i]);
    }
    world_free(&w);
  }
}

static void test_logits_entry(void **state) {
  (void)state;
  World w;
  world_init(&w, 2, &WIDE, true);
  static float all[TOKENS * VOCAB], one[VOCAB];
  int32_t token;
  run(&w, 2, 0, TOKENS, all, TOKENS, &token);
  last_logits(&w, TOKENS, 20, one, &token);
  assert_memory_equal(one, all + (TOKENS - 1) * VOCAB, sizeof one);
  world_free(&w);
}

static void test_shared_kernels(void **state) {
  (void)state;
  World a, b;
  world_init(&a, 2, &WIDE, true);
  world_init(&b, 5, &WIDE, true);
  assert_int_equal(a.program->nkernels, b.program->nkernels);
  assert_true(b.program->entries[0].nlaunches > a.program->entries[0].nlaunches);
  /* One packed copy of the embedding serves gather and head in all entries. */
  uint32_t copies = 0;
  for (uint32_t i = 0; i < a.program->nweights; i++)
    copies += !strcmp(a.module->consts[a.program->weights[i].constant].name, "emb");
  assert_int_equal(copies, 1);
  for (uint32_t i = 0; i < b.program->nweights; i++)
    assert_int_equal(b.program->weights[i].offset % 64, 0);
  world_free(&a);
  world_free(&b);
}

/* Launch tables are one for all targets: only kernels differ. */
static void test_equal_launches(void **state) {
  (void)state;
  World a, b;
  world_init(&a, 2, &NARROW, true);
  world_init(&b, 2, &WIDE, true);
  assert_int_equal(a.program->nkernels, b.program->nkernels);
  assert_int_equal(a.program->weight_bytes, b.program->weight_bytes);
  for (uint32_t e = 0; e < a.program->nentries; e++) {
    const KEntry *x = &a.program->entries[e], *y = &b.program->entries[e];
    assert_int_equal(x->nlaunches, y->nlaunches);
    assert_int_equal(x->arena_bytes, y->arena_bytes);
    for (uint32_t i = 0; i < x->nlaunches; i++) {
      const KLaunch *p = &x->launches[i], *q = &y->launches[i];
      assert_int_equal(p->kernel, q->kernel);
      assert_int_equal(p->extent, q->extent);
      assert_int_equal(p->barrier, q->barrier);
      uint32_t n = a.program->kernels[p->kernel]->nbuffers;
      assert_int_equal(n, b.program->kernels[q->kernel]->nbuffers);
      for (uint32_t j = 0; j < n; j++) {
        assert_int_equal(p->bind[j].space, q->bind[j].space);
        assert_int_equal(p->bind[j].offset, q->bind[j].offset);
      }
    }
  }
  world_free(&a);
  world_free(&b);
}

/* The weight that a launch reads as its first buffer, or NULL. */
static const KWeight *weight_of(const KProgram *p, const KLaunch *l) {
  for (uint32_t i = 0; i < p->nweights; i++)
    if (l->bind[0].space == KS_weight && p->weights[i].offset == l->bind[0].offset)
      return &p->weights[i];
  return NULL;
}

/* One token's iterations read each byte of a matrix once, in streams one behind the other. */
static void test_streams(void **state) {
  (void)state;
  World w;
  world_init(&w, 2, &WIDE, true);
  uint32_t found[4] = {0};
  for (uint32_t e = 0; e < w.program->nentries; e++) {
    const KEntry *en = &w.program->entries[e];
    for (uint32_t i = 0; i < en->nlaunches; i++) {
      const KLaunch *l = &en->launches[i];
      if (!l->streams.count) continue;
      const KWeight *x = weight_of(w.program, l);
      int64_t extent;
      assert_non_null(x);
      assert_true(dim_is_const(w.module->dims, l->extent, &extent));
      assert_int_equal(l->streams.apart, l->streams.step * (uint64_t)extent);
      assert_int_equal(l->streams.apart * l->streams.count, x->bytes);
      assert_true(l->streams.count < COUNT(found));
      found[l->streams.count]++;
    }
  }
  assert_true(found[2] > 0);
  world_free(&w);
}

static void test_fusion(void **state) {
  (void)state;
  World w;
  world_init(&w, 2, &WIDE, true);
  assert_non_null(strstr(w.explain.data, "silu joins cluster"));
  assert_non_null(strstr(w.explain.data, "requant joins cluster"));
  assert_non_null(strstr(w.explain.data, "split joins cluster"));
  assert_string_equal(w.program->entries[0].launches[2].label,
                      "layer 0 / attention / q,k,v + input norm");
  world_free(&w);
}

/* ---- plans on hand-made launches ----------------------------------------------------------- */

static Access touch(KSpace space, uint32_t index, uint64_t offset, uint64_t bytes, bool write) {
  return (Access){.bind = {space, index, offset}, .bytes = bytes, .write = write};
}

static void test_memory_plan(void **state) {
  (void)state;
  enum { N = 40 };
  Block blocks[N];
  LaunchUse use[N];
  Access access[N][3];
  LaunchList l = {.block = blocks, .nblocks = N, .use = use, .nuses = N};
  uint64_t sum = 0;
  for (uint32_t i = 0; i < N; i++) {
    blocks[i] = (Block){.bytes = 1 + (i * 977) % 5000};
    sum += align_up(blocks[i].bytes, 64);
    access[i][0] = touch(KS_arena, i, 0, blocks[i].bytes, true);
    access[i][1] = touch(KS_arena, i ? i - 1 : 0, 0, blocks[i ? i - 1 : 0].bytes, false);
    access[i][2] = touch(KS_arena, i / 2, 0, blocks[i / 2].bytes, false);
    use[i] = (LaunchUse){access[i], 3};
  }
  uint64_t bytes = plan_memory(&l);
  uint32_t a, b;
  assert_false(plan_memory_overlap(&l, &a, &b));
  assert_true(bytes < sum);
  for (uint32_t i = 0; i < N; i++) {
    assert_int_equal(blocks[i].offset % 64, 0);
    assert_true(blocks[i].offset + blocks[i].bytes <= bytes);
  }
  /* The checker sees an overlap when there is one. */
  blocks[11].offset = blocks[10].offset;
  assert_true(plan_memory_overlap(&l, &a, &b));
}

/* By first use the third block finds no room below the second; the largest first, it does. */
static void test_memory_plan_by_size(void **state) {
  (void)state;
  Block blocks[3] = {{.bytes = 64}, {.bytes = 64}, {.bytes = 128}};
  Access first[] = {touch(KS_arena, 0, 0, 64, true), touch(KS_arena, 1, 0, 64, true)};
  Access second[] = {touch(KS_arena, 1, 0, 64, false), touch(KS_arena, 2, 0, 128, true)};
  LaunchUse use[] = {{first, 2}, {second, 2}};
  LaunchList l = {.block = blocks, .nblocks = 3, .use = use, .nuses = 2};
  uint32_t a, b;
  assert_int_equal(plan_memory(&l), 192);
  assert_false(plan_memory_overlap(&l, &a, &b));
}

static void test_barriers(void **state) {
  (void)state;
  Block blocks[3] = {
      {.bytes = 64, .offset = 0}, {.bytes = 64, .offset = 64}, {.bytes = 128, .offset = 128}};
  Access a0[] = {touch(KS_input, 0, 0, 64, false), touch(KS_arena, 0, 0, 64, true)};
  Access a1[] = {touch(KS_input, 0, 0, 64, false), touch(KS_arena, 1, 0, 64, true)};
  Access a2[] = {touch(KS_arena, 0, 0, 64, false), touch(KS_arena, 2, 0, 64, true)};
  Access a3[] = {touch(KS_arena, 1, 0, 64, false), touch(KS_arena, 2, 64, 64, true)};
  Access a4[] = {touch(KS_state, 0, 0, 64, true), touch(KS_arena, 1, 0, 64, true)};
  LaunchUse use[] = {{a0, 2}, {a1, 2}, {a2, 2}, {a3, 2}, {a4, 2}};
  LaunchList l = {.block = blocks, .nblocks = 3, .use = use, .nuses = 5};
  bool barrier[5];
  static const bool want[5] = {false, false, true, false, true};
  plan_barriers(&l, barrier);
  for (int i = 0; i < 5; i++) assert_int_equal(barrier[i], want[i]);
  uint32_t at;
  assert_false(barriers_missing(&l, barrier, &at));
  barrier[4] = false; /* writes what launch 3 reads */
  assert_true(barriers_missing(&l, barrier, &at));
  assert_int_equal(at, 4);
}

/* What can't be lowered is an error that names the op, not a crash. */
static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"graph @g(%x: tensor<4 x f64>) -> (y: %y) { %y = neg %x }", "neg works on f64"},
      {"graph @g(%x: tensor<2x4 x f64>) -> (y: %y) { %y = reshape %x {shape = [8]} }",
       "reshape works on f64"},
      {"dim S in 1..9 graph @g(%x: tensor<2xS x f32>) -> (y: %y) {"
       " %q = requant %x {act = i16} %y = reshape %x {shape = [-1]} }",
       "requant needs rows of a width known when compiling"},
      {"const %w : tensor<16x256 x f32 : i64> = weight \"w\" graph @g(%x: tensor<4x256 x f32>)"
       " -> (y: %y) { %y = linear %x, %w }",
       "linear reads a weight in a format"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    Buf text = {0};
    Diag *d = diag_new();
    PassCtx ctx = {.diag = d};
    Module *m;
    KProgram *p;
    buf_printf(&text, "module @m { %s }", cases[i].text);
    if (module_parse(text.data, "refused", d, &m) != OK) fail_msg("%s", diag_text(d));
    assert_int_equal(lower_module(m, &WIDE, &ctx, &p), FAIL);
    if (!strstr(diag_text(d), cases[i].message))
      fail_msg("%s (expected: %s)", diag_text(d), cases[i].message);
    module_free(m);
    diag_free(d);
    buf_free(&text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values),         cmocka_unit_test(test_bits),
      cmocka_unit_test(test_logits_entry),   cmocka_unit_test(test_shared_kernels),
      cmocka_unit_test(test_equal_launches), cmocka_unit_test(test_fusion),
      cmocka_unit_test(test_memory_plan),    cmocka_unit_test(test_memory_plan_by_size),
      cmocka_unit_test(test_barriers),       cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_streams),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
