# passes_kernel: Kernel to Kernel.
ingot_library(passes_kernel expand_math.c expand_mma.c interleave.c math/exp_log.c math/tanh_erf.c math/sin_cos.c)
target_link_libraries(passes_kernel PUBLIC ir_kernel)
