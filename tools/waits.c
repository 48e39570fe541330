/* waits: see waits.h. */
#include "waits.h"
#include "text.h"

#define CAUSES (FIRN_WAIT_DESCRIPTOR + 1)

void waits_json(output *out, const firn_stats *s)
{
    output_format(out, "  \"stall_us\": %llu,\n  \"waits\": {", (unsigned long long)s->stall_us);
    for (unsigned i = FIRN_WAIT_NONE + 1; i < CAUSES; i++)
        output_format(out, "%s\"%s\": {\"count\": %llu, \"us\": %llu}", i > 1 ? ", " : "",
                      firn_wait_name((firn_wait)i), (unsigned long long)s->waits[i].count,
                      (unsigned long long)s->waits[i].us);
    output_format(out,
                  "},\n  \"waiting\": %u,\n  \"waiting_for\": \"%s\",\n"
                  "  \"waiting_us\": %llu,\n",
                  s->waiting, firn_wait_name(s->waiting_for), (unsigned long long)s->waiting_us);
}

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
