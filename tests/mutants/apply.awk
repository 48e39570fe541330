# Prints a file with some of its lines replaced. Status 1, when these lines do not stand there exactly once.
# Variables: old and new, files that hold the lines and what takes their place.

BEGIN {
    while ((getline line <old) > 0)
        from[++from_count] = line
    while ((getline line <new) > 0)
        to[++to_count] = line
}

{ lines[NR] = $0 }

END {
    for (at = 1; at + from_count - 1 <= NR; at++) {
        for (i = 1; i <= from_count && lines[at + i - 1] == from[i]; i++)
            ;
        if (i > from_count) {
            found++
            place = at
        }
    }
    if (found != 1 || from_count == 0)
        exit 1
    for (at = 1; at <= NR; at++) {
        if (at == place)
            for (i = 1; i <= to_count; i++)
                print to[i]
        if (at < place || at >= place + from_count)
            print lines[at]
    }
}
