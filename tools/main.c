/* main: the `firn` command starts here; command.c finds the verb. */
#include "command.h"

int main(int argc, char **argv)
{
    return command_run(argc, argv);
}
