#!/bin/sh
# package.sh BUILD_DIR SOURCE_DIR: installs the built tree into a fresh folder and builds a small program against it in each way
# that the README names, in C and, where there is a C++ compiler, in C++; and looks at which names the libraries show.
set -u
build=$1
source=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/firn-package.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
case_of() { # NAME COMMAND...
    name=$1
    shift
    if "$@" > "$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok - $name"
    else
        failed=$((failed + 1))
        echo "not ok - $name"
        sed 's/^/    /' "$work/out"
    fi
}

# A machine may have only the generator that this tree was configured with.
generator=$(sed -n 's/^CMAKE_GENERATOR:[A-Z]*=//p' "$build/CMakeCache.txt")
root=$work/root
case_of "the tree installs under a prefix of its own" cmake --install "$build" --prefix "$root"
libdir=$(dirname "$(find "$root" -name libfirn.a)")
export PKG_CONFIG_PATH="$libdir/pkgconfig"
export LD_LIBRARY_PATH="$libdir"

# The README's program, as it stands there.
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$source/README.md" > "$work/snow.c"
runs() { (cd "$work" && rm -rf snow && "$1" | grep -q '^22.6 km$'); }
with_shared() { cc "$work/snow.c" -o "$work/shared" $(pkg-config --cflags --libs firn) && runs "$work/shared"; }
with_static() {
    cc "$work/snow.c" -o "$work/static" $(pkg-config --cflags firn) "$libdir/libfirn.a" -lz -llz4 -pthread &&
        runs "$work/static"
}
with_cpp() {
    cp "$work/snow.c" "$work/snow.cc" &&
        c++ -Wall -Werror "$work/snow.cc" -o "$work/cpp" $(pkg-config --cflags --libs firn) && runs "$work/cpp"
}
with_cmake() {
    mkdir -p "$work/user" && cp "$work/snow.c" "$work/user/" &&
        printf '%s\n' 'cmake_minimum_required(VERSION 3.21)' 'project(user C)' 'find_package(firn REQUIRED)' \
            'add_executable(user snow.c)' 'target_link_libraries(user firn::firn)' \
            'add_executable(user_static snow.c)' 'target_link_libraries(user_static firn::static)' \
            > "$work/user/CMakeLists.txt" &&
        cmake -G "$generator" -S "$work/user" -B "$work/user/build" -DCMAKE_PREFIX_PATH="$root" &&
        cmake --build "$work/user/build" && runs "$work/user/build/user" && runs "$work/user/build/user_static"
}
only_firn() { # what nm lists, less what starts with firn_ or is the version's own name
    found=$(nm --defined-only --extern-only "$@" | awk 'NF == 3 { print $3 }' | sed 's/@.*//' |
        grep -v -e '^firn_' -e '^FIRN_' -e '^_init$' -e '^_fini$' -e '^__gcov' -e '^mangle_path$')
    [ -z "$found" ] || { echo "$found"; return 1; }
}

if grep -q '^FIRN_SANITIZE:[A-Z]*=$' "$build/CMakeCache.txt"; then
    case_of "the README's program builds with pkg-config and the shared library" with_shared
    case_of "the README's program builds with the static library" with_static
    if command -v c++ > /dev/null; then
        case_of "the README's program is C++ too" with_cpp
    fi
    case_of "the README's program builds with find_package, shared and static" with_cmake
    case_of "the shared library shows only names that start with firn_" only_firn -D "$libdir/libfirn.so"
    case_of "the static library shows only names that start with firn_" only_firn "$libdir/libfirn.a"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
