# ingot_library(ir_graph ...)
