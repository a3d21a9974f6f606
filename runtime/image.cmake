# What ingot stores of the runtime, one of each for every processor family (runtime/image.h). rt.o: crt1, the runtime and the
# libc members it needs as one relocatable object. lib.o: the library API without main and without libc.
# This machine's are made with musl-gcc. The other family's are optional: clang, ld.lld and a folder with musl and libgcc for
# it (INGOT_SYSROOT_aarch64; tools/setup.sh cross makes one). Without, --target says what is missing.
find_program(MUSL_GCC musl-gcc)
find_program(GNU_LD ld)
find_program(OBJCOPY objcopy)
find_program(CROSS_CLANG NAMES clang-19 clang)
find_program(CROSS_LLD NAMES ld.lld-19 ld.lld HINTS /usr/lib/llvm-19/bin)
find_program(CROSS_OBJCOPY NAMES llvm-objcopy-19 llvm-objcopy HINTS /usr/lib/llvm-19/bin)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(RT_HOST aarch64)
else()
  set(RT_HOST x86_64)
endif()

set(RT_FLAGS -std=c11 -O2 -ffunction-sections -fdata-sections -ffp-contract=off -fno-stack-protector
    -fno-asynchronous-unwind-tables -D_GNU_SOURCE -DNDEBUG -DINGOT_VERSION="${PROJECT_VERSION}"
    -I${CMAKE_SOURCE_DIR} -Wall -Wextra -Wno-missing-field-initializers)

# rt_objects(result arch suffix sources compiler..): the objects of the sources, compiled with musl's headers.
function(rt_objects result arch suffix sources)
  set(objects)
  foreach(source ${sources})
    file(RELATIVE_PATH name ${CMAKE_CURRENT_SOURCE_DIR} ${source})
    string(REPLACE "/" "_" name ${name})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/rt/${arch}/${name}${suffix}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${ARGN} ${RT_FLAGS} -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set(${result} ${objects} PARENT_SCOPE)
endfunction()

# rt_build(arch ld objcopy musl_lib libgcc compiler..): rt.o and lib.o of a family.
function(rt_build arch ld objcopy musl_lib libgcc)
  set(dir ${CMAKE_CURRENT_BINARY_DIR}/rt/${arch})
  file(MAKE_DIRECTORY ${dir})
  rt_objects(objects ${arch} "" "${RUNTIME_SOURCES}" ${ARGN} -fPIE)
  add_custom_command(OUTPUT ${dir}/rt.o
    COMMAND ${ld} -r -x -o ${dir}/rt.o ${musl_lib}/crt1.o ${musl_lib}/crti.o ${objects}
            --start-group ${musl_lib}/libc.a ${libgcc} --end-group ${musl_lib}/crtn.o
    DEPENDS ${objects} VERBATIM)
  # musl's headers name only plain C and POSIX functions, so lib.o links with glibc too. All but ingot_* is made
  # local, for the user's names to be free.
  set(lib_sources ${RUNTIME_SOURCES} ${CMAKE_CURRENT_SOURCE_DIR}/core/lib.c)
  list(FILTER lib_sources EXCLUDE REGEX "/task/|/core/(start|args|io|profile|bandwidth|safetensors|safetensors_write|sampler)\\.c$")
  rt_objects(lib_objects ${arch} "_lib" "${lib_sources}" ${ARGN} -fPIC)
  add_custom_command(OUTPUT ${dir}/lib.o
    COMMAND ${ld} -r -x -o ${dir}/lib_all.o ${lib_objects}
    COMMAND ${objcopy} -w --keep-global-symbol=ingot_* ${dir}/lib_all.o ${dir}/lib.o
    DEPENDS ${lib_objects} VERBATIM)
endfunction()

# rt_image(symbol file list): appends a source that holds the bytes of a file as SYMBOL[] and SYMBOL_size; no file: size 0.
function(rt_image symbol file out)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/rt/${symbol}.c)
  set(bytes "")
  if(file)
    set(bytes ".incbin \\\"${file}\\\"\\n")
  endif()
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
/* Generated: stores a file. */
#include "runtime/image.h"
__asm__(".section .rodata\n.balign 16\n.globl @symbol@\n@symbol@:\n@bytes@"
        ".L@symbol@_end:\n.balign 8\n.globl @symbol@_size\n"
        "@symbol@_size:\n.quad .L@symbol@_end - @symbol@\n.text\n");
]])
  if(file)
    set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${file})
  endif()
  set(${out} ${${out}} ${source} PARENT_SCOPE)
endfunction()

set(RT_FOUND)
if(MUSL_GCC AND GNU_LD AND OBJCOPY)
  execute_process(COMMAND ${MUSL_GCC} -dumpspecs OUTPUT_VARIABLE specs ERROR_QUIET)
  execute_process(COMMAND ${MUSL_GCC} -print-libgcc-file-name OUTPUT_VARIABLE MUSL_LIBGCC OUTPUT_STRIP_TRAILING_WHITESPACE)
  find_path(MUSL_LIB crt1.o NO_DEFAULT_PATH PATHS /usr/lib/${CMAKE_SYSTEM_PROCESSOR}-linux-musl /usr/lib/musl/lib
            /usr/local/musl/lib /usr/lib)
  if(specs MATCHES "([^ \n]+)/crti\\.o")
    set(MUSL_LIB ${CMAKE_MATCH_1})
  endif()
  rt_build(${RT_HOST} ${GNU_LD} ${OBJCOPY} ${MUSL_LIB} ${MUSL_LIBGCC} ${MUSL_GCC})
  list(APPEND RT_FOUND ${RT_HOST})
else()
  message(WARNING "musl-gcc not found (Debian: musl-tools): ingot will not be able to make programs for this machine")
endif()

# The folder is laid out as the packages musl-dev and libgcc-*-dev of the other architecture are.
foreach(arch x86_64 aarch64)
  if(NOT arch STREQUAL RT_HOST)
    set(INGOT_SYSROOT_${arch} ${CMAKE_SOURCE_DIR}/build/sysroot/${arch} CACHE PATH "musl and libgcc of ${arch}")
    set(root ${INGOT_SYSROOT_${arch}})
    file(GLOB libgcc ${root}/usr/lib/gcc/${arch}-linux-gnu/*/libgcc.a)
    if(CROSS_CLANG AND CROSS_LLD AND CROSS_OBJCOPY AND libgcc AND EXISTS ${root}/usr/lib/${arch}-linux-musl/libc.a)
      list(GET libgcc 0 libgcc)
      set(clang ${CROSS_CLANG} --target=${arch}-linux-musl -nostdlibinc -isystem ${root}/usr/include/${arch}-linux-musl)
      if(arch STREQUAL aarch64)
        list(APPEND clang -mno-outline-atomics) # they would need start code of libgcc
      endif()
      rt_build(${arch} ${CROSS_LLD} ${CROSS_OBJCOPY} ${root}/usr/lib/${arch}-linux-musl ${libgcc} ${clang})
      list(APPEND RT_FOUND ${arch})
    else()
      message(STATUS "no clang or no musl for ${arch}: ingot will make programs for ${RT_HOST} only (tools/setup.sh cross)")
    endif()
  endif()
endforeach()

set(images)
foreach(arch x86_64 aarch64)
  set(dir ${CMAKE_CURRENT_BINARY_DIR}/rt/${arch})
  if(arch IN_LIST RT_FOUND)
    rt_image(ingot_runtime_${arch} ${dir}/rt.o images)
    rt_image(ingot_lib_${arch} ${dir}/lib.o images)
  else()
    rt_image(ingot_runtime_${arch} "" images)
    rt_image(ingot_lib_${arch} "" images)
  endif()
endforeach()
rt_image(ingot_lib_header ${CMAKE_CURRENT_SOURCE_DIR}/ingot.h images)
ingot_library(runtime_image ${images})
