#!/bin/sh
# What the rooms' compiled code asks of the system, compared with tests/house/symbols.txt.
#
#   sh tests/house/symbols.sh SOURCE_FOLDER NM LIBRARY...
#
# One seam: files, clocks, locks and randomness are reached through base/fs_posix.c alone, memory through
# base/alloc.c, threads through base/thread.c. A call around them compiles, so the symbols are asked.
# Names that another room defines are fine here: that is what arrows.sh looks at.
set -u
list=${1:?source folder}/tests/house/symbols.txt
nm=${2:?nm}
shift 2
[ $# -gt 0 ] || { echo "no libraries given"; exit 2; }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

for library in "$@"; do
    room=$(basename "$library" | sed 's/^libfirn_\(.*\)\.a$/\1/')
    # libfirn_base.a[fs.c.o]: name T ... -> base/fs.c name T
    "$nm" -P -A "$library" 2>/dev/null |
        sed -n "s|^[^[]*\[\([^]]*\)\.o\]: \([^ ]*\) \([A-Za-z]\).*|$room/\1 \2 \3|p"
done >"$work/symbols"
[ -s "$work/symbols" ] || { echo "$nm shows no symbols of $*"; exit 1; }

awk -v list="$list" '
    # Spellings of the same function: fortified, or of another C standard.
    function plain(name) {
        if (name ~ /^__.*_chk$/) { sub(/^__/, "", name); sub(/_chk$/, "", name) }
        sub(/^__isoc[0-9]+_/, "", name)
        return name
    }
    # What compilers and sanitizers add by themselves.
    function added(name) {
        return name ~ /^__(asan|ubsan|tsan|msan|lsan|sanitizer|gcov|llvm|aarch64|emutls|stack_chk|start_|stop_|atomic)/ ||
               name ~ /^(_GLOBAL_OFFSET_TABLE_|__tls_get_addr|__assert_fail|__errno_location|__ctype_b_loc)$/ ||
               name ~ /^___/
    }
    BEGIN {
        while ((getline line < list) > 0) {
            if (line ~ /^#/ || line !~ /[^ ]/)
                continue
            n = split(line, word, " ")
            for (i = 2; i <= n; i++)
                allowed[word[1], word[i]] = 1
            listed[word[1]] = 1
            lines++
        }
        if (!lines) { print list " is empty"; exit 1 }
    }
    $3 ~ /[TDBRVWdbrtCi]/ { defined[$2] = 1; next }
    $3 == "U" || $3 == "w" { asked[$1 " " $2] = 1 }
    END {
        for (a in asked) {
            split(a, pair, " ")
            file = pair[1]; name = plain(pair[2])
            seen[file] = 1
            if (pair[2] in defined || added(pair[2]) || ("anywhere", name) in allowed)
                continue
            if ((file, name) in allowed)
                continue
            print file " asks for " name ", which is not in its line of tests/house/symbols.txt"
            bad = 1
        }
        for (l in listed)
            if (l != "anywhere" && !(l in seen) && l !~ /^base\/checksum_/) {
                print list " lists " l ", which is in no library"
                bad = 1
            }
        exit bad
    }' "$work/symbols" >"$work/said"
status=$?
sort "$work/said"
exit $status
