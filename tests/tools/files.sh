# A file that the command writes is replaced as a whole or stays as it was, whatever lies beside it.
. "$(dirname "$0")/tap.sh"
DB=$T/store
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "key%05d\tvalue %d\n", i, i }' >"$T/in.tsv"
"$FIRN" load "$DB" "$T/in.tsv" --durability none || exit 1
mkdir "$T/out.d"
F=$T/out.d/dump.tsv

# A link under the name that older versions wrote to, and links under the target's own name.
echo mine >"$T/mine"
ln -s "$T/mine" "$F.part"
run 0 "dump beside a link of its old temporary name" "$FIRN" dump "$DB" -o "$F"
is "does not follow it" "$(cat "$T/mine")" mine
same "and writes the dump" "$F" "$T/in.tsv"
is "and leaves nothing beside it" "$(ls -A "$T/out.d" | tr '\n' ' ')" "dump.tsv dump.tsv.part "
rm "$F.part" "$F"
ln -s "$T/mine" "$F"
run 0 "dump to a name that is a link" "$FIRN" dump "$DB" -o "$F"
is "replaces the link" "$(stat -c %F "$F")" "regular file"
is "and not what it names" "$(cat "$T/mine")" mine
rm "$F"
ln -s "$T/nothing" "$F"
run 0 "dump to a name that is a dangling link" "$FIRN" dump "$DB" -o "$F"
is "makes no file where it leads" "$(ls "$T/nothing" 2>/dev/null)" ""
ln "$F" "$T/second"
run 0 "dump over a file with a second name" "$FIRN" dump "$DB" -o "$F"
is "gives the name a file of its own" "$(stat -c %h "$F")" 1
is "that only its owner reads" "$(stat -c %a "$F")" 600
(cd "$T/out.d" && "$FIRN" dump "$DB" -o bare.tsv)
same "a bare name is written in the working folder" "$T/out.d/bare.tsv" "$T/in.tsv"
long=$(printf '%0255d' 0)
run 0 "a name of 255 bytes" "$FIRN" dump "$DB" -o "$T/out.d/$long"
rm "$T/out.d/$long" "$T/out.d/bare.tsv"

# What is no plain file is written to as it is.
mkfifo "$T/pipe"
cat "$T/pipe" >"$T/through" &
background=$!
run 0 "dump to a pipe" "$FIRN" dump "$DB" -o "$T/pipe"
wait "$background"
background=
same "gives all of it to the reader" "$T/through" "$T/in.tsv"
is "which stays a pipe" "$(stat -c %F "$T/pipe")" fifo
run 0 "dump to a device" "$FIRN" dump "$DB" -o /dev/null
ln -s /dev/full "$T/full"
run 3 "dump to a full device, through a link" "$FIRN" dump "$DB" -o "$T/full"
has err "No space left"
is "which stays a link" "$(stat -c %F "$T/full")" "symbolic link"
run 3 "dump to a folder" "$FIRN" dump "$DB" -o "$T/out.d"
has err "Is a directory"
run 3 "dump to a name with a slash behind it" "$FIRN" dump "$DB" -o "$T/out.d/x/"
run 3 "dump to a folder that is not there" "$FIRN" dump "$DB" -o "$T/none/x"
is "the folder has what it had" "$(ls -A "$T/out.d")" dump.tsv

# A failure leaves the older file, and nothing beside it.
echo older >"$F"
run 3 "a dump that finds no room" sh -c \
    "trap '' XFSZ; ulimit -f 100; exec \"\$1\" dump \"\$2\" -o \"\$3\"" sh "$FIRN" "$DB" "$F"
is "leaves the older file" "$(cat "$F")" older
is "and nothing beside it" "$(ls -A "$T/out.d")" dump.tsv
for signal in INT TERM HUP; do
    # The store's value is large, so that the dump is still at work when its file is seen.
    [ -d "$T/large" ] || head -c 60000000 /dev/zero | "$FIRN" put "$T/large" zeros - || exit 1
    # A background job of a script ignores SIGINT, unless it is told otherwise.
    setsid "$(command -v env)" --default-signal=$signal "$FIRN" dump "$T/large" -o "$F" &
    dumper=$!
    background=$dumper
    until ls -A "$T/out.d" | grep -q '^\.firn-' || ! kill -0 $dumper 2>/dev/null; do :; done
    kill -$signal $dumper
    wait $dumper
    code=$?
    background=
    is "SIG$signal ends a dump" "$([ $code -gt 128 ] && echo yes)" yes
    is "and leaves the older file" "$(cat "$F")" older
    is "and nothing beside it" "$(ls -A "$T/out.d")" dump.tsv
done
finish
