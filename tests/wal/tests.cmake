# The log. Reading half: logs are written byte by byte (build_log) on a simulated disk.
firn_test(wal format unit ${CMAKE_CURRENT_LIST_DIR}/build_log.c ${FIRN_SIM})
target_compile_definitions(test_wal_format PRIVATE FIRN_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
firn_test(wal scan unit ${CMAKE_CURRENT_LIST_DIR}/build_log.c ${FIRN_SIM})
firn_test(wal recover fault ${CMAKE_CURRENT_LIST_DIR}/build_log.c ${FIRN_SIM})
firn_test(wal replay stress ${CMAKE_CURRENT_LIST_DIR}/build_log.c ${CMAKE_CURRENT_SOURCE_DIR}/support/tempdir.c ${FIRN_SIM})
firn_test(wal damage damage ${CMAKE_CURRENT_LIST_DIR}/build_log.c ${FIRN_SIM})

# Writing half: logs are written by the log itself.
set(FIRN_WAL_BED ${CMAKE_CURRENT_LIST_DIR}/bed.c ${CMAKE_CURRENT_SOURCE_DIR}/support/tempdir.c ${FIRN_SIM})
firn_test(wal append unit ${FIRN_WAL_BED})
firn_test(wal sync unit ${FIRN_WAL_BED})
firn_test(wal truncate crash ${FIRN_WAL_BED})
firn_test(wal covered crash ${FIRN_WAL_BED})
firn_test(wal crash crash ${CMAKE_CURRENT_LIST_DIR}/build_log.c ${FIRN_SIM})
firn_test(wal threads stress ${FIRN_WAL_BED})
firn_test(wal modes crash ${FIRN_WAL_BED})
firn_test(wal full crash ${FIRN_WAL_BED})
firn_test(wal faults fault ${FIRN_WAL_BED})
