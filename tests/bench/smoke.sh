# The whole benchmark on a few records: every workload runs, is checked, and stands in the table and in each export.
# FIRN names the program firn-bench.
. "$(dirname "$0")/../tools/tap.sh"
bench() { "$FIRN" --folder "$T" --engines firn,empty,bare --records 2000 --reads 500 --rounds 2 --recover-mib 1 "$@"; }

everything="fillseq,readseq,seekdeleted,scandeleted/fillbatch,readrandom,deleterandom"
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
run 1 "reads before there is something to read" bench --workloads readrandom
finish
