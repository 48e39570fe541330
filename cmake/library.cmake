# The library in both forms: firn::firn, shared, and firn::static, by the same names in this build as in an installed package.
#
# Only names that start with firn_ are visible, in the shared library by its version script and in the static one because
# all rooms are linked into one relocatable object whose hidden symbols are then made local. So the inside may use plain
# names such as wal_ and skiplist_.
set(FIRN_LIBRARY_ROOMS base wal memtable sstable engine)
set(FIRN_LIBRARY_OBJECTS)
set(FIRN_LIBRARY_TARGETS)
foreach(room IN LISTS FIRN_LIBRARY_ROOMS)
    list(APPEND FIRN_LIBRARY_OBJECTS $<TARGET_OBJECTS:firn_${room}>)
    list(APPEND FIRN_LIBRARY_TARGETS firn_${room})
endforeach()

# What programs may include, alone: the rooms' include folders hold names such as base/buf.h, too. As headers of the system, which
# they are when installed: the warnings that a parent wants are for its own.
set(FIRN_PUBLIC_HEADERS base/include/firn/types.h base/include/firn/keys.h wal/include/firn/wal.h engine/include/firn/firn.h)
set(FIRN_PUBLIC_INCLUDE ${PROJECT_BINARY_DIR}/include)
foreach(header IN LISTS FIRN_PUBLIC_HEADERS)
    get_filename_component(name ${header} NAME)
    configure_file(${PROJECT_SOURCE_DIR}/${header} ${FIRN_PUBLIC_INCLUDE}/firn/${name} COPYONLY)
endforeach()

add_library(firn_shared SHARED ${FIRN_LIBRARY_OBJECTS})
set_target_properties(firn_shared PROPERTIES OUTPUT_NAME firn EXPORT_NAME firn VERSION ${PROJECT_VERSION} SOVERSION 0
                      LINKER_LANGUAGE C LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/firn.map)
target_link_options(firn_shared PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/firn.map)
target_link_libraries(firn_shared PRIVATE firn_options)
target_include_directories(firn_shared SYSTEM INTERFACE $<BUILD_INTERFACE:${FIRN_PUBLIC_INCLUDE}>)

set(FIRN_STATIC_OBJECT ${PROJECT_BINARY_DIR}/firn_static.o)
if(FIRN_MULTI_CONFIG)
    set(FIRN_STATIC_OBJECT ${PROJECT_BINARY_DIR}/firn_static-$<CONFIG>.o)
endif()
add_custom_command(
    OUTPUT ${FIRN_STATIC_OBJECT}
    COMMAND ${CMAKE_LINKER} -r -o ${FIRN_STATIC_OBJECT} ${FIRN_LIBRARY_OBJECTS}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${FIRN_STATIC_OBJECT}
    DEPENDS ${FIRN_LIBRARY_OBJECTS}
    COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Linking libfirn.a's one object")
add_library(firn_static STATIC ${FIRN_STATIC_OBJECT})
set_target_properties(firn_static PROPERTIES OUTPUT_NAME firn EXPORT_NAME static LINKER_LANGUAGE C)
add_dependencies(firn_static ${FIRN_LIBRARY_TARGETS})
target_include_directories(firn_static SYSTEM INTERFACE $<BUILD_INTERFACE:${FIRN_PUBLIC_INCLUDE}>)
# Threads by flag: the target Threads::Threads may not be known where the library is linked.
target_link_libraries(firn_static INTERFACE ${CMAKE_THREAD_LIBS_INIT} $<BUILD_INTERFACE:PkgConfig::FIRN_ZLIB>
    $<BUILD_INTERFACE:PkgConfig::FIRN_LZ4> $<INSTALL_INTERFACE:z> $<INSTALL_INTERFACE:lz4>)

add_library(firn::firn ALIAS firn_shared)
add_library(firn::static ALIAS firn_static)

if(NOT PROJECT_IS_TOP_LEVEL AND NOT FIRN_INSTALL)
    set_target_properties(firn_shared firn_static ${FIRN_LIBRARY_TARGETS} PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
