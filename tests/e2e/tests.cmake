# Compile and run, end to end, with the example model.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
find_program(INGOT_STRACE strace)
if(INGOT_STRACE)
  set(traced memory_calls)
endif()
foreach(part ${traced} answers json_and_stop seed tokenize template strip static_and_small verify lib calibrate run_cache default_name eval_kernel inspect_tensors profile profile_counts_attention tile wrong_use unwritable full_disk
             closed_pipe_and_interrupt chat_on_a_terminal failure_sweep emit_texts)
  add_test(NAME e2e.${part} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/e2e.py
    $<TARGET_FILE:ingot> ${CMAKE_SOURCE_DIR} ^test_${part}$)
endforeach()
foreach(part same_bits long_contexts block_formats prefill_fast greedy_in_part amx chunks padding reproducible)
  add_test(NAME e2e.${part} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/bits.py
    $<TARGET_FILE:ingot> ${CMAKE_SOURCE_DIR} ^test_${part}$)
endforeach()
set_tests_properties(e2e.failure_sweep PROPERTIES LABELS slow) # left out under the sanitizers
