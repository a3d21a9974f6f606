foreach(part jinja_lex jinja_expr jinja_stmt chat_compile)
  list(APPEND BACKEND_TEXT_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/text/${part}.c)
endforeach()
