# kill9.sh [ROUNDS [SEED]]: SIGKILL at a random moment of a load, again and again.
#
# Each round goes on with a load of unique, ascending keys in batches of B lines, reads its acks, and kills it
# when a random number of them has come. Then, with n the number of lines that the store has:
#   - n is at least what was acknowledged
#   - n is a multiple of B, or the end: no batch is there in part
#   - what is there is the first n lines of the input, byte for byte
#   - the store is clean
# FIRN_LONG=1 makes it 100 rounds.
. "$(dirname "$0")/tap.sh"
ROUNDS=${1:-10}
SEED=${2:-1}
[ -z "${FIRN_LONG:-}" ] || ROUNDS=100
LINES=20000
echo "# $ROUNDS rounds, seed $SEED"

awk -v n=$LINES 'BEGIN {
    for (i = 0; i < n; i++) printf "key%08d\t%d %s\n", i, i * i, substr("the quick brown fox jumps over the lazy dog", 1, i % 44)
}' >"$T/in.tsv"
mkfifo "$T/acks"

# The whole run of chance from one seed: for each round a mode, a batch size, acks to wait for, and turns to spin.
awk -v seed="$SEED" -v rounds="$ROUNDS" 'BEGIN {
    srand(seed)
    split("sync sync batch none", modes, " ")
    split("1 7 50 250", sizes, " ")
    for (i = 0; i < rounds; i++) {
        size = sizes[1 + int(rand() * 4)]
        mode = modes[1 + int(rand() * 4)]
        # The modes that sync in the background acknowledge many batches at once.
        acks = mode == "sync" ? 6000 / size : mode == "batch" ? 10 : 3
        printf "%s %d %d %d %d\n", mode, size, int(rand() * rand() * acks), int(rand() * rand() * 30000), rand() < 0.2
    }
}' >"$T/plan"

round=0
stored=0
batch=
DB=$T/store
while read -r mode size wait_for spin fresh; do
    round=$((round + 1))
    # A store is finished when its input is; and sometimes before. Its batch size stays: n must be a multiple of it.
    if [ "$stored" -ge "$LINES" ] || [ "$fresh" = 1 ] || [ -z "$batch" ]; then
        rm -rf "$DB"
        stored=0
        batch=$size
    fi
    name="round $round (seed $SEED, $mode, batches of $batch from line $stored, killed after $wait_for acks)"
    "$FIRN" load "$DB" "$T/in.tsv" --batch "$batch" --ack --skip "$stored" --durability "$mode" \
        --set segment_bytes=64KiB --set table_bytes=64KiB >"$T/acks" 2>"$T/err" &
    loader=$!
    background=$loader
    exec 4<"$T/acks"
    acked=$stored # what survived before, and was closed since, is as good as acknowledged
    acks=0
    while [ "$acks" -lt "$wait_for" ] && read -r _ n <&4; do
        acked=$n
        acks=$((acks + 1))
    done
    while [ "$spin" -gt 0 ]; do
        spin=$((spin - 1))
    done
    kill -9 "$loader" 2>/dev/null
    wait "$loader" 2>/dev/null
    code=$?
    background=
    # Acks that were on their way when the process died are acks too. A line cut short is none.
    while read -r word n <&4; do
        [ "$word" = ack ] && acked=$n
    done
    exec 4<&-
    if [ "$code" -ne 137 ] && [ "$code" -ne 0 ]; then
        fail "$name" "the load ended with $code" "$(cat "$T/err")"
        break
    fi
    # Killed before the store was there: nothing to look at, and nothing may have been acknowledged.
    if [ "$acked" -eq 0 ] && ! "$FIRN" count "$DB" >"$T/count" 2>"$T/err"; then
        "$FIRN" load "$DB" /dev/null 2>"$T/err"
        is "$name: a store whose creation was killed opens for writing" "$?" 0
    fi
    # The first open after a crash repairs, and takes no line of another command.
    if ! "$FIRN" count "$DB" >"$T/count" 2>"$T/err"; then
        fail "$name: opens for looking" "$(cat "$T/err")"
        break
    fi
    looked=$(cat "$T/count")
    "$FIRN" load "$DB" /dev/null 2>"$T/err"
    is "$name: opens for writing" "$?" 0
    n=$("$FIRN" count "$DB")
    is "$name: looking and writing agree on what survived" "$looked" "$n"
    if [ "$n" -ge "$acked" ]; then
        pass "$name: nothing acknowledged is missing ($n lines, $acked acknowledged)"
    else
        fail "$name: nothing acknowledged is missing" "$n lines are there, $acked were acknowledged"
    fi
    if [ $((n % batch)) -eq 0 ] || [ "$n" -eq "$LINES" ]; then
        pass "$name: no batch is there in part"
    else
        fail "$name: no batch is there in part" "$n lines are no multiple of $batch"
    fi
    head -n "$n" "$T/in.tsv" >"$T/want"
    "$FIRN" dump "$DB" >"$T/dump"
    same "$name: the first $n lines are there, and nothing else" "$T/want" "$T/dump"
    "$FIRN" check "$DB" >"$T/out" 2>&1
    is "$name: the store is clean" "$?" 0
    stored=$n
    if [ "$failures" -gt 0 ]; then
        echo "# again: sh tests/tools/kill9.sh $ROUNDS $SEED"
        tail -n 5 "$T/out" | sed 's/^/# /'
        break
    fi
done <"$T/plan"
finish
