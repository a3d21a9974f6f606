# Wrong and hostile files, and the fuzzer of the readers (tests/fuzz), each in an empty folder.
add_executable(reject_test reject/reject_test.c reject/files.c)
target_link_libraries(reject_test PRIVATE frontend_arch)
add_executable(fuzz_readers fuzz/fuzz_readers.c reject/files.c)
target_link_libraries(fuzz_readers PRIVATE frontend_arch)
add_executable(sweep_test reject/sweep_test.c reject/files.c)
target_link_libraries(sweep_test PRIVATE frontend_arch)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/sweep_files ${CMAKE_BINARY_DIR}/reject_files ${CMAKE_BINARY_DIR}/fuzz_files)
add_test(NAME reject.files COMMAND reject_test WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/reject_files)
add_test(NAME reject.sweep COMMAND sweep_test WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/sweep_files)
add_test(NAME fuzz.readers COMMAND fuzz_readers 3000 1
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz_files)
