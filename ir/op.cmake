# The operators of ir/ops.def and the evaluator, as sources of ir_graph (ir/graph.cmake).
set(IR_OP_SOURCES op/common.c op/unary.c op/activation.c op/binary.c op/layout.c op/norm.c op/reduce.c
  op/linear.c op/matmul.c op/gather.c op/rope.c op/attention.c eval.c)
