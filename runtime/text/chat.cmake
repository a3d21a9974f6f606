foreach(part render value print arith eval stmt string method filters sequences tests format)
  list(APPEND RUNTIME_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/text/chat_${part}.c)
endforeach()
