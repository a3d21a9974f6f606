# AMX for machines without it: within a test, and for a whole program by ptrace (Linux on x86-64).
ingot_library(test_emu ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx.c ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx_signal.c)
add_executable(amx_test ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx_test.c)
target_link_libraries(amx_test PRIVATE test_emu PkgConfig::CMOCKA)
add_test(NAME unit.amx COMMAND amx_test)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_executable(amx_run ${CMAKE_CURRENT_SOURCE_DIR}/emu/amx_run.c)
  target_link_libraries(amx_run PRIVATE test_emu)
endif()
# Produced programs on emulated CPU models (Debian: qemu-user-static), which says so itself where there is none.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  find_package(Python3 COMPONENTS Interpreter REQUIRED)
  foreach(part levels too_old formats calls instructions no_library_calls)
    add_test(NAME models.${part} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/emu/cpu_models.py
      $<TARGET_FILE:ingot> ${CMAKE_SOURCE_DIR} test_${part})
    set_tests_properties(models.${part} PROPERTIES SKIP_RETURN_CODE 77 RESOURCE_LOCK qemu LABELS slow)
  endforeach()
endif()
