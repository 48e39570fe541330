# firn_room(NAME file...) makes the library target firn_NAME from the room's sources.
# Headers for other rooms lie in NAME/include/; headers that stay in the room lie beside its sources. Both come before what a parent
# project includes everywhere.
include(${CMAKE_CURRENT_LIST_DIR}/arrows.cmake)

function(firn_room name)
    add_library(firn_${name} STATIC ${ARGN})
    target_include_directories(firn_${name} BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/${name}/include)
    foreach(seen IN LISTS FIRN_ARROWS_${name})
        target_include_directories(firn_${name} BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/${seen}/include)
        target_link_libraries(firn_${name} PUBLIC firn_${seen})
    endforeach()
    target_link_libraries(firn_${name} PUBLIC firn_options)
    set_target_properties(firn_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# firn_test(ROOM TOPIC LABEL [file...]) makes the executable test_ROOM_TOPIC from
# tests/ROOM/test_TOPIC.c, which sees every room's headers and, of its own room, the private ones.
function(firn_test room topic label)
    set(target test_${room}_${topic})
    add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/${room}/test_${topic}.c ${ARGN} $<TARGET_OBJECTS:firn_only>)
    foreach(seen IN LISTS FIRN_ROOMS)
        target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${seen}/include)
    endforeach()
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${room} ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${target} PRIVATE firn_${room} PkgConfig::CMOCKA)
    add_test(NAME ${room}.${topic} COMMAND ${target})
    set_tests_properties(${room}.${topic} PROPERTIES LABELS ${label} TIMEOUT 2400)
endfunction()
