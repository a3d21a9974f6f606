# passes_lower: clusters to kernels, launches, memory plan; and packing of weights.
ingot_library(passes_lower pack.c fuse.c lower/lower.c lower/place.c lower/draft.c lower/expr.c
  lower/weights.c lower/act.c lower/map.c lower/view.c lower/row.c lower/contract.c lower/linear_argmax.c
  lower/contract_int.c lower/contract_float.c lower/contract_f32.c lower/contract_fill.c lower/contract_panel.c
  lower/contract_amx.c lower/contract_direct.c
  lower/matmul.c lower/gather.c
  lower/position.c lower/attend.c lower/attend_tile.c lower/attend_cache.c
  lower/attend_pack.c lower/attend_i16.c lower/attend_q8.c
  lower/state.c lower/plan_memory.c lower/barriers.c)
target_link_libraries(passes_lower PUBLIC passes_kernel ir_graph ir_kernel ir_quant ir_base)
