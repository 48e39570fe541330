# The simulation asks the engine's own functions, so it sees the private headers of engine/ as the engine's tests do.
set(FIRN_SIMULATE ${CMAKE_CURRENT_LIST_DIR})
add_library(firn_simulate STATIC ${FIRN_SIMULATE}/content.c ${FIRN_SIMULATE}/decide.c ${FIRN_SIMULATE}/figures.c
            ${FIRN_SIMULATE}/keys.c ${FIRN_SIMULATE}/real.c ${FIRN_SIMULATE}/run.c ${FIRN_SIMULATE}/settings.c
            ${FIRN_SIMULATE}/show.c ${FIRN_SIMULATE}/sizes.c ${FIRN_SIMULATE}/tree.c ${PROJECT_SOURCE_DIR}/bench/data.c)
foreach(seen IN LISTS FIRN_ROOMS)
    target_include_directories(firn_simulate PUBLIC ${PROJECT_SOURCE_DIR}/${seen}/include)
endforeach()
foreach(floor IN LISTS FIRN_FLOORS_engine)
    target_include_directories(firn_simulate PUBLIC ${PROJECT_SOURCE_DIR}/engine/${floor}/include)
endforeach()
target_link_libraries(firn_simulate PUBLIC firn_engine m)
add_executable(firn-simulate ${FIRN_SIMULATE}/main.c)
target_link_libraries(firn-simulate PRIVATE firn_simulate)
