# Tokenizers against Hugging Face: one test a fixture (made by make.py).
add_executable(tok_check ${CMAKE_CURRENT_LIST_DIR}/tok_check.c)
target_link_libraries(tok_check PRIVATE frontend_readers backend_text runtime_native)
file(GLOB fixtures CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*/cases.jsonl)
foreach(cases ${fixtures})
  get_filename_component(folder ${cases} DIRECTORY)
  get_filename_component(name ${folder} NAME)
  add_test(NAME tokenizer.${name} COMMAND tok_check ${folder} ${cases})
endforeach()
