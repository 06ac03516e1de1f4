# Code compiled for a newer processor must not be shared with other files by the linker: each object file of an
# instruction set defines one external symbol, its table of kernels.
list(LENGTH OBJECTS count)
if(NOT count EQUAL 4)
  message(FATAL_ERROR "expected 4 object files of AVX2 and AVX-512, got ${count}: ${OBJECTS}")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} --extern-only --defined-only --format=posix ${object}
    OUTPUT_VARIABLE symbols OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(NOT symbols MATCHES "^_ZN3sac[0-9]+(jpeg_)?kernels_avx(2|512)E [^\n]*$")
    message(FATAL_ERROR "${object} defines\n${symbols}")
  endif()
endforeach()
