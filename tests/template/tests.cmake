# Chat templates against what Jinja2 made of them (make.py).
add_executable(template_test ${CMAKE_CURRENT_SOURCE_DIR}/template/template_test.c)
target_link_libraries(template_test PRIVATE backend_text runtime_native)
add_test(NAME template.cases COMMAND template_test ${CMAKE_CURRENT_SOURCE_DIR}/template/cases.jsonl)
