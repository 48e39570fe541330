# Verbs that show what a store is made of name the bucket, where there is more than the default one.
. "$(dirname "$0")/tap.sh"
BUCKETS=${BUCKETS:-$(dirname "$FIRN")/../tests/firn_buckets}
DB=$T/store
run 0 "a store with buckets is made" "$BUCKETS" "$DB"

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
has err "bucket 2, jobs"
run 0 "scan and count are quiet" "$FIRN" count "$DB"
is "count counts the default bucket" "$(cat "$T/out" "$T/err")" 1

"$FIRN" put "$T/plain" a b
run 0 "stat of a store with the default bucket alone" "$FIRN" stat "$T/plain"
is "names no bucket" "$(grep -c bucket "$T/out")" 0
run 0 "nor for programs" "$FIRN" stat "$T/plain" --json
is "a bucket" "$(grep -c bucket "$T/out")" 0
run 0 "dump of it" "$FIRN" dump "$T/plain"
is "warns of nothing" "$(cat "$T/err")" ""
finish
