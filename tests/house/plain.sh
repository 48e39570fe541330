#!/bin/sh
# Plain words: a sentence names its actor, and a thing has the word of the field.
#
#   sh tests/house/plain.sh SOURCE_FOLDER
#
#   P1  No vague actor (whoever, nobody, ...): writer, leader, reader, flusher, caller, opener, program, or "no" and one of them.
#   P2  No invented word: the list below has what to say instead.
#   P3  "Who" begins questions only.
#
# Words are looked for everywhere: in comments, messages, READMEs, and in names, written_like_this or LikeThis. P3 is for text.
set -u
cd "${1:?source folder}" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# Folders and files that are looked at, and those that are not yet.
rooms='README.md CMakeLists.txt base bench cmake engine memtable sstable tests tools wal'
later=''

# word, the same with an "s" behind it; and what to say
cat >"$work/list" <<'EOF'
anybody the actor
anyone the actor
everybody the actor
everyone the actor
nobody the actor
somebody the actor
someone the actor
whoever the actor
whomever the actor
whosoever the actor
bell wakeup
birth creation
born created
bystander what it does
caretaker what it does
chore task
christen create, name
christened created, named
christening creating, naming
company waiters
crowd waiters
dearer costs more
dice random number
dormitory sleeping threads
enemie attackers
enemy attacker
ghost what it is
hammer tries again and again
hammered tried again and again
liar wrong
merciless what it does
mercy what it does
moody what it does
opponent attacker
rang woke, wakeup
ringing waking, wakeup
rung woken, wakeup
sieve filter
siev filter
sprout extend
sprouted extended
story scenario
storie scenarios
stranger foreign file
unborn empty
vandal what it does
vouch is right, proves
vouched is right, proves
vouche is right, proves
EOF

find . -path ./build -prune -o -path ./.git -prune -o -path ./tests/house -prune -o -type f -print | sed 's|^\./||' | sort |
    awk -v rooms="$rooms" -v later="$later" '
        function among(list,   n, i, name) {
            n = split(list, name, " ")
            for (i = 1; i <= n; i++)
                if ($0 == name[i] || index($0, name[i] "/") == 1)
                    return 1
            return 0
        }
        /\.(c|h|sh|cmake|awk|md|list|txt|in|map)$|(^|\/)(run|demo)$/ && among(rooms) && !among(later)' >"$work/files"
[ "$(grep -c . "$work/files")" -gt 50 ] || { echo "only $(grep -c . "$work/files") files: looking at the wrong place"; exit 1; }

# ThisIsAName and this_is_one become words of small letters.
tr '\n' '\0' <"$work/files" | LC_ALL=C xargs -0 awk -v list="$work/list" '
    BEGIN {
        while ((getline line <list) > 0) {
            word = line
            sub(/ .*/, "", word)
            instead[word] = substr(line, length(word) + 2)
        }
    }
    function say(what) { print FILENAME ":" FNR ": " what; bad = 1 }
    function look(text,   n, i, word, part) {
        while (match(text, /[a-z][A-Z]/))
            text = substr(text, 1, RSTART) " " substr(text, RSTART + 1)
        n = split(tolower(text), part, /[^a-z]+/)
        for (i = 1; i <= n; i++) {
            word = part[i]
            if (!(word in instead))
                sub(/s$/, "", word)
            if (!(word in instead))
                continue
            say("\"" part[i] "\"" (instead[word] == "the actor" ? ": name the actor (P1)" : ": say " instead[word] " (P2)"))
        }
    }
    { look($0) }
    /(^|[^A-Za-z0-9_`])Who[ ,]/ && !/\?/ && FILENAME !~ /\.list$/ { say("\"Who\" is no actor (P3)") }
    END { exit bad }'
