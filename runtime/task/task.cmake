foreach(file answer bench card chat generate profile template tensors tokenize)
  list(APPEND RUNTIME_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${file}.c)
endforeach()
