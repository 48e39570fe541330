# No text that firn shows gives the terminal a command: control characters, and those that turn the direction of text or
# are not seen, are escaped, whether they come from keys, values, names of files or arguments. What goes into a pipe is the
# data.
. "$(dirname "$0")/tap.sh"
: "${PTY:?set PTY to the path of the terminal}"
DB=$T/store

# Names and bytes of what a terminal must not get: C0, DEL, C1 as UTF-8 and as bytes, bidirectional controls, characters of no
# width, line ends of Unicode, tags, and what is no UTF-8.
cat >"$T/unsafe" <<'EOF'
escape \033[31m
delete \177
alert \007
csi \302\233
c1 \302\205
raw9b \233
raw80 \200
alm \330\234
lrm \342\200\216
rlm \342\200\217
zwsp \342\200\213
zwj \342\200\215
ls \342\200\250
lre \342\200\252
rlo \342\200\256
wj \342\201\240
lri \342\201\246
rli \342\201\247
pdi \342\201\251
bom \357\273\277
shy \302\255
tag \363\240\201\201
overlong \300\200
half \342\200
surrogate \355\240\200
EOF

# Only letters, marks and line ends of ASCII, and é: whatever else is there was not escaped.
harmless() {
    if LC_ALL=C tr -d '\n\t' <"$2" | sed 's/é//g' | LC_ALL=C grep -q '[^ -~]'; then
        fail "$1" "$(od -An -c "$2" | head -5)"
    else
        pass "$1"
    fi
}

on_terminal() { # CODE NAME command...: its output goes to $T/out
    wanted=$1
    name=$2
    shift 2
    TERM=dumb "$PTY" "$@" >"$T/out" 2>"$T/err"
    is "$name: exit code" "$?" "$wanted"
}

# All of them together go through every verb; each alone through one of each kind.
echo "all $(awk '{ printf "%sx", $2 }' "$T/unsafe")" >>"$T/unsafe"
while read -r what bytes; do
    printf "v$bytes" >"$T/value"
    rm -rf "$DB"
    { printf 'k'; printf "$bytes"; printf '\tv'; printf "$bytes"; printf '\n'; } >"$T/line"
    "$FIRN" load "$DB" "$T/line" || fail "load takes $what"
    "$FIRN" scan "$DB" >"$T/piped"
    verbs="scan wal"
    [ "$what" != all ] || verbs="scan scan:--keys scan:--json dump wal wal:--values wal:--json stat check count lost"
    for verb in $verbs; do
        option=${verb#"${verb%%:*}"}
        # shellcheck disable=SC2086 # no option is no word
        on_terminal 0 "$what: firn $verb" "$FIRN" "${verb%%:*}" "$DB" ${option#:}
        harmless "$what: firn $verb is harmless" "$T/out"
    done
    # What a terminal shows still means the same bytes.
    on_terminal 0 "$what: scan" "$FIRN" scan "$DB"
    rm -rf "$DB.2"
    "$FIRN" load "$DB.2" "$T/out"
    "$FIRN" scan "$DB.2" >"$T/again"
    same "$what: what a terminal shows loads as what it was" "$T/again" "$T/piped"
    on_terminal 0 "$what: get --raw" "$FIRN" get "$DB" --raw "k$(printf "$bytes")"
    harmless "$what: get --raw is harmless on a terminal" "$T/out"
    "$FIRN" get "$DB" --raw "k$(printf "$bytes")" >"$T/raw"
    same "$what: and the bytes in a pipe" "$T/raw" "$T/value"
    on_terminal 1 "$what: a key that is not there" "$FIRN" get "$DB" "no$(printf "$bytes")"
    harmless "$what: a missing key is told harmlessly" "$T/out"
    # Names of folders and files, arguments, standard error.
    on_terminal 3 "$what: a folder that is not there" "$FIRN" stat "$T/none$(printf "$bytes")"
    harmless "$what: a missing folder is told harmlessly" "$T/out"
    [ "$what" = all ] || continue
    folder="$T/f$(printf "$bytes")"
    rm -rf "$folder"
    "$FIRN" put "$folder" a b
    on_terminal 0 "$what: stat of a folder" "$FIRN" stat "$folder"
    harmless "$what: a folder's name in stat" "$T/out"
    : >"$folder/odd$(printf "$bytes")"
    on_terminal 0 "$what: check of a folder" "$FIRN" check "$folder"
    harmless "$what: a foreign file's name in check" "$T/out"
    mkdir "$folder/lost"
    : >"$folder/lost/odd$(printf "$bytes")"
    on_terminal 0 "$what: lost" "$FIRN" lost "$folder"
    harmless "$what: a foreign name in lost/" "$T/out"
    for verb in "get $folder.none a" "load $DB $folder.none" "stat $folder.none" "nothing$(printf "$bytes")" \
        "scan $DB --limit 1$(printf "$bytes")" "scan $DB --from \\q$(printf "$bytes")" "stat $DB --set x$(printf "$bytes")=1" \
        "dump $DB -o $folder.none/x" "wal $folder.none"; do
        # shellcheck disable=SC2086
        TERM=dumb "$PTY" "$FIRN" $verb >"$T/out" 2>/dev/null
        harmless "$what: firn ${verb%% *} fails harmlessly" "$T/out"
        # shellcheck disable=SC2086
        "$FIRN" $verb >/dev/null 2>"$T/err"
        harmless "$what: firn ${verb%% *} fails harmlessly into a file, too" "$T/err"
    done
done <"$T/unsafe"

# What is only letters stays readable.
"$FIRN" put "$DB" 'café' 'weiß: דג'
on_terminal 0 "letters of other alphabets" "$FIRN" get "$DB" 'café'
is "stay as they are" "$(cat "$T/out")" 'weiß: דג'
on_terminal 0 "get --raw keeps its lines" "$FIRN" get "$DB" --raw "$("$FIRN" put "$DB" lines 'a\tb\nc\\'; echo lines)"
is "and its tabs" "$(cat "$T/out")" "$(printf 'a\tb\nc\\')"

finish
