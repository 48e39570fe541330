/* real: the same writes on a real store, in a folder that goes afterwards. */
#ifndef SIMULATE_REAL_H
#define SIMULATE_REAL_H

#include "figures.h"
#include "settings.h"

typedef struct real_figures {
    figures load, writes; /* until it was at rest behind them; times are not counted */
    double table_bytes;   /* of all levels, at the end */
    double live;          /* keys that have a value */
    double seconds;       /* of the measured writes ... */
    double stalled;       /* ... of which writers were held back */
} real_figures;

void real_run(const settings *s, real_figures *out);

#endif
