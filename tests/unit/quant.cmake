ingot_unit_test(quant ir_quant ir_kernel ir_graph ir_base)
ingot_unit_test(quant_split ir_quant ir_kernel ir_graph ir_base)
