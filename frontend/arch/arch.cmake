# frontend_arch: Model to Module; one file an architecture (archs.def), made of shared blocks.
ingot_library(frontend_arch arch/arch.c arch/config.c arch/weights.c arch/rope.c arch/blocks.c
  arch/llama.c arch/bert.c)
target_link_libraries(frontend_arch PUBLIC frontend_readers ir_graph ir_quant ir_base
  PkgConfig::JANSSON)
