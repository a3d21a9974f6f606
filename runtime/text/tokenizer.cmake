# The tokenizer: tables from the model's blob, executed.
foreach(file tok_open tok_norm tok_split tok_added tok_bpe tok_wordpiece tok_encode tok_decode)
  list(APPEND RUNTIME_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${file}.c)
endforeach()
