/* pty: runs a command on a terminal of its own, and copies what it prints there to standard output.
 *
 *   pty [-i TEXT] command...
 *
 * TEXT is what a person would type. The terminal changes nothing in what passes: no echo, no carriage returns. Ends with the
 * command's exit code, 128 + the signal that ended it, or 99. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int give_up(const char *what)
{
    fprintf(stderr, "pty: %s: %s\n", what, strerror(errno));
    return 99;
}

static void run_on(const char *terminal, char **command)
{
    setsid();
    int fd = open(terminal, O_RDWR); /* the session's terminal from now on */
    if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) != 0)
        _exit(give_up(terminal));
    for (int i = 0; i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    execvp(command[0], command);
    _exit(give_up(command[0]));
}

/* Without a slave that is open, reading the terminal ends with EIO. */
static int copy_out(int terminal)
{
    char bytes[4096];
    for (;;) {
        ssize_t n = read(terminal, bytes, sizeof bytes);
        if (n == 0 || (n < 0 && errno == EIO))
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return give_up("read");
        if (fwrite(bytes, 1, (size_t)n, stdout) != (size_t)n)
            return give_up("write");
    }
}

int main(int argc, char **argv)
{
    const char *typed = "";
    int first = 1;
    if (argc > 3 && strcmp(argv[1], "-i") == 0) {
        typed = argv[2];
        first = 3;
    }
    if (argc <= first)
        return 99;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    struct termios quiet;
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        return give_up("no terminal");
    const char *name = ptsname(terminal);
    int slave = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    if (slave < 0 || tcgetattr(slave, &quiet) != 0)
        return give_up("no terminal");
    quiet.c_oflag &= ~(tcflag_t)OPOST;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(slave, TCSANOW, &quiet) != 0)
        return give_up("no terminal");
    if (write(terminal, typed, strlen(typed)) < 0)
        return give_up("write");
    pid_t child = fork();
    if (child == 0)
        run_on(name, argv + first);
    close(slave);
    int code = child > 0 ? copy_out(terminal) : give_up("fork");
    int status = 0;
    if (fflush(stdout) != 0 || waitpid(child, &status, 0) < 0 || code != 0)
        return 99;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
