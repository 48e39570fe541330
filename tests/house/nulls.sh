#!/bin/sh
# Every pointer of every public function has a case of NULL in tests/engine/test_misuse.c.
#
#   sh tests/house/nulls.sh SOURCE_FOLDER NM SHARED_LIBRARY TEST_PROGRAM
#
#   U1  What the public headers declare with FIRN_API is what the library exports.
#   U2  For each pointer parameter, and each whose type is a function (..._fn), the program has one case, and no others.
set -u
cd "${1:?source folder}" || exit 2
nm=${2:?nm}
library=${3:?shared library}
program=${4:?test program}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# One declaration a line, without comments; then "function" and "function parameter" lines.
cat base/include/firn/types.h base/include/firn/keys.h wal/include/firn/wal.h engine/include/firn/firn.h |
    awk -v functions="$work/declared" -v pointers="$work/pointers" '
    { text = text " " $0 }
    function parameter(name, p) {
        if (p ~ /\(\*/) { # a function: type (*name)(...)
            sub(/.*\(\*/, "", p)
            sub(/\).*/, "", p)
        } else if (p ~ /\*/ || p ~ /_fn /) {
            sub(/.*[ *]/, "", p)
        } else {
            return
        }
        print name, p >pointers
    }
    END {
        while (match(text, /\/\*/)) {
            rest = substr(text, RSTART + 2)
            end = index(rest, "*/")
            text = substr(text, 1, RSTART - 1) " " substr(rest, end + 2)
        }
        n = split(text, part, "FIRN_API ")
        for (i = 2; i <= n; i++) {
            declaration = part[i]
            sub(/;.*/, "", declaration)
            if (declaration !~ /\(.*\)/)
                continue # the definition of FIRN_API itself
            gsub(/[ \t]+/, " ", declaration)
            open = index(declaration, "(")
            name = substr(declaration, 1, open - 1)
            sub(/.*[ *]/, "", name)
            if (name !~ /^firn_/)
                continue
            print name >functions
            arguments = substr(declaration, open + 1)
            sub(/\) *$/, "", arguments)
            depth = 0
            piece = ""
            for (k = 1; k <= length(arguments); k++) {
                c = substr(arguments, k, 1)
                depth += (c == "(") - (c == ")")
                if (c == "," && depth == 0) { parameter(name, piece); piece = "" } else piece = piece c
            }
            parameter(name, piece)
        }
    }'
sort -o "$work/declared" "$work/declared"
sort -o "$work/pointers" "$work/pointers"
"$nm" -D --defined-only "$library" | awk 'NF == 3 && $2 == "T" { print $3 }' | sed 's/@.*//' | sort >"$work/exported"
"$program" --list | sort >"$work/cases"
[ "$(grep -c . "$work/exported")" -gt 40 ] || { echo "$nm shows too little of $library"; exit 1; }
[ "$(grep -c . "$work/pointers")" -gt 100 ] || { echo "too few pointers found: the headers are read wrongly"; exit 1; }

bad=0
tell() { # FIRST SECOND MESSAGE: the lines that only the first has
    comm -23 "$1" "$2" >"$work/missing"
    [ -s "$work/missing" ] || return 0
    sed "s/\$/: $3/" "$work/missing"
    bad=1
}
tell "$work/declared" "$work/exported" "declared, and not exported (U1)"
tell "$work/exported" "$work/declared" "exported, and not declared (U1)"
tell "$work/pointers" "$work/cases" "has no case of NULL in tests\/engine\/test_misuse.c (U2)"
tell "$work/cases" "$work/pointers" "is a case of no pointer that the headers have, or is there twice (U2)"
exit $bad
