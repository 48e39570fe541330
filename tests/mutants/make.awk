# Reads lists of mutants, and makes each: for number 7, <out>/007.name, .tests and .only, and .files, the files that it changes,
# with what they become in .1, .2 and so on. Of one that no longer fits there is .unfit instead, which says why.
# Needs source.awk. Variables: out, an empty folder; pattern, which names to take; sources, a file that lists the C files; fit: 1,
# to look only whether they fit, without .1 and .2.
# A line that is none of a list's ends everything, with status 1.

function fail(what) {
    print FILENAME ":" FNR ": " what >"/dev/stderr"
    failed = 1
    exit 1
}

function put(m, ending, text, file) {
    file = sprintf("%s/%03d.%s", out, m, ending)
    printf "%s", text >file
    close(file)
}

# ---- The lists ----

# A mutant is its edits, first_edit[m] to last_edit[m]. Edit e replaces the text old[e] by new[e], where it stands in
# place[e] for the nth[e] time (0: it stands there once). A place is a room, or a file, and the name of an item.

function end_mutant(e) {
    if (current == "")
        return
    if (tests == "" || edits < first_edit[mutants + 1])
        fail("\"" current "\" lacks " (tests == "" ? "its tests" : "what it replaces"))
    if (current in seen)
        fail("there are two of the name \"" current "\"")
    seen[current] = 1
    if (current ~ pattern) {
        last_edit[++mutants] = edits
        put(mutants, "name", current "\n")
        put(mutants, "tests", tests "\n")
        put(mutants, "only", only "\n")
        for (e = first_edit[mutants]; e <= edits; e++)
            want(place[e])
    } else {
        edits = first_edit[mutants + 1] - 1
    }
    current = ""
}

function want(p, part) {
    if (p in definitions)
        return
    definitions[p] = 0
    split(p, part, " ")
    rooms[part[1]] = 1
    wanted[part[2], ++wanted[part[2]]] = p
}

/^mutant: ./ {
    end_mutant()
    current = substr($0, 9)
    first_edit[mutants + 1] = edits + 1
    tests = only = where = before = ""
    next
}
/^by: ./ { tests = $2; only = $3; next }
/^in: ./ {
    if (NF != 3)
        fail("in: names a room, and a function or something else that it defines: " $0)
    where = $2 " " $3
    before = ""
    next
}
/^-([0-9]+(st|nd|rd|th))?( |$)/ {
    if (before != "-") {
        if (where == "")
            fail("in: comes before what is replaced there")
        place[++edits] = where
        nth[edits] = substr($1, 2) + 0
        old[edits] = new[edits] = ""
    } else if ($1 != "-") {
        fail("which one it is stands in front of the first line only: " $0)
    }
    old[edits] = old[edits] (before == "-" ? "\n" : "") substr($0, length($1) + 2)
    before = "-"
    next
}
/^[+]( |$)/ {
    if (before == "")
        fail("nothing is replaced by this: " $0)
    new[edits] = new[edits] (before == "+" ? "\n" : "") substr($0, 3)
    before = "+"
    next
}
/^(#.*)?$/ { before = ""; next } # an edit ends, too
{ fail("not a line of a list of mutants: " $0) }

# ---- What is defined where ----

# Keeps the tokens of an item that a mutant names: item_token[p, 1..item_tokens[p]], and where they stand. What has the same name
# follows, behind a gap.
function item(named, first, last, k, p, room) {
    for (k = 1; k <= wanted[named]; k++) {
        p = wanted[named, k]
        room = substr(p, 1, index(p, " ") - 1)
        if (!is_in(file, room) || last_kept[p] == file ":" first)
            continue
        last_kept[p] = file ":" first
        if (definitions[p]++)
            item_tokens[p]++
        found_in[p] = found_in[p] (definitions[p] > 1 ? ", " : "") file
        keep(p, first, last)
    }
}

function keep(p, first, last, i, n) {
    n = item_tokens[p]
    for (i = first; i <= last; i++) {
        item_token[p, ++n] = token[i]
        stands_in[p, n] = file
        begins[p, n] = from_line[i] * WIDE + from_column[i]
        ends[p, n] = to_line[i] * WIDE + to_column[i]
    }
    item_tokens[p] = n
}

function is_in(file, room) { return file == room || index(file, room "/") == 1 }

function is_wanted(file, room) {
    for (room in rooms)
        if (is_in(file, room))
            return 1
    return 0
}

# ---- Making a mutant ----

function text_tokens(text, line, n, i) {
    begin_tokens()
    n = split(text, line, "\n")
    for (i = 1; i <= n; i++)
        add_line(line[i], i)
    text = ""
    for (i = 1; i <= tokens; i++)
        text = text token[i] "\n"
    return text
}

# Finds edit e, which leaves changes[e], a file, from[e] and to[e]; or returns why not.
function find(e, p, part, fresh, count, at, i, k) {
    p = place[e]
    split(p, part, " ")
    if (!definitions[p])
        return "there is no " part[2] " in " part[1]
    if (definitions[p] > 1 && nth[e])
        return part[2] " is defined in " found_in[p] ": name the file, or quote more than the " nth[e] ". of it"
    fresh = text_tokens(new[e])
    if (fresh == text_tokens(old[e]))
        return "nothing changes in " part[2]
    for (i = 1; i + tokens - 1 <= item_tokens[p]; i++) {
        for (k = 1; k <= tokens && item_token[p, i + k - 1] == token[k]; k++)
            ;
        if (k > tokens && (++count == nth[e] || !nth[e]))
            at = i
    }
    if (!tokens || count < 1 || count < nth[e] || count > 1 && !nth[e])
        return part[2] " in " found_in[p] " has " (count ? count " times" : "no") ": " old[e]
    changes[e] = stands_in[p, at]
    from[e] = begins[p, at]
    to[e] = ends[p, at + tokens - 1]
    return ""
}

# Lists the edits of a file in order[1..], as they stand there; false: one reaches into the next.
function in_order(m, file, order, n, e, i) {
    n = 0
    for (e = first_edit[m]; e <= last_edit[m]; e++) {
        if (changes[e] != file)
            continue
        for (i = ++n; i > 1 && from[order[i - 1]] > from[e]; i--)
            order[i] = order[i - 1]
        order[i] = e
    }
    order[n + 1] = 0
    for (i = 1; i < n; i++)
        if (to[order[i]] >= from[order[i + 1]])
            return 0
    return 1
}

function write_file(file, order, copy, text, line, column, e, i, inside) {
    i = 1
    inside = 0
    for (line = 1; (getline text <file) > 0; line++) {
        for (column = 1; column; ) {
            e = order[i]
            if (inside && int(to[e] / WIDE) > line) {
                column = 0
            } else if (inside) {
                column = to[e] % WIDE + 1
                inside = 0
                i++
            } else if (e && int(from[e] / WIDE) == line) {
                printf "%s%s", substr(text, column, from[e] % WIDE - column), new[e] >copy
                inside = 1
            } else {
                print substr(text, column) >copy
                column = 0
            }
        }
    }
    close(file)
    close(copy)
}

# Returns why it cannot be made.
function make(m, e, why, file, files, n, order) {
    for (e = first_edit[m]; e <= last_edit[m]; e++)
        if ((why = find(e)) != "")
            return why
    for (e = first_edit[m]; e <= last_edit[m]; e++) {
        file = changes[e]
        if (index("\n" files, "\n" file "\n"))
            continue
        files = files file "\n"
        if (!in_order(m, file, order))
            return "two of its edits overlap"
        if (!fit)
            write_file(file, order, sprintf("%s/%03d.%d", out, m, ++n))
    }
    put(m, "files", files)
    return ""
}

BEGIN { WIDE = 100000 } # more than a line has columns

END {
    if (failed)
        exit 1
    end_mutant()
    while ((getline file <sources) > 0) {
        if (is_wanted(file)) {
            read_tokens(file)
            find_items()
        }
    }
    for (m = 1; m <= mutants; m++)
        if ((why = make(m)) != "")
            put(m, "unfit", why "\n")
}
