# Each verb does what its help says.
. "$(dirname "$0")/tap.sh"
DB=$T/store

run 0 "help lists the verbs" "$FIRN" help
has out "load"
run 0 "--help does too" "$FIRN" --help
run 0 "version prints a version" "$FIRN" version
has out "firn "
for verb in load get put del scan count dump buckets stat wal check repair lost flush compact drop destroy version help; do
    run 0 "firn $verb --help explains" "$FIRN" $verb --help
    has out "usage: firn $verb"
    cp "$T/out" "$T/help"
    run 0 "firn help $verb says the same" "$FIRN" help $verb
    same "both texts of $verb are one" "$T/out" "$T/help"
done

run 0 "put makes the store" "$FIRN" put "$DB" grape blue
run 0 "put stores a second key" "$FIRN" put "$DB" pear green
run 0 "put replaces" "$FIRN" put "$DB" grape 'dark\tblue\n'
run 0 "get finds" "$FIRN" get "$DB" grape
is "get prints with escapes" "$(cat "$T/out")" 'dark\tblue\n'
"$FIRN" get "$DB" grape --raw >"$T/raw"
printf 'dark\tblue\n' >"$T/want"
same "get --raw prints the bytes alone" "$T/raw" "$T/want"
run 0 "put --raw takes no escapes" "$FIRN" put --raw "$DB" windows 'C:\new'
is "and the backslash stays" "$("$FIRN" get --raw "$DB" windows)" 'C:\new'
printf 'a\000b\n\\' >"$T/bytes"
"$FIRN" put "$DB" bytes - <"$T/bytes"
"$FIRN" get "$DB" bytes --raw >"$T/raw"
same "put - takes standard input byte for byte" "$T/raw" "$T/bytes"
run 0 "a value may begin with a dash behind --" "$FIRN" put "$DB" melon -- -1
is "and is stored" "$("$FIRN" get "$DB" melon)" "-1"
run 0 "an empty key and an empty value are ordinary" "$FIRN" put "$DB" "" ""
is "and are found" "$("$FIRN" get "$DB" "")" ""
run 1 "get of what is not there ends with 1" "$FIRN" get "$DB" nothing
is "and prints nothing" "$(cat "$T/out")" ""
run 0 "del deletes several keys" "$FIRN" del "$DB" "" bytes windows melon never
run 1 "and they are gone" "$FIRN" get "$DB" windows
is "count counts what is left" "$("$FIRN" count "$DB")" 2

D2=$T/letters
i=0
for letter in a b c d e f g h; do
    i=$((i + 1))
    printf '%s\t%s\n%s/x\t%s0\n' $letter $i $letter $i
done | "$FIRN" load "$D2" -
is "load stores all lines" "$("$FIRN" count "$D2")" 16
keys() {
    "$FIRN" scan "$D2" --keys "$@" | tr '\n' ' '
}
is "scan goes in order" "$(keys)" "a a/x b b/x c c/x d d/x e e/x f f/x g g/x h h/x "
is "--reverse goes back" "$(keys --reverse --limit 3)" "h/x h g/x "
is "--from begins at the key" "$(keys --from g)" "g g/x h h/x "
is "--from begins at the next key" "$(keys --from g/a)" "g/x h h/x "
is "--to ends before the key" "$(keys --to b)" "a a/x "
is "--from and --to make a range" "$(keys --from b --to c)" "b b/x "
is "--prefix takes what begins with it" "$(keys --prefix c)" "c c/x "
is "--prefix and --from agree on the later start" "$(keys --prefix c --from c/)" "c/x "
is "--prefix and --to agree on the earlier end" "$(keys --prefix c --to c/)" "c "
is "--limit 0 prints nothing" "$(keys --limit 0)" ""
is "an empty range prints nothing" "$(keys --from h/y)" ""
is "a range back is empty when its ends are swapped" "$(keys --from c --to b)" ""
is "--reverse respects both ends" "$(keys --from b --to c --reverse)" "b/x b "
is "count takes the same ends" "$("$FIRN" count "$D2" --prefix d)" 2
is "count takes a limit" "$("$FIRN" count "$D2" --limit 5)" 5
printf '\377\377\t1\n\377\t2\n\376\t3\n' | "$FIRN" load "$D2"
is "a prefix of nothing but 0xff has no end" "$("$FIRN" scan "$D2" --prefix '\xff')" \
    "$(printf '\\xff\t2\n\\xff\\xff\t1')"

# ---- del of ranges: by the ends of scan, each on a copy ----
# What is left behind `firn del` with these options.
left() {
    rm -rf "$T/less"
    cp -r "$D2" "$T/less"
    if "$FIRN" del "$T/less" "$@" >"$T/out" 2>&1 && [ ! -s "$T/out" ]; then
        "$FIRN" scan "$T/less" --keys | tr '\n' ' '
    else
        echo "not deleted: $(cat "$T/out")"
    fi
}
all=$(keys)
is "del --from and --to: the first key goes, the end stays" "$(keys --to b)$(keys --from d)" "$(left --from b --to d)"
is "del --from goes to the end" "$(keys --to b/x)" "$(left --from b/x)"
is "del --to begins with the first key" "$(keys --from b/x)" "$(left --to b/x)"
is "del --prefix takes what begins with it" "$(keys --to c)$(keys --from d)" "$(left --prefix c)"
is "del --prefix and --from agree on the later start" "$(keys --to c/)$(keys --from d)" "$(left --prefix c --from c/)"
is "del --prefix and --to agree on the earlier end" "$(keys --to c)$(keys --from c/)" "$(left --prefix c --to c/)"
is "del of a prefix without an end" "$(keys --to '\xff')" "$(left --prefix '\xff')"
is "del of a range without keys is no failure" "$all" "$(left --from d/y --to e)"
is "del of a range without an end behind the last key is none either" "$all" "$(left --from '\xff\xff\xff')"
is "del takes escapes in its ends" "$(keys --to '\x61/x')$(keys --from b)" "$(left --from 'a\x2f' --to '\x62')"
is "del --to a key as long as keys may be" "$(keys --from z)" "$(left --to "$(printf '%065535d' 0 | tr 0 z)")"
is "del --all leaves nothing" "" "$(left --all)"
run 0 "what is stored behind a range delete" "$FIRN" put "$T/less" b again
run 0 "stays" "$FIRN" get "$T/less" b
is "with its value" "$(cat "$T/out")" again
run 1 "and brings nothing back" "$FIRN" get "$T/less" b/x
is "what is left behind a range delete" "$(keys --to b)$(keys --from c)" "$(left --prefix b)"
"$FIRN" scan "$T/less" >"$T/want"
run 0 "is in a dump" "$FIRN" dump "$T/less"
same "and nothing else is" "$T/out" "$T/want"
run 0 "a range delete goes to a table" "$FIRN" flush "$T/less"
run 0 "and counts as one deletion" "$FIRN" stat "$T/less" --json
has out '"level_deletes": [1, 0'
has out '"level_range_deletes": [1, 0'
run 0 "which is of a range" "$FIRN" stat "$T/less"
has out "of ranges"
is "in the table of levels" "$(awk '$1 == "all" { print $(NF - 1), $NF }' "$T/out")" "1 1"
"$FIRN" dump "$T/less" >"$T/out"
same "the dump stays the same" "$T/out" "$T/want"
run 0 "and the store is clean" "$FIRN" check "$T/less"

# What the log says of them.
D3=$T/ranges
long=$(printf '%0100d' 0)
"$FIRN" put "$D3" a 1 || exit 1
for range in "--from b --to d" "--from \\x09" "--to b" "--prefix \\xff" "--all" "--prefix $long"; do
    # shellcheck disable=SC2086 # the words of the range
    run 0 "del $range" "$FIRN" del "$D3" $range
done
run 0 "wal shows the ends of a range delete" "$FIRN" wal "$D3"
has out "| 2 del-range from b to d"
is "a range without an end" "$(grep -c '| 3 del-range from \\t$' "$T/out")" 1
is "one without a start" "$(grep -c '| 4 del-range to b$' "$T/out")" 1
is "a prefix without an end" "$(grep -c '| 5 del-range from \\xff$' "$T/out")" 1
is "all keys" "$(grep -c '| 6 del-range all keys$' "$T/out")" 1
is "long ends are cut" "$(grep -c '| 7 del-range from 0\{32\}\.\.\. to 0\{32\}\.\.\.$' "$T/out")" 1
run 0 "wal --values shows all of them" "$FIRN" wal "$D3" --values
has out "| 7 del-range from $long to ${long%0}1"
is "but never an end that stands for none" "$(grep -c '| 6 del-range all keys$' "$T/out")" 1
run 0 "wal --json has the ends, too" "$FIRN" wal "$D3" --json
has out '"seq": 2, "durable_seq": 1, "op": "del-range", "from": "b", "to": "d"}'
has out '"op": "del-range", "from": "\u0009", "to": null}'
has out '"op": "del-range", "from": "", "to": "b"}'
has out '"op": "del-range", "from": "", "to": null}'
run 0 "del up to the longest key of all" "$FIRN" del "$D3" --to "$(printf '%065535d' 0 | tr 0 '\377')"
is "has an end in the log" "$("$FIRN" wal "$D3" | grep -c '| 8 del-range to \(\\xff\)\{32\}\.\.\.$')" 1

run 0 "dump -o writes a file" "$FIRN" dump "$D2" -o "$T/dump.tsv"
"$FIRN" dump "$D2" >"$T/dump2.tsv"
same "and it is what dump prints" "$T/dump.tsv" "$T/dump2.tsv"
is "and leaves nothing beside it" "$(ls "$T" | grep -c part)" 0

run 0 "stat shows the store" "$FIRN" stat "$D2"
has out "newest write"
has out "writers held back"
run 0 "stat --json is an object" "$FIRN" stat "$D2" --json
has out '"last_seq": 19'
has out '"stall_us": 0'
has out '"waiting_for": "none"'
run 0 "wal draws the frames" "$FIRN" wal "$D2"
has out "SEAL"
has out "commit of 3"
has out "put a = 1"
run 0 "wal --values shows all" "$FIRN" wal "$D2" --values
has out "put h/x = 80"
run 0 "wal --json prints objects" "$FIRN" wal "$D2" --json
has out '"op": "put", "key": "a", "value": "1"'
run 0 "check finds the store clean" "$FIRN" check "$D2"
has out "clean"

# What only looks changes nothing, not even a time stamp, beside a writer and without one.
looks() {
    picture "$1" >"$T/before"
    for verb in "get $1 a" "scan $1" "count $1" "dump $1" "buckets $1" "stat $1" "wal $1" "check $1" \
        "scan $1 --json" "count $1 --json" "buckets $1 --json" "stat $1 --json" \
        "wal $1 --json" "check $1 --json" "lost $1" "lost $1 --json"; do
        # shellcheck disable=SC2086 # the words of the command
        "$FIRN" $verb >/dev/null 2>"$T/err"
        code=$?
        picture "$1" >"$T/after"
        same "firn ${verb%% *} changes nothing ($2)" "$T/before" "$T/after"
        is "firn ${verb%% *} works ($2)" "$code" 0
    done
}
looks "$D2" "closed"
mkfifo "$T/in" "$T/acks"
"$FIRN" load "$D2" --batch 1 --ack <"$T/in" >"$T/acks" &
loader=$!
background=$loader
exec 3>"$T/in" 4<"$T/acks"
printf 'live\t1\n' >&3
read -r _ <&4
# The log proves its last sync by itself once it is idle: looking must not disturb that, nor be blamed for it.
is "a reader sees what a live writer has stored" "$("$FIRN" get "$D2" live)" 1
for verb in "scan $D2" "count $D2" "dump $D2" "buckets $D2" "stat $D2" "wal $D2"; do
    # shellcheck disable=SC2086
    run 0 "firn ${verb%% *} works beside a writer" "$FIRN" $verb
done
exec 3>&-
wait "$loader"
is "the writer was not disturbed" $? 0
background=
is "and stored its line" "$("$FIRN" get "$D2" live)" 1
finish
