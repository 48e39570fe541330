#!/bin/sh
# Who includes whose headers, compared with cmake/arrows.cmake in both directions.
#
#   sh tests/house/arrows.sh SOURCE_FOLDER
#
#   A1  A file of a room includes only headers of its own room and of the rooms in its row; a file of a floor, of its room, only
#       headers in the include folders of its own floor and of the floors in its row.
#   A2  <firn/x.h> belongs to the room in whose include folder it lies.
#   A3  "x.h" names a header that lies beside the file: private headers stay in their room, and on their floor.
#   A4  Every arrow between rooms of the library, or between floors, is used by some file, so that the table says what is true.
#       The tools may look further than they do.
#   A5  In a room with floors each file lies on one of them, or in the include folder of the room.
#   A6  The rows of floors point downwards, and no floor has the name of a room or of another room's floor.
set -u
cd "${1:?source folder}" || exit 2
tab=$(printf '\t')
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
table=cmake/arrows.cmake

row() { sed -n "s/^set($1 \{1,\}\(.*\))\$/\1/p" "$table"; }
rooms=$(row FIRN_ROOMS)
[ -n "$rooms" ] || { echo "$table has no FIRN_ROOMS"; exit 1; }
: >"$work/allowed" && : >"$work/public" && : >"$work/floors"
# place TAB place that it sees; a place is a room, or a room and its floor
for room in $rooms; do
    grep -q "^set(FIRN_ARROWS_$room[ )]" "$table" || { echo "$table has no row for $room"; exit 1; }
    for seen in $room $(row "FIRN_ARROWS_$room"); do
        echo "$room$tab$seen"
    done >>"$work/allowed"
    for floor in $(row "FIRN_FLOORS_$room"); do
        grep -q "^set(FIRN_ARROWS_${room}_$floor[ )]" "$table" || { echo "$table has no row for $floor of $room"; exit 1; }
        [ -d "$room/$floor" ] || { echo "$table: there is no folder $room/$floor"; exit 1; }
        echo "$room$tab$floor" >>"$work/floors"
        for seen in $floor $(row "FIRN_ARROWS_${room}_$floor"); do
            echo "$room/$floor$tab$room/$seen"
        done >>"$work/allowed"
    done
    find "$room/include/firn" -name '*.h' 2>/dev/null | sed "s|.*/\(.*\)|\1$tab$room|" >>"$work/public"
done

# file TAB room TAB form TAB header; and each file once without a header
for room in $rooms; do
    find "$room" -name '*.[ch]' -type f | sort | while read -r file; do
        echo "$file$tab$room${tab}none$tab"
        sed -n "s|^ *# *include *<\([^>]*\)>.*|$file$tab$room${tab}angle$tab\1|p
                s|^ *# *include *\"\([^\"]*\)\".*|$file$tab$room${tab}quote$tab\1|p" "$file"
    done
done >"$work/includes"
grep -q "${tab}angle$tab" "$work/includes" || { echo "no file includes anything: the test looks at the wrong place"; exit 1; }

awk -F '\t' -v rooms="$rooms" -v table="$table" '
    function say(what) { print what; bad = 1 }
    BEGIN { n = split(rooms, list, " "); for (i = 1; i <= n; i++) is_room[list[i]] = 1 }
    FILENAME ~ /floors$/ {
        if ($2 in is_room || $2 in room_of) say(table ": " $2 " is the name of two places (A6)")
        room_of[$2] = $1
        height[$2] = ++floors
        has_floors[$1] = 1
        next
    }
    FILENAME ~ /allowed$/ {
        allowed[$1, $2] = 1
        if ($1 != $2) arrow[$1 "\t" $2] = 1
        if ($1 ~ /\//) {
            from = substr($1, index($1, "/") + 1); to = substr($2, index($2, "/") + 1)
            if (height[to] > height[from] || !(to in height)) say(table ": " from " may not see " to ", which is not below it (A6)")
        }
        next
    }
    FILENAME ~ /public$/ { owner[$1] = $2; next }
    {
        file = $1; room = $2; form = $3; header = $4
        folder = file; sub(/\/[^\/]*$/, "", folder)
        split(file, part, "/")
        floor = room_of[part[2]] == room ? part[2] : ""
        if (floor == "" && room in has_floors && part[2] != "include") say(file ": lies on no floor of " room " (A5)")
        if (form == "none") next
        if (form == "quote") {
            if (header ~ /\//)
                say(file ": \"" header "\": a private header is named without a folder (A3)")
            else if (system("test -f \"" folder "/" header "\"") != 0)
                say(file ": \"" header "\" does not lie beside it (A3)")
            next
        }
        first = header; sub(/\/.*/, "", first)
        if (first == "firn") {
            rest = header; sub(/^firn\//, "", rest)
            if (!(rest in owner)) { say(file ": no room has <" header "> (A2)"); next }
            to = owner[rest]
        } else if (first in is_room) {
            to = first
        } else if (first in room_of && header ~ /\//) {
            from = room "/" floor; to = room_of[first] "/" first
            used[from "\t" to] = 1
            if (!((from, to) in allowed))
                say(file ": <" header "> is of " to ", which " (floor == "" ? room : floor) " may not see (A1)")
            next
        } else {
            next
        }
        used[room "\t" to] = 1
        if (!((room, to) in allowed))
            say(file ": <" header "> is of " to ", which " room " may not see (A1)")
    }
    END {
        for (a in arrow)
            if (!(a in used) && a !~ /^tools\t/) {
                split(a, pair, "\t")
                say(table ": no file of " pair[1] " uses the arrow to " pair[2] " (A4)")
            }
        exit bad
    }' "$work/floors" "$work/allowed" "$work/public" "$work/includes"
