# The CPU kernels: their sources and how they are compiled, for the module and for the C++ tests.
set(SAC_CPU_SOURCES
  csrc/cpu/byte_sweep_cpu.cpp
  csrc/cpu/byte_vectors_cpu.cpp
  csrc/cpu/candidate_distances_cpu.cpp
  csrc/cpu/correlation_distance_cpu.cpp
  csrc/cpu/correlation_distance_weighted_cpu.cpp
  csrc/cpu/correlation_distances_cpu.cpp
  csrc/cpu/correlation_vector_cpu.cpp
  csrc/cpu/kernels/jpeg_portable.cpp
  csrc/cpu/jpeg_roundtrip_cpu.cpp
  csrc/cpu/kernels/correlation.cpp
  csrc/cpu/kernels/correlation_portable.cpp
  csrc/cpu/nearest_models_cpu.cpp
  csrc/cpu/detail/correlation_gradient.cpp
  csrc/cpu/detail/packing.cpp
  csrc/cpu/detail/widen_row.cpp
  csrc/cpu/detail/worker_pool.cpp
  csrc/cpu/pairwise_correlation_distances_cpu.cpp)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(SAC_X86_64 ON)
  list(APPEND SAC_CPU_SOURCES
    csrc/cpu/kernels/jpeg_avx2.cpp
    csrc/cpu/kernels/jpeg_avx512.cpp
    csrc/cpu/kernels/correlation_avx2.cpp
    csrc/cpu/kernels/correlation_avx512.cpp)
endif()

# root: path of the repository, with a slash at the end, or nothing
function(sac_cpu_options target root)
  target_include_directories(${target} PRIVATE ${root}csrc ${root}csrc/include)
  target_link_libraries(${target} PRIVATE Threads::Threads)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -O3 -ffp-contract=fast>)
  if(SAC_X86_64)
    target_compile_definitions(${target} PRIVATE SAC_X86_64)
    set_source_files_properties(${root}csrc/cpu/kernels/correlation_avx2.cpp PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
    set_source_files_properties(${root}csrc/cpu/kernels/correlation_avx512.cpp PROPERTIES
      COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512vl;-mavx2;-mfma;-mprefer-vector-width=512")
    set_source_files_properties(${root}csrc/cpu/kernels/jpeg_avx2.cpp PROPERTIES COMPILE_OPTIONS "-mavx2")
    # GCC 12 warns of its own header (PR 105593)
    set_source_files_properties(${root}csrc/cpu/kernels/jpeg_avx512.cpp PROPERTIES COMPILE_OPTIONS
      "-mavx512f;-mavx512bw;-mavx512vl;-mavx2;-mprefer-vector-width=512;$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>")
  endif()
endfunction()
