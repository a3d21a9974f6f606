# What ingot stores of the runtime. rt.o: crt1, the runtime and the libc members it needs as one relocatable object, made with musl-gcc
# and stored in the library runtime_image (runtime/image.h).
find_program(MUSL_GCC musl-gcc)
find_program(GNU_LD ld)
find_program(OBJCOPY objcopy)
if(NOT MUSL_GCC OR NOT GNU_LD OR NOT OBJCOPY)
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
set(RT_FLAGS -std=c11 -O2 -ffunction-sections -fdata-sections -ffp-contract=off -fno-stack-protector
    -fno-asynchronous-unwind-tables -D_GNU_SOURCE -DNDEBUG -DINGOT_VERSION="${PROJECT_VERSION}"
    -I${CMAKE_SOURCE_DIR} -Wall -Wextra -Wno-missing-field-initializers)
# rt_objects(result suffix sources flags..): the objects of the sources, compiled with musl's headers.
function(rt_objects result suffix sources)
  set(objects)
  foreach(source ${sources})
    file(RELATIVE_PATH name ${CMAKE_CURRENT_SOURCE_DIR} ${source})
    string(REPLACE "/" "_" name ${name})
    set(object ${RT_DIR}/${name}${suffix}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${MUSL_GCC} ${RT_FLAGS} ${ARGN} -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set(${result} ${objects} PARENT_SCOPE)
endfunction()
file(MAKE_DIRECTORY ${RT_DIR})
rt_objects(objects "" "${RUNTIME_SOURCES}" -fPIE)
add_custom_command(OUTPUT ${RT_DIR}/rt.o
  COMMAND ${GNU_LD} -r -x -o ${RT_DIR}/rt.o ${MUSL_LIB}/crt1.o ${MUSL_LIB}/crti.o ${objects}
          --start-group ${MUSL_LIB}/libc.a ${MUSL_LIBGCC} --end-group ${MUSL_LIB}/crtn.o
  DEPENDS ${objects} VERBATIM)

# lib.o: the library API without main and without libc. musl's headers name only plain C and POSIX
# functions, so it links with glibc too. All but ingot_* is made local, for the user's names to be free.
set(lib_sources ${RUNTIME_SOURCES} ${CMAKE_CURRENT_SOURCE_DIR}/core/lib.c)
list(FILTER lib_sources EXCLUDE REGEX "/task/|/core/(start|args|io|profile|bandwidth|safetensors|safetensors_write|sampler)\\.c$")
rt_objects(lib_objects "_lib" "${lib_sources}" -fPIC)
add_custom_command(OUTPUT ${RT_DIR}/lib.o
  COMMAND ${GNU_LD} -r -x -o ${RT_DIR}/lib_all.o ${lib_objects}
  COMMAND ${OBJCOPY} -w --keep-global-symbol=ingot_* ${RT_DIR}/lib_all.o ${RT_DIR}/lib.o
  DEPENDS ${lib_objects} VERBATIM)

# rt_image(symbol file list): appends a source that holds the bytes of a file as SYMBOL[] and SYMBOL_size.
function(rt_image symbol file out)
  file(CONFIGURE OUTPUT ${RT_DIR}/${symbol}.c @ONLY CONTENT [[
/* Generated: stores a file. */
#include "runtime/image.h"
__asm__(".section .rodata\n.balign 16\n.globl @symbol@\n@symbol@:\n.incbin \"@file@\"\n"
        ".L@symbol@_end:\n.balign 8\n.globl @symbol@_size\n"
        "@symbol@_size:\n.quad .L@symbol@_end - @symbol@\n.text\n");
]])
  set_source_files_properties(${RT_DIR}/${symbol}.c PROPERTIES OBJECT_DEPENDS ${file})
  set(${out} ${${out}} ${RT_DIR}/${symbol}.c PARENT_SCOPE)
endfunction()
set(images)
rt_image(ingot_runtime_image ${RT_DIR}/rt.o images)
rt_image(ingot_lib_image ${RT_DIR}/lib.o images)
rt_image(ingot_lib_header ${CMAKE_CURRENT_SOURCE_DIR}/ingot.h images)
ingot_library(runtime_image ${images})
