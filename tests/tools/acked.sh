# What `load --ack` says, when it says it, and what an interrupt leaves.
. "$(dirname "$0")/tap.sh"
awk 'BEGIN { for (i = 0; i < 1050; i++) printf "key%05d\tvalue %d\n", i, i }' >"$T/in.tsv"

"$FIRN" load "$T/a" "$T/in.tsv" --batch 100 --ack >"$T/acks"
for n in 100 200 300 400 500 600 700 800 900 1000 1050; do
    echo "ack $n"
done >"$T/want"
same "each batch is acknowledged in turn, the last one short" "$T/want" "$T/acks"
"$FIRN" load "$T/a" "$T/in.tsv" --batch 100 --ack --skip 850 >"$T/acks"
printf 'ack 950\nack 1050\n' >"$T/want"
same "acks count the lines that were skipped" "$T/want" "$T/acks"
for mode in batch none; do
    "$FIRN" load "$T/$mode" "$T/in.tsv" --batch 100 --ack --durability $mode >"$T/acks"
    is "durability $mode acknowledges everything at the end" "$(tail -n 1 "$T/acks")" "ack 1050"
    is "durability $mode acknowledges in order" "$(sort -n -k 2 -c "$T/acks" 2>&1)" ""
    is "durability $mode stores everything" "$("$FIRN" count "$T/$mode")" 1050
done
is "without --ack nothing is printed" "$("$FIRN" load "$T/quiet" "$T/in.tsv" 2>&1)" ""
is "an empty input acknowledges nothing" "$("$FIRN" load "$T/empty" --ack </dev/null)" ""
is "and makes an empty store" "$("$FIRN" count "$T/empty")" 0
is "a batch ends where the input does" "$(printf 'a\t1' | "$FIRN" load "$T/short" --ack)" "ack 1"

# An ack comes when the batch is durable, not when the next one begins.
mkfifo "$T/fifo" "$T/acks.fifo"
start_loader() {
    "$FIRN" load "$1" --batch 2 --ack <"$T/fifo" >"$T/acks.fifo" 2>"$T/err" &
    loader=$!
    background=$loader
    exec 3>"$T/fifo" 4<"$T/acks.fifo"
}
start_loader "$T/live"
printf 'a\t1\nb\t2\n' >&3
read -r line <&4
is "an ack does not wait for more input" "$line" "ack 2"
is "what is acknowledged can be read" "$("$FIRN" get "$T/live" b)" 2

# An interrupt: the lines that were read are stored, and the way on is said. The reader may have the third line
# already or not: both are right, and the message must agree with the store.
printf 'c\t3\n' >&3
kill -INT "$loader"
exec 3>&-
wait "$loader"
code=$?
background=
count=$("$FIRN" count "$T/live")
if [ "$code" -eq 0 ]; then
    # The input ended before the signal was looked at.
    is "an interrupt at the end loses nothing" "$count" 3
else
    is "an interrupt ends with 130" "$code" 130
    name="an interrupt"
    has err "go on with --skip $count"
fi
exec 4<&-

# While it waits for input there is no doubt.
start_loader "$T/waiting"
printf 'a\t1\nb\t2\n' >&3
read -r line <&4
kill -INT "$loader"
wait "$loader"
is "an interrupt while waiting for input ends with 130" $? 130
background=
exec 3>&- 4<&-
name="an interrupt while waiting"
has err "2 lines of the input are stored; go on with --skip 2"
is "and all that was read is stored" "$("$FIRN" count "$T/waiting")" 2
run 0 "and the store is clean" "$FIRN" check -q "$T/waiting"
start_loader "$T/waiting"
printf 'c\t3\nd\t4\n' >&3
read -r line <&4
kill -TERM "$loader"
wait "$loader"
is "a request to end does the same, with 143" $? 143
background=
exec 3>&- 4<&-
is "and stores too" "$("$FIRN" count "$T/waiting")" 4

# The reader of the acks goes away: the load says how far it came.
start_loader "$T/gone"
printf 'a\t1\nb\t2\n' >&3
read -r line <&4
exec 4<&-
printf 'c\t3\nd\t4\n' >&3
exec 3>&-
wait "$loader"
is "acks into a closed pipe are an error" $? 3
background=
name="acks into a closed pipe"
has err "go on with --skip 4"
is "and what they spoke of is stored" "$("$FIRN" count "$T/gone")" 4
finish
