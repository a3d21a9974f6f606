# Every architecture's fixtures through the reference evaluator, against Transformers' logits.
add_executable(arch_eval_test arch/arch_eval_test.c)
target_link_libraries(arch_eval_test PRIVATE frontend_arch)
file(GLOB arch_cases CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/arch/cases/*/case.json)
list(TRANSFORM arch_cases REPLACE "/case.json$" "")
add_test(NAME arch.eval COMMAND arch_eval_test ${arch_cases})
