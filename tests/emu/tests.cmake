# AMX for machines without it: within a test, and for a whole program by ptrace (Linux on x86-64).
ingot_library(test_emu ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx.c ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx_signal.c)
add_executable(amx_test ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx_test.c)
target_link_libraries(amx_test PRIVATE test_emu PkgConfig::CMOCKA)
add_test(NAME unit.amx COMMAND amx_test)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_executable(amx_run ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx_run.c)
  target_link_libraries(amx_run PRIVATE test_emu)
endif()
