# frontend_arch: Model to Module; one file an architecture (archs.def), made of shared blocks.
ingot_library(frontend_arch arch/arch.c arch/config.c arch/weights.c arch/rope.c arch/blocks.c
  arch/decoder.c arch/decoder_config.c arch/llama.c arch/bert.c arch/qwen2.c arch/qwen3.c
  arch/gemma2.c arch/gemma3_text.c)
target_link_libraries(frontend_arch PUBLIC frontend_readers ir_graph ir_quant ir_base
  PkgConfig::JANSSON)
