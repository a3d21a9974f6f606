# backend_cpu: KProgram -> LLVM -> object -> static program; backend_find too, as every user of it links this.
find_program(LLD NAMES ld.lld-19 ld.lld HINTS /usr/lib/llvm-19/bin)
if(NOT LLD)
  set(LLD_PATH "")
  message(WARNING "ld.lld not found: ingot will look for it when it links (Debian: lld-19)")
else()
  set(LLD_PATH "${LLD}")
endif()
execute_process(COMMAND ${LLVM_CONFIG} --includedir OUTPUT_VARIABLE LLVM_INCLUDE OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${LLVM_CONFIG} --libdir OUTPUT_VARIABLE LLVM_LIBDIR OUTPUT_STRIP_TRAILING_WHITESPACE)
find_library(LLVM_LIBRARY NAMES LLVM-19 LLVM HINTS ${LLVM_LIBDIR} REQUIRED)
find_package(Threads REQUIRED)

ingot_library(backend_cpu backend.c
  cpu/cpu.c cpu/arch.c cpu/targets.c cpu/emit_kernel.c cpu/emit_op.c cpu/emit_dot.c cpu/emit_chain.c cpu/emit_soft.c cpu/emit_grid.c cpu/emit_amx.c cpu/emit_memory.c cpu/emit_arm.c cpu/codegen.c
  cpu/elf_object.c cpu/model_data.c cpu/link.c cpu/program.c cpu/pack_file.c cpu/crew.c cpu/output.c cpu/archive.c cpu/library.c)
target_include_directories(backend_cpu SYSTEM PRIVATE ${LLVM_INCLUDE})
target_compile_definitions(backend_cpu PRIVATE INGOT_LLD="${LLD_PATH}")
target_link_libraries(backend_cpu PUBLIC ir_kernel ir_graph ir_base ${LLVM_LIBRARY} Threads::Threads
  ir_quant passes_lower backend_null runtime_image)
