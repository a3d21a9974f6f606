# tests/pass: one test per .ir file, its commands and expectations inside; see run.sh.
execute_process(COMMAND ${LLVM_CONFIG} --bindir OUTPUT_VARIABLE LLVM_BINDIR OUTPUT_STRIP_TRAILING_WHITESPACE)
find_program(FILECHECK NAMES FileCheck FileCheck-19 HINTS ${LLVM_BINDIR} REQUIRED)
file(GLOB pass_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.ir)
foreach(file ${pass_tests})
  get_filename_component(name ${file} NAME_WE)
  add_test(NAME pass.${name}
    COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/run.sh $<TARGET_FILE:ingot> ${FILECHECK} ${file})
endforeach()
