# op.lower: every case of op_cases.h through lowering and the Kernel IR evaluator.
add_executable(op_lower_test ${CMAKE_CURRENT_SOURCE_DIR}/op/op_lower_test.c)
target_link_libraries(op_lower_test PRIVATE passes_graph passes_lower passes_kernel ir_graph
  ir_quant ir_kernel ir_base PkgConfig::CMOCKA)
add_test(NAME op.lower COMMAND op_lower_test)
