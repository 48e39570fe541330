#!/bin/sh
# The words of base/README.md ("Words").
#
#   sh tests/house/glossary.sh SOURCE_FOLDER
#
#   L1  At most forty, in the order of the alphabet, none twice.
#   L2  A word in *italics* has a line of its own.
#   L3  A link to a section of a README leads to one that is there.
#   L4  The words by which the code calls its main things are among them.
set -u
cd "${1:?source folder}" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
status=0
say() { echo "$*"; status=1; }

awk '/^## / { on = $0 == "## Words" } on && /^\| / && !/^\| word / { print }' base/README.md >"$work/rows"
sed 's/^| \([^|]*[^| ]\) |.*/\1/' "$work/rows" >"$work/words"
count=$(wc -l <"$work/words")
[ "$count" -gt 0 ] && [ "$count" -le 40 ] || say "base/README.md has $count words, not 1 to 40 (L1)"
tr -d '`' <"$work/words" | LC_ALL=C sort -f -c 2>"$work/order" || say "the words are not in order: $(cat "$work/order") (L1)"
twice=$(sort "$work/words" | uniq -d)
[ -z "$twice" ] || say "twice: $twice (L1)"

grep -o '\*[^*|]*\*' "$work/rows" | tr -d '*' | sort -u | while read -r word; do
    grep -qxE "(a )?($word|${word%s}|${word%d}|${word%ies}y)" "$work/words" || echo "*$word* has no line (L2)"
done >"$work/missing"
[ ! -s "$work/missing" ] || say "$(cat "$work/missing")"

# [text](folder/README.md#a-section), also over two lines
find . -path ./build -prune -o -path ./.git -prune -o -name README.md -print | while read -r readme; do
    tr '\n' ' ' <"$readme" | grep -o '](\([^)]*README\.md\)\{0,1\}#[^)]*)' | sed 's/^](//; s/)$//' | while read -r link; do
        file=${link%%#*}
        target=$readme
        [ -z "$file" ] || target=$(dirname "$readme")/$file
        sed -n 's/^##* //p' "$target" 2>/dev/null | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g' |
            grep -qx -- "${link#*#}" || echo "$readme: $link leads nowhere (L3)"
    done
done >"$work/links"
[ ! -s "$work/links" ] || say "$(cat "$work/links")"

for word in bucket compaction entry filter floor frame job keeper level life manifest mem memtable run segment snapshot table timeline \
    tombstone '`version`' view; do
    grep -qxF -- "$word" "$work/words" || say "$word is not among the words of base/README.md (L4)"
done
exit $status
