# ingot: the driver. Its commands are a library, so that tests can call them.
ingot_library(ingot_driver options.c output.c progress.c tensors_file.c card.c tile.c cache.c compile.c verify.c reference.c calibrate.c
  cmd_compile.c cmd_run.c cmd_profile.c cmd_inspect.c cmd_eval.c cmd_opt.c)
target_compile_definitions(ingot_driver PUBLIC INGOT_VERSION="${PROJECT_VERSION}")
target_link_libraries(ingot_driver PUBLIC frontend_readers frontend_arch passes_graph passes_lower passes_kernel
  backend_cpu backend_null backend_text ir_graph ir_kernel ir_quant ir_base)
add_executable(ingot main.c)
target_link_libraries(ingot PRIVATE ingot_driver)
set_target_properties(ingot PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
