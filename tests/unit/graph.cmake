ingot_unit_test(graph ir_graph)
ingot_unit_test(graph_verify ir_graph)
ingot_unit_test(graph_passes passes_graph passes_lower)
