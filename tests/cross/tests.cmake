# Programs for aarch64 under qemu-user (Debian: qemu-user-static); skipped where ingot has no runtime for it.
find_program(QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(QEMU_AARCH64 AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  foreach(part levels same_bits block_formats architectures text sampling other_outputs wrong_use)
    add_test(NAME cross.${part} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cross/cross.py
      $<TARGET_FILE:ingot> ${CMAKE_SOURCE_DIR} ${QEMU_AARCH64} ${INGOT_SYSROOT_aarch64} ^test_${part}$)
    set_tests_properties(cross.${part} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
  # cpu_arm_test: every operation of Kernel IR, called under the emulator.
  file(GLOB libgcc ${INGOT_SYSROOT_aarch64}/usr/lib/gcc/aarch64-linux-gnu/*/libgcc.a)
  if(CROSS_CLANG AND libgcc)
    list(GET libgcc 0 libgcc)
    set(lib ${INGOT_SYSROOT_aarch64}/usr/lib/aarch64-linux-musl)
    set(caller ${CMAKE_CURRENT_BINARY_DIR}/call_kernels.o)
    add_custom_command(OUTPUT ${caller}
      COMMAND ${CROSS_CLANG} --target=aarch64-linux-musl -nostdlibinc -isystem ${INGOT_SYSROOT_aarch64}/usr/include/aarch64-linux-musl
              -O1 -I${CMAKE_SOURCE_DIR} -c ${CMAKE_CURRENT_SOURCE_DIR}/cross/call_kernels.c -o ${caller}
      DEPENDS cross/call_kernels.c cross/call_kernels.h ${CMAKE_SOURCE_DIR}/runtime/abi.h VERBATIM)
    add_executable(cpu_arm_test ${CMAKE_CURRENT_SOURCE_DIR}/unit/cpu_test.c ${caller})
    set_source_files_properties(${caller} PROPERTIES EXTERNAL_OBJECT FALSE HEADER_FILE_ONLY TRUE)
    target_link_libraries(cpu_arm_test PRIVATE backend_cpu test_emu ir_quant ir_kernel ir_graph ir_base m PkgConfig::CMOCKA)
    target_compile_definitions(cpu_arm_test PRIVATE TEST_LLD="${LLD}" TEST_EMULATOR="${QEMU_AARCH64}"
      TEST_CALLER="${lib}/crt1.o ${lib}/crti.o ${caller} ${lib}/libc.a ${libgcc} ${lib}/crtn.o")
    add_test(NAME cross.operations COMMAND cpu_arm_test)
  endif()
else()
  message(STATUS "no qemu-aarch64-static (Debian: qemu-user-static): programs for aarch64 are not tested")
endif()
