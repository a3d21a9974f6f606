# rt.o: crt1, the runtime and the libc members it needs as one relocatable object, made with musl-gcc
# and stored in the library runtime_image (runtime/image.h).
find_program(MUSL_GCC musl-gcc)
find_program(GNU_LD ld)
if(NOT MUSL_GCC OR NOT GNU_LD)
  message(WARNING "musl-gcc not found (Debian: musl-tools): ingot will not be able to make programs")
  return()
endif()
execute_process(COMMAND ${MUSL_GCC} -dumpspecs OUTPUT_VARIABLE specs ERROR_QUIET)
execute_process(COMMAND ${MUSL_GCC} -print-libgcc-file-name OUTPUT_VARIABLE MUSL_LIBGCC OUTPUT_STRIP_TRAILING_WHITESPACE)
find_path(MUSL_LIB crt1.o NO_DEFAULT_PATH PATHS /usr/lib/${CMAKE_SYSTEM_PROCESSOR}-linux-musl /usr/lib/musl/lib
          /usr/local/musl/lib /usr/lib)
if(specs MATCHES "([^ \n]+)/crti\\.o")
  set(MUSL_LIB ${CMAKE_MATCH_1})
endif()

set(RT_DIR ${CMAKE_CURRENT_BINARY_DIR}/rt)
set(RT_FLAGS -std=c11 -O2 -fPIE -ffunction-sections -fdata-sections -ffp-contract=off -fno-stack-protector
    -fno-asynchronous-unwind-tables -D_GNU_SOURCE -DNDEBUG -DINGOT_VERSION="${PROJECT_VERSION}"
    -I${CMAKE_SOURCE_DIR} -Wall -Wextra -Wno-missing-field-initializers)
set(objects)
foreach(source ${RUNTIME_SOURCES})
  file(RELATIVE_PATH name ${CMAKE_CURRENT_SOURCE_DIR} ${source})
  string(REPLACE "/" "_" name ${name})
  set(object ${RT_DIR}/${name}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${MUSL_GCC} ${RT_FLAGS} -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
  list(APPEND objects ${object})
endforeach()
file(MAKE_DIRECTORY ${RT_DIR})
add_custom_command(OUTPUT ${RT_DIR}/rt.o
  COMMAND ${GNU_LD} -r -x -o ${RT_DIR}/rt.o ${MUSL_LIB}/crt1.o ${MUSL_LIB}/crti.o ${objects}
          --start-group ${MUSL_LIB}/libc.a ${MUSL_LIBGCC} --end-group ${MUSL_LIB}/crtn.o
  DEPENDS ${objects} VERBATIM)

file(CONFIGURE OUTPUT ${RT_DIR}/runtime_image.c @ONLY CONTENT [[
/* Generated: stores rt.o. */
#include "runtime/image.h"
__asm__(".section .rodata\n.balign 16\n.globl ingot_runtime_image\n"
        "ingot_runtime_image:\n.incbin \"@RT_DIR@/rt.o\"\n"
        "ingot_runtime_image_end:\n.balign 8\n.globl ingot_runtime_image_size\n"
        "ingot_runtime_image_size:\n.quad ingot_runtime_image_end - ingot_runtime_image\n.text\n");
]])
set_source_files_properties(${RT_DIR}/runtime_image.c PROPERTIES OBJECT_DEPENDS ${RT_DIR}/rt.o)
ingot_library(runtime_image ${RT_DIR}/runtime_image.c)
