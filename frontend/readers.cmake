# frontend_readers: files to Model. nettle (Debian: nettle-dev) hashes the files for the card.
pkg_check_modules(NETTLE REQUIRED IMPORTED_TARGET nettle)
ingot_library(frontend_readers model.c json_file.c safetensors.c hf.c hf_tokenizer.c hf_steps.c
  hf_chat.c hf_sentence.c gguf.c gguf_tokenizer.c gguf_pre.c tok_steps.c card.c)
target_link_libraries(frontend_readers PUBLIC ir_graph ir_quant ir_base PkgConfig::JANSSON
  PRIVATE PkgConfig::NETTLE ${UTF8PROC})
