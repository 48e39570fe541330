# Splits lists of mutants into files: for number 7, <out>/007.name, .file, .tests, .only, .old and .new.
# Variables: out, an empty folder; pattern, which names to take.
# A line that is none of a list's ends everything, with status 1.

function fail(what) {
    print FILENAME ":" FNR ": " what >"/dev/stderr"
    failed = 1
    exit 1
}

function put(kind, text) {
    printf "%s", text >(base "." kind)
    close(base "." kind)
}

function finish() {
    if (name == "")
        return
    if (file == "" || tests == "" || old == "")
        fail("\"" name "\" lacks a file, its tests, or a line to replace")
    if (name in seen)
        fail("there are two of the name \"" name "\"")
    seen[name] = 1
    if (name ~ pattern) {
        base = sprintf("%s/%03d", out, ++count)
        put("name", name "\n")
        put("file", file "\n")
        put("tests", tests "\n")
        put("only", only "\n")
        put("old", old)
        put("new", new)
    }
    name = ""
}

/^mutant: ./ {
    finish()
    name = substr($0, 9)
    file = tests = only = old = new = ""
    next
}
/^in: ./ { file = $2; next }
/^by: ./ { tests = $2; only = $3; next }
/^-/ { old = old substr($0, 2) "\n"; next }
/^\+/ { new = new substr($0, 2) "\n"; next }
/^(#.*)?$/ { next }
{ fail("not a line of a list of mutants: " $0) }

END {
    if (failed)
        exit 1
    finish()
}
