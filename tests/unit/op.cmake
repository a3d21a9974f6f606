ingot_unit_test(op ir_graph ir_quant ir_kernel ir_base)
ingot_unit_test(expr passes_kernel ir_graph ir_quant ir_kernel ir_base)
