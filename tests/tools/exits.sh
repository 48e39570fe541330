# Each kind of failure has its exit code, a line that says what is wrong, and a hint.
. "$(dirname "$0")/tap.sh"
DB=$T/store
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "key%05d\tvalue %d\n", i, i }' >"$T/in.tsv"
"$FIRN" load "$DB" "$T/in.tsv" || exit 1

# 2: usage
run 2 "no verb at all" "$FIRN"
has err "usage: firn VERB"
run 2 "a wrong verb" "$FIRN" laod "$DB"
has err 'did you mean "load"?'
run 2 "a verb that is near to none" "$FIRN" defenestrate "$DB"
has err "hint: "
run 2 "too few arguments" "$FIRN" get "$DB"
has err "usage: firn get DB KEY"
run 2 "too many arguments" "$FIRN" get "$DB" a b
run 2 "an unknown option" "$FIRN" scan "$DB" --form a
has err "--form"
run 2 "an option without its value" "$FIRN" scan "$DB" --from
run 2 "a number that is none" "$FIRN" scan "$DB" --limit ten
has err "--limit takes a number"
run 2 "a batch of nothing" "$FIRN" load "$DB" "$T/in.tsv" --batch 0
run 2 "a wrong durability" "$FIRN" load "$DB" "$T/in.tsv" --durability often
has err "sync, batch or none"
run 2 "a wrong option of the store" "$FIRN" load "$DB" "$T/in.tsv" --set colour=red
run 2 "a wrong value of an option of the store" "$FIRN" stat "$DB" --set memory=lots
run 2 "an option of the store without a value" "$FIRN" stat "$DB" --set memory
run 2 "a wrong escape in a key" "$FIRN" get "$DB" 'a\q'
has err '\q'
run 2 "a wrong escape in a value" "$FIRN" put "$DB" a 'C:\users'
run 2 "a wrong escape in a bound" "$FIRN" scan "$DB" --from '\x4'
run 2 "a key over the limit" "$FIRN" put "$DB" "$(printf '%065536d' 0)" v
has err "65,535"
picture "$DB" >"$T/before"
run 2 "a wrong escape behind a key that is right" "$FIRN" del "$DB" key00000 'a\q'
run 2 "a key over the limit behind one that is right" "$FIRN" del "$DB" key00000 "$(printf '%065536d' 0)"
refused() {
    name="del $2"
    # shellcheck disable=SC2086 # the words of the range
    run 2 "$name" "$FIRN" del "$DB" $2
    has err "firn: $1"
    has err "usage: firn del DB KEY...|RANGE"
}
refused "\`firn del\` needs a store and keys, a range of keys, or --all" ""
refused "\`firn del\` takes keys or a range, not both" "key00000 --from a"
refused "\`firn del\` takes keys or a range, not both" "key00000 --prefix="
refused "\`firn del\` takes keys or a range, not both" "--all key00000"
refused "--all is every key, and takes no --from, --to or --prefix" "--all --to b"
# As with variables of a script that are empty.
for range in --from= --prefix= "--from= --prefix="; do
    refused "every key is within these bounds: --all deletes every key" "$range"
done
for range in --to= "--from= --to=" "--from b --to b" "--from b --to a" "--prefix b --to a" "--prefix b --from c"; do
    refused "no key is within these bounds: they end where they begin, or before" "$range"
done
refused "a bound has 65536 bytes; 65,535 are the most" "--from $(printf '%065536d' 0)"
refused "a bound has 65536 bytes; 65,535 are the most" "--to $(printf '%065536d' 0)"
refused "a bound has 65536 bytes; 65,535 are the most" "--prefix $(printf '%065536d' 0)"
refused "the value of --from has no escape" '--from a\q'
refused "--limit is no option of \`firn del\`" "--from a --limit 1"
run 2 "del without a store" "$FIRN" del
run 2 "del of a range without a store" "$FIRN" del --from a
has err "needs a store"
picture "$DB" >"$T/after"
same "touch nothing" "$T/before" "$T/after"
run 0 "a key at the limit" "$FIRN" put "$T/long" "$(printf '%065535d' 0)" v

# 3: input and output
for verb in "get $T/none a" "get $T/none a --bucket b" "scan $T/none" "count $T/none" "dump $T/none" "buckets $T/none" \
    "drop $T/none b --yes" "stat $T/none" "wal $T/none" \
    "check $T/none" "repair $T/none" "del $T/none a" "del $T/none --all" "put $T/none a b --no-create" \
    "put $T/none a b --no-create --bucket b" "load $T/none $T/in.tsv --no-create"; do
    # shellcheck disable=SC2086 # the words of the command
    run 3 "firn ${verb%% *} on a missing folder" "$FIRN" $verb
    has err "$T/none"
    has err "hint: "
    is "firn ${verb%% *} makes no folder" "$(ls -d "$T/none" 2>/dev/null)" ""
done
echo text >"$T/file"
mkdir "$T/other"
echo text >"$T/other/letter.txt"
for verb in "get $T/file a" "put $T/file a b" "stat $T/file" "wal $T/file" "check $T/file" \
    "get $T/other a" "put $T/other a b" "stat $T/other" "wal $T/other" "check $T/other" \
    "repair $T/file" "repair $T/other"; do
    # shellcheck disable=SC2086
    run 3 "firn ${verb% b} on what is no store" "$FIRN" $verb
    has err "firn: "
done
is "a folder of something else is left alone" "$(ls -A "$T/other")" "letter.txt"
run 3 "an input that is not there" "$FIRN" load "$T/new" "$T/nothing.tsv"
has err "nothing.tsv: No such file"
is "and no store is made for it" "$(ls -d "$T/new" 2>/dev/null)" ""
run 3 "an input that is a folder" "$FIRN" load "$T/new" "$T/other"
for verb in "dump $DB" "scan $DB" "count $DB" "stat $DB" "wal $DB" "help"; do
    # shellcheck disable=SC2086
    "$FIRN" $verb >/dev/full 2>"$T/err"
    is "firn ${verb%% *} notices a full disk behind its output" $? 3
done
name="a full disk"
has err "No space left"
"$FIRN" dump "$DB" -o "$T/no/where" 2>"$T/err"
is "a dump to where no folder is" $? 3
cp "$T/in.tsv" "$T/old.tsv"
# A limit on the size of files: asked for before the kernel would kill the command (SIGXFSZ).
run 3 "a load that may not make files so large" sh -c \
    "ulimit -f 1000; exec \"\$1\" load \"\$2\" \"\$3\"" sh "$FIRN" "$T/room" "$T/in.tsv"
has err "File too large"
has err "hint: raise the limit on file sizes (ulimit -f)"
for verb in "dump $T/large -o $T/large.dump" "dump $T/large" "check $T/large" "put $T/large k v" \
    "repair $T/large" "load $T/large $T/in.tsv"; do
    rm -rf "$T/large" "$T/large.dump"
    "$FIRN" load "$T/large" "$T/in.tsv" 2>/dev/null
    # shellcheck disable=SC2086
    (ulimit -f 20; exec "$FIRN" $verb) >"$T/out" 2>"$T/err"
    code=$?
    is "firn ${verb%% *} lives with a limit on file sizes ($code)" "$((code < 6))" 1
    is "and leaves the store readable" "$("$FIRN" count "$T/large" 2>&1)" \
        "$([ "${verb%% *}" = put ] && [ $code = 0 ] && echo 3001 || echo 3000)"
done
run 0 "works when the limit is gone" "$FIRN" load "$T/room" "$T/in.tsv"
is "and stores everything" "$("$FIRN" count "$T/room")" 3000

# Bad lines: what is before them is stored, and the way on is said.
bad_line() {
    rm -rf "$T/bad"
    head -n 1234 "$T/in.tsv" >"$T/bad.tsv"
    printf '%b\n' "$2" >>"$T/bad.tsv"
    tail -n +1235 "$T/in.tsv" >>"$T/bad.tsv"
    run 3 "$1" "$FIRN" load "$T/bad" "$T/bad.tsv" --ack
    has err "bad.tsv line 1235"
    has err "1,234 lines of the input are stored; go on with --skip 1234"
    is "$1: all lines before it are stored" "$("$FIRN" count "$T/bad")" 1234
    is "$1: and acknowledged" "$(tail -n 1 "$T/out")" "ack 1234"
    awk 'NR != 1235' "$T/bad.tsv" >"$T/mended.tsv"
    run 0 "$1: mended, the load goes on" "$FIRN" load "$T/bad" "$T/mended.tsv" --skip 1234
    "$FIRN" dump "$T/bad" >"$T/bad.dump"
    same "$1: and gives the whole" "$T/in.tsv" "$T/bad.dump"
}
bad_line "a line without a tab" "no tab here"
bad_line "an empty line" ""
bad_line "an unknown escape" 'key\\qx\tvalue'
bad_line "half an escape" 'key\tvalue\\x4'
bad_line "a key over the limit" "$(printf '%070000d' 0)\tvalue"
run 3 "a skip beyond the end" "$FIRN" load "$T/bad" "$T/in.tsv" --skip 3001
has err "only 3,000 lines"
run 0 "a skip to the end" "$FIRN" load "$T/bad" "$T/in.tsv" --skip 3000 --ack
is "acknowledges nothing" "$(cat "$T/out")" ""

# 4: damage
damage() {
    rm -rf "$T/hurt"
    cp -r "$DB" "$T/hurt"
    size=$(stat -c %s "$1")
    printf 'damage damage damage' | dd of="$1" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
}
segment=$(find "$DB" -name '*.wal' | sort | head -n 1)
damage "$T/hurt/${segment##*/}"
run 4 "check of a store with a damaged log" "$FIRN" check "$T/hurt"
has err "offset"
has err "hint: "
has err "\`firn repair\`"
run 4 "wal on a damaged log" "$FIRN" wal "$T/hurt"
has err "damaged"
has err "\`firn repair\`"
has out "  LOST        numbers "
run 4 "wal on a damaged log, for programs" "$FIRN" wal --json "$T/hurt"
has out '{"finding": "LOST", "file": "'
run 4 "opening a damaged log to write" "$FIRN" put "$T/hurt" a b
has err "${segment##*/}"
has err "\`firn repair\`"
run 4 "opening a damaged log to look" "$FIRN" get "$T/hurt" key00001
has err "\`firn repair\`"
cp -r "$T/hurt" "$T/nolog"
rm "$T/nolog/"*.wal
run 4 "opening a store without its log" "$FIRN" get "$T/nolog" key00001
has err "\`firn repair\`"
run 4 "repair of a damaged log loses something" "$FIRN" repair "$T/hurt"
has out "LOST  ${segment##*/}, "
has out "operations "
run 0 "and leaves a clean store" "$FIRN" check -q "$T/hurt"
run 0 "which has nothing to repair" "$FIRN" repair "$T/hurt"
has out "nothing was lost"
run 0 "the store that was copied is well" "$FIRN" check "$DB"

# A store with tables: small segments make a flush.
"$FIRN" load "$T/tables" "$T/in.tsv" --set segment_bytes=16KiB --durability none || exit 1
"$FIRN" put "$T/tables" last one || exit 1
table=$(find "$T/tables" -name '*.tbl' | sort | head -n 1)
if [ -z "$table" ]; then
    fail "small segments make tables" "$(ls "$T/tables")"
else
    pass "small segments make tables"
    cp -r "$T/tables" "$T/tables2"
    size=$(stat -c %s "$table")
    printf 'damage' | dd of="$table" bs=1 seek=$((size / 3)) conv=notrunc 2>/dev/null
    run 4 "check of a store with a damaged table" "$FIRN" check "$T/tables"
    has err "${table##*/}"
    run 4 "dump of a store with a damaged table" "$FIRN" dump "$T/tables" -o "$T/old.tsv"
    same "leaves the older dump as it was" "$T/old.tsv" "$T/in.tsv"
    rm "$T/tables2/${table##*/}"
    run 4 "check of a store that lacks a table" "$FIRN" check "$T/tables2"
    has err "${table##*/}"
    cp -r "$T/tables" "$T/tables3"
    run 4 "repair of a damaged table loses a range of keys" "$FIRN" repair "$T/tables"
    has out "LOST  ${table##*/}, "
    has out "versions of keys from \"key"
    has out " to \"key"
    run 0 "and leaves a clean store" "$FIRN" check -q "$T/tables"
    run 4 "repair of a store that lacks a table" "$FIRN" repair -q "$T/tables2"
    is "prints nothing but the loss" "$(grep -vc LOST "$T/out")" 0
    run 0 "and leaves a clean store" "$FIRN" check -q "$T/tables2"
    run 4 "repair with an option" "$FIRN" repair "$T/tables3" --set compression=zlib
    run 2 "repair with a wrong option" "$FIRN" repair "$T/tables3" --set compression=best
    rm "$T/tables3/"*.manifest
    run 0 "repair of a store without its manifest" "$FIRN" repair "$T/tables3"
    has out "the list of tables was lost"
    run 0 "and leaves a clean store" "$FIRN" check -q "$T/tables3"
fi

# 5: locked
mkfifo "$T/fifo" "$T/acks"
"$FIRN" load "$DB" --batch 1 --ack <"$T/fifo" >"$T/acks" &
loader=$!
background=$loader
exec 3>"$T/fifo" 4<"$T/acks"
printf 'first\tline\n' >&3
read -r _ <&4
run 5 "put into a store that another process has open" "$FIRN" put "$DB" a b
has err "$loader"
has err "hint: "
run 5 "load into it" "$FIRN" load "$DB" "$T/in.tsv"
run 5 "del in it" "$FIRN" del "$DB" key00001
exec 3>&- 4<&-
wait "$loader"
background=
run 0 "the lock ends with its holder" "$FIRN" put "$DB" a b

# 6: in doubt. The loader is killed, and the last bytes that it wrote behind the log, which say how far a sync was started,
# are damaged.
"$FIRN" load "$T/killed" --batch 1 --ack <"$T/fifo" >"$T/acks" &
loader=$!
background=$loader
exec 3>"$T/fifo" 4<"$T/acks"
for i in 1 2 3; do
    printf 'key%s\tvalue\n' "$i" >&3
    read -r _ <&4
done
kill -9 "$loader"
wait "$loader" 2>/dev/null
exec 3>&- 4<&-
background=
run 0 "check of a store whose writer was killed" "$FIRN" check "$T/killed"
is "says so" "$(grep -cx clean "$T/out")" 1
segment=$(find "$T/killed" -name '*.wal' | sort | head -n 1)
last=$(LC_ALL=C grep -obUaP '[^\x00]' "$segment" | tail -n 1 | cut -d : -f 1)
printf '\377' | dd of="$segment" bs=1 seek="$last" conv=notrunc 2>/dev/null
run 6 "check of a log whose end tells nothing" "$FIRN" check "$T/killed"
has out "DOUBT   $segment at offset "
has out "in doubt: the last writes of the log"
is "nor is it called clean" "$(grep -cx clean "$T/out")" 0
run 0 "wal on it" "$FIRN" wal --json "$T/killed"
has out '"may_be_durable": true, "proof": "'
run 6 "the same without a report" "$FIRN" check -q "$T/killed"
cp -r "$T/killed" "$T/killed2"
run 6 "repair of it" "$FIRN" repair "$T/killed2"
has out "in doubt: nothing else was lost"
run 0 "and then nothing is in doubt" "$FIRN" check -q "$T/killed2"
run 0 "opening it cuts that off" "$FIRN" put "$T/killed" key4 value
is "and keeps what is intact" "$("$FIRN" count "$T/killed")" 4
run 0 "and then nothing is in doubt" "$FIRN" check "$T/killed"
is "says so" "$(grep -cx clean "$T/out")" 1

# A reader that goes away is no failure.
"$FIRN" dump "$DB" 2>"$T/err" | head -n 1 >/dev/null
is "dump into head says nothing" "$(cat "$T/err")" ""
(trap '' PIPE; "$FIRN" dump "$DB" 2>"$T/err"; echo $? >"$T/code") | true
is "nor does it fail when the signal is ignored" "$(cat "$T/code" "$T/err")" 0
finish
