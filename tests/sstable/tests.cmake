# The tests of sstable/. They run on the file system in memory unless a test says otherwise.
file(GLOB SSTABLE_TEST_SUPPORT CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/../support/simfs*.c)
list(APPEND SSTABLE_TEST_SUPPORT ${CMAKE_CURRENT_LIST_DIR}/table.c
    ${CMAKE_CURRENT_LIST_DIR}/../support/tempdir.c)
firn_test(sstable model model ${SSTABLE_TEST_SUPPORT})
firn_test(sstable roundtrip unit ${SSTABLE_TEST_SUPPORT})
firn_test(sstable damage damage ${SSTABLE_TEST_SUPPORT})
firn_test(sstable fault fault ${SSTABLE_TEST_SUPPORT})
firn_test(sstable salvage damage ${SSTABLE_TEST_SUPPORT})
firn_test(sstable salvage_cost damage ${SSTABLE_TEST_SUPPORT})
firn_test(sstable cache unit ${SSTABLE_TEST_SUPPORT})
firn_test(sstable threads stress ${SSTABLE_TEST_SUPPORT})
firn_test(sstable format unit ${SSTABLE_TEST_SUPPORT})
target_compile_definitions(test_sstable_format PRIVATE FIRN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
