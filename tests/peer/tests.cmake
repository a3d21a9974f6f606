# The benches that compare with peers; they need none to be tested.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
add_test(NAME peer.bench COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/peer/bench_test.py
  $<TARGET_FILE:ingot> ${CMAKE_SOURCE_DIR})
