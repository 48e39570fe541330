/* firn-simulate: see --help, and README.md. */
#include <stdio.h>

#include "show.h"

int main(int argc, char **argv)
{
    settings s;
    figures load = {0}, writes = {0};
    run r;
    settings_parse(argc, argv, &s);
    run_init(&r, &s, &load);
    if (s.tree_bytes == 0 && s.pattern != PATTERN_ASCENDING)
        run_write(&r, (double)s.records, 0, true);
    /* No job falls on the border between loading and writing. */
    if (s.compare)
        run_settle(&r);
    r.figures = &writes;
    run_write(&r, (double)s.writes, s.hours, false);
    int code = 0;
    if (s.compare) {
        real_figures real = {0};
        run_settle(&r);
        real_run(&s, &real);
        code = show_compared(&r, &load, &real) > 0;
    } else if (s.json) {
        show_json(&r, &load);
    } else {
        show_text(&r, &load);
    }
    run_release(&r);
    figures_release(&load);
    figures_release(&writes);
    return code;
}
