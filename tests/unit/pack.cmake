ingot_unit_test(pack passes_lower passes_kernel ir_graph ir_quant ir_kernel ir_base)
