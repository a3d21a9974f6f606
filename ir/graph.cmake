# ir_graph: Graph IR, its op table, text, verifier and evaluator. The operators themselves are
# listed in op.cmake.
set(IR_OP_SOURCES "")
include(${CMAKE_CURRENT_LIST_DIR}/op.cmake OPTIONAL)
set(IR_OP_PRESENT "")
foreach(source ${IR_OP_SOURCES})
  if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/${source})
    list(APPEND IR_OP_PRESENT ${source})
  endif()
endforeach()
ingot_library(ir_graph dims.c types.c op_info.c graph.c graph_edit.c ${IR_OP_PRESENT})
target_link_libraries(ir_graph PUBLIC ir_base ir_kernel ir_quant ${OPENBLAS})
