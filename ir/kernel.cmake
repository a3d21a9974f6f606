# ir_kernel: Kernel IR, text, verifier, evaluator.
ingot_library(ir_kernel kernel_build.c kernel_rewrite.c kernel_type.c kernel_print.c kernel_parse.c kernel_verify.c
  kernel_eval.c kernel_eval_ops.c kernel_watch.c kprogram.c kprogram_eval.c)
target_link_libraries(ir_kernel PUBLIC ir_base ir_graph) # a program's dimensions and types are Graph IR's
