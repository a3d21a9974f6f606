# backend_text: what a model says about text, compiled. The parts list their files in
# BACKEND_TEXT_SOURCES. The tokenizer's last tables are computed by the runtime's own code.
ingot_library(backend_text ${BACKEND_TEXT_SOURCES})
target_link_libraries(backend_text PUBLIC ir_base runtime_native PRIVATE PkgConfig::PCRE2 ${UTF8PROC})
