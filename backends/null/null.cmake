# backend_null: KProgram -> text. The example to copy.
ingot_library(backend_null null/null.c)
target_link_libraries(backend_null PUBLIC ir_kernel)
