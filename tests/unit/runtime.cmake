if(TARGET runtime_native)
  ingot_unit_test(runtime runtime_native)
  target_sources(runtime_test PRIVATE ${CMAKE_CURRENT_LIST_DIR}/runtime_toy.c)
  # The same model as a program: main comes out of the library.
  add_executable(runtime_toy ${CMAKE_CURRENT_LIST_DIR}/runtime_toy.c)
  target_link_libraries(runtime_toy PRIVATE runtime_native)
endif()
