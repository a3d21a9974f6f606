/* Tiny valid model files in memory, from which the reject tests and the fuzzer make wrong ones. */
#ifndef INGOT_TESTS_REJECT_FILES_H
#define INGOT_TESTS_REJECT_FILES_H

#include "ir/base.h"

/* A llama of one layer: hidden 8, two heads over one, vocabulary 16. */
void tiny_config(Buf *out);      /* config.json */
void tiny_header(Buf *out);      /* the JSON header of its safetensors file */
void tiny_safetensors(Buf *out); /* the whole file */
void tiny_tokenizer(Buf *out);   /* tokenizer.json: byte-level BPE of 16 tokens */
void tiny_gguf(Buf *out);        /* the same model with its tokenizer */

/* A safetensors file of this header and so many bytes of data. */
void safetensors_file(Buf *out, const char *header, size_t header_size, size_t data_size);
/* Replaces the first `find` by `with`; aborts when there is none, so no test can miss its target.
 */
void replace_text(Buf *b, const char *find, const char *with);
/* The same for bytes: overwrites n bytes at `delta` behind the end of the first `anchor`. */
void patch_bytes(Buf *b, const char *anchor, int delta, const void *bytes, size_t n);
void write_file(const char *path, const void *data, size_t n);

#endif
