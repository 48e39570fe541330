# The tests of the house: habits and borders that no compiler checks.
function(firn_house_test topic)
    add_test(NAME house.${topic} COMMAND sh ${CMAKE_SOURCE_DIR}/tests/house/${topic}.sh ${CMAKE_SOURCE_DIR} ${ARGN})
    set_tests_properties(house.${topic} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()

set(FIRN_HOUSE_LIBRARIES)
foreach(room IN LISTS FIRN_LIBRARY_ROOMS)
    list(APPEND FIRN_HOUSE_LIBRARIES $<TARGET_FILE:firn_${room}>)
endforeach()
firn_house_test(arrows)
firn_house_test(readmes)
firn_house_test(words)
firn_house_test(symbols ${CMAKE_NM} ${FIRN_HOUSE_LIBRARIES})
# Each of them finds a breach that was put there on purpose.
add_test(NAME house.breaches COMMAND sh ${CMAKE_SOURCE_DIR}/tests/house/breaches.sh ${CMAKE_SOURCE_DIR} ${CMAKE_C_COMPILER}
         ${CMAKE_AR} ${CMAKE_NM})
set_tests_properties(house.breaches PROPERTIES LABELS unit TIMEOUT 120)
# What an installed tree gives to programs, and which names it shows.
add_test(NAME house.package COMMAND sh ${CMAKE_SOURCE_DIR}/tests/house/package.sh ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
set_tests_properties(house.package PROPERTIES LABELS unit TIMEOUT 300)
