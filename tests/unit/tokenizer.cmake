if(TARGET runtime_native)
  ingot_unit_test(tokenizer backend_text runtime_native ir_base)
  ingot_unit_test(tokenizer_refuse backend_text runtime_native ir_base)
endif()
