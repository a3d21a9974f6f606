# op.lower: every case of op_common.h through lowering and the evaluator of Kernel IR; op.native: the
# same kernels compiled for every ISA level of this machine.
add_executable(op_lower_test ${CMAKE_CURRENT_SOURCE_DIR}/op/op_lower_test.c)
add_executable(op_native_test ${CMAKE_CURRENT_SOURCE_DIR}/op/op_native_test.c)
target_compile_definitions(op_native_test PRIVATE TEST_LLD="${LLD}")
target_link_libraries(op_native_test PRIVATE backend_cpu test_emu)
foreach(test op_lower op_native)
  target_link_libraries(${test}_test PRIVATE passes_graph passes_lower passes_kernel ir_graph
    ir_quant ir_kernel ir_base PkgConfig::CMOCKA)
endforeach()
add_test(NAME op.lower COMMAND op_lower_test)
add_test(NAME op.native COMMAND op_native_test)
