foreach(file answer batch bench bench_encode card chat embed encode generate profile template tensors tokenize)
  list(APPEND RUNTIME_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${file}.c)
endforeach()
