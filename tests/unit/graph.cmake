ingot_unit_test(graph ir_graph)
