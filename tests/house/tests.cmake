# The rules that a script can hold: includes, budgets, format.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
add_test(NAME house COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/house/check.py ${CMAKE_SOURCE_DIR})
