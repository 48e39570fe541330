# The simulation by its command line, and beside real stores. FIRN names the program firn-simulate.
#   simulate_command.sh         small stores
#   simulate_command.sh long    more records of each pattern, and a day of ten terabytes
. "$(dirname "$0")/../tools/tap.sh"
long=${1:-}
simulate() { "$FIRN" "$@"; }
# A real store makes its tables durable, one after the other: in memory that takes no time.
folder=$T
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
    folder=$(mktemp -d /dev/shm/firn-test-XXXXXX)
    trap 'rm -rf "$folder"; cleanup' EXIT
fi
left() { find "$folder" -maxdepth 1 -name 'firn-simulate-*' | wc -l; }
before=$(left)
compare() { simulate --compare --folder "$folder" "$@"; }

if [ -n "$long" ]; then
    # On a disk. A million of this pattern are among what is run without `long`.
    TMPDIR=$T run 0 "10,000,000 records beside a real store" simulate --records 10M --compare
    run 0 "and in little memory" compare --records 1M --memory 8MiB --table-bytes 1MiB
    for pattern in ascending zipf delete; do
        run 0 "1,000,000 records beside a real store: $pattern" compare --records 1M --pattern $pattern
        run 0 "and in little memory: $pattern" compare --records 1M --pattern $pattern --memory 8MiB --table-bytes 1MiB
    done
    run 0 "larger values" compare --records 300K --memory 8MiB --value-bytes 400
    run 0 "without compression" compare --records 500K --memory 8MiB --compression none
    run 0 "with the other one" compare --records 500K --memory 8MiB --table-bytes 1MiB --compression zlib
    run 0 "a day of ten terabytes" simulate --tree-bytes 10TB --hours 24 --rate 5MB --json
    is "level 0 stays below its limit" "$(sed -n 's/.*"level0_worst": \([0-9]*\).*/\1/p' "$T/out" | awk '{ print $1 < 24 }')" 1
    is "no store is left behind" "$(left)" "$before"
    finish
    exit
fi

run 0 "help" simulate --help
for option in records value-bytes memory rate workers pattern tree-bytes hours json compare; do
    has out "--$option "
done
run 0 "a small run" simulate --records 100K --memory 4MiB
has out "write amplification"
has out "space amplification"
has out "longest delay"

has out "debt:"
has out "a seek into"
run 0 "as JSON" simulate --records 1M --memory 4MiB --json
is "it begins and ends as it should" "$(head -c 1 "$T/out")$(tail -c 2 "$T/out" | tr -d '\n')" "{}"
is "as many brackets are closed as opened" "$(tr -cd '[{' <"$T/out" | wc -c)" "$(tr -cd ']}' <"$T/out" | wc -c)"
for field in write_amplification space_amplification get_runs seek_runs debt_worst delay_worst_ms worst_second levels; do
    has out "\"$field\":"
done
cp "$T/out" "$T/first"
run 0 "once more" simulate --records 1M --memory 4MiB --json
same "the same figures" "$T/first" "$T/out"
run 0 "an hour" simulate --tree-bytes 100GB --hours 1 --rate 1MB
has out "in the worst"
has out "in 3600.0 s"

# ---- what is wrong is told, with what is allowed ----
refused() { # WORD option...
    word=$1
    shift
    run 2 "refused: $*" simulate "$@"
    has err "$word"
}
refused "a number of keys" --records many
refused "a number of keys" --records 0
refused "a number of keys" --records -5
refused "a number of keys" --records 5MiB
refused "a number of keys" --records 5Kx
refused "random, ascending, zipf or delete" --pattern sorted
refused "a size" --tree-bytes 5
refused "64TiB" --tree-bytes 100TiB
refused "at most 8760" --hours 0
refused "from 1 to 16" --workers 0
refused "from 2 to 100" --ratio 1
refused "1MiB to 64TiB" --memory 5
refused "auto, none, lz4, zlib" --compression best
refused "see --help" --speed 5
refused "see --help" --records
refused "what is" 5M
refused "the same" --records 5M --tree-bytes 1GiB
refused "when to end" --writes 5M --hours 1
refused "begins empty" --compare --hours 1
refused "begins empty" --compare --tree-bytes 1GiB
refused "at least 16" --compare --key-bytes 8
run 1 "no folder for the real store" simulate --compare --records 1K --folder "$T/nowhere"
has err "$T/nowhere"

# ---- beside a real store ----
run 0 "1,000,000 records beside a real store" compare --records 1M
for figure in "while loading" "into level 1" "bytes of level 1" "runs of a get" "runs of a seek" "debt, on average" "load, at most" merges; do
    has out "$figure"
done
run 0 "a deep tree of ascending keys beside a real store" compare --records 1M --memory 4MiB --table-bytes 512KiB --pattern ascending
for pattern in random zipf; do
    run 0 "a deep tree beside a real store: $pattern" compare --records 150K --memory 4MiB --table-bytes 512KiB --pattern $pattern
done
# Tombstones lead to large jobs: of as few writes as above, three jobs more or less are 15 %.
run 0 "a deep tree beside a real store: delete" compare --records 150K --writes 300K --memory 4MiB --table-bytes 512KiB --pattern delete
# Figures that do not fit are found: these rules are not the real store's.
run 1 "another policy than the real store's" compare --records 150K --memory 4MiB --table-bytes 512KiB --level0-at 20 --level0-most 20 \
    --first-level-bytes 64MiB
has out "too far"
is "no store is left behind" "$(left)" "$before"
finish
