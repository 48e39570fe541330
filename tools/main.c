/* main: the `firn` command starts here; command.c finds the verb. */
#include "command.h"

#include <signal.h>

int main(int argc, char **argv)
{
    /* A limit on file sizes is an error of the write that meets it (EFBIG), which has a message. */
    (void)signal(SIGXFSZ, SIG_IGN);
    return command_run(argc, argv);
}
