#!/bin/sh
# Which lock guards a field (base/README.md): clang checks it here, whichever compiler builds firn.
#
#   sh tests/house/locks.sh SOURCE_FOLDER CC
#
#   G1  No file of the library touches a guarded field without the lock.
#   G2  A file that locks a mutex has something to guard: when locking does nothing, clang refuses the file.
#   G3  Mutexes are those of base/thread.h, and no function is left out of the analysis.
#
# CC does it if it is clang, else the program clang. Exit status 77: skipped, there is no clang.
set -u
cd "${1:?source folder}" || exit 2
clang=${2:?compiler}
"$clang" --version 2>/dev/null | grep -q clang || clang=clang
if ! command -v "$clang" >/dev/null 2>&1; then
    echo "skipped: there is no clang"
    exit 77
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failures=0

complain() {
    echo "$*"
    failures=$((failures + 1))
}

rooms=$(sed -n 's/^set(FIRN_ROOMS \(.*\))$/\1/p' cmake/arrows.cmake)
includes=
for folder in $(find $rooms -maxdepth 2 -type d -name include); do
    includes="$includes -I$folder"
done

# analyse FILE [OPTION...]: what clang has to say is in $work/said.
analyse() {
    file=$1
    shift
    "$clang" -std=c11 -fsyntax-only -D_GNU_SOURCE -DFIRN_VERSION='""' -Wno-everything -Wthread-safety -Werror \
        "-I$(dirname "$file")" "-I${file%%/*}" $includes "$@" "$file" >"$work/said" 2>&1
}

# For G2: locks that do nothing.
printf '%s\n' '#include <base/thread.h>' '#undef mutex_lock' '#undef mutex_unlock' '#undef mutex_try' \
    '#define mutex_lock(m) ((void)(m))' '#define mutex_unlock(m) ((void)(m))' '#define mutex_try(m) ((void)(m), 1)' \
    >"$work/unlocked.h"

files=$(find $rooms -name '*.c' | sort)
[ -n "$files" ] || complain "there are no files"
for file in $files; do
    analyse "$file" || complain "$file touches without its lock what is guarded (G1): $(cat "$work/said")"
    grep -q '\<mutex_\(lock\|try\)(' "$file" || continue
    if analyse "$file" -include "$work/unlocked.h"; then
        complain "$file locks a mutex that guards nothing in it (G2)"
    elif ! grep -q "\(variable\|function\) '.*' requires holding" "$work/said"; then
        complain "$file is refused for another reason (G2): $(cat "$work/said")"
    fi
done

odd='NO_THREAD_ANALYSIS|no_thread_safety_analysis|pthread_(mutex|rwlock|spin)|(^|[^a-z_])mutex +[a-z_]+( *=.*)?;'
if grep -rnE "$odd" --include='*.[ch]' $rooms | grep -v '^base/\(include/base/thread\.h\|thread\.c\):' >"$work/said"; then
    complain "this goes around base/thread.h (G3): $(cat "$work/said")"
fi

[ $failures -eq 0 ]
