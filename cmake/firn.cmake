# firn_room(NAME file...) makes the library target firn_NAME from the room's sources.
# Headers for other rooms lie in NAME/include/; headers that stay in the room lie beside its sources. Both come before what a parent
# project includes everywhere.
include(${CMAKE_CURRENT_LIST_DIR}/arrows.cmake)

#
# On a floor (cmake/arrows.cmake), headers for other floors lie in NAME/FLOOR/include/FLOOR/, those that stay on it beside its sources.
function(firn_floors name)
    foreach(floor IN LISTS FIRN_FLOORS_${name})
        set(files ${ARGN})
        list(FILTER files INCLUDE REGEX "/${name}/${floor}/[^/]+$")
        foreach(seen IN ITEMS ${floor} LISTS FIRN_ARROWS_${name}_${floor})
            set_property(SOURCE ${files} APPEND PROPERTY INCLUDE_DIRECTORIES ${PROJECT_SOURCE_DIR}/${name}/${seen}/include)
        endforeach()
    endforeach()
endfunction()

function(firn_room name)
    add_library(firn_${name} STATIC ${ARGN})
    target_include_directories(firn_${name} BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/${name}/include)
    foreach(seen IN LISTS FIRN_ARROWS_${name})
        target_include_directories(firn_${name} BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/${seen}/include)
        target_link_libraries(firn_${name} PUBLIC firn_${seen})
    endforeach()
    firn_floors(${name} ${ARGN})
    target_link_libraries(firn_${name} PUBLIC firn_options)
    set_target_properties(firn_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# firn_see_inside(TARGET ROOM): the room's private headers, by their names, and those between its floors.
function(firn_see_inside target room)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${room})
    foreach(floor IN LISTS FIRN_FLOORS_${room})
        target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${room}/${floor}
                                   ${PROJECT_SOURCE_DIR}/${room}/${floor}/include)
    endforeach()
endfunction()

# firn_part(NAME ROOM file...): what several tests of a room share, compiled once, with what a test of that room sees. A test that
# wants it lists ${NAME} among its extra files.
function(firn_part name room)
    string(TOLOWER ${name} target)
    add_library(${target} OBJECT ${ARGN})
    foreach(seen IN LISTS FIRN_ROOMS)
        target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${seen}/include)
    endforeach()
    firn_see_inside(${target} ${room})
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${target} PRIVATE firn_options PkgConfig::CMOCKA)
    set(${name} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
endfunction()

# firn_test(ROOM TOPIC LABEL [file...]) makes the executable test_ROOM_TOPIC from
# tests/ROOM/test_TOPIC.c, which sees every room's headers and, of its own room, the private ones.
function(firn_test room topic label)
    set(target test_${room}_${topic})
    add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/${room}/test_${topic}.c ${ARGN} $<TARGET_OBJECTS:firn_only>)
    foreach(seen IN LISTS FIRN_ROOMS)
        target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${seen}/include)
    endforeach()
    firn_see_inside(${target} ${room})
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${target} PRIVATE firn_${room} PkgConfig::CMOCKA)
    add_test(NAME ${room}.${topic} COMMAND ${target})
    set_tests_properties(${room}.${topic} PROPERTIES LABELS ${label} TIMEOUT 2400)
endfunction()
