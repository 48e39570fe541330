#!/bin/sh
# The exercises of the READMEs, compared with tests/mutants/exercises.list, by which sh tests/mutants/run does each of them and sees
# its tests fail.
#
#   sh tests/house/exercises.sh SOURCE_FOLDER
#
#   X1  Each numbered item of a section "Exercises" has its mutant, "exercise ROOM NUMBER", and each of those mutants its item.
#   X2  Its last line is the command that runs the mutant's tests: `[FIRN_TEST='NAMES' ]sh tests/run -R 'ROOM.TOPIC$'`.
#   X3  The mutant finds what it replaces.
#   X4  It names tests that are there.
#   X5  The section names the command that does all of its exercises.
set -u
cd "${1:?source folder}" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
bad=0
say() { echo "$*"; bad=1; }

# room TAB number TAB command
find . -path ./build -prune -o -path ./.git -prune -o -name README.md -print | sort | while read -r readme; do
    room=$(basename "$(dirname "$readme")")
    awk -v room="$room" '
        /^## / { on = $0 == "## Exercises"; next }
        !on { next }
        index($0, "`sh tests/mutants/run \047exercise " room "\047`") { named = 1 }
        /^[0-9]+\. / { if (n) print room "\t" n "\t" last; n = $1; sub(/\..*/, "", n); last = "" }
        n && /^ *`.*`$/ { last = $0; sub(/^ *`/, "", last); sub(/`$/, "", last) }
        END {
            if (n) print room "\t" n "\t" last
            if (n && !named) print room "\t0\t"
        }' "$readme"
done >"$work/items"
grep -q . "$work/items" || { echo "no README has exercises: the test looks at the wrong place"; exit 1; }

mkdir "$work/list"
find . -path ./build -prune -o -path ./.git -prune -o -name '*.[ch]' -print | sed 's|^\./||' | sort >"$work/sources"
LC_ALL=C awk -v out="$work/list" -v pattern=. -v fit=1 -v sources="$work/sources" -f tests/mutants/source.awk -f tests/mutants/make.awk \
    tests/mutants/exercises.list || exit 1
for name in "$work"/list/*.name; do
    entry=${name%.name}
    sed -n 's/^exercise \([^ ]*\) \([0-9]*\): .*/\1 \2/p' "$name" >"$work/which"
    read -r room number <"$work/which" || { say "not an exercise: $(cat "$name")"; continue; }
    tests=$(cat "$entry.tests") only=$(cat "$entry.only")
    wanted="${only:+FIRN_TEST='$only' }sh tests/run -R '$tests\$'"
    printed=$(awk -F '\t' -v room="$room" -v n="$number" '$1 == room && $2 == n { print $3 }' "$work/items")
    echo "$room $number" >>"$work/seen"
    [ "$printed" = "$wanted" ] || say "exercise $number of $room prints \"$printed\" and not \"$wanted\" (X1, X2)"
    [ ! -f "$entry.unfit" ] || say "exercise $number of $room does not find what it replaces: $(cat "$entry.unfit") (X3)"
    script=tests/${tests%%.*}/${tests#*.}.sh
    program=tests/${tests%%.*}/test_${tests#*.}.c
    if [ -f "$program" ]; then
        pattern=$(printf '%s' "${only:-*}" | sed 's/\*/[A-Za-z0-9_]*/g')
        grep -qE "^static void $pattern\(" "$program" || say "exercise $number of $room: no test $only in $program (X4)"
    elif [ ! -f "$script" ]; then
        say "exercise $number of $room: there is neither $program nor $script (X4)"
    fi
done
while read -r room number _; do
    if [ "$number" = 0 ]; then
        say "the exercises of $room do not name \`sh tests/mutants/run 'exercise $room'\` (X5)"
    else
        grep -qx "$room $number" "$work/seen" || say "exercise $number of $room has no mutant (X1)"
    fi
done <"$work/items"
exit $bad
