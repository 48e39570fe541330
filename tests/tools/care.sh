# What is done to a store as a whole: flush, compact, lost, destroy; and what the looking verbs tell programs.
. "$(dirname "$0")/tap.sh"
: "${PTY:?set PTY to the path of the terminal}"
DB=$T/store
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "key%05d\tvalue %d\n", i, i }' >"$T/in.tsv"
"$FIRN" load "$DB" "$T/in.tsv" || exit 1

# A line of `firn stat --json`.
figure() {
    "$FIRN" stat "$1" --json | sed -n "s/^  \"$2\": \[*\([0-9]*\).*/\1/p"
}

# ---- stat tells what is there ----
files=$(find "$DB" -type f -exec stat -c %s {} + | awk '{ s += $1 } END { print s }')
is "stat: the total is what the files take" "$(figure "$DB" total_bytes)" "$files"
log=$(find "$DB" -name '*.wal' -exec stat -c %s {} + | awk '{ s += $1 } END { print s }')
is "stat: the log is what its files take" "$(figure "$DB" log_bytes)" "$log"
is "stat: no more of them is used than there is" "$([ "$(figure "$DB" log_used_bytes)" -le "$log" ] && echo yes)" yes
is "stat: and no less than what was stored" "$([ "$(figure "$DB" log_used_bytes)" -gt 60000 ] && echo yes)" yes
is "stat: the newest write" "$(figure "$DB" newest_seq)" 3000
run 0 "stat for people" "$FIRN" stat "$DB"
has out "newest write      3,000"
has out "of it used"

# ---- flush ----
run 0 "flush" "$FIRN" flush "$DB"
is "flush says nothing" "$(cat "$T/out" "$T/err")" ""
is "flush: everything is in tables" "$(figure "$DB" memtable_entries)" 0
is "flush: in level 0" "$(figure "$DB" level_entries)" 3000
is "flush: the newest write is no checkpoint" "$(figure "$DB" newest_seq)" 3000
is "flush: which took a number" "$(figure "$DB" last_seq)" 3001
run 0 "stat for people tells the two apart" "$FIRN" stat "$DB"
has out "newest write      3,000; numbers are used up to 3,001"
"$FIRN" dump "$DB" >"$T/dump"
same "flush keeps every value" "$T/dump" "$T/in.tsv"
run 0 "flush of what is flushed" "$FIRN" flush "$DB"
is "flush: the newest write stays" "$(figure "$DB" newest_seq)" 3000
run 0 "an option of the store" "$FIRN" flush "$DB" --set memory=16MiB

# ---- compact ----
"$FIRN" del "$DB" key00000 key00001 && "$FIRN" put "$DB" key00002 new || exit 1
run 0 "compact of a range that holds nothing" "$FIRN" compact "$DB" --from z --to zz
run 0 "compact" "$FIRN" compact "$DB"
is "compact: nothing is left in level 0" "$(figure "$DB" level_tables)" 0
is "compact: what was deleted or replaced is gone" \
    "$("$FIRN" stat "$DB" --json | sed -n 's/.*"level_entries": \[\(.*\)\].*/\1/p' | tr ',' '\n' | awk '{ s += $1 } END { print s }')" 2998
is "compact keeps the values" "$("$FIRN" get "$DB" key00002)" new
run 0 "and leaves a clean store" "$FIRN" check "$DB"
run 2 "compact with a wrong bound" "$FIRN" compact "$DB" --from 'a\q'
run 2 "compact with an unknown option" "$FIRN" compact "$DB" --prefix a

# ---- lost ----
run 0 "lost of a store that lost nothing" "$FIRN" lost "$DB"
has out "0 files"
"$FIRN" put "$DB" tail one || exit 1
segment=$(find "$DB" -name '*.wal' | sort | tail -n 1)
size=$(stat -c %s "$segment")
printf 'not of the log' >>"$segment"
"$FIRN" put "$DB" tail two 2>"$T/err" || exit 1
name="a torn tail is cut"
offset=$(ls "$DB/lost" | sed -n "s/^$(basename "$segment" .wal)-\([0-9]*\)-1\$/\1/p")
is "a torn tail is set aside, with all up to its end" \
    "$(stat -c %s "$DB/lost/$(basename "$segment" .wal)-$offset-1")" $((size + 14 - offset))
table=$(find "$DB" -name '*.tbl' | sort | head -n 1)
printf 'damage' | dd of="$table" bs=1 seek=500 conv=notrunc 2>/dev/null
"$FIRN" repair -q "$DB" >/dev/null
run 0 "lost lists what was set aside" "$FIRN" lost "$DB"
has out "of ${segment##*/}, from offset $(echo "$offset" | sed ':a;s/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/;ta') on"
has out "all of ${table##*/}"
has out "2 files, "
has out "$(date -u +%Y-)"
lost_bytes=$(find "$DB/lost" -type f -exec stat -c %s {} + | awk '{ s += $1 } END { print s }')
is "stat counts it" "$(figure "$DB" lost_files) $(figure "$DB" lost_bytes)" "2 $lost_bytes"
run 0 "stat names it" "$FIRN" stat "$DB"
has out "see \`firn lost\`"
run 0 "check names it" "$FIRN" check "$DB"
has out "lost/ keeps 2 files of $lost_bytes bytes"
run 0 "check counts it" "$FIRN" check "$DB" --json
has out "\"lost_bytes\": $lost_bytes,"
run 0 "lost --json" "$FIRN" lost "$DB" --json
has out "\"from\": \"${segment##*/}\", \"offset\": $offset, \"ours\": true, \"removed\": false}"
has out "\"from\": \"${table##*/}\", \"offset\": null"
has out "{\"files\": 2, \"bytes\": $lost_bytes, \"removed_files\": 0, \"removed_bytes\": 0, \"others\": 0}"
# What is not from firn stays, whatever it is called; so does what a link names.
echo mine >"$T/mine"
echo letter >"$DB/lost/letter-1"
echo x >"$DB/lost/000000000007.tbl"
echo x >"$DB/lost/000000000007.tbl-01"
echo x >"$DB/lost/000000000007.tbl-0"
echo x >"$DB/lost/7.tbl-3"
echo x >"$DB/lost/000000000007-8-9-10x"
echo x >"$DB/lost/-5"
mkdir "$DB/lost/000000000008.tbl-77"
ln -s "$T/mine" "$DB/lost/000000000009.tbl-78"
picture "$DB" >"$T/before"
run 0 "lost tells what is not from firn" "$FIRN" lost "$DB"
has out "letter-1  not from firn"
has out "8 not from firn, left alone"
picture "$DB" >"$T/after"
same "lost changes nothing" "$T/before" "$T/after"
mkfifo "$T/pipe" "$T/acks"
"$FIRN" load "$DB" --batch 1 --ack <"$T/pipe" >"$T/acks" &
loader=$!
background=$loader
exec 3>"$T/pipe" 4<"$T/acks"
printf 'live\t1\n' >&3
read -r _ <&4
run 0 "lost beside a writer" "$FIRN" lost "$DB"
run 5 "lost --remove beside a writer" "$FIRN" lost "$DB" --remove
has err "$loader"
run 5 "flush beside a writer" "$FIRN" flush "$DB"
run 5 "compact beside a writer" "$FIRN" compact "$DB"
run 5 "destroy beside a writer" "$FIRN" destroy "$DB" --yes
# A table that no level lists is the writer's business while there is one.
cp "$(find "$DB" -name '*.tbl' | head -n 1)" "$DB/000000000999.tbl"
run 0 "check beside a writer" "$FIRN" check "$DB"
has out "the writer that has the store open"
is "check does not foretell what will be removed" "$(grep -c 'removes it' "$T/out")" 0
exec 3>&- 4<&-
wait "$loader"
background=
run 0 "check of a closed store" "$FIRN" check "$DB"
has out "table 999 belongs to no level: a crash left it; the next open for writing removes it"
run 0 "lost --remove" "$FIRN" lost "$DB" --remove
has out "all of ${table##*/}, removed"
has out "; removed 3, "
is "only what firn put there is gone" "$(ls "$DB/lost" | tr '\n' ' ')" \
    "-5 000000000007-8-9-10x 000000000007.tbl 000000000007.tbl-0 000000000007.tbl-01 000000000008.tbl-77 7.tbl-3 letter-1 "
is "and not what a link named" "$(cat "$T/mine")" mine
rm -r "$DB/lost"/*
run 0 "lost --remove of an empty folder" "$FIRN" lost "$DB" --remove
is "removes the folder" "$(ls -d "$DB/lost" 2>/dev/null)" ""
mkdir "$T/elsewhere"
echo x >"$T/elsewhere/000000000007.tbl-3"
ln -s "$T/elsewhere" "$DB/lost"
run 3 "lost is no folder" "$FIRN" lost "$DB" --remove
has err "not a folder"
is "a link in its place is not followed" "$(ls "$T/elsewhere")" 000000000007.tbl-3
run 0 "stat goes on without it" "$FIRN" stat "$DB"
run 0 "check says so" "$FIRN" check "$DB"
has out "note: $DB/lost"
rm "$DB/lost"
mkdir "$T/other"
echo text >"$T/other/letter.txt"
mkdir "$T/other/lost"
echo text >"$T/other/lost/000000000007.tbl-3"
for verb in "lost $T/other --remove" "lost $T/none" "destroy $T/other --yes" "destroy $T/none --yes" "flush $T/none" \
    "compact $T/none" "flush $T/other" "compact $T/other"; do
    # shellcheck disable=SC2086
    run 3 "firn ${verb%% *} of what is no store" "$FIRN" $verb
    has err "hint: "
done
is "another folder is left alone" "$(ls -A "$T/other" "$T/other/lost" | tr '\n' ' ')" \
    "$T/other: letter.txt lost  $T/other/lost: 000000000007.tbl-3 "

# ---- destroy ----
run 2 "destroy wants --yes" "$FIRN" destroy "$DB"
has err "--yes"
is "and removes nothing" "$("$FIRN" get "$DB" live)" 1
name="destroy asks at a terminal"
"$PTY" -i "no
" "$FIRN" destroy "$DB" >"$T/out"
is "another answer than yes is a no" "$?" 2
has out "Type yes"
is "and removes nothing" "$("$FIRN" get "$DB" live)" 1
# By its names only: 12 digits look like a table's, but what is in it is not.
mkdir "$T/like"
echo "a user's own" >"$T/like/000000000001.tbl"
echo "a user's own" >"$T/like/000000000001.wal"
echo "a user's own" >"$T/like/000000000001.manifest"
picture "$T/like" >"$T/before"
run 3 "destroy of files that are called like firn's" "$FIRN" destroy "$T/like" --yes
picture "$T/like" >"$T/after"
same "leaves them alone" "$T/before" "$T/after"
cp -r "$DB" "$T/damaged"
: >"$(find "$T/damaged" -name '*.manifest')"
run 0 "destroy of a damaged store" "$FIRN" destroy "$T/damaged" --yes
is "leaves nothing" "$(ls -d "$T/damaged" 2>/dev/null)" ""
cp -r "$DB" "$T/shared"
echo text >"$T/shared/letter.txt"
ln -s "$T/mine" "$T/shared/000000000123.tbl"
mkdir "$T/shared/lost" "$T/shared/000000000124.tbl"
echo x >"$T/shared/lost/000000000007.tbl-3"
run 0 "destroy of a store with other files" "$FIRN" destroy "$T/shared" --yes
has err "other files are in it"
is "leaves those" "$(ls -A "$T/shared" | tr '\n' ' ')" "000000000124.tbl letter.txt "
is "and what a link named" "$(cat "$T/mine")" mine
ln -s "$DB" "$T/name"
"$PTY" -i "yes
" "$FIRN" destroy "$DB" >"$T/out"
is "the answer yes destroys" "$?" 0
is "all of it" "$(ls -d "$DB" 2>/dev/null)" ""
run 3 "and again there is none" "$FIRN" destroy "$DB" --yes

# ---- JSON ----
"$FIRN" put "$DB" 'a"\x01' 'é\\' || exit 1
is "scan --json" "$("$FIRN" scan "$DB" --json)" '{"key": "a\u0022\u0001", "value": "\u00c3\u00a9\u005c"}'
is "scan --keys --json" "$("$FIRN" scan "$DB" --json --keys)" '{"key": "a\u0022\u0001"}'
is "get --json" "$("$FIRN" get "$DB" --json 'a"\x01')" '{"key": "a\u0022\u0001", "value": "\u00c3\u00a9\u005c"}'
is "count --json" "$("$FIRN" count "$DB" --json)" '{"count": 1}'
is "count --about --json" "$("$FIRN" count "$DB" --about --json)" '{"about": 1, "bytes": 6}'
is "count --about" "$("$FIRN" count "$DB" --about)" "about 1 keys, which take 6 bytes"
is "count --about of nothing" "$("$FIRN" count "$DB" --about --from b)" "about 0 keys, which take 0 bytes"
run 2 "count --about --limit" "$FIRN" count "$DB" --about --limit 1
has err "takes no --limit"
is "repair --json" "$("$FIRN" repair "$DB" --json | tail -n 1 | cut -c 1-28)" '{"losses": 0, "tables": 0, "'
if command -v python3 >/dev/null; then
    for verb in "scan $DB --json" "get $DB --json a\"\\x01" "count $DB --json" "count $DB --about --json" "wal $DB --json" "lost $DB --json" "repair $DB --json"; do
        # shellcheck disable=SC2086
        run 0 "firn ${verb%% *} --json reads as JSON" sh -c \
            '"$@" | python3 -c "import json, sys
for line in sys.stdin: json.loads(line)"' sh "$FIRN" $verb
    done
    for verb in stat check; do
        run 0 "firn $verb --json reads as JSON" sh -c '"$1" "$2" "$3" --json | python3 -m json.tool' sh "$FIRN" $verb "$DB"
    done
fi

# ---- Options are refused before anything is touched ----
for set in memory=12 memory=65TiB segment_bytes=1 segment_bytes=2GiB table_bytes=1 filter_bits=65 batch_ms=0 batch_ms=60001 \
    batch_writes=0 durability=often read_only=maybe nothing=1; do
    for verb in "get $DB a" "put $T/fresh a b" "del $DB a" "scan $DB" "count $DB" "dump $DB" "buckets $DB" "stat $DB" "flush $DB" "compact $DB" \
        "repair $DB" "load $T/fresh $T/in.tsv"; do
        # shellcheck disable=SC2086
        run 2 "firn ${verb%% *} --set $set is a wrong use" "$FIRN" $verb --set $set
    done
done
is "and no store is made" "$(ls -d "$T/fresh" 2>/dev/null)" ""
finish
