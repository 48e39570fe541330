/* verb_load: lines of text into the store, in batches.
 *
 * Invariants
 *   L1  `stored` counts the input lines that are in the store, skipped ones included: whatever ends
 * the load,
 *       `--skip stored` goes on behind them.
 *   L2  A batch is committed whole or not at all, so `stored` moves in steps of a batch.
 *   L3  Everything before a wrong line is committed before the line is complained about.
 */
#include <base/error.h>
#include <firn/firn.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acks.h"
#include "command.h"
#include "lines.h"
#include "open.h"
#include "progress.h"
#include "text.h"

/* A batch also ends here: larger ones gain nothing and hold up other writers. */
#define BATCH_BYTES ((size_t)4 << 20)

static volatile int stop_signal; /* set by the handler: an int is written in one piece */

static void on_stop(int signal_no)
{
    stop_signal = signal_no;
}

typedef struct load {
    const char *path, *input_name;
    open_wish wish;
    uint64_t batch_lines, skip;
    bool ack;
    int fd;
    opened o;
    firn_batch *batch;
    lines in;
    uint64_t stored, skipped_bytes;
    output out;
    acks acks;
    progress progress;
} load;

/* What to do after a stop in the middle. */
static int fail_at(const load *l, int code, const char *remedy, const char *what)
{
    char hint[400];
    snprintf(hint, sizeof hint, "%s%s%s line%s of the input %s stored; go on with --skip %llu",
             remedy, remedy[0] ? "; " : "", text_count(l->stored).s, l->stored == 1 ? "" : "s",
             l->stored == 1 ? "is" : "are", (unsigned long long)l->stored);
    return fail_text(code, hint, "%s", what);
}

static int fail_status(const load *l, int rc, const firn_error *error)
{
    int code = fail(rc, error, l->path);
    fprintf(stderr, "hint: %s lines of the input are stored; go on with --skip %llu\n",
            text_count(l->stored).s, (unsigned long long)l->stored);
    return code;
}

static int commit(load *l)
{
    uint64_t seq;
    firn_error error = {0};
    uint32_t count = firn_batch_count(l->batch);
    if (count == 0)
        return EXIT_DONE;
    int rc = firn_write(l->o.db, l->batch, NULL, &seq, &error);
    if (rc != FIRN_OK)
        return fail_status(l, rc, &error);
    firn_batch_clear(l->batch);
    l->stored += count;
    if (l->ack) {
        acks_add(&l->acks, seq, l->stored);
        acks_print(&l->acks, firn_durable_seq(l->o.db));
    }
    progress_update(&l->progress, lines_bytes_passed(&l->in), l->stored);
    return output_ok(&l->out) ? EXIT_DONE : EXIT_IO; /* told by output_finish */
}

static int skip_lines(load *l)
{
    while (l->in.line_no < l->skip) {
        switch (lines_skip(&l->in)) {
        case LINES_OK:
            progress_update(&l->progress, lines_bytes_passed(&l->in), l->in.line_no);
            break;
        case LINES_END:
            return fail_text(EXIT_IO, "is it the same input as before?",
                             "the input has only %s lines, fewer than --skip %llu: %s",
                             text_count(l->in.line_no).s, (unsigned long long)l->skip,
                             l->input_name);
        case LINES_SYSTEM:
            return fail_system("cannot read", l->input_name, l->in.sys_errno);
        case LINES_INTERRUPTED:
            return fail_text(128 + stop_signal, NULL,
                             "stopped by a signal before anything was stored");
        case LINES_BAD:
        case LINES_NO_MEMORY:
            return fail_text(EXIT_IO, NULL, "out of memory");
        }
    }
    l->stored = l->skip;
    l->skipped_bytes = lines_bytes_passed(&l->in);
    return EXIT_DONE;
}

/* The input has ended in some way: what was read of it is committed first (L3). */
static int finish_input(load *l, lines_verdict verdict)
{
    char what[512];
    int code = commit(l);
    if (code != EXIT_DONE)
        return code;
    progress_clear(&l->progress);
    switch (verdict) {
    case LINES_BAD:
        snprintf(what, sizeof what, "%s: %s line %llu", l->in.problem, l->input_name,
                 (unsigned long long)l->in.line_no);
        return fail_at(l, EXIT_IO, l->in.remedy, what);
    case LINES_SYSTEM:
        snprintf(what, sizeof what, "cannot read: %s: %s", l->input_name,
                 strerror(l->in.sys_errno));
        return fail_at(l, EXIT_IO, "", what);
    case LINES_NO_MEMORY:
        return fail_at(l, EXIT_IO, "", "out of memory");
    case LINES_INTERRUPTED:
        return fail_at(l, 128 + stop_signal, "", "stopped by a signal");
    case LINES_OK:
    case LINES_END:
        break;
    }
    return EXIT_DONE;
}

static int load_lines(load *l)
{
    firn_slice key, value;
    lines_verdict verdict;
    while ((verdict = stop_signal ? LINES_INTERRUPTED : lines_next(&l->in, &key, &value)) ==
           LINES_OK) {
        int rc = firn_batch_put(l->batch, key.data, key.size, value.data, value.size);
        if (rc != FIRN_OK) {
            firn_error error = {0};
            error_set(&error, rc, "line %llu does not fit into a batch",
                      (unsigned long long)l->in.line_no);
            return fail_status(l, rc, &error);
        }
        if (firn_batch_count(l->batch) < l->batch_lines && firn_batch_bytes(l->batch) < BATCH_BYTES)
            continue;
        int code = commit(l);
        if (code != EXIT_DONE)
            return code;
    }
    return finish_input(l, verdict);
}

/* The modes that do not wait for each batch owe their last acks. */
static int make_durable(load *l, int code)
{
    firn_error error = {0};
    int rc = firn_sync(l->o.db, &error);
    if (rc != FIRN_OK)
        return code == EXIT_DONE ? fail_status(l, rc, &error) : code;
    if (l->ack)
        acks_print(&l->acks, firn_durable_seq(l->o.db));
    return code;
}

static void catch_signals(void)
{
    struct sigaction stop = {.sa_handler = on_stop}, ignore = {.sa_handler = SIG_IGN};
    /* Without SA_RESTART: a read that waits for a pipe ends, and the load with it. */
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    /* The reader of the acks may go away: an error to be told, with how far the load has come. */
    sigaction(SIGPIPE, &ignore, NULL);
}

static void tell_result(const load *l)
{
    if (!l->progress.shown)
        return;
    uint64_t us = progress_elapsed_us(&l->progress);
    uint64_t bytes = l->in.bytes_read - l->skipped_bytes;
    fprintf(stderr, "stored %s lines, %s in %s\n", text_count(l->stored - l->skip).s,
            text_size(bytes).s, text_time(us).s);
}

static int open_input(load *l)
{
    struct stat st;
    if (strcmp(l->input_name, "-") == 0) {
        l->fd = STDIN_FILENO;
        l->input_name = "standard input";
    } else {
        l->fd = open(l->input_name, O_RDONLY | O_CLOEXEC);
        if (l->fd < 0)
            return fail_system("cannot open", l->input_name, errno);
    }
    if (fstat(l->fd, &st) != 0)
        return fail_system("cannot look at", l->input_name, errno);
    if (S_ISDIR(st.st_mode))
        return fail_system("cannot read", l->input_name, EISDIR);
    progress_init(&l->progress, S_ISREG(st.st_mode) && st.st_size > 0 ? (uint64_t)st.st_size : 0);
    lines_init(&l->in, l->fd, &stop_signal);
    return EXIT_DONE;
}

static int load_run(load *l)
{
    catch_signals();
    int code = open_input(l); /* before the store: a wrong name makes no empty store */
    if (code == EXIT_DONE)
        code = open_to_write(l->path, &l->wish, &l->o);
    if (code != EXIT_DONE)
        goto done;
    output_init(&l->out, STDOUT_FILENO, "standard output");
    l->acks.out = l->ack ? &l->out : NULL;
    if (firn_batch_new(&l->batch) != FIRN_OK)
        code = fail_text(EXIT_IO, NULL, "out of memory");
    if (code == EXIT_DONE)
        code = skip_lines(l);
    if (code == EXIT_DONE)
        code = load_lines(l);
    progress_clear(&l->progress);
    code = make_durable(l, code);
    if (!output_ok(&l->out)) {
        char what[128];
        snprintf(what, sizeof what, "cannot write: standard output: %s",
                 strerror(l->out.sys_errno));
        code = fail_at(l, EXIT_IO, "", what);
        l->out.sys_errno = EPIPE; /* told */
    }
    output_finish(&l->out);
    code = open_close(&l->o, code);
    if (code == EXIT_DONE)
        tell_result(l);
done:
    firn_batch_free(l->batch);
    lines_release(&l->in);
    if (l->fd > STDIN_FILENO)
        close(l->fd);
    return code;
}

static int run(const verb *v, int argc, char **argv)
{
    static const struct option longs[] = {
        {"batch", required_argument, NULL, 'b'},
        {"durability", required_argument, NULL, 'd'},
        {"ack", no_argument, NULL, 'a'},
        {"skip", required_argument, NULL, 's'},
        OPEN_NO_CREATE,
        OPEN_BUCKET,
        OPEN_SET,
        {0},
    };
    load l = {.batch_lines = 1000, .fd = -1};
    int c, code;
    open_wish_init(&l.wish, true);
    while ((c = args_next(v, argc, argv, "", longs)) != -1) {
        bool good = true;
        firn_error error = {0};
        switch (c) {
        case 'b':
            good = args_number(v, "--batch", optarg, 1, 10000000, &l.batch_lines);
            break;
        case 'd':
            good = firn_options_set(&l.wish.options, "durability", optarg, &error) == FIRN_OK;
            if (!good)
                fail_usage(v, "--durability takes sync, batch or none, not \"%s\"", optarg);
            break;
        case 'a':
            l.ack = true;
            break;
        case 's':
            good = args_number(v, "--skip", optarg, 0, UINT64_MAX - 1, &l.skip);
            break;
        default:
            code = open_take(v, &l.wish, c);
            if (code != -1)
                return code;
        }
        if (!good)
            return EXIT_USAGE;
    }
    if (!args_count(v, argc, 1, 2))
        return EXIT_USAGE;
    l.path = argv[optind];
    l.input_name = optind + 1 < argc ? argv[optind + 1] : "-";
    return load_run(&l);
}

const verb verb_load = {
    .name = "load",
    .usage = "DB [FILE|-] [option...]",
    .summary = "store lines of text",
    .help =
        "Reads lines KEY<TAB>VALUE from FILE, or from standard input, and stores them in batches.\n"
        "The store and the bucket are made when they are not there. Keys and values may hold the "
        "escapes\n"
        "\\t \\n \\r \\\\ and \\xHH; `firn dump` writes the same form.\n"
        "\n"
        "options:\n"
        "  --batch N           lines that are stored together, or not at all (default 1000);\n"
        "                      a batch also ends at 4 MiB\n"
        "  --durability WHEN   sync: each batch survives a power cut before the next is read "
        "(default)\n"
        "                      batch: synced in the background\n"
        "                      none: synced at the end\n"
        "  --ack               print `ack N` when the first N lines of the input are durable\n"
        "  --skip N            pass over the first N lines, to go on after a stop\n"
        "  --no-create         fail when the store or the bucket is not there\n" OPEN_BUCKET_HELP
            OPEN_SET_HELP "\n"
        "A wrong line ends the load with exit code 3, the line's number, and how many lines are\n"
        "stored; all lines before it are. An interrupt ends it the same way, with 130.\n"
        "\n"
        "examples:\n"
        "  printf 'grape\\tblue\\npear\\tgreen\\n' | firn load fruits\n"
        "  firn load packages packages.tsv --batch 200 --ack\n"
        "  firn load packages packages.tsv --skip 41200\n"
        "  firn load fruits vegetables.tsv --bucket vegetables\n",
    .run = run,
};
