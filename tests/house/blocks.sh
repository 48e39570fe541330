#!/bin/sh
# The blocks of the READMEs are what they say they are, and each command in a README is run by some test.
#
#   sh tests/house/blocks.sh SOURCE_FOLDER
#
#   B1  What stands behind a block's ``` is one of the forms that tests/house/blocks.awk names.
#   B2  A block that is not run has no line that looks like a command.
#   B3  The lines of a block of:FILE stand in that file.
#   B4  A block that `needs` a tool uses it.
#   B5  A command between backticks is also a line of a block that is run, or an exercise's, or one that .ci/run runs.
#       `firn VERB` names a verb; one with a word in CAPITALS describes commands.
#   B6  The packages that the README of the project lists are those that tests/run installs.
#   B7  What a block leaves to the script of a test (by:SCRIPT) stands there: what is behind the program's name.
set -u
cd "${1:?source folder}" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
tab=$(printf '\t')

find . -path ./build -prune -o -path ./.git -prune -o -name README.md -print | sed 's|^\./||' | sort >"$work/readmes"
[ -s "$work/readmes" ] || { echo "there is no README.md"; exit 1; }
while read -r readme; do
    awk -f tests/house/blocks.awk "$readme" | sed "s|^|$readme$tab|"
done <"$work/readmes" >"$work/records"
sed -n 's/^const verb verb_.*\.name = "\([a-z]*\)".*/\1/p; s/^ *\.name = "\([a-z]*\)",$/\1/p' tools/*.c >"$work/verbs"
cat tests/mutants/exercises.list 2>/dev/null | sed -n 's/^mutant: exercise \([^ ]*\) .*/sh tests\/mutants\/run '"'exercise \1'"'/p' >"$work/others"
sed -n 's/^by: \([^ ]*\) \(..*\)$/FIRN_TEST='"'\2' sh tests\/run -R '\1\$'"'/p; s/^by: \([^ ]*\)$/sh tests\/run -R '"'\1\$'"'/p' \
    tests/mutants/exercises.list >>"$work/others" 2>/dev/null
sed -n 's/^run_script \([^ ]*\) .*/sh \1/p' .ci/run >>"$work/others" 2>/dev/null

awk -F '\t' '
    function say(what) { print $1 ":" $3 ": " what; bad = 1 }
    function command_of(text) { sub(/ +#.*$/, "", text); gsub(/^ +| +$/, "", text); return text }
    FILENAME ~ /verbs$/ { verb[$1] = 1; next }
    FILENAME ~ /others$/ { run[$0] = 1; next }
    FNR == 1 { pass++ }
    # First the commands that are run, then all the rest.
    pass == 1 {
        if ($2 == "block") shell = $4 == "sh"
        if ($2 == "line" && shell) run[command_of($4)] = 1
        next
    }
    $2 == "open" { say("a block does not end (B1)") }
    $2 == "block" {
        blocks++
        kind = $4; needs = 0; of = ""; by = ""; uses = ""
        n = split($5, word, " ")
        if (kind == "sh") {
            for (i = 1; i <= n; i++)
                if (word[i] ~ /^needs:[a-z0-9_-]+$/) need[++needs] = substr(word[i], 7)
                else if (word[i] ~ /^by:tests\/[a-z]+\/[a-z_]+\.sh$/) by = substr(word[i], 4)
                else if (word[i] != "long") say("\"" word[i] "\" says nothing about commands (B1)")
        } else if (kind == "c" || kind == "cmake") {
            if (n != 1) say("a program wants a name, or of:FILE (B1)")
            else if (word[1] ~ /^of:/) of = substr(word[1], 4)
            if (of != "") {
                delete have
                while ((getline text <of) > 0) have[command_of_source(text)] = 1
                close(of)
            }
        } else if ((kind != "-" && kind != "text" && kind != "hexdump") || n) {
            say("\"" kind " " $5 "\" is no form of a block (B1)")
        }
        next
    }
    function command_of_source(text) {
        sub(/ *\/\*.*\*\/ *$/, "", text); sub(/ +#.*$/, "", text); gsub(/^ +| +$/, "", text)
        return text
    }
    $2 == "line" && kind == "sh" { uses = uses " " $4 " " }
    $2 == "line" && kind == "sh" && by != "" {
        text = command_of($4)
        sub(/^[^ ]+ +/, "", text)
        found = 0
        while ((getline line <by) > 0) found += index(line, text) > 0
        close(by)
        if (text != "" && !found) say("\"" text "\" is not run by " by " (B7)")
    }
    $2 == "line" && of != "" {
        text = command_of_source($4)
        if (text != "" && !(text in have)) say("\"" text "\" is no line of " of " (B3)")
    }
    $2 == "line" && kind ~ /^(-|text|hexdump)$/ && looks_like_a_command($4) { say("\"" $4 "\" looks like a command (B2)") }
    $2 == "end" && kind == "sh" {
        for (i = 1; i <= needs; i++)
            if (uses !~ ("[^a-z0-9_]" need[i] "[^a-z0-9]") && need[i] != "clang") say("nothing uses " need[i] " (B4)")
    }
    function looks_like_a_command(text) {
        gsub(/^ *(\$ )?/, "", text)
        while (sub(/^[A-Z_]+=[^ ]* /, "", text)) ;
        if (text ~ /^g?cc / && text !~ /\.[co]( |$)/) return 0
        return text ~ /^(sh|bash|cmake|ctest|ninja|make|cc|gcc|clang|c\+\+|g\+\+|git|sudo|apt-get|apt|pip|gcovr|perf|valgrind|strace|gdb|mkdir|export|ldconfig|firn|firn-bench|\.\/[a-z.]+|\.ci\/run|(build|tests|tools|bench)\/[A-Za-z0-9_.\/-]+) [^ =]/ &&
               text !~ /^(tests|tools|bench|build)\/ /
    }
    $2 == "inline" {
        text = $4
        if (text ~ /(^| )[A-Z][A-Z]+( |$)/ || !looks_like_a_command(text)) next
        if (text ~ /^firn [a-z]+$/) {
            named++
            if (!(substr(text, 6) in verb)) say("`" text "` is no verb (B5)")
        } else if (!(text in run)) {
            say("`" text "` is run by no test (B5)")
        }
    }
    END {
        if (!blocks || !named) { print "no blocks, or no verbs: the test looks for the wrong thing"; bad = 1 }
        exit bad
    }' "$work/verbs" "$work/others" "$work/records" "$work/records"
status=$?

wanted=$(sed -n 's/^packages="\(.*\)"$/\1/p' tests/run)
listed=$(sed -n 's/^| \(to build the library\|its tests\).*| `\(.*\)` |$/\2/p' README.md | tr '\n' ' ' | sed 's/ $//')
if [ -f README.md ] && [ -n "$wanted" ] && [ "$wanted" != "$listed" ]; then
    echo "README.md lists the packages \"$listed\", tests/run installs \"$wanted\" (B6)"
    status=1
fi
exit $status
