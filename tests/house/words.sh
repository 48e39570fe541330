#!/bin/sh
# Habits of the source that can be counted.
#
#   sh tests/house/words.sh SOURCE_FOLDER
#
#   H1  Nothing is left for later: no TODO, FIXME, HACK, "placeholder", "for now", "not implemented".
#   H2  A file has at most 800 lines.
#   H3  A function has at most 70 lines between its braces.
#   H4  No trailing blanks, no tabs in C, and every file ends in a newline.
#   H5  In the library and the tools a line of C has at most 100 columns, comments included.
set -u
cd "${1:?source folder}" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

find . -path ./build -prune -o -path ./.git -prune -o -path ./tests/house -prune -o -type f -print |
    sed 's|^\./||' | grep -E '(\.(c|h|sh|cmake|awk|md)|(^|/)CMakeLists\.txt|^tests/run)$' | sort >"$work/files"
grep -c . "$work/files" >"$work/count"
[ "$(cat "$work/count")" -gt 50 ] || { echo "only $(cat "$work/count") files: looking at the wrong place"; exit 1; }

# Rooms.
narrow='base/ wal/ memtable/ sstable/ engine/ tools/'

tr '\n' '\0' <"$work/files" | xargs -0 awk -v narrow="$narrow" '
    BEGIN { rooms = split(narrow, room, /[ \n]+/) }
    function say(what) { print FILENAME ":" FNR ": " what; bad = 1 }
    FNR == 1 {
        is_c = FILENAME ~ /\.[ch]$/
        is_narrow = 0
        for (i = 1; i <= rooms; i++)
            if (is_c && index(FILENAME, room[i]) == 1) is_narrow = 1
        open_line = 0
        lines = 0
    }
    is_narrow && length($0) > 100 { say("a line of " length($0) " columns (H5)") }
    { lines++ }
    lines == 801 { say("more than 800 lines (H2)") }
    /(^|[^A-Za-z_])(TODO|FIXME|HACK)([^A-Za-z_]|$)/ { say("something is left for later (H1)") }
    tolower($0) ~ /placeholder|for now[ ,.;:]|not implemented|not yet implemented/ {
        say("something is left for later (H1)")
    }
    /[ \t]$/ { say("blanks at the end (H4)") }
    is_c && /\t/ { say("a tab (H4)") }
    is_c && /^\{/ { open_line = FNR }
    is_c && /^\}/ && open_line {
        if (FNR - open_line - 1 > 70)
            say("a function of " FNR - open_line - 1 " lines (H3)")
        open_line = 0
    }
    END { exit bad }'
status=$?
# The last bytes of all files at once; only when one is no newline, each by itself.
while read -r file; do
    [ ! -s "$file" ] || printf '%s\0' "$file"
done <"$work/files" >"$work/not_empty"
if [ "$(xargs -0 tail -q -c 1 <"$work/not_empty" | LC_ALL=C tr -d '\n' | wc -c)" -ne 0 ]; then
    tr '\0' '\n' <"$work/not_empty" | while read -r file; do
        [ "$(tail -c 1 "$file" | od -An -c | tr -d ' ')" = '\n' ] || echo "$file: does not end in a newline (H4)"
    done
    status=1
fi
exit $status
