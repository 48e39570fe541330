/* decode: arguments with escapes (command.c). */
#ifndef TOOLS_DECODE_H
#define TOOLS_DECODE_H

#include <base/buf.h>

#include "command.h"

/* Takes the escapes out of `text` (escape.h); `what` names it in a message ("key"). EXIT_DONE, or
 * an exit code, the user having been told. */
int args_decode(const verb *v, const char *what, const char *text, buf *out);

#endif
