# quant_shim: ir/quant for tools/bench/quant_error.py; `ninja quant_shim`.
add_library(quant_shim MODULE EXCLUDE_FROM_ALL ${CMAKE_CURRENT_SOURCE_DIR}/bench/quant_shim.c)
target_link_libraries(quant_shim PRIVATE ir_quant)
