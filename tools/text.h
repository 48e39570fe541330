/* text: numbers as people read them. Pure, but for text_colour. */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct text_short {
    char s[32];
} text_short;

text_short text_size(uint64_t bytes);      /* "12.3 MiB" */
text_short text_count(uint64_t n);         /* "64,211" */
text_short text_time(uint64_t us);         /* "1.2 s", "3 min 05 s" */
text_short text_date_ms(uint64_t time_ms); /* "2026-01-31 12:00:00.123", UTC */

/* May `fd` be painted on: a terminal that can, and NO_COLOR is not set? */
bool text_colour(int fd);

#define COLOUR_RED   "\033[31m"
#define COLOUR_GREEN "\033[32m"
#define COLOUR_CYAN  "\033[36m"
#define COLOUR_BOLD  "\033[1m"
#define COLOUR_OFF   "\033[0m"

#endif
