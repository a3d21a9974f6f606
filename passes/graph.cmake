# passes_graph: Graph to Graph, and the pipeline. pass_fuse stands in passes_lower, which has to know
# what clusters it can lower.
ingot_library(passes_graph pipeline.c util.c canonicalize.c fold_constants.c cse.c dce.c quantize.c
  linear_argmax.c merge_linear.c requant.c)
target_link_libraries(passes_graph PUBLIC passes_lower ir_graph ir_quant)
