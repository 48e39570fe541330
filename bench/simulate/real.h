/* real: the same writes on a real store, in a folder that goes afterwards. */
#ifndef SIMULATE_REAL_H
#define SIMULATE_REAL_H

#include "settings.h"

typedef struct real_figures {
    double put_bytes, log_bytes, flushed_bytes, merged_bytes; /* of the measured writes */
    double load_put_bytes, load_written_bytes; /* of what was loaded before; without the log */
    double level_bytes[FIRN_LEVELS];           /* on average while the writes were made */
    double table_bytes;                        /* of all levels, at the end */
    double live;                               /* keys that have a value */
    double seconds;                            /* of the measured writes */
} real_figures;

void real_run(const settings *s, real_figures *out);

#endif
