ingot_unit_test(frontend frontend_arch)
target_sources(frontend_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/reject/files.c)
