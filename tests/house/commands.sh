#!/bin/sh
# commands.sh BUILD_DIR SOURCE_DIR [long]: runs the commands of the READMEs as they are printed, in their order, in a fresh copy of
# the source. tests/house/blocks.awk says which blocks are commands.
#
# Without `long`, blocks that are marked so are left out, and what they would have made is there already: firn is installed, and
# build/release and build/test are the build at hand. With it, the blocks build and install everything themselves, and the
# commands of the exercises are run on firn as it is. What .ci/run runs itself (`run_script`) is left to it,
# and a block that names the script of a test to that test.
#
# Nothing outside of the copy is written to: DESTDIR takes what is installed, and `ldconfig` keeps its cache there.
set -u
build=$1
source=$2
long=${3:-}
. "$source/tests/house/cases.sh"
unset FIRN FIRN_SEED FIRN_REPLAY FIRN_LONG FIRN_FAULT FIRN_TEST

copy=$work/firn
root=$work/root
mkdir -p "$copy" "$root" "$work/bin" "$work/scripts" || exit 1
cd "$source" || exit 1
{ git ls-files --cached --others --exclude-standard 2>/dev/null ||
    find . -path ./build -prune -o -path ./.git -prune -o -type f -print; } | sed 's|^\./||' |
    while read -r file; do [ ! -f "$file" ] || echo "$file"; done | sort >"$work/files"
tar -cf - -T "$work/files" | tar -xf - -C "$copy" || exit 1

prefix=$(cached CMAKE_INSTALL_PREFIX)
if [ -z "$long" ]; then
    mkdir "$copy/build" && ln -s "$build" "$copy/build/release" && ln -s "$build" "$copy/build/test"
else
    prefix=/usr/local # what CMake takes when it is not told another one
fi
libraries=$root$prefix/$(cached CMAKE_INSTALL_LIBDIR)
cat >"$work/bin/ldconfig" <<END
#!/bin/sh
PATH=\$PATH:/sbin:/usr/sbin exec "$(PATH=$PATH:/sbin:/usr/sbin command -v ldconfig)" -C "$root/ld.so.cache" "$libraries"
END
chmod +x "$work/bin/ldconfig"
export DESTDIR="$root" PATH="$work/bin:$root$prefix/bin:$PATH" LD_LIBRARY_PATH="$libraries" CMAKE_PREFIX_PATH="$root$prefix"
[ -z "${CCACHE_BASEDIR:-}" ] || export CCACHE_BASEDIR="$copy" # what was built elsewhere is the same here
export PKG_CONFIG_PATH="$libraries/pkgconfig:${PKG_CONFIG_PATH:-}"

# Is that tool there, and does it work on this machine?
tool_works() {
    case $1 in
    perf) perf record -o /dev/null -e cpu-clock true ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}
for tool in $(sed -n 's/^ *```sh \(.*\)/\1/p' $(grep 'README\.md$' "$work/files") | tr ' ' '\n' | sed -n 's/^needs://p' | sort -u); do
    tool_works "$tool" || { echo "# without $tool: it is not there, or does not work here"; echo "$tool"; }
done >"$work/lacking"
grep '^#' "$work/lacking"

# One script a README: each file is written, each command run; the first that does not end well ends it.
script_of() {
    awk -f "$source/tests/house/blocks.awk" "$1" | awk -F '\t' -v readme="$1" -v long="$long" -v lacking="$work/lacking" '
        function quoted(text) { gsub(/\047/, "\047\\\047\047", text); return "\047" text "\047" }
        function failed(what) { return "{ printf \"%s\\n\" " quoted(readme ":" $2 ": " what) "; exit 1; }" }
        BEGIN {
            while ((getline tool <lacking) > 0) lacks[tool] = 1
            while ((getline text <".ci/run") > 0)
                if (text ~ /^run_script /) { split(text, word, " "); elsewhere["sh " word[2]] = 1 }
            print "set -u"
        }
        $1 == "block" {
            kind = $3; on = kind == "sh"; file = ""
            n = split($4, word, " ")
            for (i = 1; i <= n; i++) {
                if (kind == "sh" && (word[i] == "long" && !long || word[i] ~ /^by:/ || substr(word[i], 7) in lacks)) on = 0
                if (kind ~ /^(c|cmake)$/ && word[i] !~ /^of:/) file = word[i]
            }
            if (file ~ /\//) { folder = file; sub(/\/[^\/]*$/, "", folder); print "mkdir -p " folder }
            if (file != "") print "cat >" file " <<\047END OF FILE\047"
            if (on) { print "echo " quoted("== " readme ":" $2); commands = 1 }
            next
        }
        $1 == "end" && file != "" { print "END OF FILE"; next }
        $1 == "line" && file != "" { text = $0; sub(/^line\t[0-9]*\t/, "", text); print text; next }
        $1 == "line" && on {
            text = $0
            sub(/^line\t[0-9]*\t/, "", text)
            if (pending != "") text = pending "\n" text
            if (text ~ /\\$/) { pending = text; next }
            pending = ""
            bare = text
            sub(/ +#.*$/, "", bare)
            if (bare in elsewhere) next
            if (match(text, / # prints: /)) {
                wanted = substr(text, RSTART + 11)
                print "printed=$(" substr(text, 1, RSTART - 1) "\n) || " failed(text)
                print "[ \"$printed\" = " quoted(wanted) " ] || { echo \"$printed\"; " failed(text " prints otherwise") "; }"
            } else if (text !~ /^ *(#|$)/) {
                print "{ " text "\n} || " failed(text)
            }
        }
        END { print commands ? "" : "# nothing to run" }'
}
# The commands of one README may have removed what those of the next need.
installed() { [ -x "$root$prefix/bin/firn" ] || cmake --install "$copy/build/release"; }
readme_runs() { { [ -n "$long" ] && [ "$1" = README.md ] || installed; } && (cd "$copy" && sh "$work/scripts/$1.sh" </dev/null); }

ran=0
for readme in $(grep 'README\.md$' "$work/files"); do
    name=$(echo "$readme" | tr '/' '_')
    (cd "$copy" && script_of "$readme") >"$work/scripts/$name.sh"
    tail -n 1 "$work/scripts/$name.sh" | grep -q 'nothing to run' && continue
    ran=$((ran + 1))
    case_of "the commands of $readme" readme_runs "$name"
done
case_of "there are commands in more than one README" [ "$ran" -gt 1 ]

exercises() {
    sed -n 's/^ *`\(.*sh tests\/run -R .*\$.*\)`$/\1/p' "$copy"/*/README.md "$copy"/tests/*/README.md | sort -u >"$work/exercises"
    [ -s "$work/exercises" ] || return 1
    while read -r command; do
        (cd "$copy" && sh -c "$command" </dev/null) >"$work/exercise" 2>&1 || { echo "$command"; cat "$work/exercise"; return 1; }
    done <"$work/exercises"
}
[ -z "$long" ] || case_of "the commands of the exercises pass on firn as it is" exercises
finish
