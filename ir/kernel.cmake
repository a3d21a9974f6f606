# ingot_library(ir_kernel ...)
