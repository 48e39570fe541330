# The library in both forms, and what an installed tree needs to find it.
#
# Only names that start with firn_ are visible, in the shared library by its version script and in the static one because
# all rooms are linked into one relocatable object whose hidden symbols are then made local. So the inside may use plain
# names such as wal_ and skiplist_.
include(GNUInstallDirs)

set(FIRN_LIBRARY_ROOMS base wal memtable sstable engine)
set(FIRN_LIBRARY_OBJECTS)
foreach(room IN LISTS FIRN_LIBRARY_ROOMS)
    list(APPEND FIRN_LIBRARY_OBJECTS $<TARGET_OBJECTS:firn_${room}>)
endforeach()

add_library(firn_shared SHARED ${FIRN_LIBRARY_OBJECTS})
set_target_properties(firn_shared PROPERTIES OUTPUT_NAME firn VERSION ${PROJECT_VERSION} SOVERSION 0
                      LINKER_LANGUAGE C LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/firn.map)
target_link_options(firn_shared PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/firn.map)
target_link_libraries(firn_shared PRIVATE firn_options)

set(FIRN_STATIC_OBJECT ${CMAKE_BINARY_DIR}/libfirn.o)
set(FIRN_STATIC_ARCHIVE ${CMAKE_BINARY_DIR}/libfirn.a)
add_custom_command(
    OUTPUT ${FIRN_STATIC_ARCHIVE}
    COMMAND ${CMAKE_LINKER} -r -o ${FIRN_STATIC_OBJECT} ${FIRN_LIBRARY_OBJECTS}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${FIRN_STATIC_OBJECT}
    COMMAND ${CMAKE_COMMAND} -E rm -f ${FIRN_STATIC_ARCHIVE}
    COMMAND ${CMAKE_AR} crs ${FIRN_STATIC_ARCHIVE} ${FIRN_STATIC_OBJECT}
    DEPENDS ${FIRN_LIBRARY_OBJECTS} firn_shared
    COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Linking libfirn.a from one object")
add_custom_target(firn_static ALL DEPENDS ${FIRN_STATIC_ARCHIVE})

file(RELATIVE_PATH FIRN_INCLUDE_FROM_LIB ${CMAKE_INSTALL_FULL_LIBDIR} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(${CMAKE_SOURCE_DIR}/cmake/firn.pc.in ${CMAKE_BINARY_DIR}/firn.pc @ONLY)
configure_file(${CMAKE_SOURCE_DIR}/cmake/firn-config.cmake.in ${CMAKE_BINARY_DIR}/firn-config.cmake @ONLY)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/firn-config-version.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS firn_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${FIRN_STATIC_ARCHIVE} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES base/include/firn/types.h wal/include/firn/wal.h engine/include/firn/firn.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/firn)
install(FILES ${CMAKE_BINARY_DIR}/firn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_BINARY_DIR}/firn-config.cmake ${CMAKE_BINARY_DIR}/firn-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/firn)
