foreach(file json json_out utf8 err threads cpus cpu cpu_x86 cpu_arm exec encoder profile bandwidth session safetensors safetensors_write sampler io args start)
  list(APPEND RUNTIME_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${file}.c)
endforeach()
