# Takes the blocks between lines of ``` out of a README. What stands behind the ``` says what a block is:
#
#   sh [long] [needs:TOOL]... [by:SCRIPT]
#                               commands. tests/house/commands.sh runs them in printed order, each of which must end well; with `long`
#                               only in its long form; with `needs:` only where that tool is there; with `by:` never, since that
#                               script of a test runs them. `# prints: TEXT` behind a command: that is what it prints.
#   c FILE, cmake FILE          a file for the commands behind it
#   c of:FILE, cmake of:FILE    lines of a file of the project
#   hexdump, text, nothing      to be read, not to be run
#
# Prints a record a line, fields between tabs:
#   block LINE KIND WORDS       a block begins; its words as they stand
#   line LINE TEXT              a line of it
#   end LINE
#   inline LINE TEXT            what stands between backticks in the text around the blocks, in paragraphs made one line
function flush_paragraph(n, part, i) {
    n = split(paragraph, part, "`")
    for (i = 2; i < n; i += 2)
        print "inline\t" paragraph_line "\t" part[i]
    paragraph = ""
}
/^ *```/ && !fenced {
    flush_paragraph()
    indent = match($0, /[^ ]/) - 1
    words = $0
    sub(/^ *```/, "", words)
    kind = words
    sub(/ .*/, "", kind)
    sub(/^[^ ]* ?/, "", words)
    print "block\t" FNR "\t" (kind == "" ? "-" : kind) "\t" words
    fenced = 1
    next
}
/^ *```$/ && fenced { print "end\t" FNR; fenced = 0; next }
fenced { print "line\t" FNR "\t" substr($0, indent + 1); next }
/^ *$/ || /^[|#]/ || /^ *([-*]|[0-9]+\.) / { flush_paragraph() }
{
    if (paragraph == "")
        paragraph_line = FNR
    text = $0
    sub(/^ +/, "", text)
    paragraph = paragraph (paragraph == "" ? "" : " ") text
}
END {
    flush_paragraph()
    if (fenced)
        print "open\t" FNR
}
