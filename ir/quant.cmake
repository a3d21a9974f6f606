# ingot_library(ir_quant ...)
