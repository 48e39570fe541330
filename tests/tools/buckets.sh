# The verbs know buckets: the option --bucket, the verbs for buckets, and the bucket's name where a store has more than the default
# one.
. "$(dirname "$0")/tap.sh"
: "${PTY:?set PTY to the path of the terminal}"
DB=$T/store

# ---- The store: tables of three buckets, and entries of each in the log ----
for value in stored logged; do
    run 0 "put in the default bucket ($value)" "$FIRN" put "$DB" plain $value
    run 0 "put in a bucket" "$FIRN" put "$DB" user $value --bucket users
    run 0 "put in a bucket with odd bytes in its name" "$FIRN" put "$DB" job $value --bucket 'jobs\x1b'
    [ $value = logged ] || "$FIRN" flush "$DB" || exit 1
done

run 0 "wal draws it" "$FIRN" wal "$DB" --values
has out "put in bucket 1 user = logged"
has out "put in bucket 2 job = logged"
has out "put plain = logged"
is "the default bucket has no number" "$(grep -c 'in bucket 0' "$T/out")" 0
run 0 "wal --json prints it" "$FIRN" wal "$DB" --json
has out '"op": "put", "bucket": 1, "key": "user"'
is "the default bucket has no number there either" "$(grep -c '"bucket": 0' "$T/out")" 0

run 0 "stat shows it" "$FIRN" stat "$DB"
is "with the tables of each bucket" "$(grep -c '^tables of bucket' "$T/out")" 3
has out "tables of bucket 1, users"
has out 'tables of bucket 2, jobs\x1b'
is "and of all" "$(sed -n '/^tables$/,/^tables of/p' "$T/out" | awk '$1 == "all" { print $2 }')" 3
is "one in each" "$(awk '/^tables of/ { on = 1 } on && $1 == "all" { printf "%s ", $2 }' "$T/out")" "1 1 1 "
run 0 "stat --json shows it" "$FIRN" stat "$DB" --json
has out '{"bucket": 1, "name": "users", "level_tables": [1, 0'
has out '{"bucket": 2, "name": "jobs\u001b", "level_tables": [1, 0'
run 0 "check finds it clean" "$FIRN" check "$DB"
has out "bucket 1, users:"
has out "checked 3 tables"

run 0 "dump prints the default bucket" "$FIRN" dump "$DB"
is "and nothing else" "$(cat "$T/out")" "$(printf 'plain\tlogged')"
has err "bucket 1, users, is not in the dump"
has err 'bucket 2, jobs\x1b, is not in the dump'
has err "hint: \`firn dump DB --bucket NAME\`"
is "with one hint" "$(grep -c hint "$T/err")" 1
run 0 "dump of a bucket" "$FIRN" dump "$DB" --bucket users
is "prints that one" "$(cat "$T/out")" "$(printf 'user\tlogged')"
is "and warns of nothing" "$(cat "$T/err")" ""
run 0 "scan and count are quiet" "$FIRN" count "$DB"
is "count counts the default bucket" "$(cat "$T/out" "$T/err")" 1

"$FIRN" put "$T/plain" a b
run 0 "stat of a store with the default bucket alone" "$FIRN" stat "$T/plain"
is "names no bucket" "$(grep -c bucket "$T/out")" 0
run 0 "nor for programs" "$FIRN" stat "$T/plain" --json
is "a bucket" "$(grep -c '"bucket":' "$T/out")" 0
has out '"buckets": [],'
run 0 "dump of it" "$FIRN" dump "$T/plain"
is "warns of nothing" "$(cat "$T/err")" ""

# ---- buckets ----
is "buckets lists the names, as the command takes them" "$("$FIRN" buckets "$DB" | tr '\n' ' ')" 'users jobs\x1b '
is "buckets --json lists numbers, too" "$("$FIRN" buckets "$DB" --json)" \
    "$(printf '%s\n' '{"bucket": 1, "name": "users"}' '{"bucket": 2, "name": "jobs\u001b"}')"
run 0 "buckets of a store with the default bucket alone" "$FIRN" buckets "$T/plain"
is "prints nothing" "$(cat "$T/out" "$T/err")" ""
"$FIRN" buckets "$DB" >/dev/full 2>"$T/err"
is "buckets notices a full disk behind its output" $? 3
run 2 "buckets takes no name" "$FIRN" buckets "$DB" users

# ---- Each verb works in its bucket, and in no other ----
run 0 "get in a bucket" "$FIRN" get "$DB" user --bucket users
is "finds its key" "$(cat "$T/out")" logged
run 0 "get with odd bytes in the name" "$FIRN" get --bucket '\x6aobs\x1b' "$DB" job
is "finds the key there" "$(cat "$T/out")" logged
run 1 "get in another bucket" "$FIRN" get "$DB" user --bucket 'jobs\x1b'
run 1 "get in the default bucket" "$FIRN" get "$DB" user
run 0 "del in a bucket of a key that the default one has" "$FIRN" del "$DB" plain --bucket users
is "deletes nothing in that" "$("$FIRN" get "$DB" plain)" logged
"$FIRN" put "$DB" second 2 --bucket users || exit 1
is "scan in a bucket" "$("$FIRN" scan "$DB" --bucket users --keys | tr '\n' ' ')" "second user "
is "scan of a range in a bucket" "$("$FIRN" scan "$DB" --bucket users --keys --from t --limit 1)" "user"
is "count in a bucket" "$("$FIRN" count "$DB" --bucket users)" 2
is "count --about in a bucket" "$("$FIRN" count "$DB" --bucket 'jobs\x1b' --about --from k --json)" '{"about": 0, "bytes": 0}'
run 0 "del in a bucket" "$FIRN" del "$DB" second --bucket users
is "deletes there" "$("$FIRN" count "$DB" --bucket users)" 1

# ---- Ranges of a bucket, on a copy ----
cp -r "$DB" "$T/ranges"
"$FIRN" put "$T/ranges" second 2 --bucket users || exit 1
run 0 "del of a range in a bucket" "$FIRN" del "$T/ranges" --from p --to t --bucket users
is "deletes there" "$("$FIRN" scan "$T/ranges" --bucket users --keys)" user
run 0 "del --all in a bucket" "$FIRN" del "$T/ranges" --all --bucket users
is "empties it" "$("$FIRN" count "$T/ranges" --bucket users)" 0
is "and keeps it" "$("$FIRN" buckets "$T/ranges" | tr '\n' ' ')" 'users jobs\x1b '
is "what the default one has stays" "$("$FIRN" get "$T/ranges" plain)" logged
is "and what another one has" "$("$FIRN" get "$T/ranges" job --bucket 'jobs\x1b')" logged
"$FIRN" put "$T/ranges" user again --bucket users || exit 1
run 0 "del --all in the default bucket" "$FIRN" del "$T/ranges" --all
is "empties that" "$("$FIRN" count "$T/ranges")" 0
is "and no other" "$("$FIRN" get "$T/ranges" user --bucket users)" again
run 0 "and leaves a clean store" "$FIRN" check "$T/ranges"
# Without tables, all stays in the log until it is looked at.
"$FIRN" put "$T/log" k v --bucket users && "$FIRN" del "$T/log" --from p --to t --bucket users &&
    "$FIRN" del "$T/log" --all --bucket users || exit 1
run 0 "wal draws range deletes in a bucket" "$FIRN" wal "$T/log"
has out "| 2 del-range in bucket 1 from p to t"
has out "| 3 del-range in bucket 1 all keys"
run 0 "wal --json prints them" "$FIRN" wal "$T/log" --json
has out '"op": "del-range", "bucket": 1, "from": "p", "to": "t"}'

# ---- What load takes, dump gives back, bucket by bucket ----
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "key%05d\tvalue %d\n", i, i }' >"$T/in.tsv"
run 0 "load into a bucket of a new store" "$FIRN" load "$T/new" "$T/in.tsv" --bucket 'two words\n' --ack
is "acknowledges all" "$(tail -n 1 "$T/out")" "ack 3000"
run 0 "dump of it into a file" "$FIRN" dump "$T/new" --bucket 'two words\n' -o "$T/out.tsv"
same "comes back" "$T/in.tsv" "$T/out.tsv"
is "the default bucket stays empty" "$("$FIRN" count "$T/new")" 0
"$FIRN" dump "$T/new" --bucket 'two words\n' | "$FIRN" load "$T/new" --bucket again
"$FIRN" dump "$T/new" --bucket again >"$T/out.tsv"
same "and again from a second bucket" "$T/in.tsv" "$T/out.tsv"
"$FIRN" put "$T/new" key00000 other --bucket again || exit 1
run 0 "which is another one" "$FIRN" get "$T/new" key00000 --bucket 'two words\n'
is "with its own values" "$(cat "$T/out")" "value 0"
head -n 10 "$T/in.tsv" >"$T/ten.tsv"
echo "no tab here" >>"$T/ten.tsv"
run 3 "load of a wrong line into a new bucket" "$FIRN" load "$T/new" "$T/ten.tsv" --bucket third
is "stores what is before it" "$("$FIRN" count "$T/new" --bucket third)" 10

# ---- A bucket that is not there ----
picture "$DB" >"$T/before"
echo older >"$T/older.tsv"
for verb in "get $DB a" "scan $DB" "count $DB" "count $DB --about" "dump $DB" "dump $DB -o $T/older.tsv"; do
    # shellcheck disable=SC2086 # the words of the command
    run 1 "firn $verb in a bucket that is not there" "$FIRN" $verb --bucket 'no\x07ne'
    has err 'firn: there is no bucket of that name: no\x07ne'
    has err "hint: \`firn buckets DB\` lists them"
    is "and prints nothing else" "$(cat "$T/out")$(wc -l <"$T/err")" 2
done
picture "$DB" >"$T/after"
same "the store is left alone" "$T/before" "$T/after"
is "and so is the older dump" "$(cat "$T/older.tsv")" older
for verb in "put $DB a b --no-create" "load $DB $T/in.tsv --no-create" "del $DB a" "del $DB --all" "compact $DB"; do
    # shellcheck disable=SC2086
    run 1 "firn $verb in a bucket that is not there" "$FIRN" $verb --bucket none
    has err "firn: there is no bucket of that name: none"
    has err "hint: \`firn buckets DB\` lists them"
done
run 1 "drop of a bucket that is not there" "$FIRN" drop "$DB" none --yes
has err "firn: there is no bucket of that name: none"
is "none of them makes it" "$("$FIRN" buckets "$DB" | tr '\n' ' ')" 'users jobs\x1b '
run 0 "put --no-create in one that is there" "$FIRN" put "$DB" user logged --bucket users --no-create

# ---- Wrong names ----
long=$(printf '%063d' 0)
for wrong in "" "${long}0" 'a\x00b' 'a\q' '\x4'; do
    for verb in "put $T/fresh a b" "load $T/fresh $T/in.tsv" "get $DB a" "del $DB a" "del $DB --all" "scan $DB" "count $DB" "dump $DB" \
        "compact $DB"; do
        # shellcheck disable=SC2086
        run 2 "firn ${verb%% *} with the name \"$wrong\" is a wrong use" "$FIRN" $verb --bucket "$wrong"
        has err "the bucket's name has "
    done
    run 2 "drop with the name \"$wrong\" is a wrong use" "$FIRN" drop "$DB" "$wrong" --yes
    has err "the bucket's name has "
done
is "and no store is made" "$(ls -d "$T/fresh" 2>/dev/null)" ""
run 0 "the longest name" "$FIRN" put "$T/plain" a b --bucket "$long"
is "is listed" "$("$FIRN" buckets "$T/plain")" "$long"
odd=$(awk 'BEGIN { for (i = 0; i < 63; i++) printf "\\xff" }')
run 0 "the longest name, of bytes that need escapes" "$FIRN" put "$T/plain" a b --bucket "$odd"
run 0 "a dump without it" "$FIRN" dump "$T/plain"
has err "bucket 2, $odd, is not in the dump"
for verb in "flush $DB" "stat $DB" "check $DB" "wal $DB" "destroy $DB --yes" "repair $DB" "lost $DB"; do
    # shellcheck disable=SC2086
    run 2 "firn ${verb%% *} takes no bucket" "$FIRN" $verb --bucket users
done

# ---- compact ----
# How many tables level 0 has, bucket by bucket: "NUMBER:TABLES ..."
level0() {
    "$FIRN" stat "$1" --json |
        sed -n 's/^ *{"bucket": \([0-9]*\), .*"level_tables": \[\([0-9]*\),.*/\1:\2/p' | tr '\n' ' '
}
cp -r "$DB" "$T/one"
"$FIRN" flush "$T/one" || exit 1
before=$(level0 "$T/one")
is "before: tables in level 0 of each bucket" "$(echo "$before" | grep -c ':0')" 0
run 0 "compact of one bucket" "$FIRN" compact "$T/one" --bucket users
is "compacts no other" "$(level0 "$T/one")" "$(echo "$before" | sed 's/1:[0-9]*/1:0/')"
is "and keeps its values" "$("$FIRN" dump "$T/one" --bucket users)" "$(printf 'user\tlogged')"
run 0 "compact of a range" "$FIRN" compact "$T/one" --from p --to q
is "compacts that range in each bucket, where there is any of it" "$(level0 "$T/one" | cut -d ' ' -f 1,2)" "0:0 1:0"
run 0 "compact of all buckets" "$FIRN" compact "$DB"
is "leaves nothing in level 0 of any" "$(level0 "$DB")" "0:0 1:0 2:0 "
is "and keeps the values of each" \
    "$("$FIRN" get "$DB" plain) $("$FIRN" get "$DB" user --bucket users) $("$FIRN" get "$DB" job --bucket 'jobs\x1b')" \
    "logged logged logged"
run 0 "and leaves a clean store" "$FIRN" check "$DB"

# ---- drop ----
run 2 "drop with a wrong option of the store" "$FIRN" drop "$DB" users --yes --set memory=much
run 2 "drop without a name" "$FIRN" drop "$DB" --yes
run 2 "drop wants --yes" "$FIRN" drop "$DB" users
has err "needs --yes"
is "and removes nothing" "$("$FIRN" get "$DB" user --bucket users)" logged
name="drop asks at a terminal"
"$PTY" -i "no
" "$FIRN" drop "$DB" 'jobs\x1b' >"$T/out"
is "another answer than yes is a no" "$?" 2
has out 'remove the bucket jobs\x1b for good? Type yes'
is "and removes nothing" "$("$FIRN" get "$DB" job --bucket 'jobs\x1b')" logged
"$PTY" -i "yes
" "$FIRN" drop "$DB" 'jobs\x1b' >"$T/out"
is "the answer yes drops" "$?" 0
is "that bucket alone" "$("$FIRN" buckets "$DB")" users
run 1 "and again there is none" "$FIRN" drop "$DB" 'jobs\x1b' --yes
run 0 "drop --yes" "$FIRN" drop "$DB" users --yes
is "asks nothing" "$(cat "$T/out" "$T/err")" ""
is "and is the last" "$("$FIRN" buckets "$DB")" ""
is "the default bucket stays" "$("$FIRN" dump "$DB")" "$(printf 'plain\tlogged')"
run 0 "put under a name that was dropped" "$FIRN" put "$DB" a b --bucket users
is "makes another bucket" "$("$FIRN" dump "$DB" --bucket users)" "$(printf 'a\tb')"
is "with a number of its own" "$("$FIRN" buckets "$DB" --json)" '{"bucket": 3, "name": "users"}'
run 0 "and the store is clean" "$FIRN" check "$DB"

# ---- Beside a writer ----
mkfifo "$T/fifo" "$T/acks"
"$FIRN" load "$DB" --bucket live --batch 1 --ack <"$T/fifo" >"$T/acks" &
loader=$!
background=$loader
exec 3>"$T/fifo" 4<"$T/acks"
printf 'first\tline\n' >&3
read -r _ <&4
is "a reader sees the bucket that a live writer has made" "$("$FIRN" get "$DB" first --bucket live)" line
is "and its name" "$("$FIRN" buckets "$DB" | tr '\n' ' ')" "users live "
run 5 "drop beside a writer" "$FIRN" drop "$DB" users --yes
has err "$loader"
exec 3>&- 4<&-
wait "$loader"
is "the writer was not disturbed" $? 0
background=
finish
