ingot_unit_test(eval ir_graph ir_quant ir_kernel ir_base)
