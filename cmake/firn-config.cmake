# find_package(firn) gives firn::firn, the shared library, and firn::static: the names that add_subdirectory and FetchContent give.
if(NOT TARGET firn::firn)
    include("${CMAKE_CURRENT_LIST_DIR}/firn-targets.cmake")
endif()
