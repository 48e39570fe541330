# tap: what the scripts share. Sourced, with the command's path in $FIRN, or behind a build by `sh tests/run`. Prints a line "ok" or "not ok" for
# each case; `finish` ends with failure when one was not ok.
#
#   run CODE NAME command...    the case NAME: the command ends with CODE; its output goes to $T/out and $T/err
#   has out|err TEXT            the case before also needs TEXT in its output
#   is NAME a b                 two strings are equal
#   same NAME file file         two files are equal
set -u
FIRN=${FIRN:-$(cd "$(dirname "$0")/../.." && pwd)/build/test/tools/firn}
if [ ! -x "$FIRN" ]; then
    echo "there is no command $FIRN: build it with \`sh tests/run\`, or set FIRN to its path" >&2
    exit 1
fi
LC_ALL=C
export LC_ALL
T=$(mktemp -d "${TMPDIR:-/tmp}/firn-test.XXXXXX") || exit 1
cases=0
failures=0
background=

cleanup() {
    for pid in $background; do
        kill -9 "$pid" 2>/dev/null
    done
    rm -rf "$T"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

pass() {
    cases=$((cases + 1))
    echo "ok $cases - $1"
}

fail() {
    cases=$((cases + 1))
    failures=$((failures + 1))
    echo "not ok $cases - $1"
    shift
    for line; do
        echo "#   $line"
    done
}

run() {
    wanted=$1
    name=$2
    shift 2
    "$@" >"$T/out" 2>"$T/err"
    code=$?
    if [ "$code" -eq "$wanted" ]; then
        pass "$name"
    else
        fail "$name" "exit code $code, not $wanted: $*" "$(tail -n 5 "$T/err")"
    fi
}

has() {
    if grep -qF -e "$2" "$T/$1"; then
        pass "$name: says \"$2\""
    else
        fail "$name: says \"$2\"" "it says:" "$(tail -n 5 "$T/$1")"
    fi
}

is() {
    if [ "$2" = "$3" ]; then
        pass "$1"
    else
        fail "$1" "\"$2\" is not \"$3\""
    fi
}

same() {
    if cmp -s "$2" "$3"; then
        pass "$1"
    else
        fail "$1" "$(cmp "$2" "$3" 2>&1)"
    fi
}

# All that could change when something is written: names, sizes, time stamps, contents.
picture() {
    find "$1" -exec stat -c '%n %s %y %z %i %a' {} + | sort
    find "$1" -type f -exec cksum {} + | sort
}

finish() {
    echo "1..$cases"
    [ "$failures" -eq 0 ] || exit 1
    exit 0
}
