#!/bin/sh
# embed.sh BUILD_DIR SOURCE_DIR: puts firn into another project by each way that CMake has, and looks at what that does to the
# project (tests/house/parent/CMakeLists.txt); and at what firn does as the top project of its own when something is missing.
set -u
build=$1
source=$2
. "$source/tests/house/cases.sh"

cp -R "$source/tests/house/parent" "$work/parent" || exit 1
program_of "$source/README.md" >"$work/parent/program.c"
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# parent FOLDER WAY [argument...]: configures.
parent() {
    folder=$work/$1 way=$2
    shift 2
    configure -S "$work/parent" -B "$folder" -DFIRN="$source" -DWAY="$way" "$@"
}
builds() { cmake --build "$work/$1" -j "$jobs"; }
programs_run() {
    for program in c_firn c_static cc_firn cc_static; do
        case $program in cc_*) grep -q '^CMAKE_CXX_COMPILER:[A-Z]*=.*NOTFOUND$' "$work/$1/CMakeCache.txt" && continue ;; esac
        rm -rf "$work/run" && mkdir "$work/run" &&
            (cd "$work/run" && "$work/$1/$program" | grep -q '^22.6 km$') || return 1
    done
}
has_no_target() { # FOLDER NAME|NAME...
    cmake --build "$work/$1" --target help >"$work/targets" && grep -q firn_shared "$work/targets" &&
        ! grep -wE "$2" "$work/targets"
}
builds_nothing_more() {
    if [ "$(cached CMAKE_GENERATOR)" = Ninja ]; then
        ninja -C "$work/$1" && ninja -C "$work/$1" >"$work/again" && grep -q 'no work to do' "$work/again"
    fi
}
installs() { # FOLDER WANTED: the files, less what follows a version
    rm -rf "$work/prefix" && cmake --install "$work/$1" --prefix "$work/prefix" &&
        (cd "$work/prefix" && find . -type f -o -type l) | sed 's|^\./||' | sort >"$work/installed" &&
        echo "$2" | tr ' ' '\n' | sort | diff - "$work/installed"
}
refused() { # WORDS command...: fails, and says so
    words=$1
    shift
    ! "$@" >"$work/refused" 2>&1 || { echo "accepted"; return 1; }
    tr '\n' ' ' <"$work/refused" | tr -s ' ' | grep -q -- "$words" || { cat "$work/refused"; return 1; }
}

case_of "add_subdirectory changes no variable, flag or target of its parent" parent sub subdirectory
case_of "what links firn::firn and firn::static is built, with the parent's warnings as errors" builds sub
case_of "C and C++ programs run, with the shared library and the static one" programs_run sub
case_of "neither tests nor bench nor the command are built in another project" has_no_target sub "test_[a-z_]*|firn-bench|firn_command"
case_of "a second build has nothing to do" builds_nothing_more sub
case_of "the parent installs its own program and nothing of firn" installs sub bin/c_firn

case_of "FetchContent takes a source folder" parent fetch fetch
case_of "FETCHCONTENT_SOURCE_DIR_FIRN takes the place of a download" \
    parent over override -DFETCHCONTENT_SOURCE_DIR_FIRN="$source" -DFIRN_INSTALL=ON -DCMAKE_BUILD_TYPE=Debug
case_of "FetchContent builds" builds over
case_of "FetchContent's programs run" programs_run over
case_of "with FIRN_INSTALL the parent installs and exports what needs firn" \
    installs over "bin/c_firn bin/firn include/firn/firn.h include/firn/keys.h include/firn/types.h include/firn/wal.h lib/cmake/firn/firn-config-version.cmake
lib/cmake/firn/firn-config.cmake lib/cmake/firn/firn-targets-debug.cmake lib/cmake/firn/firn-targets.cmake
lib/cmake/over/over-debug.cmake lib/cmake/over/over.cmake lib/libfirn_d.a lib/libfirn_d.so lib/libfirn_d.so.0 lib/libfirn_d.so.0.1.0
lib/libover_d.a lib/pkgconfig/firn.pc"

# As the top project, where cmocka or lz4 are not there.
mkdir "$work/some" "$work/less"
cp "$(pkg-config --variable pcfiledir zlib)/zlib.pc" "$work/some/" && cp "$work/some/zlib.pc" "$work/less/"
cp "$(pkg-config --variable pcfiledir liblz4)/liblz4.pc" "$work/some/"
without_cmocka() {
    PKG_CONFIG_LIBDIR=$work/some configure -S "$source" -B "$work/top" -DFIRN_BENCH=OFF >"$work/log" 2>&1 &&
        grep -q 'tests are left out, because cmocka' "$work/log" && has_no_target top 'test_[a-z_]*'
}
without_lz4() {
    PKG_CONFIG_LIBDIR=$work/less refused 'liblz4-dev' configure -S "$source" -B "$work/less/build" -DFIRN_BENCH=OFF
}
case_of "without cmocka firn is configured without its tests, and says how to get them" without_cmocka
case_of "without lz4 configuring fails, and names the packages" without_lz4

# Paths of the top project's would be a parent's.
own_paths() {
    ! (cd "$source" && grep -nE 'CMAKE_(SOURCE|BINARY)_DIR' CMakeLists.txt cmake/*.cmake cmake/*.in base/*.txt wal/*.txt memtable/*.txt \
        sstable/*.txt engine/*.txt tools/*.txt)
}
case_of "no CMakeLists.txt takes the top project for firn" own_paths
finish
