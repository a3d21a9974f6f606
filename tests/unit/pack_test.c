/* Packing of constants: what the kernels unpack is what the evaluator computes with.
 *
 * A constant of stacked parts (one with interleaved rotary halves, each in its own file format) is
 * packed in every format and read back through the unpack kernels; const_dense is the judge.
 */
#include "ir/eval.h"
#include "passes/passes.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 8 + 13, MAX_COLS = 256, GROUPS = 2 };

static const Storage FORMATS[] = {Q_f32,   Q_f16,   Q_bf16,  Q_q4_0, Q_q4_1,   Q_q5_0,
                                  Q_q5_1,  Q_q8_0,  Q_q4_k,  Q_q6_k, Q_iq4_nl, Q_iq2_xxs,
                                  Q_iq3_s, Q_iq1_m, Q_mxfp4, Q_nvfp4};

typedef struct World {
  Module *module;
  Diag *diag;
  Arena *arena;
  uint8_t file[2][ROWS * MAX_COLS * 4];
} World;

/* Constant 0 of cols columns, kept as `kept`: parts of 8 and 13 rows in formats `a` and `b`. */
static void world_init(World *w, int64_t cols, Storage kept, Storage a, Storage b) {
  static const int64_t rows[2] = {8, 13};
  const Storage formats[2] = {a, b};
  char text[512];
  snprintf(text, sizeof text,
           "module @m {\n const %%w : tensor<21x%lld x f32%s%s> = weight \"q\" heads=2, \"k\"\n"
           " const %%ids : tensor<3 x i32> = dense [7, -1, 5]\n"
           " const %%b : tensor<3 x f32> = dense [1.5, -1, 5]\n}\n",
           (long long)cols, kept ? " : " : "", kept ? storage_name(kept) : "");
  w->diag = diag_new();
  w->arena = arena_new();
  if (module_parse(text, "m", w->diag, &w->module) != OK) fail_msg("%s", diag_text(w->diag));
  for (int p = 0; p < 2; p++) {
    const QuantDef *q = quant_def(formats[p]);
    float x[13 * MAX_COLS];
    for (int i = 0; i < rows[p] * cols; i++) x[i] = sinf((float)(i * (p + 3)));
    q->encode(x, NULL, w->file[p] + 1, (size_t)(rows[p] * cols));
    w->module->consts[0].parts[p].view =
        (WeightView){formats[p], DT_f32, 2, {rows[p], cols}, w->file[p] + 1, sizeof w->file[p] - 1};
  }
}

static void world_free(World *w) {
  module_free(w->module);
  diag_free(w->diag);
  arena_free(w->arena);
}

static KWeight rows16(Storage s, int64_t cols) {
  KWeight w = {.layout = KL_rows16, .storage = s, .rows = ROWS, .cols = cols};
  w.bytes = quant_packed_size(quant_def(s), ROWS, cols);
  return w;
}

/* out[group][k][lane] of a packed matrix. */
static void unpack(World *w, const KWeight *kw, uint8_t *packed, float *out) {
  const QuantDef *q = quant_def(kw->storage);
  int64_t blocks = (int64_t)(kw->bytes / q->packed_bytes);
  Kernel *k = kernel_new(w->arena, "unpack", KC_map);
  KBuilder b = kbuilder(k);
  KVal v[32], in = k_buffer(&b, "w", K_i8), to = k_buffer(&b, "out", K_f32);
  KVal i = k_par(&b, "block", k_i64(&b, blocks));
  uint32_t n = q->packed_block < 32 ? q->packed_block : 32;
  KVal sub = k_for(&b, "sub", k_i64(&b, 0), k_i64(&b, quant_subs(q)), 1, 0, NULL);
  quant_unpack_floats(q, &b, k_at(k_addr(in), i, q->packed_bytes), sub, v);
  for (uint32_t j = 0; j < n; j++)
    k_store(&b, v[j], k_off(k_at(k_at(k_addr(to), i, q->packed_block * 16), sub, 32 * 16), j * 16));
  k_for_end(&b, NULL);
  k_par_end(&b);
  KBuffer buffers[] = {{packed, kw->bytes},
                       {out, (uint64_t)blocks * q->packed_block * 16 * sizeof *out}};
  if (kernel_eval(k, buffers, NULL, 0, -1, w->diag) != OK) fail_msg("%s", diag_text(w->diag));
}

typedef struct Tail {
  uint8_t *at;
} Tail;

static Status append(void *user, const void *bytes, uint64_t size) {
  Tail *t = user;
  memcpy(t->at, bytes, size);
  t->at += size;
  return OK;
}

/* Unit by unit gives the same bytes as at once. */
static void check_parts(World *w, const KWeight *kw, const uint8_t *whole) {
  static uint8_t packed[32 * MAX_COLS * 4];
  Tail t = {packed};
  assert_int_equal(pack_units(kw), GROUPS);
  for (int64_t i = 0; i < pack_units(kw); i++)
    assert_int_equal(pack_weight_to(w->module, kw, (PackPart){i, 1}, append, &t, w->diag), OK);
  assert_int_equal(t.at - packed, kw->bytes);
  assert_memory_equal(packed, whole, kw->bytes);
}

static void check_rows16(int64_t cols, Storage kept, Storage a, Storage b, Storage packed_as) {
  static World w;
  static uint8_t packed[32 * MAX_COLS * 4];
  static float got[32 * MAX_COLS];
  RefTensor want;
  world_init(&w, cols, kept, a, b);
  KWeight kw = rows16(packed_as, cols);
  if (pack_weight(w.module, &kw, packed, w.diag) != OK ||
      const_dense(w.arena, w.module, 0, &want, w.diag) != OK)
    fail_msg("%s", diag_text(w.diag));
  check_parts(&w, &kw, packed);
  unpack(&w, &kw, packed, got);
  int64_t depth = (int64_t)align_up((uint64_t)cols, quant_def(packed_as)->packed_block);
  for (int64_t r = 0; r < 16 * GROUPS; r++) {
    for (int64_t k = 0; k < cols; k++) {
      float x = got[(r / 16 * depth + k) * 16 + r % 16];
      float y = r < ROWS ? want.f[r * cols + k] : 0;
      assert_memory_equal(&x, &y, 4);
    }
  }
  world_free(&w);
}

static void every_format_from_every_file_format(void **state) {
  (void)state;
  for (size_t kept = 0; kept < COUNT(FORMATS); kept++) {
    for (size_t file = 0; file < COUNT(FORMATS); file++)
      check_rows16(256, FORMATS[kept], FORMATS[file], Q_f32, FORMATS[kept]);
    check_rows16(72, FORMATS[kept], Q_f32, Q_bf16, FORMATS[kept]); /* a tail filled by zeros */
    check_rows16(256, FORMATS[kept], FORMATS[kept], FORMATS[kept], FORMATS[kept]);
    check_rows16(256, FORMATS[kept], Q_f32, Q_f16, Q_f32); /* kept rounded, computed in f32 */
  }
  check_rows16(256, Q_plain, Q_q8_0, Q_q4_1, Q_f32);
  check_rows16(7, Q_plain, Q_f32, Q_f16, Q_f32);
}

/* The three pieces of a split matrix, unit by unit and at once. */
static void split_layouts(void **state) {
  static World w;
  static uint8_t packed[32 * MAX_COLS * 4];
  static const Storage SPLIT[] = {Q_q8_0, Q_q6_k};
  (void)state;
  for (size_t i = 0; i < COUNT(SPLIT); i++) {
    const QuantDef *q = quant_def(SPLIT[i]);
    world_init(&w, 256, SPLIT[i], Q_f32, SPLIT[i]);
    KWeight kw = rows16(SPLIT[i], 256);
    uint64_t whole = kw.bytes, halves = 0;
    for (kw.layout = KL_upper; kw.layout <= KL_doubt; kw.layout++) {
      uint32_t block = kw.layout == KL_upper ? q->split->upper_bytes : q->split->lower_bytes;
      kw.bytes = kw.layout == KL_doubt ? 16 * GROUPS * sizeof(float)
                                       : quant_half_size(q, block, ROWS, 256);
      if (kw.layout != KL_doubt) halves += kw.bytes;
      if (pack_weight(w.module, &kw, packed, w.diag) != OK) fail_msg("%s", diag_text(w.diag));
      check_parts(&w, &kw, packed);
      assert_int_equal(pack_unit_bytes(&kw), whole / GROUPS);
    }
    assert_int_equal(halves, whole);
    for (int r = 0; r < 16 * GROUPS; r++) { /* of rows of padding 0 */
      float doubt;
      memcpy(&doubt, packed + 4 * r, 4);
      assert_true(r < ROWS ? doubt > 0 : doubt == 0);
    }
    world_free(&w);
  }
}

static void plain_layout(void **state) {
  static World w;
  static float got[ROWS * MAX_COLS];
  RefTensor want;
  int32_t ids[3];
  (void)state;
  world_init(&w, 64, Q_q5_1, Q_q8_0, Q_f16);
  KWeight kw = {.layout = KL_plain, .bytes = ROWS * 64 * 4};
  assert_int_equal(pack_weight(w.module, &kw, (uint8_t *)got, w.diag), OK);
  assert_int_equal(const_dense(w.arena, w.module, 0, &want, w.diag), OK);
  assert_memory_equal(got, want.f, kw.bytes);
  kw = (KWeight){.constant = 1, .layout = KL_plain, .bytes = 12};
  assert_int_equal(pack_weight(w.module, &kw, (uint8_t *)ids, w.diag), OK);
  assert_true(ids[0] == 7 && ids[1] == -1 && ids[2] == 5);
  kw = (KWeight){.constant = 2, .layout = KL_plain, .bytes = 12};
  assert_int_equal(pack_weight(w.module, &kw, (uint8_t *)got, w.diag), OK);
  assert_true(got[0] == 1.5f && got[1] == -1 && got[2] == 5);
  world_free(&w);
}

static void disagreements_are_errors(void **state) {
  static World w;
  static uint8_t out[1 << 16];
  (void)state;
  world_init(&w, 64, Q_plain, Q_f32, Q_f32);
  KWeight kw = rows16(Q_q4_1, 64);
  kw.bytes -= 1;
  assert_int_equal(pack_weight(w.module, &kw, out, w.diag), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "packs to 1280 bytes (expected 1279)"));
  kw = rows16(Q_q4_1, 64);
  kw.rows = 20;
  assert_int_equal(pack_weight(w.module, &kw, out, w.diag), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "is 21 x 64 (the program expects 20 x 64)"));
  kw.storage = Q_q8_k;
  assert_int_equal(pack_weight(w.module, &kw, out, w.diag), FAIL);
  assert_non_null(strstr(diag_text(w.diag), "cannot be packed as q8_k"));
  world_free(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_format_from_every_file_format),
      cmocka_unit_test(split_layouts),
      cmocka_unit_test(plain_layout),
      cmocka_unit_test(disagreements_are_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
