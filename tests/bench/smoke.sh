# The whole benchmark on a few records: every workload runs, is checked, and stands in the table and in each export.
# FIRN names the program firn-bench.
. "$(dirname "$0")/../tools/tap.sh"
bench() { "$FIRN" --folder "$T" --engines firn,empty,bare --records 2000 --reads 500 --rounds 2 --recover-mib 1 "$@"; }

everything="fillseq,readseq,seekdeleted,scandeleted/queue/fillbatch,readrandom,deleterandom"
everything="$everything/fillrandom,overwrite,settle,readrandom,readhot,readmissing,readseq,readreverse,seek10,seek100"
everything="$everything,readwhilewriting,compact,readrandom@2,reopen/bulkload,readseq/fillsync@2/recover"
everything="$everything/fillrandom,ycsba,ycsbb,ycsbc,ycsbd,ycsbe,ycsbf/value=4096,fillrandom,readrandom"
run 0 "every workload" bench --details --csv "$T/all.csv" --json "$T/all.json" --plot "$T/plots" --workloads "$everything"
has out "firn / best peer"
for word in $(echo "$everything" | tr ',/' '  '); do
    case $word in
    *=*) ;;
    settle | compact) has out "$word" ;;
    *)
        [ "$(cut -d, -f3,5 "$T/all.csv" | grep -c "^$word.*,firn\$")" -ge 2 ] &&
            pass "$word stands in the CSV, once a round" || fail "$word stands in the CSV, once a round"
        ;;
    esac
done
is "as many fields in each line of the CSV" "$(awk -F, '{ print NF }' "$T/all.csv" | sort -u | wc -l)" 1
is "the JSON ends as it begins" "$(head -c 1 "$T/all.json")$(tail -c 2 "$T/all.json" | tr -d '\n')" "{}"
for chart in ratios rates; do
    is "$chart.svg is whole" "$(head -c 4 "$T/plots/$chart.svg") $(tail -n 1 "$T/plots/$chart.svg")" "<svg </svg>"
done
is "no store is left behind" "$(find "$T" -name '*.wal' | wc -l)" 0

run 0 "by time and not by count" bench --seconds 1 --rounds 1 --workloads fillrandom,readrandom
run 0 "another class" bench --durability D2 --rounds 1 --records 50 --workloads fillrandom
has out "D2"
run 0 "YCSB with another distribution" bench --rounds 1 --distribution uniform --workloads fillrandom,ycsba
run 2 "a workload that is none" bench --workloads fillrandom,fly
has err "fly"
run 2 "an engine that is none" bench --engines firn,berkeley
has err "berkeley"
run 2 "a number that is none" bench --records many
run 2 "a workload on no thread" bench --workloads fillrandom@0
run 2 "a workload on some threads" bench --workloads fillrandom@many
run 2 "an option that a list cannot set" bench --workloads "folder=x,fillrandom"
has err "folder"
run 2 "a value in a list that is none" bench --workloads "fillrandom/value=none,fillrandom"
run 2 "no workload" bench --workloads "/,"
run 2 "no engine" bench --engines ","
run 2 "an option that is none" bench --plots "$T/plots"
run 2 "an option without its value" bench --plot
run 2 "a profile that is none" bench --profile slow
for list in fillrandom,fly fillrandom@0 fillrandom/value=none,fillrandom; do
    "$FIRN" --folder "$T" --workloads "$list" >"$T/out" 2>"$T/err"
    is "$list is refused before anything is measured" "$(grep -c round "$T/err")" 0
done

# ---- options refine the profile ----
quick="100000 records of 16 + 100 bytes (50 % compressible), 100000 reads, 1 thread, 3 rounds"
begins() { # NAME TEXT options...: what the run says at its beginning; it is ended there
    name=$1 wanted=$2
    shift 2
    "$FIRN" --folder "$T" --engines empty "$@" >"$T/out" 2>"$T/err"
    has out "$wanted"
}
begins "no option: the quick profile" "$quick"
begins "a chart: the quick profile" "$quick" --plot "$T/charts"
begins "one option: the quick profile, refined" "100000 records of 16 + 100 bytes (50 % compressible), 7 reads" --reads 7
begins "a profile behind an option keeps it" "500 records of 16 + 100" --records 500 --profile quick
begins "a profile that is cut short" "500 records of 16 + 100" --records 500 --prof=quick
begins "the full profile, refined" "300 records of 16 + 100 bytes (50 % compressible), 1000000 reads" --records 300 \
    --workloads fillrandom --profile full

# ---- what it tells meanwhile, where it was measured ----
run 0 "without a terminal" bench --workloads fillrandom,readrandom
is "each step of each round stands in a line" "$(grep -c '^\[[0-9]*:[0-9][0-9]\] round [12] of 2' "$T/err")" \
    "$(grep -c . "$T/err")"
is "each row, too" "$(grep -c 'firn: readrandom: .* a second' "$T/err")" 2
has out " core"
has out "GiB"
has out "$(uname -r)"
for column in date cpu cores memory_bytes kernel file_system firn_version records rounds whole_rounds; do
    is "the CSV has the column $column" "$(head -n 1 "$T/all.csv" | tr , '\n' | grep -cx "$column")" 1
    is "the JSON has $column" "$(grep -c "\"$column\":" "$T/all.json")" 1
done
for chart in "$T"/plots/*.svg; do
    is "$(basename "$chart") says where and when" "$(grep -c "$(uname -r).*UTC</text>" "$chart")" 1
    is "$(basename "$chart") says of what size" "$(grep -c 'records of 16 + 100 bytes.*2 rounds' "$chart")" 1
done

# ---- where results cannot go is said first ----
touch "$T/file"
for option in --plot --csv --json; do
    run 2 "$option into nowhere" bench $option "$T/file/below" --workloads fillrandom
    is "nothing was measured for $option" "$(grep -c round "$T/err")" 0
done
run 2 "a file for a folder" bench --plot "$T/file" --workloads fillrandom
run 2 "no folder for stores" bench --folder "$T/nowhere" --workloads fillrandom
echo old >"$T/kept.csv"
run 1 "a run that fails" bench --csv "$T/kept.csv" --workloads fillrandom/readrandom
has out "A failure ended round 1 of 2"
is "what it has measured stands in the CSV" "$(grep -c ',fillrandom,' "$T/kept.csv")" 2
run 1 "nothing to measure" bench --engines bare --plot "$T/none" --workloads fillrandom
has out "Nothing was measured"
is "no chart is drawn of nothing" "$(find "$T/none" -name '*.svg' | wc -l)" 0

# ---- an interrupt ----
for signal in INT TERM; do
    rm -f "$T/err"
    "$FIRN" --folder "$T" --engines firn --records 100000 --rounds 30 --csv "$T/cut.csv" --plot "$T/cut" \
        --workloads fillrandom,readrandom,readseq >"$T/out" 2>"$T/err" &
    running=$!
    for _ in $(seq 600); do
        grep -qs "round 2 .*readrandom:" "$T/err" && break
        sleep 0.1
    done
    kill -s $signal "$running"
    wait "$running"
    is "$signal ends it with 130" $? 130
    name=$signal
    has out "Interrupted in round"
    has out "readrandom"
    is "$signal: whole rounds stand in the CSV" "$(grep -c ',readseq,' "$T/cut.csv" | sed 's/^[1-9][0-9]*$/some/')" some
    is "$signal: no store is left behind" "$(find "$T" -name 'firn-bench-*' | wc -l)" 0
    is "$signal: the chart says so" "$(grep -c 'rounds: ended early' "$T/cut/rates.svg")" 1
done
run 1 "reads before there is something to read" bench --workloads readrandom
finish
