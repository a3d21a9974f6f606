ingot_unit_test(op passes_kernel ir_graph ir_quant ir_kernel ir_base)
