# ir_quant: storage formats of weights, one file a format or tight family, and rows of constants.
ingot_library(ir_quant quant.c const_rows.c quant/common.c quant/floats.c quant/q4.c quant/q5.c
  quant/q8_0.c quant/super.c quant/fit.c quant/k_affine.c quant/k_symmetric.c quant/iq4.c quant/tq.c
  quant/grid.c quant/grids.c quant/grid_fit.c quant/iq1.c quant/iq2.c quant/iq3.c quant/fp4.c)
target_link_libraries(ir_quant PUBLIC ir_kernel ir_base)
