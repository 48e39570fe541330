# What an installed tree holds, wherever it is put (--prefix, DESTDIR, moved afterwards), and how it is taken away again.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

file(RELATIVE_PATH FIRN_INCLUDE_FROM_LIB ${CMAKE_INSTALL_FULL_LIBDIR} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(${PROJECT_SOURCE_DIR}/cmake/firn.pc.in ${PROJECT_BINARY_DIR}/firn.pc @ONLY)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/firn-config-version.cmake COMPATIBILITY SameMinorVersion)

# Before the first file: which folders are not there yet. The target `uninstall` removes those, when nothing else is in them.
set(FIRN_INSTALL_FOLDERS ${CMAKE_INSTALL_BINDIR} ${CMAKE_INSTALL_INCLUDEDIR}/firn ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    ${CMAKE_INSTALL_LIBDIR}/cmake/firn)
if(PROJECT_IS_TOP_LEVEL)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/install_folders.cmake.in ${PROJECT_BINARY_DIR}/install_folders.cmake @ONLY)
    install(SCRIPT ${PROJECT_BINARY_DIR}/install_folders.cmake)
    add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -DBUILD=${PROJECT_BINARY_DIR} -P ${PROJECT_SOURCE_DIR}/cmake/uninstall.cmake
                      VERBATIM COMMENT "Removing what the last installation wrote")
endif()

install(TARGETS firn_shared firn_static EXPORT firn-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT firn-targets NAMESPACE firn:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/firn)
install(TARGETS firn_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(header IN LISTS FIRN_PUBLIC_HEADERS)
    install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/firn)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/firn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/firn-config.cmake ${PROJECT_BINARY_DIR}/firn-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/firn)
