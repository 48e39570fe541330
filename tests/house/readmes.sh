#!/bin/sh
# What a README.md names in backticks exists.
#
#   sh tests/house/readmes.sh SOURCE_FOLDER
#
#   R1  A token that ends in .c .h .sh .cmake .md or .txt is a file: relative to the README, to the top, or
#       the end of some file's path.
#   R2  A token that ends in "()" or is written_like_this is a word of some source file.
#   R3  A token of three or more CapitalisedWords is a test, and so a word of some file under tests/.
# Names of other programs stand in tests/house/others.txt; NAME in capitals stands for any name.
# Blocks between lines of ``` are left out; they are compared with what programs print by other tests.
set -u
cd "${1:?source folder}" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

find . -path ./build -prune -o -path ./.git -prune -o -type f -print | sed 's|^\./||' | sort >"$work/files"
grep '\(^\|/\)README\.md$' "$work/files" >"$work/readmes"
[ -s "$work/readmes" ] || { echo "there is no README.md"; exit 1; }
grep -E '\.(c|h|sh|cmake|awk|map|in|txt)$|^tests/(mutants/)?run$' "$work/files" | tr '\n' '\0' |
    xargs -0 grep -ohE '[A-Za-z_][A-Za-z0-9_]*' | sort -u >"$work/words"

while read -r readme; do
    awk -v readme="$readme" '
        /^ *```/ { fenced = !fenced; next }
        fenced { next }
        {
            n = split($0, part, "`")
            for (i = 2; i < n; i += 2)
                print readme "\t" FNR "\t" part[i]
        }' "$readme"
done <"$work/readmes" >"$work/tokens"

awk -F '\t' '
    FILENAME ~ /files$/ { file[$0] = 1; path = $0; while (sub(/^[^\/]*\//, "", path)) tail[path] = 1; next }
    FILENAME ~ /words$/ { word[$0] = 1; next }
    FILENAME ~ /others.txt$/ { other[$1] = 1; next }
    $3 in other || $3 ~ /NAME/ { next }
    function missing(what) { print $1 ":" $2 ": `" $3 "` " what; bad = 1 }
    {
        folder = $1; sub(/README\.md$/, "", folder)
        token = $3
        if (token ~ /^[A-Za-z0-9_.\/-]+\.(c|h|sh|cmake|md|txt)$/) {
            named++
            if (!((folder token) in file) && !(token in file) && !(token in tail))
                missing("is no file (R1)")
        } else if (token ~ /^[A-Za-z_][A-Za-z0-9_]*\(\)$/) {
            named++
            sub(/\(\)$/, "", token)
            if (!(token in word))
                missing("is no function (R2)")
        } else if (token ~ /^[a-z][a-z0-9]*(_[a-z0-9]+)+$/) {
            named++
            if (!(token in word))
                missing("is a name that no source file has (R2)")
        } else if (token ~ /^A?[A-Z][a-z0-9]+[A-Z][a-z0-9]+([A-Z][a-z0-9]*)+$/) {
            named++
            if (!(token in word))
                missing("is no test (R3)")
        }
    }
    END {
        if (!named) { print "the READMEs name nothing: the rules look for the wrong thing"; bad = 1 }
        exit bad
    }' "$work/files" "$work/words" tests/house/others.txt "$work/tokens"
