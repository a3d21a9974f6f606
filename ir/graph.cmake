# ir_graph: Graph IR, its op table, text, verifier and evaluator. The operators themselves are
# listed in op.cmake.
include(${CMAKE_CURRENT_LIST_DIR}/op.cmake)
ingot_library(ir_graph dims.c types.c op_info.c graph.c graph_edit.c graph_print.c graph_parse.c
  module_parse.c type_parse.c graph_verify.c ${IR_OP_SOURCES})
target_link_libraries(ir_graph PUBLIC ir_base ir_kernel ir_quant ${OPENBLAS})
