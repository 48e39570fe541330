/* show: what was found out, as text or as JSON. */
#ifndef SIMULATE_SHOW_H
#define SIMULATE_SHOW_H

#include "real.h"
#include "run.h"

/* `load`: of the records that were loaded before the writes were measured. */
void show_text(const run *r, const figures *load);
void show_json(const run *r, const figures *load);
/* Both columns. How many figures differ by more than 15 %. */
unsigned show_compared(const run *r, const figures *load, const real_figures *real);

#endif
