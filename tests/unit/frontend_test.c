/* The readers and llama's graphs, on tiny files made here: what is read, in what order of
 * precedence, and what is built. Wrong files are in tests/reject. */
#include "frontend/model.h"
#include "tests/reject/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static Diag *diag;

static void put(const char *path, const char *text) {
  write_file(path, text, strlen(text));
}

static void put_buf(const char *path, void (*make)(Buf *)) {
  Buf b = {0};
  make(&b);
  write_file(path, b.data, b.size);
  buf_free(&b);
}

/* A fresh folder with a valid model in model/ and in model.gguf. */
static int setup(void **state) {
  char path[] = "/tmp/ingot-frontend-XXXXXX";
  (void)state;
  if (!mkdtemp(path) || chdir(path) != 0 || mkdir("model", 0777) != 0) return 1;
  put_buf("model/config.json", tiny_config);
  put_buf("model/model.safetensors", tiny_safetensors);
  put_buf("model/tokenizer.json", tiny_tokenizer);
  put_buf("model.gguf", tiny_gguf);
  diag = diag_new();
  return 0;
}

static int teardown(void **state) {
  static const char *const files[] = {"config.json",
                                      "model.safetensors",
                                      "tokenizer.json",
                                      "tokenizer_config.json",
                                      "generation_config.json",
                                      "chat_template.jinja",
                                      "README.md",
                                      "special_tokens_map.json",
                                      "vocabulary.gguf"};
  char path[4096];
  (void)state;
  diag_free(diag);
  for (size_t i = 0; i < COUNT(files); i++) {
    snprintf(path, sizeof path, "model/%s", files[i]);
    unlink(path);
  }
  unlink("model.gguf");
  rmdir("model");
  if (!getcwd(path, sizeof path) || chdir("/") != 0) return 1;
  return rmdir(path);
}

static Model *open_model(const char *path, unsigned what) {
  Model *m;
  if (model_open(path, what, diag, &m) != OK) fail_msg("%s", diag_text(diag));
  return m;
}

static void assert_text(TextBytes t, const char *expected) {
  assert_int_equal(t.size, strlen(expected));
  assert_memory_equal(t.data, expected, t.size);
}

/* ---- weights ---- */

static void reads_weights_in_place(void **state) {
  (void)state;
  Model *m = open_model("model", MODEL_WEIGHTS);
  assert_string_equal(m->arch, "llama");
  assert_string_equal(m->architecture, "LlamaForCausalLM");
  assert_int_equal(m->nweights, 12);
  const Weight *w = model_weight(m, "model.layers.0.mlp.down_proj.weight");
  assert_non_null(w);
  assert_int_equal(w->view.storage, Q_f32);
  assert_int_equal(w->view.rank, 2);
  assert_int_equal(w->view.dim[0], 8);
  assert_int_equal(w->view.dim[1], 12);
  assert_int_equal(w->view.bytes, 8 * 12 * 4);
  assert_in_range((uintptr_t)w->view.data, (uintptr_t)m->files[0].data,
                  (uintptr_t)m->files[0].data + m->files[0].size - w->view.bytes);
  assert_null(model_weight(m, "model.layers.0.mlp.down_proj"));
  model_close(m);
}

static void turns_gguf_dimensions_around(void **state) {
  (void)state;
  Model *m = open_model("model.gguf", MODEL_WEIGHTS);
  assert_int_equal(m->format, FORMAT_GGUF);
  const Weight *w = model_weight(m, "blk.0.ffn_down.weight");
  assert_int_equal(w->view.dim[0], 8);
  assert_int_equal(w->view.dim[1], 12);
  assert_int_equal(json_integer_value(json_object_get(m->config, "llama.context_length")), 64);
  assert_null(json_object_get(m->config, "tokenizer.ggml.pre"));
  model_close(m);
}

static void a_folder_of_one_gguf_is_that_file(void **state) {
  (void)state;
  unlink("model/config.json");
  unlink("model/tokenizer.json");
  put_buf("model/vocabulary.gguf", tiny_gguf);
  Model *m = open_model("model", MODEL_TEXT);
  assert_int_equal(m->format, FORMAT_GGUF);
  model_close(m);
}

/* ---- generation, template, card ---- */

static void generation_config_counts_more_than_config(void **state) {
  (void)state;
  Model *m = open_model("model", MODEL_WEIGHTS);
  assert_int_equal(m->generation.neos, 1);
  assert_int_equal(m->generation.eos_ids[0], 15);
  assert_true(m->generation.temperature < 0);
  model_close(m);
  put("model/generation_config.json",
      "{\"eos_token_id\": [3, 4], \"temperature\": 0.5, \"top_k\": 7, \"do_sample\": true}");
  m = open_model("model", MODEL_WEIGHTS);
  assert_int_equal(m->generation.neos, 2);
  assert_int_equal(m->generation.eos_ids[1], 4);
  assert_true(m->generation.temperature == 0.5);
  assert_int_equal(m->generation.top_k, 7);
  assert_true(m->generation.do_sample);
  model_close(m);
}

static void takes_the_default_template_of_a_list(void **state) {
  (void)state;
  put("model/tokenizer_config.json",
      "{\"model_max_length\": 1000000000000000019884624838656, \"chat_template\": ["
      "{\"name\": \"rag\", \"template\": \"R\"}, {\"name\": \"default\", \"template\": \"D\"}],"
      "\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"</s>\"}");
  Model *m = open_model("model", MODEL_TEXT);
  assert_string_equal(m->chat.source, "D");
  assert_string_equal(m->chat.bos_token, "<s>");
  assert_string_equal(m->chat.eos_token, "</s>");
  assert_null(m->chat.unk_token);
  model_close(m);
  put("model/chat_template.jinja", "J");
  m = open_model("model", MODEL_TEXT);
  assert_string_equal(m->chat.source, "J");
  model_close(m);
}

static void the_card_has_licence_and_hashes(void **state) {
  (void)state;
  put("model/README.md", "---\ntags: [x]\nlicense: mit\n---\n");
  put("model/chat_template.jinja", "abc");
  Model *m = open_model("model", MODEL_TEXT | MODEL_HASHES);
  assert_string_equal(m->card.name, "model");
  assert_string_equal(m->card.license, "mit");
  bool found = false;
  for (uint32_t i = 0; i < m->card.nfiles; i++) {
    if (strcmp(m->card.files[i].file, "chat_template.jinja") != 0) continue;
    found = true; /* FIPS 180-4's example */
    assert_string_equal(m->card.files[i].sha256,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  }
  assert_true(found);
  model_close(m);
}

/* ---- tokenizers ---- */

static void reads_a_byte_level_tokenizer(void **state) {
  (void)state;
  Model *m = open_model("model", MODEL_TEXT);
  const TokenizerSpec *t = &m->tokenizer;
  assert_int_equal(t->model, TOK_BPE);
  assert_int_equal(t->nvocab, 15);
  assert_text(t->vocab[13], "abc");
  assert_int_equal(t->nmerges, 2); /* one in each of the two forms */
  assert_text(t->merges[0].right, "b");
  assert_text(t->merges[1].left, "ab");
  assert_int_equal(t->npretokenizer, 2);
  assert_int_equal(t->pretokenizer[0].kind, STEP_SPLIT);
  assert_text(t->pretokenizer[0].pattern, "\\p{N}");
  assert_int_equal(t->pretokenizer[1].kind, STEP_BYTELEVEL);
  assert_true(t->pretokenizer[1].use_regex);
  assert_true(t->byte_level);
  assert_int_equal(t->normalizer[0].kind, STEP_NFC);
  assert_int_equal(t->nsingle, 2);
  assert_int_equal(t->single[1].id, 15);
  assert_int_equal(t->nadded, 1);
  assert_true(t->added[0].special);
  assert_false(t->added[0].lstrip);
  model_close(m);
}

/* Flags of tokenizer_config.json override, and some classes make the post-processor anew. */
static void tokenizer_config_overrides(void **state) {
  (void)state;
  put("model/tokenizer_config.json",
      "{\"tokenizer_class\": \"LlamaTokenizerFast\", \"bos_token\": \"a\", \"eos_token\": "
      "\"<|end|>\", \"add_eos_token\": true, \"added_tokens_decoder\": {\"15\": {\"content\": "
      "\"<|end|>\", \"lstrip\": true, \"special\": true}, \"16\": {\"content\": \"new\"}}}");
  Model *m = open_model("model", MODEL_TEXT);
  const TokenizerSpec *t = &m->tokenizer;
  assert_int_equal(t->nadded, 2);
  assert_true(t->added[0].lstrip);
  assert_int_equal(t->added[1].id, 16);
  assert_int_equal(t->bos_id, 0);
  assert_int_equal(t->eos_id, 15);
  assert_int_equal(t->nsingle, 3);
  assert_int_equal(t->npair, 6);
  assert_int_equal(t->single[0].id, 0);
  assert_int_equal(t->single[2].id, 15);
  assert_int_equal(t->pair[4].kind, 1);
  model_close(m);
}

static void reads_a_gguf_tokenizer(void **state) {
  (void)state;
  Model *m = open_model("model.gguf", MODEL_TEXT);
  const TokenizerSpec *t = &m->tokenizer;
  assert_int_equal(m->nweights, 0); /* not asked for */
  assert_int_equal(t->model, TOK_BPE);
  assert_int_equal(t->nvocab, 16);
  assert_text(t->merges[1].right, "c");
  assert_int_equal(t->npretokenizer, 2); /* smollm: digits, then GPT-2's pattern */
  assert_int_equal(t->pretokenizer[0].kind, STEP_DIGITS);
  assert_true(t->pretokenizer[0].individual);
  assert_int_equal(t->nnormalizer, 0);
  assert_false(t->add_bos);
  assert_int_equal(t->nadded, 1);
  assert_int_equal(m->generation.neos, 1);
  assert_int_equal(m->generation.eos_ids[0], 15);
  assert_string_equal(m->chat.eos_token, "<|end|>");
  model_close(m);
}

/* ---- llama ---- */

static Module *build(Model *m, const BuildOptions *o) {
  Module *built;
  if (model_build(m, o, diag, &built) != OK) fail_msg("%s", diag_text(diag));
  return built;
}

static void assert_input(const Graph *g, uint32_t i, const char *name, const char *type) {
  Buf b = {0};
  const Value *v = graph_value(g, g->inputs[i]);
  assert_string_equal(v->name, name);
  type_print(g->module->dims, &v->type, &b);
  assert_string_equal(b.data, type);
  buf_free(&b);
}

static void builds_the_three_entries(void **state) {
  (void)state;
  Model *m = open_model("model", MODEL_WEIGHTS);
  Module *built = build(m, &(BuildOptions){.chunk = 32, .kv = DT_f16});
  const Graph *decode = module_find_graph(built, "decode");
  const Graph *prefill = module_find_graph(built, "prefill");
  const Graph *logits = module_find_graph(built, "logits");
  assert_input(decode, 0, "ids", "tensor<1 x i32>");
  assert_input(decode, 1, "pos", "tensor<1 x i32>");
  assert_input(prefill, 0, "ids", "tensor<S x i32>");
  assert_input(logits, 2, "mask", "tensor<(P+S) x f32>");
  assert_int_equal(decode->ninputs, 2);
  assert_int_equal(decode->noutputs, 2);
  assert_string_equal(decode->output_names[0], "logits");
  assert_string_equal(decode->output_names[1], "token");
  assert_int_equal(logits->noutputs, 1);
  assert_int_equal(built->nstates, 1);
  assert_int_equal(built->states[0].context, 512); /* at least, though the model says 64 */
  assert_int_equal(built->states[0].dtype, DT_f16);
  bool found = false;
  for (uint32_t i = 1; i < decode->nops; i++) {
    const char *origin = decode->ops[i].origin;
    if (origin && strcmp(origin, "layer 0 / attention / q") == 0) found = true;
  }
  assert_true(found);
  module_free(built);
  model_close(m);
}

static void a_gguf_has_interleaved_heads(void **state) {
  (void)state;
  Model *m = open_model("model.gguf", MODEL_WEIGHTS);
  Module *built = build(m, &(BuildOptions){.context = 48, .kv = DT_f32});
  assert_int_equal(built->states[0].context, 48);
  for (uint32_t i = 0; i < built->nconsts; i++) {
    const ConstDef *c = &built->consts[i];
    int heads = strstr(c->name, "attn_q") ? 2 : strstr(c->name, "attn_k") ? 1 : 0;
    if (c->nparts) assert_int_equal(c->parts[0].interleaved_heads, heads);
  }
  module_free(built);
  model_close(m);
}

static void dynamic_rope_takes_the_length(void **state) {
  (void)state;
  Buf config = {0};
  tiny_config(&config);
  replace_text(&config, "\"rope_scaling\": null",
               "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 16.0}");
  write_file("model/config.json", config.data, config.size);
  buf_free(&config);
  Model *m = open_model("model", MODEL_WEIGHTS);
  Module *built = build(m, &(BuildOptions){.kv = DT_f32});
  const Graph *decode = module_find_graph(built, "decode");
  assert_input(decode, 2, "seq_len", "tensor<1 x i32>");
  assert_int_equal(built->states[0].context, 1024); /* 64 positions, stretched */
  module_free(built);
  model_close(m);
}

/* A base model's file names its tensors without "model.". */
static void finds_tensors_without_prefix(void **state) {
  (void)state;
  Buf header = {0}, file = {0}, full = {0};
  tiny_header(&header);
  tiny_safetensors(&full);
  size_t data = full.size - 8 - header.size;
  for (int i = 0; i < 11; i++) replace_text(&header, "\"model.", "\"");
  safetensors_file(&file, header.data, header.size, data);
  write_file("model/model.safetensors", file.data, file.size);
  Model *m = open_model("model", MODEL_WEIGHTS);
  assert_non_null(model_weight(m, "norm.weight"));
  module_free(build(m, &(BuildOptions){.kv = DT_f32}));
  model_close(m);
  buf_free(&header);
  buf_free(&file);
  buf_free(&full);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {TEST(reads_weights_in_place),
                                     TEST(turns_gguf_dimensions_around),
                                     TEST(a_folder_of_one_gguf_is_that_file),
                                     TEST(generation_config_counts_more_than_config),
                                     TEST(takes_the_default_template_of_a_list),
                                     TEST(the_card_has_licence_and_hashes),
                                     TEST(reads_a_byte_level_tokenizer),
                                     TEST(tokenizer_config_overrides),
                                     TEST(reads_a_gguf_tokenizer),
                                     TEST(builds_the_three_entries),
                                     TEST(a_gguf_has_interleaved_heads),
                                     TEST(dynamic_rope_takes_the_length),
                                     TEST(finds_tensors_without_prefix)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
