# What load takes, dump gives back.
. "$(dirname "$0")/tap.sh"

# Every byte value, escaped and in order: as key, and as a value of one and of several bytes.
awk 'BEGIN {
    for (i = 0; i < 256; i++) {
        c = sprintf("\\x%02x", i)
        if (i >= 32 && i < 127 && i != 92) c = sprintf("%c", i)
        if (i == 9) c = "\\t"
        if (i == 10) c = "\\n"
        if (i == 13) c = "\\r"
        if (i == 92) c = "\\\\"
        printf "%s\t%s\n", c, c
        printf "%sk\t<%s%s>\n", c, c, c
    }
}' >"$T/all.tsv"
run 0 "every byte value loads" "$FIRN" load "$T/all" "$T/all.tsv"
"$FIRN" dump "$T/all" >"$T/all.dump"
same "every byte value comes back" "$T/all.tsv" "$T/all.dump"
"$FIRN" dump "$T/all" | "$FIRN" load "$T/again"
"$FIRN" dump "$T/again" >"$T/again.dump"
same "a dump loads into a second store and comes out the same" "$T/all.dump" "$T/again.dump"

awk 'BEGIN { for (i = 0; i < 256; i++) printf "\\x%02X\t\\x%02X\n", i, i }' | "$FIRN" load "$T/hex"
grep -v k "$T/all.tsv" >"$T/single.tsv"
"$FIRN" dump "$T/hex" | grep -v k >"$T/hex.dump"
same "needless escapes come back normalised" "$T/single.tsv" "$T/hex.dump"

printf 'eis\t\346\260\267\nfirn\tGr\303\274\303\237e\ngipfel\t\360\237\217\224\n' >"$T/utf8.tsv"
"$FIRN" load "$T/utf8" "$T/utf8.tsv"
"$FIRN" dump "$T/utf8" >"$T/utf8.dump"
same "UTF-8 stays readable" "$T/utf8.tsv" "$T/utf8.dump"

# Values from nothing to larger than every buffer on the way.
awk 'BEGIN {
    for (n = 0; n < 14; n++) {
        v = ""
        for (i = 0; i < 2 ^ n; i++) v = v sprintf("%d,\\x80\303\274", i)
        printf "size%02d\t%s\n", n, v
    }
}' >"$T/sizes.tsv"
"$FIRN" load "$T/sizes" "$T/sizes.tsv"
"$FIRN" dump "$T/sizes" >"$T/sizes.dump"
same "long values come back" "$T/sizes.tsv" "$T/sizes.dump"

# More than fits one memtable, in no order, twice over, with the store's parts made small.
awk 'BEGIN {
    for (i = 0; i < 20000; i++) printf "%05d\told %d\n", (i * 7919) % 20000, i
    for (i = 0; i < 20000; i += 2) printf "%05d\tnew %d, much longer than it was before\n", (i * 7919) % 20000, i
}' >"$T/many.tsv"
awk -F '\t' '{ v[$1] = $0 } END { for (k in v) print v[k] }' "$T/many.tsv" | sort >"$T/many.want"
run 0 "forty thousand lines load into small tables" "$FIRN" load "$T/many" "$T/many.tsv" \
    --durability none --set segment_bytes=256KiB --set table_bytes=128KiB
"$FIRN" dump "$T/many" >"$T/many.dump"
same "the newest value of each key comes back, in order" "$T/many.want" "$T/many.dump"
"$FIRN" scan "$T/many" --reverse >"$T/many.back"
sort -r "$T/many.want" >"$T/many.want.back"
same "and backwards" "$T/many.want.back" "$T/many.back"
run 0 "and the store is clean" "$FIRN" check -q "$T/many"
finish
