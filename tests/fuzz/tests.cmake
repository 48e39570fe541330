# The fuzz targets. Each is built twice: with driver.c, which runs the corpus and seeded mutations of it
# and needs no fuzzer, as the test fuzz.<topic>; and with libFuzzer as fuzz_<topic>, when FIRN_FUZZ is on.

# What firn allocates is counted (fuzz_memory.h).
set(FIRN_FUZZ_WRAP)
foreach(call heap_alloc heap_zalloc heap_realloc heap_aligned heap_free heap_strdup pages_alloc pages_free)
    list(APPEND FIRN_FUZZ_WRAP -Wl,--wrap=${call})
endforeach()

# firn_fuzz(TOPIC ROOM MUTATIONS [file...]): tests/fuzz/fuzz_TOPIC.c, which sees what a test of the room does.
# MUTATIONS are about two seconds' worth.
function(firn_fuzz topic room mutations)
    set(here ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
    set(sources ${here}/fuzz_${topic}.c ${here}/fuzz_memory.c ${ARGN})
    set(targets test_fuzz_${topic})
    add_executable(test_fuzz_${topic} ${here}/driver.c ${sources})
    target_compile_definitions(test_fuzz_${topic} PRIVATE FUZZ_TOPIC="${topic}" FUZZ_MUTATIONS=${mutations}
        FUZZ_CORPUS="${here}/corpus/${topic}")
    add_test(NAME fuzz.${topic} COMMAND test_fuzz_${topic})
    set_tests_properties(fuzz.${topic} PROPERTIES LABELS fuzz TIMEOUT 2400)
    if(FIRN_FUZZ)
        list(APPEND targets fuzz_${topic})
        add_executable(fuzz_${topic} ${sources})
        target_link_options(fuzz_${topic} PRIVATE -fsanitize=fuzzer)
    endif()
    foreach(target IN LISTS targets)
        foreach(seen IN LISTS FIRN_ROOMS)
            target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${seen}/include)
        endforeach()
        firn_see_inside(${target} ${room})
        target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
        target_link_libraries(${target} PRIVATE firn_${room})
        target_link_options(${target} PRIVATE ${FIRN_FUZZ_WRAP})
    endforeach()
endfunction()

# What a fuzzer is to find its way through is the store, not the bench that it lies on.
if(FIRN_FUZZ)
    file(GLOB bench ${CMAKE_CURRENT_SOURCE_DIR}/support/*.c ${CMAKE_CURRENT_SOURCE_DIR}/wal/build_log.c
         ${CMAKE_CURRENT_LIST_DIR}/fuzz_log_kept.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_log_open.c
         ${CMAKE_CURRENT_LIST_DIR}/fuzz_memory.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_edit.c
         ${CMAKE_CURRENT_LIST_DIR}/fuzz_run.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_folder_make.c)
    set_source_files_properties(${bench} PROPERTIES COMPILE_OPTIONS -fno-sanitize=fuzzer-no-link)
endif()

set(FIRN_FUZZ_LOG ${CMAKE_CURRENT_LIST_DIR}/fuzz_log_bytes.c ${WAL_BUILD_LOG} ${FIRN_SIM})
firn_fuzz(entries base 40000)
firn_fuzz(keys base 60000)
firn_fuzz(frame wal 40000)
firn_fuzz(segment wal 10000 ${FIRN_FUZZ_LOG})
firn_fuzz(log wal 900 ${FIRN_FUZZ_LOG} ${CMAKE_CURRENT_LIST_DIR}/fuzz_log_kept.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_log_open.c)

set(FIRN_FUZZ_RUN ${CMAKE_CURRENT_LIST_DIR}/fuzz_edit.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_run.c)
firn_fuzz(block sstable 40000 ${FIRN_FUZZ_RUN})
firn_fuzz(index sstable 40000 ${FIRN_FUZZ_RUN})
firn_fuzz(filter sstable 60000 ${FIRN_FUZZ_RUN})
firn_fuzz(properties sstable 60000 ${FIRN_FUZZ_RUN})

set(FIRN_FUZZ_TABLE ${CMAKE_CURRENT_LIST_DIR}/fuzz_table_bytes.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_table_truth.c
    ${FIRN_FUZZ_RUN} ${FIRN_SIM})
firn_fuzz(table sstable 6000 ${FIRN_FUZZ_TABLE})

set(FIRN_FUZZ_MANIFEST ${CMAKE_CURRENT_LIST_DIR}/fuzz_manifest_bytes.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_edit.c ${FIRN_SIM})
firn_fuzz(manifest engine 20000 ${FIRN_FUZZ_MANIFEST})
set(FIRN_FUZZ_FOLDER ${CMAKE_CURRENT_LIST_DIR}/fuzz_folder_bytes.c ${CMAKE_CURRENT_LIST_DIR}/fuzz_folder_make.c
    ${CMAKE_CURRENT_LIST_DIR}/fuzz_manifest_bytes.c ${FIRN_FUZZ_TABLE})
firn_fuzz(folder engine 2500 ${FIRN_FUZZ_FOLDER})
# It changes the files of all rooms by structure.
foreach(target test_fuzz_folder fuzz_folder)
    if(TARGET ${target})
        firn_see_inside(${target} sstable)
        firn_see_inside(${target} wal)
    endif()
endforeach()
