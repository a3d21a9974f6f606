/* Wrong and hostile model files: each must end in a clear error that holds the words expected here,
 * within bounded memory and without a crash.
 *
 * The files are made here, from tiny valid ones, by one change each; a test that does not find the
 * place of its change aborts. Run in an empty folder: `reject_test` writes beneath the current one.
 */
#include "frontend/model.h"
#include "tests/reject/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned tests, failures;

static void check(const char *name, Status s, Diag *d, const char *expected) {
  const char *text = diag_text(d);
  tests++;
  bool fine = expected ? s == FAIL && strstr(text, expected) : s == OK;
  if (fine) return;
  failures++;
  printf("FAILED %s: expected %s\n  got: %s\n", name, expected ? expected : "success",
         s == OK ? "success" : text);
}

/* Opens and builds; `expected` NULL: must succeed. */
static void try_model(const char *name, const char *path, const char *expected) {
  Diag *d = diag_new();
  Model *m = NULL;
  Module *built = NULL;
  Status s = model_open(path, MODEL_WEIGHTS | MODEL_TEXT, d, &m);
  if (s == OK) s = model_build(m, &(BuildOptions){.chunk = 16, .kv = DT_f16}, d, &built);
  check(name, s, d, expected);
  module_free(built);
  model_close(m);
  diag_free(d);
}

/* ---- Hugging Face folders ---- */

typedef struct Folder {
  Buf config, weights, tokenizer;
} Folder;

static Folder folder_new(void) {
  Folder f = {0};
  tiny_config(&f.config);
  tiny_safetensors(&f.weights);
  tiny_tokenizer(&f.tokenizer);
  return f;
}

static void folder_write(const Folder *f) {
  mkdir("model", 0777);
  unlink("model/model.safetensors.index.json");
  write_file("model/config.json", f->config.data, f->config.size);
  write_file("model/model.safetensors", f->weights.data, f->weights.size);
  write_file("model/tokenizer.json", f->tokenizer.data, f->tokenizer.size);
}

static void folder_free(Folder *f) {
  buf_free(&f->config);
  buf_free(&f->weights);
  buf_free(&f->tokenizer);
}

typedef struct Change {
  const char *find, *with, *expected;
} Change;

static const Change config_changes[] = {
    {"\"model_type\": \"llama\"", "\"model_type\": \"llamma\"", "is a \"llamma\" model"},
    {"\"model_type\": \"llama\",", "", "has no \"model_type\""},
    {"LlamaForCausalLM", "LlamaForTokenClassification", "is not compiled yet (known: Llama"},
    {"\"hidden_act\"", "\"hiden_act\"", "did you mean \"hidden_act\""},
    {"\"silu\"", "\"silo\"", "did you mean \"silu\""},
    {"\"silu\"", "\"prelu\"", "learned parameters"},
    {"\"silu\"", "17", "key \"hidden_act\" is not a string"},
    {"\"hidden_size\": 8,", "", "key \"hidden_size\" is missing"},
    {"\"hidden_size\": 8", "\"hidden_size\": 16", "has the shape [16, 8] (expected [16, 16]"},
    {"\"hidden_size\": 8", "\"hidden_size\": -8", "is -8 (expected 1 to"},
    {"\"hidden_size\": 8", "\"hidden_size\": 8.5", "is not a whole number"},
    {"\"hidden_size\": 8", "\"hidden_size\": 99999999999999999999", "too big integer"},
    {"\"vocab_size\": 16", "\"vocab_size\": 17", "model.embed_tokens.weight: has the shape"},
    {"\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2",
     "layers.1.input_layernorm.weight: is "},
    {"\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1000000", "expected 1 to 16384"},
    {"\"num_attention_heads\": 2", "\"num_attention_heads\": 0", "is 0 (expected 1"},
    {"\"num_key_value_heads\": 1", "\"num_key_value_heads\": 3", "does not divide the 2 heads"},
    {"\"rope_scaling\": null", "\"rope_scaling\": 3", "key \"rope_scaling\" is not an object"},
    {"\"rope_scaling\": null", "\"rope_scaling\": {\"factor\": 2}",
     "rope_scaling.rope_type\" is mis"},
    {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}", "factor\" is missing"},
    {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0.5}",
     "expected at least 1"},
    {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2}",
     "does not compute this kind"},
    {"\"rope_scaling\": null",
     "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, \"beta_fats\": 3}",
     "did you mean \"beta_fast\""},
    {"\"rope_scaling\": null",
     "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
     "\"high_freq_factor\": 1, \"original_max_position_embeddings\": 32}",
     "expected more than low_freq_factor"},
    {"\"rope_theta\": 10000.0", "\"rope_theta\": -1", "expected a number above 0"},
    {"\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": \"x\"", "is not a number"},
    {"\"attention_bias\": false", "\"attention_bias\": true", "q_proj.bias: is missing"},
    {"\"attention_bias\": false", "\"attention_bias\": 1", "is not true or false"},
    {"\"attention_bias\": false", "\"sliding_window\": 4096", "\"sliding_window\" is unknown and"},
    {"\"attention_bias\": false", "\"quantization_config\": {\"bits\": 4}",
     "\"quantization_config\""},
    {"\"attention_bias\": false", "\"partial_rotary_factor\": 0.5", "expected 1 in a llama"},
    {"\"eos_token_id\": 15", "\"eos_token_id\": \"x\"", "eos_token_id is not a token id"},
    {"\"eos_token_id\": 15", "\"eos_token_id\": [3, -1]", "eos_token_id is not a token id"},
    {"\"vocab_size\"", "vocab_size", "is not valid JSON at line 2"},
    {"\"silu\"", "\"\xff\xfe\"", "unable to decode byte 0xff"},
    /* changes that must pass */
    {"\"attention_bias\": false", "\"some_new_key\": null", NULL},
    {"\"attention_bias\": false", "\"some_new_flag\": false", NULL},
    {"\"attention_bias\": false", "\"pretraining_tp\": 2", NULL},
    {"\"num_key_value_heads\": 1", "\"num_key_value_heads\": 1, \"head_dim\": null", NULL},
    {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}", NULL},
    {"\"rope_theta\": 10000.0, \"rope_scaling\": null",
     "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5000.0}", NULL},
};

static const Change header_changes[] = {
    {"[8,8]", "[8,9]", "(expected 288 from dtype and shape)"},
    {"[8,8]", "[8,-8]", "a dimension is not a whole number"},
    {"[8,8]", "[8.0,8]", "a dimension is not a whole number"},
    {"[8,8]", "[4294967296,4294967296]", "product of the dimensions overflows"},
    {"[8,8]", "[1000000000]", "data_offsets span 256 bytes (expected 4000000000"},
    {"[8,8]", "[2305843009213693952]", "the size in bytes overflows"},
    {"[8,8]", "[1,1,1,1,1,1,1,8,8]", "has 9 dimensions (expected at most 8)"},
    {"[8,8]", "64", "shape is not a list"},
    {"\"F32\",\"shape\":[8,8]", "\"F31\",\"shape\":[8,8]", "unknown dtype \"F31\""},
    {"\"F32\",\"shape\":[8,8]", "\"I32\",\"shape\":[8,8]", "is stored as i32"},
    {"\"F32\",\"shape\":[8,8]", "4,\"shape\":[8,8]", "expected an object of dtype"},
    {"[544,800]", "[800,544]", "is not [begin, end] with 0 <= begin <= end"},
    {"[544,800]", "[540,796]", "overlapping"},
    {"[544,800]", "[548,804]", "leaving a gap"},
    {"[544,800]", "[9544,9800]", "ends at byte 9800 of the data (expected at most"},
    {"[544,800]", "[-1,800]", "is not [begin, end]"},
    {"[544,800]", "[544]", "is not [begin, end]"},
    {"[544,800]", "[18446744073709551000,18446744073709551615]", "too big integer"},
    {"self_attn.q_proj", "self_attn.k_proj", "duplicate object key"},
    {"self_attn.q_proj", "self_attn.x_proj", "q_proj.weight: is missing"},
    {"\"model.norm", "model.norm", "is not valid JSON"},
    {"model.norm.weight", "model.\xc3\x28.weight", "unable to decode"},
    {"model.norm.weight", "model.\\u0000.weight", "NUL byte"},
    {"{\"__metadata__\":", "[{\"__metadata__\":", "is not valid JSON"},
};

static const Change tokenizer_changes[] = {
    {"\"type\": \"BPE\"", "\"type\": \"WordLevel\"", "model of type \"WordLevel\""},
    {"\"merges\": [\"a b\"", "\"merges\": [\"ab\"", "merge 0 is neither"},
    {"\"merges\": [\"a b\"", "\"merges\": [[\"a\"]", "merge 0 is neither"},
    {"\"merges\": [", "\"murges\": [", "no list of merges"},
    {"\"dropout\": null", "\"dropout\": 0.1", "dropout"},
    {"\"b\": 1", "\"b\": 0", "id 0 stands for two tokens"},
    {"\"b\": 1", "\"b\": 1000000000", "has the id 1000000000"},
    {"\"b\": 1", "\"b\": -1", "has id -1"},
    {"\"b\": 1", "\"b\": \"x\"", "maps a token to no id"},
    {"\"NFC\"", "\"Nmt\"", "normalizer Nmt: is of a kind"},
    {"\"type\": \"NFC\"", "\"typ\": \"NFC\"", "is not an object with a type"},
    {"\"type\": \"Split\"", "\"type\": \"UnicodeScripts\"", "pre_tokenizer UnicodeScripts"},
    {"\"Isolated\"", "\"Sideways\"", "unknown behavior"},
    {"{\"Regex\": \"\\\\p{N}\"}", "{}", "has no pattern"},
    {"\"decoder\": {\"type\": \"ByteLevel\"}", "\"decoder\": {\"type\": \"CTC\"}", "decoder CTC"},
    {"\"ids\": [15]", "\"ids\": [\"x\"]", "names a token id that is none"},
    {"\"ids\": [15]", "\"idx\": [15]", "names a token that special_tokens lacks"},
    {"\"id\": \"A\"", "\"id\": \"C\"", "names no sequence"},
    {"\"content\": \"<|end|>\"", "\"content\": \"\"", "an added token has no content"},
    {"\"id\": 15, \"content\"", "\"id\": 99999999999, \"content\"", "an id that is none"},
    {"\"a b\"", "\"a \xed\xa0\x80\"", "unable to decode"},
};

/* The same config as another architecture's, with keys of its own. */
#define LLAMA "LlamaForCausalLM\"], \"model_type\": \"llama\""
#define QWEN2(more) "Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", " more "\"_\": 0"
#define GEMMA3(more) "Gemma3ForCausalLM\"], \"model_type\": \"gemma3_text\", " more "\"_\": 0"
static const Change arch_changes[] = {
    {LLAMA, QWEN2(""), "q_proj.bias: is missing"},
    {LLAMA, "LlamaForCausalLM\"], \"model_type\": \"qwen2\"", "(known: Qwen2ForCausalLM)"},
    {LLAMA, QWEN2("\"layer_types\": [],"), "\"layer_types\" is no list of 1 kinds"},
    {LLAMA, QWEN2("\"layer_types\": [\"linear_attention\"],"),
     "has \"linear_attention\" for layer 0"},
    {LLAMA, QWEN2("\"layer_types\": [7],"), "has \"something that is no string\""},
    {LLAMA, QWEN2("\"layer_types\": [\"sliding_attention\"],"), "is missing, but layer 0 slides"},
    {LLAMA, QWEN2("\"use_sliding_window\": true, \"sliding_window\": -1,"), "is -1 (expected 0"},
    {LLAMA, QWEN2("\"use_sliding_window\": 1,"), "is not true or false"},
    {LLAMA, QWEN2("\"partial_rotary_factor\": 0.5,"), "expected 1 in a qwen2 model"},
    {LLAMA, "Gemma3ForCausalLM\"], \"model_type\": \"gemma3\"", "is a \"gemma3\" model"},
    {LLAMA, GEMMA3("\"sliding_window\": null,"), "is missing, but layer 0 slides"},
    {LLAMA, GEMMA3("\"sliding_window_pattern\": 0,"), "is 0 (expected 1"},
    {LLAMA, GEMMA3("\"sliding_window_pattern\": [true],"), "is not a whole number"},
    {LLAMA, GEMMA3("\"use_bidirectional_attention\": true,"), "does not compute such encoders"},
    {LLAMA, GEMMA3("\"query_pre_attn_scalar\": 0,"), "expected a number above 0"},
    {LLAMA, GEMMA3("\"rope_local_base_freq\": -3,"), "is -3 (expected a number above 0)"},
    {LLAMA, GEMMA3("\"final_logit_softcapping\": 0,"), "expected a number above 0, or null"},
    {LLAMA, GEMMA3("\"hidden_activation\": \"gelu_tahn\","), "no activation of Transformers"},
    {LLAMA, GEMMA3(""), "q_proj.weight: has the shape [8, 8] (expected [512, 8]"},
};

static void run_config(const Change *c) {
  Folder f = folder_new();
  replace_text(&f.config, c->find, c->with);
  folder_write(&f);
  try_model(c->with, "model", c->expected);
  folder_free(&f);
}

static void run_header(const Change *c) {
  Folder f = folder_new();
  Buf header = {0};
  tiny_header(&header);
  size_t data = f.weights.size - 8 - header.size;
  replace_text(&header, c->find, c->with);
  buf_free(&f.weights);
  safetensors_file(&f.weights, header.data, header.size, data);
  folder_write(&f);
  try_model(c->with, "model", c->expected);
  buf_free(&header);
  folder_free(&f);
}

static void run_tokenizer(const Change *c) {
  Folder f = folder_new();
  replace_text(&f.tokenizer, c->find, c->with);
  folder_write(&f);
  try_model(c->with, "model", c->expected);
  folder_free(&f);
}

static void repeat(Buf *b, const char *s, int n) {
  for (int i = 0; i < n; i++) buf_puts(b, s);
}

/* JSON nested 100,000 deep, in each kind of file that holds JSON. */
static void run_depth(void) {
  Buf deep = {0};
  repeat(&deep, "{\"a\":[", 50000);
  Folder f = folder_new();
  Buf *parts[] = {&f.config, &f.tokenizer};
  for (int i = 0; i < 2; i++) {
    Buf good = *parts[i];
    *parts[i] = deep;
    folder_write(&f);
    try_model("depth", "model", "maximum parsing depth reached");
    *parts[i] = good;
  }
  buf_free(&f.weights);
  safetensors_file(&f.weights, deep.data, deep.size, 0);
  folder_write(&f);
  try_model("depth of a header", "model", "maximum parsing depth reached");
  folder_free(&f);
  buf_free(&deep);
}

static const Change index_changes[] = {
    {"a.safetensors", "../a.safetensors", "expected the name of a file in the same folder"},
    {"a.safetensors", "/etc/passwd", "expected the name of a file in the same folder"},
    {"a.safetensors", "..", "expected the name of a file in the same folder"},
    {"a.safetensors", "", "expected the name of a file in the same folder"},
    {"\"a.safetensors\"", "7", "expected the name of a file in the same folder"},
    {"a.safetensors", "b.safetensors", "b.safetensors: cannot be opened"},
    {"model.norm.weight", "model.norm.bias", "is not in model/a.safetensors, where the index says"},
    {"weight_map", "weights", "has no \"weight_map\""},
    {"a.safetensors", "a.safetensors\", \"model.norm.weight\": \"a.safetensors",
     "duplicate object"},
    {"a.safetensors", "a.safetensors", NULL},
};

static void run_index(const Change *c) {
  Folder f = folder_new();
  Buf index = {0};
  folder_write(&f);
  rename("model/model.safetensors", "model/a.safetensors");
  buf_puts(&index,
           "{\"metadata\": {}, \"weight_map\": {\"model.norm.weight\": \"a.safetensors\"}}");
  replace_text(&index, c->find, c->with);
  write_file("model/model.safetensors.index.json", index.data, index.size);
  try_model(c->with, "model", c->expected);
  buf_free(&index);
  folder_free(&f);
}

/* ---- GGUF ---- */

typedef struct Patch {
  const char *anchor; /* the change stands `delta` bytes behind its end */
  int delta;
  const char *bytes;
  size_t n;
  const char *expected;
} Patch;
#define BYTES(s) s, sizeof(s) - 1
#define BILLION "\x00\xca\x9a\x3b\x00\x00\x00\x00"

static const Patch gguf_patches[] = {
    {"GGUF", 0, BYTES("\x01\x00\x00\x00"), "is GGUF version 1 (expected 2 or 3)"},
    {"GGUF", 0, BYTES("\x00\x00\x00\x03"), "big-endian"},
    {"GGUF", 4, BYTES(BILLION), "has 1000000000 tensors by its header"},
    {"GGUF", 4, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), "tensors by its header"},
    {"GGUF", 12, BYTES(BILLION), "has 1000000000 keys by its header"},
    {"general.architecture", 0, BYTES("\x0d\x00\x00\x00"), "has the unknown type 13"},
    {"general.architecture", 0, BYTES("\x04\x00\x00\x00"), "ends within"},
    {"general.architecture", 4, BYTES(BILLION), "ends within general.architecture"},
    {"general.architecture", -20, BYTES("general.architecturf"), "has no key general.architecture"},
    {"general.architecture", 12, BYTES("lama!"), "is a \"lama!\" model"},
    {"general.architecture", 12, BYTES("l\xff\xfe\x61m"), "is not valid UTF-8 text"},
    {"general.alignment", 4, BYTES("\x03\x00\x00\x00"), "is 3 (expected a power of two"},
    {"general.alignment", 4, BYTES("\x00\x00\x00\x00"), "is 0 (expected a power of two"},
    {"general.alignment", 4, BYTES("\x00\x01\x00\x00"), "(expected a multiple of 256)"},
    {"general.alignment", 0, BYTES("\x06\x00\x00\x00"), "has the wrong type"},
    {"llama.rope.dimension_count", -3, BYTES("_nt"), "dimension_co_nt\" is unknown and"},
    {"llama.block_count", -17, BYTES("\xff\xfe"), "is not a name"},
    {"llama.block_count", -25, BYTES("\x00\x00"), "is not a name"},
    {"llama.block_count", 4, BYTES("\x02"), "blk.1.attn_norm.weight: is missing"},
    {"llama.block_count", -17, BYTES("llama.expert_coun"), "num_hidden_layers\" is missing"},
    {"llama.feed_forward_length", 4, BYTES("\x0d"), "(expected [13, 8] by the config)"},
    {"llama.rope.dimension_count", 4, BYTES("\x02"), "\"rope_dim\" is 2 (expected 4 to 4)"},
    {"tokenizer.ggml.model", 12, BYTES("gpt3"),
     "is \"gpt3\" (expected gpt2, llama, gemma4, bert or"},
    {"tokenizer.ggml.pre", 12, BYTES("smallm"), "a pre-tokenizer that ingot does not know"},
    {"tokenizer.ggml.tokens", 0, BYTES("\x04\x00\x00\x00"), "is not a name"},
    {"tokenizer.ggml.tokens", 4, BYTES("\x05\x00\x00\x00"), "ends within key"},
    {"tokenizer.ggml.tokens", 8, BYTES(BILLION), "is an array of 1000000000 elements (at most"},
    {"tokenizer.ggml.tokens", 16, BYTES(BILLION), "ends within tokenizer.ggml.tokens"},
    {"tokenizer.ggml.tokens", 24, BYTES("\xff"), "token 0 (\"\\xff\") is not UTF-8"},
    {"tokenizer.ggml.token_type", 8, BYTES(BILLION), "is an array of 1000000000 elements"},
    {"tokenizer.ggml.token_type", 4, BYTES("\x04"),
     "has the wrong type (expected an array of i32)"},
    {"tokenizer.ggml.merges", 25, BYTES("_"), "merge 0 (\"a_b\") is not \"a b\""},
    {"tokenizer.ggml.eos_token_id", 4, BYTES("\x10"), "is 16 (expected a token id below 16)"},
    {"test.nested", 16, BYTES("\x09\x00\x00\x00"), "key test.nested: has the unknown type"},
    {"test.nested", 20, BYTES(BILLION), "is an array of 1000000000 elements"},
    {"token_embd.weight", 0, BYTES("\x05"), "has 5 dimensions (expected at most 4)"},
    {"token_embd.weight", 4, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), "dimension is too large"},
    {"token_embd.weight", 4, BYTES("\x00\x00\x00\x00\x00\x00\x00\x40"), "dimensions overflows"},
    {"token_embd.weight", 4, BYTES("\x00\x00\x00\x00\x01\x00\x00\x00"), "reach beyond the file"},
    {"token_embd.weight", 20, BYTES("\x63"), "has the unknown type 99"},
    {"token_embd.weight", 20, BYTES("\x02"), "are not whole blocks of q4_0 (32)"},
    {"token_embd.weight", 20, BYTES("\x0c"), "are not whole blocks of q4_k (256)"},
    {"token_embd.weight", 20, BYTES("\x1a"), "is stored as i32"},
    {"token_embd.weight", 24, BYTES("\x01"), "(expected a multiple of 32)"},
    {"blk.0.attn_norm.weight", 16, BYTES("\x00\x00"), "overlaps the tensor before it"},
    {"blk.0.attn_norm.weight", 16, BYTES("\xe0\xff\xff\xff\xff\xff\xff\xff"), "reach beyond"},
    {"blk.0.attn_q.weight", -6, BYTES("biases"), "attn_q.weight: is missing"},
    {"output_norm.weight", 32, BYTES("outpux"), "outpux.weight: has no place in a llama model"},
    {"blk.0.ffn_up.weight", -19, BYTES("blk.0.ffn_gate.weig"), "ffn_up.weight: is missing"},
    {"blk.0.attn_v.weight", -13, BYTES("\x00"), "is not a name"},
    {"GGUF", 0, BYTES("\x02\x00\x00\x00"), NULL}, /* version 2 has the same layout */
};

static void run_gguf(const Patch *p) {
  Buf b = {0};
  tiny_gguf(&b);
  patch_bytes(&b, p->anchor, p->delta, p->bytes, p->n);
  write_file("model.gguf", b.data, b.size);
  try_model(p->anchor, "model.gguf", p->expected);
  buf_free(&b);
}

/* Two keys of one name, and arrays nested far deeper than any real file's. */
static void run_gguf_shapes(void) {
  Buf b = {0};
  tiny_gguf(&b);
  replace_text(&b, "llama.context_length", "general.architecture");
  write_file("model.gguf", b.data, b.size);
  try_model("two keys", "model.gguf", "key general.architecture: stands twice");
  buf_free(&b);
  static const char nested[12] = {9, 0, 0, 0, 1};
  buf_puts(&b, "GGUF\3");
  buf_put(&b, "\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0k\x09\0\0", 31);
  buf_put(&b, "", 1);
  for (int i = 0; i < 100000; i++) buf_put(&b, nested, sizeof nested);
  write_file("model.gguf", b.data, b.size);
  try_model("nested arrays", "model.gguf", "nested deeper than 8");
  buf_free(&b);
}

/* ---- whole files ---- */

/* Every cut of a file must be refused. */
static void run_cuts(const Buf *b, const char *path, const char *model) {
  for (size_t n = 0; n < b->size; n += n < 3000 ? 1 : 97) {
    write_file(path, b->data, n);
    try_model("cut", model, "error");
  }
}

static void run_whole_files(void) {
  Buf gguf = {0};
  Folder f = folder_new();
  tiny_gguf(&gguf);
  write_file("model.gguf", gguf.data, gguf.size);
  try_model("the GGUF as it is", "model.gguf", NULL);
  run_cuts(&gguf, "model.gguf", "model.gguf");
  folder_write(&f);
  try_model("the folder as it is", "model", NULL);
  try_model("the safetensors file as it is", "model/model.safetensors", NULL);
  run_cuts(&f.weights, "model/model.safetensors", "model");
  folder_write(&f);
  buf_puts(&f.weights, "more");
  write_file("model/model.safetensors", f.weights.data, f.weights.size);
  try_model("data behind the last tensor", "model", "bytes of data (expected 3040");
  write_file("model/model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
  try_model("huge header", "model", "says that its header has 18446744073709551615 bytes");
  write_file("noise.bin", "\x7f\x45\x4c\x46 hello, world", 17);
  try_model("no model", "noise.bin", "is of no known format: it begins with \"\\x7fELF hel\"");
  try_model("not there", "nowhere", "is not there");
  unlink("model/model.safetensors");
  try_model("no weights", "model", "has no weights (expected model.safetensors");
  write_file("model/pytorch_model.bin", "PK", 2);
  try_model("pickled weights", "model", "in pytorch_model.bin, which ingot does not read");
  unlink("model/pytorch_model.bin");
  mkdir("model/model.safetensors", 0777);
  try_model("a folder for a file", "model", "is a folder");
  rmdir("model/model.safetensors");
  unlink("model/config.json");
  try_model("no config", "model", "has no config.json");
  folder_free(&f);
  buf_free(&gguf);
}

int main(void) {
#ifndef __SANITIZE_ADDRESS__
  setrlimit(RLIMIT_AS, &(struct rlimit){512u << 20, 512u << 20});
#endif
  run_whole_files();
  for (size_t i = 0; i < COUNT(config_changes); i++) run_config(&config_changes[i]);
  for (size_t i = 0; i < COUNT(arch_changes); i++) run_config(&arch_changes[i]);
  for (size_t i = 0; i < COUNT(header_changes); i++) run_header(&header_changes[i]);
  for (size_t i = 0; i < COUNT(tokenizer_changes); i++) run_tokenizer(&tokenizer_changes[i]);
  for (size_t i = 0; i < COUNT(index_changes); i++) run_index(&index_changes[i]);
  for (size_t i = 0; i < COUNT(gguf_patches); i++) run_gguf(&gguf_patches[i]);
  run_gguf_shapes();
  run_depth();
  printf("%u files, %u wrong\n", tests, failures);
  return failures != 0;
}
