/* show: what was found out, as text or as JSON. */
#ifndef SIMULATE_SHOW_H
#define SIMULATE_SHOW_H

#include "real.h"
#include "run.h"

void show_text(const run *r, double load_amplification);
void show_json(const run *r, double load_amplification);
/* Both columns. How many figures differ by more than 15 %. */
unsigned show_compared(const run *r, double load_amplification, const real_figures *real);

#endif
