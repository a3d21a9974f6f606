ingot_unit_test(kernel ir_kernel)
ingot_unit_test(math passes_kernel)
ingot_unit_test(kernel_eval ir_kernel)
ingot_unit_test(null_backend backend_null)
