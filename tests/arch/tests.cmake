# Every architecture's fixtures through the reference evaluator, against Transformers' logits.
add_executable(arch_eval_test arch/arch_eval_test.c)
target_link_libraries(arch_eval_test PRIVATE frontend_arch)
file(GLOB arch_cases CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/arch/cases/*/case.json)
list(TRANSFORM arch_cases REPLACE "/case.json$" "")
add_test(NAME arch.eval COMMAND arch_eval_test ${arch_cases})
# Some of them compiled: logits and greedy tokens, and the same bits however the program is run.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
add_test(NAME arch.compiled COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/arch/cases.py
  $<TARGET_FILE:ingot> ${CMAKE_CURRENT_SOURCE_DIR}/arch/cases
  odd-left dynamic qwen2-window-long gemma3-untied-long gemma3-gguf-q5-0 --bits)
# Encoders, compiled: every output of every head.
add_test(NAME arch.encoders COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/arch/cases.py
  $<TARGET_FILE:ingot> ${CMAKE_CURRENT_SOURCE_DIR}/arch/encoders)
