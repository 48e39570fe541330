/* waits: what calls of the store have waited for, and wait for at present (firn_stats). */
#ifndef TOOLS_WAITS_H
#define TOOLS_WAITS_H

#include <firn/firn.h>

#include "output.h"

/* A section with a line for each cause that there was. */
void waits_table(output *out, const firn_stats *s, const char *bold, const char *off);

#endif
