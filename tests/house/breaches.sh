#!/bin/sh
# The tests of the house can fail: each is run on a small house with one breach of each of its rules.
#
#   sh tests/house/breaches.sh SOURCE_FOLDER CC AR NM
set -u
house=$(cd "${1:?source folder}" && pwd)/tests/house
cc=${2:?compiler}
ar=${3:?ar}
nm=${4:?nm}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failures=0

# A house with two rooms, in order.
build() {
    rm -rf "$work/h"
    mkdir -p "$work/h/cmake" "$work/h/base/include/base" "$work/h/wal/include/firn" "$work/h/tests/house"
    cd "$work/h" || exit 2
    printf 'set(FIRN_ROOMS base wal)\nset(FIRN_ARROWS_base)\nset(FIRN_ARROWS_wal base)\n' >cmake/arrows.cmake
    echo 'int base_open(void);' >base/include/base/base.h
    printf '#include <base/base.h>\nint base_open(void)\n{\n    return 1;\n}\n' >base/base.c
    echo 'int firn_wal(void);' >wal/include/firn/wal.h
    echo 'int wal_inside(void);' >wal/inside.h
    printf '#include <firn/wal.h>\n#include <base/base.h>\n#include "inside.h"\n' >wal/wal.c
    printf 'int wal_inside(void)\n{\n    return 2;\n}\n' >>wal/wal.c
    echo 'See `wal/wal.c`, `wal_inside()`, `base_open`.' >README.md
    printf 'some_other_name\n' >tests/house/others.txt
    printf 'anywhere strlen\nwal/wal.c\n' >tests/house/symbols.txt
    i=0
    while [ $i -lt 60 ]; do
        echo "int filler_$i;" >"base/filler_$i.c"
        i=$((i + 1))
    done
}

# passes|fails TEST WORDS [ARGUMENT...]: the words must stand in the output.
expect() {
    outcome=$1 test=$2 words=$3
    shift 3
    output=$(sh "$house/$test.sh" "$work/h" "$@" 2>&1)
    status=$?
    if { [ "$outcome" = passes ] && [ $status -ne 0 ]; } ||
        { [ "$outcome" = fails ] && { [ $status -eq 0 ] || ! printf '%s' "$output" | grep -q -- "$words"; }; }; then
        echo "$test should say \"$words\" and $outcome; it said ($status): $output"
        failures=$((failures + 1))
    fi
    build
}

# A verb, and the test's own awk.
prepare_blocks() {
    mkdir -p tools && printf '    .name = "get",\n' >tools/verb_get.c && cp "$house/blocks.awk" tests/house/
}

build
expect passes arrows ''
echo '#include <firn/wal.h>' >>base/base.c && expect fails arrows 'which base may not see (A1)'
echo '#include <firn/none.h>' >>wal/wal.c && expect fails arrows 'no room has <firn/none.h> (A2)'
echo '#include "inside.h"' >>base/base.c && expect fails arrows 'does not lie beside it (A3)'
echo '#include "../wal/inside.h"' >>base/base.c && expect fails arrows 'named without a folder (A3)'
sed -i '/base.h/d' wal/wal.c && expect fails arrows 'uses the arrow to base (A4)'

# A room with two floors.
floors() {
    mkdir -p wal/low/include/low wal/high/include/high
    printf 'set(FIRN_FLOORS_wal low high)\nset(FIRN_ARROWS_wal_low)\nset(FIRN_ARROWS_wal_high low)\n' >>cmake/arrows.cmake
    echo 'int low(void);' >wal/low/include/low/low.h
    echo 'int high(void);' >wal/high/include/high/high.h
    printf '#include <base/base.h>\n#include <firn/wal.h>\n#include <low/low.h>\n#include "own.h"\n' >wal/low/low.c
    printf '#include <high/high.h>\n#include <low/low.h>\n' >wal/high/high.c
    echo 'int own(void);' >wal/low/own.h
    rm wal/wal.c wal/inside.h
}
floors && expect passes arrows ''
floors && echo '#include <high/high.h>' >>wal/low/low.c && expect fails arrows '<high/high.h> is of wal/high, which low may not see (A1)'
floors && echo '#include <low/low.h>' >>base/base.c && expect fails arrows '<low/low.h> is of wal/low, which base may not see (A1)'
floors && echo '#include <low/low.h>' >>wal/include/firn/wal.h && expect fails arrows 'which wal may not see (A1)'
floors && echo '#include "own.h"' >>wal/high/high.c && expect fails arrows 'does not lie beside it (A3)'
floors && echo '#include "../low/own.h"' >>wal/high/high.c && expect fails arrows 'named without a folder (A3)'
floors && sed -i '/low.h/d' wal/high/high.c && expect fails arrows 'no file of wal/high uses the arrow to wal/low (A4)'
floors && echo 'int roof;' >wal/roof.c && expect fails arrows 'wal/roof.c: lies on no floor of wal (A5)'
floors && sed -i 's/wal_low)/wal_low high)/' cmake/arrows.cmake && expect fails arrows 'low may not see high, which is not below it (A6)'
floors && sed -i 's/low/base/; s/low/base/' cmake/arrows.cmake && mkdir wal/base && expect fails arrows 'base is the name of two places (A6)'

# What the compiler is told by cmake/firn.cmake: arrow WORDS: the house does not build, because of WORDS; "": it does.
small_build() {
    rm base/filler_*.c && cp "$house/../../cmake/firn.cmake" cmake/
    printf '%s\n' 'cmake_minimum_required(VERSION 3.21)' 'project(small C)' 'add_library(firn_options INTERFACE)' \
        'include(cmake/firn.cmake)' 'file(GLOB base ${PROJECT_SOURCE_DIR}/base/*.c)' 'firn_room(base ${base})' \
        'file(GLOB wal ${PROJECT_SOURCE_DIR}/wal/*/*.c)' 'firn_room(wal ${wal})' >CMakeLists.txt
}
# The build's folder stays, so that the compiler is looked at once; the sources are new each time.
arrow() {
    small_build && cmake -S . -B "$work/out" -DCMAKE_C_COMPILER="$cc" >out.txt 2>&1 && cmake --build "$work/out" >>out.txt 2>&1
    status=$?
    if { [ -z "$1" ] && [ $status -ne 0 ]; } || { [ -n "$1" ] && { [ $status -eq 0 ] || ! grep -q -- "$1" out.txt; }; }; then
        echo "building should say \"$1\"; it said ($status): $(cat out.txt)"
        failures=$((failures + 1))
    fi
    build
}
floors && arrow ''
floors && echo '#include <high/high.h>' >>wal/low/low.c && arrow 'high/high.h: No such file\|high/high.h. file not found'
floors && echo '#include <own.h>' >>wal/high/high.c && arrow 'own.h: No such file\|own.h. file not found'
floors && echo '#include <low/low.h>' >>base/base.c && arrow 'low/low.h: No such file\|low/low.h. file not found'
floors && echo '#include <firn/wal.h>' >>base/base.c && arrow 'firn/wal.h: No such file\|firn/wal.h. file not found'

expect passes readmes ''
echo '`wal/gone.c`' >>README.md && expect fails readmes 'is no file (R1)'
echo '`gone()`' >>README.md && expect fails readmes 'is no function (R2)'
echo '`gone_by_now`' >>README.md && expect fails readmes 'no source file has (R2)'
echo '`ATestThatWent`' >>README.md && expect fails readmes 'is no test (R3)'
echo '`some_other_name` and `verb_NAME.c`' >>README.md && expect passes readmes ''

# A block is what it says it is, and what looks like a command is run.
blocks() { printf '%s\n' "$@" >>README.md; }
blocks '```sh' 'sh tests/run -R wal' '```' '`sh tests/run -R wal`' '`firn get`' && prepare_blocks && expect passes blocks ''
blocks '```shell' 'true' '```' '`firn get`' && prepare_blocks && expect fails blocks 'is no form of a block (B1)'
blocks '```sh sometimes' 'true' '```' '`firn get`' && prepare_blocks && expect fails blocks 'says nothing about commands (B1)'
blocks '```c' 'int x;' '```' '`firn get`' && prepare_blocks && expect fails blocks 'a program wants a name'
blocks '```sh' 'true' && prepare_blocks && expect fails blocks 'does not end (B1)'
blocks '```' 'cmake --preset x' '```' '`firn get`' && prepare_blocks && expect fails blocks 'looks like a command (B2)'
blocks '```text' 'FIRN_TEST=a sh tests/run' '```' '`firn get`' && prepare_blocks && expect fails blocks 'looks like a command (B2)'
blocks '```c of:wal/wal.c' 'int nothing;' '```' '`firn get`' && prepare_blocks && expect fails blocks 'is no line of wal/wal.c (B3)'
blocks '```sh needs:perf' 'true' '```' '`firn get`' && prepare_blocks && expect fails blocks 'nothing uses perf (B4)'
blocks '```sh by:tests/wal/one.sh' 'firn get --much' '```' '`firn get`' && prepare_blocks && mkdir -p tests/wal &&
    echo 'run firn get --much' >tests/wal/one.sh && expect passes blocks ''
blocks '```sh by:tests/wal/one.sh' 'firn get --much' '```' '`firn get`' && prepare_blocks && expect fails blocks 'is not run by tests/wal/one.sh (B7)'
blocks '`sh tests/run -R wal`, and `firn get`' '```sh' 'true' '```' && prepare_blocks && expect fails blocks 'is run by no test (B5)'
blocks 'a command that goes on `sh tests/run' '-R wal`, and `firn get`' && prepare_blocks && expect fails blocks 'is run by no test (B5)'
blocks '`firn got`' '```sh' 'true' '```' && prepare_blocks && expect fails blocks 'is no verb (B5)'
blocks '`firn get`' '```sh' 'true' '```' && prepare_blocks && echo 'packages="gcc lz4"' >tests/run &&
    expect fails blocks 'tests/run installs "gcc lz4" (B6)'

# An exercise has its command, its mutant, and a test.
exercise() {
    mkdir -p tests/mutants tests/wal && cp "$house"/../mutants/*.awk tests/mutants/
    echo 'static void it_holds(void **state)' >tests/wal/test_one.c
    printf 'mutant: exercise wal 1: two is one\nin: wal wal_inside\nby: wal.one it_*\n- return 2;\n+ return 1;\n' >tests/mutants/exercises.list
    printf '%s\n' '## Exercises' "\`sh tests/mutants/run 'exercise wal'\`" '1. Break it.' \
        "   \`FIRN_TEST='it_*' sh tests/run -R 'wal.one\$'\`" >wal/README.md
}
exercise && expect passes exercises ''
exercise && sed -i 's/it_\*. sh/all. sh/' wal/README.md && expect fails exercises '(X1, X2)'
exercise && echo '2. Break more.' >>wal/README.md && expect fails exercises 'exercise 2 of wal has no mutant (X1)'
exercise && sed -i 's/return 2/return 3/' wal/wal.c && expect fails exercises 'wal_inside in wal/wal.c has no: return 2; (X3)'
exercise && sed -i 's/return 2/return      2/' wal/wal.c && mv wal/wal.c wal/other.c && expect passes exercises ''
exercise && sed -i 's/wal_inside/wal_within/' wal/wal.c && expect fails exercises 'there is no wal_inside in wal (X3)'
exercise && cp wal/wal.c wal/other.c && expect fails exercises 'wal_inside in wal/other.c, wal/wal.c has 2 times: return 2; (X3)'
exercise && sed 's/return 2/return 3/' wal/wal.c >wal/other.c && expect passes exercises ''
exercise && sed -i 's/return 2/return 2; return 2/' wal/wal.c && expect fails exercises 'has 2 times: return 2; (X3)'
exercise && sed -i 's/return 2/return 2; return 2/' wal/wal.c && sed -i 's/^- /-2nd /' tests/mutants/exercises.list && expect passes exercises ''
exercise && sed -i 's/it_holds/nothing/' tests/wal/test_one.c && expect fails exercises 'no test it_\* in tests/wal/test_one.c (X4)'
exercise && sed -i '/mutants.run/d' wal/README.md && expect fails exercises '(X5)'

# Words.
glossary() {
    printf '## Words\n\n| word | meaning |\n|---|---|\n' >base/README.md
    for word in bucket compaction entry filter floor frame job keeper level life manifest mem memtable run segment snapshot table \
        timeline tombstone version '`version`' view; do
        echo "| $word | what it is, beside *entries* |"
    done >>base/README.md
}
glossary && expect passes glossary ''
glossary && sed -i 's/^| bucket/| zebra/' base/README.md && expect fails glossary 'not in order'
glossary && for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do echo "| z$n | |"; done >>base/README.md &&
    expect fails glossary 'has 41 words'
glossary && sed -i 's/\*entries\*/*orphans*/' base/README.md && expect fails glossary '\*orphans\* has no line (L2)'
glossary && echo '[x](README.md#gone)' >>base/README.md && expect fails glossary 'leads nowhere (L3)'
glossary && sed -i '/^| keeper/d' base/README.md && expect fails glossary 'keeper is not among'

expect passes words ''
echo '/* TO''DO: more */' >>wal/wal.c && expect fails words 'wal.c:8: something is left for later (H1)'
echo '/* a place''holder */' >>wal/wal.c && expect fails words 'left for later (H1)'
awk 'BEGIN { for (i = 0; i < 801; i++) print "int v" i ";" }' >wal/long.c && expect fails words '(H2)'
awk 'BEGIN { print "int f(void)\n{"; for (i = 0; i < 71; i++) print "    f();"; print "}" }' >wal/long.c &&
    expect fails words 'a function of 71 lines (H3)'
printf 'int x; \n' >>wal/wal.c && expect fails words 'blanks at the end (H4)'
printf '/* %0100d */\n' 0 >>wal/wal.c && expect fails words 'wal.c:8: a line of 106 columns (H5)'
printf '/* %094d */\n' 0 >>wal/wal.c && expect passes words ''
printf 'int y;' >>wal/wal.c && expect fails words 'does not end in a newline (H4)'

# A queue whose fields two mutexes guard; its entries belong to the first. Each breach is one more function, or line.
guarded() {
    rm base/filler_*.c wal/wal.c
    cp "$house/../../base/include/base/thread.h" base/include/base/
    printf '%s\n' '#include <base/thread.h>' 'MUTEX_KIND(queue_mu);' \
        'typedef struct entry { struct entry *next GUARDED_BY(queue_mu); } entry;' \
        'typedef struct queue { MUTEX_MEMBER(queue_mu); cond given; entry *first GUARDED_BY(queue_mu);' \
        'MUTEX(sums_mu); int sums[2] GUARDED_BY(sums_mu); } queue;' >base/include/base/queue.h
    printf '%s\n' '#include <base/queue.h>' 'static entry *take(queue *q) REQUIRES(q->queue_mu)' \
        '{ entry *e = q->first; q->first = e->next; return e; }' \
        'static entry *behind(entry *e) REQUIRES_ANY(queue_mu)' '{ return e->next; }' \
        'entry *queue_wait(queue *q) { mutex_lock(&q->queue_mu); while (!q->first || behind(q->first))' \
        'cond_wait(&q->given, &q->queue_mu); entry *e = take(q); mutex_unlock(&q->queue_mu); return e; }' \
        'void queue_free(queue *q) { mutex_not_shared(&q->queue_mu); if (q->first) q->first->next = 0; }' \
        'int queue_try(queue *q) { if (!mutex_try(&q->sums_mu)) return 0; int n = q->sums[1];' \
        'mutex_unlock(&q->sums_mu); return n; }' >base/queue.c
}
# refused WORDS TEXT: clang says so of the text, behind the queue.
refused() {
    guarded && printf '%s\n' "$2" >>base/queue.c && expect fails locks "$1" "$cc"
}
guarded
sh "$house/locks.sh" "$work/h" "$cc" >"$work/said" 2>&1
if [ $? -eq 77 ]; then
    echo "breaches of locks: $(cat "$work/said")"
else
    expect passes locks '' "$cc"
    refused "reading variable 'first'" 'int f(queue *q) { return q->first != 0; }'
    refused "writing variable 'sums'" 'void f(queue *q) { q->sums[1] = 2; }'
    refused "reading variable 'next'" 'int f(entry *e) { return e->next != 0; }'
    refused "reading variable 'sums'" \
        'int f(queue *q) { mutex_lock(&q->queue_mu); int n = q->sums[0]; mutex_unlock(&q->queue_mu); return n; }'
    refused "writing variable 'first'" 'void f(queue *q) { mutex_lock(&q->queue_mu); mutex_unlock(&q->queue_mu); q->first = 0; }'
    refused "reading variable 'sums'" \
        'int f(queue *q) { if (!mutex_try(&q->sums_mu)) return q->sums[0]; mutex_unlock(&q->sums_mu); return 0; }'
    refused "calling function 'take' requires" 'entry *f(queue *q) { return take(q); }'
    refused "calling function 'take' requires holding mutex 'b->queue_mu" \
        'void f(queue *a, queue *b) { mutex_lock(&a->queue_mu); take(b); mutex_unlock(&a->queue_mu); }'
    refused "calling function 'behind' requires" 'entry *f(entry *e) { return behind(e); }'
    refused "calling function 'cond_wait_kind' requires" 'void f(queue *q) { cond_wait(&q->given, &q->queue_mu); }'
    refused "is not held on every path" 'void f(queue *q, int x) { mutex_lock(&q->queue_mu); if (x) mutex_unlock(&q->queue_mu); }'
    refused "is still held at the end of function" 'void f(queue *q) { mutex_lock(&q->queue_mu); q->first = 0; }'
    refused "that was not held" 'void f(queue *q) { mutex_unlock(&q->queue_mu); }'
    refused "around base/thread.h (G3)" 'NO_THREAD_ANALYSIS void f(queue *q) { q->first = 0; }'
    refused "around base/thread.h (G3)" 'static mutex plain; void *f(void) { return &plain; }'
    guarded && printf '%s\n' '#include <base/thread.h>' 'static MUTEX(idle_mu);' \
        'void f(void) { mutex_lock(&idle_mu); mutex_unlock(&idle_mu); }' >base/idle.c &&
        expect fails locks 'base/idle.c locks a mutex that guards nothing in it (G2)' "$cc"
fi
build

# Vague actors and invented words, in text and in names of both kinds.
expect passes plain ''
echo '/* A reader sees nothing, and no writer waits. A ring of files; newborn, dumbbell. */' >>wal/wal.c && expect passes plain ''
echo '/* no''body waits */' >>wal/wal.c && expect fails plain 'wal/wal.c:8: "no''body": name the actor (P1)'
echo '// Who''ever comes' >>base/include/base/base.h && expect fails plain 'base/include/base/base.h:2: .*(P1)'
echo 'Every''body reads this.' >>README.md && expect fails plain 'README.md:2: .*name the actor (P1)'
echo 'int sync_cr''owd;' >>wal/wal.c && expect fails plain 'wal.c:8: "cr''owd": say waiters (P2)'
echo 'int SYNC_CR''OWDS;' >>wal/inside.h && expect fails plain 'inside.h:2: "cr''owds": say waiters (P2)'
mkdir tests/wal && echo 'void OneBe''llWakesAll(void);' >tests/wal/test_one.c && expect fails plain '"be''ll": say wakeup (P2)'
mkdir tests/mutants && echo 'mutant: a str''anger stays' >tests/mutants/wal.list && expect fails plain 'wal.list:1: .*foreign file (P2)'
mkdir tools && printf '#!/bin/sh\necho an ene''my\n' >tools/demo && expect fails plain 'tools/demo:2: .*say attacker (P2)'
echo '/* W''ho finds it reads it. */' >>wal/wal.c && expect fails plain '"W''ho" is no actor (P3)'
echo '/* W''ho reads it? */' >>wal/wal.c && expect passes plain ''

# compile FILE TEXT: a library of the room wal with one object of that name.
compile() {
    printf '%s\n' "$2" >"$work/$1.c"
    "$cc" -c "$work/$1.c" -o "$work/$1.c.o" && rm -f "$work/libfirn_wal.a" &&
        "$ar" crs "$work/libfirn_wal.a" "$work/$1.c.o"
}
compile wal '#include <string.h>
int f(const char *s); int f(const char *s) { return (int)strlen(s); }' &&
    expect passes symbols '' "$nm" "$work/libfirn_wal.a"
compile wal '#include <unistd.h>
int f(int d); int f(int d) { return fsync(d); }' &&
    expect fails symbols 'wal/wal.c asks for fsync' "$nm" "$work/libfirn_wal.a"
compile other 'int f(void); int f(void) { return 1; }' &&
    expect fails symbols 'lists wal/wal.c, which is in no library' "$nm" "$work/libfirn_wal.a"

[ $failures -eq 0 ]
