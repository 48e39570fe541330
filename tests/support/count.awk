# Counts test cases in a Testing/Temporary/LastTest.log of ctest and prints "<passed> <failed>".
# A program that reports its own cases (cmocka's "[  PASSED  ] 7 test(s).") counts by them; any other
# counts as one. A program that did not pass counts at least one failure, whatever it printed.
# Variables: status, the exit status of ctest.

function number_after(line, word, pattern, n) {
    n = 0
    pattern = "\\[  " word "  \\] [0-9]+ test\\(s\\)"
    while (match(line, pattern)) {
        n += substr(line, RSTART + length(word) + 7, RLENGTH - length(word) - 7) + 0
        line = substr(line, RSTART + RLENGTH)
    }
    return n
}

function finish() {
    if (!inside)
        return
    if (ok) {
        passed += good > 0 ? good : 1
    } else if (status != 0) { # else it was skipped: neither
        passed += good
        failed += bad > 0 ? bad : 1
    }
    inside = 0
}

/^[0-9]+\/[0-9]+ Testing: / {
    finish()
    inside = 1
    ok = good = bad = 0
    next
}

inside && /^Test Passed\.$/ { ok = 1 }
inside {
    good += number_after($0, "PASSED")
    bad += number_after($0, "FAILED")
}

END {
    finish()
    if (status != 0 && failed == 0)
        failed = 1
    print passed + 0, failed + 0
}
