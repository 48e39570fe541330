#!/bin/sh
# Who includes whose headers, compared with cmake/arrows.cmake in both directions.
#
#   sh tests/house/arrows.sh SOURCE_FOLDER
#
#   A1  A file of a room includes only headers of its own room and of the rooms in its row.
#   A2  <firn/x.h> belongs to the room in whose include folder it lies.
#   A3  "x.h" names a header that lies beside the file: private headers stay in their room.
#   A4  Every arrow between rooms of the library is used by some file, so that the table says what is true.
#       The tools may look further than they do.
set -u
cd "${1:?source folder}" || exit 2
tab=$(printf '\t')
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

rooms=$(sed -n 's/^set(FIRN_ROOMS \(.*\))$/\1/p' cmake/arrows.cmake)
[ -n "$rooms" ] || { echo "cmake/arrows.cmake has no FIRN_ROOMS"; exit 1; }
for room in $rooms; do
    grep -q "^set(FIRN_ARROWS_$room[ )]" cmake/arrows.cmake ||
        { echo "cmake/arrows.cmake has no row for $room"; exit 1; }
    sed -n "s/^set(FIRN_ARROWS_$room \{1,\}\(.*\))\$/\1/p" cmake/arrows.cmake |
        tr ' ' '\n' | sed "/^\$/d; s/^/$room$tab/" >>"$work/allowed"
    echo "$room$tab$room" >>"$work/self"
    find "$room/include/firn" -name '*.h' 2>/dev/null | sed "s|.*/\(.*\)|\1$tab$room|" >>"$work/public"
done

# file TAB room TAB form TAB header
for room in $rooms; do
    find "$room" -name '*.[ch]' -type f | sort | while read -r file; do
        sed -n "s|^ *# *include *<\([^>]*\)>.*|$file$tab$room${tab}angle$tab\1|p
                s|^ *# *include *\"\([^\"]*\)\".*|$file$tab$room${tab}quote$tab\1|p" "$file"
    done
done >"$work/includes"
[ -s "$work/includes" ] || { echo "no file includes anything: the test looks at the wrong place"; exit 1; }

awk -F '\t' -v rooms="$rooms" '
    BEGIN { n = split(rooms, list, " "); for (i = 1; i <= n; i++) is_room[list[i]] = 1 }
    FILENAME ~ /allowed$/ { allowed[$1, $2] = 1; arrow[$1 "\t" $2] = 1; next }
    FILENAME ~ /self$/ { allowed[$1, $2] = 1; next }
    FILENAME ~ /public$/ { owner[$1] = $2; next }
    {
        file = $1; room = $2; form = $3; header = $4
        folder = file; sub(/\/[^\/]*$/, "", folder)
        if (form == "quote") {
            if (header ~ /\//) {
                print file ": \"" header "\": a private header is named without a folder (A3)"
                bad = 1
            } else if (system("test -f \"" folder "/" header "\"") != 0) {
                print file ": \"" header "\" does not lie beside it (A3)"
                bad = 1
            }
            next
        }
        first = header; sub(/\/.*/, "", first)
        if (first == "firn") {
            rest = header; sub(/^firn\//, "", rest)
            if (!(rest in owner)) { print file ": nobody has <" header "> (A2)"; bad = 1; next }
            to = owner[rest]
        } else if (first in is_room) {
            to = first
        } else {
            next
        }
        used[room "\t" to] = 1
        if (!((room, to) in allowed)) {
            print file ": <" header "> is of " to ", which " room " may not see (A1)"
            bad = 1
        }
    }
    END {
        for (a in arrow)
            if (!(a in used) && a !~ /^tools\t/) {
                split(a, pair, "\t")
                print "cmake/arrows.cmake: no file of " pair[1] " uses the arrow to " pair[2] " (A4)"
                bad = 1
            }
        exit bad
    }' "$work/allowed" "$work/self" "$work/public" "$work/includes"
