/* at: to read at a snapshot; NULL: what is newest. */
#ifndef TESTS_ENGINE_AT_H
#define TESTS_ENGINE_AT_H

#include <firn/firn.h>

#define AT(s) (&(firn_read_options){.size = sizeof(firn_read_options), .snapshot = (s)})

#endif
