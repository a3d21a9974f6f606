/* Tiny valid model files; see files.h. Values are small and fixed, so that models build. */
#include "tests/reject/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Tensor {
  const char *hf, *gguf;
  int rows, cols; /* cols 0: a vector */
} Tensor;

#define L_HF "model.layers.0."
static const Tensor tensors[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 16, 8},
    {L_HF "input_layernorm.weight", "blk.0.attn_norm.weight", 8, 0},
    {L_HF "self_attn.q_proj.weight", "blk.0.attn_q.weight", 8, 8},
    {L_HF "self_attn.k_proj.weight", "blk.0.attn_k.weight", 4, 8},
    {L_HF "self_attn.v_proj.weight", "blk.0.attn_v.weight", 4, 8},
    {L_HF "self_attn.o_proj.weight", "blk.0.attn_output.weight", 8, 8},
    {L_HF "post_attention_layernorm.weight", "blk.0.ffn_norm.weight", 8, 0},
    {L_HF "mlp.gate_proj.weight", "blk.0.ffn_gate.weight", 12, 8},
    {L_HF "mlp.up_proj.weight", "blk.0.ffn_up.weight", 12, 8},
    {L_HF "mlp.down_proj.weight", "blk.0.ffn_down.weight", 8, 12},
    {"model.norm.weight", "output_norm.weight", 8, 0},
    {"lm_head.weight", "output.weight", 16, 8},
};

/* Byte-level tokens: 13 letters, two merges and a special token. */
static const char *const tokens[] = {"a", "b", "c", "d", "e",  "f",   "g",        "h",
                                     "i", "j", "k", "l", "ab", "abc", "\xc4\xa0", "<|end|>"};

static size_t tensor_bytes(const Tensor *t) {
  return 4u * (size_t)t->rows * (size_t)(t->cols ? t->cols : 1);
}

void tiny_config(Buf *out) {
  buf_puts(out, "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\",\n"
                "\"vocab_size\": 16, \"hidden_size\": 8, \"intermediate_size\": 12,\n"
                "\"num_hidden_layers\": 1, \"num_attention_heads\": 2,\n"
                "\"num_key_value_heads\": 1, \"hidden_act\": \"silu\",\n"
                "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-05,\n"
                "\"rope_theta\": 10000.0, \"rope_scaling\": null,\n"
                "\"tie_word_embeddings\": false, \"attention_bias\": false,\n"
                "\"eos_token_id\": 15, \"torch_dtype\": \"float32\"}\n");
}

void tiny_header(Buf *out) {
  size_t at = 0;
  buf_puts(out, "{\"__metadata__\":{\"format\":\"pt\"}");
  for (size_t i = 0; i < COUNT(tensors); i++) {
    const Tensor *t = &tensors[i];
    buf_printf(out, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%d", t->hf, t->rows);
    if (t->cols) buf_printf(out, ",%d", t->cols);
    buf_printf(out, "],\"data_offsets\":[%zu,%zu]}", at, at + tensor_bytes(t));
    at += tensor_bytes(t);
  }
  buf_puts(out, "}");
}

static void put_little(Buf *b, uint64_t v, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint8_t byte = (uint8_t)(v >> (8 * i));
    buf_put(b, &byte, 1);
  }
}

static void put_values(Buf *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    float x = (float)((int)(i * 7 % 13) - 6) / 16;
    buf_put(b, &x, sizeof x);
  }
}

void safetensors_file(Buf *out, const char *header, size_t header_size, size_t data_size) {
  put_little(out, header_size, 8);
  buf_put(out, header, header_size);
  put_values(out, data_size / 4);
  for (size_t i = 0; i < data_size % 4; i++) buf_put(out, "", 1);
}

void tiny_safetensors(Buf *out) {
  Buf header = {0};
  size_t data = 0;
  for (size_t i = 0; i < COUNT(tensors); i++) data += tensor_bytes(&tensors[i]);
  tiny_header(&header);
  safetensors_file(out, header.data, header.size, data);
  buf_free(&header);
}

void tiny_tokenizer(Buf *out) {
  buf_puts(out,
           "{\"added_tokens\": [{\"id\": 15, \"content\": \"<|end|>\", \"special\": true}],\n"
           "\"normalizer\": {\"type\": \"NFC\"},\n"
           "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
           "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\p{N}\"}, \"behavior\": "
           "\"Isolated\", \"invert\": false},\n"
           "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}]},\n"
           "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": "
           "{\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"<|end|>\", "
           "\"type_id\": 0}}], \"pair\": [], \"special_tokens\": {\"<|end|>\": {\"id\": "
           "\"<|end|>\", \"ids\": [15], \"tokens\": [\"<|end|>\"]}}},\n"
           "\"decoder\": {\"type\": \"ByteLevel\"},\n"
           "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"vocab\": {");
  for (size_t i = 0; i < COUNT(tokens) - 1; i++)
    buf_printf(out, "%s\"%s\": %zu", i ? ", " : "", tokens[i], i);
  buf_puts(out, "}, \"merges\": [\"a b\", [\"ab\", \"c\"]]}}\n");
}

/* ---- GGUF ---- */

static void put_string(Buf *b, const char *s) {
  put_little(b, strlen(s), 8);
  buf_puts(b, s);
}

static void put_key(Buf *b, const char *key, uint32_t type) {
  put_string(b, key);
  put_little(b, type, 4);
}

static void put_u32(Buf *b, const char *key, uint32_t v) {
  put_key(b, key, 4);
  put_little(b, v, 4);
}

static void put_text(Buf *b, const char *key, const char *v) {
  put_key(b, key, 8);
  put_string(b, v);
}

static void put_array(Buf *b, const char *key, uint32_t element, uint64_t n) {
  put_key(b, key, 9);
  put_little(b, element, 4);
  put_little(b, n, 8);
}

enum { GGUF_KEYS = 17 };

static void put_metadata(Buf *b) {
  float eps = 1e-5f;
  put_text(b, "general.architecture", "llama");
  put_u32(b, "general.alignment", 32);
  put_u32(b, "llama.block_count", 1);
  put_u32(b, "llama.context_length", 64);
  put_u32(b, "llama.embedding_length", 8);
  put_u32(b, "llama.feed_forward_length", 12);
  put_u32(b, "llama.attention.head_count", 2);
  put_u32(b, "llama.attention.head_count_kv", 1);
  put_u32(b, "llama.rope.dimension_count", 4);
  put_key(b, "llama.attention.layer_norm_rms_epsilon", 6);
  buf_put(b, &eps, sizeof eps);
  put_text(b, "tokenizer.ggml.model", "gpt2");
  put_text(b, "tokenizer.ggml.pre", "smollm");
  put_array(b, "tokenizer.ggml.tokens", 8, COUNT(tokens));
  for (size_t i = 0; i < COUNT(tokens); i++) put_string(b, tokens[i]);
  put_array(b, "tokenizer.ggml.token_type", 5, COUNT(tokens));
  for (size_t i = 0; i < COUNT(tokens); i++) put_little(b, i == COUNT(tokens) - 1 ? 3 : 1, 4);
  put_array(b, "tokenizer.ggml.merges", 8, 2);
  put_string(b, "a b");
  put_string(b, "ab c");
  put_u32(b, "tokenizer.ggml.eos_token_id", 15);
  put_array(b, "test.nested", 9, 1); /* an array in an array */
  put_little(b, 0, 4);
  put_little(b, 3, 8);
  buf_put(b, "xyz", 3);
}

void tiny_gguf(Buf *b) {
  uint64_t at = 0;
  buf_puts(b, "GGUF");
  put_little(b, 3, 4);
  put_little(b, COUNT(tensors), 8);
  put_little(b, GGUF_KEYS, 8);
  put_metadata(b);
  for (size_t i = 0; i < COUNT(tensors); i++) {
    const Tensor *t = &tensors[i];
    put_string(b, t->gguf);
    put_little(b, t->cols ? 2 : 1, 4);
    if (t->cols) put_little(b, (uint64_t)t->cols, 8);
    put_little(b, (uint64_t)t->rows, 8);
    put_little(b, 0, 4); /* f32 */
    put_little(b, at, 8);
    at += align_up(tensor_bytes(t), 32);
  }
  for (size_t i = 0; i < COUNT(tensors); i++) {
    buf_align(b, 32);
    put_values(b, tensor_bytes(&tensors[i]) / 4);
  }
}

/* ---- changing them ---- */

static char *find_bytes(Buf *b, const char *what) {
  char *at = memmem(b->data, b->size, what, strlen(what));
  if (at) return at;
  fprintf(stderr, "the file under test does not hold \"%s\"\n", what);
  abort();
}

void replace_text(Buf *b, const char *find, const char *with) {
  size_t before = (size_t)(find_bytes(b, find) - b->data), n = strlen(find);
  Buf out = {0};
  buf_put(&out, b->data, before);
  buf_puts(&out, with);
  buf_put(&out, b->data + before + n, b->size - before - n);
  buf_free(b);
  *b = out;
}

void patch_bytes(Buf *b, const char *anchor, int delta, const void *bytes, size_t n) {
  char *at = find_bytes(b, anchor) + strlen(anchor) + delta;
  if (at < b->data || at + n > b->data + b->size) abort();
  memcpy(at, bytes, n);
}

/* A new file each time: file systems flush one that is truncated and written anew. */
void write_file(const char *path, const void *data, size_t n) {
  unlink(path);
  FILE *f = fopen(path, "wb");
  if (!f || (n && fwrite(data, 1, n, f) != n) || fclose(f) != 0) {
    perror(path);
    abort();
  }
}
