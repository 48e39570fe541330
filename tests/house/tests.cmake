# The tests of the house: habits and borders that no compiler checks.
function(firn_house_test topic)
    add_test(NAME house.${topic} COMMAND sh ${PROJECT_SOURCE_DIR}/tests/house/${topic}.sh ${PROJECT_SOURCE_DIR} ${ARGN})
    set_tests_properties(house.${topic} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()

set(FIRN_HOUSE_LIBRARIES)
foreach(room IN LISTS FIRN_LIBRARY_ROOMS)
    list(APPEND FIRN_HOUSE_LIBRARIES $<TARGET_FILE:firn_${room}>)
endforeach()
firn_house_test(arrows)
firn_house_test(readmes)
firn_house_test(words)
firn_house_test(plain)
firn_house_test(exercises)
firn_house_test(blocks)
firn_house_test(glossary)
firn_house_test(symbols ${CMAKE_NM} ${FIRN_HOUSE_LIBRARIES})
firn_house_test(locks ${CMAKE_C_COMPILER})
set_tests_properties(house.locks PROPERTIES SKIP_RETURN_CODE 77)
# Each of them finds a breach that was put there on purpose.
add_test(NAME house.breaches COMMAND sh ${PROJECT_SOURCE_DIR}/tests/house/breaches.sh ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER}
         ${CMAKE_AR} ${CMAKE_NM})
set_tests_properties(house.breaches PROPERTIES LABELS unit TIMEOUT 120)
# What an installed tree gives to programs, and which names it shows; what firn does to a project that it is a part of.
foreach(topic package embed)
    add_test(NAME house.${topic} COMMAND sh ${PROJECT_SOURCE_DIR}/tests/house/${topic}.sh ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR})
    set_tests_properties(house.${topic} PROPERTIES LABELS unit TIMEOUT 600)
endforeach()
# The READMEs' commands, as printed; and all of them, with builds of their own.
if(NOT FIRN_SANITIZE AND NOT FIRN_COVERAGE)
    add_test(NAME house.commands COMMAND sh ${PROJECT_SOURCE_DIR}/tests/house/commands.sh ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR})
    add_test(NAME house.all_commands COMMAND sh ${PROJECT_SOURCE_DIR}/tests/house/commands.sh ${PROJECT_BINARY_DIR}
             ${PROJECT_SOURCE_DIR} long)
    set_tests_properties(house.commands PROPERTIES LABELS unit TIMEOUT 600 RESOURCE_LOCK installation)
    set_tests_properties(house.all_commands PROPERTIES LABELS long TIMEOUT 7200)
endif()
# One installation at a time: the build keeps one list of what was installed.
set_tests_properties(house.package PROPERTIES RESOURCE_LOCK installation)
if(FIRN_SANITIZE OR FIRN_COVERAGE)
    set_tests_properties(house.embed PROPERTIES LABELS long) # it builds firn anew, in its own way
endif()
# Every pointer of every public function has a case of NULL in a test.
firn_house_test(nulls ${CMAKE_NM} $<TARGET_FILE:firn_shared> $<TARGET_FILE:test_engine_misuse>)
