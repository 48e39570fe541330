# beside.sh [LOOKS]: looking at a store while another process writes it as fast as it can, with segments and tables so
# small that they come and go all the time.
#
# The input has unique, ascending keys, and is loaded in batches of B. Whatever a reader sees is then the first n lines
# of it, n is a multiple of B, n never falls, and is at least what had been acknowledged before the reader was started.
. "$(dirname "$0")/tap.sh"
LOOKS=${1:-30}
[ -z "${FIRN_LONG:-}" ] || LOOKS=300
LINES=400000
B=20
DB=$T/store
awk -v n=$LINES 'BEGIN { for (i = 0; i < n; i++) printf "key%08d\t%d and some text to make it longer\n", i, i * 7919 % n }' >"$T/in.tsv"

"$FIRN" load "$DB" "$T/in.tsv" --batch $B --ack --durability batch --set segment_bytes=64KiB \
    --set table_bytes=64KiB >"$T/acks" 2>"$T/load.err" &
loader=$!
background=$loader
while [ ! -s "$T/acks" ] && kill -0 "$loader" 2>/dev/null; do :; done

looks=0
last=0
while [ "$looks" -lt "$LOOKS" ] && kill -0 "$loader" 2>/dev/null; do
    looks=$((looks + 1))
    acked=$(tail -n 1 "$T/acks")
    acked=${acked#ack }
    run 0 "look $looks: dump works" "$FIRN" dump "$DB"
    n=$(wc -l <"$T/out")
    head -n "$n" "$T/in.tsv" >"$T/want"
    same "look $looks: $n lines are the first ones of the input" "$T/want" "$T/out"
    is "look $looks: $n lines are whole batches" $((n % B)) 0
    is "look $looks: nothing acknowledged ($acked) or seen before ($last) is missing from $n" \
        $((n >= acked && n >= last)) 1
    last=$n
    run 0 "look $looks: get works" "$FIRN" get "$DB" key00000000
    run 0 "look $looks: stat works" "$FIRN" stat "$DB"
    run 0 "look $looks: wal works" "$FIRN" wal "$DB"
    run 0 "look $looks: check works" "$FIRN" check "$DB"
    [ "$failures" -eq 0 ] || break
done
if [ "$failures" -gt 0 ]; then
    kill -9 "$loader"
else
    wait "$loader"
    is "the writer was not disturbed" $? 0
    is "and stored everything" "$("$FIRN" count "$DB")" $LINES
    run 0 "and left a clean store" "$FIRN" check -q "$DB"
fi
background=
finish
