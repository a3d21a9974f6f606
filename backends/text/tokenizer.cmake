# Tokenizer: TokenizerSpec to blob.
foreach(file tok_compile tok_steps tok_vocab tok_wordpiece tok_added tok_normal tok_unicode tok_regex tok_nfa tok_dfa)
  list(APPEND BACKEND_TEXT_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${file}.c)
endforeach()
list(APPEND BACKEND_TEXT_SOURCES ${CMAKE_SOURCE_DIR}/runtime/text/tok_make.c)
