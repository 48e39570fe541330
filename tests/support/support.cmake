# The file system in memory and the crash enumerator, compiled once. A test that wants them lists
# ${FIRN_SIM} among its extra files: firn_test(wal crash crash ${FIRN_SIM})
add_library(firn_sim OBJECT
    ${CMAKE_CURRENT_LIST_DIR}/simfs.c
    ${CMAKE_CURRENT_LIST_DIR}/simfs_damage.c
    ${CMAKE_CURRENT_LIST_DIR}/simfs_fault.c
    ${CMAKE_CURRENT_LIST_DIR}/simfs_limit.c
    ${CMAKE_CURRENT_LIST_DIR}/simfs_map.c
    ${CMAKE_CURRENT_LIST_DIR}/simfs_memory.c
    ${CMAKE_CURRENT_LIST_DIR}/simfs_ops.c
    ${CMAKE_CURRENT_LIST_DIR}/crash.c
    ${CMAKE_CURRENT_LIST_DIR}/crash_build.c
    ${CMAKE_CURRENT_LIST_DIR}/crash_disk.c
    ${CMAKE_CURRENT_LIST_DIR}/crash_line.c
    ${CMAKE_CURRENT_LIST_DIR}/crash_pick.c)
target_include_directories(firn_sim PRIVATE ${PROJECT_SOURCE_DIR}/base/include)
target_link_libraries(firn_sim PRIVATE firn_options)
set(FIRN_SIM $<TARGET_OBJECTS:firn_sim>)

# Lets FIRN_TEST choose among a program's tests; firn_test links it into each.
add_library(firn_only OBJECT ${CMAKE_CURRENT_LIST_DIR}/only.c)
target_link_libraries(firn_only PRIVATE firn_options PkgConfig::CMOCKA)

# A folder on the disk of the machine.
firn_part(FIRN_TEMPDIR base ${CMAKE_CURRENT_LIST_DIR}/tempdir.c)
