# The tests of engine/. They run in memory unless a test is about the system itself.
set(ENGINE_BED ${CMAKE_CURRENT_LIST_DIR}/bed.c ${CMAKE_CURRENT_LIST_DIR}/../support/tempdir.c
    ${FIRN_SIM})
firn_test(engine model model ${CMAKE_CURRENT_LIST_DIR}/script.c ${ENGINE_BED})
firn_test(engine crash crash ${CMAKE_CURRENT_LIST_DIR}/history.c ${ENGINE_BED})
firn_test(engine open unit ${ENGINE_BED})
firn_test(engine hostile damage ${ENGINE_BED})
firn_test(engine manifest damage ${ENGINE_BED})
firn_test(engine damage damage ${CMAKE_CURRENT_LIST_DIR}/sample.c
    ${CMAKE_CURRENT_LIST_DIR}/history.c ${ENGINE_BED})
firn_test(engine repair damage ${CMAKE_CURRENT_LIST_DIR}/sample.c
    ${CMAKE_CURRENT_LIST_DIR}/history.c ${ENGINE_BED})
firn_test(engine repair_tables damage ${ENGINE_BED})
firn_test(engine iterator unit ${ENGINE_BED})
firn_test(engine compaction unit ${ENGINE_BED})
firn_test(engine concurrency stress ${ENGINE_BED})
firn_test(engine schedule unit ${ENGINE_BED})
firn_test(engine faults fault ${CMAKE_CURRENT_LIST_DIR}/history.c ${ENGINE_BED})
firn_test(engine kill9 crash ${CMAKE_CURRENT_LIST_DIR}/history.c ${ENGINE_BED})
firn_test(engine review fault ${ENGINE_BED})
firn_test(engine handover crash ${ENGINE_BED})
firn_test(engine crash_writers crash ${ENGINE_BED})
firn_test(engine misuse unit ${ENGINE_BED})
