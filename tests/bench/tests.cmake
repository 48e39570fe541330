# The benchmark is a program and no room, so that its test is built from the file it tests. No peer is needed.
add_executable(test_bench_histogram ${CMAKE_CURRENT_LIST_DIR}/test_histogram.c ${CMAKE_SOURCE_DIR}/bench/histogram.c)
target_include_directories(test_bench_histogram PRIVATE ${CMAKE_SOURCE_DIR}/bench)
target_link_libraries(test_bench_histogram PRIVATE firn_options PkgConfig::CMOCKA)
add_test(NAME bench.histogram COMMAND test_bench_histogram)
set_tests_properties(bench.histogram PROPERTIES LABELS unit TIMEOUT 60)
