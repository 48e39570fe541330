#!/bin/sh
# package.sh BUILD_DIR SOURCE_DIR: installs the built tree into fresh folders and builds a small program against it in each way
# that the README names, in C and, where there is a C++ compiler, in C++; looks at which names the libraries show; and takes
# what was installed away again.
set -u
build=$1
source=$2
. "$source/tests/house/cases.sh"

cc=$(cached CMAKE_C_COMPILER)
root=$work/root
moved=$work/moved/somewhere
program_of "$source/README.md" >"$work/snow.c"

runs() { (rm -rf "$work/run" && mkdir "$work/run" && cd "$work/run" && "$1" | grep -q '^22.6 km$'); }
with_shared() { "$cc" "$work/snow.c" -o "$work/shared" $(pkg-config --cflags --libs firn) && runs "$work/shared"; }
with_static() {
    "$cc" "$work/snow.c" -o "$work/static" $(pkg-config --cflags firn) "$libdir/libfirn.a" \
        $(pkg-config --static --libs-only-l firn | sed 's/-lfirn//') && runs "$work/static"
}
with_cpp() {
    cp "$work/snow.c" "$work/snow.cc" &&
        c++ -Wall -Werror "$work/snow.cc" -o "$work/cpp" $(pkg-config --cflags --libs firn) && runs "$work/cpp"
}
# Headers that are not the system's get all the warnings of their user.
headers_are_clean() {
    for header in types keys wal firn; do
        for standard in c99 gnu99 c11 c17; do
            echo "#include <firn/$header.h>" | "$cc" -x c -std=$standard -Wall -Wextra -Wpedantic -Wconversion -Wundef -Werror \
                -I"$root/include" -fsyntax-only - || return 1
        done
        command -v c++ >/dev/null || continue
        for standard in c++11 c++17; do
            echo "#include <firn/$header.h>" | c++ -x c++ -std=$standard -Wall -Wextra -Wpedantic -Wconversion -Wundef \
                -Wold-style-cast -Werror -I"$root/include" -fsyntax-only - || return 1
        done
    done
}
with_cmake() {
    mkdir -p "$work/user" && cp "$work/snow.c" "$work/user/" &&
        printf '%s\n' 'cmake_minimum_required(VERSION 3.21)' 'project(user C)' 'find_package(firn 0.1 REQUIRED)' \
            'add_executable(user snow.c)' 'target_link_libraries(user firn::firn)' \
            'add_executable(user_static snow.c)' 'target_link_libraries(user_static firn::static)' \
            >"$work/user/CMakeLists.txt" &&
        configure -S "$work/user" -B "$work/user/build" -DCMAKE_PREFIX_PATH="$1" &&
        cmake --build "$work/user/build" && runs "$work/user/build/user" && runs "$work/user/build/user_static"
}
moves() {
    mkdir -p "$work/moved" && mv "$root" "$moved" && ! grep -rIl "$root" "$moved" && with_cmake "$moved" &&
        PKG_CONFIG_PATH=$(dirname "$(find "$moved" -name firn.pc)"):$other_packages LD_LIBRARY_PATH=$(dirname "$(find "$moved" -name libfirn.a)") &&
        export PKG_CONFIG_PATH LD_LIBRARY_PATH && with_shared
}
only_firn() { # what nm lists, less what starts with firn_ or is the version's own name
    found=$(nm --defined-only --extern-only "$@" | awk 'NF == 3 { print $3 }' | sed 's/@.*//' |
        grep -v -e '^firn_' -e '^FIRN_' -e '^_init$' -e '^_fini$' -e '^__gcov' -e '^mangle_path$')
    [ -z "$found" ] || { echo "$found"; return 1; }
}

# Under DESTDIR, beside files of others, one of them in a folder of ours.
all_in() { (cd "$1" && find . | sort); }
stage() { DESTDIR=$work/stage cmake --install "$build"; }
unstage() { DESTDIR=$work/stage cmake --build "$build" --target uninstall; }
nothing_is_left() {
    mkdir -p "$work/stage/usr" && echo mine >"$work/stage/usr/mine" && all_in "$work/stage" >"$work/before" &&
        stage && [ "$(all_in "$work/stage" | wc -l)" -gt 15 ] && unstage && all_in "$work/stage" | diff "$work/before" - &&
        [ -f "$work/stage/usr/mine" ]
}
what_is_not_ours_stays() {
    stage && libs=$(dirname "$(find "$work/stage" -name libfirn.a)") && echo mine >"$libs/cmake/firn/mine" &&
        rm "$libs/libfirn.a" && unstage && [ -f "$libs/cmake/firn/mine" ] && [ ! -e "$libs/libfirn.so" ] && [ ! -e "$libs/pkgconfig" ]
}
twice() { ! unstage >"$work/twice" 2>&1 && grep -q 'Nothing was installed' "$work/twice"; }

case_of "the tree installs under a prefix of its own" cmake --install "$build" --prefix "$root"
libdir=$(dirname "$(find "$root" -name libfirn.a)")
other_packages=${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH="$libdir/pkgconfig:$other_packages"
export LD_LIBRARY_PATH="$libdir"

if [ -z "$(cached FIRN_SANITIZE)" ]; then
    case_of "the README's program builds with pkg-config and the shared library" with_shared
    case_of "the README's program builds with the static library" with_static
    if command -v c++ >/dev/null; then
        case_of "the README's program is C++ too" with_cpp
    fi
    case_of "the headers are clean in each standard of C and C++" headers_are_clean
    case_of "the README's program builds with find_package, shared and static" with_cmake "$root"
    case_of "the shared library shows only names that start with firn_" only_firn -D "$libdir/libfirn.so"
    case_of "the static library shows only names that start with firn_" only_firn "$libdir/libfirn.a"
    case_of "an installed tree works where it is moved to" moves
fi
case_of "uninstall leaves what was there before the installation, under DESTDIR too" nothing_is_left
case_of "uninstall takes no file of others, and none of ours is missed" what_is_not_ours_stays
case_of "uninstall without an installation says so" twice
finish
