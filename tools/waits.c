/* waits: see waits.h. */
#include "waits.h"
#include "text.h"

#define CAUSES (FIRN_WAIT_DESCRIPTOR + 1)

void waits_table(output *out, const firn_stats *s, const char *bold, const char *off)
{
    output_format(out, "%swaits%s\n", bold, off);
    output_format(out, "  writers held back %s\n", text_time(s->stall_us).s);
    for (unsigned i = FIRN_WAIT_NONE + 1; i < CAUSES; i++)
        if (s->waits[i].count > 0)
            output_format(out, "  %-17s %s in %s waits\n", firn_wait_name((firn_wait)i),
                          text_time(s->waits[i].us).s, text_count(s->waits[i].count).s);
    if (s->waiting > 0)
        output_format(out, "  now               %u wait, longest for %s: %s\n", s->waiting,
                      firn_wait_name(s->waiting_for), text_time(s->waiting_us).s);
}
