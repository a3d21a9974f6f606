ingot_unit_test(kernel ir_kernel)
