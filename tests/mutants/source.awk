# C as a sequence of tokens, and the items of a file by their names: for make.awk.
#
# read_tokens leaves token[1..tokens] without comments, and where each stands: from_line, from_column (of its first character),
# to_line, to_column (of its last). Strings that stand one behind the other are one token, as for the compiler, so that it does
# not matter where a long one is broken. directive[i] numbers the # lines, 0: token i stands in none.

BEGIN {
    word = "[A-Za-z_][A-Za-z_0-9]*"
    number = "[.]?[0-9]([A-Za-z_0-9.]|[eEpP][+-])*"
    string = "\"([^\"\\\\]|\\\\.)*\""
    character = "'([^'\\\\]|\\\\.)*'"
    comment = "//.*|/[*]" # or its beginning
    operator = "[-+*/%&|^<>=!]=|<<=|>>=|<<|>>|&&|[|][|]|[+][+]|--|->|[.][.][.]|##"
    any_token = "^([ \t]+|" word "|" number "|" string "|" character "|" comment "|" operator "|.)"
}

function begin_tokens() {
    tokens = directives = in_directive = in_comment = 0
}

function add_token(text, line, column) {
    if (text ~ /^"/ && tokens && token[tokens] ~ /^".*"$/) {
        token[tokens] = substr(token[tokens], 1, length(token[tokens]) - 1) substr(text, 2)
    } else {
        token[++tokens] = text
        from_line[tokens] = line
        from_column[tokens] = column
        directive[tokens] = in_directive ? directives : 0
    }
    to_line[tokens] = line
    to_column[tokens] = column + length(text) - 1
}

function add_line(text, line, column, size, t) {
    if (!in_directive && !in_comment && text ~ /^[ \t]*#/) {
        in_directive = 1
        directives++
    }
    for (column = 1; text != ""; column += size) {
        if (in_comment) {
            size = index(text, "*/")
            in_comment = !size
            size = size ? size + 1 : length(text)
        } else {
            match(text, any_token)
            size = RLENGTH
            t = substr(text, 1, size)
            if (t == "/*")
                in_comment = 1
            else if (t !~ /^(\/\/|[ \t]|\\$)/)
                add_token(t, line, column)
        }
        text = substr(text, size + 1)
    }
    if (t != "\\" && !in_comment)
        in_directive = 0
}

function read_tokens(file, text, line) {
    begin_tokens()
    while ((getline text <file) > 0)
        add_line(text, ++line)
    close(file)
}

# Calls item(name, first, last), which make.awk has, for what is defined outside of functions: a function, a variable or table, a
# struct, union or enum, each constant of an enum, a typedef with its struct, a macro. What is only declared is no item.
function find_items(i, first) {
    for (i = 1; i <= tokens; i++) {
        if (directive[i]) {
            if (directive[i] != directive[i - 1] && token[i + 1] == "define")
                item(token[i + 2], i, end_of_directive(i))
        } else if (first) {
            if (ends_item(i)) {
                name_item(first, i)
                first = 0
            }
        } else if (token[i] == "extern" && token[i + 1] ~ /^"/ && token[i + 2] == "{") {
            i += 2
        } else if (token[i] != "}" && token[i] != ";") {
            first = i
            begin_item()
            ends_item(i)
        }
    }
}

function end_of_directive(i, which) {
    for (which = directive[i]; i < tokens && directive[i + 1] == which; i++)
        ;
    return i
}

# What is known of an item so far.
function begin_item() {
    braces = parentheses = 0 # that are open
    function_name = last_name = kind = tag = ""
    is_typedef = assigned = has_body = is_function = constants = 0
}

function ends_item(i, t) {
    t = token[i]
    if (!parentheses)
        look_at(i, t)
    parentheses += (t == "(" || t == "[") - (t == ")" || t == "]")
    braces += (t == "{") - (t == "}")
    return !braces && !parentheses && (t == ";" || t == "}" && is_function)
}

# A function's name is the first one that has a ( behind it, unless that is an attribute or a macro in capitals. A variable's or
# a typedef's is the last one in front of =, [ or ;.
function look_at(i, t) {
    if (braces) {
        if (braces == 1 && kind == "enum" && t ~ /^[A-Za-z_]/ && token[i - 1] ~ /^[{,]$/)
            constant[++constants] = t
    } else if (t == "=") {
        assigned = 1
    } else if (assigned || t !~ /^[A-Za-z_{]/) {
        return
    } else if (t == "{") {
        has_body = 1
        is_function = function_name != ""
    } else if (t ~ /^(struct|union|enum)$/) {
        kind = t
        if (token[i + 1] ~ /^[A-Za-z_]/)
            tag = token[i + 1]
    } else if (t == "typedef") {
        is_typedef = 1
    } else if (token[i + 1] != "(") {
        last_name = t
    } else if (function_name == "" && t ~ /[a-z]/ && t !~ /^(__attribute__|_Static_assert|_Alignas)$/) {
        function_name = t
    }
}

function name_item(first, last, i) {
    if (is_function) {
        item(function_name, first, last)
        return
    }
    if (has_body && tag != "")
        item(tag, first, last)
    for (i = 1; i <= constants; i++)
        item(constant[i], first, last)
    if (is_typedef ? has_body : assigned || function_name == "" && token[first] != "extern")
        if (last_name != tag && last_name != "")
            item(last_name, first, last)
}
