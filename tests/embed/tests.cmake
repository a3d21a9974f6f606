# A sentence-transformers folder through `embed`.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
add_test(NAME embed COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/check.py $<TARGET_FILE:ingot>)
