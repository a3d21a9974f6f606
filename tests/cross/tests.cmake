# Programs for aarch64 under qemu-user (Debian: qemu-user-static); skipped where ingot has no runtime for it.
find_program(QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(QEMU_AARCH64 AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  foreach(part levels same_bits block_formats architectures text sampling other_outputs wrong_use)
    add_test(NAME cross.${part} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cross/cross.py
      $<TARGET_FILE:ingot> ${CMAKE_SOURCE_DIR} ${QEMU_AARCH64} ${INGOT_SYSROOT_aarch64} ^test_${part}$)
    set_tests_properties(cross.${part} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
else()
  message(STATUS "no qemu-aarch64-static (Debian: qemu-user-static): programs for aarch64 are not tested")
endif()
