# shellcheck shell=sh
# cases: what the scripts that try things out share. To be sourced. Makes $work, an empty folder that goes when the script ends.
#
#   case_of NAME command...   the case NAME passes when the command does; its output is shown otherwise
#   finish                    ends the script: "N passed, N failed"
unset DESTDIR
work=$(mktemp -d "${TMPDIR:-/tmp}/firn-house.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

case_of() {
    name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok - $name"
    else
        failed=$((failed + 1))
        echo "not ok - $name"
        sed 's/^/    /' "$work/out"
    fi
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

# cached NAME: what a build's CMakeCache.txt has under that name. Takes the folder from $build.
cached() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }

# Configures with the generator and the compilers of $build: a machine may have no others. Other arguments go to cmake.
configure() {
    cmake -G "$(cached CMAKE_GENERATOR)" -DCMAKE_C_COMPILER="$(cached CMAKE_C_COMPILER)" \
        -DCMAKE_C_COMPILER_LAUNCHER="$(cached CMAKE_C_COMPILER_LAUNCHER)" "$@"
}

# program_of README: the first program in it.
program_of() { awk '/^```c( |$)/ && !seen { on = seen = 1; next } /^```$/ { on = 0 } on' "$1"; }
